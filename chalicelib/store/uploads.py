"""Blob uploads on S3: bytes to parts, parts to a blob, in bounded memory.

Invariants:
* An upload shows only when it is whole and verified: bytes go to `data/<upload id>`, which nothing refers to until
  `blobs.register` and `blobs.hold`, after the digest was compared.
* `data/<upload id>` is created only if absent, so bytes under a key never change, whatever is repeated.
* Memory: one part being filled and two under way to S3; parts above 16 MiB are kept on disk meanwhile.
* The hash is carried from request to request within a process. Where it was lost (another instance took over, or
  another algorithm is named at the end) the bytes are read back and hashed before they show.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from io import BytesIO
from typing import IO, Protocol

from chalicelib.oci import uploads as oci
from chalicelib.oci.digests import Digest, Hasher, hasher
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.names import Repository
from chalicelib.oci.uploads import State
from chalicelib.store import blobs, layout, sessions
from chalicelib.store.blobs import Blob
from chalicelib.store.content import Content
from chalicelib.store.hashes import CarriedHashes
from chalicelib.store.objects import ConditionFailedError, MultipartGoneError
from chalicelib.store.sessions import Session

_READ = 1 << 20
_CHECKPOINT = 16
_UNDER_WAY = 2


class BrokenBodyError(RegistryError):
    """The client went away, or its chunks were malformed, before the body's end."""

    def __init__(self) -> None:
        super().__init__(
            ErrorCode.BLOB_UPLOAD_INVALID, "the body ended before its stated end: ask for the status, or start again"
        )


class Body(Protocol):
    """A request's body."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, b"" at the end; raise BrokenBodyError."""


class _Receiver:
    """Takes the bytes of one request: hashes them, and sends them to S3 part by part."""

    def __init__(self, content: Content, session: Session, progress: Hasher | None) -> None:
        self.session = session
        self.hash = progress
        self._saved = session
        self._content = content
        self._key = layout.data(session.id)
        self._sending: deque[Future[str]] = deque()
        self._part = _new_part(self._number())
        self._part.write(session.tail)

    def take_all(self, body: Body) -> None:
        """Take the whole body."""
        while piece := body.read(min(_READ, oci.part_size(self._number()) - self._part.tell())):
            self._part.write(piece)
            if self.hash:
                self.hash.update(piece)
            self.session = replace(self.session, state=State.RECEIVING, size=self.session.size + len(piece))
            if self._part.tell() == oci.part_size(self._number()):
                self._send_part()

    def _number(self) -> int:
        return len(self.session.etags) + 1 + len(self._sending)

    def _send_part(self) -> None:
        """Hand the part that is full to the pool, once there is room for it."""
        number = self._number()
        if number > oci.MAX_PARTS:
            raise RegistryError(ErrorCode.SIZE_INVALID, f"a blob has at most {oci.LARGEST_BLOB} bytes", status=413)
        self._arrive(_UNDER_WAY - 1)
        if not self.session.multipart:
            self.session = replace(self.session, multipart=self._content.objects.begin(self._key))
        part, self._part = self._part, _new_part(number + 1)
        self._sending.append(self._content.pool.submit(self._put_part, number, part))
        if number % _CHECKPOINT == 0:
            self._save(b"")

    def _put_part(self, number: int, part: IO[bytes]) -> str:
        with part:
            part.seek(0)
            # As a file, not as bytes: botocore would copy those behind the headers.
            return self._content.objects.put_part(self._key, self.session.multipart, number, part)

    def _arrive(self, left: int = 0) -> None:
        """Wait until no more than `left` parts are under way."""
        while len(self._sending) > left:
            etag = self._sending.popleft().result()
            self.session = replace(self.session, etags=(*self.session.etags, etag))

    def _save(self, tail: bytes) -> None:
        self._arrive()
        self.session = self._saved = sessions.save(self._content, replace(self.session, tail=tail))

    def settle(self) -> Session:
        """Send or keep what is left, and return the session with its new state, saved."""
        if self._part.tell() >= oci.MIN_PART:
            self._send_part()
        self._save(self._rest())
        return self.session

    def _rest(self) -> bytes:
        self._part.seek(0)
        return self._part.read()

    def whole(self) -> bytes | None:
        """Return all the bytes where they are too few for more than one part, else None."""
        return None if self.session.multipart else self._rest()

    def complete(self) -> None:
        """Make all bytes an object; raise ConditionFailedError or MultipartGoneError."""
        if self._part.tell():
            self._send_part()
        self._arrive()
        self._content.objects.complete(self._key, self.session.multipart, self.session.etags)

    def undo(self) -> None:
        """Forget what this request brought; the session stays as it was last saved."""
        for sending in self._sending:
            sending.exception()
        if self.session.multipart != self._saved.multipart:
            self._content.objects.abort(self._key, self.session.multipart)

    def drop(self) -> None:
        """Forget everything that the session received: it begins again."""
        self.undo()
        if self._saved.multipart:
            self._content.objects.abort(self._key, self._saved.multipart)
        if self._saved.etag:
            with suppress(ConditionFailedError):
                self._content.objects.delete_if(layout.upload(self.session.id), self._saved.etag)


