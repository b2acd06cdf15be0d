"""What a purge of the audit log removes, counts and leaves, in one go, in many steps, and cut off in the middle."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.jobs import engine, purge_audit
from chalicelib.jobs.steps import Again, Done, TaskRun
from chalicelib.policy.audit import Event
from chalicelib.policy.jobs import Kind, Status, Trigger
from chalicelib.services import Services
from chalicelib.store import executions
from chalicelib.store.directory import audit
from chalicelib.store.directory.audit import ALL
from chalicelib.store.executions import New
from chalicelib.store.table import Slice
from tests.memory import Clock, MemoryObjects, services_over

EVERYTHING = "create_artifact,delete_artifact,other_events"


def written(count: int) -> tuple[Services, Clock]:
    """Return services whose log has entries of three types in four projects, an hour apart; the last is new."""
    clock = Clock()
    services = services_over(MemoryObjects(clock), clock)
    for number in range(count):
        clock.advance(timedelta(hours=1))
        kind = ("create", "delete", "create")[number % 3], ("artifact", "artifact", "tag")[number % 3]
        audit.log(services.directory, Event("ann", f"{number}", kind[1], kind[0], project_id=number % 4))
    return services, clock


def run_of(services: Services, cursor: Any = None, steps: int = 10**9, **parameters: Any) -> TaskRun:
    left = iter(range(steps))
    return TaskRun(
        1, 2, -1, Trigger.MANUAL, parameters, cursor or {}, services.directory,
        lambda: next(left, None) is not None, lambda: False,
    )  # fmt: skip


def resources(services: Services, scope: int | str = ALL) -> list[int]:
    return [int(logged.event.resource) for logged in audit.page(services.directory, scope, Slice()).entries]


def test_old_entries_of_the_types_that_are_named_go_everywhere_and_others_stay() -> None:
    services, _ = written(12)

    outcome = purge_audit.step(
        services, run_of(services, audit_retention_hour=4, include_event_types="create_artifact")
    )

    assert outcome == Done({"purged": 3})
    left = [number for number in range(12) if number % 3 or number >= 8]
    assert resources(services) == left
    for project in range(4):
        assert resources(services, project) == [number for number in left if number % 4 == project]


@pytest.mark.parametrize(
    ("parameters", "purged"),
    [
        ({"include_event_types": ""}, 0),
        ({}, 0),
        ({"include_event_types": EVERYTHING, "dry_run": True}, 7),
        ({"include_event_types": "other_events", "dry_run": True}, 2),
    ],
)
def test_a_dry_run_counts_and_without_types_nothing_goes(parameters: dict[str, Any], purged: int) -> None:
    services, _ = written(12)

    assert purge_audit.step(services, run_of(services, audit_retention_hour=4, **parameters)) == Done(
        {"purged": purged}
    )
    assert len(resources(services)) == 12


def test_it_goes_on_where_the_time_was_over_and_what_is_old_stays_decided() -> None:
    services, clock = written(1204)
    asked: dict[str, Any] = {"audit_retention_hour": 3, "include_event_types": EVERYTHING}

    first = purge_audit.step(services, run_of(services, steps=1, **asked))
    assert isinstance(first, Again)
    assert first.report == {"purged": 500}
    clock.advance(timedelta(hours=100))
    # The worker vanished after its deed and before its cursor was saved.
    again = purge_audit.step(services, run_of(services, first.cursor, steps=1, **asked))
    assert isinstance(again, Again)
    last = purge_audit.step(services, run_of(services, first.cursor, **asked))

    assert isinstance(last, Done)
    assert resources(services) == [1200, 1201, 1202, 1203]


def test_counts_of_lists_follow_a_purge() -> None:
    services, clock = written(600)
    clock.advance(timedelta(hours=1))
    assert audit.count(services.directory, ALL) == 600

    purge_audit.step(services, run_of(services, audit_retention_hour=100, include_event_types=EVERYTHING))

    for scope in (ALL, 0, 1):
        assert audit.count(services.directory, scope) == len(resources(services, scope))
    assert audit.count(services.directory, ALL) == 100
    audit.log(services.directory, Event("ann", "600", "tag", "create"))
    assert audit.count(services.directory, ALL) == 101


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 30), st.integers(0, 30), st.sets(st.sampled_from(["create_artifact", "other_events"])))
def test_exactly_what_is_old_and_named_goes(count: int, hours: int, types: set[str]) -> None:
    services, _ = written(count)
    kinds = {"create_artifact": {0}, "other_events": {2}}
    named = set().union(*(kinds[name] for name in types)) if types else set()

    purge_audit.step(services, run_of(services, audit_retention_hour=hours, include_event_types=",".join(types)))

    # The newest is as old as the clock: no hour.
    expected = [number for number in range(count) if not (number % 3 in named and count - 1 - number > hours)]
    assert resources(services) == expected


def test_as_a_task_it_reports_what_it_removed() -> None:
    services, _ = written(12)
    parameters = {"audit_retention_hour": 4, "include_event_types": EVERYTHING, "dry_run": False}
    new = New(Kind.PURGE_AUDIT_LOG, -1, Trigger.MANUAL, parameters, "admin")
    begun = executions.begin(services.directory, new)
    [task] = executions.tasks(services.directory, begun)

    engine.work(services, task.id)

    found = executions.get(services.directory, begun)
    assert found is not None
    assert (found.status, found.extra_attrs) == (Status.SUCCESS, {"purged": 7})
    assert "removed 7 entries" in str(executions.log(services.directory, task.id))
