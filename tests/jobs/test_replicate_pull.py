"""What is copied from another registry to here: whole, by our rules, once, and on from where a worker vanished."""

from collections.abc import Iterator

import orjson
import pytest

from chalicelib.jobs.engine import LEASE_SECONDS
from chalicelib.oci.digests import Digest
from chalicelib.policy.jobs import Status
from chalicelib.store.directory import projects
from chalicelib.store.directory.projects import NewProject
from tests.api.artifacts import CHART_CONFIG
from tests.jobs.replicating import World, add_image, add_index, pulling, subject
from tests.store import faults
from tests.store.faults import Fault
from tests.store.remote.fake import Answer, FakeRegistry, Handler, answer, faking

APP = "library/app"


@pytest.fixture
def there() -> Iterator[FakeRegistry]:
    with faking() as made:
        yield made


def test_everything_comes_with_what_it_needs_and_what_belongs_to_it(there: FakeRegistry) -> None:
    child = add_image(there, APP, "", b"one")
    signature = add_image(there, APP, "", b"signed", **subject(child))
    index = add_index(there, APP, "v1", child)
    attached = add_image(there, APP, f"{index.replace(':', '-')}.sig", b"cosign")
    world = World(there, pulling())

    world.run()

    assert world.tags(APP) == {"v1", f"{index.replace(':', '-')}.sig"}
    assert all(world.has(APP, digest) for digest in (child, signature, index, attached))
    task = world.of(APP)
    assert (task.status, task.parameters["to"], task.parameters["items"]) == (Status.SUCCESS, APP, 1)
    assert task.extra_attrs is not None
    assert task.extra_attrs["copied"] == 1
    listed = world.ours.get("/projects/library/repositories/app/artifacts?with_accessory=true")
    assert [each["digest"] for each in listed] == [index]


def test_what_is_here_is_not_fetched_again(there: FakeRegistry) -> None:
    add_image(there, APP, "v1")
    world = World(there, pulling())
    world.run()
    there.asked.clear()

    world.run()

    assert {each.method for each in there.asked} == {"GET", "HEAD"}
    assert not [each for each in there.asked if "/blobs/" in each.path or "/manifests/sha256" in each.path]
    assert world.of(APP).extra_attrs is not None
    assert world.of(APP).extra_attrs == {"copied": 0, "skipped": 1, "failed": 0, "bytes": 0}


def test_filters_and_the_namespace_say_what_comes_and_where_to(there: FakeRegistry) -> None:
    for repository in ("a/app", "a/b/app", "c/app"):
        for tag in ("v1", "v1-dev"):
            add_image(there, repository, tag)
    filters = [
        {"type": "name", "value": "a/**"},
        {"type": "tag", "value": "*-dev", "decoration": "excludes"},
    ]
    world = World(there, pulling(filters=filters, dest_namespace="one", dest_namespace_replace_count=1))

    world.run()

    assert {task.parameters.get("to") for task in world.tasks()} == {None, "one/app", "one/b/app"}
    assert world.tags("one/app") == world.tags("one/b/app") == {"v1"}


def test_of_docker_hub_comes_what_others_have_in_a_namespace_that_a_filter_names(there: FakeRegistry) -> None:
    for name in ("library/nginx", "library/redis"):
        add_image(there, name, "v1")
    listed = orjson.dumps({"results": [{"name": "nginx"}, {"name": "redis"}]})
    there.instead("GET", "/v2/repositories/library/?", answer(200, listed))
    world = World(there, pulling(filters=[{"type": "name", "value": "library/ng*"}]), make="docker-hub")

    world.run()

    assert world.tags("library/nginx") == {"v1"}
    assert not world.tags("library/redis")


def test_a_project_that_is_missing_is_made_and_is_private(there: FakeRegistry) -> None:
    add_image(there, "new/app", "v1")
    world = World(there, pulling())

    world.run()

    assert world.ours.get("/projects/new")["metadata"]["public"] == "false"
    assert world.tags("new/app") == {"v1"}


def test_without_override_a_tag_that_names_something_else_is_left_alone(there: FakeRegistry) -> None:
    add_image(there, APP, "v1", b"theirs")
    world = World(there, pulling())
    own = world.ours.image(APP, "v1", "ours")

    world.run()

    assert world.ours.get("/projects/library/repositories/app/artifacts/v1")["digest"] == own
    assert "the policy does not override" in world.log(APP)
    assert world.of(APP).status is Status.SUCCESS

    world.change(override=True)
    world.run()

    assert world.ours.get("/projects/library/repositories/app/artifacts/v1")["digest"] != own


