"""Pulls in a copy: from its own bucket what has arrived, from the primary's what has not, or not at all."""

from collections.abc import Iterable
from datetime import timedelta

import pytest

from chalicelib.api.http import Response
from chalicelib.oci.digests import Digest
from chalicelib.oci.names import Repository, Tag
from chalicelib.store import layout, manifests
from chalicelib.store.condemned import Doom
from chalicelib.store.objects import Head
from tests.memory import Asked, Copy
from tests.regions.world import NOWHERE, World
from tests.store.client import code, image, index, location

APP = "library/app"
CONFIG, LAYER = b"{}", b"a layer"
IMAGE = image(CONFIG, [LAYER])
_ABSENT = Digest.of(b"never pushed")


def pushed() -> World:
    world = World()
    push(world)
    return world


def push(world: World) -> None:
    for blob in (CONFIG, LAYER):
        world.first.client.push_blob(APP, blob)
    world.first.client.push_manifest(APP, "v1", IMAGE)
    world.copies.look()


def deliver(world: World, *prefixes: str) -> None:
    """Let what is below some prefixes arrive, and hold the rest."""
    for sent in [each for each in world.copies.pending if each[1].key.startswith(prefixes)]:
        world.copies.deliver(world.copies.pending.index(sent))


def writes(asked: Iterable[Asked]) -> list[Asked]:
    return [each for each in asked if each.operation not in ("get", "head", "list", "versions", "read")]


def test_what_has_arrived_is_served_with_the_primary_gone() -> None:
    world = pushed()
    world.copies.deliver_all()
    world.second.way.is_open = False

    assert world.second.client.manifest(APP, "v1").body == IMAGE.content
    assert world.second.client.manifest(APP, IMAGE.digest, "HEAD").status == 200
    assert world.second.pull_blob(APP, Digest.of(LAYER)) == LAYER
    assert world.second.client.tags(APP) == ["v1"]


def test_what_has_not_arrived_comes_from_the_primary_s_bucket() -> None:
    world = pushed()

    by_tag, by_digest = (world.second.client.manifest(APP, reference) for reference in ("v1", IMAGE.digest))
    blob = world.second.client.ask("GET", f"/v2/{APP}/blobs/{Digest.of(LAYER)}")
    head = world.second.client.ask("HEAD", f"/v2/{APP}/blobs/{Digest.of(LAYER)}")

    assert by_tag.body == by_digest.body == IMAGE.content
    assert by_tag.headers["Docker-Content-Digest"] == str(IMAGE.digest)
    assert blob.headers["Location"].startswith("https://elsewhere.test/data/")
    assert world.second.bytes_at(blob) == LAYER
    assert head.headers["Content-Length"] == str(len(LAYER))
    assert world.second.client.tags(APP) == ["v1"]


def test_a_link_that_came_before_its_bytes_leads_to_the_primary_s() -> None:
    world = pushed()
    deliver(world, layout.REPOSITORIES, layout.BLOBS)

    answer = world.second.client.ask("GET", f"/v2/{APP}/blobs/{Digest.of(LAYER)}")

    assert answer.headers["Location"].startswith("https://elsewhere.test/data/")


def test_bytes_that_came_before_their_link_are_served_from_here() -> None:
    world = pushed()
    deliver(world, layout.DATA)

    answer = world.second.client.ask("GET", f"/v2/{APP}/blobs/{Digest.of(LAYER)}")

    assert answer.headers["Location"].startswith("https://s3.test/data/")
    assert world.second.bytes_at(answer) == LAYER


