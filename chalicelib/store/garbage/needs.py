"""What the manifests of a repository need, as the run before read it: a run then reads only what is new.

Invariants:
* A record says what bytes said that hashed to the digest, and is of the object with that entity tag alone: what was
  written over it has another one, and is read. Of bytes that rot where they are, blobs are kept for what they said.
* Records that cannot be read, or are not as they were written, are as good as none: everything is read.
* There are no more than fit into `MOST` bytes in a repository; the others are read by each run.
* What no run writes any more, since its repository is gone, is dropped.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import orjson

from chalicelib.oci.digests import Digest
from chalicelib.oci.manifests import Manifest
from chalicelib.oci.names import Repository
from chalicelib.store import layout, listings
from chalicelib.store.content import Content

MOST = 8 << 20
# Changes with what a record says.
_FORM = b"1"
_CHECK = hashlib.sha256().digest_size
_RECORD, _NAME = 160, 80


@dataclass(frozen=True, slots=True)
class Needs:
    """What a manifest needs: the hexadecimal digits of its blobs, its children; and whether it has a subject."""

    blobs: tuple[str, ...]
    children: tuple[Digest, ...] = ()
    has_subject: bool = False

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """Return what a manifest needs."""
        return cls(
            tuple(blob.digest.hex for blob in manifest.blobs),
            tuple(child.digest for child in manifest.manifests),
            manifest.subject is not None,
        )


class Known:
    """What the manifests of a repository need: what the last run wrote down, and what this one will."""

    def __init__(self, records: dict[str, Any], most: int = MOST) -> None:
        self._before, self._most = records, most
        self._now: dict[str, Any] = {}
        self._size = 0

    @classmethod
    def read(cls, content: Content, repository: Repository) -> Self:
        """Return what the last run wrote down."""
        found = content.objects.get(layout.needs(repository))
        return cls(_unpacked(found.content) if found else {})

    def get(self, digest: Digest, etag: str) -> Needs | None:
        """Return what is known of a manifest that has this entity tag."""
        record = self._before.get(str(digest))
        if not record or record[0] != etag:
            return None
        return Needs(tuple(record[1]), tuple(map(Digest.parse, record[2])), record[3])

    def add(self, digest: Digest, etag: str, needs: Needs) -> None:
        """Remember what a manifest needs whose bytes were checked, if there is room."""
        self._size += _RECORD + _NAME * (len(needs.blobs) + len(needs.children))
        if etag and self._size <= self._most:
            self._now[str(digest)] = [etag, needs.blobs, list(map(str, needs.children)), needs.has_subject]

    def write(self, content: Content, repository: Repository) -> None:
        """Write down what was added."""
        if self._now:
            packed = orjson.dumps(self._now)
            content.objects.put(layout.needs(repository), _check(packed) + packed)


def _unpacked(stored: bytes) -> dict[str, Any]:
    check, packed = stored[:_CHECK], stored[_CHECK:]
    records: dict[str, Any] = orjson.loads(packed) if check == _check(packed) else {}
    return records


def _check(packed: bytes) -> bytes:
    return hashlib.sha256(_FORM + packed).digest()


def drop_old(content: Content, before: datetime) -> None:
    """Drop what was last written `before`: a run writes anew what it needs."""
    for page in listings.pages(content.objects, layout.NEEDS):
        content.objects.delete(*(entry.key for entry in page if entry.modified < before))
