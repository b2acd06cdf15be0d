"""What Terraform's provider for Harbor sends: a body with every GET, zero times, settings of other versions."""

from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from chalicelib.api.http import Response
from tests.api.artifacts import Registry
from tests.api.asking import basic

NEVER = "0001-01-01T00:00:00Z"
DOUBLESTAR = {"kind": "doublestar", "pattern": "**"}
REPOSITORIES = {"repository": [{**DOUBLESTAR, "decoration": "repoMatches"}]}
Json = dict[str, Any]


@dataclass
class Provider:
    """The provider's one way to ask."""

    registry: Registry = field(default_factory=Registry)

    def send(self, method: str, path: str, body: object = None, expected: int = 200) -> Response:
        client = self.registry.client
        client.headers = basic()
        content = orjson.dumps(body) + b"\n"
        answer = client.ask(method, f"/api/v2.0{path}", content, content_type="application/json")
        assert answer.status == expected, answer.body
        return answer

    def read(self, path: str) -> Any:
        return orjson.loads(self.send("GET", path).body)

    def create(self, path: str, body: Json) -> str:
        location = self.send("POST", path, body, 201).headers["Location"]
        return location.replace("/api", "").replace("/v2.0", "")


@pytest.fixture
def provider() -> Provider:
    return Provider()


def scheduled(kind: str, cron: str, **parameters: object) -> Json:
    schedule = {"type": kind, "cron": cron} if cron else {"type": kind}
    return {"schedule": schedule, "creation_time": NEVER, "update_time": NEVER, "parameters": parameters}


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("/system/gc/schedule", {"delete_untagged": True, "workers": 2}),
        ("/system/purgeaudit/schedule", {"audit_retention_hour": 24, "include_event_types": "push,pull"}),
    ],
)
def test_a_schedule_is_made_changed_and_taken_away(provider: Provider, path: str, parameters: Json) -> None:
    # There is something to parse where there is no schedule: the provider fails where there is nothing.
    assert provider.read(path) == {}
    for kind, cron in (("Daily", "0 0 0 * * *"), ("Custom", "0 10 0 * * 1-5")):
        provider.send("PUT", path, scheduled(kind, cron, **parameters))

        found = provider.read(path)
        assert (found["schedule"]["type"], found["schedule"]["cron"]) == (kind, cron)
        assert orjson.loads(found["job_parameters"]).items() >= parameters.items()

    provider.send("PUT", path, scheduled("None", "", **parameters))
    assert provider.read(path) == {}


def test_a_retention_policy_is_made_found_again_and_emptied(provider: Provider) -> None:
    selector = {**DOUBLESTAR, "decoration": "excludes", "extras": '{"untagged":false}'}
    rule = {
        "disabled": False,
        "action": "retain",
        "scope_selectors": REPOSITORIES,
        "tag_selectors": [selector],
        "params": {"nDaysSinceLastPull": 5},
        "template": "nDaysSinceLastPull",
    }
    trigger = {"kind": "Schedule", "references": {}, "settings": {"cron": "0 0 0 * * *"}}
    policy: Json = {"algorithm": "or", "rules": [rule], "trigger": trigger, "scope": {"level": "project", "ref": 1}}

    made = provider.create("/retentions", policy)
    # To one that is there already the provider comes by way of the project.
    provider.send("POST", "/retentions", policy, 400)
    assert made == f"/retentions/{provider.read('/projects/1')['metadata']['retention_id']}"
    provider.send("PUT", made, policy)
    [found] = provider.read(made)["rules"]
    assert found["tag_selectors"] == [selector]
    assert found["params"] == {"nDaysSinceLastPull": 5}

    trigger["settings"] = {"cron": ""}
    provider.send("PUT", made, {**policy, "rules": [], "id": int(made.rpartition("/")[2])})
    assert provider.read(made)["rules"] == []


def test_a_rule_of_immutability_is_made_changed_and_deleted(provider: Provider) -> None:
    rules = "/projects/1/immutabletagrules"
    rule: Json = {
        "disabled": False,
        "scope_selectors": REPOSITORIES,
        "tag_selectors": [{**DOUBLESTAR, "decoration": "matches"}],
        "scope": {"level": "", "ref": 0},
    }

    made = provider.create(rules, rule)
    number = int(made.rpartition("/")[2])
    assert made == f"{rules}/{number}"
    provider.send("PUT", made, {**rule, "id": number, "disabled": True})
    assert [(each["id"], each["disabled"]) for each in provider.read(rules)] == [(number, True)]
    provider.send("DELETE", made)
    assert provider.read(rules) == []


def test_a_quota_is_found_by_its_project_and_set(provider: Provider) -> None:
    [quota] = [each for each in provider.read("/quotas/?page=1&page_size=100") if each["ref"]["id"] == 1]

    provider.send("PUT", f"/quotas/{quota['id']}", {"hard": {"storage": 2**30}})

    assert provider.read(f"/quotas/{quota['id']}")["hard"] == {"storage": 2**30}
    assert provider.read("/quotas/?page=2&page_size=100") == []


def test_settings_are_set_beside_those_of_other_versions(provider: Provider) -> None:
    others: Json = {"scan_all_policy": {"parameter": {}}, "email_insecure": False, "email_ssl": False}
    sent = {"read_only": False, "quota_per_project_enable": True, "robot_token_duration": 60}

    provider.send("PUT", "/configurations", {**others, **sent})

    found = provider.read("/configurations")
    assert {name: found[name]["value"] for name in sent} == sent
