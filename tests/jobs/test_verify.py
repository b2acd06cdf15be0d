"""What a verification finds and repairs; that it leaves what is right alone, whatever is damaged."""

import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import RegistryError
from chalicelib.oci.names import Repository, Tag
from chalicelib.policy.damage import ROWS, Damage, line
from chalicelib.store import blobs, layout
from chalicelib.store.index import artifacts, repositories
from chalicelib.store.table import Delete, every
from chalicelib.store.usage import taken
from tests.jobs.collecting import collect
from tests.jobs.verifying import (
    APP,
    BESIDE,
    FAR,
    LAYER,
    LONG,
    ONE,
    OTHER,
    SIGNATURE,
    TWO,
    Registry,
    kinds,
    look,
)
from tests.store.client import Client, Document
from tests.store.faults import Fault, Kind, every_fault

WHOLE: tuple[tuple[Document, object, Repository], ...] = (
    (ONE, "v1", APP),
    (ONE, "same", APP),
    (TWO, "v2", APP),
    (SIGNATURE, SIGNATURE.digest, APP),
    (ONE, ONE.digest, BESIDE),
    (ONE, "v1", FAR),
    (ONE, ONE.digest, FAR),
)


@pytest.fixture
def registry() -> Registry:
    return Registry()


def test_a_registry_that_is_whole_has_nothing_wrong_and_stays_as_it_is(registry: Registry) -> None:
    registry.retire()
    registry.clock.advance(LONG)
    before = {key: registry.bucket.get(key) for key in registry.bucket.keys()}  # noqa: SIM118 - of a bucket

    asked: tuple[dict[str, Any], ...] = (
        {"sample": 0},
        {"sample": 100},
        {"sample": 100, "repair": True},
        {"project": "library"},
    )
    for parameters in asked:
        report = look(registry.services, **parameters)
        assert (report["found"], report["left"]) == ({}, 0), parameters

    assert {key: registry.bucket.get(key) for key in registry.bucket.keys()} == before  # noqa: SIM118 - as above


def test_what_is_under_way_is_left_alone() -> None:
    registry = Registry()
    registry.clock.advance(-LONG)

    assert kinds(registry.services, repair=True) == {}


# What is planted, what is told of it, and what is left after a repair.


class Planted(NamedTuple):
    name: str
    plant: Callable[[Registry], None]
    found: Mapping[Damage, int]
    left: Mapping[Damage, int] = {}


def _damage(key: Callable[[Registry], str], content: bytes = b"{}") -> Callable[[Registry], None]:
    return lambda registry: registry.bucket.damage(key(registry), content)


def _lose(*keys: str) -> Callable[[Registry], None]:
    return lambda registry: registry.lose(*keys)


def _elsewhere(registry: Registry) -> None:
    """Let a link lead to bytes that are gone, while the index knows others."""
    lost = blobs.Blob(layout.data("lost"), len(LAYER))
    blobs.hold(registry.services.content, APP, Digest.of(LAYER), lost)
    registry.clock.advance(LONG)


def _bytes(content: bytes) -> Callable[[Registry], None]:
    def plant(registry: Registry) -> None:
        registry.bucket.put(layout.data("crashed"), content)
        registry.clock.advance(LONG)

    return plant


def _forget(registry: Registry, *, tag: bool = False, repository: bool = False) -> None:
    """Take something from the index of artifacts."""
    found = _home(registry)
    key = artifacts.tag_key(found, "v1") if tag else artifacts.key(found, str(TWO.digest))
    registry.bucket.table.commit(Delete(found.record.key if repository else key))


def _home(registry: Registry) -> repositories.RepositoryRecord:
    found = repositories.find(registry.services.index, 1, APP)
    assert found
    return found


