"""What is pushed to another registry: in chunks or in one piece, and gone on with by another process."""

import json
from collections.abc import Iterator

import pytest

from chalicelib.oci.manifests import OCI_INDEX, OCI_MANIFEST
from chalicelib.store.remote import MissingError, Remote, RemoteError, Site, UntrueError, connect
from tests.store.remote.conftest import HERE
from tests.store.remote.fake import FakeRegistry, answer, digest_of

LAYER = b"0123456789" * 100
DIGEST = digest_of(LAYER)
CONFIG = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest_of(b"{}"), "size": 2}


def signature_of(subject: str) -> bytes:
    about = {"mediaType": OCI_MANIFEST, "digest": subject, "size": 3}
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": CONFIG, "layers": [], "subject": about}
    return json.dumps(document).encode()


def test_a_blob_is_sent_in_chunks_by_one_process_after_another(registry: FakeRegistry) -> None:
    with connect(Site(registry.url), HERE) as first:
        location = first.send(first.begin_upload("a/b"), LAYER[:300], 0)
    with connect(Site(registry.url), HERE) as second:
        offset = second.uploaded(location)
        assert offset == 300
        second.finish(second.send(location, LAYER[offset:], offset), DIGEST)

    assert registry.blobs["a/b", DIGEST] == LAYER
    assert [each.headers["content-range"] for each in registry.asked if each.method == "PATCH"] == [
        "0-299",
        "300-999",
    ]


def test_an_upload_goes_on_where_its_registry_says(registry: FakeRegistry, remote: Remote) -> None:
    """docker-registry has the offset in the location, and refuses an old one."""
    location = remote.begin_upload("a/b")
    registry.instead(
        "GET", "/v2/a/b/blobs/uploads/", answer(204, Range="0-299", Location="/v2/a/b/blobs/uploads/9?new")
    )
    registry.instead("PATCH", "/v2/a/b/blobs/uploads/9?new", answer(202, Range="0-999"))

    remote.send(location, LAYER[300:], remote.uploaded(location))

    assert registry.methods() == ["POST", "GET", "PATCH"]


def test_an_upload_of_nothing_stands_at_nothing(remote: Remote) -> None:
    assert remote.uploaded(remote.begin_upload("a/b")) == 0


@pytest.mark.parametrize("status", [400, 404, 416])
def test_an_upload_that_its_registry_does_not_go_on_with_is_missing(
    registry: FakeRegistry, remote: Remote, status: int
) -> None:
    registry.instead("GET", "/v2/a/b/blobs/uploads/", answer(status))

    with pytest.raises(MissingError):
        remote.uploaded(remote.begin_upload("a/b"))


def test_a_blob_is_sent_whole_as_it_comes(registry: FakeRegistry, remote: Remote) -> None:
    def pieces() -> Iterator[bytes]:
        yield from (LAYER[at : at + 7] for at in range(0, len(LAYER), 7))

    remote.put_blob(remote.begin_upload("a/b"), DIGEST, len(LAYER), pieces())

    assert registry.blobs["a/b", DIGEST] == LAYER
    sent = next(each for each in registry.asked if each.method == "PATCH")
    assert sent.headers["content-length"] == str(len(LAYER))
    assert "content-range" not in sent.headers


def test_the_chunks_that_a_registry_wants_are_told(registry: FakeRegistry, remote: Remote) -> None:
    registry.chunk_min = "5242880"
    remote.begin_upload("a/b")

    assert remote.least_chunk == 5242880


@pytest.mark.parametrize(
    "told", ["/v2/a/b/blobs/uploads/7", "7", "http:7", "//127.0.0.1:{port}/v2/a/b/blobs/uploads/7"]
)
def test_a_location_is_read_as_the_standards_say(registry: FakeRegistry, remote: Remote, told: str) -> None:
    where = told.format(port=registry.port)
    registry.instead("POST", "/v2/a/b/blobs/uploads/", answer(202, Location=where))

    assert remote.begin_upload("a/b") == f"{registry.url}/v2/a/b/blobs/uploads/7"


