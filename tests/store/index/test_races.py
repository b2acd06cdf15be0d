"""Pushes and deletes of the same things at once, in orders that a test chooses, and in those that threads find."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import product
from random import Random

import pytest

from chalicelib.jobs import reindex
from chalicelib.oci.errors import RegistryError
from chalicelib.oci.names import Tag
from chalicelib.store import manifests
from chalicelib.store.index import events, repositories, settle
from tests.memory import Inline
from tests.store.index.tables import InterruptedTable, StoppingTable
from tests.store.index.world import HOME, PROJECT, Json, World, digest_of, image, index_of, parsed

A, B = image("a"), image("b")
PAIR = index_of(A, B)


def deed(world: World, name: str) -> None:
    """Do what somebody else may do at any moment: in S3, then in the index."""
    deeds: dict[str, Callable[[], object]] = {
        "push": lambda: world.push(PAIR, "latest"),
        "push without a tag": lambda: world.push(PAIR),
        "push another": lambda: world.push(image("other"), "latest"),
        "delete": lambda: world.delete(digest_of(PAIR)),
        "delete a child": lambda: world.delete(digest_of(A)),
        "untag": lambda: world.untag("latest"),
        "describe": lambda: repositories.describe(world.index, world.home(), "words"),
    }
    with suppress(RegistryError):
        deeds[name]()


DEEDS = ("push", "push without a tag", "push another", "delete", "delete a child", "untag", "describe")


@pytest.mark.parametrize(("name", "number"), list(product(DEEDS, range(1, 7))))
def test_whatever_comes_between_two_commits_of_a_push_ends_as_s3_has_it(name: str, number: int) -> None:
    world = World()
    world.push(A)
    world.push(B, "b")
    index = world.over(InterruptedTable(world.table, {number: lambda: deed(world, name)}))

    digest = world.store(PAIR, "latest")
    events.pushed(index, PROJECT, HOME, parsed(PAIR), digest, [Tag("latest")])

    assert shown_without_sizes(world) == expected_without_sizes(world)


@pytest.mark.parametrize(("name", "number"), list(product(DEEDS, range(1, 7))))
def test_whatever_comes_between_two_commits_of_a_delete_ends_as_s3_has_it(name: str, number: int) -> None:
    world = World()
    world.push(A)
    world.push(B, "b")
    digest = world.push(PAIR, "latest", "v1")
    index = world.over(InterruptedTable(world.table, {number: lambda: deed(world, name)}))

    manifests.delete(world.index.content, HOME, digest)
    events.deleted(index, PROJECT, HOME, digest)

    assert shown_without_sizes(world) == expected_without_sizes(world)


def test_relations_that_a_late_deleter_takes_along_are_written_again() -> None:
    world = World()
    world.push(A)
    world.push(B)
    digest = world.push(PAIR, "latest")
    manifests.delete(world.index.content, HOME, digest)

    # The deleter's commits: the tag, the record, the relations.
    with pytest.raises(ConnectionResetError):
        events.deleted(world.over(StoppingTable(world.table, at=3, done=False)), PROJECT, HOME, digest)
    world.store(PAIR, "latest")

    def go_on() -> None:
        settle.unrelate(world.index, world.home(), str(digest))

    pusher = world.over(InterruptedTable(world.table, {1: go_on}))
    events.pushed(pusher, PROJECT, HOME, parsed(PAIR), digest, [Tag("latest")])

    assert shown_without_sizes(world) == expected_without_sizes(world)


def test_threads_that_push_delete_and_reindex_leave_what_s3_has() -> None:
    world = World(pool=ThreadPoolExecutor(8))
    world.push(A)
    names = ("push", "push another", "delete", "untag", "push", "delete a child")

    def work(seed: int) -> None:
        random = Random(seed)
        for _ in range(25):
            name = random.choice(names)
            if name == "push" and random.random() < 0.3:
                world.push(A, random.choice(["v1", "latest"]))
            elif name == "delete a child" and random.random() < 0.5:
                go_through(world)
            else:
                deed(world, name)

    with ThreadPoolExecutor(6) as workers:
        list(workers.map(work, range(6)))

    assert shown_without_sizes(world) == expected_without_sizes(world)
    go_through(world)
    assert world.shown() == world.expected()


def go_through(world: World) -> None:
    cursor = reindex.Cursor(PROJECT, "library", HOME.name)
    while cursor.phase < reindex.PHASES:
        cursor = reindex.within(world.index, Inline(), cursor)


def shown_without_sizes(world: World) -> Json:
    return _without_sizes(dict(world.shown()))


def expected_without_sizes(world: World) -> Json:
    return _without_sizes(dict(world.expected()))


def _without_sizes(shown: Json) -> Json:
    """Leave out the sizes: those of indexes count the children that were there when they were pushed."""
    return {**shown, "known": {digest: {**document, "size": 0} for digest, document in shown["known"].items()}}
