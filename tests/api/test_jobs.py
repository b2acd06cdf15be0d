"""Jobs over the API: started, scheduled, looked at and stopped, in Harbor's words."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from io import BytesIO
from typing import Any, cast

import orjson
import pytest

from chalicelib.api.harbor import execution_views
from chalicelib.api.harbor.calls import HarborCall
from chalicelib.api.harbor.clearing import GARBAGE_COLLECTION, PURGE
from chalicelib.api.harbor.errors import HarborError
from chalicelib.api.harbor.execution_views import Operated
from chalicelib.api.harbor.verification import VERIFICATION
from chalicelib.api.http import Request
from chalicelib.jobs import engine
from chalicelib.jobs.steps import Done, Outcome, TaskRun
from chalicelib.oci.errors import RegistryError
from chalicelib.oci.names import Repository
from chalicelib.policy.grants import ANONYMOUS
from chalicelib.policy.jobs import NO_VENDOR, Kind, Trigger
from chalicelib.services import Services
from chalicelib.store import executions, leases, schedules
from chalicelib.store.directory import projects
from chalicelib.store.executions import New, Task
from chalicelib.store.index import repositories
from tests.api.artifacts import Registry
from tests.api.asking import Client

BUILT_KIND = Kind.ABANDONED_UPLOADS
WHEN = {"schedule": {"type": "Daily", "cron": "0 0 0 * * *"}}


@dataclass
class World:
    """A registry with executions that began without anybody's asking, whatever is built of their kinds."""

    client: Client = field(default_factory=Client)

    def __post_init__(self) -> None:
        self.registry = Registry(self.client)

    @property
    def services(self) -> Services:
        return self.client.services

    def begin(self, kind: Kind, parameters: Mapping[str, object] | None = None) -> Task:
        self.client.clock.advance(timedelta(seconds=1))
        new = New(kind, NO_VENDOR, Trigger.SCHEDULE, parameters or {})
        [task], changes = executions.beginning(self.services.directory, new)
        self.services.directory.table.commit(*changes)
        return task

    def done(self, kind: Kind, parameters: Mapping[str, object] | None = None) -> Task:
        task = self.begin(kind, parameters)

        def step(_: Services, run: TaskRun) -> Outcome:
            run.log("swept")
            return Done({"freed_space": 42})

        engine.work(self.services, task.id, jobs={kind: step})
        return task


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("operated", [GARBAGE_COLLECTION, PURGE, VERIFICATION], ids=lambda operated: operated.kind)
def test_the_history_of_a_kind_is_its_executions_the_latest_first(world: World, operated: Operated) -> None:
    first, second = world.done(operated.kind, {"dry_run": True}), world.begin(operated.kind)
    world.begin(BUILT_KIND)

    listed = world.registry.get(operated.path)

    assert [each["id"] for each in listed] == [second.execution_id, first.execution_id]
    assert [each["job_status"] for each in listed] == ["Running", "Success"]
    assert listed[1]["job_name"] == operated.kind
    assert orjson.loads(listed[1]["job_parameters"]) == {"dry_run": True, "freed_space": 42}
    assert world.registry.get(f"{operated.path}/{first.execution_id}") == listed[1]
    [filtered] = world.registry.get(f"{operated.path}?q=job_status=Success")
    assert filtered == listed[1]
    assert world.registry.get(f"{operated.path}?q=job_status%253DSuccess") == [filtered]
    # As the columns of Harbor's table are called.
    assert world.registry.get(f"{operated.path}?q=Status=Success,trigger=SCHEDULE") == [filtered]
    assert world.registry.get(f"{operated.path}?q=status=Stopped") == []
    assert world.registry.get(f"{operated.path}?sort=start_time") == listed[::-1]


def test_the_log_of_an_execution_is_text(world: World) -> None:
    task = world.done(Kind.GARBAGE_COLLECTION)

    for path in (f"/system/gc/{task.execution_id}/log", f"/jobservice/jobs/{task.id}/log"):
        answer = world.registry.api("GET", path)
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert answer.body.endswith(b" swept\n")


def test_an_execution_of_another_kind_is_not_there(world: World) -> None:
    task = world.begin(BUILT_KIND)

    for method, path in (("GET", ""), ("GET", "/log"), ("PUT", "")):
        assert world.registry.api(method, f"/system/gc/{task.execution_id}{path}").status == 404
    assert world.registry.api("GET", "/system/gc/none").status == 400


def test_an_execution_is_stopped_once_and_another_may_begin(world: World) -> None:
    task = world.begin(Kind.GARBAGE_COLLECTION)

    for _ in range(2):
        assert world.registry.api("PUT", f"/system/gc/{task.execution_id}").status == 200
    assert world.registry.get(f"/system/gc/{task.execution_id}")["job_status"] == "Stopped"
    world.begin(Kind.GARBAGE_COLLECTION)


# What is sent to start and to schedule


