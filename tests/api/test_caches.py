"""Projects that are caches of other registries, made by Harbor's API."""

from collections.abc import Iterator

import orjson
import pytest

from chalicelib.policy.jobs import Kind
from chalicelib.store import schedules
from chalicelib.store.directory import registries
from chalicelib.store.directory.registries import NewRegistry
from tests.api.artifacts import Registry
from tests.api.asking import basic
from tests.api.hub import REPOSITORY, Hub, hub
from tests.api.principals import World, as_user


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def cache() -> Iterator[Hub]:
    with hub() as made:
        yield made


def known(registry: Registry, make: str = "docker-hub") -> int:
    new = NewRegistry(make, make, "https://hub.example")
    return registries.create(registry.client.services.directory, new, registries.HEALTHY)


def test_a_cache_begins_with_a_retention_policy_that_runs_daily(registry: Registry) -> None:
    number = known(registry)

    made = registry.api("POST", "/projects", {"project_name": "hub", "registry_id": number})

    assert made.status == 201
    project = registry.get("/projects/hub")
    assert project["registry_id"] == number
    policy = registry.get(f"/retentions/{project['metadata']['retention_id']}")
    assert policy["rules"][0]["params"] == {"nDaysSinceLastPull": 7}
    schedule = schedules.get(registry.client.services.directory, Kind.RETENTION, policy["id"])
    assert schedule
    assert schedule.cron == "0 0 0 * * *"


@pytest.mark.parametrize(("number", "status"), [(12345, 400), (0, 400), (-1, 400), ("x", 400)])
def test_a_cache_needs_a_registry_that_is_there(registry: Registry, number: object, status: int) -> None:
    answer = registry.api("POST", "/projects", {"project_name": "hub", "registry_id": number})

    assert answer.status == status


def test_there_are_no_caches_of_every_make(registry: Registry) -> None:
    answer = registry.api("POST", "/projects", {"project_name": "hub", "registry_id": known(registry, "gitlab")})

    assert answer.status == 400
    assert b"cannot be cached" in answer.body


def test_only_an_administrator_makes_a_cache() -> None:
    world = World()
    world.client.headers = as_user("outsider")
    body = orjson.dumps({"project_name": "hub", "registry_id": 1})

    answer = world.client.ask("POST", "/api/v2.0/projects", body, content_type="application/json")

    assert answer.status == 403


def test_what_is_in_a_cache_comes_of_pulls_alone(cache: Hub) -> None:
    digest = cache.image()
    cache.pull()
    cache.settle()
    cache.client.headers = basic()
    artifacts = "/api/v2.0/projects/hub/repositories/library%2Falpine/artifacts"

    tagged = cache.client.ask(
        "POST", f"{artifacts}/{digest}/tags", b'{"name":"mine"}', content_type="application/json"
    )
    copied = cache.client.ask("POST", f"{artifacts}?from={REPOSITORY}:latest")

    assert (tagged.status, copied.status) == (405, 405)


def test_what_was_pulled_is_listed_as_pulled_and_its_size_is_charged(cache: Hub) -> None:
    digest = cache.image()
    cache.pull()
    cache.settle()
    cache.client.headers = basic()

    listed = cache.client.ask("GET", "/api/v2.0/projects/hub/repositories/library%2Falpine/artifacts")
    summary = orjson.loads(cache.client.ask("GET", "/api/v2.0/projects/hub/summary").body)

    [artifact] = orjson.loads(listed.body)
    assert artifact["digest"] == digest
    assert not artifact["pull_time"].startswith("0001")
    assert [tag["name"] for tag in artifact["tags"]] == ["latest"]
    assert summary["quota"]["used"]["storage"] > 250_000
    assert summary["registry"] == {
        "id": cache.registry,
        "name": "there",
        "type": "docker-registry",
        "url": cache.there.url,
    }


def test_what_was_let_go_is_fetched_again(cache: Hub) -> None:
    digest = cache.image()
    cache.pull()
    cache.settle()
    cache.client.headers = basic()
    gone = cache.client.ask("DELETE", f"/api/v2.0/projects/hub/repositories/library%2Falpine/artifacts/{digest}")

    cache.client.headers = {}
    assert gone.status == 200
    assert cache.manifest("latest").headers["Docker-Content-Digest"] == digest
    cache.settle()
    listed = cache.client.ask("GET", f"/v2/{REPOSITORY}/tags/list")
    assert orjson.loads(listed.body)["tags"] == ["latest"]
