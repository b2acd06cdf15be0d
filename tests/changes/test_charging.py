"""Quotas at the registry's door: what is refused when, in which words, and what is counted."""

import logging
from dataclasses import replace

import orjson
import pytest

from chalicelib.api.http import Response
from chalicelib.jobs import engine
from chalicelib.oci.digests import Digest
from chalicelib.store import executions
from tests.api.artifacts import API, Registry
from tests.api.asking import basic
from tests.store.index.tables import CountingTable

LAYER = bytes(1000)


@pytest.fixture
def registry() -> Registry:
    return Registry()


def limit(registry: Registry, size: int, project: str = "library") -> None:
    number = registry.get(f"/projects/{project}")["project_id"]
    assert registry.api("PUT", f"/quotas/{number}", {"hard": {"storage": size}}).status == 200


def used(registry: Registry, project: str = "library") -> int:
    number = registry.get(f"/projects/{project}")["project_id"]
    shown: int = registry.get(f"/quotas/{number}")["used"]["storage"]
    assert registry.get(f"/projects/{project}/summary")["quota"]["used"]["storage"] == shown
    return shown


def ask(registry: Registry, method: str, target: str, body: bytes = b"") -> Response:
    registry.client.headers = basic()
    return registry.client.ask(method, target, body)


def begin(registry: Registry, repository: str = "library/app") -> str:
    answer = ask(registry, "POST", f"/v2/{repository}/blobs/uploads/")
    assert answer.status == 202, answer
    return answer.headers["Location"]


def refused(answer: Response) -> str:
    """Return the words of a refusal that clients show once and do not repeat."""
    assert answer.status == 403, answer
    (error,) = orjson.loads(answer.body)["errors"]
    assert error["code"] == "DENIED"
    return str(error["message"])


def test_an_image_is_counted_and_freed_to_the_byte(registry: Registry) -> None:
    digest = registry.image("library/app", "v1", "one")
    registry.image("library/other", "v1", "one")
    manifest = ask(registry, "GET", "/v2/library/app/manifests/v1")
    document = orjson.loads(manifest.body)
    expected = len(manifest.body) + document["config"]["size"] + document["layers"][0]["size"]
    assert (used(registry), used(registry, "one")) == (expected, 0)

    assert ask(registry, "DELETE", f"/v2/library/app/manifests/{digest}").status == 202
    assert used(registry) == expected
    assert registry.api("DELETE", f"/projects/library/repositories/other/artifacts/{digest}").status == 200
    assert used(registry) == 0


def test_a_repository_that_is_deleted_frees_what_it_had(registry: Registry) -> None:
    registry.image("library/app", "v1", "one")
    registry.image("library/app", "v2", "two")

    assert registry.api("DELETE", "/projects/library/repositories/app").status == 200

    assert used(registry) == 0


def test_a_full_project_refuses_an_upload_when_it_begins(registry: Registry) -> None:
    registry.blob("library/app", LAYER)
    limit(registry, 1000)

    words = refused(ask(registry, "POST", "/v2/library/app/blobs/uploads/"))

    assert "uses 1000 B of its storage quota of 1000 B" in words
    assert "delete artifacts" in words


def test_an_upload_that_does_not_fit_is_refused_before_its_bytes_are_taken(registry: Registry) -> None:
    limit(registry, 999)
    where = begin(registry)

    words = refused(ask(registry, "PUT", f"{where}&digest={Digest.of(LAYER)}", LAYER))

    assert words.startswith(
        "adding 1000 B of storage resource, which when updated to current usage of 0 B "
        "will exceed the configured upper limit of 999 B."
    )
    assert registry.client.objects.keys("data/") == ()
    assert used(registry) == 0


def test_a_chunk_that_does_not_fit_is_refused_while_it_comes(registry: Registry) -> None:
    limit(registry, 1500)
    where = begin(registry)
    answer = ask(registry, "PATCH", where, LAYER)
    assert answer.status == 202

    refused(ask(registry, "PATCH", answer.headers["Location"], LAYER))

    assert ask(registry, "PUT", f"{answer.headers['Location']}&digest={Digest.of(LAYER)}").status == 201
    assert used(registry) == 1000


def test_of_uploads_that_began_in_time_the_last_one_is_refused_at_its_end(registry: Registry) -> None:
    limit(registry, 1500)
    first, second = begin(registry), begin(registry)
    other = LAYER + b"x"
    for where, content in ((first, LAYER), (second, other)):
        assert ask(registry, "PATCH", where, content).status == 202
    assert ask(registry, "PUT", f"{first}&digest={Digest.of(LAYER)}").status == 201

    refused(ask(registry, "PUT", f"{second}&digest={Digest.of(other)}"))

    assert ask(registry, "HEAD", f"/v2/library/app/blobs/{Digest.of(other)}").status == 404
    assert used(registry) == 1000
    assert len(registry.client.objects.keys("data/")) == 1


def test_what_the_project_has_already_is_taken_even_when_it_is_full(registry: Registry) -> None:
    registry.image("library/app", "v1", "one")
    full = used(registry)
    limit(registry, full)
    layer = b"layer of one"
    digest = Digest.of(layer)

    assert registry.blob("library/other", layer) == str(digest)
    mount = f"/v2/library/third/blobs/uploads/?mount={digest}&from=library/app"
    assert ask(registry, "POST", mount).status == 201
    registry.push("library/app", "v2", orjson.loads(ask(registry, "GET", "/v2/library/app/manifests/v1").body))

    assert used(registry) == full


