"""Other registries over the API: what is taken and refused, which secrets are shown to whom, what may be deleted."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import pytest

from chalicelib.api.http import Response
from chalicelib.policy import replication as replication_rules
from chalicelib.policy.jobs import NO_VENDOR, Kind
from chalicelib.store import schedules
from chalicelib.store.directory import members, projects, registries, replication
from chalicelib.store.directory.projects import NewProject
from chalicelib.store.directory.registries import Registry
from tests.api.asking import Client
from tests.store.remote.fake import ACCESS_KEY, ACCESS_SECRET, FakeRegistry, answer, basic, faking

API = "/api/v2.0"


@dataclass
class Desk:
    """An administrator's, who may speak to this machine."""

    client: Client = field(default_factory=Client)

    def __post_init__(self) -> None:
        settings = replace(self.client.services.settings, private_targets=("127.0.0.1",))
        self.client.services = replace(self.client.services, settings=settings)

    def ask(self, method: str, path: str, body: object = None) -> Response:
        content = b"" if body is None else orjson.dumps(body)
        return self.client.ask(method, API + path, content, content_type="application/json")

    def get(self, path: str) -> Any:
        found = self.ask("GET", path)
        assert found.status == 200, found.body
        return orjson.loads(found.body)

    def add(self, registry: FakeRegistry, **fields: Any) -> int:
        made = self.ask("POST", "/registries", {**body_of(registry), **fields})
        assert made.status == 201, made.body
        return int(made.headers["Location"].rpartition("/")[2])

    def stored(self, number: int) -> Registry:
        found = registries.find(self.client.services.directory, number)
        assert found
        return found

    def refused(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        found = self.ask(method, path, body)
        return found.status, orjson.loads(found.body)["errors"][0]["message"]


def body_of(registry: FakeRegistry) -> dict[str, Any]:
    credential = {"type": "basic", "access_key": ACCESS_KEY, "access_secret": ACCESS_SECRET}
    return {"name": "theirs", "type": "docker-registry", "url": registry.url, "credential": credential}


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with faking(auth="basic") as made:
        yield made


def test_a_registry_is_added_shown_and_listed_without_its_secret(desk: Desk, registry: FakeRegistry) -> None:
    number = desk.add(registry, description="the other one")

    shown = desk.get(f"/registries/{number}")
    assert shown["credential"] == {"type": "basic", "access_key": ACCESS_KEY, "access_secret": "*****"}
    assert (shown["id"], shown["name"], shown["status"]) == (number, "theirs", "healthy")
    assert (shown["url"], shown["type"], shown["insecure"]) == (registry.url, "docker-registry", False)
    for query in ("", "?name=heir", "?q=name=theirs"):
        assert desk.get(f"/registries{query}") == [shown]
    assert desk.get("/registries?name=ours") == []
    assert ACCESS_SECRET not in str(dict(desk.stored(number).entry.document))


def test_a_registry_that_does_not_answer_is_not_added(desk: Desk, registry: FakeRegistry) -> None:
    wrong = {**body_of(registry), "credential": {"access_key": ACCESS_KEY, "access_secret": "wrong"}}
    status, message = desk.refused("POST", "/registries", wrong)
    assert (status, message.startswith("the registry is unhealthy: ")) == (400, True)
    assert "401" in message
    registry.instead("GET", "/v2/", answer(500))
    assert desk.refused("POST", "/registries", body_of(registry))[0] == 400
    assert desk.get("/registries") == []


def test_without_a_credential_it_is_enough_that_a_registry_wants_one(desk: Desk, registry: FakeRegistry) -> None:
    number = desk.add(registry, credential=None)

    assert desk.get(f"/registries/{number}")["credential"] == {}


def test_a_private_address_is_not_spoken_to(registry: FakeRegistry) -> None:
    desk = Desk()
    desk.client.services = replace(
        desk.client.services, settings=replace(desk.client.services.settings, private_targets=())
    )

    status, message = desk.refused("POST", "/registries/ping", {"type": "harbor", "url": registry.url})
    assert status == 400
    assert "ROADSTEAD_PRIVATE_TARGETS" in message
    assert registry.asked == []


def test_a_name_is_taken_once(desk: Desk, registry: FakeRegistry) -> None:
    desk.add(registry)
    other = desk.add(registry, name="other")

    assert desk.refused("POST", "/registries", body_of(registry))[0] == 409
    assert desk.refused("PUT", f"/registries/{other}", {"name": "theirs"})[0] == 409


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 65}, "64"),
        ({"name": "a\nb"}, "printable"),
        ({"type": "helm-hub"}, "docker-hub, docker-registry"),
        ({"type": ""}, "type must be one of"),
        ({"url": ""}, "https://"),
        ({"url": "registry.example.com"}, "https://"),
        ({"url": "ftp://registry.example.com"}, "https://"),
        ({"url": "https://me:pw@registry.example.com"}, "fields of its own"),
        ({"url": "https://registry.example.com?x=1"}, "an address alone"),
        ({"url": "https://[::1"}, "https://"),
        ({"credential": {"type": "kerberos"}}, "basic, oauth, secret"),
        ({"credential": {"access_key": 7}}, "access_key must be a text"),
        ({"credential": "me:pw"}, "credential must be an object"),
        ({"insecure": "yes"}, "true or false"),
        ({"ca_certificate": "no PEM"}, "PEM"),
        ({"description": "x" * 1025}, "1024"),
    ],
)
def test_what_cannot_be_is_refused_in_words(
    desk: Desk, registry: FakeRegistry, fields: dict[str, Any], words: str
) -> None:
    status, message = desk.refused("POST", "/registries", {**body_of(registry), **fields})

    assert status == 400
    assert words in message
    assert registry.asked == []


