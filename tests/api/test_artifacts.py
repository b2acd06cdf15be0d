"""Harbor's API of artifacts: what is shown, in which order, by which conditions; deleting, copying, tags, labels."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import orjson
import pytest

from chalicelib.jobs import reindex
from chalicelib.oci import manifests as oci
from chalicelib.oci.digests import Digest
from chalicelib.oci.names import Repository, Tag
from chalicelib.store import condemned, layout, manifests
from chalicelib.store.index import Index
from tests.api.artifacts import Registry
from tests.store.index.tables import StoppingTable

APP = "/projects/library/repositories/app/artifacts"
NEVER = "0001-01-01T00:00:00.000Z"


@pytest.fixture
def registry() -> Registry:
    return Registry()


def digests(found: list[dict[str, Any]]) -> list[str]:
    return [artifact["digest"] for artifact in found]


def listed(registry: Registry, query: str = "", **conditions: str) -> list[str]:
    q = quote(",".join(f"{name}={value}" for name, value in conditions.items()))
    return digests(registry.get(f"{APP}?page_size=100&q={q}{query}"))


def test_an_image_shows_what_its_config_says_and_its_tags(registry: Registry) -> None:
    digest = registry.image("library/app", "v1", "x", annotations={"a": "b"})

    shown = registry.get(f"{APP}/v1")

    assert shown == registry.get(f"{APP}/{digest}") == registry.get(APP)[0]
    assert (shown["type"], shown["digest"], shown["repository_name"]) == ("IMAGE", digest, "library/app")
    assert shown["extra_attrs"]["architecture"] == "arm64"
    assert shown["extra_attrs"]["config"] == {"Cmd": ["x"]}
    assert shown["annotations"] == {"a": "b"}
    assert shown["pull_time"] == NEVER
    tag = shown["tags"][0]
    assert (tag["name"], tag["artifact_id"], tag["immutable"]) == ("v1", shown["id"], False)
    href = shown["addition_links"]["build_history"]["href"]
    assert registry.get(href.removeprefix("/api/v2.0")) == [
        {"created": "2026-01-01T00:00:00Z", "created_by": "COPY x"}
    ]
    assert "tags" not in registry.get(f"{APP}/v1?with_tag=false")
    assert registry.api("GET", f"{APP}/v1?with_tag=perhaps").status == 400


def test_artifacts_come_newest_first_and_oldest_first_in_pages(registry: Registry) -> None:
    pushed = []
    for number in range(7):
        registry.client.clock.advance(timedelta(seconds=1))
        pushed.append(registry.image("library/app", f"v{number}", f"{number}"))

    assert listed(registry) == listed(registry, "&sort=-push_time") == pushed[::-1]
    assert listed(registry, "&sort=push_time") == pushed
    page = registry.api("GET", f"{APP}?page=3&page_size=3")
    assert digests(orjson.loads(page.body)) == pushed[:1]
    assert page.headers["X-Total-Count"] == "7"
    page = registry.api("GET", f"{APP}?page=2&page_size=3&sort=push_time")
    assert digests(orjson.loads(page.body)) == pushed[3:6]
    assert listed(registry, "&sort=digest") == sorted(pushed)


def test_conditions_on_tags_type_time_and_labels(registry: Registry) -> None:
    one = registry.image("library/app", "v1.0", "one")
    registry.client.clock.advance(timedelta(hours=1))
    two = registry.image("library/app", "v2.0", "two")
    bare = registry.image("library/app", "", "bare")
    chart = registry.chart("library/app", "chart", {"app/values.yaml": b"a: 1"})
    label = _label(registry, "good")
    assert registry.api("POST", f"{APP}/{two}/labels", {"id": label}).status == 200

    assert set(listed(registry, tags="*")) == {one, two, chart}
    assert listed(registry, tags="nil") == [bare]
    assert set(listed(registry, tags="~v")) == {one, two}
    assert listed(registry, tags="v1.0") == [one]
    assert listed(registry, tags="v9") == []
    assert listed(registry, type="CHART") == [chart]
    assert listed(registry, type="IMAGE", tags="~2") == [two]
    assert listed(registry, push_time="[~2026-03-01T12:30:00Z]") == [one]
    assert listed(registry, labels=f"({label})") == [two]
    assert listed(registry, digest=bare) == [bare]
    assert registry.api("GET", f"{APP}?q={quote('tags=v1.0')}").headers["X-Total-Count"] == "1"


def test_an_index_hides_its_children_and_shows_them_as_references(registry: Registry) -> None:
    child, tagged = registry.image("library/app", "", "child"), registry.image("library/app", "own", "tagged")
    index = registry.index("library/app", "all", child, tagged)

    assert set(listed(registry)) == {index, tagged}
    shown = registry.get(f"{APP}/all")
    assert [entry["child_digest"] for entry in shown["references"]] == [child, tagged]
    assert shown["references"][0]["child_id"] == registry.get(f"{APP}/{child}")["id"]
    assert shown["references"][0]["platform"] == {"architecture": "arm64", "os": "linux", "'os.version'": "10"}
    assert shown["size"] > registry.get(f"{APP}/{child}")["size"]
    assert "addition_links" not in shown


def test_a_signature_is_shown_with_its_subject_and_with_the_children_of_a_signed_index(registry: Registry) -> None:
    child = registry.image("library/app", "", "child")
    index = registry.index("library/app", "all", child)
    signature = registry.sign("library/app", index)

    shown = registry.get(f"{APP}/all?with_accessory=true")

    assert listed(registry) == [index]
    assert [(entry["digest"], entry["type"]) for entry in shown["accessories"]] == [(signature, "signature.cosign")]
    assert shown["accessories"] == registry.get(f"{APP}/all/accessories")
    assert shown["accessories"][0]["artifact_id"] == registry.get(f"{APP}/{signature}")["id"]
    inherited = registry.get(f"{APP}/{child}?with_inherited_accessory=true")["inherited_accessories"]
    assert inherited == shown["accessories"]
    assert "accessories" not in registry.get(f"{APP}/all")


def test_deleting_an_index_takes_its_children_signatures_and_tags_along(registry: Registry) -> None:
    children = [registry.image("library/app", "", f"child {number}") for number in range(3)]
    tagged = registry.image("library/app", "own", "tagged")
    first = registry.index("library/app", "first", children[0], children[1], tagged)
    second = registry.index("library/app", "second", children[1], children[2])
    signature = registry.sign("library/app", first)
    of_child = registry.sign("library/app", children[0], "of a child")

    assert registry.api("DELETE", f"{APP}/{children[0]}").status == 412
    assert registry.api("DELETE", f"{APP}/first").status == 200

    assert set(listed(registry)) == {second, tagged}
    for gone in ("first", first, signature, children[0], of_child):
        assert registry.api("GET", f"{APP}/{gone}").status == 404
    # What goes along can be had by its digest until the collector comes: somebody may be pushing an index of it.
    assert [registry.pull("library/app", gone) for gone in ("first", first)] == [404, 404]
    for kept in ("second", "own", children[1], children[2]):
        assert registry.pull("library/app", kept) == 200
    assert registry.api("DELETE", f"{APP}/first").status == 404


def test_the_specification_s_delete_takes_as_much_along_and_refuses_as_much(registry: Registry) -> None:
    child, other = (registry.image("library/app", "", name) for name in ("child", "other"))
    index = registry.index("library/app", "all", child, other)
    registry.sign("library/app", index)
    client = registry.client

    refused = client.ask("DELETE", f"/v2/library/app/manifests/{child}")
    assert refused.status == 412
    assert index in orjson.loads(refused.body)["errors"][0]["message"]
    assert client.ask("DELETE", "/v2/library/app/manifests/all").status == 202
    assert registry.pull("library/app", index) == 200
    assert client.ask("DELETE", f"/v2/library/app/manifests/{index}").status == 202

    assert registry.pull("library/app", index) == 404
    assert unchanged_by_reindex(registry) == listed(registry) == []


@pytest.mark.parametrize("path", [APP.removesuffix("/artifacts"), f"{APP}/all"])
def test_what_a_delete_leaves_is_what_reindex_would_leave(registry: Registry, path: str) -> None:
    child = registry.image("library/app", "", "child")
    registry.sign("library/app", registry.index("library/app", "all", child))
    kept = registry.image("library/kept", "v1", "kept")

    assert registry.api("DELETE", path).status == 200

    objects = registry.client.objects
    left = [key for key in objects.keys("repositories/library/app/") if condemned.is_live(objects.head(key))]
    assert [key for key in left if "_blobs" not in key and "_tagged" not in key] == []
    assert registry.get("/projects/library/artifacts")[0]["digest"] == kept
    assert unchanged_by_reindex(registry) == [kept]


def test_a_project_goes_with_everything_in_it_once_its_repositories_are_gone(registry: Registry) -> None:
    registry.sign("one/app", registry.image("one/app", "v1", "x"))

    assert registry.api("DELETE", "/projects/one").status == 412
    assert registry.api("DELETE", "/projects/one/repositories/app").status == 200
    assert registry.api("DELETE", "/projects/one").status == 200

    for prefix in layout.of_project("one"):
        assert registry.client.objects.keys(prefix) == ()


def unchanged_by_reindex(registry: Registry) -> list[str]:
    """Return what the project's lists show, which a repair of the index does not change."""
    before = registry.get("/projects/library/artifacts?page_size=100")
    reindex.run(registry.client.services, "library")
    assert registry.get("/projects/library/artifacts?page_size=100") == before
    return digests(before)


