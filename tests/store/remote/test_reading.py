"""What is pulled from another registry that is correct, lies, breaks off, or leads elsewhere."""

import os

import pytest

from chalicelib.oci.manifests import OCI_MANIFEST
from chalicelib.store.remote import Described, DownError, MissingError, Remote, UntrueError
from tests.store.remote.fake import FakeRegistry, answer, digest_of

MANIFEST = b'{"schemaVersion":2}'
LAYER = os.urandom(700_000)


def test_a_manifest_comes_by_tag_and_by_digest(registry: FakeRegistry, remote: Remote) -> None:
    digest = registry.add_manifest("a/b", MANIFEST, OCI_MANIFEST, "v1")

    assert remote.head_manifest("a/b", "v1") == Described(digest, OCI_MANIFEST, len(MANIFEST))
    assert remote.get_manifest("a/b", "v1") == (MANIFEST, OCI_MANIFEST, digest)
    assert remote.get_manifest("a/b", digest).content == MANIFEST
    assert remote.head_manifest("a/b", "v2") is None
    with pytest.raises(MissingError, match="MANIFEST_UNKNOWN") as caught:
        remote.get_manifest("a/b", "v2")
    assert caught.value.status == 404


@pytest.mark.parametrize("reference", ["v1", digest_of(MANIFEST)])
def test_a_manifest_that_is_not_what_its_digest_says_is_not_taken(
    registry: FakeRegistry, remote: Remote, reference: str
) -> None:
    told = answer(200, b'{"evil":1}', Content_Type=OCI_MANIFEST, Docker_Content_Digest=digest_of(MANIFEST))
    registry.instead("GET", "/v2/a/b/manifests/", told)

    with pytest.raises(UntrueError, match="not sha256"):
        remote.get_manifest("a/b", reference)


def test_a_blob_is_read_from_any_byte_on(registry: FakeRegistry, remote: Remote) -> None:
    digest = registry.add_blob("a/b", LAYER)

    assert (remote.blob_size("a/b", digest), remote.blob_size("a/c", digest)) == (len(LAYER), None)
    with remote.read_blob("a/b", digest, 1000) as blob:
        assert blob.size == len(LAYER)
        assert blob.read(1 << 20) == LAYER[1000:]
        assert blob.read(1 << 20) == b""


def test_a_registry_that_knows_no_open_ranges_gives_all_of_a_blob(registry: FakeRegistry, remote: Remote) -> None:
    digest = registry.add_blob("a/b", LAYER)
    registry.instead("GET", "/v2/a/b/blobs/", answer(416), times=1)

    with remote.read_blob("a/b", digest, 1000) as blob:
        assert blob.read(1 << 20) == LAYER[1000:]
    registry.blobs["a/b", digest] = LAYER[:10]
    registry.instead("GET", "/v2/a/b/blobs/", answer(416), times=1)
    with pytest.raises(UntrueError, match="smaller"):
        remote.read_blob("a/b", digest, 1000)


def test_a_blob_that_breaks_off_is_no_whole_one(registry: FakeRegistry, remote: Remote) -> None:
    registry.instead("GET", "/v2/a/b/blobs/", answer(200, b"half", Content_Length="8", Connection="close"))

    with (
        remote.read_blob("a/b", digest_of(LAYER)) as blob,
        pytest.raises(DownError, match="early"),
    ):
        blob.read(1 << 20)


def test_sizes_that_are_none_are_not_taken(registry: FakeRegistry, remote: Remote) -> None:
    digest = registry.add_manifest("a/b", MANIFEST, OCI_MANIFEST, "v1")
    layer = registry.add_blob("a/b", LAYER)
    told = answer(200, Content_Length="9" * 5000, Docker_Content_Digest=digest)
    registry.instead("HEAD", "/v2/a/b/", told)

    assert remote.head_manifest("a/b", "v1") == Described(digest, OCI_MANIFEST, len(MANIFEST))
    assert remote.blob_size("a/b", layer) == len(LAYER)


@pytest.mark.parametrize("told", [{}, {"Content_Type": "application/json"}])
def test_what_a_head_does_not_tell_the_manifest_itself_does(
    registry: FakeRegistry, remote: Remote, told: dict[str, str]
) -> None:
    digest = registry.add_manifest("a/b", MANIFEST, OCI_MANIFEST, "v1")
    registry.instead("HEAD", "/v2/a/b/", answer(200, MANIFEST, Docker_Content_Digest=digest, **told))

    assert remote.head_manifest("a/b", "v1") == Described(digest, OCI_MANIFEST, len(MANIFEST))
