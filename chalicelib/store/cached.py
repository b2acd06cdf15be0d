"""What came of another registry and is not whole here yet: manifests whose blobs are on their way, and tags.

Why apart from `store.manifests`: what that lists has all that it refers to. So nobody who lists, copies, verifies or
collects what a repository has needs to know that a project is a cache.

Invariants:
* Nothing here is needed: what is lost is fetched again. `jobs.fill_cache` makes manifests of it once they are whole.
* Bytes are hashed whenever they are read.
* A tag's note is dropped only while it says what was done.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

import orjson

from chalicelib.oci.digests import Digest
from chalicelib.oci.names import Repository, Tag
from chalicelib.store import layout, listings
from chalicelib.store.blobs import JSON
from chalicelib.store.content import Content
from chalicelib.store.manifests import StoredManifest
from chalicelib.store.objects import Entry


class Note(NamedTuple):
    """That a tag is to name a digest, as it was read."""

    tag: Tag
    digest: Digest
    key: str
    etag: str


def keep(content: Content, repository: Repository, digest: Digest, media_type: str, manifest: bytes) -> None:
    """Keep a manifest, which was checked."""
    content.objects.put(layout.cached(repository, digest), manifest, content_type=media_type)


def find(content: Content, repository: Repository, digest: Digest) -> StoredManifest | None:
    """Return a manifest with its bytes, or None."""
    key = layout.cached(repository, digest)
    found = content.objects.get(key)
    if found is None or not digest.matches(found.content):
        return None
    return StoredManifest(digest, found.head.content_type, found.head.size, key, found.content)


def waiting(content: Content, repository: Repository) -> Iterator[tuple[Digest, Entry]]:
    """Yield the digests of the manifests that are here."""
    for entry in listings.below(content.objects, layout.all_cached(repository)):
        yield Digest.parse(layout.cached_digest(repository, entry.key)), entry


def drop(content: Content, repository: Repository, digest: Digest) -> None:
    """Drop a manifest; one that is not there is no error."""
    content.objects.delete(layout.cached(repository, digest))


def note(content: Content, repository: Repository, tag: Tag, digest: Digest) -> None:
    """Note what a tag names in the other registry, unless that is noted."""
    known = noted(content, repository, tag)
    if known is None or known.digest != digest:
        key, record = layout.noted(repository, tag), orjson.dumps({"digest": str(digest)})
        content.objects.put(key, record, content_type=JSON)


def noted(content: Content, repository: Repository, tag: Tag) -> Note | None:
    """Return what is noted of a tag, or None."""
    key = layout.noted(repository, tag)
    found = content.objects.get(key)
    return Note(tag, Digest.parse(orjson.loads(found.content)["digest"]), key, found.head.etag) if found else None


def notes(content: Content, repository: Repository) -> tuple[Note, ...]:
    """Return what is noted of all tags."""
    prefix = layout.all_noted(repository)
    names = [Tag(entry.key.removeprefix(prefix)) for entry in listings.below(content.objects, prefix)]
    found = (noted(content, repository, tag) for tag in names)
    return tuple(each for each in found if each)


def forget_old(content: Content, repository: Repository, before: datetime) -> None:
    """Drop what was noted before a moment and never done: whoever asks for such a tag notes it anew."""
    for entry in listings.below(content.objects, layout.all_noted(repository)):
        if entry.modified < before:
            content.drop(entry.key, entry.etag)


def forget(content: Content, done: Note) -> None:
    """Drop a note that still says what was done."""
    content.drop(done.key, done.etag)