_MANIFEST, _ENTRY = layout.manifest(APP, ONE.digest), layout.blob(Digest.of(LAYER))
_REFERRER = layout.referrer(APP, ONE.digest, SIGNATURE.digest)
_HIT, _ONE = {Damage.IMAGE_BROKEN: 3}, {Damage.IMAGE_BROKEN: 1}
# fmt: off
PLANTED = (
    Planted("a manifest's bytes, which tags carry", _damage(lambda _: _MANIFEST), {Damage.MANIFEST_DAMAGED: 1}),
    Planted("a manifest's bytes, which nobody has",
            _damage(lambda _: layout.manifest(BESIDE, ONE.digest)),
            {Damage.MANIFEST_DAMAGED: 1}, {Damage.MANIFEST_DAMAGED: 1}),
    Planted("a tag's bytes", _damage(lambda _: layout.tag(APP, Tag("v1"))), {Damage.TAG_DAMAGED: 1}),
    Planted("a tag does not say what it names", lambda registry: registry.strip(APP, "v1"), {Damage.TAG_DAMAGED: 1}),
    Planted("a tag's manifest", _lose(layout.manifest(APP, TWO.digest)), {Damage.TAG_WITHOUT_MANIFEST: 1}),
    Planted("a tag's hint", _lose(layout.tagged(APP, ONE.digest) + "v1"), {Damage.TAG_WITHOUT_HINT: 1}),
    Planted("all that an index names",
            _lose(layout.manifest(BESIDE, ONE.digest)),
            {Damage.INDEX_WITHOUT_CHILDREN: 1, Damage.RECORD_WRONG: 1}, {Damage.INDEX_WITHOUT_CHILDREN: 1}),
    Planted("a referrer's entry", _lose(_REFERRER), {Damage.REFERRER_MISSING: 1}),
    Planted("what a referrer's entry says", _damage(lambda _: _REFERRER, b"?"), {Damage.REFERRER_MISSING: 1}),
    Planted("a referrer's manifest",
            _lose(layout.manifest(APP, SIGNATURE.digest)), {Damage.REFERRER_STRAY: 1, Damage.RECORD_WRONG: 1}),
    Planted("what a link says", _damage(lambda registry: registry.link(LAYER)), {Damage.LINK_DAMAGED: 1, **_ONE}),
    Planted("the bytes that a link leads to, not the only ones", _elsewhere, {Damage.BLOB_MISSING: 1, **_ONE}),
    Planted("the only bytes of a blob",
            lambda registry: registry.lose(registry.data(LAYER)),
            {Damage.BLOB_MISSING: 3, Damage.ENTRY_BROKEN: 1, **_HIT}, {Damage.BLOB_MISSING: 3, **_HIT}),
    Planted("half of the bytes of a blob",
            _damage(lambda registry: registry.data(LAYER), LAYER[:2]),
            {Damage.BLOB_MISSING: 3, Damage.ENTRY_BROKEN: 1, **_HIT}, {Damage.BLOB_MISSING: 3, **_HIT}),
    Planted("some of the bytes of a blob",
            _damage(lambda registry: registry.data(LAYER), LAYER.upper()),
            {Damage.BLOB_DAMAGED: 3, Damage.ENTRY_DAMAGED: 1, **_HIT}, {Damage.BLOB_DAMAGED: 3, **_HIT}),
    Planted("a link that the project has elsewhere",
            lambda registry: registry.lose(registry.link(LAYER)), {Damage.BLOB_NOT_HELD: 1}),
    Planted("a link that no other repository of the project has",
            lambda registry: registry.lose(registry.link(LAYER, FAR)),
            {Damage.BLOB_NOT_HELD: 1}, {Damage.BLOB_NOT_HELD: 1}),
    Planted("an entry of the index of blobs", _lose(_ENTRY), {Damage.LINK_WITHOUT_ENTRY: 3}),
    Planted("what an entry says", _damage(lambda _: _ENTRY, b"[]"), {Damage.ENTRY_BROKEN: 1}),
    Planted("bytes of a crash", _bytes(b"of a crash"), {Damage.BYTES_UNKNOWN: 1}),
    Planted("bytes twice", _bytes(LAYER), {Damage.BYTES_SUPERFLUOUS: 1}),
    Planted("a repository in the catalog", _lose(layout.catalog(BESIDE)), {Damage.CATALOG_MISSING: 1}),
    Planted("an artifact's record", _forget, {Damage.RECORD_WRONG: 1}),
    Planted("a tag's record", lambda registry: _forget(registry, tag=True), {Damage.RECORD_WRONG: 1}),
    Planted("a repository's record", lambda registry: _forget(registry, repository=True), {Damage.RECORD_WRONG: 1}),
)
# fmt: on


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
def test_what_is_damaged_is_found_and_repaired_as_far_as_that_is_possible(
    registry: Registry, planted: Planted
) -> None:
    planted.plant(registry)

    assert kinds(registry.services) == planted.found
    for _ in range(2):
        look(registry.services, sample=100, repair=True)
        registry.clock.advance(LONG)
    assert kinds(registry.services) == planted.left


@pytest.mark.parametrize("damage", Damage)
def test_every_damage_has_words_that_say_what_to_do(damage: Damage) -> None:
    row = ROWS[damage]

    assert row.says
    assert row.advice
    assert line(damage, "library/app", ("v1", ""), repaired=False).endswith(row.advice)


def test_what_a_repair_mends_is_what_the_table_says() -> None:
    planted = {damage for each in PLANTED for damage in each.found}

    assert planted | {Damage.USAGE_WRONG, Damage.NAME_UNKNOWN} == set(Damage)
    assert {damage for damage, row in ROWS.items() if not row.mends} == {
        Damage.INDEX_WITHOUT_CHILDREN,
        Damage.IMAGE_BROKEN,
        Damage.NAME_UNKNOWN,
    }


def test_the_log_names_the_images_that_are_hit(registry: Registry) -> None:
    registry.bucket.damage(registry.data(OTHER), OTHER.upper())

    report = look(registry.services, sample=100)

    assert f"image_broken library/app {TWO.digest} {Digest.of(OTHER)}: " in report["log"]
    assert report["left"] == sum(report["found"].values()) == 3 + 1 + 1


def test_no_bytes_are_read_unless_a_sample_is_asked_for(registry: Registry) -> None:
    registry.bucket.damage(registry.data(OTHER), OTHER.upper())

    assert kinds(registry.services, sample=0) == {}
    some = [bool(kinds(registry.services, sample=50)) for _ in range(20)]
    assert set(some) == {True, False}