def test_a_change_without_a_secret_keeps_it(desk: Desk, registry: FakeRegistry) -> None:
    number = desk.add(registry)
    for body in ({"description": "new"}, {"access_secret": "*****"}, {"name": "renamed", "credential_type": "basic"}):
        assert desk.ask("PUT", f"/registries/{number}", body).status == 200

    shown = desk.get(f"/registries/{number}")
    assert (shown["name"], shown["description"]) == ("renamed", "new")
    assert registries.site(desk.client.services.settings, desk.stored(number)).access_secret == ACCESS_SECRET
    assert registry.asked[-1].headers["authorization"] == basic(ACCESS_KEY, ACCESS_SECRET)


def test_a_secret_can_be_changed_and_taken_away(desk: Desk, registry: FakeRegistry) -> None:
    number = desk.add(registry)

    assert desk.refused("PUT", f"/registries/{number}", {"access_secret": "wrong"})[0] == 400
    assert desk.ask("PUT", f"/registries/{number}", {"access_key": "", "access_secret": ""}).status == 200
    assert desk.get(f"/registries/{number}")["credential"] == {}


@pytest.mark.parametrize("path", ["/registries/{}", "/registries/ping"])
def test_a_secret_goes_to_no_other_host_than_it_was_given_for(desk: Desk, registry: FakeRegistry, path: str) -> None:
    """Who may change registries, or only ask whether they answer, must not learn what they are not shown."""
    number = desk.add(registry)
    with faking(auth="basic") as thief:
        method = "PUT" if "{}" in path else "POST"
        status, message = desk.refused(method, path.format(number), {"id": number, "url": thief.url})
        assert (status, "give access_secret again" in message) == (400, True)
        assert thief.asked == []
        given = {"id": number, "url": thief.url, "access_secret": ACCESS_SECRET}
        assert desk.ask(method, path.format(number), given).status == 200


def test_a_ping_says_whether_a_registry_answers_and_remembers_it_of_one_that_is_stored(
    desk: Desk, registry: FakeRegistry
) -> None:
    number = desk.add(registry)
    registry.instead("GET", "/v2/", answer(503), times=2)

    status, message = desk.refused("POST", "/registries/ping", {"id": number})
    assert (status, "503" in message) == (400, True)
    assert desk.get(f"/registries/{number}")["status"] == "unhealthy"
    assert desk.refused("POST", "/registries/ping", {"id": number, "insecure": True})[0] == 400
    assert desk.ask("POST", "/registries/ping", {"id": number}).status == 200
    assert desk.get(f"/registries/{number}")["status"] == "healthy"
    credential = {"access_key": ACCESS_KEY, "access_secret": ACCESS_SECRET}
    assert desk.ask("POST", "/registries/ping", {"type": "harbor", "url": registry.url, **credential}).status == 200


