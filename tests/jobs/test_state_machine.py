"""Anything that can happen to jobs, in any order: what is stored agrees with itself, and in the end all work is done.

Workers end anywhere, tables fail, messages are doubled, late and lost, leases run out under the hands of workers.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chalicelib.jobs import engine
from chalicelib.jobs.engine import LEASE_SECONDS
from chalicelib.jobs.steps import Again, Done, Outcome, TaskRun
from chalicelib.oci.errors import RegistryError
from chalicelib.policy.jobs import MOST_TRIES, Kind, Status, Trigger
from chalicelib.services import Services
from chalicelib.store import executions
from chalicelib.store.executions import New
from chalicelib.store.job_records import DEAD, DUE, active_key
from chalicelib.store.table import Table, every
from tests.jobs.test_engine import Messages
from tests.memory import Clock, MemoryObjects, services_over

KIND, VENDOR = Kind.PURGE_AUDIT_LOG, -1
PLACES = 3


def nothing() -> None:
    """Let the worker do its work."""


class Killed(BaseException):
    """The end of a worker's process."""


class Meeting:
    """A worker's way to the table, on which at one of its calls something else happens: before the deed, or after."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._left, self._after, self._happens = 0, False, nothing

    def meet(self, call: int, happens: Callable[[], None], *, after: bool) -> None:
        self._left, self._happens, self._after = call, happens, after

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._table, name)

        def call(*arguments: Any) -> Any:
            self._left -= 1
            now = self._left == 0
            if now and not self._after:
                self._happens()
            result = method(*arguments)
            if now and self._after:
                self._happens()
            return result

        return call


class Jobs(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock, self.queue = Clock(), Messages()
        services = services_over(MemoryObjects(self.clock), self.clock)
        self.table = services.directory.table
        self.services = replace(services, directory=replace(services.directory, queue=self.queue))
        self.meeting = Meeting(self.table)
        self.worker: Services = replace(self.services, directory=replace(self.services.directory, table=self.meeting))
        self.done: set[tuple[int, int]] = set()
        self.holders: dict[tuple[int, int], set[int]] = {}
        self.workers = 0
        self.failures: Counter[int] = Counter()
        self.stopped: set[int] = set()
        self.begun: dict[int, int] = {}
        self.during: list[Callable[[], None]] = []
        self.fails = False
        # Until when a worker holds a task, and how far it was.
        self.held: dict[int, tuple[int, datetime]] = {}
        self.farthest: dict[int, int] = {}
        self.two_at_one = False

    # The job: it does one place at a time, each once or more often with the same result.

    def step(self, worker: int, run: TaskRun, *, more_time: bool) -> Outcome:
        place = run.cursor.get("place", 0)
        self.holders.setdefault((run.task_id, run.fence), set()).add(worker)
        other, until = self.held.get(run.task_id, (worker, self.clock.moment))
        # Whatever a step raises is the job's failure, so it is kept for the invariant.
        self.two_at_one |= other != worker and until > self.clock.moment
        self.held[run.task_id] = worker, self.clock.moment + timedelta(seconds=LEASE_SECONDS)
        if self.during:
            self.during.pop()()
        if self.fails:
            self.failures[run.task_id] += 1
            raise ValueError("no luck")
        self.done.add((run.task_id, place))
        if place + 1 == PLACES:
            return Done({"places": PLACES})
        if not more_time:
            # What is saved now lets the task go, and another one may have it before this worker ends.
            del self.held[run.task_id]
        return Again({"place": place + 1}, after=600 * (place % 2))

    def work(self, services: Services, task_id: int, *, more_time: bool = True) -> None:
        self.workers += 1
        worker = self.workers
        # What a process does when its table fails is to end.
        with suppress(OSError):
            job = {KIND: lambda _, run: self.step(worker, run, more_time=more_time)}
            engine.work(services, task_id, lambda: more_time, job)
        # A killed worker still holds what it had; others have let it go.
        self.held = {number: holder for number, holder in self.held.items() if holder[0] != worker}

    # What happens

    @rule(tasks=st.integers(1, 3))
    def start(self, tasks: int) -> None:
        self.clock.advance(timedelta(milliseconds=1))
        busy = self.table.get(active_key(KIND, VENDOR)) is not None
        each: list[dict[str, int]] = [{} for _ in range(tasks)]
        with pytest.raises(RegistryError) if busy else nullcontext():
            begun = executions.begin(self.services.directory, New(KIND, VENDOR, Trigger.MANUAL, {}, "", each))
            self.begun[begun] = tasks

    @precondition(lambda self: self.queue.sent)
    @rule(data=st.data(), call=st.integers(0, 16), after=st.booleans(), more=st.booleans(), inside=st.booleans())
    def deliver(self, data: st.DataObject, call: int, after: bool, more: bool, inside: bool) -> None:
        """Deliver any message that was ever sent; at some call of its worker, or in the step, something happens."""
        task_id, other = (data.draw(st.sampled_from(self.queue.sent))[0] for _ in range(2))
        happens = data.draw(st.sampled_from(self.happenings(task_id, other)))
        if inside:
            self.during.append(happens)
        else:
            self.meeting.meet(call, happens, after=after)
        with suppress(Killed):
            self.work(self.worker, task_id, more_time=more)
        self.during.clear()
        self.meeting.meet(0, nothing, after=False)

    def happenings(self, task_id: int, other: int) -> list[Callable[[], None]]:
        def killed() -> None:
            raise Killed

        def failed() -> None:
            raise OSError("no answer")

        def late() -> None:
            self.clock.advance(timedelta(seconds=LEASE_SECONDS))
            self.work(self.services, task_id, more_time=False)

        return [
            nothing,
            killed,
            failed,
            late,
            lambda: self.work(self.services, task_id, more_time=False),
            lambda: self.work(self.services, task_id),
            lambda: self.work(self.services, other),
            lambda: self.stop_one(task_id),
            lambda: self.stop_one(other),
            lambda: self.clock.advance(timedelta(seconds=LEASE_SECONDS)),
        ]

    def stop_one(self, task_id: int) -> None:
        self.stopped.add(task_id)
        executions.stop_task(self.services.directory, task_id)

    @precondition(lambda self: self.queue.sent)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        task_id, _ = data.draw(st.sampled_from(self.queue.sent))
        self.fails = True
        self.work(self.services, task_id)
        self.fails = False

    @precondition(lambda self: self.begun)
    @rule(data=st.data())
    def stop(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.begun)))
        self.stopped |= {task.id for task in executions.tasks(self.services.directory, number)}
        executions.stop(self.services.directory, number)

    @rule(seconds=st.sampled_from([1, 61, 700, 4000]))
    def pass_by(self, seconds: float) -> None:
        self.clock.advance(timedelta(seconds=seconds))

    @rule()
    def tick(self) -> None:
        engine.tick(self.services)

    @rule()
    def retry(self) -> None:
        for task in executions.dead(self.services.directory):
            with suppress(RegistryError):
                executions.retry(self.services.directory, task.id)
                self.failures[task.id] = 0

    # What always holds

    @invariant()
    def what_is_stored_agrees(self) -> None:
        directory = self.services.directory
        due = Counter(record.document["task"] for record in every(self.table, DUE) if "task" in record.document)
        dead = {int(record.key.sort) for record in every(self.table, DEAD)}
        running = []
        for number, size in self.begun.items():
            tasks, found = executions.tasks(directory, number), executions.get(directory, number)
            assert found is not None
            assert len(tasks) == size
            assert {status: count for status, count in found.metrics.items() if count} == Counter(
                task.status for task in tasks
            )
            assert bool(found.ended) == all(not task.active for task in tasks)
            running += [] if found.ended else [number]
            for task in tasks:
                assert due.pop(task.id, 0) == task.active
                assert (task.id in dead) == (task.status is Status.ERROR)
                self.is_right(task)
        assert not due
        lock = self.table.get(active_key(KIND, VENDOR))
        assert [lock.document["id"]] == running if lock else not running

    def is_right(self, task: executions.Task) -> None:
        done = {place for number, place in self.done if number == task.id}
        assert set(range((task.cursor or {}).get("place", 0))) <= done
        place = (task.cursor or {}).get("place", 0)
        assert place >= self.farthest.get(task.id, 0), "somebody who lost the task went back"
        self.farthest[task.id] = place
        assert task.status is not Status.SUCCESS or done == set(range(PLACES))
        assert task.status is not Status.STOPPED or task.id in self.stopped

    @invariant()
    def one_worker_is_at_a_task_and_under_a_fence_of_its_own(self) -> None:
        assert not self.two_at_one
        assert all(len(workers) == 1 for workers in self.holders.values())

    def teardown(self) -> None:
        """Without further ado, everything ends."""
        for _ in range(2 * MOST_TRIES + PLACES):
            self.clock.advance(timedelta(hours=1))
            engine.tick(self.services)
            for task_id in {task_id for task_id, _ in self.queue.sent}:
                self.work(self.services, task_id)
        for number in self.begun:
            assert all(not task.active for task in executions.tasks(self.services.directory, number))
        self.what_is_stored_agrees()


Jobs.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestJobs = Jobs.TestCase
