"""What a page costs among 100 000 artifacts or 10 000 tags: the same wherever it is."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from chalicelib.oci.digests import Digest
from chalicelib.oci.names import Tag
from chalicelib.store.index import Index, artifacts, events, written
from chalicelib.store.index.repositories import RepositoryRecord
from chalicelib.store.table import Add, Key, Put, Slice, batches
from tests.memory import START
from tests.store.index.tables import CountingTable
from tests.store.index.world import HOME, PROJECT, World, image, parsed

ARTIFACTS, TAGS = 100_000, 10_000
PAGE = 100


@pytest.fixture(scope="module")
def large() -> World:
    """Return a repository whose records are written straight into the table, as pushes would leave them."""
    world = World()
    world.push(image("first"), "first")
    home = world.home()
    model = world.artifact(Digest.parse(world.listed()[0])).document
    for batch in batches(_records(home, model), 100):
        world.table.commit(*batch)
    tagged = artifacts.key(home, digest(0))
    world.table.commit(Add(tagged, {"tags": TAGS}), Add(home.record.key, {"artifacts": ARTIFACTS}))
    return world


def digest(number: int) -> str:
    return f"sha256:{number:064}"


def _records(home: RepositoryRecord, model: object) -> Iterator[Put]:
    assert isinstance(model, dict)
    for number in range(ARTIFACTS):
        document = {**model, "id": number, "digest": digest(number), "pushed": moment(number)}
        yield Put(artifacts.key(home, digest(number)), document)
        yield Put(artifacts.order_key(home, document), {})
    for number in range(TAGS):
        tag = {"id": number, "pushed": moment(number)}
        yield Put(Key(home.partition("tags"), f"v{number:05}"), {**tag, "digest": digest(0)})
        yield Put(artifacts.tagged_key(home, digest(0), f"v{number:05}"), tag)


def moment(number: int) -> str:
    return written(START + timedelta(seconds=1 + number))


def counted(world: World) -> tuple[CountingTable, Index]:
    table = CountingTable(world.table)
    return table, world.over(table)


@pytest.mark.parametrize("skip", [0, 1_000, ARTIFACTS // 2, 90_000, ARTIFACTS - PAGE + 1])
def test_a_page_of_artifacts_is_two_calls_wherever_it_is(large: World, skip: int) -> None:
    table, index = counted(large)

    page = artifacts.newest(index, large.home(), skip, PAGE)

    newest = ARTIFACTS - 1 - skip
    expected = [digest(number) for number in range(newest, max(newest - PAGE, -1), -1)]
    assert [found.digest for found in page][: len(expected)] == expected
    assert len(page) == PAGE
    assert dict(table.calls) == {"query": 1, "get_many": 1}
    assert table.brought == 2 * PAGE


def test_the_last_page_and_the_one_after_it(large: World) -> None:
    _, index = counted(large)

    assert len(artifacts.newest(index, large.home(), ARTIFACTS - 9, PAGE)) == 10
    assert artifacts.newest(index, large.home(), ARTIFACTS + 1, PAGE) == ()
    assert [found.digest for found in artifacts.oldest(index, large.home(), 1, 2)] == [digest(0), digest(1)]


@pytest.mark.parametrize("skip", [0, TAGS // 2, TAGS - PAGE])
def test_a_page_of_tags_is_one_call_wherever_it_is(large: World, skip: int) -> None:
    table, index = counted(large)

    page = artifacts.tags(index, large.home(), digest(0), Slice(skip=skip, limit=PAGE))

    assert [tag.name for tag in page.entries] == [f"v{number:05}" for number in range(skip, skip + PAGE)]
    assert dict(table.calls) == {"query": 1}


def test_one_tag_among_many_is_found_without_looking_at_others(large: World) -> None:
    table, index = counted(large)

    found = artifacts.find_tag(index, large.home(), "v09999")

    assert found
    assert found.digest == digest(0)
    assert dict(table.calls) == {"get": 2}


def test_a_push_costs_the_same_in_a_large_repository(large: World) -> None:

    table, index = counted(large)
    document = image("one more")
    pushed = large.store(document, "one-more")
    large.objects.asked.clear()

    events.pushed(index, PROJECT, HOME, parsed(document), pushed, [Tag("one-more")])

    assert table.calls["commit"] == 2
    assert table.calls.total() <= 16
    # Whether the tag still names the manifest.
    assert len(large.objects.asked) == 1
    large.delete(pushed)