def test_a_ping_of_nothing_is_refused(desk: Desk) -> None:
    assert desk.refused("POST", "/registries/ping", {}) == (400, "type or url cannot be empty")
    assert desk.refused("POST", "/registries/ping", {"type": "harbor"}) == (400, "type or url cannot be empty")
    assert desk.refused("POST", "/registries/ping", {"id": 7})[0] == 404


def test_what_is_not_there_is_not_found(desk: Desk) -> None:
    for method, path in (("GET", ""), ("PUT", ""), ("DELETE", ""), ("GET", "/info")):
        assert desk.refused(method, f"/registries/7{path}", {})[0] == 404
    for method in ("PUT", "DELETE"):
        assert desk.refused(method, "/registries/0", {})[0] == 404


def test_a_registry_is_deleted_unless_it_is_used(desk: Desk, registry: FakeRegistry) -> None:
    number, directory = desk.add(registry), desk.client.services.directory
    cache = NewProject("cache", 1, "admin", {}, {}, registry_id=number)
    owner = members.Who(members.Kind.USER, 1, "admin")
    projects.create(directory, cache, members.founding(owner))

    assert desk.refused("DELETE", f"/registries/{number}")[0] == 412
    assert desk.ask("DELETE", "/projects/cache").status == 200
    rules = replication_rules.parse(
        {"name": "pull", "src_registry": {"id": number}, "trigger": {"type": "manual"}, "enabled": True}
    )
    policy = replication.create(directory, rules, "admin")
    status, message = desk.refused("DELETE", f"/registries/{number}")
    assert (status, "replication policies" in message) == (412, True)
    stored = replication.by_id(directory, policy)
    assert stored
    replication.delete(directory, stored)
    assert desk.ask("DELETE", f"/registries/{number}").status == 200
    assert desk.refused("GET", f"/registries/{number}")[0] == 404


def test_this_registry_is_number_zero(desk: Desk) -> None:
    desk.ask("POST", "/labels", {"name": "stable", "scope": "g"})

    assert desk.get("/registries/0")["name"] == "Local"
    info = desk.get("/registries/0/info")
    assert info["supported_triggers"] == ["manual", "scheduled", "event_based"]
    assert {"type": "label", "style": "list", "values": ["stable"]} in info["supported_resource_filters"]
    assert info["supported_resource_filters"][-1]["values"] == ["image", "artifact"]


def test_what_replication_can_do_with_a_registry_is_shown(desk: Desk, registry: FakeRegistry) -> None:
    number = desk.add(registry)

    assert desk.get(f"/registries/{number}/info") == {
        "type": "docker-registry",
        "description": "",
        "supported_resource_filters": [
            {"type": "name", "style": "input"},
            {"type": "tag", "style": "input"},
            {"type": "resource", "style": "radio", "values": ["image"]},
        ],
        "supported_triggers": ["manual", "scheduled"],
        "supported_copy_by_chunk": True,
    }


def test_the_makes_and_what_is_offered_for_them_are_shown(desk: Desk) -> None:
    assert len(desk.get("/replication/adapters")) == 15
    infos = desk.get("/replication/adapterinfos")
    offered = {"ali-acr", "aws-ecr", "docker-hub", "github-ghcr", "google-gcr", "quay"}
    assert {name for name, info in infos.items() if info} == offered
    assert set(infos) == {*offered, "tencent-tcr", "volcengine-cr"}
    assert infos["docker-hub"] == {
        "endpoint_pattern": {
            "endpoint_type": "EndpointPatternTypeFix",
            "endpoints": [{"key": "hub.docker.com", "value": "https://hub.docker.com"}],
        }
    }
    assert infos["google-gcr"]["credential_pattern"]["access_key_data"] == "_json_key"


def test_registries_are_asked_every_five_minutes_as_long_as_there_are_any(desk: Desk, registry: FakeRegistry) -> None:
    directory = desk.client.services.directory
    assert schedules.get(directory, Kind.REGISTRY_HEALTH, NO_VENDOR) is None
    desk.add(registry)

    found = schedules.get(directory, Kind.REGISTRY_HEALTH, NO_VENDOR)
    assert found
    assert found.cron == "0 */5 * * * *"
