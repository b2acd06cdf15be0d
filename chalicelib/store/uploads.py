"""Blob uploads on S3: sessions that any instance can go on with, in bounded memory.

A session's state is one object: a line of JSON, then the bytes that are too few for a part of their own. It is
written at the end of each request, and within long ones after every `_CHECKPOINT` parts, so that after a crash the
status is true and the upload can go on from there. A session without a state object has received nothing.

Invariants:
* An upload shows only when it is whole and verified: bytes go to `data/<upload id>`, which nothing refers to until
  `blobs.register` and `blobs.hold`, after the digest was compared.
* `data/<upload id>` is created only if absent, so bytes under a key never change, whatever is repeated.
* State moves by compare-and-set: of two requests on one session, one goes on and the other is told the range.
* Memory: one part being filled and two under way to S3; parts above 16 MiB are kept on disk meanwhile.
* The hash is carried from request to request within a process. Where it was lost (another instance took over, or
  another algorithm is named at the end) the bytes are read back and hashed before they show.
"""

from collections import OrderedDict, deque
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from io import BytesIO
from threading import Lock
from typing import IO, Protocol

import orjson

from chalicelib.oci import uploads as oci
from chalicelib.oci.digests import Digest, Hasher, hasher
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.names import Repository
from chalicelib.oci.uploads import Event, State
from chalicelib.store import blobs, layout
from chalicelib.store.blobs import Blob
from chalicelib.store.content import Content
from chalicelib.store.objects import ConditionFailedError, MultipartGoneError

_READ = 1 << 20
_CHECKPOINT = 16
_UNDER_WAY = 2
_CARRIED_HASHES = 1024


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


@dataclass(frozen=True, slots=True)
class Session:
    """An upload session as its state object tells it; `etag` is "" where there is none yet."""

    id: str
    state: State = State.OPEN
    size: int = 0
    multipart: str = ""
    etags: tuple[str, ...] = ()
    tail: bytes = field(default=b"", repr=False)
    digest: str = ""
    etag: str = ""

    def encode(self) -> bytes:
        """Return the state object's bytes."""
        header = {
            "state": self.state.value,
            "size": self.size,
            "multipart": self.multipart,
            "etags": self.etags,
            "digest": self.digest,
        }
        return orjson.dumps(header) + b"\n" + self.tail


def _decode(upload_id: str, content: bytes, etag: str) -> Session:
    header, _, tail = content.partition(b"\n")
    fields = orjson.loads(header)
    return Session(
        id=upload_id,
        state=State(fields["state"]),
        size=fields["size"],
        multipart=fields["multipart"],
        etags=tuple(fields["etags"]),
        tail=tail,
        digest=fields["digest"],
        etag=etag,
    )


def load(content: Content, upload_id: str, event: Event) -> Session:
    """Return the session that `event` happens to; raise BLOB_UPLOAD_UNKNOWN where it is over."""
    found = content.objects.get(layout.upload(upload_id))
    session = Session(upload_id) if found is None else _decode(upload_id, found.content, found.head.etag)
    # An upload in a single PUT leaves no state behind, only its bytes. PATCH and PUT need not look for them: their
    # own write fails where they exist.
    if found is None and event in (Event.STATUS, Event.CANCEL) and content.objects.head(layout.data(upload_id)):
        session = replace(session, state=State.DONE)
    oci.step(session.state, event)
    return session


def cancel(content: Content, session: Session) -> None:
    """End a session and drop what it received."""
    if session.multipart:
        content.objects.abort(layout.data(session.id), session.multipart)
    _save(content, Session(session.id, State.CANCELLED, etag=session.etag))


def _save(content: Content, session: Session) -> Session:
    """Write the state if it is still the one that was read; return it with its new entity tag."""
    key = layout.upload(session.id)
    try:
        etag = content.objects.put(key, session.encode(), if_absent=not session.etag, if_match=session.etag)
    except ConditionFailedError as error:
        raise RegistryError(
            ErrorCode.BLOB_UPLOAD_INVALID, "another request goes on with this upload: ask for its status", status=416
        ) from error
    return replace(session, etag=etag)