def test_copying_takes_tags_children_and_signatures_along_and_no_data(registry: Registry) -> None:
    child = registry.image("one/source", "", "child")
    index = registry.index("one/source", "v1", child)
    registry.push("one/source", "latest", orjson.loads(_content(registry, "one/source", index)))
    signature = registry.sign("one/source", index)
    data = len(registry.client.objects.keys("data/"))

    answer = registry.api("POST", f"{APP}?from=one/source:v1")

    assert answer.status == 201
    assert answer.headers["Location"] == f"/api/v2.0{APP}/{index}"
    assert len(registry.client.objects.keys("data/")) == data
    shown = registry.get(f"{APP}/{index}?with_accessory=true")
    assert [tag["name"] for tag in shown["tags"]] == ["latest", "v1"]
    assert [entry["digest"] for entry in shown["accessories"]] == [signature]
    for reference in ("v1", "latest", child, signature):
        assert registry.pull("library/app", reference) == 200
    assert listed(registry) == [index]
    assert registry.api("POST", f"{APP}?from=one/source@{index}").status == 201


def test_what_cannot_be_copied_is_refused(registry: Registry) -> None:
    registry.image("one/source", "v1", "x")

    for source, status in (
        ("", 400),
        ("one/source", 400),
        ("one/source:v1@x", 400),
        ("one/Source:v1", 400),
        ("one/source:v2", 404),
        (f"one/source@{Digest.of(b'x')}", 404),
        ("nowhere/source:v1", 403),
    ):
        assert registry.api("POST", f"{APP}?from={source}").status == status, source
    assert registry.api("POST", f"{APP}?from=one/source:v1", who={}).status == 401


