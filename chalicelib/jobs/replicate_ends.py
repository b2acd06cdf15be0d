"""What a copy goes between: where artifacts come from and where they go, whichever of the two is this registry.

Both are of one repository. What they raise that may pass by itself is an OSError, or a RegistryError with the code
UNAVAILABLE; whatever else they raise of `FINAL` is about the artifact under way, and its words can be shown.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.manifests import Descriptor, Manifest
from chalicelib.store.remote.errors import DownError, LimitedError, RemoteError
from chalicelib.store.uploads import BrokenBodyError

JSON = Mapping[str, Any]
_PASSING = (LimitedError, DownError)
_BESIDE = 416


def may_pass(error: BaseException) -> bool:
    """Tell whether what went wrong may go well in a while, for whatever is copied."""
    if isinstance(error, RegistryError):
        # Another worker, which was taken for dead, may still write to the same upload.
        beside = error.status == _BESIDE and error.code is ErrorCode.BLOB_UPLOAD_INVALID
        return beside or error.code is ErrorCode.UNAVAILABLE or isinstance(error, BrokenBodyError)
    return isinstance(error, _PASSING) or (isinstance(error, OSError) and not isinstance(error, RemoteError))


class CopyError(Exception):
    """An artifact cannot be copied; the text says why."""


# What is about the artifact under way, unless it `may_pass`.
FINAL = (RegistryError, RemoteError, CopyError)


class GoneError(LookupError):
    """The source does not have it, or not any more."""


@dataclass(frozen=True, slots=True)
class Item:
    """An artifact to copy with the tags that are to name it; `key` is its place in the order of the source."""

    key: str
    digest: str
    tags: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """Return the item as JSON has it; `Item.of` is the way back."""
        return {"key": self.key, "digest": self.digest, "tags": list(self.tags)}

    @classmethod
    def of(cls, document: JSON) -> "Item":
        """Return the item that `document` made."""
        return cls(document["key"], document["digest"], tuple(document["tags"]))


class Stream(Protocol):
    """Bytes of a blob as they come."""

    def read(self, most: int, /) -> bytes:
        """Return the next bytes, b"" at the end; raise OSError."""


class Source(Protocol):
    """A repository that artifacts come from."""

    @property
    def thorough(self) -> bool:
        """Whether to look for what belongs to the children of an index that was copied before: it costs requests."""

    def items(self, after: str) -> Iterator[Item]:
        """Yield what may be wanted of the repository and comes after a key, in one order."""

    def is_wanted(self, item: Item) -> bool:
        """Tell whether an item is wanted, as far as that takes a request; raise GoneError."""

    def is_named(self, tag: str, digest: str) -> bool:
        """Tell whether a tag still names an artifact, where that is easily known."""

    def accessories(self, digest: str) -> Iterable[Item]:
        """Return what belongs to an artifact: signatures, attestations, SBOMs."""

    def manifest(self, digest: str) -> Manifest:
        """Return a manifest; raise GoneError."""

    def digest_of(self, tag: str) -> str:
        """Return what a tag names; raise GoneError."""

    def blob(self, digest: Digest, start: int) -> AbstractContextManager[Stream]:
        """Return a blob's bytes from `start` on; raise GoneError."""

    def elsewhere(self, digest: Digest) -> Iterable[str]:
        """Return other repositories here whose copies may have brought a blob to the destination."""


class Target(Protocol):
    """A repository that artifacts go to."""

    @property
    def chunk(self) -> int:
        """The most bytes that are sent at once; 0 where a blob must go in one request."""

    def named(self, tag: str) -> str:
        """Return the digest that a tag names, or ""."""

    def has(self, digest: str) -> bool:
        """Tell whether a manifest is there."""

    def hold(self, blob: Descriptor, elsewhere: Callable[[], Iterable[str]]) -> bool:
        """Tell whether a blob is there now, be it by a mount from `elsewhere`."""

    def begin(self, blob: Descriptor) -> JSON:
        """Begin an upload and return what it is gone on with."""

    def resumed(self, upload: JSON) -> JSON | None:
        """Return an upload of an earlier worker as it is now, or None where it must be begun anew."""

    def received(self, upload: JSON) -> int:
        """Return how many bytes an upload has."""

    def send(self, upload: JSON, piece: "Piece", blob: Descriptor) -> JSON:
        """Send what a piece gives and return the upload after it."""

    def finish(self, upload: JSON, blob: Descriptor) -> None:
        """Make a blob of an upload, verified."""

    def put(self, digest: str, manifest: Manifest, tags: tuple[str, ...], *, tell: bool) -> None:
        """Write a manifest and let tags name it; with `tell` whoever wants to know of pushes is told."""

    def refer(self, subject: str, manifests: Mapping[str, Manifest]) -> None:
        """See to it that manifests are found by their subject, where the registry does not do that by itself."""


@dataclass(slots=True)
class Pace:
    """How fast bytes may go: `speed` bytes a second, or 0 for as fast as they come."""

    speed: int = 0
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _due: float = 0.0

    def passed(self, size: int) -> None:
        """Wait until so many more bytes are allowed to have gone."""
        if not self.speed:
            return
        self._due = max(self._due, self.now()) + size / self.speed
        self.sleep(max(0.0, self._due - self.now()))


# What a connection breaks off in the middle of is lost.
_PIECE, _SLOW_PIECE = 128 << 10, 16 << 10


class Piece:
    """A part of a blob on its way: at most `most` bytes, and only as long as a worker may be busy with one."""

    def __init__(self, stream: Stream, most: int, pace: Pace, seconds: float) -> None:
        self._stream, self._pace, self._until = stream, pace, pace.now() + seconds
        self.left, self.taken = most, 0
        self.error: OSError | None = None

    def read(self, most: int, /) -> bytes:
        """Return the next bytes, b"" at the end of the part; raise BrokenBodyError where the source ends early."""
        if self._pace.now() >= self._until:
            return b""
        largest = min(_SLOW_PIECE, max(1, self._pace.speed)) if self._pace.speed else _PIECE
        try:
            piece = self._stream.read(min(most, self.left, largest))
        except OSError as error:
            # What arrived until now is kept.
            self.error = error
            raise BrokenBodyError from error
        self._pace.passed(len(piece))
        self.left -= len(piece)
        self.taken += len(piece)
        return piece

    def whole(self, most: int) -> bytes:
        """Return the next bytes as one, up to `most` of them."""
        pieces = []
        while most and (piece := self.read(most)):
            pieces.append(piece)
            most -= len(piece)
        return b"".join(pieces)
