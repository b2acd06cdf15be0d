"""What harborapi does with garbage collection and the purge of the audit log, on the real server and its workers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest
from harborapi.exceptions import BadRequest, NotFound
from harborapi.models import Schedule
from harborapi.models.models import ScheduleObj, Type

from tests.harbor.telling import Harbor, identifier, scenario

_SECONDS = 60
GC = {"delete_untagged": True, "dry_run": True, "workers": 1}
PURGE = {"audit_retention_hour": 24, "include_event_types": "create_artifact,delete_artifact", "dry_run": True}


def schedule(kind: str, cron: str, parameters: dict[str, Any]) -> Schedule:
    return Schedule(schedule=ScheduleObj(type=Type(kind), cron=cron), parameters=parameters)


async def ended(look: Callable[[], Awaitable[Any]]) -> Any:
    """Return what is looked at once it has ended."""
    for _ in range(_SECONDS * 4):
        found = await look()
        if found.job_status != "Running":
            return found
        await asyncio.sleep(0.25)
    raise AssertionError(found)


@scenario
async def test_garbage_collection_from_its_schedule_to_its_log(harbor: Harbor) -> None:
    client = harbor.client
    with pytest.raises(BadRequest):
        await client.create_gc_schedule(schedule("Custom", "every night", GC))
    await client.create_gc_schedule(schedule("Daily", "0 0 0 * * *", GC))
    found = await client.get_gc_schedule()
    assert found.schedule is not None
    assert found.schedule.type is not None
    assert (found.schedule.type.value, found.schedule.cron) == ("Daily", "0 0 0 * * *")
    await client.update_gc_schedule(schedule("Weekly", "0 0 0 * * 0", GC))
    found = await client.get_gc_schedule()
    assert found.schedule is not None
    assert found.schedule.cron == "0 0 0 * * 0"
    await client.update_gc_schedule(schedule("None", "", GC))
    assert not (await client.get_gc_schedule()).schedule

    number = identifier(await client.create_gc_schedule(schedule("Manual", "", GC)))
    run = await ended(lambda: client.get_gc_job(number))

    assert run.job_status == "Success"
    told = orjson.loads(run.job_parameters)
    assert told["dry_run"]
    assert {"purged_blobs", "purged_manifests", "freed_space"} <= told.keys()
    assert number in [each.id for each in await client.get_gc_jobs()]
    assert "would delete" in str(await client.get_gc_log(number, as_list=False))
    with pytest.raises(NotFound):
        await client.get_gc_job(1)


@scenario
async def test_purging_the_audit_log_from_its_schedule_to_its_log(harbor: Harbor) -> None:
    client = harbor.client
    with pytest.raises(BadRequest):
        await client.create_purge_job_schedule(schedule("Manual", "", {**PURGE, "audit_retention_hour": 0}))
    await client.create_purge_job_schedule(schedule("Hourly", "0 0 * * * *", PURGE))
    found = await client.get_purge_job_schedule()
    assert found.schedule is not None
    assert found.schedule.cron == "0 0 * * * *"
    await client.update_purge_job_schedule(schedule("None", "", PURGE))

    number = identifier(await client.create_purge_job_schedule(schedule("Manual", "", PURGE)))
    run = await ended(lambda: client.get_purge_job(number))

    assert run.job_status == "Success"
    assert number in [each.id for each in await client.get_purge_job_history()]
    assert "would remove" in str(await client.get_purge_job_log(number))