def test_tags_are_made_listed_and_deleted(registry: Registry) -> None:
    digest = registry.image("library/app", "v1", "x")
    other = registry.image("library/app", "other", "y")

    made = registry.api("POST", f"{APP}/v1/tags", {"name": "stable"})

    assert made.status == 201
    assert made.headers["Location"] == f"/api/v2.0{APP}/v1/tags/stable"
    assert registry.pull("library/app", "stable") == 200
    assert [tag["name"] for tag in registry.get(f"{APP}/{digest}/tags")] == ["stable", "v1"]
    page = registry.api("GET", f"{APP}/{digest}/tags?page=2&page_size=1")
    assert [tag["name"] for tag in orjson.loads(page.body)] == ["v1"]
    assert page.headers["X-Total-Count"] == "2"
    assert [tag["name"] for tag in registry.get(f"{APP}/{digest}/tags?q=name%3D~sta")] == ["stable"]
    assert registry.api("POST", f"{APP}/{other}/tags", {"name": "stable"}).status == 409
    assert registry.api("POST", f"{APP}/v1/tags", {"name": "stable"}).status == 409
    assert registry.api("POST", f"{APP}/v1/tags", {"name": "no tag"}).status == 400
    assert registry.api("POST", f"{APP}/v1/tags", {}).status == 400
    assert registry.api("DELETE", f"{APP}/{other}/tags/stable").status == 404
    assert registry.api("DELETE", f"{APP}/{digest}/tags/stable").status == 200
    assert registry.pull("library/app", "stable") == 404
    assert registry.pull("library/app", digest) == 200
    assert [tag["name"] for tag in registry.get(f"{APP}/{digest}/tags")] == ["v1"]


def _label(registry: Registry, name: str, **fields: Any) -> int:
    answer = registry.api("POST", "/labels", {"name": name, "scope": "g", **fields})
    assert answer.status == 201, answer.body
    return int(answer.headers["Location"].rpartition("/")[2])


@pytest.mark.parametrize(
    ("color", "status"),
    [("#00Ff00", 201), ("", 201), ("false", 201), ("#00FF0", 400), ("#00FF00;x", 400), ("red;x:url(y)", 400)],
)
def test_a_label_s_color_is_a_color_s_code_or_a_word(registry: Registry, color: str, status: int) -> None:
    body = {"name": "good", "scope": "g", "color": color}

    assert registry.api("POST", "/labels", body).status == status


