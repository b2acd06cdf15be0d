"""What is copied from here to another registry: what a policy wants, once, in chunks, and with what belongs to it."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from chalicelib.jobs.replicate_ends import Pace, Piece
from chalicelib.oci.digests import Digest
from chalicelib.policy.jobs import Status
from tests.jobs.replicating import World, pushing
from tests.store.remote.fake import ACCESS_SECRET, Answer, FakeRegistry, Handler, answer, faking

APP = "library/app"


@pytest.fixture
def there() -> Iterator[FakeRegistry]:
    with faking() as made:
        yield made


def names(there: FakeRegistry) -> set[str]:
    return {f"{repository}:{tag}" for repository, tag in there.tags}


def test_everything_goes_with_what_it_needs_and_what_belongs_to_it(there: FakeRegistry) -> None:
    world = World(there, pushing())
    child = world.ours.image(APP, "", "one")
    signature = world.ours.sign(APP, child)
    index = world.ours.index(APP, "v1", child)
    attached = world.ours.image(APP, f"{index.replace(':', '-')}.sig", "cosign")
    untagged = world.ours.image(APP, "", "untagged")
    world.ours.image("one/other", "v2", "other")

    world.run()

    assert names(there) == {f"{APP}:v1", f"{APP}:{index.replace(':', '-')}.sig", "one/other:v2"}
    assert {digest for repository, digest in there.manifests if repository == APP} == {
        child,
        signature,
        index,
        attached,
        untagged,
    }
    assert world.of(APP).parameters["items"] == 2
    assert [task.status for task in world.tasks()] == [Status.SUCCESS] * 3


def test_a_tag_comes_last(there: FakeRegistry) -> None:
    world = World(there, pushing())
    child = world.ours.image(APP, "", "one")
    world.ours.sign(APP, child)
    index = world.ours.index(APP, "v1", child)

    world.run()

    puts = [
        each.path.rpartition("/")[2] for each in there.asked if each.method == "PUT" and "/manifests/" in each.path
    ]
    assert puts[0] == child
    assert puts[-2:] == [index, "v1"]


def test_what_is_there_is_not_sent_again(there: FakeRegistry) -> None:
    world = World(there, pushing())
    world.ours.image(APP, "v1", "one")
    world.run()
    there.asked.clear()

    world.run()

    assert {each.method for each in there.asked} == {"HEAD"}


def test_a_blob_that_went_into_another_repository_is_mounted(there: FakeRegistry) -> None:
    world = World(there, pushing(dest_namespace="mirror", dest_namespace_replace_count=1))
    world.ours.image("library/a", "v1", "same")
    world.ours.image("library/b", "v1", "same")

    world.run()

    assert names(there) == {"mirror/a:v1", "mirror/b:v1"}
    assert len([each for each in there.asked if each.method == "PATCH"]) == 2
    assert [each.query["from"] for each in there.asked if each.method == "POST" and "mount" in each.query]


def test_labels_and_types_are_filters(there: FakeRegistry) -> None:
    filters: list[dict[str, Any]] = [
        {"type": "label", "value": ["ready"]},
        {"type": "resource", "value": "image"},
    ]
    world = World(there, pushing(filters=filters))
    for tag in ("ready", "other"):
        world.ours.image(APP, tag, tag)
    world.ours.chart(APP, "chart", {"app/Chart.yaml": b"name: app"})
    assert world.ours.api("POST", "/labels", {"name": "ready", "scope": "g"}).status == 201
    [label] = world.ours.get("/labels?scope=g")
    for tag in ("ready", "chart"):
        path = f"/projects/library/repositories/app/artifacts/{tag}/labels"
        assert world.ours.api("POST", path, {"id": label["id"]}).status == 200

    world.run()

    assert names(there) == {f"{APP}:ready"}


def test_without_override_a_tag_that_names_something_else_is_left_alone(there: FakeRegistry) -> None:
    world = World(there, pushing())
    world.ours.image(APP, "v1", "ours")
    theirs = there.add_manifest(APP, b'{"schemaVersion": 2}', "application/vnd.oci.image.manifest.v1+json", "v1")

    world.run()

    assert there.tags[APP, "v1"] == theirs
    assert "the policy does not override" in world.log(APP)


def test_where_nobody_lists_referrers_the_tag_is_kept_that_clients_look_at(there: FakeRegistry) -> None:
    there.referrers_api = False
    world = World(there, pushing())
    image = world.ours.image(APP, "v1", "one")
    signatures = {world.ours.sign(APP, image, name) for name in ("first", "second")}

    world.run()

    digest = there.tags[APP, image.replace(":", "-")]
    listed = orjson.loads(there.manifests[APP, digest][1])["manifests"]
    assert {each["digest"] for each in listed} == signatures
    assert {each["artifactType"] for each in listed} == {"application/vnd.dev.cosign.artifact.sig.v1+json"}


@pytest.mark.parametrize(("status", "most"), [(503, 1.5), (404, 2.5)])
def test_an_upload_goes_on_where_it_was_unless_the_other_side_forgot_it(
    there: FakeRegistry, status: int, most: float
) -> None:
    world = World(there, pushing())
    content = bytes(40 << 20)
    world.ours.push(APP, "v1", world.ours.document(APP, b"{}", "large", layer=content))
    # The config, and the first chunk of the layer.
    there.instead("PATCH", f"/v2/{APP}/blobs/uploads/", _after(2, status), times=3)

    world.run()

    assert there.blobs[APP, str(Digest.of(content))] == content
    assert sum(len(each.content) for each in there.asked if each.method == "PATCH") <= most * len(content)
    assert (f"goes on at byte {16 << 20} of {len(content)}" in world.log(APP)) == (status == 503)


@pytest.mark.parametrize(("status", "why"), [(404, "forgets every upload"), (416, "takes no chunk")])
def test_a_registry_whose_uploads_get_nowhere_is_given_up(there: FakeRegistry, status: int, why: str) -> None:
    world = World(there, pushing())
    world.ours.image(APP, "v1", "one")
    there.instead("PATCH", f"/v2/{APP}/blobs/uploads/", answer(status))

    world.run()

    assert why in world.log(APP)
    assert world.of(APP).status is Status.ERROR


def test_a_credential_that_is_refused_is_tried_once_a_minute_until_it_is_changed(there: FakeRegistry) -> None:
    there.auth = "bearer"
    world = World(there, pushing())
    world.log_in("wrong")
    for number in range(3):
        world.ours.image(APP, f"v{number}", f"one {number}")
        world.ours.image("one/other", f"v{number}", f"two {number}")

    def tried() -> int:
        return sum(each.path == "/token" for each in there.asked)

    world.run()
    assert (world.of(APP).status, world.of("one/other").status, tried()) == (Status.ERROR, Status.ERROR, 1)
    assert "gave no token" in world.log(APP) + str(world.of(APP).error)
    world.pass_by(61)
    world.run()
    assert tried() == 2
    world.log_in(ACCESS_SECRET)
    world.run()
    assert names(there) == {f"{each}:v{number}" for each in (APP, "one/other") for number in range(3)}


def _after(times: int, status: int) -> Answer:
    """Do so many requests as they should be done, and refuse the others."""
    left = iter(range(times))

    def answering(handler: Handler) -> None:
        if next(left, None) is None:
            handler.give(status)
        else:
            handler.route()

    return answering


def test_a_name_that_cannot_be_at_the_destination_fails_the_execution_and_leaves_the_rest(
    there: FakeRegistry,
) -> None:
    world = World(there, pushing(dest_namespace="mirror", dest_namespace_replace_count=2))
    world.ours.image("library/a", "v1", "one")
    world.ours.image("library/team/b", "v1", "two")

    world.run()

    assert names(there) == {"mirror/b:v1"}
    listing = next(task for task in world.tasks() if "repository" not in task.parameters)
    assert listing.status is Status.ERROR
    assert "1 repositories have no name" in listing.error


def test_one_at_a_time_is_one_at_a_time(there: FakeRegistry) -> None:
    world = World(there, pushing(single_active_replication=True))
    world.ours.image(APP, "v1", "one")
    world.start()
    first = world.execution

    world.run()

    [skipped] = world.tasks()
    assert (skipped.status, skipped.error) == (
        Status.ERROR,
        "Execution skipped: active replication still in progress.",
    )
    assert names(there) == set()
    world.execution = first
    world.work()
    assert names(there) == {f"{APP}:v1"}


def test_a_policy_that_is_disabled_or_gone_does_nothing(there: FakeRegistry) -> None:
    world = World(there, pushing())
    world.ours.image(APP, "v1", "one")
    world.change(enabled=False)

    world.run()

    assert len(world.tasks()) == 1
    assert names(there) == set()


def test_bytes_go_no_faster_than_they_may() -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    class Endless:
        def read(self, most: int, /) -> bytes:
            return bytes(most)

    pace = Pace(10 * 1024, lambda: now[0], sleep)
    content = Piece(Endless(), 1 << 20, pace, seconds=30).whole(1 << 20)

    assert 29 <= now[0] <= 33
    assert len(content) == pytest.approx(now[0] * 10 * 1024, rel=0.01)


def test_who_was_killed_before_a_signature_could_be_found_there_lets_it_be_found(there: FakeRegistry) -> None:
    there.referrers_api = False
    world = World(there, pushing())
    image = world.ours.image(APP, "v1", "one")
    world.ours.sign(APP, image)
    world.run()
    found = there.tags.pop((APP, image.replace(":", "-")))

    world.run()

    assert there.tags[APP, image.replace(":", "-")] == found


def test_a_signature_of_the_older_kind_that_differs_there_is_left_alone_without_override(there: FakeRegistry) -> None:
    world = World(there, pushing())
    image = world.ours.image(APP, "v1", "one")
    tag = f"{image.replace(':', '-')}.sig"
    world.ours.image(APP, tag, "our signature")
    theirs = there.add_manifest(APP, b'{"schemaVersion": 2}', "application/vnd.oci.image.manifest.v1+json", tag)

    world.run()
    assert there.tags[APP, tag] == theirs

    world.change(override=True)
    world.run()
    assert there.tags[APP, tag] != theirs