def sent(world: World, operated: Operated, body: Mapping[str, Any]) -> int:
    content = orjson.dumps(body)
    headers = {"content-length": str(len(content))}
    request = Request("POST", f"/api/v2.0{operated.path}/schedule", {}, headers, BytesIO(content), "", "1")
    call = HarborCall(world.services, request, ANONYMOUS, {}, frozenset())
    location = execution_views.create_schedule(operated, call).headers["Location"]
    assert location.startswith(f"/api/v2.0{operated.path}/")
    return int(location.rpartition("/")[2])


# The endpoints of a kind that is built, whichever others are.
OPERATED = Operated(BUILT_KIND, "/system/uploads", "id", "", "uploads", dict)


def test_now_is_a_start_and_its_address_is_told(world: World) -> None:
    number = sent(world, OPERATED, {"schedule": {"type": "Manual"}, "parameters": {"dry_run": True}})

    found = executions.get(world.services.directory, number)
    assert found is not None
    assert (found.kind, found.trigger, found.parameters) == (BUILT_KIND, Trigger.MANUAL, {"dry_run": True})
    with pytest.raises(RegistryError, match="running already"):
        sent(world, OPERATED, {"schedule": {"type": "Manual"}})


@pytest.mark.parametrize(
    ("schedule", "expression"),
    [
        ({"type": "Hourly"}, "0 0 * * * *"),
        ({"type": "Weekly", "cron": "0 0 0 * * 0"}, "0 0 0 * * 0"),
        ({"type": "Custom", "cron": "0 15 3 ? * mon"}, "0 15 3 ? * MON"),
    ],
)
def test_a_schedule_is_set_shown_listed_and_removed(
    world: World, schedule: Mapping[str, str], expression: str
) -> None:
    assert sent(world, OPERATED, {"schedule": schedule, "parameters": {"dry_run": True}}) == 0

    found = schedules.get(world.services.directory, BUILT_KIND, NO_VENDOR)
    assert found is not None
    shown = execution_views.shown_schedule(found)
    assert (shown["schedule"]["type"], shown["schedule"]["cron"]) == (schedule["type"], expression)
    assert (shown["job_kind"], shown["job_status"]) == (expression, "Running")
    assert orjson.loads(shown["job_parameters"]) == {"dry_run": True}
    [listed] = world.registry.get("/schedules")
    assert (listed["id"], listed["vendor_type"], listed["cron"]) == (found.id, BUILT_KIND, expression)
    assert sent(world, OPERATED, {"schedule": {"type": "None"}}) == 0
    assert world.registry.get("/schedules") == []


def test_where_nothing_is_scheduled_the_schedule_is_empty(world: World) -> None:
    assert world.registry.get("/system/gc/schedule") == {}
    assert world.registry.api("POST", "/system/gc/schedule", {"schedule": {"type": "None"}}).status == 201


@pytest.mark.parametrize(
    "schedule",
    [
        {},
        {"type": "Sometimes"},
        {"type": "Custom"},
        {"type": "Custom", "cron": "* * * * *"},
        {"type": "Daily", "cron": "5 0 0 * * *"},
        {"type": 7},
    ],
)
def test_what_is_no_schedule_is_refused(world: World, schedule: Mapping[str, Any]) -> None:
    with pytest.raises(HarborError) as refused:
        sent(world, OPERATED, {"schedule": schedule})
    assert refused.value.code.status == 400


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("/system/gc", {"workers": 0}),
        ("/system/gc", {"workers": 11}),
        ("/system/verify", {"sample": 101}),
        ("/system/verify", {"sample": "all"}),
        ("/system/verify", {"repository": "app"}),
        ("/system/verify", {"project": "Library"}),
        ("/system/verify", {"project": "library", "repository": "_app"}),
        ("/system/gc", {"delete_untagged": "yes"}),
        ("/system/purgeaudit", {}),
        ("/system/purgeaudit", {"audit_retention_hour": 1}),
        ("/system/purgeaudit", {"audit_retention_hour": 240_001, "include_event_types": "create_artifact"}),
        ("/system/purgeaudit", {"audit_retention_hour": 24, "include_event_types": "create artifact;"}),
    ],
)
def test_parameters_that_make_no_sense_are_refused(world: World, path: str, parameters: Mapping[str, Any]) -> None:
    for method in ("POST", "PUT"):
        answer = world.registry.api(method, f"{path}/schedule", {**WHEN, "parameters": parameters})
        assert answer.status == 400


@pytest.mark.parametrize(
    ("parameters", "missing"),
    [
        ({"project": "nothere"}, "project nothere"),
        ({"project": "nothere", "repository": "app"}, "project nothere"),
        ({"project": "library", "repository": "nothere"}, "repository library/nothere"),
        ({"project": "library", "repository": "ap"}, "repository library/ap"),
        ({"project": "library", "repository": "app/be"}, "repository library/app/be"),
    ],
)
def test_of_what_is_not_there_nothing_is_verified(world: World, parameters: Mapping[str, Any], missing: str) -> None:
    world.registry.image("library/app/below", "v1", "one")
    for schedule in (WHEN, {"schedule": {"type": "Manual"}}):
        answer = world.registry.api("POST", "/system/verify/schedule", {**schedule, "parameters": parameters})
        assert answer.status == 404
        assert orjson.loads(answer.body)["errors"][0]["message"] == f"{missing} not found"
    assert world.registry.get("/system/verify") == []
    removed = {"schedule": {"type": "None"}, "parameters": parameters}
    assert world.registry.api("POST", "/system/verify/schedule", removed).status == 201