def test_a_mount_from_another_project_counts_and_is_refused_where_it_does_not_fit(registry: Registry) -> None:
    registry.blob("library/app", LAYER)
    mount = f"/v2/one/app/blobs/uploads/?mount={Digest.of(LAYER)}&from=library/app"
    limit(registry, 999, "one")
    assert "will exceed" in refused(ask(registry, "POST", mount))

    limit(registry, 1000, "one")
    assert ask(registry, "POST", mount).status == 201
    assert used(registry, "one") == 1000


def test_a_manifest_that_does_not_fit_is_refused_and_leaves_nothing(registry: Registry) -> None:
    document = registry.document("library/app", b"{}", "one")
    before = used(registry)
    limit(registry, before + 10)

    content = orjson.dumps(document)
    registry.client.headers = basic()
    answer = registry.client.ask(
        "PUT", "/v2/library/app/manifests/v1", content, content_type=str(document["mediaType"])
    )

    assert "will exceed" in refused(answer)
    assert used(registry) == before
    assert registry.pull("library/app", "v1") == 404


def test_a_copy_that_does_not_fit_is_refused(registry: Registry) -> None:
    registry.image("library/app", "v1", "one")
    limit(registry, 100, "one")

    answer = registry.api("POST", "/projects/one/repositories/app/artifacts?from=library/app:v1")

    assert answer.status == 403
    assert b"will exceed the configured upper limit" in answer.body
    assert used(registry, "one") == 0


def test_an_undo_that_does_not_fit_is_refused(registry: Registry) -> None:
    first = registry.image("library/app", "v1", "one")
    registry.image("library/app", "v1", "two")
    assert ask(registry, "DELETE", f"/v2/library/app/manifests/{first}").status == 202
    limit(registry, used(registry) + 10)
    undo = "/projects/library/repositories/app/tags/v1/undo"
    assert registry.api("POST", undo, {}).status == 403

    limit(registry, -1)
    assert registry.api("POST", undo, {}).status == 200
    assert registry.pull("library/app", first) == 200


def test_with_quotas_switched_off_nothing_is_refused_and_all_is_counted(registry: Registry) -> None:
    limit(registry, 10)
    assert registry.api("PUT", "/configurations", {"quota_per_project_enable": False}).status == 200

    registry.blob("library/app", LAYER)

    assert used(registry) == 1000


def test_an_upload_is_refused_where_its_project_is_gone(registry: Registry) -> None:
    where = begin(registry, "one/app")
    assert registry.api("DELETE", "/projects/one").status == 200

    answer = ask(registry, "PUT", f"{where}&digest={Digest.of(LAYER)}", LAYER)

    assert answer.status == 404
    assert registry.client.objects.keys("repositories/one/") == ()


def test_owners_are_warned_once_when_a_project_gets_near_its_limit(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    limit(registry, 1000)
    caplog.set_level(logging.WARNING, "chalicelib.changes.charging")

    for size in (849, 1, 2):
        registry.blob("library/app", bytes(size))

    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.startswith("QUOTA_WARNING of project library: the project uses 850 B of its storage quota")


def test_a_blob_that_is_deleted_is_freed(registry: Registry) -> None:
    digest = registry.blob("library/app", LAYER)
    assert used(registry) == 1000

    assert ask(registry, "DELETE", f"/v2/library/app/blobs/{digest}").status == 202

    assert used(registry) == 0


def test_an_administrator_has_what_is_used_counted_anew(registry: Registry) -> None:
    registry.blob("library/app", LAYER)
    begun = registry.api("POST", "/quotas/reconciliations")
    assert begun.status == 201
    assert registry.api("POST", "/quotas/reconciliations").status == 409
    where = begun.headers["Location"].removeprefix(API)
    assert registry.get(where)["job_status"] == "Running"

    services = registry.client.services
    (task,) = executions.tasks(services.directory, int(where.rpartition("/")[2]))
    engine.work(services, task.id, lambda: True)

    found = registry.get(where)
    assert (found["job_status"], orjson.loads(found["job_parameters"])) == ("Success", {"repaired": 0})
    assert used(registry) == 1000
    registry.get("/quotas/reconciliations/1", 404)


def test_quotas_are_sorted_by_limit_without_asking_every_project_what_it_uses(registry: Registry) -> None:
    limit(registry, 5000)
    limit(registry, 400, "one")
    registry.blob("library/app", LAYER)
    table = CountingTable(registry.client.services.index.table)
    index = replace(registry.client.services.index, table=table)
    registry.client.services = replace(registry.client.services, index=index)

    def names(query: str) -> list[str]:
        return [quota["ref"]["name"] for quota in registry.get(f"/quotas?{query}")]

    assert names("sort=hard.storage&page_size=1") == ["one"]
    assert names("sort=-hard.storage&page_size=1") == ["library"]
    assert table.calls == {"get_many": 2}
    assert names("sort=used.storage") == ["one", "library"]
    assert names("sort=-used.storage&page_size=1") == ["library"]
