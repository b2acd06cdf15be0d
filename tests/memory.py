"""An object store in memory, and services over it: every rule of `ObjectStore`, faults on demand, each request noted.

* `MemoryObjects` is one process's way to a bucket; `beside` makes another way to the same bucket, with hooks and a
  log of its own. What is written one way is seen by all.
* A request is: the hook `before`, the deed, the hook `after`. A hook that raises stands for S3 being out of reach
  (`before`: nothing was done), an answer that was lost (`after`: it was done), or the end of the process.
* `repeat` names requests that are done twice, as botocore does where an answer was lost: the second result counts.
* Hooks run without any lock, so one may wait for another thread's request.
* The bucket is versioned as S3's are; or not, and then `store.versions` keeps what tags were, as it does over S3.
"""

import hashlib
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from itertools import count
from threading import Lock
from typing import IO, NamedTuple, ParamSpec, TypeVar

from chalicelib.config import Settings
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.pages import LARGEST, Page
from chalicelib.oci.uploads import MIN_PART
from chalicelib.services import Services, assemble
from chalicelib.store import layout
from chalicelib.store.objects import (
    KEPT,
    NO_METADATA,
    OCTETS,
    VERSION,
    ConditionFailedError,
    Entry,
    Head,
    Multipart,
    MultipartGoneError,
    Object,
    Version,
)
from chalicelib.store.regions import Peer
from chalicelib.store.sqlite import SqliteTable
from chalicelib.store.versions import Keeper

T = TypeVar("T")
P = ParamSpec("P")

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
_PIECE = 1 << 20


class Clock:
    """A clock that moves only when it is told to."""

    def __init__(self, moment: datetime = START) -> None:
        self.moment = moment

    def __call__(self) -> datetime:
        return self.moment

    def advance(self, step: timedelta) -> None:
        """Let time go by."""
        self.moment += step


class Asked(NamedTuple):
    """One request: the method of `ObjectStore`, and the key or prefix."""

    operation: str
    key: str


Hook = Callable[[str, str], None]


def nothing(operation: str, key: str) -> None:
    """Let a request pass."""


def never(operation: str, key: str) -> bool:  # noqa: ARG001 - a rule has these parameters
    """Repeat no request."""
    return False


@dataclass(frozen=True, slots=True)
class _Stored:
    content: bytes
    head: Head
    modified: datetime
    deleted: bool = False


class Copy(NamedTuple):
    """What was written at a key, or None where it was deleted."""

    key: str
    content: bytes | None
    head: Head


@dataclass(slots=True)
class _Parts:
    begun: Multipart
    parts: dict[int, bytes] = field(default_factory=dict)


