"""What is told of pulls behind them: who, what and when in the audit log, numbers and times in the index."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from chalicelib.jobs import pulled
from chalicelib.oci.digests import Digest
from chalicelib.services import Services
from chalicelib.store.directory import audit, configuration
from chalicelib.store.directory.audit import ALL
from chalicelib.store.pulls import PullCounter, Pulled, Pulls
from chalicelib.store.table import Slice
from tests.api.artifacts import Registry
from tests.api.asking import Client, basic
from tests.jobs.test_reindex import services_of
from tests.memory import START
from tests.store.index.world import HOME, World, image

LATER = START + timedelta(seconds=4)


def pulls(services: Services) -> list[audit.Logged]:
    found = audit.page(services.directory, ALL, Slice()).entries
    return [logged for logged in found if logged.event.type == "pull_artifact"]


def world_and_services(settings: Mapping[str, Any] | None = None) -> tuple[World, Services, str]:
    world = World()
    services = services_of(world)
    configuration.change(services.directory, settings or {})
    return world, services, str(world.push(image("one"), "v1"))


def test_a_pull_says_who_pulled_what_and_when() -> None:
    world, services, digest = world_and_services()
    made = {Pulled(HOME, digest, "v1", "ann"): Pulls(1, START), Pulled(HOME, digest): Pulls(1, LATER)}

    pulled.tell(services, made)

    first, second = pulls(services)
    assert (first.event.username, first.event.resource, first.time) == (
        "ann",
        "library/app:v1",
        "2026-03-01T12:00:00.000Z",
    )
    assert (second.event.username, second.event.resource) == ("anonymous", f"library/app@{digest}")
    assert world.home().pulls == 2


def test_pulls_that_are_told_together_are_one_entry_that_says_how_many() -> None:
    _, services, digest = world_and_services()
    counter = PullCounter()
    for second in (0, 1, 4):
        counter.count(Pulled(HOME, digest, "v1", "ann"), START + timedelta(seconds=second))

    pulled.tell(services, counter.take())

    [logged] = pulls(services)
    assert logged.time == "2026-03-01T12:00:00.000Z"
    assert logged.event.description == "pulled 3 times until 2026-03-01T12:00:04.000Z"


def test_told_again_under_one_name_pulls_make_the_same_entries() -> None:
    _, services, digest = world_and_services()
    made = {Pulled(HOME, digest, tag, who): Pulls(1, START) for tag in ("", "v1") for who in ("", "ann", "bob")}

    for name in ("delivery 1", "delivery 1", "delivery 2"):
        pulled.tell(services, made, name)

    assert len(pulls(services)) == 2 * len(made)


def test_a_pull_of_a_project_that_is_gone_is_in_the_log_of_all() -> None:
    _, services, digest = world_and_services()
    gone = HOME.parse("gone/app")

    pulled.tell(services, {Pulled(gone, digest, "v1", "ann"): Pulls(1, START)})

    assert [logged.event.project_id for logged in pulls(services)] == [0]


@pytest.mark.parametrize(
    ("setting", "entries", "number", "time"),
    [
        ({}, 1, 1, True),
        ({"pull_audit_log_disable": True}, 0, 1, True),
        ({"disabled_audit_log_event_types": "pull_artifact"}, 0, 1, True),
        ({"pull_count_update_disable": True}, 1, 0, True),
        ({"pull_time_update_disable": True}, 1, 1, False),
        ({"pull_count_update_disable": True, "pull_time_update_disable": True}, 1, 0, False),
    ],
)
def test_each_setting_leaves_out_what_it_says(
    setting: Mapping[str, Any], entries: int, number: int, time: bool
) -> None:
    world, services, digest = world_and_services(setting)

    pulled.tell(services, {Pulled(HOME, digest, "v1", "ann"): Pulls(1, LATER)})

    assert len(pulls(services)) == entries
    assert world.home().pulls == number
    assert bool(world.artifact(Digest.parse(digest)).pulled) == time


def test_a_client_s_pull_is_one_entry_by_the_name_that_it_came_under() -> None:
    registry = Registry()
    digest = registry.image("library/app", "v1", "one")
    client = registry.client
    registry.api("POST", "/users", {"username": "ann", "password": "Something1"})
    pull(client, basic("ann", "Something1"), digest)
    pull(client, {}, digest)

    pulled.tell(client.services, client.services.pulls.take())

    assert [(each.event.username, each.event.resource) for each in pulls(client.services)] == [
        ("ann", f"library/app@{digest}"),
        ("anonymous", f"library/app@{digest}"),
    ]
    assert len({each.event.project_id for each in pulls(client.services)}) == 1


def pull(client: Client, who: dict[str, str], digest: str) -> None:
    """Pull as docker does: HEAD of the tag, then GET of the digest."""
    client.clock.advance(timedelta(seconds=1))
    client.headers = who
    answer = client.ask("GET", "/service/token?service=registry.test&scope=repository:library/app:pull")
    client.headers = {"authorization": f"Bearer {token(answer.body)}"}
    assert client.ask("HEAD", "/v2/library/app/manifests/v1").status == 200
    assert client.ask("GET", f"/v2/library/app/manifests/{digest}").status == 200


def token(body: bytes) -> str:
    return body.decode().partition('"token":"')[2].partition('"')[0]
