"""What waits and what runs: in which state a queue is, and when nobody looks after it."""

from chalicelib.jobs import engine
from chalicelib.jobs.steps import Again, Done, Outcome, TaskRun
from chalicelib.policy.jobs import Kind
from chalicelib.store import pauses, schedules, waiting
from chalicelib.store.waiting import Queue, Waiting
from tests.jobs.test_engine import KIND, World

OTHERS = {kind.value: Queue(0, 0, 0) for kind in Kind if kind is not KIND}


def look(world: World) -> Waiting:
    return waiting.look(world.services.directory)


def test_where_nothing_is_to_be_done_nothing_waits() -> None:
    assert look(World()) == Waiting({KIND.value: Queue(0, 0, 0), **OTHERS}, 0, 0)


def test_what_waits_is_counted_with_the_time_of_the_first() -> None:
    world = World()
    world.start(tasks=3)
    world.pass_by(30)

    assert look(world).queues[KIND] == Queue(3, 30, 0)


def test_what_runs_does_not_wait_and_what_rests_is_scheduled() -> None:
    world = World(step=lambda _: Again({}, after=60))
    seen = []

    def step(_: TaskRun) -> Outcome:
        seen.append(look(world))
        return Again({}, after=60)

    world.step = step
    world.work(world.task(world.start()).id)

    assert seen[0].queues[KIND] == Queue(0, 0, 1)
    assert look(world).queues[KIND] == Queue(0, 0, 0)
    assert look(world).scheduled == 1


def test_what_nobody_looks_at_in_time_is_neglected() -> None:
    world = World()
    task = world.task(world.start())
    world.pass_by(60)
    assert look(world).neglected == 0

    world.pass_by(600)
    assert look(world).neglected == 600
    world.work(task.id)

    assert look(world).neglected == 0


def test_while_a_worker_is_busy_the_rest_may_wait() -> None:
    world, seen = World(), list[Waiting]()
    execution = world.start(tasks=2)
    world.pass_by(3600)

    def step(_: TaskRun) -> Outcome:
        seen.append(look(world))
        return Done()

    world.step = step
    world.work(world.task(execution).id)

    assert seen[0].queues[KIND].size == 1
    assert seen[0].neglected == 0


def test_what_is_paused_may_wait_as_long_as_it_likes() -> None:
    world = World()
    world.start()
    pauses.pause(world.services.directory, KIND)
    world.pass_by(24 * 3600)

    assert look(world).neglected == 0


def test_a_schedule_that_nobody_follows_is_neglected() -> None:
    world = World()
    schedules.lay(world.services.directory)
    world.pass_by(48 * 3600)

    assert look(world).neglected > 24 * 3600
    engine.tick(world.services)
    assert look(world).neglected == 0
    assert look(world).queues[Kind.HISTORY].size == 1
