"""Looking for what is wrong in the bucket, and repairing what can be repaired without a doubt.

Invariants:
* Nothing that a manifest refers to is deleted: no manifest, tag, link, nor bytes that any of them leads to.
* What looks wrong is looked at once more before it is told: pushes, deletions and the collector go on meanwhile.
* A repair is conditional on what was seen; one that lost is none, and is told as not repaired.
* Whatever the bytes of an object are, looking at it raises nothing but what a store does that gives no answer.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

import orjson

from chalicelib.oci.digests import Digest, hasher
from chalicelib.oci.errors import RegistryError
from chalicelib.policy.damage import Damage
from chalicelib.store import layout
from chalicelib.store.blobs import Blob
from chalicelib.store.content import Content
from chalicelib.store.garbage.seen import Seen
from chalicelib.store.objects import Object

WHOLE_SAMPLE = 100


@dataclass(frozen=True, slots=True)
class Found:
    """A damage: where, of what (digests, tags or keys), and whether it is repaired."""

    damage: Damage
    where: str
    what: tuple[str, ...]
    repaired: bool


@dataclass(frozen=True, slots=True)
class Inspection:
    """How to look: whether to `repair`, at how many per cent of the bytes; what was written after `before` is young.

    `seen` remembers bytes: those that something leads to, and those that were found whole or damaged.
    """

    content: Content
    seen: Seen
    before: datetime
    repair: bool
    sample: int
    salt: str
    tell: Callable[[Found], None]

    def found(
        self, damage: Damage, where: str, what: tuple[str, ...], mend: Callable[[], bool] | None = None
    ) -> bool:
        """Tell of a damage, after `mend` where it is to be repaired; return whether it is."""
        repaired = self.repair and mend is not None and mend()
        self.tell(Found(damage, where, what, repaired))
        return repaired

    def is_sampled(self, digest: Digest) -> bool:
        """Tell whether the bytes of a digest are to be read; another run chooses others."""
        mixed = hashlib.blake2b(digest.hex.encode(), key=self.salt.encode(), digest_size=8).digest()
        return int.from_bytes(mixed) % WHOLE_SAMPLE < self.sample


class State(Enum):
    """What became of the bytes of a blob."""

    WHOLE = "whole"
    UNREADABLE = "what leads to them cannot be read"
    MISSING = "missing, or of another size"
    DAMAGED = "not those of the digest"


def state(content: Content, digest: Digest, blob: Blob | None, *, read: bool) -> State:
    """Return what became of a blob's bytes; they are read only if that is asked for."""
    if blob is None:
        return State.UNREADABLE
    head = content.objects.head(blob.key)
    if head is None or head.size != blob.size:
        return State.MISSING
    if not read:
        return State.WHOLE
    progress = hasher(digest.algorithm)
    try:
        for piece in content.objects.read(blob.key):
            progress.update(piece)
    except LookupError:
        return State.MISSING
    return State.WHOLE if progress.hexdigest() == digest.hex else State.DAMAGED


def digest_of(text: str) -> Digest | None:
    """Return the digest that a text is, or None."""
    try:
        return Digest.parse(text)
    except RegistryError:
        return None


def blob_in(found: Object | None) -> Blob | None:
    """Return what a link or an entry says, or None where it is not there or says nothing sensible."""
    try:
        record = orjson.loads(found.content) if found else {}
        key, size, since = record["key"], record["size"], record.get("since")
        if since is not None and datetime.fromisoformat(since).tzinfo is None:
            return None
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    sensible = isinstance(key, str) and key.startswith(layout.DATA) and type(size) is int
    return Blob(key, size) if sensible else None


def is_young(content: Content, key: str, before: datetime) -> bool:
    """Tell whether an object is there that was last written at that moment or later."""
    listed = content.objects.list(key, limit=1).entries
    return any(entry.key == key and entry.modified >= before for entry in listed)


def stays(content: Content, key: str, etag: str) -> bool:
    """Tell whether an object is still the one that was seen."""
    head = content.objects.head(key)
    return head is not None and head.etag == etag
