"""Random histories, in which operations also meet: each outcome is that of doing them one after another.

What a step is:
* one operation;
* two or three at once, one S3 request at a time in an order that hypothesis chose: what clients see afterwards, and
  what the pushes were answered, is what some order of doing them one after another gives;
* one with a fault at one of its S3 requests: a world on the way from the old to the new one is left.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import permutations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib.jobs import abandoned_uploads
from tests.memory import Clock, MemoryObjects
from tests.store.client import Client
from tests.store.faults import Fault, Kind
from tests.store.model import (
    CONTENTS,
    DOCUMENTS,
    REPOSITORIES,
    TAGS,
    DeleteBlob,
    DeleteManifest,
    DeleteTag,
    Mount,
    Operation,
    PushBlob,
    PutManifest,
    World,
    observe,
    refers,
)
from tests.store.schedule import Action, by_chance, interleave

_repository = st.sampled_from(REPOSITORIES)
_content = st.sampled_from(CONTENTS)
_document = st.sampled_from(DOCUMENTS)
_pushes = st.one_of(
    st.builds(PushBlob, _repository, _content, st.integers(0, 2)),
    st.builds(Mount, _repository, _content, st.sampled_from(("", *REPOSITORIES))),
    st.builds(PutManifest, _repository, _document, st.sampled_from(("", *TAGS))),
    st.builds(PutManifest, _repository, _document, st.sampled_from(TAGS)),
)
_deletions = st.one_of(
    st.builds(DeleteBlob, _repository, _content),
    st.builds(DeleteManifest, _repository, _document),
    st.builds(DeleteTag, _repository, st.sampled_from(TAGS)),
)
_operations = st.one_of(_pushes, _pushes, _deletions)


class Registry:
    """The registry, and the world as it should be."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.bucket = MemoryObjects(self.clock)
        self.reader = self.process()
        self.world = World()

    def process(self) -> Client:
        """Return a client of a process that has just started."""
        return Client.of(self.bucket, self.clock)


class Step:
    """A part of a history."""

    def take(self, registry: Registry) -> None:
        """Do it, and check what came of it."""
        raise NotImplementedError


@dataclass(frozen=True)
class Alone(Step):
    """One operation by itself."""

    operation: Operation

    def take(self, registry: Registry) -> None:
        """It does what the model says."""
        registry.world, expected = self.operation.apply(registry.world)

        status = self.operation.run(registry.process())

        assert status == expected
        assert observe(registry.reader) == registry.world


@dataclass(frozen=True)
class Together(Step):
    """Operations that meet."""

    operations: tuple[Operation, ...]
    seed: int

    def take(self, registry: Registry) -> None:
        """The outcome is that of some order."""
        actions = [_action(operation, registry.process()) for operation in self.operations]
        statuses = interleave(actions, by_chance(self.seed))

        found = observe(registry.reader)
        serial = [self._serial(registry.world, order) for order in permutations(range(len(self.operations)))]
        assert any(self._same(found, statuses, world, expected) for world, expected in serial), (
            found,
            statuses,
            serial,
        )
        registry.world = found

    def _serial(self, world: World, order: Sequence[int]) -> tuple[World, list[int]]:
        statuses = [0] * len(order)
        for number in order:
            world, statuses[number] = self.operations[number].apply(world)
        return world, statuses

    def _same(self, found: World, statuses: Sequence[object], world: World, expected: Sequence[int]) -> bool:
        if self._part_referrers():
            found, world = replace(found, referrers=frozenset()), replace(world, referrers=frozenset())
        return found == world and all(
            # Who deletes what somebody else just deleted or has not pushed yet may be told either.
            status == wanted or (_deletes(operation) and {status, wanted} == {202, 404})
            for operation, status, wanted in zip(self.operations, statuses, expected, strict=True)
        )

    def _part_referrers(self) -> bool:
        """Tell whether one pushes the very manifest with a subject that another one deletes (`store.manifests`)."""
        pushed = {(o.repository, o.document) for o in self.operations if isinstance(o, PutManifest)}
        deleted = {(o.repository, o.document) for o in self.operations if isinstance(o, DeleteManifest)}
        return any(refers(document) for _, document in pushed & deleted)


