"""What two regions do not have alike, named; and how an old primary becomes what the new one is."""

from dataclasses import replace
from functools import partial
from typing import Any

import orjson

from chalicelib.oci.digests import Digest
from chalicelib.oci.names import Repository, Tag
from chalicelib.policy.regions import BELIEVED, OPENS, Role
from chalicelib.store import arrears, layout
from chalicelib.store.arrears import Lack
from tests.regions.world import Side, World
from tests.store.client import image, index

APP = "library/app"
CONFIG, LAYER, OTHER = b"{}", b"a layer", b"another layer"
IMAGE, NEWER = image(CONFIG, [LAYER]), image(CONFIG, [OTHER])
_JSON = {"content-type": "application/json"}


def push(side: Side, tag: str = "v1", document: Any = IMAGE, repository: str = APP) -> None:
    for blob in (CONFIG, LAYER, OTHER):
        side.client.push_blob(repository, blob)
    side.client.push_manifest(repository, tag, document)


def api(side: Side, method: str, path: str, body: object = None) -> Any:
    sent = orjson.dumps(body) if body is not None else b""
    answer = side.client.ask(method, f"/api/v2.0/system/regions{path}", sent, _JSON)
    assert answer.status == 200, answer
    return orjson.loads(answer.body)


def named(side: Side) -> set[tuple[str, str, str]]:
    return {(each["lack"], each["repository"], each["reference"]) for each in api(side, "GET", "/arrears")["arrears"]}


def arrived_without(world: World, *prefixes: str) -> World:
    world.copies.look()
    world.copies.pending = [each for each in world.copies.pending if not each[1].key.startswith(prefixes)]
    world.copies.deliver_all()
    return world


def test_where_everything_has_arrived_nothing_is_in_arrears() -> None:
    world = World()
    push(world.first)
    push(world.first, "all", index([IMAGE]))
    world.arrive()

    assert named(world.second) == named(world.first) == set()


def test_a_manifest_whose_bytes_have_not_arrived_is_named_with_its_tags() -> None:
    world = World()
    push(world.first)
    arrived_without(world, layout.DATA)
    world.second.way.is_open = False

    shown = api(world.second, "GET", "/arrears")

    assert shown["compared"] is False
    (found,) = shown["arrears"]
    assert (found["lack"], found["reference"], found["tags"]) == ("lacks content", str(IMAGE.digest), ["v1"])
    assert set(found["missing"]) == {str(Digest.of(CONFIG)), str(Digest.of(LAYER))}


def test_a_tag_that_came_before_its_manifest_is_looked_at_too() -> None:
    world = World()
    push(world.first)
    repository = Repository(APP)
    arrived_without(world, layout.DATA, layout.manifests(repository))
    world.second.way.is_open = False

    assert named(world.second) == {("lacks content", APP, "v1")}


def test_a_tag_that_its_manifest_does_not_know_yet_is_looked_at_too() -> None:
    world = World()
    push(world.first)
    arrived_without(world, layout.DATA, layout.all_tagged(Repository(APP)))
    world.second.way.is_open = False

    assert named(world.second) == {("lacks content", APP, "v1"), ("lacks content", APP, str(IMAGE.digest))}


def test_beside_the_primary_s_bucket_what_has_not_arrived_at_all_is_named() -> None:
    world = World()
    push(world.first)
    world.arrive()
    push(world.first, "v2", NEWER)
    push(world.first, "v1", NEWER)

    assert named(world.second) == {
        ("has not arrived", APP, "v2"),
        ("is another one there", APP, "v1"),
        ("has not arrived", APP, str(NEWER.digest)),
    }


def test_what_was_deleted_there_did_not_have_to_arrive() -> None:
    world = World()
    push(world.first)
    world.first.client.ask("DELETE", f"/v2/{APP}/manifests/{IMAGE.digest}")

    assert named(world.second) == set()


def test_a_page_ends_in_time_and_the_next_goes_on_there() -> None:
    world = World()
    for name in ("library/a", "library/b", "library/c"):
        push(world.first, repository=name)
    content, found, after = world.second.services.content, [], ""
    peer = world.second.region.peer
    assert peer

    while True:
        page, after = arrears.page(content, peer.content, after, partial(next, iter((True, True)), False))
        found += page
        if not after:
            break

    assert [each.lack for each in found] == [Lack.ABSENT] * 6
    assert len({(each.repository, each.reference) for each in found}) == 6