def _new_part(number: int) -> IO[bytes]:
    """Return room for a part: in memory, or on disk where it may become large."""
    if oci.part_size(number) <= oci.FIRST_PART:
        return BytesIO()
    from tempfile import TemporaryFile  # noqa: PLC0415 - costs a cold start, and few layers come here

    return TemporaryFile()


@dataclass(frozen=True, slots=True)
class Chunk:
    """A request's body and how many bytes it must have, where the request says (None: not said)."""

    body: Body
    stated: int | None = None


def append(content: Content, hashes: CarriedHashes, session: Session, algorithm: str, chunk: Chunk) -> Session:
    """Add a request's body to the session (end-5) and return the new state; raise SIZE_INVALID.

    What arrived before a client went away is kept, so that its next status request tells where to go on.
    """
    receiver = _Receiver(content, session, hashes.take(session, algorithm))
    try:
        _take(receiver, session, chunk)
        settled = receiver.settle()
    except MultipartGoneError as error:
        raise RegistryError(ErrorCode.BLOB_UPLOAD_UNKNOWN) from error
    except BaseException:
        receiver.undo()
        raise
    if receiver.hash:
        hashes.keep(settled, algorithm, receiver.hash)
    return settled


def _take(receiver: _Receiver, session: Session, chunk: Chunk) -> None:
    try:
        receiver.take_all(chunk.body)
    except BrokenBodyError:
        receiver.settle()
        raise
    _check_size(receiver.session.size - session.size, chunk.stated)


def _check_size(size: int, stated: int | None) -> None:
    if stated is not None and size != stated:
        raise RegistryError(ErrorCode.SIZE_INVALID, f"{stated} bytes were announced and {size} sent")


def _gladly(size: int) -> None:
    """Admit a blob of any size."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an upload is to become: this blob in this repository, if `admit` does not refuse its size."""

    repository: Repository
    digest: Digest
    admit: Callable[[int], None] = _gladly


def finish(content: Content, hashes: CarriedHashes, session: Session, wanted: Wanted, chunk: Chunk) -> None:
    """Take the rest of the bytes, verify all of them and let the repository hold them (end-6).

    Raise DIGEST_INVALID, SIZE_INVALID or what `wanted.admit` does; the repository has the blob when this returns.
    """
    if session.state is State.DONE:
        return _check_done(content, session, wanted)
    receiver = _Receiver(content, session, hashes.take(session, wanted.digest.algorithm))
    try:
        receiver.take_all(chunk.body)
        _check_size(receiver.session.size - session.size, chunk.stated)
        blob = _land(content, receiver, wanted.digest)
    except (ConditionFailedError, MultipartGoneError):
        return _finish_again(content, receiver, wanted)
    except RegistryError as error:
        (receiver.drop if error.code is ErrorCode.DIGEST_INVALID else receiver.undo)()
        raise
    try:
        wanted.admit(blob.size)
    except RegistryError:
        _drop_landed(content, receiver.session)
        raise
    winner = blobs.register(content, wanted.digest, blob)
    blobs.hold(content, wanted.repository, wanted.digest, winner)
    # The bytes themselves say that a session without state is over, unless others took their place.
    if receiver.session.etag or winner != blob:
        done = Session(session.id, State.DONE, blob.size, digest=str(wanted.digest))
        content.objects.put(layout.upload(session.id), done.encode())
    return None