@pytest.mark.parametrize("what", ["manifests/v1", f"manifests/{IMAGE.digest}", f"blobs/{Digest.of(LAYER)}"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_has_not_arrived_is_unavailable_while_the_primary_is_gone(what: str, method: str) -> None:
    world = pushed()
    world.second.way.is_open = False

    answer = world.second.client.ask(method, f"/v2/{APP}/{what}")

    assert (answer.status, code(answer)) == (503, "UNAVAILABLE")
    assert answer.headers["Retry-After"] == "30"
    assert what.partition("/")[2].encode() in answer.body
    assert b"has not arrived in the region paris" in answer.body


def test_a_primary_that_does_not_answer_is_not_asked_again_for_some_seconds() -> None:
    world = pushed()
    world.second.way.is_open = False
    world.second.client.manifest(APP, "v1")
    world.second.way.is_open = True

    at_once = world.second.client.manifest(APP, "v1").status
    world.clock.advance(timedelta(seconds=6))

    assert (at_once, world.second.client.manifest(APP, "v1").status) == (503, 200)


@pytest.mark.parametrize("what", ["manifests/none", f"manifests/{_ABSENT}", f"blobs/{_ABSENT}", "tags/list"])
def test_what_the_primary_does_not_have_is_unknown_where_it_says_so(what: str) -> None:
    world = World()

    there = world.second.client.ask("GET", f"/v2/{APP}/{what}").status
    world.second.way.is_open = False
    gone = world.second.client.ask("GET", f"/v2/{APP}/{what}").status

    assert (there, gone) == (404, 503)


def test_a_child_that_has_not_arrived_is_asked_for_by_itself() -> None:
    world = pushed()
    both = index([IMAGE])
    world.first.client.push_manifest(APP, "all", both)
    world.copies.look()
    deliver(world, layout.tag(Repository(APP), Tag("all")))

    assert world.second.client.manifest(APP, "all").body == both.content
    assert world.second.client.manifest(APP, IMAGE.digest).body == IMAGE.content


def test_by_tag_a_copy_answers_what_has_arrived_last() -> None:
    world = pushed()
    world.copies.deliver_all()
    newer = image(CONFIG, [])
    world.first.client.push_manifest(APP, "v1", newer)

    before = world.second.client.manifest(APP, "v1").body
    world.arrive()

    assert (before, world.second.client.manifest(APP, "v1").body) == (IMAGE.content, newer.content)


def test_bytes_that_were_collected_there_while_the_link_is_here_are_asked_of_the_primary() -> None:
    world = pushed()
    world.copies.deliver_all()
    assert world.second.pull_blob(APP, Digest.of(LAYER)) == LAYER
    for each in world.second.bucket.keys(layout.DATA):
        world.second.bucket.take(Copy(each, None, Head(0, "", "", {})))
    # Until the URL that was given a moment ago would be too old.
    assert world.second.pull_blob(APP, Digest.of(LAYER)) == NOWHERE
    world.clock.advance(timedelta(minutes=6))
    world.first.client.ask("DELETE", f"/v2/{APP}/blobs/{Digest.of(LAYER)}")

    assert world.second.pull_blob(APP, Digest.of(LAYER)) == 404
    assert world.second.pull_blob(APP, Digest.of(CONFIG)) == CONFIG


def test_a_pull_in_a_copy_writes_nothing_however_old_the_link_is() -> None:
    world = pushed()
    world.copies.deliver_all()
    world.clock.advance(timedelta(days=7))

    for method in ("GET", "HEAD"):
        world.second.client.ask(method, f"/v2/{APP}/blobs/{Digest.of(LAYER)}")
        world.second.client.manifest(APP, "v1", method)

    assert writes(world.second.client.objects.asked) == []


def test_who_may_push_does_not_keep_in_a_copy_what_was_retired() -> None:
    world = pushed()
    manifests.delete(world.first.services.content, Repository(APP), IMAGE.digest, why=Doom.RETIRED)
    world.arrive()

    answer = world.second.client.manifest(APP, IMAGE.digest, "HEAD")

    assert answer.status == 200
    assert writes(world.second.client.objects.asked) == []


def test_behind_api_gateway_a_head_leads_to_the_bucket_that_has_it() -> None:
    world = pushed()

    answers: list[Response] = [
        world.second.client.ask("HEAD", f"/v2/{APP}/{what}", redirect_head=True)
        for what in ("manifests/v1", f"blobs/{Digest.of(LAYER)}")
    ]

    assert [world.second.bytes_at(answer) for answer in answers] == [IMAGE.content, LAYER]
    assert all(answer.headers["Location"].endswith("?HEAD") for answer in answers)


def test_a_pull_in_the_primary_takes_the_requests_that_it_takes_in_one_region() -> None:
    world = pushed()
    client = world.first.client
    client.manifest(APP, "v1")
    client.ask("GET", f"/v2/{APP}/blobs/{Digest.of(LAYER)}")
    client.objects.asked.clear()

    client.manifest(APP, "v1")
    client.ask("GET", f"/v2/{APP}/blobs/{Digest.of(LAYER)}")

    assert [each.operation for each in client.objects.asked] == ["get", "get"]


def test_a_pull_in_a_copy_asks_for_the_bytes_of_a_blob_once() -> None:
    world = pushed()
    world.copies.deliver_all()
    client = world.second.client
    client.ask("GET", f"/v2/{APP}/blobs/{Digest.of(LAYER)}")
    first = [each.operation for each in client.objects.asked]
    client.objects.asked.clear()

    client.ask("GET", f"/v2/{APP}/blobs/{Digest.of(LAYER)}")

    # The link, what the region is, the bytes.
    assert (first, [each.operation for each in client.objects.asked]) == (["get", "get", "head"], ["get"])


def test_an_upload_that_is_under_way_cannot_go_on_in_a_copy() -> None:
    world = World()
    begun = world.first.client.begin(APP)
    world.first.client.patch(begun, b"some")
    world.arrive()

    answer = world.second.client.patch(begun, b"more")

    assert (answer.status, code(answer)) == (403, "DENIED")
    assert location(world.first.client.patch(world.first.client.begin(APP), b"some"))
