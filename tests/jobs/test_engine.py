"""How tasks are done: steps and their outcomes, failures, stops, workers that vanish, and what is remembered."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import cast

import pytest

from chalicelib.jobs import engine
from chalicelib.jobs.engine import LEASE_SECONDS
from chalicelib.jobs.steps import Again, Done, Failed, Outcome, TaskRun
from chalicelib.jobs.table import JOBS
from chalicelib.oci.errors import RegistryError
from chalicelib.policy.jobs import KINDS, MOST_TRIES, Kind, Status, Trigger, pause
from chalicelib.services import Services
from chalicelib.store import executions, leases
from chalicelib.store.executions import Execution, New
from chalicelib.store.job_records import GRACE, Task, find_task
from chalicelib.store.table import RefusedError
from tests.memory import Clock, MemoryObjects, services_over
from tests.store.faults import KilledError

KIND = Kind.PURGE_AUDIT_LOG
VENDOR = -1


@dataclass
class Messages:
    """A queue whose messages a test looks at."""

    sent: list[tuple[int, int]] = field(default_factory=list)
    broken: bool = False
    workers: int = 1

    def send(self, task_id: int, delay: int = 0) -> None:
        if self.broken:
            raise OSError("the queue does not answer")
        self.sent.append((task_id, delay))


@dataclass
class World:
    """A registry whose one job does what a test says."""

    step: Callable[[TaskRun], Outcome] = field(default=lambda _: Done())
    clock: Clock = field(default_factory=Clock)
    queue: Messages = field(default_factory=Messages)
    services: Services = field(init=False)

    def __post_init__(self) -> None:
        services = services_over(MemoryObjects(self.clock), self.clock)
        self.services = replace(services, directory=replace(services.directory, queue=self.queue))

    def start(self, parameters: Mapping[str, object] | None = None, tasks: int = 1) -> Execution:
        self.clock.advance(timedelta(milliseconds=1))
        numbered = [{"number": number} for number in range(tasks)]
        new = New(KIND, VENDOR, Trigger.MANUAL, parameters or {}, "admin", numbered)
        found = executions.get(self.services.directory, executions.begin(self.services.directory, new))
        assert found is not None
        return found

    def work(self, task_id: int, *, more_time: bool = True) -> None:
        engine.work(self.services, task_id, lambda: more_time, {KIND: lambda _, run: self.step(run)})

    def found(self, execution: Execution) -> Execution:
        found = executions.get(self.services.directory, execution.id)
        assert found is not None
        return found

    def task(self, execution: Execution) -> Task:
        return executions.tasks(self.services.directory, execution.id)[0]

    def pass_by(self, seconds: float) -> None:
        self.clock.advance(timedelta(seconds=seconds))


def test_a_job_goes_on_from_step_to_step_and_reports() -> None:
    cursors = []

    def step(run: TaskRun) -> Outcome:
        cursors.append(run.cursor)
        run.log(f"at {len(cursors)}")
        place = run.cursor.get("place", 0) + 1
        return Done({"all": place}) if place == 3 else Again({"place": place}, {"seen": place})

    world = World(step)
    execution = world.start({"dry_run": True})
    assert (execution.status, world.task(execution).status) == (Status.RUNNING, Status.PENDING)
    [(task_id, _)] = world.queue.sent

    world.work(task_id)

    found = world.found(execution)
    assert cursors == [{}, {"place": 1}, {"place": 2}]
    assert found.status is Status.SUCCESS
    assert found.ended
    assert found.extra_attrs == {"seen": 2, "all": 3}
    assert (found.parameters, found.by, found.trigger) == ({"dry_run": True}, "admin", Trigger.MANUAL)
    log = executions.log(world.services.directory, task_id)
    assert log is not None
    assert [line.partition(" ")[2] for line in log.splitlines()] == ["at 1", "at 2", "at 3"]


def test_what_does_not_fit_into_the_time_is_left_to_the_next_worker_at_once() -> None:
    world = World(lambda run: Again({"place": run.cursor.get("place", 0) + 1}, {"place": 1}))
    execution = world.start()
    [(task_id, _)] = world.queue.sent

    world.work(task_id, more_time=False)
    assert world.found(execution).status is Status.RUNNING
    assert world.found(execution).extra_attrs == {"place": 1}
    assert world.queue.sent == [(task_id, 0)] * 2

    world.work(task_id, more_time=False)
    assert world.task(execution).cursor == {"place": 2}
    assert world.task(execution).failures == 0


def test_one_that_waits_is_woken_when_its_time_comes() -> None:
    world = World(lambda run: Done() if run.cursor else Again({"place": 1}, after=300))
    execution = world.start()
    [(task_id, _)] = world.queue.sent
    world.work(task_id)
    assert world.task(execution).status is Status.SCHEDULED
    assert world.queue.sent[1:] == [(task_id, 300)]

    world.pass_by(299)
    world.work(task_id)
    assert world.queue.sent[2:] == [(task_id, 1)]

    world.pass_by(1)
    world.work(task_id)
    assert world.found(execution).status is Status.SUCCESS


def test_one_that_waits_longer_than_a_message_can_is_found_by_the_tick() -> None:
    world = World(lambda run: Done() if run.cursor else Again({"place": 1}, after=3600))
    execution = world.start()
    [(task_id, _)] = world.queue.sent
    world.work(task_id)
    assert world.queue.sent[1:] == []

    world.pass_by(3600 + GRACE / 1000)
    engine.tick(world.services)
    assert world.queue.sent[1:] == [(task_id, 0)]
    world.work(task_id)
    assert world.found(execution).status is Status.SUCCESS


def test_a_failed_step_is_tried_again_later_and_given_up_in_the_end() -> None:
    def step(run: TaskRun) -> Outcome:
        raise ValueError(f"no place after {run.cursor}")

    world = World(step)
    execution = world.start()
    [(task_id, _)] = world.queue.sent

    for failures in range(1, MOST_TRIES):
        world.work(task_id)
        assert world.task(execution).status is Status.SCHEDULED
        assert world.queue.sent[-1] == (task_id, pause(failures))
        world.pass_by(pause(failures))
    world.work(task_id)

    found = world.found(execution)
    assert found.status is Status.ERROR
    assert found.error == "ValueError: no place after {}"
    assert [task.id for task in executions.dead(world.services.directory)] == [task_id]
    world.work(task_id)
    assert world.task(execution).runs == MOST_TRIES


def test_what_was_given_up_can_be_tried_again() -> None:
    fails = [True]

    def step(_: TaskRun) -> Outcome:
        if fails[0]:
            raise ValueError("not yet")
        return Done({"worked": 1})

    world = World(step)
    execution = world.start()
    [(task_id, _)] = world.queue.sent
    for _ in range(MOST_TRIES):
        world.work(task_id)
        world.pass_by(3600)
    fails[0] = False

    assert executions.retry(world.services.directory, task_id)
    assert world.task(execution).status is Status.PENDING
    assert not world.found(execution).ended
    world.work(task_id)

    assert world.found(execution).status is Status.SUCCESS
    assert executions.dead(world.services.directory) == ()
    assert not executions.retry(world.services.directory, task_id)


def test_a_step_that_works_forgets_the_failures_before_it() -> None:
    outcomes: list[Outcome | Exception] = []

    def step(_: TaskRun) -> Outcome:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    world = World(step)
    outcomes += [OSError("one"), Again({"place": 1}, after=1), OSError("two")]
    execution = world.start()
    [(task_id, _)] = world.queue.sent
    for failures in (1, 0, 1):
        world.work(task_id)
        assert world.task(execution).failures == failures
        world.pass_by(60)
    assert world.task(execution).cursor == {"place": 1}


def test_a_worker_that_vanishes_is_replaced_when_its_lease_ends() -> None:
    class Killed(BaseException):
        pass

    def killed(_: TaskRun) -> Outcome:
        raise Killed

    world = World(killed)
    execution = world.start()
    [(task_id, _)] = world.queue.sent
    with pytest.raises(Killed):
        world.work(task_id)
    world.step = lambda _: Done()
    world.work(task_id)
    assert world.found(execution).status is Status.RUNNING

    world.pass_by(LEASE_SECONDS + GRACE / 1000)
    engine.tick(world.services)
    assert world.queue.sent[-1] == (task_id, 0)
    world.work(task_id)

    assert world.found(execution).status is Status.SUCCESS
    assert world.task(execution).runs == 2


def test_a_task_that_ends_its_workers_is_given_up() -> None:
    class Killed(BaseException):
        pass

    def killed(_: TaskRun) -> Outcome:
        raise Killed

    world = World(killed)
    execution = world.start()
    [(task_id, _)] = world.queue.sent
    for _ in range(MOST_TRIES):
        with pytest.raises(Killed):
            world.work(task_id)
        world.pass_by(LEASE_SECONDS)
    world.work(task_id)

    assert world.found(execution).status is Status.ERROR
    assert "without a word" in world.found(execution).error


def test_a_worker_that_lost_its_task_changes_nothing_more() -> None:
    world = World()
    directory = world.services.directory
    execution = world.start()
    [(task_id, _)] = world.queue.sent

    def slow(run: TaskRun) -> Outcome:
        world.pass_by(LEASE_SECONDS)
        world.step = lambda _: Done({"by": "the second"})
        world.work(run.task_id)
        return Done({"by": "the first"})

    world.step = slow
    world.work(task_id)

    assert world.found(execution).extra_attrs == {"by": "the second"}
    held = replace(world.task(execution), fence=1)
    with pytest.raises(leases.LostError):
        leases.finish(directory, held, {})


def test_a_task_that_waits_is_stopped_at_once_and_one_that_runs_at_its_next_look() -> None:
    world = World()
    directory = world.services.directory
    waiting = world.start()
    assert executions.stop(directory, waiting.id)
    assert world.found(waiting).status is Status.STOPPED
    world.work(world.queue.sent[0][0])
    assert world.task(waiting).runs == 0

    def step(run: TaskRun) -> Outcome:
        assert not run.stopping()
        executions.stop(directory, run.execution_id)
        assert world.found(running).status is Status.RUNNING
        return Again({"place": 1})

    running = world.start()
    world.step = step
    world.work(world.queue.sent[1][0])
    assert world.found(running).status is Status.STOPPED
    assert world.found(running).ended
    assert not executions.stop(directory, 999)


def test_of_a_kind_that_is_alone_the_second_is_refused_until_the_first_has_ended() -> None:
    world = World()
    first = world.start()
    with pytest.raises(RegistryError, match="running already") as refused:
        world.start()
    assert refused.value.status == 409

    world.work(world.task(first).id)
    assert world.start().status is Status.RUNNING


def test_an_execution_is_what_its_tasks_are_together_and_sums_up_their_reports() -> None:
    world = World(lambda run: Done({"deleted": run.parameters["number"], "last": f"task {run.parameters['number']}"}))
    execution = world.start(tasks=3)
    first, second, third = executions.tasks(world.services.directory, execution.id)

    world.work(second.id)
    found = world.found(execution)
    assert (found.status, found.metrics[Status.SUCCESS], found.metrics[Status.PENDING]) == (Status.RUNNING, 1, 2)
    world.work(first.id)
    executions.stop_task(world.services.directory, third.id)

    found = world.found(execution)
    assert found.status is Status.STOPPED
    assert found.extra_attrs == {"deleted": 1, "last": "task 1"}
    assert found.ended


def test_a_lost_message_only_delays() -> None:
    world = World()
    world.queue.broken = True
    execution = world.start()
    world.queue.broken = False
    engine.tick(world.services)
    assert world.queue.sent == []

    world.pass_by(GRACE / 1000)
    engine.tick(world.services)

    assert world.queue.sent == [(world.task(execution).id, 0)]


def test_the_latest_executions_are_kept_and_older_ones_leave_nothing() -> None:
    def step(run: TaskRun) -> Outcome:
        run.log("something")
        return Done()

    world = World(step)
    directory = world.services.directory
    begun = []
    for _ in range(KINDS[KIND].kept + 3):
        begun.append(world.start())
        world.work(world.queue.sent[-1][0])

    page = executions.page(directory, KIND, VENDOR)
    assert [each.id for each in page.entries] == [each.id for each in reversed(begun[3:])]
    assert executions.get(directory, begun[0].id) is None
    assert find_task(directory, world.queue.sent[0][0]) is None
    assert executions.log(directory, world.queue.sent[0][0]) is None


def test_what_is_not_built_is_refused() -> None:
    world = World()
    missing = cast("Kind", "OF_ANOTHER_VERSION")
    with pytest.raises(RegistryError, match="not built") as refused:
        executions.begin(world.services.directory, New(missing, VENDOR, Trigger.MANUAL, {}))
    assert refused.value.status == 501


def test_what_is_built_has_a_function() -> None:
    assert set(JOBS) == set(Kind)


def test_a_task_adds_others_each_once() -> None:
    def step(run: TaskRun) -> Outcome:
        if "repository" in run.parameters:
            return Done({"deleted": 2})
        run.spawn({f"library/{number}": {"repository": f"library/{number}"} for number in range(30)})
        if not run.cursor:
            # What was added before a crash is not added again.
            return Again({"place": 1}, {"deleted": 1})
        return Done()

    world = World(step)
    execution = world.start({"dry_run": True})
    world.work(world.queue.sent[0][0])
    found = world.found(execution)
    assert found.metrics[Status.PENDING] == 30
    assert found.extra_attrs == {}

    for task in executions.tasks(world.services.directory, execution.id):
        world.work(task.id)

    found = world.found(execution)
    assert (found.status, found.metrics[Status.SUCCESS]) == (Status.SUCCESS, 31)
    assert found.extra_attrs == {"deleted": 61}
    tasks = executions.tasks(world.services.directory, execution.id)
    assert {task.parameters.get("repository") for task in tasks} == {None, *(f"library/{each}" for each in range(30))}
    assert all(task.parameters["dry_run"] for task in tasks)
    with pytest.raises(RefusedError, match="has ended"):
        executions.extend(world.services.directory, execution.id, {"late": {}})


def test_what_cannot_be_done_is_not_tried_again_and_says_why() -> None:
    world = World(lambda _: Failed("there is no such place", {"seen": 3}))
    execution = world.start()
    [(task_id, _)] = world.queue.sent

    world.work(task_id)

    task = world.task(execution)
    assert (task.status, task.error, task.extra_attrs) == (Status.ERROR, "there is no such place", {"seen": 3})
    assert world.found(execution).status is Status.ERROR
    assert [each.id for each in executions.dead(world.services.directory)] == [task_id]


def test_who_takes_over_a_long_step_goes_on_where_that_one_kept_its_place() -> None:
    cursors = []

    def step(run: TaskRun) -> Outcome:
        cursors.append(run.cursor)
        if run.cursor:
            return Done()
        run.keep({"place": 7})
        raise KilledError("step", "")

    world = World(step)
    world.start()
    [(task_id, _)] = world.queue.sent
    with pytest.raises(KilledError):
        world.work(task_id)

    world.pass_by(LEASE_SECONDS + 1)
    world.work(task_id)

    assert cursors == [{}, {"place": 7}]


def test_who_keeps_its_place_hears_of_a_stop_and_ends_there() -> None:
    went_on = []

    def step(run: TaskRun) -> Outcome:
        executions.stop_task(run.directory, run.task_id)
        run.keep({"place": 1})
        went_on.append(run.task_id)
        return Done()

    world = World(step)
    execution = world.start()
    [(task_id, _)] = world.queue.sent

    world.work(task_id)

    assert not went_on
    assert world.task(execution).status is Status.STOPPED
