"""Pulls: counted in memory by many threads, written now and then, and never lost to the wrong time."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from chalicelib.oci.names import Repository
from chalicelib.store.index import artifacts, pulls, written
from chalicelib.store.pulls import PullCounter, Pulled, Pulls
from tests.memory import START
from tests.store.index.tables import InterruptedTable
from tests.store.index.world import HOME, PROJECT, World, image


def project_of(repository: Repository) -> int | None:
    return PROJECT if repository.name.startswith("library/") else None


def test_pulls_are_counted_for_the_repository_and_dated_for_artifact_and_tag() -> None:
    world = World()
    digest = world.push(image("one"), "v1", "v2")
    counter = PullCounter()
    later = START + timedelta(minutes=5)
    counter.count(Pulled(HOME, str(digest)), START + timedelta(minutes=1))
    counter.count(Pulled(HOME, str(digest), "v1"), later)
    counter.count(Pulled(HOME, str(digest), "v1"), later)

    pulls.flush(world.index, counter.take(), project_of)

    assert world.home().pulls == 3
    assert world.artifact(digest).pulled == written(later)
    dates = {tag.name: tag.pulled for tag in artifacts.tags(world.index, world.home(), str(digest)).entries}
    assert dates == {"v1": written(later), "v2": ""}
    assert counter.take() == {}


def test_the_time_of_the_last_pull_never_goes_back_and_never_ahead() -> None:
    world = World()
    digest = world.push(image("one"))
    first, last = START + timedelta(minutes=1), START + timedelta(minutes=9)

    def flush_beside() -> None:
        pulls.flush(world.index, {Pulled(HOME, str(digest)): Pulls(1, last)}, project_of)

    slow = world.over(InterruptedTable(world.table, {1: flush_beside}))
    pulls.flush(slow, {Pulled(HOME, str(digest)): Pulls(2, first)}, project_of)
    pulls.flush(world.index, {Pulled(HOME, str(digest)): Pulls(1, first)}, project_of)

    assert world.home().pulls == 4
    assert world.artifact(digest).pulled == written(last)


def test_pulls_of_what_is_gone_are_left_out() -> None:
    world = World()
    digest = world.push(image("one"), "v1")
    world.delete(digest)
    now = world.clock()

    pulls.flush(
        world.index,
        {
            Pulled(HOME, str(digest), "v1"): Pulls(1, now),
            Pulled(Repository("library/gone"), str(digest)): Pulls(1, now),
            Pulled(Repository("gone/app"), str(digest)): Pulls(1, now),
        },
        project_of,
    )

    assert world.home().pulls == 1
    assert world.shown() == world.expected()


def test_threads_count_every_pull_and_a_flood_of_names_is_bounded() -> None:
    counter = PullCounter(most=100)

    def pull(thread: int) -> None:
        for number in range(1000):
            counter.count(Pulled(HOME, "the same"), START)
            counter.count(Pulled(HOME, f"{thread} {number}"), START)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(pull, range(8)))
    taken = counter.take()

    assert taken[Pulled(HOME, "the same")].count == 8000
    assert len(taken) == 100


def test_what_could_not_be_told_is_remembered_with_what_came_since() -> None:
    counter = PullCounter(most=2)
    one, two, three = (Pulled(HOME, name) for name in ("one", "two", "three"))
    for pulled in (one, one, two):
        counter.count(pulled, START)
    taken = counter.take()
    later = START + timedelta(minutes=1)
    for pulled in (one, three):
        counter.count(pulled, later)

    counter.put_back(taken)

    assert counter.take() == {one: Pulls(3, later, START), three: Pulls(1, later)}
