"""What a change here begins at another registry: who hears of it, what is copied, what is deleted, who is told."""

from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib.changes import replicating
from chalicelib.oci.digests import Digest
from chalicelib.oci.names import Repository
from chalicelib.policy.jobs import Kind, Status
from chalicelib.store import executions
from tests.api.test_retentions import policy, rule
from tests.jobs.replicating import World, add_image, pulling, pushing
from tests.store.remote.fake import FakeRegistry, answer, faking

APP = "library/app"
BY_EVENTS: dict[str, Any] = {"trigger": {"type": "event_based"}}


@pytest.fixture
def there() -> Iterator[FakeRegistry]:
    with faking() as made:
        yield made


def begun(world: World) -> list[dict[str, Any]]:
    """Return the parameters of the executions that events began, the first one first, and do them."""
    page = executions.page(world.services.directory, Kind.REPLICATION, world.number)
    found = []
    for each in reversed(page.entries):
        world.execution = each.id
        [task] = world.tasks()
        found.append(dict(task.parameters))
        world.work()
    return found


def test_a_push_is_copied_with_the_tag_that_was_pushed_and_no_other(there: FakeRegistry) -> None:
    world = World(there, pushing(**BY_EVENTS))
    world.ours.image(APP, "v1", "one")
    world.pass_by(1)
    world.ours.image("one/other", "v2", "two")

    [first, second] = begun(world)

    assert (first["repository"], first["to"], first["operation"], first["items"]) == (APP, APP, "copy", 1)
    assert second["repository"] == "one/other"
    assert set(there.tags) == {(APP, "v1"), ("one/other", "v2")}


def test_the_parts_of_an_index_come_with_it(there: FakeRegistry) -> None:
    world = World(there, pushing(**BY_EVENTS))
    child = world.ours.image(APP, "", "one")
    index = world.ours.index(APP, "v1", child)

    assert len(begun(world)) == 1
    assert {digest for _, digest in there.manifests} == {child, index}


@pytest.mark.parametrize(("filters", "times"), [([], 1), ([{"type": "tag", "value": "v*"}], 0)])
def test_what_came_alone_is_copied_by_its_digest_where_no_tag_is_wanted(
    there: FakeRegistry, filters: list[dict[str, str]], times: int
) -> None:
    world = World(there, pushing(filters=filters, **BY_EVENTS))
    digest = world.ours.image(APP, "", "one")

    replicating.came_alone(world.services, "who", Repository(APP), Digest.parse(digest))

    assert len(begun(world)) == times
    assert [name for _, name in there.manifests] == [digest] * times


def test_a_signature_follows_what_it_signs_where_that_is_wanted(there: FakeRegistry) -> None:
    filters = [{"type": "tag", "value": "v*"}]
    world = World(there, pushing(filters=filters, **BY_EVENTS))
    image, other = world.ours.image(APP, "v1", "one"), world.ours.image(APP, "dev", "two")
    begun(world)
    signature, _ = world.ours.sign(APP, image), world.ours.sign(APP, other, "of the other")

    begun(world)

    assert {digest for _, digest in there.manifests} == {image, signature}


@pytest.mark.parametrize(
    "changes",
    [
        {"enabled": False, **BY_EVENTS},
        {"trigger": {"type": "manual"}},
        {"filters": [{"type": "name", "value": "one/**"}], **BY_EVENTS},
        {"filters": [{"type": "tag", "value": "v*", "decoration": "excludes"}], **BY_EVENTS},
    ],
)
def test_who_does_not_want_to_know_hears_nothing(there: FakeRegistry, changes: dict[str, Any]) -> None:
    world = World(there, pushing(**changes))
    world.ours.image(APP, "v1", "one")

    assert begun(world) == []


def test_a_policy_that_pulls_is_begun_by_no_event(there: FakeRegistry) -> None:
    world = World(there, pulling(**BY_EVENTS))
    world.ours.image(APP, "v1", "one")

    assert begun(world) == []


def test_labels_are_asked_when_the_task_runs(there: FakeRegistry) -> None:
    filters = [{"type": "label", "value": ["ready"]}]
    world = World(there, pushing(filters=filters, **BY_EVENTS))
    world.ours.image(APP, "v1", "one")

    assert len(begun(world)) == 1
    assert not there.tags