def test_an_immutable_tag_is_not_overridden_and_the_rest_is_copied(there: FakeRegistry) -> None:
    for tag in ("a", "b", "c"):
        add_image(there, APP, tag, tag.encode())
    world = World(there, pulling(override=True))
    own = world.ours.image(APP, "b", "ours")
    rule = {
        "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": "b"}],
        "scope_selectors": {"repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}]},
        "action": "immutable",
        "template": "immutable_template",
    }
    assert world.ours.api("POST", "/projects/library/immutabletagrules", rule).status == 201

    world.run()

    assert world.tags(APP) == {"a", "b", "c"}
    assert world.ours.get("/projects/library/repositories/app/artifacts/b")["digest"] == own
    assert world.of(APP).status is Status.ERROR
    assert world.of(APP).error.startswith("1 of the artifacts")
    assert "immutable" in world.log(APP)


def test_what_does_not_fit_into_the_quota_is_refused_in_words(there: FakeRegistry) -> None:
    add_image(there, "one/app", "v1", bytes(5000))
    world = World(there, pulling())
    [quota] = world.ours.get(
        "/quotas?reference=project&reference_id=" + str(world.ours.get("/projects/one")["project_id"])
    )
    world.ours.api("PUT", f"/quotas/{quota['id']}", {"hard": {"storage": 1000}})

    world.run()

    assert world.tags("one/app") == set()
    assert world.of("one/app").status is Status.ERROR
    assert "will be exceeded" in world.log("one/app") or "quota" in world.log("one/app")


def test_a_lying_registry_leaves_nothing(there: FakeRegistry) -> None:
    add_image(there, APP, "v1", b"what it should be")
    [blob] = [key for key, content in there.blobs.items() if content == b"what it should be"]
    there.blobs[blob] = b"something else!!!"
    world = World(there, pulling())

    world.run()

    assert world.tags(APP) == set()
    assert world.of(APP).status is Status.ERROR
    assert f"is not {blob[1]}" in world.log(APP)


def test_a_dry_run_says_what_would_come(there: FakeRegistry) -> None:
    add_image(there, APP, "v1")
    world = World(there, pulling())

    world.run(dry_run=True)

    assert world.tags(APP) == set()
    assert "would copy library/app:v1 to library/app" in world.log(APP)


def test_who_is_asked_to_wait_waits(there: FakeRegistry) -> None:
    add_image(there, APP, "v1")
    there.instead("GET", f"/v2/{APP}/manifests", answer(429, Retry_After="77"), times=1)
    world = World(there, pulling())

    world.run()

    assert world.tags(APP) == {"v1"}
    assert "it is tried again in 77 seconds" in world.log(APP)


def test_who_never_answers_is_given_up(there: FakeRegistry) -> None:
    add_image(there, APP, "v1")
    there.instead("GET", f"/v2/{APP}/manifests", answer(503))
    world = World(there, pulling())

    world.run()

    assert world.of(APP).status is Status.ERROR
    assert "503" in world.of(APP).error


