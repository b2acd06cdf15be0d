"""Blobs on their way here: whole and right for each who reads, kept or not, whatever breaks on either side."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from typing import cast

import pytest

from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.names import Repository
from chalicelib.oci.uploads import MIN_PART
from chalicelib.store import blobs, layout
from chalicelib.store.fetching import Fetch, Fetches, Reader
from chalicelib.store.hashes import CarriedHashes
from chalicelib.store.remote import DownError, LimitedError, Remote
from chalicelib.store.sources import Source, Terms, Upload, Wish, store, store_some
from chalicelib.store.uploads import Wanted
from tests.memory import Clock, Inline, MemoryObjects, services_over
from tests.store.faults import Fault, Kind, every_fault

CONTENT = bytes(range(256)) * (MIN_PART // 256) + b"and the end"
DIGEST = Digest.of(CONTENT)
WISH = Wish(Repository("hub/app"), DIGEST)


class There:
    """Another registry that has one blob; it breaks off after each of `breaks` bytes."""

    def __init__(self, content: bytes = CONTENT, breaks: tuple[int, ...] = ()) -> None:
        self.content, self.breaks = content, list(breaks)
        self.starts: list[int] = []

    def read_blob(self, _repository: str, _digest: str, start: int = 0) -> "Bytes":
        self.starts.append(start)
        return Bytes(self.content, start, self.breaks.pop(0) if self.breaks else len(self.content))


class Bytes:
    """A blob's bytes until they break off."""

    def __init__(self, content: bytes, start: int, until: int) -> None:
        self._content, self._at, self._until, self.size = content, start, until, len(CONTENT)

    def read(self, most: int) -> bytes:
        piece = self._content[self._at : min(self._at + most, self._until)]
        self._at += len(piece)
        if not piece and self._until < len(self._content):
            raise DownError("reset")
        return piece

    def __exit__(self, *_: object) -> None:
        """Close nothing."""


def source(there: There, listener: Fetch | None = None) -> Source:
    return Source(cast("Remote", there), "app", DIGEST, Terms(), listener)


def read(fetch: Fetch) -> bytes:
    assert fetch.started()
    reader, pieces = Reader(fetch, 0, len(CONTENT)), []
    try:
        while (piece := reader.read()) is not None:
            pieces.append(piece)
    finally:
        reader.close()
    return b"".join(pieces)


def filling(there: There, objects: MemoryObjects) -> Callable[[Fetch], None]:
    services = services_over(objects, Clock(), pool=Inline())

    def fill(fetch: Fetch) -> None:
        body = source(there, fetch)
        fetch.begin(body.open())
        store(services.content, CarriedHashes(), WISH, body, Terms())

    return fill


def some(pieces: int) -> Callable[[], bool]:
    """Return what says that there is time for so many pieces."""
    left = iter(range(pieces))
    return lambda: next(left, None) is not None


def test_many_read_what_is_fetched_once() -> None:
    there, objects, fetches = There(), MemoryObjects(Clock()), Fetches()

    with ThreadPoolExecutor(8) as threads:
        got = list(threads.map(lambda _: read(fetches.join(WISH, 0, filling(there, objects))), range(8)))

    assert got == [CONTENT] * 8
    assert there.starts == [0]


def test_what_breaks_off_is_taken_up_where_it_broke_off() -> None:
    there = There(breaks=(1 << 20, 3 << 20))

    assert read(Fetches().join(WISH, 0, filling(there, MemoryObjects(Clock())))) == CONTENT
    assert there.starts == [0, 1 << 20, 3 << 20]


def test_what_breaks_off_again_and_again_is_an_error_and_leaves_nothing() -> None:
    objects = MemoryObjects(Clock())

    with pytest.raises(OSError, match="no more of the blob"):
        read(Fetches().join(WISH, 0, filling(There(breaks=(10,) * 9), objects)))

    assert objects.keys("") == ()


@pytest.mark.parametrize("content", [CONTENT[:-1] + b"?", b"?" + CONTENT[1:]])
def test_other_bytes_are_given_to_nobody_whole_and_leave_nothing(content: bytes) -> None:
    objects = MemoryObjects(Clock())

    with pytest.raises(OSError, match="other bytes"):
        read(Fetches().join(WISH, 0, filling(There(content), objects)))

    assert objects.keys("") == ()


