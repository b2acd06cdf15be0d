"""Blobs of another registry as bodies that are stored: read, checked, taken up again where they break off.

Invariants:
* A body ends only after all bytes were found to be those of the digest, or raises; one that begins in the middle is
  checked by `store.uploads`, which reads back what it has no hash of.
* What breaks off is taken up again where it broke off, a few times.
* What the other side says of its failures is not repeated: it could have anything in it.
"""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import NamedTuple, Protocol

from chalicelib.oci.digests import Digest, hasher
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.names import Repository
from chalicelib.oci.uploads import Event
from chalicelib.store import sessions, uploads
from chalicelib.store.content import Content
from chalicelib.store.hashes import CarriedHashes
from chalicelib.store.remote import Blob, DownError, Remote, RemoteError
from chalicelib.store.sessions import Session
from chalicelib.store.uploads import Chunk, Wanted

PIECE = 1 << 17
_TRIES = 4


class Wish(NamedTuple):
    """A blob that a repository is to hold."""

    repository: Repository
    digest: Digest


class Listener(Protocol):
    """Who is told of the bytes as they come."""

    def take(self, piece: bytes) -> None:
        """Take the next bytes."""

    def check(self) -> None:
        """Hear that all bytes came, and are right."""

    @property
    def is_read(self) -> bool:
        """Tell whether anybody wants them."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How a blob is fetched: at most so many bytes a second (0: any), if it is admitted; `now_and_then` is called."""

    speed: int = 0
    admit: Callable[[int], None] = lambda _size: None
    now_and_then: Callable[[], None] = lambda: None


class BrokenOffError(RegistryError):
    """The other registry gave no more; what it said is not told, since it could say anything."""

    def __init__(self, error: RemoteError) -> None:
        words = f"the other registry gave no more of the blob (status {error.status})"
        super().__init__(ErrorCode.UNAVAILABLE, words, headers={"Retry-After": str(error.retry_after or 5)})


class Source:
    """The body that is stored: read from the other registry, and told to a fetch as it comes."""

    def __init__(
        self, remote: Remote, name: str, digest: Digest, terms: Terms, listener: Listener | None = None
    ) -> None:
        self._remote, self._name, self._digest, self._terms = remote, name, digest, terms
        self._blob: Blob | None = None
        self._at = 0
        self._hash = hasher(digest.algorithm)
        self._began, self._first = time.monotonic(), 0
        self._listener = listener
        self.size = -1

    def open(self, start: int = 0) -> int:
        """Ask for the blob, from a byte on, and return its size; raise RemoteError."""
        self._at = self._first = start
        self._blob = self._remote.read_blob(self._name, str(self._digest), start)
        size = self._blob.size
        if size is None:
            size = self._remote.blob_size(self._name, str(self._digest))
        if size is None:
            raise DownError(f"the other registry does not say how large {self._digest} is")
        self.size = size
        return size

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, b"" at the end; raise BrokenOffError, or DIGEST_INVALID at other bytes."""
        if self.is_at_the_end():
            self._check()
            return b""
        piece = self._piece(min(size, PIECE, self.size - self._at))
        self._hash.update(piece)
        self._at += len(piece)
        if self._listener:
            self._listener.take(piece)
        if self.is_at_the_end():
            self._check()
        self._terms.now_and_then()
        self._slow_down()
        return piece

    def is_at_the_end(self) -> bool:
        """Tell whether all was read."""
        return self._at >= self.size

    def _check(self) -> None:
        if not self._first and self._hash.hexdigest() != self._digest.hex:
            raise RegistryError(ErrorCode.DIGEST_INVALID, f"the other registry sent other bytes than {self._digest}")
        if self._listener:
            self._listener.check()

    def _piece(self, most: int) -> bytes:
        """Return some bytes; where the stream breaks off, go on with another one."""
        tries = 0
        while True:
            try:
                if self._blob is None:
                    self._blob = self._remote.read_blob(self._name, str(self._digest), self._at)
                if piece := self._blob.read(most):
                    return piece
                raise DownError(f"{self._digest} ended early")
            except RemoteError as error:
                tries += 1
                self.close()
                if tries == _TRIES or not isinstance(error, DownError):
                    raise BrokenOffError(error) from None
                time.sleep(min(error.retry_after or 0.2 * 2**tries, 5))

    def _slow_down(self) -> None:
        if self._terms.speed:
            early = (self._at - self._first) / self._terms.speed - (time.monotonic() - self._began)
            if early > 0:
                time.sleep(early)

    def drain(self) -> None:
        """Read on for those who read the fetch."""
        while self._listener and self._listener.is_read and self.read(PIECE):
            pass

    def close(self) -> None:
        """End the stream."""
        if self._blob:
            self._blob.__exit__(None, None, None)
            self._blob = None


def store(content: Content, hashes: CarriedHashes, wish: Wish, source: Source, terms: Terms) -> None:
    """Store what a source gives; raise RegistryError where it is not what it should be.

    Where the bytes cannot be kept, those who read get theirs all the same; then raise what was in the way.
    """
    wanted = Wanted(wish.repository, wish.digest, terms.admit)
    session = Session(str(uuid.uuid4()))
    try:
        uploads.finish(content, hashes, session, wanted, Chunk(source, source.size))
    except BrokenOffError:
        raise
    except RegistryError as error:
        if error.code is ErrorCode.DIGEST_INVALID:
            raise
        source.drain()
        raise


class Upload(NamedTuple):
    """An upload that is gone on with, and what it is to become."""

    id: str
    wanted: Wanted


class _Until:
    """A body that ends early where the time is over."""

    def __init__(self, source: Source, more_time: Callable[[], bool]) -> None:
        self._source, self._more_time = source, more_time

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, b"" at the end or when the time is over."""
        return self._source.read(size) if self._more_time() else b""


def store_some(
    content: Content, hashes: CarriedHashes, source: Source, upload: Upload, more_time: Callable[[], bool]
) -> bool:
    """Go on with an upload of a blob while there is time; tell whether the repository holds it now.

    Raise RemoteError, or RegistryError: DIGEST_INVALID where the whole was another blob, which is dropped.
    """
    session = sessions.load(content, upload.id, Event.CHUNK)
    source.open(session.size)
    algorithm = upload.wanted.digest.algorithm
    session = uploads.append(content, hashes, session, algorithm, Chunk(_Until(source, more_time)))
    if source.is_at_the_end():
        uploads.finish(content, hashes, session, upload.wanted, Chunk(BytesIO()))
    return source.is_at_the_end()
