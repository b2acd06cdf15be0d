"""What the registry as a whole tells, and to whom; settings that cannot be changed."""

from typing import Any

import orjson
import pytest

from tests.api.artifacts import Registry
from tests.api.asking import basic

SECRET = "Secret123"


@pytest.fixture
def registry() -> Registry:
    """Return a registry with two images and a user who is a member of nothing."""
    registry = Registry()
    registry.image("library/app", "v1", "x")
    registry.image("one/app", "v1", "y")
    person = {"username": "mary", "email": "mary@registry.test", "realname": "Mary", "password": SECRET}
    assert registry.api("POST", "/users", person).status == 201
    return registry


def counted(registry: Registry, *who: str) -> dict[str, Any]:
    answer = registry.api("GET", "/statistics", who=basic(*who))
    assert answer.status == 200
    return dict(orjson.loads(answer.body))


def test_an_administrator_sees_what_there_is_altogether(registry: Registry) -> None:
    told = counted(registry)

    used = sum(quota["used"]["storage"] for quota in registry.get("/quotas"))
    assert told.pop("total_storage_consumption") == used > 0
    assert told == {
        "total_project_count": 2,
        "public_project_count": 1,
        "private_project_count": 1,
        "total_repo_count": 2,
        "public_repo_count": 1,
        "private_repo_count": 1,
    }


def test_others_see_what_they_may_see_and_no_totals(registry: Registry) -> None:
    told = counted(registry, "mary", SECRET)

    assert {name for name, number in told.items() if number} == {"public_project_count", "public_repo_count"}
    assert {name for name in told if name.startswith("total_")} == {
        "total_project_count",
        "total_repo_count",
        "total_storage_consumption",
    }


def test_the_mode_of_authentication_is_a_bad_request_once_there_are_users(registry: Registry) -> None:
    assert registry.get("/configurations")["auth_mode"] == {"value": "db_auth", "editable": False}

    refused = registry.api("PUT", "/configurations", {"auth_mode": "oidc_auth"})

    assert refused.status == 400
    assert b"only while there are no users" in refused.body
    assert registry.api("PUT", "/configurations", {"auth_mode": "db_auth"}).status == 200


def test_the_audit_log_calls_every_setting_configuration_and_says_which_changed(registry: Registry) -> None:
    registry.api("PUT", "/configurations", {"token_expiration": 20, "read_only": False})

    entry = registry.get("/auditlog-exts?q=resource_type=configuration")[0]

    assert (entry["resource"], entry["operation"]) == ("configuration", "update")
    assert entry["operation_description"] == "read_only, token_expiration"
