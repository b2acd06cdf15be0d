"""What a tag named before, and the way back to it.

Invariants:
* The states are the versions of the tag's object, so there is nothing that a push has to write for them. Versions in
  a row that name the same manifest are one state: a push that was repeated changed nothing.
* An undo is a push of the bytes that the version carries. Whatever a push refuses, or a crash leaves, holds for it.
* What ended before the window (`Reach.ended`) is forgotten, whether the bucket still has it or not: the collector
  keeps what is `within` it, and no more.
* The children of an index that went with it come back before it, as long as something has their bytes.
* An undo never deletes: it goes to the manifest that the tag named last before the one that it names now. A second
  one therefore goes forth again; further back leads the version of a state.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import groupby

from chalicelib.oci import manifests as oci
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.manifests import Manifest
from chalicelib.oci.names import Repository, Tag
from chalicelib.store import condemned, layout, manifests
from chalicelib.store.content import Content
from chalicelib.store.objects import Object, Version

# Each version is a request.
LONGEST = 51
_DEEPEST = 8
_EVER, _NEVER = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
Put = Callable[[Repository, Manifest, Digest, Iterable[Tag]], None]


@dataclass(frozen=True, slots=True)
class Reach:
    """How far back a history goes: to what `begun` then or later, and to what `ended` then or later, or never did."""

    begun: datetime = _EVER
    ended: datetime = _EVER


EVER = Reach()


@dataclass(frozen=True, slots=True)
class TagState:
    """What a tag named since `time`: a manifest of `size` bytes, or none where it was `deleted`.

    `version` names the state to `undo`.
    """

    digest: Digest | None
    time: datetime
    size: int
    deleted: bool
    current: bool
    version: str


@dataclass(frozen=True, slots=True)
class _Named:
    """A version, and the digest of the manifest that it carries."""

    version: Version
    digest: Digest | None


def within(versions: Sequence[Version], reach: Reach) -> tuple[Version, ...]:
    """Return those of a key's versions, the newest first, that one can go back to.

    A version ends when the next begins; of a deletion, that it was one is forgotten as what was deleted is.
    """
    # S3 knows no part of a second.
    begun, ended = reach.begun.replace(microsecond=0), reach.ended.replace(microsecond=0)
    followers = (None, *versions)
    return tuple(
        version
        for version, next_one in zip(versions, followers, strict=False)
        if version.modified >= begun and _end(version, next_one) >= ended
    )


def _end(version: Version, next_one: Version | None) -> datetime:
    if version.deleted:
        return version.modified
    return next_one.modified if next_one else _NEVER


def history(content: Content, repository: Repository, tag: Tag, reach: Reach = EVER) -> tuple[TagState, ...]:
    """Return the states of a tag that S3 still has, of its last `LONGEST` versions in reach, the newest first.

    Raise MANIFEST_UNKNOWN where there are none.
    """
    versions = within(content.objects.versions(layout.tag(repository, tag)), reach)[:LONGEST]
    found = content.together(partial(_named, content, layout.tag(repository, tag)), versions)
    states = tuple(_states(named for named in found if named))
    if not states:
        raise _unknown(tag, f"{repository} has no tag {tag}, and had none of late")
    return states


def _named(content: Content, key: str, version: Version) -> _Named | None:
    """Return what a version names, or None where it has expired since the listing."""
    if version.deleted:
        return _Named(version, None)
    found = content.objects.get(key, version.id)
    return _Named(version, manifests.digest_of(found.head)) if found else None


def _states(found: Iterable[_Named]) -> Iterable[TagState]:
    for digest, group in groupby(found, key=lambda named: named.digest):
        versions = [named.version for named in group]
        newest, first = versions[0], versions[-1]
        yield TagState(digest, first.modified, newest.size, newest.deleted, newest.latest, newest.id)


def undo(
    content: Content,
    repository: Repository,
    tag: Tag,
    version: str = "",
    reach: Reach = EVER,
    put: Put | None = None,
) -> Digest:
    """Let a tag name again what it named before, or in the state of a version; return the digest.

    Raise MANIFEST_UNKNOWN where there is no such state, or what its manifest refers to is gone; and as `put` does,
    which is `manifests.put` unless it is given.
    """
    state = _target(history(content, repository, tag, reach), tag, version)
    if state.current and state.digest:
        return state.digest
    found = content.objects.get(layout.tag(repository, tag), state.version)
    if found is None or state.digest is None:
        raise _unknown(tag, f"what {tag} was in version {state.version} is no longer kept")
    if not state.digest.matches(found.content):
        raise RegistryError(ErrorCode.UNKNOWN, f"the stored manifest {state.digest} is damaged: push it again")
    manifest = oci.parse(found.content, found.head.content_type)
    try:
        _Return(content, repository, put or partial(manifests.put, content)).put(manifest, state.digest, [tag])
    except RegistryError as error:
        if error.code is not ErrorCode.MANIFEST_BLOB_UNKNOWN:
            raise
        why = f"{state.digest} cannot come back: {repository} no longer holds what it refers to"
        raise _unknown(tag, why) from error
    return state.digest


def _target(states: tuple[TagState, ...], tag: Tag, version: str) -> TagState:
    if version:
        found = [state for state in states if state.version == version and not state.deleted]
        why = f"{tag} has no version {version} that names a manifest, or too long ago: see its history"
    else:
        now = states[0].digest if states[0].current else None
        found = [state for state in states if state.digest not in (None, now)]
        why = f"{tag} named no other manifest before, or too long ago"
    if not found:
        raise _unknown(tag, why)
    return found[0]


@dataclass(frozen=True, slots=True)
class _Return:
    """A manifest on its way back into a repository."""

    content: Content
    repository: Repository
    do: Put

    def put(self, manifest: Manifest, digest: Digest, tags: Sequence[Tag], depth: int = _DEEPEST) -> None:
        """Put a manifest back after those of its children that went and can come back."""
        for child in dict.fromkeys(each.digest for each in manifest.manifests) if depth else ():
            if condemned.is_live(self.content.objects.head(layout.manifest(self.repository, child))):
                continue
            found = self._kept(child)
            if found:
                self.put(found, child, (), depth - 1)
        self.do(self.repository, manifest, digest, tags)

    def _kept(self, digest: Digest) -> Manifest | None:
        """Return a manifest that was deleted, as it was condemned or as an older version has it."""
        for found in self._traces(layout.manifest(self.repository, digest)):
            content = condemned.original(found)
            if digest.matches(content):
                return oci.parse(content, found.head.content_type)
        return None

    def _traces(self, key: str) -> Iterator[Object]:
        objects = self.content.objects
        found = objects.get(key)
        if found:
            yield found
        past = (version for version in objects.versions(key)[:LONGEST] if not version.deleted)
        yield from filter(None, (objects.get(key, version.id) for version in past))


def _unknown(tag: Tag, why: str) -> RegistryError:
    return RegistryError(ErrorCode.MANIFEST_UNKNOWN, why, detail={"reference": str(tag)})
