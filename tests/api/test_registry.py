"""The endpoints as a client sees them: statuses, headers and bodies of what succeeds."""

import orjson
import pytest
from nacl.signing import SigningKey

from chalicelib.api import tokens
from chalicelib.api.pushes import CHUNK_MIN_LENGTH, MAX_TAGS
from chalicelib.oci.digests import Digest
from chalicelib.oci.manifests import OCI_INDEX, OCI_MANIFEST
from chalicelib.policy.grants import Action, Grant, Principal
from tests.api.asking import Client
from tests.api.test_auth import UPLOADS, code
from tests.memory import SETTINGS
from tests.oci.test_manifests import descriptor, image, index

BLOBS = (b"{}", b"one", b"two")
MANIFEST = orjson.dumps(image())
DIGEST = Digest.of(MANIFEST)


def push_blobs(client: Client, repository: str = "a/b") -> None:
    for blob in BLOBS:
        pushed = client.ask("POST", f"/v2/{repository}/blobs/uploads/?digest={Digest.of(blob)}", blob)
        assert pushed.status == 201


def push(client: Client, reference: str = "v1", document: object = None) -> str:
    """Push a manifest and return its digest."""
    content = MANIFEST if document is None else orjson.dumps(document)
    answer = client.ask("PUT", f"/v2/a/b/manifests/{reference}", content, Content_Type=OCI_MANIFEST)
    assert answer.status == 201, answer.body
    return answer.headers["Docker-Content-Digest"]


@pytest.fixture
def pushed(client: Client) -> Client:
    push_blobs(client)
    push(client)
    return client


def test_an_upload_begins_with_everything_that_clients_read(client: Client) -> None:
    answer = client.ask("POST", UPLOADS)

    assert (answer.status, answer.body) == (202, b"")
    assert answer.headers["Location"].startswith(f"{UPLOADS}{answer.headers['Docker-Upload-UUID']}?_state=")
    assert answer.headers["Range"] == "0-0"
    assert answer.headers["OCI-Chunk-Min-Length"] == CHUNK_MIN_LENGTH


@pytest.mark.parametrize(("method", "status"), [("GET", 307), ("HEAD", 200)])
def test_a_blob_is_named_by_its_digest(pushed: Client, method: str, status: int) -> None:
    digest = str(Digest.of(b"one"))

    answer = pushed.ask(method, f"/v2/a/b/blobs/{digest}")

    assert (answer.status, answer.body) == (status, b"")
    assert answer.headers["Docker-Content-Digest"] == digest
    assert answer.headers.get("Content-Length", "3") == "3"


@pytest.mark.parametrize("reference", ["v1", str(DIGEST)])
def test_a_manifest_comes_back_byte_for_byte(pushed: Client, reference: str) -> None:
    got = pushed.ask("GET", f"/v2/a/b/manifests/{reference}")
    head = pushed.ask("HEAD", f"/v2/a/b/manifests/{reference}")

    assert (got.status, got.body) == (200, MANIFEST)
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(MANIFEST)))
    for answer in (got, head):
        assert answer.headers["Content-Type"] == OCI_MANIFEST
        assert answer.headers["Docker-Content-Digest"] == str(DIGEST)
        assert answer.headers["ETag"] == f'"{DIGEST}"'


