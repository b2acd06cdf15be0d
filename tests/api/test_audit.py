"""The audit log: what leaves an entry, what an entry costs, what the settings leave out, and how it is asked."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlencode

import orjson
import pytest

from chalicelib.api import telemetry
from chalicelib.api.harbor.calls import HarborEndpoint
from chalicelib.api.harbor.endpoints import ENDPOINTS
from chalicelib.policy.audit import HARBOR, OURS, Event
from chalicelib.services import Services
from chalicelib.store.directory import audit
from chalicelib.store.directory.audit import ALL
from chalicelib.store.table import Slice
from tests.api.artifacts import Registry
from tests.api.asking import Client, basic
from tests.infra import product
from tests.store.index.tables import CountingTable

# What each operation that changes something is called in the audit log. Whoever adds an operation adds it here, or
# to `SILENT` with the reason why it leaves no entry.
# fmt: off
EVENTS: Mapping[str, str] = MappingProxyType({
    "POST /c/login":                                       "login_user",
    "GET /c/log_out":                                      "logout_user",
    "PUT /configurations":                                 "update_configuration",
    "POST /projects":                                      "create_project",
    "PUT /projects/{project_name_or_id}":                  "update_project",
    "DELETE /projects/{project_name_or_id}":               "delete_project",
    "POST /projects/{project_name_or_id}/metadatas/":      "update_project",
    "PUT /projects/{project_name_or_id}/metadatas/{meta_name}":    "update_project",
    "DELETE /projects/{project_name_or_id}/metadatas/{meta_name}": "update_project",
    "PUT {repository}":                                    "update_repository",
    "DELETE {repository}":                                 "delete_repository",
    "POST {repository}/artifacts":                         "create_artifact",
    "DELETE {repository}/artifacts/{reference}":           "delete_artifact",
    "POST {repository}/artifacts/{reference}/tags":        "create_tag",
    "DELETE {repository}/artifacts/{reference}/tags/{tag_name}":   "delete_tag",
    "POST {repository}/artifacts/{reference}/labels":      "create_artifact-label",
    "DELETE {repository}/artifacts/{reference}/labels/{label_id}": "delete_artifact-label",
    "POST {repository}/tags/{tag_name}/undo":              "update_tag",
    "POST /projects/{project_name_or_id}/members":         "create_member",
    "PUT /projects/{project_name_or_id}/members/{mid}":    "update_member",
    "DELETE /projects/{project_name_or_id}/members/{mid}": "delete_member",
    "POST /users":                                         "create_user",
    "PUT /users/{user_id}":                                "update_user",
    "DELETE /users/{user_id}":                             "delete_user",
    "PUT /users/{user_id}/sysadmin":                       "update_user",
    "PUT /users/{user_id}/password":                       "update_user",
    "PUT /users/{user_id}/cli_secret":                     "update_user",
    "POST /usergroups":                                    "create_user-group",
    "PUT /usergroups/{group_id}":                          "update_user-group",
    "DELETE /usergroups/{group_id}":                       "delete_user-group",
    "POST /robots":                                        "create_robot",
    "PUT /robots/{robot_id}":                              "update_robot",
    "PATCH /robots/{robot_id}":                            "update_robot",
    "DELETE /robots/{robot_id}":                           "delete_robot",
    "POST /labels":                                        "create_label",
    "PUT /labels/{label_id}":                              "update_label",
    "DELETE /labels/{label_id}":                           "delete_label",
    "POST /retentions":                                    "create_tag-retention",
    "PUT /retentions/{id}":                                "update_tag-retention",
    "DELETE /retentions/{id}":                             "delete_tag-retention",
    "POST /retentions/{id}/executions":                    "run_tag-retention",
    "PATCH /retentions/{id}/executions/{eid}":             "stop_tag-retention",
    "POST /projects/{project_name_or_id}/immutabletagrules":    "create_immutable-tag",
    "PUT /projects/{project_name_or_id}/immutabletagrules/{immutable_rule_id}":    "update_immutable-tag",
    "DELETE /projects/{project_name_or_id}/immutabletagrules/{immutable_rule_id}": "delete_immutable-tag",
    "POST /projects/{project_name_or_id}/webhook/policies":                       "create_notification-policy",
    "PUT /projects/{project_name_or_id}/webhook/policies/{webhook_policy_id}":    "update_notification-policy",
    "DELETE /projects/{project_name_or_id}/webhook/policies/{webhook_policy_id}": "delete_notification-policy",
    "POST /registries":                                    "create_registry",
    "PUT /registries/{id}":                                "update_registry",
    "DELETE /registries/{id}":                             "delete_registry",
    "POST /replication/policies":                           "create_replication-policy",
    "PUT /replication/policies/{id}":                       "update_replication-policy",
    "DELETE /replication/policies/{id}":                    "delete_replication-policy",
    "POST /replication/executions":                         "run_replication",
    "PUT /replication/executions/{id}":                     "stop_replication",
    "PUT /quotas/{id}":                                    "update_quota",
    "POST /quotas/reconciliations":                         "update_quota",
    "PUT /system/regions":                                 "update_region",
    "PUT /system/verify/{verify_id}":                      "stop_job",
    "POST /system/verify/schedule":                        "update_job-schedule",
    "PUT /system/verify/schedule":                         "update_job-schedule",
    "PUT /system/gc/{gc_id}":                              "stop_job",
    "POST /system/gc/schedule":                            "update_job-schedule",
    "PUT /system/gc/schedule":                             "update_job-schedule",
    "PUT /system/purgeaudit/{purge_id}":                   "stop_job",
    "POST /system/purgeaudit/schedule":                    "update_job-schedule",
    "PUT /system/purgeaudit/schedule":                     "update_job-schedule",
    "PUT /jobservice/jobs/{job_id}":                       "stop_job",
    "PUT /jobservice/queues/{job_type}":                   "update_job-queue",
})
SILENT: Mapping[str, str] = MappingProxyType({
    "POST /c/userExists": "it is a question",
    "POST /system/regions/alignments": "a region that never was away has nothing to align; what was aligned is told",
    "POST /registries/ping": "it is a question",
})
# fmt: on
_REPOSITORY = "/projects/{project_name}/repositories/{repository_name}"
# Their change is in S3, so their entry is a commit of its own.
_IN_S3 = ("artifact", "tag", "repository")


def named(endpoint: HarborEndpoint) -> str:
    return f"{endpoint.method} {endpoint.path}".replace(_REPOSITORY, "{repository}")


def operation(step: product.Step) -> str:
    """Return the operation that a step is of: the row with the most text of its own that fits its path."""
    fitting = [row for row in ENDPOINTS if row.method == step.method and fits(row.path, step.path.partition("?")[0])]
    return named(min(fitting, key=lambda row: row.path.count("{")))


def fits(pattern: str, path: str) -> bool:
    return bool(re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(pattern)), path))


def filled() -> Registry:
    registry = Registry()
    product.artifacts(registry)
    registry.client.clock.advance(timedelta(seconds=1))
    return registry


def steps(registry: Registry) -> Iterator[product.Step]:
    """Do everything that changes something, a second apart; yield each step after it succeeded."""
    for step, answer in product.harbor(registry):
        assert answer.status < 300, (step, answer.body)
        registry.client.clock.advance(timedelta(seconds=1))
        if step.method not in ("GET", "HEAD"):
            yield step


def entries(client: Client, scope: int | str = ALL) -> list[audit.Logged]:
    return list(audit.page(client.services.directory, scope, Slice()).entries)


def types(client: Client) -> list[str]:
    return [logged.event.type for logged in entries(client)]


def counting(services: Services) -> tuple[Services, CountingTable]:
    table = CountingTable(services.directory.table)
    counted = replace(services.directory, table=table)
    return replace(services, directory=counted, index=replace(services.index, table=table)), table


# What leaves an entry


def test_every_operation_that_changes_something_has_a_type_or_a_reason() -> None:
    changing = {named(row) for row in ENDPOINTS if row.method not in ("GET", "HEAD")} | {"GET /c/log_out"}

    assert changing == EVENTS.keys() | SILENT.keys(), "add the operation to EVENTS, or to SILENT with its reason"
    assert set(EVENTS.values()) <= {*HARBOR, *OURS}


def test_each_change_leaves_its_entry_and_nothing_else() -> None:
    registry = filled()
    done = set()
    before = len(types(registry.client))
    for step in steps(registry):
        found, name = types(registry.client), operation(step)
        assert found[before:] == ([EVENTS[name]] if name in EVENTS else []), name
        done.add(name)
        before = len(found)

    assert {name for name in EVENTS if "/c/" not in name} <= done


def test_an_entry_of_a_change_in_the_table_costs_no_request() -> None:
    with_entries, without = filled(), filled()
    without.api("PUT", "/configurations", {"disabled_audit_log_event_types": ",".join((*HARBOR, *OURS))})
    tables = []
    for registry in (with_entries, without):
        registry.client.services, table = counting(registry.client.services)
        tables.append(table)
    for registry in (with_entries, without):
        registry.get("/projects")
    for table in tables:
        table.calls.clear()
    for step, _ in zip(steps(with_entries), steps(without), strict=True):
        kind = EVENTS.get(operation(step), "_").partition("_")[2]
        more = Counter(tables[0].calls)
        more.subtract(tables[1].calls)
        assert {name: number for name, number in more.items() if number} == (
            {"commit": 1} if kind == "region" or (kind in _IN_S3 and step.method != "PUT") else {}
        ), step
        for table in tables:
            table.calls.clear()


def test_a_change_and_its_entry_are_there_together_or_not_at_all() -> None:
    class Broken(CountingTable):
        def commit(self, *changes: Any) -> None:
            del changes
            raise OSError("DynamoDB does not answer")

    client = Client()
    world = Registry(client)
    whole = client.services
    before = len(entries(client))
    broken = replace(whole.directory, table=Broken(whole.directory.table))
    client.services = replace(whole, directory=broken)
    assert world.api("POST", "/users", {"username": "ann", "password": "Something1"}).status == 503
    client.services = whole

    assert len(entries(client)) == before
    assert world.get("/users?q=username=ann") == []


def test_every_entry_is_a_line_of_the_log_that_machines_read(caplog: pytest.LogCaptureFixture) -> None:
    telemetry.format_logs([])
    registry = Registry()
    caplog.clear()
    registry.api("POST", "/labels", {"name": "x", "scope": "g"})
    registry.api("PUT", "/configurations", {"disabled_audit_log_event_types": "create_label"})
    registry.api("POST", "/labels", {"name": "y", "scope": "g"})

    lines = [
        orjson.loads(telemetry.JsonFormatter().format(each)) for each in caplog.records if hasattr(each, "audit")
    ]

    assert [line["message"] for line in lines] == ["create_label", "update_configuration"]
    assert lines[0]["audit"] == {
        "username": "admin",
        "resource": "x",
        "resource_type": "label",
        "operation": "create",
        "description": "",
        "succeeded": True,
        "project_id": 0,
    }


def test_an_entry_says_who_did_what_in_which_project() -> None:
    registry = Registry()
    registry.api("POST", "/projects", {"project_name": "deck"})
    number = registry.get("/projects/deck")["project_id"]

    [logged] = entries(registry.client, number)

    assert logged.event == Event("admin", "deck", "project", "create", project_id=number)


# Logins


def log_in(client: Client, password: str, name: str = "admin") -> int:
    client.headers = {"content-type": "application/x-www-form-urlencoded"}
    return client.ask("POST", "/c/login", urlencode({"principal": name, "password": password}).encode()).status


def test_a_failed_login_is_an_entry_by_whichever_door_and_once_for_each_guess() -> None:
    client = Client()
    before = len(entries(client))
    assert [log_in(client, "Guess1234") for _ in range(3)] == [401] * 3
    client.headers = basic("admin", "Guess5678")
    for path in ("/service/token", "/api/v2.0/projects", "/v2/"):
        assert client.ask("GET", path).status == 401
    client.headers = basic("robot$none", "Guess5678")
    assert client.ask("GET", "/service/token").status == 401

    found = [logged.event for logged in entries(client)][before:]

    assert [(event.username, event.type, event.succeeded) for event in found].count(
        ("admin", "login_user", False)
    ) == 2
    assert ("robot$none", "login_user", False) in {(event.username, event.type, event.succeeded) for event in found}
    assert len(found) == 3
    assert {event.description for event in found} == {"from 192.0.2.1"}


def test_a_failed_login_under_a_name_without_end_leaves_a_bounded_entry() -> None:
    client = Client()

    assert log_in(client, "Guess1234", "x" * 20_000 + "\n") == 401

    assert [len(logged.event.username) for logged in entries(client)][-1] == 255


def test_a_failed_login_costs_no_request_for_its_entry() -> None:
    calls = []
    for settings in ({}, {"disabled_audit_log_event_types": "login_user"}):
        registry = Registry()
        registry.api("PUT", "/configurations", {"token_expiration": 30, **settings})
        registry.client.services, table = counting(registry.client.services)
        assert log_in(registry.client, "Guess1234") == 401
        calls.append(table.calls)

    assert calls[0] == calls[1]


def test_logging_in_and_out_is_told() -> None:
    client = Client()
    client.headers = {"content-type": "application/x-www-form-urlencoded"}
    form = urlencode({"principal": "admin", "password": "a password"}).encode()
    cookie = client.ask("POST", "/c/login", form).headers["Set-Cookie"].partition(";")[0]
    client.clock.advance(timedelta(seconds=1))
    client.headers = {"cookie": cookie}
    assert client.ask("GET", "/c/log_out").status == 200
    # A session that ended has nobody to log out.
    assert client.ask("GET", "/c/log_out").status == 200

    assert types(client)[-2:] == ["login_user", "logout_user"]


# What the settings leave out


def test_types_that_are_switched_off_leave_no_entry() -> None:
    registry = Registry()
    registry.api("PUT", "/configurations", {"disabled_audit_log_event_types": "create_label, update_label"})
    registry.client.clock.advance(timedelta(seconds=1))
    before = len(entries(registry.client))
    registry.api("POST", "/labels", {"name": "x", "scope": "g"})
    registry.api("POST", "/usergroups", {"group_name": "deck", "group_type": 1, "ldap_group_dn": "cn=deck"})

    assert types(registry.client)[before:] == ["create_user-group"]


def test_the_rest_can_be_switched_off_by_one_word() -> None:
    registry = Registry()
    registry.api("PUT", "/configurations", {"disabled_audit_log_event_types": "other_events"})
    registry.client.clock.advance(timedelta(seconds=1))
    before = len(entries(registry.client))
    registry.api("POST", "/labels", {"name": "x", "scope": "g"})
    registry.api("POST", "/projects", {"project_name": "deck"})

    assert types(registry.client)[before:] == ["create_project"]


def test_switching_the_log_off_is_in_the_log() -> None:
    registry = Registry()
    registry.api("PUT", "/configurations", {"disabled_audit_log_event_types": "update_configuration"})
    registry.api("PUT", "/configurations", {"token_expiration": 10})

    assert types(registry.client).count("update_configuration") == 1


# How it is asked


@pytest.fixture(scope="module")
def old() -> Registry:
    """A registry whose log has 40 entries of a project, a minute apart, by two people."""
    registry = Registry()
    for number in range(40):
        registry.client.clock.advance(timedelta(minutes=1))
        who = "ann" if number % 4 else "bob"
        event = Event(who, f"library/app:v{number}", "artifact", "create", project_id=1)
        audit.log(registry.client.services.directory, event)
    return registry


def asked(registry: Registry, query: str, path: str = "/auditlog-exts") -> tuple[list[str], int]:
    answer = registry.api("GET", f"{path}?{query}&page_size=100")
    assert answer.status == 200, answer.body
    return [entry["resource"] for entry in orjson.loads(answer.body)], int(answer.headers["X-Total-Count"])


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("username=bob", range(36, -1, -4)),
        ("username=~BO,resource=~v3", [36, 32]),
        ("resource={library/app:v7 library/app:v9}", [9, 7]),
        ("op_time=[2026-03-01 12:10:00~2026-03-01 12:12:00]", [11, 10, 9]),
        ("op_time=[2026-03-01T12:10:00Z~2026-03-01T14:12:00+02:00]", [11, 10, 9]),
        ("op_time=[2026-03-01T12:38:00Z~],username=ann", [39, 38, 37]),
        ("op_time=[~2026-03-01T12:02:00Z],operation=create,resource_type=artifact", [1, 0]),
        ("operation=pull", []),
        ("event_type=create_artifact,op_time=[2026-03-01 12:40~2026-03-02]", [39]),
    ],
)
def test_conditions_find_what_they_name(old: Registry, query: str, numbers: range | list[int]) -> None:
    expected = [f"library/app:v{number}" for number in numbers]

    assert asked(old, f"q={quote(query)}") == (expected, len(expected))


def test_both_directions_of_time_are_read_a_page_at_a_time(old: Registry) -> None:
    services = old.client.services
    old.client.services, table = counting(services)
    try:
        backwards, total = asked(old, "page_size=3&page=2&sort=-op_time", "/projects/library/auditlog-exts")
        forwards, _ = asked(old, "page_size=100&sort=op_time", "/projects/library/auditlog-exts")
    finally:
        old.client.services = services

    assert total == len(forwards)
    assert forwards[-1] == "library/app:v39"
    assert forwards[::-1] == asked(old, "", "/projects/library/auditlog-exts")[0]
    assert backwards == forwards[::-1][3:6]
    assert table.calls["query"] <= 4


def test_another_order_and_a_later_page_are_those_of_all_that_matches(old: Registry) -> None:
    query = f"sort=resource&q={quote('username=ann')}"
    whole, total = asked(old, query)
    answer = old.api("GET", f"/auditlog-exts?page_size=7&page=3&{query}")

    assert whole == sorted(whole)
    assert [entry["resource"] for entry in orjson.loads(answer.body)] == whole[14:21]
    assert total == 30