@dataclass(frozen=True)
class Faulty(Step):
    """One operation with a fault."""

    operation: Operation
    kind: Kind
    number: int

    def take(self, registry: Registry) -> None:
        """All of it is done, or a part that does no harm."""
        worlds, expected = self.operation.steps(registry.world)
        client, fault = registry.process(), Fault(self.kind, self.number)
        statuses: list[int] = []

        with fault.on(client.objects):
            statuses.append(self.operation.run(client))

        found = observe(registry.reader)
        if statuses and statuses != [503]:
            assert statuses == [expected]
            assert found == worlds[-1]
        assert found in worlds
        registry.world = found


@dataclass(frozen=True)
class Wait(Step):
    """Time goes by, and abandoned uploads are dropped."""

    hours: int

    def take(self, registry: Registry) -> None:
        """Nobody sees it."""
        registry.clock.advance(timedelta(hours=self.hours))
        abandoned_uploads.run(registry.process().services)

        assert observe(registry.reader) == registry.world


def _action(operation: Operation, client: Client) -> Action[int]:
    return Action(client.objects, lambda: operation.run(client))


def _deletes(operation: Operation) -> bool:
    return isinstance(operation, DeleteBlob | DeleteManifest | DeleteTag)


def _at(repository: str) -> st.SearchStrategy[Operation]:
    """Return operations on one repository, most of them on its manifests."""
    here = st.just(repository)
    manifests = st.one_of(
        st.builds(PutManifest, here, _document, st.sampled_from(TAGS)),
        st.builds(DeleteManifest, here, _document),
    )
    others = st.one_of(
        st.builds(PutManifest, here, _document, st.just("")),
        st.builds(DeleteTag, here, st.sampled_from(TAGS)),
        st.builds(DeleteBlob, here, _content),
        st.builds(PushBlob, here, _content, st.integers(0, 2)),
    )
    return st.one_of(manifests, manifests, others)


# Operations that have something to do with each other meet in more interesting ways.
_meeting = st.one_of(
    st.lists(_operations, min_size=2, max_size=3),
    _repository.flatmap(lambda repository: st.lists(_at(repository), min_size=2, max_size=2)),
    _repository.flatmap(lambda repository: st.lists(_at(repository), min_size=2, max_size=3)),
).map(tuple)
_together = st.builds(Together, _meeting, st.integers(0, 2**32 - 1))
_steps = st.one_of(
    st.builds(Alone, _operations),
    st.builds(Alone, _pushes),
    _together,
    _together,
    _together,
    st.builds(Faulty, _operations, st.sampled_from(Kind), st.integers(1, 9)),
    st.builds(Faulty, _repository.flatmap(_at), st.sampled_from(Kind), st.integers(1, 9)),
    st.builds(Wait, st.integers(1, 30)),
)
_EVERYTHING_HELD = tuple(
    Alone(PushBlob(repository, content, 0)) for repository in REPOSITORIES for content in CONTENTS
)
# Most histories begin where everything is held, so that manifests can be pushed at once.
_beginnings = st.sampled_from(
    [
        (),
        _EVERYTHING_HELD,
        (
            *_EVERYTHING_HELD,
            *(Alone(PutManifest(REPOSITORIES[0], document, "")) for document in DOCUMENTS),
            *(
                Alone(PutManifest(REPOSITORIES[0], document, tag))
                for document, tag in zip(DOCUMENTS, TAGS, strict=False)
            ),
        ),
    ]
)
_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]
_histories = given(beginning=_beginnings, steps=st.lists(_steps, min_size=10, max_size=40))


def _check(beginning: Sequence[Step], steps: Sequence[Step]) -> None:
    registry = Registry()
    for step in (*beginning, *steps):
        step.take(registry)


@settings(max_examples=50, deadline=None, suppress_health_check=_QUIET, database=None, derandomize=True)
@_histories
def test_what_meets_leaves_what_one_after_another_would(beginning: Sequence[Step], steps: Sequence[Step]) -> None:
    _check(beginning, steps)


@pytest.mark.soak
@settings(max_examples=500, deadline=None, suppress_health_check=_QUIET, database=None, print_blob=True)
@_histories
def test_what_meets_in_ten_thousand_steps(beginning: Sequence[Step], steps: Sequence[Step]) -> None:
    _check(beginning, steps)
