"""Which copies of what tags were are dropped: what nobody can go back to, and nothing that a writer still needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from chalicelib.jobs import expired_history
from chalicelib.jobs.steps import Again, Done, Outcome, TaskRun
from chalicelib.policy.jobs import Trigger
from chalicelib.services import Services
from chalicelib.store import layout
from chalicelib.store.objects import Entry
from tests.memory import Clock, MemoryObjects, services_over

KEY = "repositories/a/b/_tags/v1"
OTHER = "repositories/a/b/_tags/v10"
DAY = timedelta(days=1)


@dataclass
class Bucket:
    """A bucket that keeps no versions, and services over it."""

    versioned: bool = False
    clock: Clock = field(default_factory=Clock)
    objects: MemoryObjects = field(init=False)
    services: Services = field(init=False)

    def __post_init__(self) -> None:
        self.objects = MemoryObjects(self.clock, versioned=self.versioned)
        self.services = services_over(self.objects, self.clock)

    def move(self, key: str, *contents: bytes) -> None:
        """Let a tag name one thing after the other, a day apart."""
        for content in contents:
            self.objects.put(key, content)
            self.clock.advance(DAY)

    def run(self, cursor: Mapping[str, Any] | None = None, steps: int = 100, **parameters: object) -> Outcome:
        left = iter([True] * steps)
        task = TaskRun(
            task_id=1,
            execution_id=1,
            vendor_id=-1,
            trigger=Trigger.SCHEDULE,
            parameters=parameters,
            cursor=cursor or {},
            directory=self.services.directory,
            more_time=lambda: next(left, False),
            stopping=lambda: False,
        )
        return expired_history.step(self.services, task)

    def copies(self, key: str = KEY) -> list[bytes]:
        return [found.content for copy in self.objects.keys(layout.kept(key)) if (found := self.objects.get(copy))]


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


def test_copies_go_when_the_window_is_over_and_not_before(bucket: Bucket) -> None:
    bucket.move(KEY, b"1", b"2", b"3")
    window = bucket.services.settings.history_window

    assert bucket.run() == Done({"dropped": 0})
    assert bucket.copies() == [b"1", b"2"]
    bucket.clock.advance(window - 2 * DAY + timedelta(seconds=1))
    assert bucket.run() == Done({"dropped": 1})
    assert bucket.copies() == [b"2"]
    bucket.clock.advance(DAY)
    assert bucket.run() == Done({"dropped": 1})

    assert bucket.copies() == []
    assert bucket.objects.get(KEY)
    assert [version.latest for version in bucket.objects.versions(KEY)] == [True]


def test_the_copies_of_a_tag_that_is_gone_go_as_well(bucket: Bucket) -> None:
    bucket.move(KEY, b"1", b"2")
    bucket.objects.delete(KEY)
    bucket.clock.advance(31 * DAY)

    assert bucket.run() == Done({"dropped": 2})
    assert bucket.objects.versions(KEY) == ()


def test_a_copy_of_what_is_there_now_stays_for_the_writer_who_will_end_it(bucket: Bucket) -> None:
    bucket.move(KEY, b"1")
    head = bucket.objects.head(KEY)
    assert head
    # A writer made the copy, and ended before it wrote.
    bucket.objects.put(layout.kept(KEY) + head.version, b"1", metadata={"ended": "replaced"})
    bucket.clock.advance(100 * DAY)

    assert bucket.run() == Done({"dropped": 0})


def test_tags_whose_names_begin_alike_are_looked_at_one_by_one(bucket: Bucket) -> None:
    bucket.move(KEY, b"1", b"2")
    bucket.clock.advance(31 * DAY)
    bucket.move(OTHER, b"a", b"b")

    assert bucket.run() == Done({"dropped": 1})
    assert (bucket.copies(KEY), bucket.copies(OTHER)) == ([], [b"a"])


def test_a_dry_run_tells_and_drops_nothing(bucket: Bucket) -> None:
    bucket.move(KEY, b"1", b"2")
    bucket.clock.advance(31 * DAY)

    assert bucket.run(dry_run=True) == Done({"dropped": 1})
    assert bucket.copies() == [b"1"]


def test_it_goes_on_where_its_time_was_over(bucket: Bucket) -> None:
    for number in range(1200):
        bucket.objects.put(f"{layout.HISTORY}{KEY}{number:04}/x", b"")
    bucket.clock.advance(31 * DAY)

    first = bucket.run(steps=1)
    assert isinstance(first, Again)
    assert first.report == {"dropped": 1000}
    assert bucket.run(first.cursor) == Done({"dropped": 1200})

    assert bucket.objects.keys(layout.HISTORY) == ()


def test_done_twice_it_does_no_more(bucket: Bucket) -> None:
    bucket.move(KEY, b"1", b"2")
    bucket.clock.advance(31 * DAY)
    bucket.run()

    assert bucket.run() == Done({"dropped": 0})


def test_in_a_versioned_bucket_there_is_nothing_to_do() -> None:
    bucket = Bucket(versioned=True)
    bucket.move(KEY, b"1", b"2")
    bucket.clock.advance(31 * DAY)

    assert bucket.run() == Done({"dropped": 0})
    assert len(bucket.objects.versions(KEY)) == 2


def test_the_key_of_a_copy_is_read_back() -> None:
    key = layout.kept(KEY) + "kept-1-x"

    assert layout.kept_of(Entry(key, 0, Clock()()).key) == (KEY, "kept-1-x")
