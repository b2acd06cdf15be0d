"""The log of all, as it is shown to those who may read the logs of some projects alone."""

from collections.abc import Mapping
from datetime import timedelta

import orjson
import pytest

from chalicelib.policy.audit import Event
from chalicelib.store.directory import audit
from tests.api.artifacts import Registry
from tests.api.asking import Client, basic

SECRET = "Secret123"
PROJECTS = ("library", "one", "two")
PROJECT_ADMIN, GUEST = 1, 3


@pytest.fixture
def registry() -> Registry:
    """Return a registry in which mary administers two projects and may read in a third; bob is in none."""
    registry = Registry(Client(projects=PROJECTS))
    for name in ("mary", "bob"):
        person = {"username": name, "email": f"{name}@registry.test", "realname": name, "password": SECRET}
        assert registry.api("POST", "/users", person).status == 201
    for project, role in (("one", PROJECT_ADMIN), ("two", PROJECT_ADMIN), ("library", GUEST)):
        member = {"role_id": role, "member_user": {"username": "mary"}}
        assert registry.api("POST", f"/projects/{project}/members", member).status == 201
    numbers = [registry.get(f"/projects/{name}")["project_id"] for name in PROJECTS]
    for number in range(30):
        registry.client.clock.advance(timedelta(minutes=1))
        event = Event("ann", f"{number}", "label", "create", project_id=numbers[number % 3])
        audit.log(registry.client.services.directory, event)
    return registry


def asked(
    registry: Registry, query: str = "", who: Mapping[str, str] | None = None, path: str = "/auditlog-exts"
) -> tuple[list[str], int]:
    """Return the resources of labels that are listed, and how many entries there are."""
    answer = registry.api("GET", f"{path}?{query}&page_size=100", who=basic("mary", SECRET) if who is None else who)
    assert answer.status == 200, answer.body
    shown = [entry for entry in orjson.loads(answer.body) if entry["resource_type"] == "label"]
    return [entry["resource"] for entry in shown], int(answer.headers["X-Total-Count"])


@pytest.mark.parametrize("path", ["/audit-logs", "/auditlog-exts"])
def test_a_project_administrator_reads_the_logs_of_her_projects_as_one(registry: Registry, path: str) -> None:
    found, total = asked(registry, path=path)

    assert found == [str(number) for number in range(29, -1, -1) if number % 3]
    # That she became a member of both is there too.
    assert total == len(found) + 2


def test_it_comes_in_pages_and_by_conditions_and_in_other_orders(registry: Registry) -> None:
    whole, _ = asked(registry)

    assert asked(registry, "page=2&page_size=7")[0] == whole[7:14]
    assert asked(registry, "q=resource={28 27 26}") == (["28", "26"], 2)
    assert asked(registry, "sort=op_time")[0] == whole[::-1]
    assert asked(registry, "sort=-resource&q=resource_type=label")[0] == sorted(whole, reverse=True)


def test_who_may_read_no_log_is_shown_an_empty_one(registry: Registry) -> None:
    assert asked(registry, who=basic("bob", SECRET)) == ([], 0)
    assert asked(registry, "q=operation=create", who=basic("bob", SECRET)) == ([], 0)
    assert registry.api("GET", "/auditlog-exts", who={}).status == 401


def test_an_administrator_reads_everything(registry: Registry) -> None:
    assert asked(registry, who=basic())[0] == [str(number) for number in range(29, -1, -1)]


def test_a_robot_account_reads_what_it_was_permitted(registry: Registry) -> None:
    def robot(name: str, level: str, namespace: str, resource: str) -> dict[str, str]:
        access = [{"resource": resource, "action": "list"}]
        permissions = [{"kind": level, "namespace": namespace, "access": access}]
        body = {"name": name, "level": "system", "duration": -1, "permissions": permissions}
        made = orjson.loads(registry.api("POST", "/robots", body).body)
        return basic(made["name"], made["secret"])

    everything = robot("all", "system", "/", "audit-log")
    some = robot("some", "project", "two", "log")
    nothing = robot("none", "project", "two", "repository")

    assert len(asked(registry, who=everything)[0]) == 30
    assert asked(registry, who=some)[0] == [str(number) for number in range(29, -1, -3)]
    assert asked(registry, who=nothing) == ([], 0)
