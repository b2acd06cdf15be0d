"""Harbor's API of repositories."""

import orjson
import pytest

from tests.api.artifacts import Registry, encoded
from tests.api.asking import basic


@pytest.fixture
def registry() -> Registry:
    return Registry()


def test_a_push_makes_a_repository_with_its_counts(registry: Registry) -> None:
    registry.image("library/a/b", "v1", "x")
    registry.image("library/a/b", "v2", "y")

    shown = registry.get(f"/projects/library/repositories/{encoded('a/b')}")

    assert (shown["name"], shown["artifact_count"], shown["pull_count"]) == ("library/a/b", 2, 0)
    assert shown["creation_time"]
    assert registry.get("/projects/library/repositories/a%2Fb") == shown
    assert registry.get("/projects/library/repositories") == [shown]


def test_repositories_come_in_pages_and_by_conditions(registry: Registry) -> None:
    for number in range(5):
        registry.image(f"library/app{number}", "v1", "x")

    page = registry.api("GET", "/projects/library/repositories?page=2&page_size=2")

    assert [entry["name"] for entry in orjson.loads(page.body)] == ["library/app2", "library/app3"]
    assert page.headers["X-Total-Count"] == "5"
    assert page.headers["Link"].count("rel=") == 2
    found = registry.get("/projects/library/repositories?q=name%3D~app4")
    assert [entry["name"] for entry in found] == ["library/app4"]
    backwards = registry.get("/projects/library/repositories?sort=-name&page_size=1")
    assert backwards[0]["name"] == "library/app4"


def test_all_repositories_are_those_of_the_projects_that_one_may_see(registry: Registry) -> None:
    registry.image("library/public", "v1", "x")
    registry.image("one/private", "v1", "x")

    assert [entry["name"] for entry in registry.get("/repositories")] == ["library/public", "one/private"]
    anonymous = registry.api("GET", "/repositories", who={})
    assert [entry["name"] for entry in orjson.loads(anonymous.body)] == ["library/public"]


def test_the_description_can_be_changed_and_nothing_else(registry: Registry) -> None:
    registry.image("library/app", "v1", "x")
    before = registry.get("/projects/library/repositories/app")

    changed = registry.api("PUT", "/projects/library/repositories/app", {"description": "words", "name": "other"})

    assert changed.status == 200
    after = registry.get("/projects/library/repositories/app")
    assert after == {**before, "description": "words", "update_time": after["update_time"]}
    registry.image("library/app", "v2", "y")
    assert registry.get("/projects/library/repositories/app")["description"] == "words"


def test_a_deleted_repository_is_gone_for_the_api_and_for_pulls(registry: Registry) -> None:
    digest = registry.image("library/app", "v1", "x")
    registry.image("library/app/below", "v1", "x")

    assert registry.api("DELETE", "/projects/library/repositories/app").status == 200

    assert registry.get("/projects/library/repositories/app", 404)["errors"][0]["code"] == "NOT_FOUND"
    assert registry.pull("library/app", "v1") == registry.pull("library/app", digest) == 404
    assert registry.pull("library/app/below", "v1") == 200
    assert registry.api("DELETE", "/projects/library/repositories/app").status == 404


def test_names_that_can_name_nothing_are_not_found(registry: Registry) -> None:
    for name in ("UPPER", "a..b", "%2E%2E", "a" * 300, "x%00y"):
        assert registry.api("GET", f"/projects/library/repositories/{name}").status == 404


def test_a_description_has_bounds_and_is_a_text(registry: Registry) -> None:
    registry.image("library/app", "v1", "x")

    for description in ("x" * 70_000, 5, ["x"]):
        answer = registry.api("PUT", "/projects/library/repositories/app", {"description": description})
        assert answer.status == 400


def test_a_private_project_shows_its_repositories_to_nobody_else(registry: Registry) -> None:
    registry.image("one/private", "v1", "x")

    assert registry.api("GET", "/projects/one/repositories", who={}).status == 401
    assert registry.api("GET", "/projects/one/repositories/private", who={}).status == 401
    assert registry.api("DELETE", "/projects/one/repositories/private", who={}).status == 401
    assert registry.api("GET", "/projects/one/repositories", who=basic("nobody", "Wrong-1234")).status == 401