@pytest.mark.parametrize("known", [f'"{DIGEST}"', f'"x", W/"{DIGEST}"', str(DIGEST), "*"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_client_that_has_the_manifest_is_told_so(pushed: Client, method: str, known: str) -> None:
    answer = pushed.ask(method, "/v2/a/b/manifests/v1", If_None_Match=known)

    assert (answer.status, answer.body) == (304, b"")
    assert pushed.ask(method, "/v2/a/b/manifests/v1", If_None_Match='"other"').status == 200


def test_a_push_by_digest_moves_the_tags_in_its_query(pushed: Client) -> None:
    answer = pushed.ask("PUT", f"/v2/a/b/manifests/{DIGEST}?tag=2&tag=2.0&tag=2", MANIFEST, Content_Type=OCI_MANIFEST)

    assert (answer.status, answer.headers["OCI-Tag"]) == (201, "2, 2.0")
    assert pushed.ask("GET", "/v2/a/b/manifests/2.0").body == MANIFEST


def test_too_many_tags_at_once_are_414(pushed: Client) -> None:
    query = "&".join(f"tag={number}" for number in range(MAX_TAGS + 1))

    answer = pushed.ask("PUT", f"/v2/a/b/manifests/{DIGEST}?{query}", MANIFEST, Content_Type=OCI_MANIFEST)

    assert code(answer) == (414, "UNSUPPORTED")


def test_a_manifest_under_a_digest_that_is_not_its_own_is_refused(pushed: Client) -> None:
    other = Digest.of(b"other")

    answer = pushed.ask("PUT", f"/v2/a/b/manifests/{other}", MANIFEST, Content_Type=OCI_MANIFEST)

    assert code(answer) == (400, "DIGEST_INVALID")
    assert code(pushed.ask("GET", f"/v2/a/b/manifests/{other}")) == (404, "MANIFEST_UNKNOWN")


def test_content_that_is_missing_is_named(client: Client) -> None:
    answer = client.ask("PUT", "/v2/a/b/manifests/v1", MANIFEST, Content_Type=OCI_MANIFEST)

    assert code(answer) == (404, "MANIFEST_BLOB_UNKNOWN")
    missing = {entry["digest"] for entry in orjson.loads(answer.body)["errors"][0]["detail"]}
    assert missing == {str(Digest.of(blob)) for blob in BLOBS}


def test_a_name_that_clients_could_not_write_on_this_host_is_refused(client: Client) -> None:
    name = "a/" + "b" * (253 - len("registry.test"))

    assert code(client.ask("POST", f"/v2/{name}/blobs/uploads/")) == (400, "NAME_INVALID")
    assert client.ask("POST", f"/v2/{name[:-1]}/blobs/uploads/").status == 202


def test_referrers_are_listed_with_filter_and_empty_without_any(pushed: Client) -> None:
    subject = descriptor(MANIFEST, OCI_MANIFEST)
    for kind in ("sbom", "signature"):
        document = image(subject=subject, artifactType=f"application/{kind}", annotations={"kind": kind})
        answer = pushed.ask("PUT", f"/v2/a/b/manifests/{kind}", orjson.dumps(document), Content_Type=OCI_MANIFEST)
        assert answer.headers["OCI-Subject"] == str(DIGEST)

    every = pushed.ask("GET", f"/v2/a/b/referrers/{DIGEST}")
    some = pushed.ask("GET", f"/v2/a/b/referrers/{DIGEST}?artifactType=application/sbom")
    none = pushed.ask("GET", f"/v2/a/never/pushed/referrers/{DIGEST}")

    assert {entry["artifactType"] for entry in orjson.loads(every.body)["manifests"]} == {
        "application/sbom",
        "application/signature",
    }
    assert [entry["annotations"] for entry in orjson.loads(some.body)["manifests"]] == [{"kind": "sbom"}]
    assert some.headers["OCI-Filters-Applied"] == "artifactType"
    assert orjson.loads(none.body) == {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    assert every.headers["Content-Type"] == none.headers["Content-Type"] == OCI_INDEX


def test_referrers_that_fill_more_than_a_manifest_come_in_pages(pushed: Client) -> None:
    subject = descriptor(MANIFEST, OCI_MANIFEST)
    for number in range(3):
        push(pushed, f"r{number}", image(subject=subject, annotations={"x": str(number) * 2_000_000}))

    target, found = f"/v2/a/b/referrers/{DIGEST}", list[str]()
    while target:
        answer = pushed.ask("GET", target)
        found += [entry["annotations"]["x"][0] for entry in orjson.loads(answer.body)["manifests"]]
        target = answer.headers.get("Link", "").partition(">")[0].removeprefix("<")

    assert sorted(found) == ["0", "1", "2"]


def test_tags_come_in_pages_in_byte_order(pushed: Client) -> None:
    for tag in ("b", "B", "a-1", "a.1", "10", "9"):
        push(pushed, tag)

    target, pages = "/v2/a/b/tags/list?n=3", list[list[str]]()
    while target:
        answer = pushed.ask("GET", target)
        pages.append(orjson.loads(answer.body)["tags"])
        target = answer.headers.get("Link", "").partition(">")[0].removeprefix("<")

    assert pages == [["10", "9", "B"], ["a-1", "a.1", "b"], ["v1"]]


def test_no_tags_are_asked_for_and_none_are_given(pushed: Client) -> None:
    answer = pushed.ask("GET", "/v2/a/b/tags/list?n=0")

    assert orjson.loads(answer.body) == {"name": "a/b", "tags": []}
    assert "Link" not in answer.headers


def test_the_catalog_lists_repositories_with_a_manifest_in_the_order_of_their_parts(client: Client) -> None:
    names = ["a/b-c", "a/b", "a/b/c", "c/a", "a/b/c/d"]
    for name in names:
        push_blobs(client, name)
        assert client.ask("PUT", f"/v2/{name}/manifests/v1", MANIFEST, Content_Type=OCI_MANIFEST).status == 201
    push_blobs(client, "blobs/only")

    first = client.ask("GET", "/v2/_catalog?n=3")
    second = client.ask("GET", first.headers["Link"].partition(">")[0].removeprefix("<"))

    assert orjson.loads(first.body) == {"repositories": ["a/b", "a/b/c", "a/b/c/d"]}
    assert orjson.loads(second.body) == {"repositories": ["a/b-c", "c/a"]}


def test_deleting_a_tag_leaves_the_manifest(pushed: Client) -> None:
    assert pushed.ask("DELETE", "/v2/a/b/manifests/v1").status == 202

    assert code(pushed.ask("GET", "/v2/a/b/manifests/v1")) == (404, "MANIFEST_UNKNOWN")
    assert pushed.ask("GET", f"/v2/a/b/manifests/{DIGEST}").status == 200
    assert code(pushed.ask("DELETE", "/v2/a/b/manifests/v1")) == (404, "MANIFEST_UNKNOWN")


def test_deleting_a_manifest_takes_its_tags_and_no_other(pushed: Client) -> None:
    push(pushed, "same")
    push(pushed, "other", image(annotations={"x": "y"}))

    assert pushed.ask("DELETE", f"/v2/a/b/manifests/{DIGEST}").status == 202

    for reference in ("v1", "same", DIGEST):
        assert code(pushed.ask("GET", f"/v2/a/b/manifests/{reference}")) == (404, "MANIFEST_UNKNOWN")
    assert orjson.loads(pushed.ask("GET", "/v2/a/b/tags/list").body)["tags"] == ["other"]


def test_a_blob_that_is_deleted_here_stays_elsewhere(pushed: Client) -> None:
    push_blobs(pushed, "c/d")
    digest = Digest.of(b"one")

    assert pushed.ask("DELETE", f"/v2/a/b/blobs/{digest}").status == 202

    assert code(pushed.ask("HEAD", f"/v2/a/b/blobs/{digest}")) == (404, "BLOB_UNKNOWN")
    assert code(pushed.ask("DELETE", f"/v2/a/b/blobs/{digest}")) == (404, "BLOB_UNKNOWN")
    assert pushed.ask("HEAD", f"/v2/c/d/blobs/{digest}").status == 200


def test_an_index_needs_one_of_its_manifests_at_least(pushed: Client) -> None:
    here, missing = descriptor(MANIFEST, OCI_MANIFEST), descriptor(b"missing", OCI_MANIFEST)

    sparse = orjson.dumps(index(manifests=[here, missing]))
    assert pushed.ask("PUT", "/v2/a/b/manifests/sparse", sparse, Content_Type=OCI_INDEX).status == 201
    hollow = orjson.dumps(index(manifests=[missing]))
    answer = pushed.ask("PUT", "/v2/a/b/manifests/hollow", hollow, Content_Type=OCI_INDEX)
    assert code(answer) == (404, "MANIFEST_BLOB_UNKNOWN")
    empty = orjson.dumps(index(manifests=[]))
    assert pushed.ask("PUT", "/v2/a/b/manifests/empty", empty, Content_Type=OCI_INDEX).status == 201


def _as_someone(*repositories: str) -> dict[str, str]:
    """Return the token of somebody who is no administrator and may do everything in some repositories."""
    access = {f"repository:{name}": frozenset({Action.PULL, Action.PUSH}) for name in repositories}
    clock = Client().clock
    token = tokens.issue(SigningKey(SETTINGS.signing_key), Grant(Principal("someone"), access), clock(), 300)
    return {"authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    ("source", "readable", "status"),
    [
        ("&from=a/b", ("c/d", "a/b"), 201),
        # A digest that is known gives no access: neither to a repository that may not be read, nor to all of them.
        ("&from=a/b", ("c/d",), 202),
        ("", ("c/d",), 202),
        ("&from=e/f", ("c/d", "e/f"), 202),
    ],
)
def test_a_blob_is_mounted_only_from_where_it_may_be_read(
    pushed: Client, source: str, readable: tuple[str, ...], status: int
) -> None:
    pushed.headers = _as_someone(*readable)
    digest = Digest.of(b"one")

    answer = pushed.ask("POST", f"/v2/c/d/blobs/uploads/?mount={digest}{source}")

    assert answer.status == status
    assert pushed.ask("HEAD", f"/v2/c/d/blobs/{digest}").status == (200 if status == 201 else 404)


def test_the_administrator_mounts_from_anywhere(pushed: Client) -> None:
    assert pushed.ask("POST", f"/v2/c/d/blobs/uploads/?mount={Digest.of(b'one')}").status == 201
    assert pushed.ask("POST", f"/v2/c/d/blobs/uploads/?mount={Digest.of(b'nowhere')}").status == 202


@pytest.mark.parametrize("query", ["digest-algorithm=md5", "digest=md5:00", "mount=x", f"mount={DIGEST}&from=A"])
def test_an_upload_that_cannot_be_is_refused_at_once(client: Client, query: str) -> None:
    assert client.ask("POST", f"{UPLOADS}?{query}").status == 400
