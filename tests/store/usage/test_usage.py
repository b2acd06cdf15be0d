"""What counts as used in a project: each digest once, as long as somebody holds it."""

from contextlib import suppress

import pytest

from chalicelib.oci.digests import Digest
from chalicelib.oci.names import Repository
from chalicelib.store import manifests
from chalicelib.store.index import Index, removal
from chalicelib.store.usage import counting, settling
from chalicelib.store.usage.settling import Pushed
from tests.store.index.tables import CountingTable, InterruptedTable, StoppingTable
from tests.store.index.world import HOME, PROJECT, Json, World, digest_of, image, parsed

OTHER = Repository("library/other")
BLOB = Digest.of(b"a blob")


@pytest.fixture
def world() -> World:
    return World()


def used(world: World) -> int:
    return counting.used(world.index, PROJECT)


def push(world: World, document: Json, *tags: str, repository: Repository = HOME) -> Pushed:
    """Push a manifest as the registry does: what it holds is taken, S3, then what was uploaded is settled."""
    pushed = Pushed(PROJECT, repository, digest_of(document), parsed(document))
    for blob in (each for each in (document["config"], *document["layers"]) if "urls" not in each):
        settling.uploaded(world.index, PROJECT, repository, Digest.parse(blob["digest"]), blob["size"])
    settling.take(world.index, pushed)
    world.push(document, *tags, repository=repository)
    settling.kept(world.index, pushed)
    return pushed


def pushed_again(world: World) -> None:
    push(world, image("a"))


def delete(world: World, pushed: Pushed) -> None:
    manifests.delete(world.index.content, pushed.repository, pushed.digest)
    told_deleted(world.index, pushed)


def told_deleted(index: Index, pushed: Pushed) -> None:
    settling.deleted(index, PROJECT, pushed.repository, pushed.digest)


def size(*documents: Json) -> int:
    """Return the bytes of manifests and of what they name, each once."""
    blobs = {blob["digest"]: blob["size"] for each in documents for blob in (each["config"], *each["layers"])}
    own = {digest_of(each): len(parsed(each).content) for each in documents}
    total: int = sum(blobs.values()) + sum(own.values())
    return total


def test_an_image_counts_with_its_manifest_and_its_blobs_and_is_freed_with_it(world: World) -> None:
    pushed = push(world, image("a"))
    assert used(world) == size(image("a"))

    delete(world, pushed)
    assert used(world) == 0


def test_what_two_images_share_counts_once_and_goes_with_the_last(world: World) -> None:
    shared = image("a")["layers"]
    one, two = image("one", layers=shared), image("two", layers=shared)
    first, second = push(world, one), push(world, two, repository=OTHER)
    assert used(world) == size(one, two)

    delete(world, first)
    assert used(world) == size(two)
    delete(world, second)
    assert used(world) == 0


def test_the_same_image_in_two_repositories_counts_once_and_in_two_projects_twice(world: World) -> None:
    push(world, image("a"))
    second = push(world, image("a"), repository=OTHER)
    assert used(world) == size(image("a"))

    delete(world, second)
    assert used(world) == size(image("a"))
    settling.uploaded(world.index, PROJECT + 1, Repository("other/x"), BLOB, 6)
    assert (used(world), counting.used(world.index, PROJECT + 1)) == (size(image("a")), 6)


def test_an_upload_counts_until_its_link_goes(world: World) -> None:
    settling.uploaded(world.index, PROJECT, HOME, BLOB, 6)
    settling.uploaded(world.index, PROJECT, OTHER, BLOB, 6)
    settling.uploaded(world.index, PROJECT, HOME, BLOB, 6)
    assert used(world) == 6

    settling.released(world.index, PROJECT, HOME, BLOB)
    assert used(world) == 6
    settling.released(world.index, PROJECT, OTHER, BLOB)
    assert used(world) == 0


def test_content_that_is_elsewhere_counts_nothing(world: World) -> None:
    foreign = {**image("a")["layers"][0], "urls": ["https://elsewhere.test/layer"], "size": 10**9}
    document = image("a", layers=[foreign])

    pushed = push(world, document)

    assert used(world) == len(pushed.manifest.content) + document["config"]["size"]


def test_a_descriptor_that_lies_about_a_size_counts_with_the_true_one(world: World) -> None:
    layer = image("a")["layers"][0]
    world.store(image("a"))
    lying = image("a", layers=[{**layer, "size": 1}])

    settling.take(world.index, Pushed(PROJECT, HOME, digest_of(lying), parsed(lying)))

    assert used(world) == size(lying) - 1 + layer["size"]