def _check_done(content: Content, session: Session, wanted: Wanted) -> None:
    """Accept the repetition of a PUT that had succeeded; raise BLOB_UPLOAD_UNKNOWN for any other."""
    if session.digest != str(wanted.digest) or blobs.find(content, wanted.repository, wanted.digest) is None:
        raise RegistryError(ErrorCode.BLOB_UPLOAD_UNKNOWN)


def _land(content: Content, receiver: _Receiver, digest: Digest) -> Blob:
    """Bring all bytes to their final key, verified, and return where they are.

    Raise ConditionFailedError or MultipartGoneError where another request did so before.
    """
    blob = Blob(layout.data(receiver.session.id), receiver.session.size)
    whole = receiver.whole()
    if whole is not None:
        _check(digest.matches(whole), digest)
        content.objects.put(blob.key, whole, if_absent=True)
        return blob
    if receiver.hash:
        _check(receiver.hash.hexdigest() == digest.hex, digest)
        receiver.complete()
        return blob
    receiver.complete()
    if _hash_of(content, blob.key, digest.algorithm) != digest.hex:
        _drop_landed(content, receiver.session)
        raise _mismatch(digest)
    return blob


def _drop_landed(content: Content, session: Session) -> None:
    """Delete bytes that are not wanted after all, unless another request has claimed them (`_finish_again`).

    Claiming and dropping both move the state that the parts were saved under, so only one of them happens; and
    nobody can begin the upload again before its bytes are gone.
    """
    with suppress(RegistryError, ConditionFailedError):
        cancelled = sessions.save(content, Session(session.id, State.CANCELLED, etag=session.etag))
        content.objects.delete(layout.data(session.id))
        content.objects.delete_if(layout.upload(session.id), cancelled.etag)


def _finish_again(content: Content, receiver: _Receiver, wanted: Wanted) -> None:
    """End an upload whose bytes an earlier request has brought, whether that one is still at work or gone.

    Raise BLOB_UPLOAD_UNKNOWN where there are no such bytes, or others.
    """
    receiver.undo()
    if blobs.find(content, wanted.repository, wanted.digest) is not None:
        return
    session = receiver.session
    blob = _landed(content, session, wanted.digest)
    wanted.admit(blob.size)
    done = Session(session.id, State.DONE, blob.size, digest=str(wanted.digest), etag=session.etag)
    sessions.save(content, done)
    winner = blobs.register(content, wanted.digest, blob)
    blobs.hold(content, wanted.repository, wanted.digest, winner)


def _landed(content: Content, session: Session, digest: Digest) -> Blob:
    key = layout.data(session.id)
    found = content.objects.head(key)
    try:
        if found is not None and _hash_of(content, key, digest.algorithm) == digest.hex:
            return Blob(key, found.size)
    except LookupError:
        # Dropped while it was read.
        pass
    raise RegistryError(ErrorCode.BLOB_UPLOAD_UNKNOWN)


def _check(same: bool, digest: Digest) -> None:
    if not same:
        raise _mismatch(digest)


def _mismatch(digest: Digest) -> RegistryError:
    return RegistryError(ErrorCode.DIGEST_INVALID, f"the content received is not {digest}: send it again")


def _hash_of(content: Content, key: str, algorithm: str) -> str:
    progress = hasher(algorithm)
    for piece in content.objects.read(key):
        progress.update(piece)
    return progress.hexdigest()
