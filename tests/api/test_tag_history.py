"""What a tag named before, over the API."""

from datetime import timedelta

import orjson
import pytest

from chalicelib.oci.digests import Digest
from tests.api.artifacts import Registry
from tests.api.principals import IMAGE, PRIVATE, World, as_user

HISTORY = f"/projects/{PRIVATE}/repositories/app/tags/v1/history"
UNDO = f"/projects/{PRIVATE}/repositories/app/tags/v1/undo"
OTHER = IMAGE.replace(b'"layers":[]', b'"layers":[],"annotations":{"n":"2"}')


@pytest.fixture
def world() -> World:
    world = World()
    kind = "application/vnd.oci.image.manifest.v1+json"
    world.registry("PUT", f"/v2/{PRIVATE}/app/manifests/v1", OTHER, content_type=kind)
    return world


def test_a_tag_s_states_are_listed_newest_first(world: World) -> None:
    states = orjson.loads(world.api("GET", HISTORY).body)

    assert [state["digest"] for state in states] == [str(Digest.of(OTHER)), str(Digest.of(IMAGE))]
    assert [state["current"] for state in states] == [True, False]


def test_undo_moves_the_tag_back_for_pulls_and_lists(world: World) -> None:
    answer = world.api("POST", UNDO)

    assert (answer.status, orjson.loads(answer.body)) == (200, {"digest": str(Digest.of(IMAGE))})
    assert world.registry("GET", f"/v2/{PRIVATE}/app/manifests/v1").body == IMAGE
    shown = orjson.loads(world.api("GET", f"/projects/{PRIVATE}/repositories/app/artifacts/v1").body)
    assert shown["digest"] == str(Digest.of(IMAGE))


def test_undo_brings_a_deleted_tag_back(world: World) -> None:
    world.registry("DELETE", f"/v2/{PRIVATE}/app/manifests/v1")

    assert world.api("POST", UNDO).status == 200
    assert world.registry("GET", f"/v2/{PRIVATE}/app/manifests/v1").body == OTHER


def test_a_state_is_named_by_its_version(world: World) -> None:
    version = orjson.loads(world.api("GET", HISTORY).body)[1]["version"]

    assert world.api("POST", UNDO, {"version": version}).status == 200
    assert world.api("POST", UNDO, {"version": "no such"}).status == 404


def test_who_may_look_may_not_go_back(world: World) -> None:
    assert world.api("GET", HISTORY, who=as_user("guest")).status == 200
    assert world.api("POST", UNDO, who=as_user("guest")).status == 403
    assert world.api("POST", UNDO, who=as_user("developer")).status == 200
    assert world.api("GET", HISTORY.replace("v1", "none")).status == 404


def test_after_the_window_there_is_no_way_back(world: World) -> None:
    world.client.clock.advance(world.client.services.settings.history_window + timedelta(days=1))

    assert [state["current"] for state in orjson.loads(world.api("GET", HISTORY).body)] == [True]
    assert world.api("POST", UNDO).status == 404


def test_a_tag_of_a_deleted_repository_has_its_history_and_comes_back(world: World) -> None:
    assert world.api("DELETE", f"/projects/{PRIVATE}/repositories/app").status == 200

    assert orjson.loads(world.api("GET", HISTORY).body)[0]["deleted"]
    assert world.api("POST", UNDO).status == 200

    assert world.registry("GET", f"/v2/{PRIVATE}/app/manifests/v1").body == OTHER
    assert orjson.loads(world.api("GET", f"/projects/{PRIVATE}/repositories/app").body)["artifact_count"] == 1


def test_an_index_that_was_deleted_comes_back_with_its_children_also_in_lists() -> None:
    registry = Registry()
    children = [registry.image("library/app", "", name) for name in ("one", "two")]
    index = registry.index("library/app", "all", *children)
    app = "/projects/library/repositories/app"
    assert registry.api("DELETE", f"{app}/artifacts/{index}").status == 200

    assert registry.api("POST", f"{app}/tags/all/undo").status == 200

    for reference in ("all", *children):
        assert registry.pull("library/app", reference) == 200
    assert [entry["digest"] for entry in registry.get(f"{app}/artifacts")] == [index]
    shown = registry.get(f"{app}/artifacts/all")["references"]
    assert [entry["child_digest"] for entry in shown] == children