@pytest.mark.parametrize("known", ["bucket", "index"])
def test_what_the_bucket_or_the_index_lost_can_be_verified(world: World, known: str) -> None:
    world.registry.image("library/app", "v1", "one")
    if known == "index":
        objects = world.client.objects
        objects.delete(*(entry.key for entry in objects.list("repositories/").entries))
    else:
        project = projects.find(world.services.directory, "library")
        assert project
        record = repositories.find(world.services.index, project.id, Repository("library/app"))
        assert record
        repositories.forget(world.services.index, record)
    for parameters in ({"project": "library", "repository": "app"}, {"project": "library"}):
        answer = world.registry.api("PUT", "/system/verify/schedule", {**WHEN, "parameters": parameters})
        assert answer.status == 200


def test_what_is_not_built_is_neither_started_nor_scheduled(world: World) -> None:
    unknown = replace(OPERATED, kind=cast("Kind", "OF_ANOTHER_VERSION"))
    for schedule in ({"type": "Daily"}, {"type": "Manual"}):
        with pytest.raises(RegistryError, match="not built") as refused:
            sent(world, unknown, {"schedule": schedule})
        assert refused.value.status == 501


# Looking after all jobs


def test_workers_are_those_that_hold_a_task(world: World) -> None:
    [pool] = world.registry.get("/jobservice/pools")
    assert pool["concurrency"] >= 1
    task = world.begin(BUILT_KIND)
    assert world.registry.get("/jobservice/pools/all/workers") == []

    leases.take(world.services.directory, task.id, 60)

    [worker] = world.registry.get(f"/jobservice/pools/{pool['worker_pool_id']}/workers")
    assert (worker["job_id"], worker["job_name"]) == (str(task.id), BUILT_KIND)
    assert world.registry.api("GET", "/jobservice/pools/other/workers").status == 404


def test_queues_tell_what_waits_and_for_how_long(world: World) -> None:
    world.begin(BUILT_KIND)
    world.client.clock.advance(timedelta(seconds=90))

    queues = {each["job_type"]: each for each in world.registry.get("/jobservice/queues")}

    assert queues[BUILT_KIND] == {"job_type": BUILT_KIND, "count": 1, "latency": 90, "paused": False}
    assert queues["SCHEDULER"]["count"] == 0


def test_a_queue_is_paused_resumed_and_emptied(world: World) -> None:
    task = world.begin(BUILT_KIND)

    def act(action: str, queue: str = BUILT_KIND.lower()) -> int:
        return world.registry.api("PUT", f"/jobservice/queues/{queue}", {"action": action}).status

    def paused() -> dict[str, bool]:
        return {each["job_type"]: each["paused"] for each in world.registry.get("/jobservice/queues")}

    assert act("pause") == 200
    assert paused()[BUILT_KIND]
    assert not world.registry.get("/schedules/all/paused")["paused"]
    assert act("pause", "all") == 200
    assert all(paused().values())
    assert world.registry.get("/schedules/all/paused")["paused"]
    assert act("resume", "all") == 200
    assert not any(paused().values())
    assert act("stop") == 200
    assert world.registry.get("/jobservice/queues")[0]["count"] == 0
    assert world.services.directory.table.query("due/", executions.ALL).entries == ()
    assert executions.stop_task(world.services.directory, task.id)
    assert act("burn") == 400
    assert act("stop", "nothing") == 404
    refused = world.registry.api("GET", "/schedules/gc/paused")
    assert refused.status == 400
    assert b"job_type can only be 'all'" in refused.body


def test_one_task_is_stopped_or_all_that_run(world: World) -> None:
    waiting, running = world.begin(BUILT_KIND), world.begin(Kind.GARBAGE_COLLECTION)
    assert leases.take(world.services.directory, running.id, 60)

    assert world.registry.api("PUT", "/jobservice/jobs/all").status == 200
    [found] = executions.tasks(world.services.directory, running.execution_id)
    assert found.stop
    [found] = executions.tasks(world.services.directory, waiting.execution_id)
    assert (found.status, found.stop) == ("Pending", False)
    assert world.registry.api("PUT", f"/jobservice/jobs/{waiting.id}").status == 200
    [found] = executions.tasks(world.services.directory, waiting.execution_id)
    assert found.status == "Stopped"
    for missing in ("7", "none"):
        assert world.registry.api("PUT", f"/jobservice/jobs/{missing}").status == 404
        assert world.registry.api("GET", f"/jobservice/jobs/{missing}/log").status == 404
