"""What begins by itself: once at each of its times, however many look, and never beside itself."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from threading import Thread
from typing import cast

import pytest

from chalicelib.jobs import engine
from chalicelib.oci.errors import RegistryError
from chalicelib.policy.jobs import KINDS, NO_VENDOR, Kind, Status, Trigger
from chalicelib.store import executions, pauses, schedules
from chalicelib.store.executions import Execution
from tests.jobs.test_engine import KIND, VENDOR, World
from tests.memory import Clock

HOURLY = "0 0 * * * *"


def begun(world: World) -> tuple[Execution, ...]:
    return executions.page(world.services.directory, KIND, VENDOR).entries


def test_a_schedule_begins_an_execution_at_each_of_its_times() -> None:
    world = World()
    made = schedules.set(world.services.directory, KIND, VENDOR, HOURLY, {"dry_run": True}, "admin", "Hourly")
    assert made.next.isoformat() == "2026-03-01T13:00:00+00:00"

    for hours in range(1, 4):
        world.pass_by(3599)
        engine.tick(world.services)
        assert len(begun(world)) == hours - 1
        world.pass_by(1)
        engine.tick(world.services)
        engine.tick(world.services)
        assert len(begun(world)) == hours
        world.work(world.queue.sent[-1][0])

    latest = begun(world)[0]
    assert (latest.trigger, latest.parameters, latest.by) == (Trigger.SCHEDULE, {"dry_run": True}, "admin")
    assert latest.status is Status.SUCCESS


def test_times_that_passed_unseen_begin_one_together() -> None:
    world = World()
    schedules.set(world.services.directory, KIND, VENDOR, HOURLY, {})
    world.pass_by(10 * 3600 + 5)

    engine.tick(world.services)

    assert len(begun(world)) == 1
    found = schedules.get(world.services.directory, KIND, VENDOR)
    assert found is not None
    assert found.next == world.clock.moment + timedelta(seconds=3595)


def test_a_time_passes_while_the_last_execution_runs() -> None:
    world = World()
    schedules.set(world.services.directory, KIND, VENDOR, HOURLY, {})
    first = world.start()
    world.pass_by(3600)
    engine.tick(world.services)
    assert [each.id for each in begun(world)] == [first.id]

    world.work(world.task(first).id)
    engine.tick(world.services)
    assert [each.id for each in begun(world)] == [first.id]
    world.pass_by(3600)
    engine.tick(world.services)
    assert len(begun(world)) == 2


def test_a_schedule_is_replaced_and_removed() -> None:
    world = World()
    directory = world.services.directory
    first = schedules.set(directory, KIND, VENDOR, HOURLY, {})
    second = schedules.set(directory, KIND, VENDOR, "0 0 0 * * *", {"dry_run": True})
    assert (second.id, second.created) == (first.id, first.created)
    world.pass_by(3600)
    engine.tick(world.services)
    assert begun(world) == ()

    assert [each.cron for each in schedules.all_of(directory) if each.kind is KIND] == ["0 0 0 * * *"]
    assert schedules.remove(directory, KIND, VENDOR)
    assert not schedules.remove(directory, KIND, VENDOR)
    world.pass_by(24 * 3600)
    engine.tick(world.services)
    assert begun(world) == ()


def test_what_cannot_be_followed_is_refused() -> None:
    directory = World().services.directory
    with pytest.raises(ValueError, match="six fields"):
        schedules.set(directory, KIND, VENDOR, "* * * * *", {})
    missing = cast("Kind", "OF_ANOTHER_VERSION")
    with pytest.raises(RegistryError, match="not built"):
        schedules.set(directory, missing, VENDOR, HOURLY, {})


def test_while_schedules_are_paused_their_times_pass() -> None:
    world = World()
    directory = world.services.directory
    schedules.set(directory, KIND, VENDOR, HOURLY, {})
    pauses.pause(directory, pauses.SCHEDULER)
    world.pass_by(3600)
    engine.tick(world.services)
    assert begun(world) == ()

    pauses.resume(directory, pauses.SCHEDULER)
    engine.tick(world.services)
    assert begun(world) == ()
    world.pass_by(3600)
    engine.tick(world.services)
    assert len(begun(world)) == 1


def test_tasks_of_a_paused_kind_wait() -> None:
    world = World()
    directory = world.services.directory
    pauses.pause(directory, KIND)
    execution = world.start()
    world.work(world.task(execution).id)
    world.pass_by(3600)
    engine.tick(world.services)
    assert world.task(execution).status is Status.PENDING
    assert len(world.queue.sent) == 1

    pauses.resume(directory, KIND)
    engine.tick(world.services)
    world.work(world.queue.sent[-1][0])
    assert world.found(execution).status is Status.SUCCESS


@dataclass
class Met:
    """A clock of one who, between reading and writing, lets somebody else do something."""

    clock: Clock
    meet: Callable[[], object]
    left: int

    def __call__(self) -> datetime:
        self.left -= 1
        if self.left == 0:
            self.meet()
        return self.clock()


@pytest.mark.parametrize("place", range(1, 6))
def test_of_two_who_see_that_a_schedule_is_due_one_begins_it(place: int) -> None:
    world = World()
    directory = world.services.directory
    schedules.set(directory, KIND, VENDOR, HOURLY, {})
    world.pass_by(3600)

    def meet() -> None:
        schedules.follow(directory, f"{KIND}/{VENDOR}")
        world.work(world.queue.sent[-1][0])

    schedules.follow(replace(directory, now=Met(world.clock, meet, place)), f"{KIND}/{VENDOR}")

    assert len(begun(world)) == 1


def test_many_who_look_at_once_begin_one() -> None:
    world = World()
    schedules.set(world.services.directory, KIND, VENDOR, HOURLY, {})
    world.pass_by(3600)
    threads = [Thread(target=engine.tick, args=(world.services,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(begun(world)) == 1


def test_every_registry_has_the_schedules_of_its_own_jobs_and_begins_with_them() -> None:
    world = World()
    engine.wake(world.services)
    engine.wake(world.services)

    own = {kind: row.cron for kind, row in KINDS.items() if row.cron}
    found = schedules.all_of(world.services.directory)
    assert {each.kind: each.cron for each in found} == own
    for kind in own:
        [execution] = executions.page(world.services.directory, kind, NO_VENDOR).entries
        assert execution.trigger is Trigger.SCHEDULE
