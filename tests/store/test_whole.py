"""What a pull would not find is told by name, through indexes down to their layers."""

from collections.abc import Iterable
from typing import Any

import pytest

from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.store import layout, whole
from chalicelib.store.whole import Missing
from tests.store.index.world import HOME, World, digest_of, image, index_of, parsed

INNER, OUTER = image("inner"), image("outer")
BOTH = index_of(INNER, OUTER)
NESTED = index_of(BOTH)


def world(*documents: Any) -> World:
    made = World()
    for document in documents:
        made.store(document)
    return made


def missing(made: World, document: Any) -> Missing:
    return whole.missing(made.index.content, HOME, parsed(document))


def digests(found: Iterable[Any]) -> frozenset[Digest]:
    return frozenset(Digest.parse(each["digest"]) for each in found)


def test_nothing_is_missing_of_what_is_there() -> None:
    made = world(INNER, OUTER, BOTH, NESTED)

    assert not missing(made, INNER)
    assert not missing(made, NESTED)


@pytest.mark.parametrize("document", [INNER, BOTH, NESTED])
def test_bytes_and_links_that_are_not_there_are_named_however_deep(document: Any) -> None:
    made = world(INNER, OUTER, BOTH, NESTED)
    [layer] = INNER["layers"]
    made.objects.delete(layout.data(layer["digest"]))
    made.objects.delete(layout.link(HOME, Digest.parse(INNER["config"]["digest"])))

    assert missing(made, document) == Missing(digests([layer, INNER["config"]]))


def test_manifests_below_an_index_are_named_too() -> None:
    made = world(INNER, OUTER, BOTH)
    made.objects.delete(layout.manifest(HOME, digest_of(OUTER)))

    assert missing(made, BOTH) == Missing(manifests=frozenset({digest_of(OUTER)}))


def test_what_is_held_elsewhere_is_not_missed() -> None:
    layer = {**INNER["layers"][0], "digest": str(Digest.of(b"elsewhere")), "urls": ["https://elsewhere.test/x"]}
    foreign = {**INNER, "layers": [layer]}

    assert not missing(world(INNER), foreign)


def test_a_store_that_does_not_answer_is_no_answer() -> None:
    made = world(INNER, OUTER, BOTH)

    def fail(_operation: str, key: str) -> None:
        if key.startswith(layout.manifests(HOME)):
            raise RegistryError(ErrorCode.UNAVAILABLE, "try later")

    made.objects.before = fail

    with pytest.raises(RegistryError, match="try later"):
        missing(made, BOTH)
