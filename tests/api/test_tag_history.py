"""What a tag named before, over the API."""

import orjson
import pytest

from chalicelib.oci.digests import Digest
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