def test_a_tag_that_is_made_is_copied(there: FakeRegistry) -> None:
    world = World(there, pushing(**BY_EVENTS))
    digest = world.ours.image(APP, "v1", "one")
    path = f"/projects/library/repositories/app/artifacts/{digest}/tags"
    world.pass_by(1)

    assert world.ours.api("POST", path, {"name": "stable"}).status == 201

    assert [each["only"][0]["tags"] for each in begun(world)] == [["v1"], ["stable"]]
    assert set(there.tags) == {(APP, "v1"), (APP, "stable")}


@pytest.mark.parametrize("deletion", [False, True])
def test_deletions_follow_where_the_policy_says_so(there: FakeRegistry, deletion: bool) -> None:
    world = World(there, pushing(replicate_deletion=deletion, **BY_EVENTS))
    for tag in ("v1", "v2"):
        world.ours.image(APP, tag, tag)
    begun(world)
    world.ours.api("DELETE", "/projects/library/repositories/app/artifacts/v1/tags/v1")
    second = there.tags[APP, "v2"]
    assert world.ours.client.ask("DELETE", f"/v2/{APP}/manifests/{second}").status == 202

    done = begun(world)

    assert [each["operation"] for each in done] == ["copy", "copy", *["deletion", "deletion"] * deletion]
    assert set(there.tags) == (set() if deletion else {(APP, "v1"), (APP, "v2")})
    assert (second in {digest for _, digest in there.manifests}) != deletion


def test_a_deletion_that_the_other_side_refuses_fails_in_words(there: FakeRegistry) -> None:
    world = World(there, pushing(replicate_deletion=True, **BY_EVENTS))
    world.ours.image(APP, "v1", "one")
    begun(world)
    there.instead("DELETE", f"/v2/{APP}", answer(405, b'{"errors":[{"code":"UNSUPPORTED","message":"no"}]}'))
    world.ours.api("DELETE", "/projects/library/repositories/app/artifacts/v1/tags/v1")

    begun(world)

    assert world.of(APP).status is Status.ERROR
    assert "405 UNSUPPORTED" in world.log(APP)


def test_what_is_gone_already_is_deleted_well(there: FakeRegistry) -> None:
    world = World(there, pushing(replicate_deletion=True, **BY_EVENTS))
    world.ours.image(APP, "v1", "one")
    world.ours.api("DELETE", "/projects/library/repositories/app/artifacts/v1/tags/v1")

    begun(world)

    assert not there.tags or world.of(APP).status is Status.SUCCESS


def hooked(world: World, project: str = "library") -> int:
    """Let the other side of a webhook be told of replications into or out of a project; return its policy."""
    policy = {
        "name": "ci",
        "enabled": True,
        "event_types": ["REPLICATION"],
        "targets": [{"type": "http", "address": "https://hooks.example.com"}],
    }
    path = f"/projects/{project}/webhook/policies"
    assert world.ours.api("POST", path, policy).status == 201
    [hook] = world.ours.get(path)
    return int(hook["id"])


def test_webhooks_hear_how_a_task_ended(there: FakeRegistry) -> None:
    add_image(there, APP, "v1")
    world = World(there, pulling(description="what we mirror"))
    hook = hooked(world)

    world.run()

    [told] = executions.page(world.services.directory, Kind.WEBHOOK, hook).entries
    happened = told.parameters["happened"]
    replication = happened["more"]["replication"]
    assert (happened["type"], happened["operator"], happened["repository"]) == ("REPLICATION", "admin", APP)
    assert (replication["trigger_type"], replication["execution_id"]) == ("MANUAL", world.execution)
    assert replication["task_id"] == world.of(APP).id
    assert replication["src_resource"] == {
        "registry_name": "there",
        "registry_type": "docker-registry",
        "endpoint": there.url,
        "namespace": "library",
    }
    assert replication["dest_resource"]["registry_type"] == "harbor"
    assert replication["successful_artifact"] == [
        {"type": "image", "status": "Success", "name_tag": "app:v1", "references": ["v1"]}
    ]
    assert (replication["job_status"], replication["description"]) == ("Success", "what we mirror")
    assert "failed_artifact" not in replication


