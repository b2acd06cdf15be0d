"""Fixed tags in the store: in every order of the requests of two who want the same, and with every fault."""

import pytest

from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.manifests import parse
from chalicelib.oci.names import Repository, Tag
from chalicelib.store import manifests
from chalicelib.store.content import Content
from tests.memory import Clock, Inline, MemoryObjects
from tests.store.client import Client, Document, image
from tests.store.faults import Fault, every_fault
from tests.store.schedule import Action, Choose, every_insertion, every_order, interleave, some_orders

CONFIG = b"{}"
ONE, TWO = image(CONFIG, annotations={"n": "1"}), image(CONFIG, annotations={"n": "2"})
REPOSITORY, TAG, OTHER = Repository("a/b"), Tag("v1"), Tag("free")
FIXED = frozenset({TAG})


def bucket() -> MemoryObjects:
    """Return a bucket where the repository holds what the manifests refer to."""
    clock = Clock()
    made = MemoryObjects(clock)
    Client.of(made, clock).push_blob("a/b", CONFIG)
    return made


def content(objects: MemoryObjects) -> Content:
    return Content(objects, Inline(), Clock())


def pushing(objects: MemoryObjects, document: Document) -> Action[None]:
    return Action(objects, lambda: push(objects, document))


def push(objects: MemoryObjects, document: Document, *tags: Tag) -> None:
    manifest = parse(document.content, document.media_type)
    manifests.put(content(objects), REPOSITORY, manifest, document.digest, tags or (TAG,), fixed=FIXED)


def delete(objects: MemoryObjects, digest: Digest) -> None:
    manifests.delete(content(objects), REPOSITORY, digest, FIXED.__contains__)


def named(objects: MemoryObjects, tag: Tag = TAG) -> bytes | None:
    try:
        return manifests.get(content(objects), REPOSITORY, tag).content
    except RegistryError as error:
        if error.code is not ErrorCode.MANIFEST_UNKNOWN:
            raise
        return None


def code(result: object) -> ErrorCode | None:
    """Return why something failed, or None."""
    if isinstance(result, RegistryError):
        return result.code
    assert result is None, result
    return None


def test_of_two_pushes_of_one_fixed_tag_exactly_one_wins() -> None:
    winners = set()

    def run(choose: Choose) -> None:
        objects = bucket()
        actions = [pushing(objects.beside(), document) for document in (ONE, TWO)]

        ended = interleave(actions, choose)
        results = [code(result) for result in ended]

        assert set(results) == {None, ErrorCode.DENIED}
        won = (ONE, TWO)[results.index(None)]
        assert named(objects) == won.content
        winners.add(won.digest)

    assert every_insertion(run) > 5
    some_orders(run, 100)
    assert len(winners) == 2


def test_two_pushes_of_the_same_manifest_at_once_may_both_win_and_one_does() -> None:
    def run(choose: Choose) -> None:
        objects = bucket()
        actions = [pushing(objects.beside(), ONE), pushing(objects.beside(), ONE)]

        ended = interleave(actions, choose)
        results = [code(result) for result in ended]

        assert None in results
        assert set(results) <= {None, ErrorCode.DENIED}
        assert named(objects) == ONE.content

    every_insertion(run)
    some_orders(run, 100)


def test_a_deletion_beside_the_push_of_a_fixed_tag_leaves_the_tag() -> None:
    outcomes = set()

    def run(choose: Choose) -> None:
        objects = bucket()
        push(objects, ONE, OTHER)
        deleter = objects.beside()
        actions = [pushing(objects.beside(), ONE), Action(deleter, lambda: delete(deleter, ONE.digest))]

        pushed, deleted = interleave(actions, choose)

        assert code(pushed) is None
        assert named(objects) == ONE.content
        outcomes.add(code(deleted))

    every_order(run)
    assert outcomes == {None, ErrorCode.DENIED}


def test_whatever_fails_on_the_way_a_fixed_tag_is_free_or_names_what_was_pushed() -> None:
    """A repeated request is one whose first answer was lost: the tag that is there then is its own."""

    def scenario(fault: Fault) -> None:
        objects = bucket()
        way = objects.beside()
        with fault.on(way):
            try:
                push(way, ONE)
            except RegistryError as error:
                assert error.code is ErrorCode.UNAVAILABLE, fault  # noqa: PT017 - where a fault is expected

        assert named(objects) in (None, ONE.content), fault
        if named(objects) is None:
            push(objects, TWO)
            assert named(objects) == TWO.content

    assert every_fault(scenario) >= 25


def test_a_refused_push_leaves_nothing_and_a_refused_deletion_everything() -> None:
    objects = bucket()
    push(objects, ONE, TAG, OTHER)
    before = objects.keys()

    with pytest.raises(RegistryError, match="cannot be updated"):
        push(objects, TWO, OTHER, TAG)
    with pytest.raises(RegistryError, match="cannot be deleted"):
        delete(objects, ONE.digest)

    assert objects.keys() == before
    assert named(objects, OTHER) == ONE.content


def test_a_fixed_tag_that_once_named_a_manifest_keeps_it_no_more() -> None:
    objects = bucket()
    manifest = parse(ONE.content, ONE.media_type)
    manifests.put(content(objects), REPOSITORY, manifest, ONE.digest, [TAG])
    manifests.put(content(objects), REPOSITORY, parse(TWO.content, TWO.media_type), TWO.digest, [TAG])

    delete(objects, ONE.digest)

    assert named(objects) == TWO.content