def test_a_manifest_of_many_blobs_is_taken_and_given_up_in_parts(world: World) -> None:
    layers = [{**image(str(number))["layers"][0], "size": number} for number in range(120)]
    pushed = push(world, image("many", layers=layers))
    assert used(world) == size(image("many", layers=layers))

    delete(world, pushed)
    assert used(world) == 0


def test_a_repository_that_goes_takes_along_what_its_images_held(world: World) -> None:
    for name in "abc":
        push(world, image(name))
    push(world, image("b"), repository=OTHER)
    removal.remove(world.index, PROJECT, HOME)

    settling.repository_gone(world.index, PROJECT, HOME)

    assert used(world) == size(image("b"))


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("at", range(1, 8))
def test_wherever_a_delete_is_cut_off_it_can_be_done_again(world: World, at: int, done: bool) -> None:
    document = image("a", layers=image("b")["layers"])
    pushed = push(world, document)
    push(world, image("b"))
    manifests.delete(world.index.content, HOME, pushed.digest)

    stopping = world.over(StoppingTable(world.table, at=at, done=done))
    with suppress(ConnectionResetError):
        told_deleted(stopping, pushed)
    assert used(world) >= size(image("b"))
    told_deleted(world.index, pushed)
    counting.free(world.index, PROJECT, pushed.held())

    assert used(world) == size(image("b"))


@pytest.mark.parametrize("at", range(1, 5))
def test_a_push_between_the_steps_of_a_delete_stays_counted(world: World, at: int) -> None:
    pushed = push(world, image("a"))
    manifests.delete(world.index.content, HOME, pushed.digest)
    interrupted = InterruptedTable(world.table, {at: lambda: pushed_again(world)})

    told_deleted(world.over(interrupted), pushed)

    assert used(world) == size(image("a"))


@pytest.mark.parametrize("at", range(1, 4))
def test_a_delete_between_the_steps_of_a_push_leaves_what_s3_has(world: World, at: int) -> None:
    pushed = push(world, image("a"))
    interrupted = world.over(InterruptedTable(world.table, {at: lambda: delete(world, pushed)}))

    settling.take(interrupted, pushed)
    world.store(image("a"))
    settling.kept(interrupted, pushed)

    stored = manifests.is_stored(world.index.content, HOME, pushed.digest)
    assert used(world) == (size(image("a")) if stored else 0)


def test_a_manifest_that_was_refused_in_s3_is_given_up(world: World) -> None:
    pushed = Pushed(PROJECT, HOME, digest_of(image("a")), parsed(image("a")))
    settling.take(world.index, pushed)

    settling.settle(world.index, PROJECT, HOME, pushed.digest, pushed.manifest)

    assert used(world) == 0


def test_a_new_blob_takes_one_call_and_a_new_image_two_and_one_after_it(world: World) -> None:
    table = CountingTable(world.table)
    index = world.over(table)
    settling.uploaded(index, PROJECT, HOME, BLOB, 6)
    assert table.calls.total() == 1

    document = image("eight", layers=[image(str(number))["layers"][0] for number in range(8)])
    for blob in (document["config"], *document["layers"]):
        settling.uploaded(world.index, PROJECT, HOME, Digest.parse(blob["digest"]), blob["size"])
    pushed = Pushed(PROJECT, HOME, digest_of(document), parsed(document))
    table.calls.clear()
    settling.take(index, pushed)
    assert table.calls == {"commit": 1, "get_many": 1}
    world.store(document)
    table.calls.clear()
    settling.kept(index, pushed)
    assert table.calls == {"commit": 1}


def test_a_push_whose_records_a_delete_took_away_brings_them_back(world: World) -> None:
    pushed = push(world, image("a"))
    settling.take(world.index, pushed)
    delete(world, pushed)
    assert used(world) == 0

    world.store(image("a"))
    settling.kept(world.index, pushed)

    assert used(world) == size(image("a"))


def test_a_push_that_a_delete_overtook_leaves_nothing_counted(world: World) -> None:
    document = image("a")
    pushed = Pushed(PROJECT, HOME, digest_of(document), parsed(document))
    settling.take(world.index, pushed)
    world.push(document)
    delete(world, pushed)
    settling.uploaded(world.index, PROJECT, HOME, Digest.parse(document["config"]["digest"]), 60)

    settling.kept(world.index, pushed)

    assert used(world) == 0