def fail_over(world: World) -> None:
    """Promote the second region, the first being away, and cut what was on its way."""
    world.second.way.is_open = False
    api(world.second, "PUT", "", {"role": "primary"})
    world.copies.cut()
    world.clock.advance(OPENS)


def test_an_old_primary_names_what_it_has_alone_and_becomes_what_the_new_one_is() -> None:
    world = World()
    push(world.first)
    world.arrive()
    push(world.first, "v1", NEWER)
    push(world.first, "lost", NEWER)
    fail_over(world)
    push(world.second, "v3")
    world.clock.advance(BELIEVED)

    assert ("is here alone", APP, "lost") in named(world.first)
    aligned = api(world.first, "POST", "/alignments", {})
    state = api(world.first, "PUT", "", {"role": "replica"})
    world.clock.advance(BELIEVED)

    assert {(each["lack"], each["reference"]) for each in aligned["arrears"]} == {
        ("is here alone", "lost"),
        ("is another one there", "v1"),
    }
    assert (state["role"], state["epoch"], state["primary"]) == (Role.REPLICA, 2, "paris")
    assert world.first.client.manifest(APP, "v1").body == IMAGE.content
    assert world.first.client.manifest(APP, "v3").body == IMAGE.content
    assert world.first.client.manifest(APP, "lost").status == 404
    assert api(world.first, "POST", "/alignments", {})["arrears"] == []
    history = world.first.client.ask("GET", "/api/v2.0/projects/library/repositories/app/tags/lost/history")
    assert str(NEWER.digest).encode() in history.body


def test_a_tag_that_moves_there_while_it_is_aligned_is_taken_as_it_is_in_the_end() -> None:
    world = World()
    push(world.first)
    world.arrive()
    push(world.first, "v1", NEWER)
    fail_over(world)
    peer = world.first.region.peer
    assert peer
    moving = world.second.bucket.beside()
    moved: list[str] = []

    def move(_: str, key: str) -> None:
        if key == layout.tag(Repository(APP), Tag("v1")) and moved == ["once"]:
            push(world.second, "v1", image(CONFIG))
        moved.append("once" if not moved else "more")

    moving.before = move
    found, _ = arrears.page(world.first.services.content, peer.content, "", lambda: True)
    (other,) = [each for each in found if each.lack is Lack.OTHER]

    assert arrears.align(world.first.services.content, replace(peer.content, objects=moving), other)

    assert world.first.client.manifest(APP, "v1").body == image(CONFIG).content


def test_the_primary_aligns_nothing() -> None:
    world = World()
    push(world.first)

    answer = world.first.client.ask("POST", "/api/v2.0/system/regions/alignments", b"{}", _JSON)

    assert answer.status == 412
    assert world.first.client.manifest(APP, "v1").status == 200


def test_each_region_shows_what_it_is_and_how_far_behind() -> None:
    world = World()
    world.first.region.beat()
    world.arrive()
    world.clock.advance(BELIEVED)

    first, second = api(world.first, "GET", ""), api(world.second, "GET", "")
    world.second.way.is_open = False
    alone = api(world.second, "GET", "")

    assert (first["role"], first["takes_writes"], first["lag_seconds"]) == ("primary", True, None)
    assert (first["peer"]["role"], first["peer"]["lag_seconds"]) == ("replica", 3.0)
    assert (second["role"], second["takes_writes"], second["lag_seconds"]) == ("replica", False, 3.0)
    assert second["peer"]["role"] == "primary"
    assert alone["peer"] == {"url": "https://frankfurt.test", "answers": False}


def test_what_was_done_with_a_region_is_in_the_audit_log() -> None:
    world = World()
    fail_over(world)

    shown = orjson.loads(world.second.client.ask("GET", "/api/v2.0/auditlog-exts").body)

    assert [(each["resource"], each["operation"], each["resource_type"]) for each in shown][:1] == [
        ("paris", "update", "region")
    ]
