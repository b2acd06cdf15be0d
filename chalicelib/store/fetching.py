"""Blobs on their way here from another registry: fetched once, and read by all who want them meanwhile.

Invariants:
* In a process a blob of a repository is fetched once at a time, whoever asks; what came is spooled on disk, so that
  readers go each at their own pace, and memory holds a piece for each.
* A fetch goes on when its readers went away, and its readers go on when S3, or the quota, does not take the bytes.
* The last byte is given to a reader only once all bytes were found to be those of the digest: nobody gets a whole
  blob that is another one.
* The repository holds a blob when it is whole and checked (`store.uploads`), never before.
"""

import logging
import os
from collections.abc import Callable
from functools import partial
from tempfile import TemporaryFile
from threading import Condition, Lock, Thread

from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.names import Repository
from chalicelib.store.remote import UntrueError
from chalicelib.store.sources import PIECE, Wish

log = logging.getLogger(__name__)

_MOST = 128
_WAIT_SECONDS = 1.0


class Fetch:
    """A blob on its way: what came of it, and what became of it."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._spool = TemporaryFile()  # noqa: SIM115 - closed by the last who leaves
        self._users = 1
        self._came = 0
        self._checked = False
        self._ended = False
        self._failure: Exception | None = None
        self.size: int | None = None

    def begin(self, size: int) -> None:
        """Say how large the blob is: readers may come. Raise UNAVAILABLE where the disk has no room for it."""
        disk = os.fstatvfs(self._spool.fileno())
        if size > disk.f_bavail * disk.f_frsize:
            words = f"a blob of {size} bytes does not fit on this server's disk, through which it would come"
            raise RegistryError(ErrorCode.UNAVAILABLE, words, headers={"Retry-After": "60"})
        with self._changed:
            self.size = size
            self._changed.notify_all()

    def take(self, piece: bytes) -> None:
        """Take the next bytes."""
        self._spool.write(piece)
        self._spool.flush()
        with self._changed:
            self._came += len(piece)
            self._changed.notify_all()

    def check(self) -> None:
        """Say that all bytes came, and are right."""
        with self._changed:
            self._checked = True
            self._changed.notify_all()

    def end(self, failure: Exception | None = None) -> None:
        """Say that nothing more comes."""
        with self._changed:
            self._failure, self._ended = failure, True
            self._changed.notify_all()

    def started(self) -> bool:
        """Wait until it is known how large the blob is; False where the repository holds it already. Raise.

        An empty one has no last byte to wait for: it is waited for until it was checked.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._checked or self.size)
            if not (self.size or self._checked) and self._failure:
                raise self._failure
            return self.size is not None

    def wait(self, seconds: float) -> bool:
        """Wait until nothing more comes, and tell whether that is so; raise what went wrong."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended, seconds)
            if self._failure:
                raise self._failure
            return self._ended

    def piece(self, offset: int, most: int) -> bytes:
        """Return bytes from an offset on, b"" where none came within a second; raise what went wrong."""
        with self._changed:
            self._changed.wait_for(lambda: self._there() > offset or self._ended, _WAIT_SECONDS)
            there = self._there()
            if there <= offset and self._ended:
                raise self._failure or UntrueError("the blob ended early")
        return os.pread(self._spool.fileno(), min(most, there - offset), offset) if there > offset else b""

    def _there(self) -> int:
        return self._came if self._checked else min(self._came, (self.size or 0) - 1)

    @property
    def is_read(self) -> bool:
        """Tell whether anybody but who fetches is there."""
        return self._users > 1

    def join(self) -> None:
        """Be one more who keeps the spool."""
        with self._changed:
            self._users += 1

    def leave(self) -> None:
        """Be one less; the last takes the spool along."""
        with self._changed:
            self._users -= 1
            if not self._users:
                self._spool.close()


class Reader:
    """One who reads a part of a blob that is on its way, as `api.http.Stream` wants it."""

    def __init__(self, fetch: Fetch, start: int, end: int) -> None:
        self._fetch, self._at, self._end = fetch, start, end

    def read(self) -> bytes | None:
        """Return the next bytes, b"" where none came for a while, None at the end; raise OSError."""
        if self._at >= self._end:
            return None
        try:
            piece = self._fetch.piece(self._at, min(PIECE, self._end - self._at))
        except RegistryError as error:
            raise OSError(str(error)) from error
        self._at += len(piece)
        return piece

    def close(self) -> None:
        """Leave."""
        self._fetch.leave()


def _in_a_thread(do: Callable[[], None]) -> None:
    Thread(target=do, name="fetch", daemon=True).start()


class Fetches:
    """The fetches of a process; `start` has something done beside."""

    def __init__(self, start: Callable[[Callable[[], None]], None] = _in_a_thread) -> None:
        self._start = start
        self._lock = Lock()
        self._under_way: dict[Wish, Fetch] = {}

    def join(self, wish: Wish, most: int, fill: Callable[[Fetch], None]) -> Fetch:
        """Return the fetch of a blob, begun by `fill` in a thread of its own where there is none; to be left.

        Raise TOOMANYREQUESTS where `most` (0: any number) of the repository's blobs are under way.
        """
        with self._lock:
            fetch = self._under_way.get(wish)
            if fetch:
                fetch.join()
                return fetch
            self._check_room(wish.repository, most)
            fetch = self._under_way[wish] = Fetch()
            fetch.join()
        try:
            self._start(partial(self._run, wish, fetch, fill))
        except BaseException as error:
            # Who came meanwhile would wait for ever.
            self._end(wish, fetch, OSError(f"no fetch could be begun: {error}"))
            fetch.leave()
            raise
        return fetch

    def _check_room(self, repository: Repository, most: int) -> None:
        of_repository = sum(wish.repository == repository for wish in self._under_way)
        if len(self._under_way) >= _MOST or (most and of_repository >= most):
            raise RegistryError(
                ErrorCode.TOOMANYREQUESTS,
                f"as many blobs of {repository} are being fetched as may be at once: try again soon",
                headers={"Retry-After": "2"},
            )

    def _run(self, wish: Wish, fetch: Fetch, fill: Callable[[Fetch], None]) -> None:
        failure: Exception | None = None
        try:
            fill(fetch)
        except Exception as error:  # noqa: BLE001 - whoever reads is told
            log.warning("fetching %s for %s failed: %s", wish.digest, wish.repository, error)
            failure = error
        finally:
            self._end(wish, fetch, failure)

    def _end(self, wish: Wish, fetch: Fetch, failure: Exception | None) -> None:
        with self._lock:
            del self._under_way[wish]
        fetch.end(failure)
        fetch.leave()