class _Bucket:
    """What is stored; every method is one atomic deed."""

    def __init__(self, now: Callable[[], datetime], versioned: bool) -> None:
        self.now = now
        self.versioned = versioned
        self.lock = Lock()
        self._objects: dict[str, _Stored] = {}
        self._versions: dict[str, list[_Stored]] = {}  # The oldest first.
        self._keys: list[str] = []  # Sorted: the order of code points is the order of their bytes in UTF-8.
        self._multiparts: dict[str, _Parts] = {}
        self._ids = count(1)
        # Every change in its order: the key, and the version that it made or "" where none is kept.
        self.journal: list[tuple[str, str]] = []
        # What was written, in its order, where a test wants to send it on.
        self.outgoing: list[tuple[str, _Stored]] | None = None

    @cached_property
    def table(self) -> SqliteTable:
        return SqliteTable(":memory:", lambda: self.now().timestamp())

    def find(self, key: str, version: str = "") -> _Stored | None:
        if not version:
            return self._objects.get(key)
        versions = self._versions.get(key, ())
        return next((each for each in versions if each.head.version == version and not each.deleted), None)

    def write(self, key: str, content: bytes, head: Head) -> str:
        if key not in self._objects:
            insort(self._keys, key)
        self._objects[key] = self._remember(key, _Stored(content, head, self.now()))
        self.journal.append((key, self._objects[key].head.version))
        return head.etag

    def remove(self, key: str) -> None:
        if self._objects.pop(key, None) is not None:
            del self._keys[bisect_left(self._keys, key)]
        gone = self._remember(key, _Stored(b"", Head(0, "", "", NO_METADATA), self.now(), deleted=True))
        self.journal.append((key, gone.head.version))

    def change(self, key: str, version: str) -> _Stored | None:
        """Return what a change of the journal made; None where nothing of it is left."""
        versions = self._versions.get(key, ())
        return next((each for each in versions if each.head.version == version), None) or self._objects.get(key)

    def take_copy(self, key: str, made: _Stored) -> None:
        """Become what another bucket is at a key, with its version and times, as S3's replication does."""
        copied = replace(made, head=made.head._replace(replica=True))
        self._versions.setdefault(key, []).append(copied)
        if made.deleted and self._objects.pop(key, None) is not None:
            del self._keys[bisect_left(self._keys, key)]
        if not made.deleted:
            if key not in self._objects:
                insort(self._keys, key)
            self._objects[key] = copied

    def _remember(self, key: str, stored: _Stored) -> _Stored:
        if self.outgoing is not None:
            self.outgoing.append((key, stored))
        # What blobs and uploads were goes after a day: here it goes at once, for it is large.
        if not self.versioned or key.startswith((layout.DATA, layout.UPLOADS)):
            return stored
        versioned = replace(stored, head=stored.head._replace(version=f"version-{next(self._ids)}"))
        self._versions.setdefault(key, []).append(versioned)
        return versioned

    def versions(self, key: str) -> tuple[Version, ...]:
        stored = self._versions.get(key, [])
        return tuple(
            Version(
                each.head.version, each.modified, each.head.size, each.head.etag, each.deleted, each is stored[-1]
            )
            for each in reversed(stored)
        )

    def unversion(self, key: str) -> None:
        found = self._objects[key]
        self._objects[key] = replace(found, head=found.head._replace(version=""))

    def forget(self, key: str, kept: int) -> None:
        self._versions[key] = self._versions.get(key, [])[-kept:] if kept else []

    def damage(self, key: str, content: bytes) -> None:
        found = self._objects[key]
        self._objects[key] = replace(found, content=content, head=found.head._replace(size=len(content)))
        self._versions[key] = [self._objects[key] if each is found else each for each in self._versions.get(key, ())]

    def list(self, prefix: str, after: str, limit: int) -> Page[Entry]:
        start = max(bisect_left(self._keys, prefix), bisect_right(self._keys, after))
        found: list[Entry] = []
        for key in self._keys[start : start + limit + 1]:
            if not key.startswith(prefix):
                break
            stored = self._objects[key]
            found.append(Entry(key, stored.head.size, stored.modified, stored.head.etag))
        return Page(tuple(found[:limit]), len(found) > limit)

    def begin(self, key: str) -> str:
        number = f"multipart-{next(self._ids)}"
        self._multiparts[number] = _Parts(Multipart(key, number, self.now()))
        return number

    def parts(self, key: str, multipart: str) -> dict[int, bytes]:
        found = self._multiparts.get(multipart)
        if found is None or found.begun.key != key:
            raise MultipartGoneError
        return found.parts

    def complete(self, key: str, multipart: str, etags: Sequence[str]) -> None:
        parts = self.parts(key, multipart)
        if any(number not in parts or _etag(parts[number]) != etag for number, etag in enumerate(etags, 1)):
            raise MultipartGoneError
        contents = [parts[number] for number in range(1, len(etags) + 1)]
        if not contents or any(len(content) < MIN_PART for content in contents[:-1]):
            raise RegistryError(ErrorCode.UNAVAILABLE, headers={"Retry-After": "5"})
        if key in self._objects:
            raise ConditionFailedError
        whole = b"".join(contents)
        sums = b"".join(hashlib.md5(content, usedforsecurity=False).digest() for content in contents)
        etag = f'{_etag(sums)[:-1]}-{len(contents)}"'
        self.write(key, whole, Head(len(whole), etag, OCTETS, NO_METADATA))
        self.abort(key, multipart)

    def abort(self, key: str, multipart: str) -> None:
        found = self._multiparts.get(multipart)
        if found is not None and found.begun.key == key:
            del self._multiparts[multipart]

    def unfinished(self, prefix: str) -> tuple[Multipart, ...]:
        begun = (parts.begun for parts in self._multiparts.values() if parts.begun.key.startswith(prefix))
        return tuple(sorted(begun, key=lambda multipart: multipart.key))

    def keys(self, prefix: str) -> tuple[str, ...]:
        return tuple(key for key in self._keys if key.startswith(prefix))


def _etag(content: bytes) -> str:
    return f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'


