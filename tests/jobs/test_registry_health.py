"""Other registries are asked whether they answer, and what they say is noted."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from chalicelib.jobs import registry_health
from chalicelib.jobs.steps import Again, Done, Outcome, TaskRun
from chalicelib.policy.jobs import NO_VENDOR, Kind, Trigger
from chalicelib.services import Services
from chalicelib.store import schedules
from chalicelib.store.directory import registries
from chalicelib.store.directory.registries import HEALTHY, UNHEALTHY, NewRegistry
from chalicelib.store.job_logs import read
from tests.memory import Clock, MemoryObjects, services_over
from tests.store.remote.fake import FakeRegistry, answer, faking


@pytest.fixture
def services() -> Services:
    clock = Clock()
    made = services_over(MemoryObjects(clock), clock)
    return replace(made, settings=replace(made.settings, private_targets=("127.0.0.1",)))


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with faking() as made:
        yield made


def step(services: Services, cursor: dict[str, object] | None = None, *, time: int = 100) -> Outcome:
    left = iter([True] * time)
    run = TaskRun(
        task_id=1,
        execution_id=1,
        vendor_id=NO_VENDOR,
        trigger=Trigger.SCHEDULE,
        parameters={},
        cursor=cursor or {},
        directory=services.directory,
        more_time=lambda: next(left, False),
        stopping=lambda: False,
    )
    return registry_health.step(services, run)


def statuses(services: Services) -> dict[str, str]:
    return {each.name: each.status for each in registries.every(services.directory)}


def test_what_changed_is_noted_and_said(services: Services, registry: FakeRegistry) -> None:
    registries.create(services.directory, NewRegistry("a", "docker-registry", registry.url), UNHEALTHY)
    registries.create(services.directory, NewRegistry("b", "docker-registry", "http://127.0.0.1:1"), HEALTHY)
    registries.create(services.directory, NewRegistry("c", "docker-registry", "http://10.0.0.1"), HEALTHY)
    registries.create(
        services.directory, NewRegistry("d", "docker-registry", registry.url, secret="sealed by nobody"), HEALTHY
    )

    assert step(services) == Done({HEALTHY: 1, UNHEALTHY: 3})
    assert statuses(services) == {"a": HEALTHY, "b": UNHEALTHY, "c": UNHEALTHY, "d": UNHEALTHY}
    log = read(services.directory, 1) or ""
    assert "a is healthy" in log
    assert "c is unhealthy: 10.0.0.1 is not connected to" in log
    before = len(log)
    step(services)
    assert len(read(services.directory, 1) or "") == before


def test_a_step_goes_on_where_the_time_was_over(services: Services, registry: FakeRegistry) -> None:
    for name in ("a", "b", "c"):
        registries.create(services.directory, NewRegistry(name, "docker-registry", registry.url), "")

    first = step(services, time=2)
    assert isinstance(first, Again)
    assert statuses(services) == {"a": HEALTHY, "b": HEALTHY, "c": ""}
    assert step(services, dict(first.cursor)) == Done({HEALTHY: 3, UNHEALTHY: 0})


def test_where_there_is_no_registry_the_schedule_goes(services: Services) -> None:
    schedules.set(services.directory, Kind.REGISTRY_HEALTH, NO_VENDOR, "0 */5 * * * *", {})

    assert isinstance(step(services), Done)
    assert schedules.get(services.directory, Kind.REGISTRY_HEALTH, NO_VENDOR) is None


def test_a_registry_that_is_down_is_asked_again_the_next_time(services: Services, registry: FakeRegistry) -> None:
    registry.instead("GET", "/v2/", answer(503), times=1)
    registries.create(services.directory, NewRegistry("a", "docker-registry", registry.url), HEALTHY)

    step(services)
    assert statuses(services) == {"a": UNHEALTHY}
    step(services)
    assert statuses(services) == {"a": HEALTHY}