def test_nothing_else_is_looked_at_than_what_is_asked_for(registry: Registry) -> None:
    registry.lose(layout.tagged(APP, ONE.digest) + "v1", layout.tagged(FAR, ONE.digest) + "v1", _ENTRY)

    cases: tuple[tuple[dict[str, Any], int, int], ...] = (
        ({"project": "library"}, 2, 1),
        ({"project": "a"}, 1, 1),
        ({"project": "library", "repository": "app/0beside"}, 1, 0),
        ({"project": "library", "repository": "none"}, 1, 0),
        ({"project": "none"}, 0, 0),
        ({}, 3, 2),
    )
    for parameters, repositories_, hints in cases:
        report = look(registry.services, sample=0, **parameters)
        assert (report["repositories"], report["found"].get(Damage.TAG_WITHOUT_HINT, 0)) == (repositories_, hints)


def test_what_counts_as_used_is_counted_again(registry: Registry) -> None:
    for record in every(registry.bucket.table, taken(1, APP)):
        registry.bucket.table.commit(Delete(record.key))

    assert kinds(registry.services) == {}
    assert kinds(registry.services, repair=True)[Damage.USAGE_WRONG] > 0
    assert kinds(registry.services, repair=True) == {}


def test_names_that_the_registry_never_writes_are_told(registry: Registry) -> None:
    registry.bucket.put(layout.manifests(APP) + "sha256/short", b"")
    registry.bucket.put(layout.links(APP) + "sha256/short", b"")
    registry.bucket.put(layout.tags(APP) + "-no-tag", b"")
    registry.bucket.put(layout.all_referrers(APP) + "none", b"")
    registry.bucket.put(layout.BLOBS + "short", b"")
    registry.clock.advance(LONG)

    assert kinds(registry.services) == {Damage.NAME_UNKNOWN: 5}


# Whatever is damaged, and wherever it is cut off.


def _pulled(registry: Registry) -> set[tuple[str, str]]:
    """Return which of the images can be pulled whole, by repository and reference."""
    return {
        (repository.name, str(reference))
        for document, reference, repository in WHOLE
        if registry.pulls(document, reference, repository)
    }


def _wreck(registry: Registry, chance: random.Random) -> None:
    """Do something to an object of the registry."""
    key = chance.choice(registry.bucket.keys())
    found = registry.bucket.get(key)
    assert found
    match chance.randrange(5):
        case 0:
            registry.lose(key)
        case 1:
            registry.bucket.damage(key, chance.choice((b"", b"{}", b"[1]", b"null", b'{"key": 1}', b"\xff")))
        case 2:
            registry.bucket.damage(key, found.content[: len(found.content) // 2])
        case 3:
            registry.bucket.damage(key, found.content.swapcase())
        case _:
            registry.bucket.put(key, found.content)


@given(st.integers(0, 1 << 32), st.integers(1, 6))
@example(53, 6)  # a link that is no record, and what its upload counts
@settings(max_examples=20, deadline=None, phases=[Phase.explicit, Phase.generate])
def test_whatever_is_damaged_is_survived_and_no_repair_takes_what_could_be_pulled(seed: int, number: int) -> None:
    registry, chance = Registry(), random.Random(seed)
    for _ in range(number):
        _wreck(registry, chance)
    registry.clock.advance(LONG)
    before = _pulled(registry)

    seen = look(registry.services, hurried=chance.random() < 0.5, sample=100)
    assert _pulled(registry) == before
    left = [look(registry.services, sample=100, repair=True)["left"] for _ in range(3)][-1]
    registry.clock.advance(LONG)

    assert _pulled(registry) >= before
    assert look(registry.services, sample=100)["left"] == left <= seen["left"] + number
    collect(registry.services)
    assert _pulled(registry) >= before


TOGETHER = (
    "a manifest's bytes, which tags carry",
    "a tag's hint",
    "a referrer's entry",
    "what a link says",
    "bytes twice",
    "a repository in the catalog",
)


def _cut_off(fault: Fault) -> None:
    """Let a repair of several damages be cut off, and see that the next ones finish it."""
    registry = Registry()
    for each in PLANTED:
        if each.name in TOGETHER:
            each.plant(registry)
    before = _pulled(registry)
    cut = Client.of(registry.bucket, registry.clock)
    with fault.on(cut.objects), suppress(RegistryError):
        look(cut.services, hurried=False, sample=100, repair=True)
    for _ in range(2):
        look(registry.services, hurried=False, sample=100, repair=True)
    registry.clock.advance(LONG)

    assert _pulled(registry) >= before
    assert kinds(registry.services, hurried=False) == {}


@pytest.mark.parametrize("number", range(1, 160, 11))
def test_a_repair_that_is_killed_is_finished_by_the_next(number: int) -> None:
    _cut_off(Fault(Kind.KILLED_AFTER, number))


@pytest.mark.soak
def test_a_repair_that_is_cut_off_anywhere_is_finished_by_the_next() -> None:
    assert every_fault(_cut_off) > 60