class MemoryObjects:
    """A bucket in memory, as one process reaches it; the twin of `S3Objects`."""

    def __init__(self, now: Callable[[], datetime], bucket: _Bucket | None = None, *, versioned: bool = True) -> None:
        self.before: Hook = nothing
        self.after: Hook = nothing
        self.repeat: Callable[[str, str], bool] = never
        self.asked: list[Asked] = []
        self._bucket = bucket or _Bucket(now, versioned)

    def beside(self) -> "MemoryObjects":
        """Return another way to the same bucket."""
        return MemoryObjects(self._bucket.now, self._bucket)

    @property
    def table(self) -> SqliteTable:
        """Return the table that a registry has beside this bucket: every way to the bucket leads to the same one."""
        return self._bucket.table

    def keys(self, prefix: str = "") -> tuple[str, ...]:
        """Return the keys of all objects below `prefix`, without a request."""
        with self._bucket.lock:
            return self._bucket.keys(prefix)

    @property
    def journal(self) -> Sequence[tuple[str, str]]:
        """Return every change in its order: its key, and the version that it made or ""."""
        return tuple(self._bucket.journal)

    def copy_to(self, other: "MemoryObjects", key: str, version: str) -> None:
        """Copy a change of the journal into another bucket, as S3's replication does."""
        made = self._bucket.change(key, version)
        if made:
            other._bucket.take_copy(key, made)  # noqa: SLF001 - one class

    def written(self) -> list["Copy"]:
        """Return what was written since the last time; the first call begins that."""
        with self._bucket.lock:
            journal, self._bucket.outgoing = self._bucket.outgoing or [], []
        return [Copy(key, None if each.deleted else each.content, each.head) for key, each in journal]

    def take(self, copy: "Copy") -> None:
        """Become what a copy is of, as a bucket does to which another one is replicated."""
        with self._bucket.lock:
            if copy.content is None:
                self._bucket.remove(copy.key)
            else:
                self._bucket.write(copy.key, copy.content, copy.head)

    def damage(self, key: str, content: bytes) -> None:
        """Change an object's bytes behind everybody's back."""
        with self._bucket.lock:
            self._bucket.damage(key, content)

    def unversion(self, key: str) -> None:
        """Let an object be one that was written before versions were kept."""
        with self._bucket.lock:
            self._bucket.unversion(key)

    def expire(self, key: str, *, kept: int = 1) -> None:
        """Drop all versions of an object but the last ones, as a rule of the bucket does in time."""
        with self._bucket.lock:
            self._bucket.forget(key, kept)

    def _ask(self, operation: str, key: str, deed: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        self.asked.append(Asked(operation, key))
        self.before(operation, key)
        with self._bucket.lock:
            result = deed(*args, **kwargs)
        if self.repeat(operation, key):
            with self._bucket.lock:
                result = deed(*args, **kwargs)
        self.after(operation, key)
        return result

    @cached_property
    def _keeper(self) -> Keeper:
        return Keeper(self, self._bucket.now)

    def _is_for_us_to_keep(self, key: str) -> bool:
        return layout.is_tag(key) and not self._bucket.versioned

    def get(self, key: str, version: str = "") -> Object | None:
        """Return a small object whole, or a version of it, or None."""
        if version.startswith(KEPT):
            return self._keeper.get(key, version)
        found = self._ask("get", key, self._bucket.find, key, version)
        return Object(found.head, found.content) if found else None

    def head(self, key: str) -> Head | None:
        """Return what is known of an object, or None."""
        found = self._ask("head", key, self._bucket.find, key)
        return found.head if found else None

    def versions(self, key: str) -> tuple[Version, ...]:
        """Return the versions of an object that are still there, the newest first."""
        return self._ask("versions", key, self._bucket.versions, key) or self._keeper.versions(key)

    def read(self, key: str, start: int = 0) -> Iterator[bytes]:
        """Yield an object's bytes from `start`, which it has, in pieces; raise LookupError where there is none."""
        found = self._ask("read", key, self._bucket.find, key)
        if found is None:
            raise LookupError(key)
        for at in range(start, len(found.content), _PIECE):
            yield found.content[at : at + _PIECE]

    def put(
        self,
        key: str,
        content: bytes,
        *,
        content_type: str = OCTETS,
        metadata: Mapping[str, str] = NO_METADATA,
        if_absent: bool = False,
        if_match: str = "",
    ) -> str:
        """Write an object and return its entity tag; raise ConditionFailedError."""
        if not self._is_for_us_to_keep(key):
            return self._write(key, content, content_type, metadata, if_absent=if_absent, if_match=if_match)

        def write(version: str, over: str) -> str:
            versioned = {**metadata, VERSION: version}
            return self._write(key, content, content_type, versioned, if_absent=not over, if_match=over)

        return self._keeper.put(key, write, if_absent=if_absent, if_match=if_match)

    def _write(
        self,
        key: str,
        content: bytes,
        content_type: str,
        metadata: Mapping[str, str],
        *,
        if_absent: bool,
        if_match: str,
    ) -> str:
        kept = {name.lower(): value for name, value in metadata.items()}
        version = kept.pop(VERSION, "")
        head = Head(len(content), _etag(content), content_type, kept, version)

        def deed() -> str:
            found = self._bucket.find(key)
            stale = if_match and (found is None or found.head.etag != if_match)
            if stale or (if_absent and found):
                raise ConditionFailedError
            return self._bucket.write(key, bytes(content), head)

        return self._ask("put", key, deed)

    def delete(self, *keys: str) -> None:
        """Delete objects, in no particular order; absent ones are no error."""
        for key in filter(self._is_for_us_to_keep, keys):
            self._keeper.delete(key, partial(self._drop_if, key))
        others = [key for key in keys if not self._is_for_us_to_keep(key)]
        for start in range(0, len(others), LARGEST):
            batch = others[start : start + LARGEST]

            def deed(batch: list[str] = batch) -> None:
                for key in batch:
                    self._bucket.remove(key)

            self._ask("delete", batch[0], deed)

    def delete_if(self, key: str, etag: str) -> None:
        """Delete an object that still has this entity tag; raise ConditionFailedError."""
        if self._is_for_us_to_keep(key):
            self._keeper.delete_if(key, etag, partial(self._drop_if, key))
        else:
            self._drop_if(key, etag)

    def _drop_if(self, key: str, etag: str) -> None:
        def deed() -> None:
            found = self._bucket.find(key)
            if found is None or found.head.etag != etag:
                raise ConditionFailedError
            self._bucket.remove(key)

        self._ask("delete_if", key, deed)

    def list(self, prefix: str, *, after: str = "", limit: int = LARGEST) -> Page[Entry]:
        """Return up to `limit` (at most 1000) objects below `prefix` whose keys follow `after`."""
        return self._ask("list", prefix, self._bucket.list, prefix, after, min(limit, LARGEST))

    def begin(self, key: str) -> str:
        """Begin a multipart upload and return its id."""
        return self._ask("begin", key, self._bucket.begin, key)

    def put_part(self, key: str, multipart: str, number: int, content: IO[bytes]) -> str:
        """Write part `number` (from 1) and return its entity tag; raise MultipartGoneError."""
        part = content.read()

        def deed() -> str:
            self._bucket.parts(key, multipart)[number] = part
            return _etag(part)

        return self._ask("put_part", key, deed)

    def complete(self, key: str, multipart: str, etags: Sequence[str]) -> None:
        """Make the parts an object that was absent; raise ConditionFailedError or MultipartGoneError."""
        self._ask("complete", key, self._bucket.complete, key, multipart, tuple(etags))

    def abort(self, key: str, multipart: str) -> None:
        """End a multipart upload and drop its parts; ended ones are no error."""
        self._ask("abort", key, self._bucket.abort, key, multipart)

    def unfinished(self, prefix: str) -> Iterator[Multipart]:
        """Yield the multipart uploads below `prefix` that have not ended."""
        yield from self._ask("unfinished", prefix, self._bucket.unfinished, prefix)


class Inline(Executor):
    """A pool that does everything at once in the caller's thread: one order, and no threads to wait for."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> "Future[T]":
        """Do it now; what it raises waits in the future."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - as the pools of the standard library do
            future.set_exception(error)
        return future


PASSWORD = "a password"
SETTINGS = Settings(admin_password=PASSWORD, signing_key=bytes(32))
_ADDRESS = "https://s3.test/"


def locate(method: str, key: str, digest: Digest) -> str:
    """Return a made-up URL of a key; `located` turns it back."""
    return f"{_ADDRESS}{key}?method={method}&digest={digest}"


def located(url: str) -> str:
    """Return the key that a made-up URL leads to."""
    return url.removeprefix(_ADDRESS).partition("?")[0]


def services_over(
    objects: MemoryObjects,
    now: Callable[[], datetime],
    *,
    pool: Executor | None = None,
    settings: Settings = SETTINGS,
    table: SqliteTable | None = None,
    peer: Peer | None = None,
) -> Services:
    """Return the services of one process over a bucket and its table; with an `Inline` pool their order is fixed.

    Another `table` is one that several regions share.
    """
    services = assemble(settings, objects, locate, table or objects.table, now, peer)
    if pool is None:
        return services
    content = replace(services.content, pool=pool)
    return replace(services, content=content, index=replace(services.index, content=content))