def test_labels_are_put_on_artifacts_shown_and_taken_off(registry: Registry) -> None:
    digest = registry.image("library/app", "v1", "x")
    label = _label(registry, "good", color="#00FF00")
    foreign = registry.get("/projects/one")["project_id"]
    elsewhere = _label(registry, "foreign", scope="p", project_id=foreign)

    assert registry.api("POST", f"{APP}/v1/labels", {"id": label}).status == 200

    assert registry.api("POST", f"{APP}/{digest}/labels", {"id": label}).status == 409
    assert registry.api("POST", f"{APP}/v1/labels", {"id": elsewhere}).status == 404
    assert registry.api("POST", f"{APP}/v1/labels", {"id": 12345}).status == 404
    assert registry.api("POST", f"{APP}/v1/labels", {"id": "x"}).status == 400
    assert [entry["name"] for entry in registry.get(f"{APP}/v1?with_label=true")["labels"]] == ["good"]
    assert "labels" not in registry.get(f"{APP}/v1")
    assert registry.api("DELETE", f"{APP}/v1/labels/{label}").status == 200
    assert registry.api("DELETE", f"{APP}/v1/labels/{label}").status == 404


def test_a_deleted_label_is_not_shown_any_more(registry: Registry) -> None:
    registry.image("library/app", "v1", "x")
    label = _label(registry, "good")
    registry.api("POST", f"{APP}/v1/labels", {"id": label})

    assert registry.api("DELETE", f"/labels/{label}").status == 200

    assert "labels" not in registry.get(f"{APP}/v1?with_label=true")


def test_a_project_shows_the_artifacts_of_its_repositories_or_the_latest_of_each(registry: Registry) -> None:
    pushed: dict[str, list[str]] = {"app": [], "b": [], "c/d": []}
    for number in range(9):
        registry.client.clock.advance(timedelta(seconds=1))
        name = list(pushed)[number % 3]
        pushed[name].insert(0, registry.image(f"library/{name}", f"v{number}", f"{number}"))
    every = [digest for found in pushed.values() for digest in found]
    where = "/projects/library/artifacts"

    assert digests(registry.get(f"{where}?page_size=100")) == every
    page = registry.api("GET", f"{where}?page=2&page_size=4")
    assert digests(orjson.loads(page.body)) == every[4:8]
    assert page.headers["X-Total-Count"] == "9"
    latest = registry.get(f"{where}?latest_in_repository=true&q=type%3DIMAGE&sort=-push_time")
    assert digests(latest) == [pushed[name][0] for name in ("c/d", "b", "app")]
    assert digests(registry.get(f"{where}?q=tags%3Dv4")) == [pushed["b"][1]]


def test_what_the_index_missed_is_taken_in_when_it_is_asked_for(registry: Registry) -> None:
    digest = Digest.parse(registry.image("library/app", "v1", "x"))
    services, repository = registry.client.services, Repository("library/app")
    stored = manifests.get(services.content, repository, digest)
    manifest = oci.parse(stored.content, stored.media_type)
    manifests.put(services.content, Repository("library/app"), manifest, digest, [Tag("untold")])

    assert registry.get(f"{APP}/untold")["digest"] == str(digest)
    assert {tag["name"] for tag in registry.get(f"{APP}/v1")["tags"]} == {"v1", "untold"}


def test_an_index_that_is_out_of_reach_costs_no_push_no_pull_and_no_delete(registry: Registry) -> None:
    digest = registry.image("library/app", "v1", "x")
    services = registry.client.services
    broken = Index(StoppingTable(services.index.table, at=1, done=False), services.content, services.now)
    registry.client.services = replace(services, index=broken)

    missed = registry.image("library/app", "v2", "y")
    assert registry.pull("library/app", "v2") == 200
    assert registry.client.ask("DELETE", f"/v2/library/app/manifests/{digest}").status == 202

    registry.client.services = services
    assert listed(registry) == [digest]
    reindex.run(services, "library")
    assert listed(registry) == [missed]


def test_references_that_can_name_nothing_are_not_found(registry: Registry) -> None:
    registry.image("library/app", "v1", "x")

    for reference in ("-x", "a b", "sha256:12", f"md5:{'0' * 32}", str(Digest.of(b"nothing")), "x" * 200):
        assert registry.api("GET", f"{APP}/{quote(reference)}").status == 404
    assert registry.api("GET", "/projects/library/repositories/none/artifacts").status == 404


def _content(registry: Registry, repository: str, digest: str) -> bytes:
    return manifests.get(registry.client.services.content, Repository(repository), Digest.parse(digest)).content