def test_webhooks_hear_of_what_came_by_its_name_here(there: FakeRegistry) -> None:
    add_image(there, "mirror/team/app", "v1")
    world = World(there, pulling(dest_namespace="one"))
    hook = hooked(world, "one")

    world.run()

    [told] = executions.page(world.services.directory, Kind.WEBHOOK, hook).entries
    replication = told.parameters["happened"]["more"]["replication"]
    [artifact] = replication["successful_artifact"]
    assert (artifact["name_tag"], artifact["references"]) == ("app:v1", ["v1"])
    assert (replication["src_resource"]["namespace"], replication["dest_resource"]["namespace"]) == ("mirror", "one")


def test_what_retention_deletes_is_deleted_there(there: FakeRegistry) -> None:
    world = World(there, pushing(replicate_deletion=True, **BY_EVENTS))
    for tag in ("v1", "v2"):
        world.ours.image(APP, tag, tag)
        world.pass_by(1)
    begun(world)
    made = world.ours.api("POST", "/retentions", policy(rule(number=1)))
    number = made.headers["Location"].rpartition("/")[2]
    assert world.ours.api("POST", f"/retentions/{number}/executions", {"dry_run": False}).status == 201
    [execution] = executions.page(world.services.directory, Kind.RETENTION, int(number)).entries
    events, world.execution = world.execution, execution.id
    world.work()
    world.execution = events

    begun(world)

    assert set(there.tags) == {(APP, "v2")}


def test_a_repository_that_is_deleted_is_emptied_there_of_what_the_policy_is_about(there: FakeRegistry) -> None:
    filters = [{"type": "tag", "value": "v*"}]
    world = World(there, pushing(replicate_deletion=True, filters=filters, **BY_EVENTS))
    for tag in ("v1", "v2", "dev"):
        world.ours.image(APP, tag, tag)
        world.pass_by(1)
    begun(world)
    there.tags[APP, "dev"] = "sha256:" + "0" * 64
    assert world.ours.api("DELETE", "/projects/library/repositories/app").status == 200

    *_, deletion = begun(world)

    assert (deletion["operation"], deletion["items"]) == ("deletion", 2)
    assert set(there.tags) == {(APP, "dev")}


def test_where_only_tags_can_be_deleted_those_of_what_is_gone_are(there: FakeRegistry) -> None:
    filters = [{"type": "tag", "value": "v*"}]
    policy = pushing(replicate_deletion=True, filters=filters, **BY_EVENTS)
    world = World(there, policy, make="docker-hub")
    for name in (APP, "library/web"):
        for tag in ("v1", "v2", "dev"):
            world.ours.image(name, tag, tag)
            world.pass_by(1)
    begun(world)
    artifacts = "/projects/library/repositories/app/artifacts"
    assert world.ours.api("POST", f"{artifacts}/v1/tags", {"name": "v1.0"}).status == 201
    there.instead("DELETE", "/v2/repositories/library/app/tags/v1/", answer(404))
    there.instead("DELETE", "/v2/repositories/", answer(204))
    world.pass_by(1)
    assert world.ours.api("DELETE", f"{artifacts}/{there.tags[APP, 'v1']}").status == 200
    world.pass_by(1)
    assert world.ours.api("DELETE", "/projects/library/repositories/web").status == 200

    begun(world)

    begins = "/v2/repositories/library/"
    gone = {each.path for each in there.asked if each.method == "DELETE" and "/tags/" in each.path}
    assert gone == {f"{begins}{what}/" for what in ("app/tags/v1", "app/tags/v1.0", "web/tags/v1", "web/tags/v2")}
    assert world.of("library/web").status is Status.SUCCESS


def test_a_signature_of_the_older_kind_follows_what_it_signs(there: FakeRegistry) -> None:
    filters = [{"type": "tag", "value": "v*"}]
    world = World(there, pushing(filters=filters, **BY_EVENTS))
    image, other = world.ours.image(APP, "v1", "one"), world.ours.image(APP, "dev", "two")
    begun(world)
    for digest in (image, other):
        world.pass_by(1)
        world.ours.image(APP, f"{digest.replace(':', '-')}.sig", f"signature of {digest}")

    begun(world)

    assert set(there.tags) == {(APP, "v1"), (APP, f"{image.replace(':', '-')}.sig")}
