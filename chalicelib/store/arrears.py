"""What two regions' buckets do not have alike: what has not arrived here, and what is here alone.

Invariants:
* A page goes on where the last one ended, in the order of S3's keys: no step depends on how much there is.
* Without the other bucket what is here is judged by itself: what a manifest names is here, or it is in arrears.
* To align changes tags of this bucket alone, to what the other one has; their history knows what they were.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from chalicelib.oci import manifests as oci
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.names import Repository
from chalicelib.store import layout, listings, manifests, whole
from chalicelib.store.condemned import original, readable
from chalicelib.store.content import Content
from chalicelib.store.objects import ConditionFailedError, Entry, Object

_ATTEMPTS = 5
_MOST_NAMED = 20


class Lack(StrEnum):
    """What is wrong with a tag or a manifest, seen from here."""

    CONTENT = "lacks content"
    ABSENT = "has not arrived"
    OTHER = "is another one there"
    ALONE = "is here alone"


@dataclass(frozen=True, slots=True)
class Arrear:
    """A tag, or a manifest by its digest, with what it lacks and by which tags it goes."""

    lack: Lack
    repository: str
    reference: str
    missing: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Pair:
    """A key, as each of the two buckets lists it."""

    key: str
    here: Entry | None
    there: Entry | None


def page(
    content: Content, peer: Content | None, after: str, more_time: Callable[[], bool]
) -> tuple[list[Arrear], str]:
    """Return what is in arrears after a key, as far as the time goes, and after which key to go on, "" at the end."""
    found: list[Arrear] = []
    for pair in _pairs(content, peer, after):
        if not more_time():
            return found, after
        arrear = _of_tag(content, peer, pair) if layout.is_tag(pair.key) else _of_manifest(content, peer, pair)
        if arrear:
            found.append(arrear)
        after = pair.key
    return found, ""


def align(content: Content, peer: Content, arrear: Arrear) -> bool:
    """Let a tag of this bucket be what it is in the other one; tell whether it was not."""
    if arrear.lack not in (Lack.OTHER, Lack.ALONE) or ":" in arrear.reference:
        return False
    key = layout.tags(Repository(arrear.repository)) + arrear.reference
    for _ in range(_ATTEMPTS):
        here, there = content.objects.get(key), peer.objects.get(key)
        if _alike(here, there):
            return True
        with suppress(ConditionFailedError):
            if there is None:
                content.objects.delete_if(key, here.head.etag if here else "")
            else:
                metadata, etag = dict(there.head.metadata), here.head.etag if here else ""
                content.objects.put(
                    key,
                    there.content,
                    content_type=there.head.content_type,
                    metadata=metadata,
                    if_absent=not etag,
                    if_match=etag,
                )
            # What is written here is younger than what was there: it must not be an older state of it.
    raise RegistryError(ErrorCode.UNAVAILABLE, f"the tag {key} moves again and again: try again")


def _alike(here: Object | None, there: Object | None) -> bool:
    if here is None or there is None:
        return here is there
    return manifests.digest_of(here.head) == manifests.digest_of(there.head)


def _pairs(content: Content, peer: Content | None, after: str) -> Iterator[_Pair]:
    """Yield tags and manifests in the order of their keys, each once."""
    own = _entries(content, after)
    others = _entries(peer, after) if peer else iter(())
    here, there = next(own, None), next(others, None)
    while here or there:
        key = min(each.key for each in (here, there) if each)
        pair = _Pair(key, here if here and here.key == key else None, there if there and there.key == key else None)
        yield pair
        here = next(own, None) if pair.here else here
        there = next(others, None) if pair.there else there


def _entries(content: Content, after: str) -> Iterator[Entry]:
    for entries in listings.pages(content.objects, layout.REPOSITORIES, after=after):
        yield from (entry for entry in entries if layout.is_tag(entry.key) or layout.is_manifest(entry.key))


def _of_tag(content: Content, peer: Content | None, pair: _Pair) -> Arrear | None:
    repository, tag = layout.repository_name(pair.key), pair.key.rpartition("/")[2]
    if pair.here is None:
        return Arrear(Lack.ABSENT, repository, tag)
    if peer and pair.there is None:
        return Arrear(Lack.ALONE, repository, tag)
    here = content.objects.get(pair.key)
    if here is None:
        return None
    if peer and pair.there and pair.there.etag != pair.here.etag and not _alike(here, peer.objects.get(pair.key)):
        return Arrear(Lack.OTHER, repository, tag)
    name, digest = Repository(repository), manifests.digest_of(here.head)
    if content.objects.head(layout.manifest(name, digest)) and content.objects.head(
        layout.tagged(name, digest) + tag
    ):
        # The manifest is looked at by itself, and then knows the tag.
        return None
    missing = _missing(content, peer, name, here)
    return Arrear(Lack.CONTENT, repository, tag, missing) if missing else None


def _of_manifest(content: Content, peer: Content | None, pair: _Pair) -> Arrear | None:
    repository = Repository(layout.repository_name(pair.key))
    digest = layout.manifest_digest(repository, pair.key)
    if pair.here is None:
        # What was deleted there and lies there still did not have to come.
        arrived = peer is None or readable(peer.objects.head(pair.key)) is None
        return None if arrived else Arrear(Lack.ABSENT, repository.name, digest)
    here = content.objects.get(pair.key)
    if here is None or readable(here.head) is None:
        return None
    missing = _missing(content, peer, repository, here)
    tags = tuple(tag.name for tag in islice(manifests.tags_naming(content, repository, Digest.parse(digest)), 5))
    return Arrear(Lack.CONTENT, repository.name, digest, missing, tags) if missing else None


def _missing(content: Content, peer: Content | None, repository: Repository, found: Object) -> tuple[str, ...]:
    """Return what a manifest names and is not here; of manifests below it only those that the other region has."""
    try:
        lost = whole.missing(content, repository, oci.parse(original(found), found.head.content_type))
    except RegistryError as error:
        if error.code is ErrorCode.UNAVAILABLE:
            raise
        return ("the manifest itself, which is damaged",)
    absent = {
        child
        for child in lost.manifests
        if peer is None or readable(peer.objects.head(layout.manifest(repository, child)))
    }
    return tuple(sorted(map(str, lost.blobs | absent)))[:_MOST_NAMED]
