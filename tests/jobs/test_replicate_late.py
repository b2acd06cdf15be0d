"""What became of a change before its task ran, and what was never copied: neither may harm the other side."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chalicelib.oci.manifests import OCI_MANIFEST
from chalicelib.policy.jobs import Kind
from chalicelib.store import executions
from tests.jobs.replicating import World, add_image, pushing
from tests.store.remote.fake import FakeRegistry, Handler, answer, faking

APP = "library/app"
ARTIFACTS = "/projects/library/repositories/app/artifacts"
# Such a policy is begun by all that changes here.
MIRROR: dict[str, Any] = {"trigger": {"type": "event_based"}, "replicate_deletion": True, "override": True}


@pytest.fixture
def there() -> Iterator[FakeRegistry]:
    with faking() as made:
        yield made


def follow(world: World, *, latest_first: bool = False) -> None:
    """Do what events began, in the order in which they came, or in the other one."""
    page = executions.page(world.services.directory, Kind.REPLICATION, world.number)
    for each in page.entries if latest_first else reversed(page.entries):
        world.execution = each.id
        world.work()


def push(world: World, tag: str, name: str) -> str:
    world.pass_by(1)
    return world.ours.image(APP, tag, name)


def untag(world: World, tag: str) -> None:
    world.pass_by(1)
    assert world.ours.client.ask("DELETE", f"/v2/{APP}/manifests/{tag}").status == 202


def remove(world: World, digest: str) -> None:
    world.pass_by(1)
    assert world.ours.client.ask("DELETE", f"/v2/{APP}/manifests/{digest}").status == 202


def test_a_tag_that_moved_on_is_not_moved_back(there: FakeRegistry) -> None:
    world = World(there, pushing(**MIRROR))
    push(world, "v1", "older")
    newer = push(world, "v1", "newer")

    follow(world, latest_first=True)

    assert there.tags == {(APP, "v1"): newer}


def test_a_copy_that_took_long_moves_no_tag_back(there: FakeRegistry) -> None:
    world = World(there, pushing(**MIRROR))
    push(world, "v1", "older")
    newer = []

    def overtaken(handler: Handler) -> None:
        newer.append(push(world, "v1", "newer"))
        there.manifests[APP, newer[0]] = (OCI_MANIFEST, b"{}")
        there.tags[APP, "v1"] = newer[0]
        answer(503)(handler)

    there.instead("POST", f"/v2/{APP}/blobs/uploads", overtaken, times=1)
    [copy] = executions.page(world.services.directory, Kind.REPLICATION, world.number).entries
    world.execution = copy.id
    world.work()

    assert there.tags == {(APP, "v1"): newer[0]}


def test_a_tag_that_was_made_again_is_not_deleted(there: FakeRegistry) -> None:
    world = World(there, pushing(**MIRROR))
    push(world, "v1", "older")
    untag(world, "v1")
    newer = push(world, "v1", "newer")

    follow(world, latest_first=True)

    assert there.tags == {(APP, "v1"): newer}


def test_an_artifact_that_was_pushed_again_is_not_deleted(there: FakeRegistry) -> None:
    world = World(there, pushing(**MIRROR))
    digest = push(world, "v1", "one")
    follow(world)
    remove(world, digest)
    push(world, "v1", "one")

    follow(world, latest_first=True)

    assert there.tags == {(APP, "v1"): digest}


def test_without_override_a_tag_that_was_never_copied_is_not_deleted(there: FakeRegistry) -> None:
    theirs = add_image(there, APP, "v1")
    world = World(there, pushing(**{**MIRROR, "override": False}))
    push(world, "v1", "ours")
    follow(world)

    untag(world, "v1")
    follow(world)

    assert there.tags == {(APP, "v1"): theirs}
    assert "left alone" in world.log(APP)


@pytest.mark.parametrize("changed", [{"replicate_deletion": False}, {"name": "in", "dest_registry": None}])
def test_a_policy_that_deletes_no_more_deletes_nothing_that_it_was_told_before(
    there: FakeRegistry, changed: dict[str, Any]
) -> None:
    world = World(there, pushing(**MIRROR))
    push(world, "v1", "one")
    follow(world)
    untag(world, "v1")
    world.change(**changed, **({"src_registry": world.sent["dest_registry"]} if "name" in changed else {}))

    follow(world)

    assert set(there.tags) == {(APP, "v1")}


def delete_whole(world: World, digest: str) -> None:
    remove(world, digest)


def delete_tag(world: World, digest: str) -> None:
    assert world.ours.api("DELETE", f"{ARTIFACTS}/{digest}/tags/v1").status == 200


def delete_repository(world: World, digest: str) -> None:
    assert digest
    assert world.ours.api("DELETE", "/projects/library/repositories/app").status == 200


@pytest.mark.parametrize("wanted", [{"type": "label", "value": ["ready"]}, {"type": "resource", "value": "image"}])
@pytest.mark.parametrize("delete", [delete_whole, delete_tag, delete_repository])
def test_what_a_filter_of_labels_or_types_never_copied_is_not_deleted(
    there: FakeRegistry, delete: Callable[[World, str], None], wanted: dict[str, Any]
) -> None:
    world = World(there, pushing(filters=[wanted], **MIRROR))
    digest = world.ours.chart(APP, "v1", {"app/Chart.yaml": b"name: app\nversion: 1.0.0\n"})
    there.manifests[APP, digest] = (OCI_MANIFEST, b"{}")
    there.tags[APP, "v1"] = digest

    delete(world, digest)
    follow(world)

    assert there.tags == {(APP, "v1"): digest}
