"""The store in memory keeps the contract, so that what is proven over it holds over S3."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from chalicelib.store.objects import ConditionFailedError
from tests.memory import START, Asked, Clock, MemoryObjects
from tests.store.contract import Contract, ObjectStoreContract, VersionsContract


class InMemory(Contract):
    engine = "memory"
    versioned = True

    @pytest.fixture
    def now(self) -> Callable[[], datetime]:
        return Clock()

    @pytest.fixture
    def objects(self, now: Callable[[], datetime]) -> MemoryObjects:
        return MemoryObjects(now, versioned=self.versioned)

    @pytest.fixture
    def other(self, objects: MemoryObjects) -> MemoryObjects:
        return objects.beside()


class TestMemoryObjects(InMemory, VersionsContract, ObjectStoreContract):
    pass


class TestTagsInMemory(InMemory, ObjectStoreContract):
    folder = "_tags/"


class TestUnversioned(InMemory, VersionsContract, ObjectStoreContract):
    versioned = False


class TestTagsUnversioned(InMemory, ObjectStoreContract):
    versioned = False
    folder = "_tags/"


class LostError(Exception):
    pass


def _lose(operation: str, key: str) -> None:
    raise LostError(operation, key)


def test_a_request_that_fails_before_it_arrives_does_nothing() -> None:
    objects = MemoryObjects(Clock())
    objects.before = _lose

    with pytest.raises(LostError):
        objects.put("a", b"x")

    assert objects.keys() == ()


def test_a_request_whose_answer_is_lost_is_done() -> None:
    objects = MemoryObjects(Clock())
    objects.after = _lose

    with pytest.raises(LostError):
        objects.put("a", b"x")

    assert objects.keys() == ("a",)


def test_a_repeated_conditional_write_loses_to_itself() -> None:
    objects = MemoryObjects(Clock())
    objects.repeat = lambda operation, key: (operation, key) == ("put", "a")

    with pytest.raises(ConditionFailedError):
        objects.put("a", b"x", if_absent=True)

    assert objects.keys() == ("a",)


def test_another_way_to_the_bucket_has_its_own_hooks_and_log() -> None:
    objects = MemoryObjects(Clock())
    objects.before = _lose
    other = objects.beside()

    other.put("a", b"x")

    assert (objects.keys(), objects.asked, other.asked) == (("a",), [], [Asked("put", "a")])


def test_times_are_those_of_the_clock() -> None:
    clock = Clock()
    objects = MemoryObjects(clock)
    objects.put("a", b"x")
    clock.advance(timedelta(hours=1))
    objects.put("b", b"x")
    objects.begin("b")

    entries = objects.list("").entries
    (multipart,) = objects.unfinished("")

    assert [entry.modified - START for entry in entries] == [timedelta(0), timedelta(hours=1)]
    assert multipart.started - START == timedelta(hours=1)
