"""What Prometheus is told: true numbers under Harbor's names, to those who may know them, at a bounded cost."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import orjson
import pytest

from chalicelib.api import metrics
from chalicelib.api.dispatch import METRICS_PATHS
from chalicelib.api.harbor.endpoints import ENDPOINTS
from chalicelib.api.http import Response
from chalicelib.oci.names import Repository
from chalicelib.oci.pages import Page
from chalicelib.policy.jobs import Kind, Trigger
from chalicelib.store import executions
from chalicelib.store.executions import New
from chalicelib.store.index import pulls
from chalicelib.store.meters import Operation
from chalicelib.store.pulls import Pulled, Pulls
from chalicelib.store.table import Key, Record, Slice
from tests.api.artifacts import Registry
from tests.api.asking import Client, basic
from tests.api.principals import ROLES, World, as_user
from tests.api.prometheus import read, values
from tests.memory import START
from tests.store.index.tables import CountingTable

SCRAPE = "/metrics"
# What Harbor has and this registry knows: names, and the labels of each.
# fmt: off
GAUGES: Mapping[str, set[str]] = {
    "harbor_health":                              set(),
    "harbor_up":                                  {"component"},
    "harbor_system_info":                         {"auth_mode", "harbor_version", "self_registration"},
    "harbor_project_total":                       {"public"},
    "harbor_project_repo_total":                  {"project_name", "public"},
    "harbor_project_artifact_total":              {"project_name", "public"},
    "harbor_project_member_total":                {"project_name"},
    "harbor_project_quota_usage_byte":            {"project_name"},
    "harbor_project_quota_byte":                  {"project_name"},
    "harbor_artifact_pulled":                     {"project_name"},
    "roadstead_projects_left_out":                set(),
    "harbor_statistics_total_storage_consumption": set(),
    "harbor_statistics_total_project_amount":     set(),
    "harbor_statistics_total_repo_amount":        set(),
    "harbor_statistics_public_project_amount":    set(),
    "harbor_statistics_public_repo_amount":       set(),
    "harbor_statistics_private_project_amount":   set(),
    "harbor_statistics_private_repo_amount":      set(),
    "harbor_task_queue_size":                     {"type"},
    "harbor_task_queue_latency":                  {"type"},
    "harbor_task_scheduled_total":                set(),
    "harbor_task_concurrency":                    {"type", "pool"},
}
# fmt: on


class GoneTable(CountingTable):
    """A table that does not answer."""

    def get(self, key: Key) -> Record | None:
        raise OSError(key)

    def query(self, partition: str, wanted: Slice) -> Page[Record]:
        raise OSError(partition, wanted)


def scrape(client: Client, path: str = SCRAPE, headers: Mapping[str, str] | None = None) -> Response:
    client.headers = dict(basic() if headers is None else headers)
    return client.ask("GET", path)


def opened(client: Client) -> Client:
    client.services = replace(client.services, settings=replace(client.services.settings, open_metrics=True))
    return client


# Who may read them


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.mark.parametrize("path", METRICS_PATHS)
@pytest.mark.parametrize("role", ROLES)
def test_members_of_projects_may_not_read_them(world: World, role: str, path: str) -> None:
    assert scrape(world.client, path, as_user(role)).status == 403


@pytest.mark.parametrize("path", METRICS_PATHS)
def test_strangers_are_told_to_log_in(world: World, path: str) -> None:
    answer = scrape(world.client, path, {})

    assert answer.status == 401
    assert b"quota:list" in answer.body


@pytest.mark.parametrize(("resource", "status"), [("quota", 200), ("project", 403)])
def test_a_robot_account_needs_to_see_quotas(world: World, resource: str, status: int) -> None:
    permission = {"kind": "system", "namespace": "/", "access": [{"resource": resource, "action": "list"}]}
    robot = {"name": f"watch-{resource}", "level": "system", "duration": -1, "permissions": [permission]}
    made = orjson.loads(world.api("POST", "/robots", robot).body)

    assert scrape(world.client, headers=basic(made["name"], made["secret"])).status == status


def test_a_token_for_pulls_opens_nothing_here(world: World) -> None:
    token = world.token(world.admin, "repository:open/app:pull")

    assert scrape(world.client, headers={"authorization": f"Bearer {token}"}).status == 401


def test_everybody_may_read_them_where_the_settings_say_so(client: Client) -> None:
    assert scrape(opened(client), headers={}).status == 200


# What they say


def test_the_names_and_labels_are_harbor_s(client: Client) -> None:
    answer = scrape(client, f"{SCRAPE}?comp=exporter")

    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    told = read(answer.body)
    assert list(told) == list(GAUGES)
    assert {name: set(samples[0].labels) for name, samples in told.items()} == dict(GAUGES)


def test_the_numbers_are_those_of_the_api() -> None:
    registry = Registry()
    client = registry.client
    digest = registry.image("library/app", "v1", "first")
    registry.image("library/tool", "v1", "second")
    registry.image("one/app", "v1", "third")
    pulled = {Pulled(Repository("library/app"), digest): Pulls(3, START)}
    pulls.flush(client.services.index, pulled, lambda _: project_id(registry, "library"))

    body = scrape(client, f"{SCRAPE}?comp=exporter").body
    assert values(body, "harbor_project_total", "public") == {("true",): 1, ("false",): 1}
    assert values(body, "harbor_project_repo_total", "project_name", "public") == {
        ("library", "true"): 2,
        ("one", "false"): 1,
    }
    assert values(body, "harbor_project_artifact_total", "project_name") == {("library",): 2, ("one",): 1}
    assert values(body, "harbor_project_member_total", "project_name") == {("library",): 1, ("one",): 1}
    assert values(body, "harbor_artifact_pulled", "project_name") == {("library",): 3, ("one",): 0}
    quotas = {(each["ref"]["name"],): each for each in registry.get("/quotas")}
    used = values(body, "harbor_project_quota_usage_byte", "project_name")
    assert used == {name: each["used"]["storage"] for name, each in quotas.items()}
    assert values(body, "harbor_project_quota_byte", "project_name") == {
        name: each["hard"]["storage"] for name, each in quotas.items()
    }
    statistics = registry.get("/statistics")
    assert values(body, "harbor_statistics_total_storage_consumption") == {
        (): statistics["total_storage_consumption"]
    }
    for kind in ("total", "public", "private"):
        for what in ("project", "repo"):
            told = values(body, f"harbor_statistics_{kind}_{what}_amount")
            assert told == {(): statistics[f"{kind}_{what}_count"]}


def project_id(registry: Registry, name: str) -> int:
    number: int = registry.get(f"/projects/{name}")["project_id"]
    return number


def test_what_is_not_well_is_told_though_the_rest_cannot_be(client: Client) -> None:
    services = opened(client).services
    out_of_reach = GoneTable(services.directory.table)
    client.services = replace(services, directory=replace(services.directory, table=out_of_reach))

    body = scrape(client, f"{SCRAPE}?comp=exporter", {}).body
    assert list(read(body)) == ["harbor_health", "harbor_up"]
    assert values(body, "harbor_health") == {(): 0}
    up = values(body, "harbor_up", "component")
    assert up == {("core",): 1, ("database",): 0, ("registry",): 1, ("jobservice",): 0}


def test_what_the_table_says_is_told_though_the_bucket_is_out_of_reach(client: Client) -> None:
    def out_of_reach(operation: str, key: str) -> None:
        raise OSError(operation, key)

    client.objects.before = out_of_reach

    body = scrape(client, f"{SCRAPE}?comp=exporter").body
    assert set(read(body)) == set(GAUGES)
    assert values(body, "harbor_up", "component")["registry",] == 0


def test_scrapes_within_five_minutes_read_the_projects_once(client: Client) -> None:
    def projects() -> float:
        return values(scrape(client).body, "harbor_statistics_total_project_amount")[()]

    before = projects()
    client.ask("POST", "/api/v2.0/projects", b'{"project_name": "later"}', content_type="application/json")
    assert projects() == before

    client.clock.advance(timedelta(minutes=5))

    assert projects() == before + 1


def test_queues_are_told_by_kind_as_the_api_shows_them(client: Client) -> None:
    kind = Kind.ABANDONED_UPLOADS
    executions.begin(client.services.directory, New(kind, -1, Trigger.MANUAL, {}))
    client.clock.advance(timedelta(seconds=90))

    body = scrape(client).body
    shown = orjson.loads(client.ask("GET", "/api/v2.0/jobservice/queues").body)
    sizes, latencies = (values(body, f"harbor_task_queue_{name}", "type") for name in ("size", "latency"))
    assert (sizes[kind,], latencies[kind,]) == (1, 90)
    for queue in shown:
        if queue["job_type"] != "SCHEDULER":
            assert sizes[queue["job_type"],] == queue["count"]
            assert latencies[queue["job_type"],] == queue["latency"]
    assert set(values(body, "harbor_task_concurrency", "type").values()) == {0}
    assert values(scrape(client, f"{SCRAPE}?comp=jobservice").body, "harbor_jobservice_info", "pool")


# What a server counted


def test_answers_are_told_by_operation_and_status(client: Client) -> None:
    meter = client.services.requests
    for status, seconds in ((200, 0.003), (200, 0.7), (404, 0.003)):
        meter.begin()
        meter.answered(Operation("GET", "v2_manifest"), status, seconds, received=0, sent=100)
        meter.end()
    meter.begin()

    body = scrape(client, f"{SCRAPE}?comp=core").body
    assert values(body, "harbor_core_http_inflight_requests") == {(): 1}
    assert values(body, "harbor_core_http_request_total", "method", "code", "operation") == {
        ("GET", "200", "v2_manifest"): 2,
        ("GET", "404", "v2_manifest"): 1,
    }
    durations = {
        (each.name.rpartition("_")[2], each.labels.get("le", "")): each.value
        for each in read(body)["harbor_core_http_request_duration_seconds"]
    }
    assert durations["bucket", "0.005"] == 2
    assert durations["bucket", "0.5"] == 2
    assert durations["bucket", "1"] == 3
    assert durations["count", ""] == 3
    assert durations["sum", ""] == pytest.approx(0.706)
    sent = scrape(client, f"{SCRAPE}?comp=registry").body
    assert values(sent, "roadstead_sent_bytes_total", "operation") == {("v2_manifest",): 300}


def test_a_function_tells_no_requests(client: Client) -> None:
    assert scrape(client, f"{SCRAPE}?comp=core").body == b""
    assert scrape(client, f"{SCRAPE}?comp=registry").body == b""


def test_without_a_component_all_are_told(client: Client) -> None:
    client.services.requests.answered(Operation("GET", "v2"), 200, 0.1, received=1, sent=1)
    parts = [scrape(client, f"{SCRAPE}?comp={part}").body for part in ("exporter", "core", "registry", "jobservice")]

    assert scrape(client).body == b"".join(parts)


def test_another_component_is_refused_with_those_that_there_are(client: Client) -> None:
    answer = scrape(client, f"{SCRAPE}?comp=redis")

    assert answer.status == 400
    assert b"exporter, core, registry, jobservice" in answer.body


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/v2/", ("GET", "v2")),
        ("HEAD", "/v2/a/b/manifests/x", ("HEAD", "v2_manifest")),
        ("PATCH", "/v2/a/b/blobs/uploads/id", ("PATCH", "v2_blob_upload")),
        ("GET", "/v2/a/b/blobs/sha256:0", ("GET", "v2_blob")),
        ("GET", "/v2/_catalog", ("GET", "v2_catalog")),
        ("GET", "/service/token", ("GET", "/service/token")),
        ("GET", "/api/v2.0/projects/x/repositories/a%2Fb", (
            "GET", "/projects/{project_name}/repositories/{repository_name}"
        )),
        ("POST", "/c/login", ("POST", "/c/login")),
        ("GET", "/api/v2.0/whatever/a/client/likes", ("GET", "others")),
        ("GET", "/whatever", ("GET", "others")),
        ("BREW", "/v2/", ("others", "others")),
    ],
)  # fmt: skip
def test_a_request_counts_as_one_of_a_bounded_number_of_operations(
    client: Client, method: str, path: str, expected: tuple[str, str]
) -> None:
    assert metrics.operation(client.request(method, path)) == Operation(*expected)


def test_every_endpoint_of_harbor_s_api_is_an_operation(client: Client) -> None:
    for endpoint in ENDPOINTS:
        path = endpoint.path if endpoint.path.startswith(("/c/", "/api/")) else f"/api/v2.0{endpoint.path}"
        asked = client.request(endpoint.method, path.replace("{", "").replace("}", ""))
        assert metrics.operation(asked).name in {each.path for each in ENDPOINTS}