def test_a_registry_that_says_no_location_goes_on_where_it_was(registry: FakeRegistry, remote: Remote) -> None:
    location = remote.begin_upload("a/b")
    registry.instead("PATCH", "/v2/a/b/", answer(202))

    assert remote.send(location, b"x", 0) == location


def test_a_blob_is_mounted_where_the_registry_has_it(registry: FakeRegistry, remote: Remote) -> None:
    registry.add_blob("a/b", LAYER)

    assert remote.mount("c/d", DIGEST, "a/b")
    assert registry.blobs["c/d", DIGEST] == LAYER
    assert not remote.mount("c/d", digest_of(b"other"), "a/b")
    assert registry.uploads == {}, "the upload that it began instead is given up"
    for status in (401, 403, 404):
        registry.instead("POST", "/v2/e/f/", answer(status), times=1)
        assert not remote.mount("e/f", DIGEST, "a/b")


def test_a_registry_that_takes_another_digest_is_not_believed(registry: FakeRegistry, remote: Remote) -> None:
    registry.instead("PUT", "/v2/", answer(201, Docker_Content_Digest=digest_of(b"evil")))

    with pytest.raises(UntrueError):
        remote.put_manifest("a/b", "v1", OCI_MANIFEST, b"{}")
    with pytest.raises(UntrueError):
        remote.finish(remote.begin_upload("a/b"), DIGEST)


def test_a_wrong_digest_is_refused_in_the_registry_s_words(remote: Remote) -> None:
    location = remote.send(remote.begin_upload("a/b"), LAYER, 0)

    with pytest.raises(RemoteError, match="400 DIGEST_INVALID"):
        remote.finish(location, digest_of(b"other"))


def test_what_refers_to_a_manifest_is_listed_by_the_registry(registry: FakeRegistry, remote: Remote) -> None:
    subject = digest_of(b"abc")
    signature = signature_of(subject)
    remote.put_manifest("a/b", digest_of(signature), OCI_MANIFEST, signature)

    assert [each["digest"] for each in remote.referrers("a/b", subject)] == [digest_of(signature)]
    assert registry.tags == {}


def test_what_refers_to_a_manifest_is_listed_under_a_tag_where_the_registry_lists_nothing(
    registry: FakeRegistry, remote: Remote
) -> None:
    registry.referrers_api = False
    subject = digest_of(b"abc")
    assert remote.referrers("a/b", subject) == []
    signatures = [signature_of(subject), signature_of(subject) + b" "]
    for signature in (*signatures, signatures[0]):
        remote.put_manifest("a/b", digest_of(signature), OCI_MANIFEST, signature)

    found = remote.referrers("a/b", subject)
    assert [each["digest"] for each in found] == [digest_of(each) for each in signatures]
    assert found[0]["artifactType"] == CONFIG["mediaType"]
    assert list(registry.tags) == [("a/b", subject.replace(":", "-"))]
    assert registry.manifests["a/b", registry.tags["a/b", subject.replace(":", "-")]][0] == OCI_INDEX


@pytest.mark.parametrize("name", ["../x", "a/../b", "a//b", "", ".", "a/./b"])
def test_a_name_that_leads_out_of_the_api_is_not_asked_for(registry: FakeRegistry, remote: Remote, name: str) -> None:
    with pytest.raises(MissingError):
        remote.get_manifest(name, "v1")
    with pytest.raises(MissingError):
        remote.delete_manifest("a/b", name)
    assert registry.asked == []


def test_what_is_odd_in_a_name_is_quoted(registry: FakeRegistry, remote: Remote) -> None:
    with pytest.raises(MissingError):
        remote.get_manifest("a?x=1#b", "v 1\r\nX-Evil: 1")

    assert registry.asked[0].target == "/v2/a%3Fx%3D1%23b/manifests/v%201%0D%0AX-Evil:%201"