def test_whatever_s3_does_readers_get_the_bytes_and_the_repository_has_all_or_nothing() -> None:
    def scenario(fault: Fault) -> None:
        objects = MemoryObjects(Clock())
        own, fetch = objects.beside(), Fetch()
        fetch.join()
        with fault.on(own):
            try:
                filling(There(), own)(fetch)
            except RegistryError as error:
                fetch.end(error)
        if fault.struck and fault.kind in (Kind.KILLED_BEFORE, Kind.KILLED_AFTER):
            fetch.leave()
        else:
            assert read(fetch) == CONTENT, fault
        fetch.leave()

        services = services_over(objects, Clock(), pool=Inline())
        held = blobs.find(services.content, *WISH)
        assert held is None or b"".join(objects.read(held.key)) == CONTENT, fault

    assert every_fault(scenario) >= 10


def test_a_blob_is_fetched_in_parts_by_several_who_have_little_time() -> None:
    objects, there = MemoryObjects(Clock()), There()
    upload = Upload("3b0c56a0-0000-4000-8000-000000000000", Wanted(*WISH))
    for _ in range(20):
        # Each is another process: it has no hash of what came before.
        services = services_over(objects, Clock(), pool=Inline())
        if store_some(services.content, CarriedHashes(), source(there), upload, some(12)):
            break

    assert len(there.starts) > 3
    assert there.starts == sorted(there.starts)
    held = blobs.find(services.content, *WISH)
    assert held
    assert b"".join(objects.read(held.key)) == CONTENT


def test_a_part_of_other_bytes_is_dropped_at_the_end() -> None:
    objects = MemoryObjects(Clock())
    services = services_over(objects, Clock(), pool=Inline())
    upload = Upload("3b0c56a0-0000-4000-8000-000000000000", Wanted(*WISH))
    there = There(b"?" + CONTENT[1:])
    store_some(services.content, CarriedHashes(), source(there), upload, some(3))

    with pytest.raises(RegistryError, match="DIGEST_INVALID"):
        store_some(services.content, CarriedHashes(), source(there), upload, lambda: True)

    assert not objects.keys(layout.links(WISH.repository))
    assert not objects.keys(layout.DATA)


def test_a_limit_is_no_break_that_is_taken_up_at_once() -> None:
    class Limited(There):
        def read_blob(self, repository: str, digest: str, start: int = 0) -> Bytes:
            if self.starts:
                raise LimitedError("too many", 429, 30)
            return super().read_blob(repository, digest, start)

    with pytest.raises(OSError, match="429"):
        read(Fetches().join(WISH, 0, filling(Limited(breaks=(10,)), MemoryObjects(Clock()))))


def test_an_empty_blob_that_is_another_one_is_given_to_nobody() -> None:
    fetch = Fetch()
    fetch.begin(0)
    fetch.end(RegistryError(ErrorCode.DIGEST_INVALID, "other bytes"))

    with pytest.raises(RegistryError, match="other bytes"):
        fetch.started()
    fetch.leave()


def test_a_blob_for_which_the_disk_has_no_room_is_refused_before_anything_of_it_is_given() -> None:
    def fill(fetch: Fetch) -> None:
        fetch.begin(1 << 60)

    fetch = Fetches().join(WISH, 0, fill)

    with pytest.raises(RegistryError, match="does not fit on this server's disk"):
        fetch.started()
    fetch.leave()


def test_a_fetch_that_could_not_be_begun_is_in_nobodys_way() -> None:
    started: list[Thread] = []

    def start(do: Callable[[], None]) -> None:
        started.append(Thread(target=do))
        if len(started) == 1:
            raise RuntimeError("can't start new thread")
        started[-1].start()

    fetches, fill = Fetches(start), filling(There(), MemoryObjects(Clock()))

    with pytest.raises(RuntimeError):
        fetches.join(WISH, 0, fill)
    assert read(fetches.join(WISH, 0, fill)) == CONTENT