class CarriedHashes:
    """Hashes in progress, kept between the requests of a session that reach the same process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._hashes: OrderedDict[str, tuple[int, str, Hasher]] = OrderedDict()

    def keep(self, session: Session, algorithm: str, progress: Hasher) -> None:
        """Remember the hash of the session's first `session.size` bytes."""
        with self._lock:
            self._hashes[session.id] = (session.size, algorithm, progress)
            while len(self._hashes) > _CARRIED_HASHES:
                self._hashes.popitem(last=False)

    def take(self, session: Session, algorithm: str) -> Hasher | None:
        """Return the hash of all that the session received, or None where it was lost."""
        with self._lock:
            size, kept, progress = self._hashes.pop(session.id, (0, "", None))
        if not session.multipart:
            fresh = hasher(algorithm)
            fresh.update(session.tail)
            return fresh
        return progress if (size, kept) == (session.size, algorithm) else None


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
        self.session = self._saved = _save(self._content, replace(self.session, tail=tail))

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
            self._content.objects.delete(layout.upload(self.session.id))


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
        receiver.take_all(chunk.body)
        _check_size(receiver.session.size - session.size, chunk.stated)
    except BrokenBodyError:
        receiver.settle()
        raise
    except BaseException:
        receiver.undo()
        raise
    settled = receiver.settle()
    if receiver.hash:
        hashes.keep(settled, algorithm, receiver.hash)
    return settled


def _check_size(size: int, stated: int | None) -> None:
    if stated is not None and size != stated:
        raise RegistryError(ErrorCode.SIZE_INVALID, f"{stated} bytes were announced and {size} sent")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an upload is to become: this blob in this repository."""

    repository: Repository
    digest: Digest


def finish(content: Content, hashes: CarriedHashes, session: Session, wanted: Wanted, chunk: Chunk) -> None:
    """Take the rest of the bytes, verify all of them and let the repository hold them (end-6).

    Raise DIGEST_INVALID or SIZE_INVALID; the repository has the blob when this returns.
    """
    if session.state is State.DONE:
        return _check_done(content, session, wanted)
    receiver = _Receiver(content, session, hashes.take(session, wanted.digest.algorithm))
    try:
        receiver.take_all(chunk.body)
        _check_size(receiver.session.size - session.size, chunk.stated)
        blob = _land(content, receiver, wanted.digest)
    except RegistryError as error:
        (receiver.drop if error.code is ErrorCode.DIGEST_INVALID else receiver.undo)()
        raise
    winner = blobs.register(content, wanted.digest, blob)
    blobs.hold(content, wanted.repository, wanted.digest, winner)
    if session.etag or receiver.session.etag:
        done = Session(session.id, State.DONE, blob.size, digest=str(wanted.digest))
        content.objects.put(layout.upload(session.id), done.encode())
    return None


def _check_done(content: Content, session: Session, wanted: Wanted) -> None:
    """Accept the repetition of a PUT that had succeeded; raise BLOB_UPLOAD_UNKNOWN for any other."""
    if session.digest != str(wanted.digest) or blobs.find(content, wanted.repository, wanted.digest) is None:
        raise RegistryError(ErrorCode.BLOB_UPLOAD_UNKNOWN)


def _land(content: Content, receiver: _Receiver, digest: Digest) -> Blob:
    """Bring all bytes to their final key, verified, and return where they are."""
    key = layout.data(receiver.session.id)
    blob = Blob(key, receiver.session.size)
    whole = receiver.whole()
    try:
        if whole is not None:
            _check(digest.matches(whole), digest)
            content.objects.put(key, whole, if_absent=True)
            return blob
        if receiver.hash:
            _check(receiver.hash.hexdigest() == digest.hex, digest)
            receiver.complete()
            return blob
        receiver.complete()
    except (ConditionFailedError, MultipartGoneError):
        return _landed_before(content, receiver, digest)
    if _hash_of(content, key, digest.algorithm) != digest.hex:
        content.objects.delete(key)
        _check(False, digest)
    return blob


def _landed_before(content: Content, receiver: _Receiver, digest: Digest) -> Blob:
    """Return the bytes that an earlier request of this session brought, if they are the ones that are wanted."""
    key = layout.data(receiver.session.id)
    receiver.undo()
    found = content.objects.head(key)
    if found is None or _hash_of(content, key, digest.algorithm) != digest.hex:
        raise RegistryError(ErrorCode.BLOB_UPLOAD_UNKNOWN)
    return Blob(key, found.size)


def _check(same: bool, digest: Digest) -> None:
    if not same:
        raise RegistryError(ErrorCode.DIGEST_INVALID, f"the content received is not {digest}: send it again")


def _hash_of(content: Content, key: str, algorithm: str) -> str:
    progress = hasher(algorithm)
    for piece in content.objects.read(key):
        progress.update(piece)
    return progress.hexdigest()
