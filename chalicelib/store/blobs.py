"""Blobs: which repository holds which, and where the bytes are.

Invariants:
* A repository's link names bytes that are whole and were checked against the digest. Where they have not arrived, in
  a region that is a copy or was one, the link is as none: who pushes the blob makes another one.
* Bytes are stored once for each digest: the index entry is created only if absent, so of two uploads that end
  together one wins, and the other links to the winner's bytes and drops its own.
* A link is made from an upload, or from a repository that the caller may read: a digest alone gives nothing.
* The collector deletes a link, or an index entry, that nothing needs and that was written longer ago than the grace
  period, if it is still the one that it saw. So who tells a pusher that a blob is there (`promise`), or makes a link
  because of an entry, writes anew what is older than half of the period: the collector then finds another one.
* Who gives up a link writes the entry anew as well: somebody may be mounting from the link at that moment.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.names import Repository
from chalicelib.store import layout
from chalicelib.store.content import Content
from chalicelib.store.objects import ConditionFailedError, Object

JSON = "application/json"
_INDEX_ATTEMPTS = 5
_DAMAGED = "what the registry knows of this blob is damaged: its operator repairs it with `roadstead verify --repair`"


class Blob(NamedTuple):
    """Where a blob's bytes are, and how many."""

    key: str
    size: int


def find(content: Content, repository: Repository, digest: Digest) -> Blob | None:
    """Return the blob that the repository holds under `digest`, or None."""
    return _here(content, blob_of(content.objects.get(layout.link(repository, digest))))


def _here(content: Content, blob: Blob | None) -> Blob | None:
    """Return a blob whose bytes are in place, in a region where that may be otherwise."""
    return blob if blob and content.has(blob.key) else None


def promise(content: Content, repository: Repository, digest: Digest) -> Blob | None:
    """Return the blob that the repository holds, which stays for half of the grace period at least, or None."""
    return _kept(content, layout.link(repository, digest))


def keep(content: Content, digest: Digest) -> Blob | None:
    """Return what the index has of a digest, which stays for half of the grace period at least, or None."""
    return _kept(content, layout.blob(digest))


def _kept(content: Content, key: str) -> Blob | None:
    """Return what a link or an entry says, written anew where the collector might soon delete it."""
    for _ in range(_INDEX_ATTEMPTS):
        found = content.objects.get(key)
        blob = _here(content, blob_of(found))
        if found is None or blob is None or not _is_old(content, found):
            return blob
        with suppress(ConditionFailedError):
            record = {**_said(found), "since": _moment(content)}
            content.objects.put(key, orjson.dumps(record), content_type=JSON, if_match=found.head.etag)
            return blob
    raise RegistryError(ErrorCode.UNAVAILABLE, headers={"Retry-After": "1"})


def _is_old(content: Content, found: Object) -> bool:
    since = _said(found).get("since")
    # Entries of older versions do not say.
    return since is None or content.now() - datetime.fromisoformat(since) > content.grace / 2


def _moment(content: Content) -> str:
    # As fine as the clock: what is written anew must differ from what was there.
    return content.now().isoformat()


def require(content: Content, repository: Repository, digest: Digest) -> Blob:
    """Return the blob that the repository holds under `digest`; raise BLOB_UNKNOWN."""
    return required(find(content, repository, digest), digest)


def required(blob: Blob | None, digest: Digest) -> Blob:
    """Return a blob that was found; raise BLOB_UNKNOWN where none was."""
    if blob is None:
        raise RegistryError(ErrorCode.BLOB_UNKNOWN, detail={"digest": str(digest)})
    return blob


def hold(content: Content, repository: Repository, digest: Digest, blob: Blob) -> None:
    """Let the repository hold a blob whose bytes are in place."""
    content.objects.put(layout.link(repository, digest), _record(content, blob), content_type=JSON)


def _record(content: Content, blob: Blob) -> bytes:
    record: dict[str, Any] = {"key": blob.key, "size": blob.size, "since": _moment(content)}
    return orjson.dumps(record)


def register(content: Content, digest: Digest, blob: Blob) -> Blob:
    """Enter verified bytes into the index; return them, or the equal bytes that were there first.

    Bytes that lost are deleted: nothing can refer to them yet.
    """
    record = _record(content, blob)
    for _ in range(_INDEX_ATTEMPTS):
        with suppress(ConditionFailedError):
            content.objects.put(layout.blob(digest), record, content_type=JSON, if_absent=True)
            return blob
        winner = _winner(content, digest, blob)
        if winner is not None:
            return winner
    raise RegistryError(ErrorCode.UNAVAILABLE, headers={"Retry-After": "1"})


def enter(content: Content, digest: Digest, blob: Blob, etag: str = "") -> bool:
    """Enter verified bytes into the index, where it has nothing or an entry with this `etag`; tell whether it did.

    Unlike `register` it deletes nothing: links may lead to the bytes.
    """
    try:
        content.objects.put(
            layout.blob(digest), _record(content, blob), content_type=JSON, if_absent=not etag, if_match=etag
        )
    except ConditionFailedError:
        return False
    return True


def relink(content: Content, repository: Repository, digest: Digest, etag: str) -> Blob | None:
    """Let a link that has `etag` lead to where the index has the bytes; return them, or None where that failed."""
    blob = keep(content, digest)
    if blob is None:
        return None
    try:
        content.objects.put(layout.link(repository, digest), _record(content, blob), content_type=JSON, if_match=etag)
    except ConditionFailedError:
        return None
    return blob


def _winner(content: Content, digest: Digest, loser: Blob) -> Blob | None:
    """Return the bytes that the index has instead, or None where the loser should try again."""
    found = content.objects.get(layout.blob(digest))
    winner = blob_of(found)
    if found is None or winner is None:
        # S3 answers 409 while another write of the key is under way, and that one may fail.
        return None
    # The two are one where S3's answer to the first attempt was lost and botocore repeated the request.
    if winner.key == loser.key:
        return loser
    if content.objects.head(winner.key) is not None:
        if keep(content, digest) != winner:
            return None
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
    blob = promise(content, source, digest) if source else keep(content, digest)
    if blob is None:
        return False
    admit(blob.size)
    hold(content, repository, digest, blob)
    return True


def release(content: Content, repository: Repository, digest: Digest) -> None:
    """Let the repository hold a blob no longer; raise BLOB_UNKNOWN. The bytes are the collector's business."""
    require(content, repository, digest)
    keep(content, digest)
    content.objects.delete(layout.link(repository, digest))


def blob_of(found: Object | None) -> Blob | None:
    """Return what a link or an index entry says, or None where there is none; raise UNKNOWN where it is damaged."""
    if found is None:
        return None
    record = _said(found)
    return Blob(record["key"], record["size"])


def _said(found: Object) -> dict[str, Any]:
    with suppress(ValueError):
        record = orjson.loads(found.content)
        if isinstance(record, dict) and {"key", "size"} <= record.keys():
            return record
    raise RegistryError(ErrorCode.UNKNOWN, _DAMAGED)