def test_a_large_blob_goes_on_where_the_other_side_broke_off(there: FakeRegistry) -> None:
    content = b"".join(number.to_bytes(4, "big") for number in range(5 << 20))
    add_image(there, APP, "v1", content)
    [key] = [key for key, found in there.blobs.items() if found == content]
    there.instead("GET", f"/v2/{APP}/blobs/{key[1]}", _broken_off(content, len(content) // 2), times=1)
    world = World(there, pulling())

    world.run()

    assert world.tags(APP) == {"v1"}
    [part] = [each.headers["range"] for each in there.asked if "range" in each.headers]
    assert part == f"bytes={len(content) // 2}-"
    assert f"goes on at byte {len(content) // 2}" in world.log(APP)
    attributes = world.of(APP).extra_attrs
    assert attributes is not None
    assert attributes["bytes"] < 1.1 * len(content)


def test_who_gives_a_little_each_time_is_not_given_up(there: FakeRegistry) -> None:
    content = b"".join(number.to_bytes(4, "big") for number in range(1 << 20))
    add_image(there, APP, "v1", content)
    [key] = [key for key, found in there.blobs.items() if found == content]
    there.instead("GET", f"/v2/{APP}/blobs/{key[1]}", _a_little_of(content), times=14)
    world = World(there, pulling())

    world.run()

    assert world.tags(APP) == {"v1"}


def _a_little_of(content: bytes) -> Answer:
    def answering(handler: Handler) -> None:
        start = int(handler.headers.get("range", "bytes=0-")[6:-1])
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(content) - start))
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        handler.end_headers()
        handler.wfile.write(content[start : start + len(content) // 20])
        handler.wfile.flush()
        handler.close_connection = True

    return answering


def _broken_off(content: bytes, after: int) -> Answer:
    def answering(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[:after])
        handler.wfile.flush()
        handler.close_connection = True

    return answering


def test_a_worker_that_is_killed_at_any_request_to_the_bucket_leaves_the_rest_to_the_next(
    there: FakeRegistry,
) -> None:
    child = add_image(there, APP, "", b"one")
    add_image(there, APP, "", b"signed", **subject(child))
    add_index(there, APP, "v1", child)
    for number in range(1, 200):
        world = World(there, pulling())
        world.start()
        struck = _killed_at(world, number)

        world.work()

        assert world.tags(APP) == {"v1"}, number
        assert world.of(APP).status is Status.SUCCESS
        assert len(world.ours.client.objects.keys(f"repositories/{APP}/_manifests/")) == 3
        if not struck:
            assert number > 20
            return
    pytest.fail("it never ended")


def _killed_at(world: World, number: int) -> bool:
    """Work until the request of this number, and vanish, seeing to it that no tag leads to what is not there."""
    objects, fault = world.ours.client.objects, Fault(faults.Kind.KILLED_BEFORE, number)
    with fault.on(objects):
        world.work()
    objects.before = lambda _operation, _key: None
    if world.tags(APP):
        assert len(objects.keys(f"repositories/{APP}/_manifests/")) == 3
    world.restarted()
    world.pass_by(LEASE_SECONDS + 1)
    return fault.struck


def test_a_registry_that_is_read_only_takes_nothing_and_says_so(there: FakeRegistry) -> None:
    add_image(there, APP, "v1")
    world = World(there, pulling())
    assert world.ours.api("PUT", "/configurations", {"read_only": True}).status == 200

    world.run()

    assert world.tags(APP) == set()
    assert "this registry is read-only" in world.log(APP)


def test_a_proxy_cache_project_takes_nothing_and_says_so(there: FakeRegistry) -> None:
    add_image(there, "cached/app", "v1")
    world = World(there, pulling())
    new = NewProject("cached", 1, "admin", {"public": "false"}, {}, registry_id=7)
    projects.create(world.services.directory, new, lambda _number, _name: ())

    world.run()

    assert world.tags("cached/app") == set()
    assert "the project cached is a proxy cache" in world.log("cached/app")


def test_that_another_registry_names_a_blob_of_another_project_gives_nobody_access_to_it(there: FakeRegistry) -> None:
    secret = b"of a private project"
    add_image(there, APP, "v1", secret)
    world = World(there, pulling())
    world.ours.blob("one/private", secret)
    for key in [key for key, content in there.blobs.items() if content == secret]:
        del there.blobs[key]

    world.run()

    assert world.tags(APP) == set()
    assert world.ours.client.ask("HEAD", f"/v2/{APP}/blobs/{Digest.of(secret)}").status == 404
    assert "lacks the blob" in world.log(APP)


def test_a_blob_that_the_project_has_is_not_fetched(there: FakeRegistry) -> None:
    shared = b"a layer of many images"
    add_image(there, APP, "v1", shared)
    world = World(there, pulling())
    world.ours.push("library/own", "v1", world.ours.document("library/own", b"{}", "own", layer=shared))

    world.run()

    assert world.tags(APP) == {"v1"}
    assert not [each for each in there.asked if each.path.endswith(str(Digest.of(shared)))]


@pytest.mark.parametrize(("slow", "most"), [("/tags/list", 1), ("/manifests/", 4)])
def test_a_registry_that_answers_slowly_is_copied_however_little_a_step_can_ask(
    there: FakeRegistry, slow: str, most: int
) -> None:
    chart = {"mediaType": CHART_CONFIG, "digest": str(Digest.of(b"{}")), "size": 2}
    for number in range(3):
        add_image(there, APP, f"v{number}")
        add_image(there, APP, f"chart{number}", config=chart)
    world = World(there, pulling(filters=[{"type": "resource", "value": "image"}]))
    world.start()

    def more_time() -> bool:
        return sum(slow in each.path for each in there.asked) < most

    world.work(more_time=more_time, before=there.asked.clear)

    assert world.tags(APP) == {"v0", "v1", "v2"}
