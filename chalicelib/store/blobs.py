"""Blobs: which repository holds which, and where the bytes are.

Invariants:
* A repository's link names bytes that are whole and were checked against the digest.
* Bytes are stored once for each digest: the index entry is created only if absent, so of two uploads that end
  together one wins, and the other links to the winner's bytes and drops its own.
* A link is made from an upload, or from a repository that the caller may read: a digest alone gives nothing.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import orjson

from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.names import Repository
from chalicelib.store import layout
from chalicelib.store.content import Content
from chalicelib.store.objects import ConditionFailedError, Object

JSON = "application/json"
_INDEX_ATTEMPTS = 5


class Blob(NamedTuple):
    """Where a blob's bytes are, and how many."""

    key: str
    size: int


def find(content: Content, repository: Repository, digest: Digest) -> Blob | None:
    """Return the blob that the repository holds under `digest`, or None."""
    return _blob(content.objects.get(layout.link(repository, digest)))


def require(content: Content, repository: Repository, digest: Digest) -> Blob:
    """Return the blob that the repository holds under `digest`; raise BLOB_UNKNOWN."""
    blob = find(content, repository, digest)
    if blob is None:
        raise RegistryError(ErrorCode.BLOB_UNKNOWN, detail={"digest": str(digest)})
    return blob


def hold(content: Content, repository: Repository, digest: Digest, blob: Blob) -> None:
    """Let the repository hold a blob whose bytes are in place."""
    record = {"key": blob.key, "size": blob.size, "since": content.now().isoformat(timespec="seconds")}
    content.objects.put(layout.link(repository, digest), orjson.dumps(record), content_type=JSON)


def register(content: Content, digest: Digest, blob: Blob) -> Blob:
    """Enter verified bytes into the index; return them, or the equal bytes that were there first.

    Bytes that lost are deleted: nothing can refer to them yet.
    """
    record = orjson.dumps({"key": blob.key, "size": blob.size})
    for _ in range(_INDEX_ATTEMPTS):
        with suppress(ConditionFailedError):
            content.objects.put(layout.blob(digest), record, content_type=JSON, if_absent=True)
            return blob
        winner = _winner(content, digest, blob)
        if winner is not None:
            return winner
    raise RegistryError(ErrorCode.UNAVAILABLE, headers={"Retry-After": "1"})


def _winner(content: Content, digest: Digest, loser: Blob) -> Blob | None:
    """Return the bytes that the index has instead, or None where the loser should try again."""
    found = content.objects.get(layout.blob(digest))
    winner = _blob(found)
    if found is None or winner is None:
        # S3 answers 409 while another write of the key is under way, and that one may fail.
        return None
    # The two are one where S3's answer to the first attempt was lost and botocore repeated the request.
    if winner.key == loser.key:
        return loser
    if content.objects.head(winner.key) is not None:
        content.objects.delete(loser.key)
        return winner
    # The entry outlived its bytes: left in place, nobody could ever push the digest again.
    with suppress(ConditionFailedError):
        content.objects.delete_if(layout.blob(digest), found.head.etag)
    return None


def _gladly(size: int) -> None:
    """Admit a blob of any size."""


def mount(
    content: Content,
    repository: Repository,
    digest: Digest,
    source: Repository | None,
    admit: Callable[[int], None] = _gladly,
) -> bool:
    """Let the repository hold a blob of `source`, or of any where it is None; tell whether there was one.

    The caller must have the right to read the source, or everything. `admit` is told the size, and may raise.
    """
    blob = find(content, source, digest) if source else _blob(content.objects.get(layout.blob(digest)))
    if blob is None:
        return False
    admit(blob.size)
    hold(content, repository, digest, blob)
    return True


def release(content: Content, repository: Repository, digest: Digest) -> None:
    """Let the repository hold a blob no longer; raise BLOB_UNKNOWN. The bytes are the collector's business."""
    require(content, repository, digest)
    content.objects.delete(layout.link(repository, digest))


def _blob(found: Object | None) -> Blob | None:
    if found is None:
        return None
    record = orjson.loads(found.content)
    return Blob(record["key"], record["size"])
