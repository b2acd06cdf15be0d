"""What clients see while S3, DynamoDB or SQS fails, each in every way: the table in docs/operations.md.

* As long as a failure lasts, every operation ends, in time and with words; afterwards nothing is lost that was
  acknowledged, and everything works.
* Of a failure that passes at once each kind of request of an operation meets one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count

import pytest

from tests.engines.faults import Choose, Fault
from tests.engines.ledger import Exchange
from tests.failures import table
from tests.failures.world import OPERATIONS, SERVICES, World, running

# These end soon, and need nothing but Python.
_QUICK = (("S3", Fault.BROKEN), ("S3", Fault.RESET), ("SQS", Fault.BROKEN))
CASES = [
    pytest.param(service, service, fault, marks=() if (service, fault) in _QUICK else pytest.mark.soak)
    for service in SERVICES
    for fault in Fault
]


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("failures"), request.param) as made:
        yield made


def always(fault: Fault) -> Choose:
    return lambda _exchange: fault


def once(fault: Fault) -> Choose:
    """Let the first request of each kind fail, or of all where it is silence."""
    seen = set[str]()

    def choose(exchange: Exchange) -> Fault | None:
        kind = "" if fault is Fault.SILENT else exchange.operation
        if kind in seen:
            return None
        seen.add(kind)
        return fault

    return choose


@dataclass
class Beginning:
    """Lets every request fail from one on."""

    fault: Fault
    first: int
    asked: int = 0

    def __call__(self, _exchange: Exchange) -> Fault | None:
        self.asked += 1
        return self.fault if self.asked >= self.first else None


def statuses(world: World) -> Mapping[str, int]:
    return {name: outcome.answer.status for name, outcome in world.all().items()}


def passing(world: World, fault: Fault) -> Mapping[str, int]:
    """Return how each operation ends whose requests fail once; of silence all of them together wait for one."""
    if fault is Fault.SILENT:
        with world.failing(once(fault)):
            return statuses(world)
    found = {}
    for name in OPERATIONS:
        with world.failing(once(fault)):
            found[name] = world.one(name).answer.status
    return found


def well(world: World) -> None:
    """Check that everything works, and that nothing is lost."""
    world.check()
    world.rest()
    assert statuses(world) == table.WELL


@pytest.mark.parametrize(("world", "service", "fault"), CASES, indirect=["world"])
def test_a_failure_is_what_the_table_says(world: World, service: str, fault: Fault) -> None:
    with world.failing(always(fault)):
        lasting = statuses(world)
    well(world)
    after = passing(world, fault)
    well(world)

    assert table.row(service, fault.value, lasting, after) in table.of_document()


@pytest.mark.parametrize(
    ("world", "name", "tries"),
    [
        ("S3", "pull manifest", 4),
        ("S3", "list tags", 3),
        ("SQS", "start a job", 2),
        pytest.param("DynamoDB", "log in", 4, marks=pytest.mark.soak),
    ],
    indirect=["world"],
)
def test_what_fails_is_tried_again_as_often_as_the_text_says(world: World, name: str, tries: int) -> None:
    with world.failing(always(Fault.BROKEN)):
        world.proxy.reset()
        world.one(name)
        asked = [exchange.operation for exchange in world.proxy.snapshot()]

    assert len(asked) == tries
    assert len(set(asked)) == 1


@pytest.mark.soak
@pytest.mark.parametrize("fault", [Fault.RESET, Fault.BROKEN])
@pytest.mark.parametrize("world", ["S3", "DynamoDB"], indirect=True)
@pytest.mark.parametrize("name", ["push manifest", "push blob"])
def test_a_failure_that_begins_anywhere_in_a_push_loses_nothing(world: World, name: str, fault: Fault) -> None:
    tried = 0
    for first in count(1):
        beginning, before = Beginning(fault, first), (len(world.tags), len(world.blobs))
        with world.failing(beginning):
            world.one(name)
        world.check(*before)
        assert world.one(name).answer.status == table.WELL[name]
        if beginning.asked < first:
            break
        tried += 1
    world.check()
    print(f"{name}: failed from each of {tried} requests on")
    assert tried > 1


def test_the_table_has_every_failure_once() -> None:
    rows = [row[:2] for row in table.of_document()]

    assert rows == [(service, fault.value) for service in SERVICES for fault in Fault]
    assert set(table.WELL) == set(OPERATIONS)
