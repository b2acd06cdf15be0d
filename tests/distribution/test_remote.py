"""The client of other registries against real ones, and against this one: all that replication and caches need."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from mypy_boto3_s3 import S3Client

from chalicelib.oci.manifests import OCI_MANIFEST
from chalicelib.store.remote import MissingError, OffsetError, Remote, RemoteError, Site, connect
from tests.distribution.peers import PEERS
from tests.distribution.peers import MissingError as NotInstalledError
from tests.engines import Engine, moto, s3_client
from tests.server.running import BUCKET, PASSWORD, over, started
from tests.store.remote.fake import digest_of

HERE = ("127.0.0.1",)
PIECE = 5 << 20
LAYER = os.urandom(2 * PIECE + 12345)
CONFIG = b'{"os":"linux","architecture":"arm64"}'


@dataclass(frozen=True)
class Peer:
    """A registry and what it is known not to do."""

    site: Site
    deletes_tags: bool = True
    mounts: bool = True
    # A blob is held by each repository on its own.
    apart: bool = True
    # It refuses a chunk that does not follow.
    checks_offsets: bool = True
    # It can say where an upload stands.
    tells_offsets: bool = True


LACKING: dict[str, dict[str, bool]] = {
    "docker-registry": {"deletes_tags": False, "checks_offsets": False},
    "crane": {"mounts": False, "apart": False, "tells_offsets": False},
}


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with moto() as running:
        yield running


@pytest.fixture(scope="module", params=["roadstead", *PEERS])
def peer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    name, folder = request.param, tmp_path_factory.mktemp(request.param)
    if name == "roadstead":
        engine: Engine = request.getfixturevalue("engine")
        client: S3Client = s3_client(engine)
        client.create_bucket(Bucket=BUCKET)
        client.close()
        with started(["serve"], folder, over(engine)) as server:
            yield Peer(Site(server.url, "harbor", "admin", PASSWORD))
        return
    try:
        with PEERS[name](folder) as url:
            yield Peer(Site(url), **LACKING[name])
    except NotInstalledError as error:
        pytest.skip(str(error))


@pytest.fixture
def remote(peer: Peer) -> Iterator[Remote]:
    with connect(peer.site, HERE) as made:
        made.prepare("deck/x")
        made.prepare("hold/x")
        yield made


def manifest(subject: str = "") -> bytes:
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": digest_of(CONFIG),
            "size": len(CONFIG),
        },
        "layers": [
            {
                "mediaType": "application/vnd.oci.image.layer.v1.tar",
                "digest": digest_of(LAYER),
                "size": len(LAYER),
            }
        ],
    }
    if subject:
        document["subject"] = {"mediaType": OCI_MANIFEST, "digest": subject, "size": len(manifest())}
    return json.dumps(document).encode()


def push(remote: Remote, repository: str, *tags: str) -> str:
    for content in (CONFIG, LAYER):
        if remote.blob_size(repository, digest_of(content)) is None:
            location = remote.begin_upload(repository)
            remote.put_blob(location, digest_of(content), len(content), [content])
    content = manifest()
    for reference in tags or [digest_of(content)]:
        remote.put_manifest(repository, reference, OCI_MANIFEST, content)
    return digest_of(content)


def read(remote: Remote, repository: str, start: int = 0) -> bytes:
    with remote.read_blob(repository, digest_of(LAYER), start) as blob:
        found = b""
        while piece := blob.read(1 << 20):
            found += piece
        return found


def test_an_image_goes_there_and_comes_back(remote: Remote) -> None:
    remote.ping()
    digest = push(remote, "deck/app", "v1", "v2")

    found = remote.head_manifest("deck/app", "v1")
    assert found == (digest, OCI_MANIFEST, len(manifest()))
    assert remote.get_manifest("deck/app", "v2") == (manifest(), OCI_MANIFEST, digest)
    assert remote.get_manifest("deck/app", digest).content == manifest()
    assert remote.blob_size("deck/app", digest_of(LAYER)) == len(LAYER)
    assert read(remote, "deck/app") == LAYER
    assert read(remote, "deck/app", PIECE) == LAYER[PIECE:]
    assert sorted(remote.tags("deck/app")) == ["v1", "v2"]
    assert "deck/app" in remote.repositories()


def test_what_is_not_there_is_missing(remote: Remote) -> None:
    push(remote, "deck/app")

    assert remote.head_manifest("deck/app", "none") is None
    assert remote.head_manifest("deck/none", "none") is None
    assert remote.blob_size("deck/app", digest_of(b"none")) is None
    with pytest.raises(MissingError):
        remote.get_manifest("deck/app", digest_of(b"none"))
    with pytest.raises(MissingError):
        remote.read_blob("deck/app", digest_of(b"none"))
    with pytest.raises(MissingError):
        list(remote.tags("deck/none"))


def test_a_blob_goes_in_chunks_from_one_process_to_the_next(peer: Peer, remote: Remote) -> None:
    with connect(peer.site, HERE) as first:
        location = first.send(first.begin_upload("deck/chunks"), LAYER[:PIECE], 0)
    with connect(peer.site, HERE) as second:
        offset = second.uploaded(location) if peer.tells_offsets else PIECE
        assert offset == PIECE
        while offset < len(LAYER):
            chunk = LAYER[offset : offset + PIECE]
            location = second.send(location, chunk, offset)
            offset += len(chunk)
        second.finish(location, digest_of(LAYER))

    assert read(remote, "deck/chunks") == LAYER


def test_a_chunk_that_does_not_follow_is_noticed(peer: Peer, remote: Remote) -> None:
    location = remote.send(remote.begin_upload("deck/chunks"), LAYER[:PIECE], 0)

    with pytest.raises(OffsetError) as caught:
        remote.send(location, LAYER[:PIECE], 0)
    assert caught.value.status == (416 if peer.checks_offsets else 202)
    if peer.checks_offsets and peer.tells_offsets:
        assert remote.uploaded(location) == PIECE


def test_an_upload_that_was_cancelled_must_be_begun_anew(peer: Peer, remote: Remote) -> None:
    location = remote.begin_upload("deck/chunks")
    if peer.tells_offsets:
        assert remote.uploaded(location) == 0
    remote.cancel(location)

    with pytest.raises(MissingError):
        remote.uploaded(location)


def test_a_wrong_digest_is_refused_there(peer: Peer, remote: Remote) -> None:
    location = remote.send(remote.begin_upload("deck/wrong"), CONFIG, 0)

    with pytest.raises(RemoteError):
        remote.finish(location, digest_of(b"others"))
    if peer.apart:
        assert remote.blob_size("deck/wrong", digest_of(CONFIG)) is None


def test_a_blob_is_mounted_from_another_repository(peer: Peer, remote: Remote) -> None:
    push(remote, "deck/app")

    assert remote.mount("hold/app", digest_of(LAYER), "deck/app") == peer.mounts
    if peer.mounts:
        assert remote.blob_size("hold/app", digest_of(LAYER)) == len(LAYER)
    assert not remote.mount("hold/app", digest_of(b"none"), "deck/app")


def test_what_refers_to_an_image_is_found(remote: Remote) -> None:
    digest = push(remote, "deck/signed", "v1")
    signature = manifest(subject=digest)
    assert remote.referrers("deck/signed", digest) == []
    remote.put_manifest("deck/signed", digest_of(signature), OCI_MANIFEST, signature)

    assert [each["digest"] for each in remote.referrers("deck/signed", digest)] == [digest_of(signature)]


def test_what_is_deleted_is_gone(peer: Peer, remote: Remote) -> None:
    digest = push(remote, "deck/old", "v1", "v2")
    if peer.deletes_tags:
        remote.delete_tag("deck/old", "v1")
        assert remote.head_manifest("deck/old", "v1") is None
    else:
        with pytest.raises(RemoteError):
            remote.delete_tag("deck/old", "v1")
    assert remote.get_manifest("deck/old", "v2").digest == digest
    remote.delete_manifest("deck/old", digest)

    assert remote.head_manifest("deck/old", digest) is None
    with pytest.raises(MissingError):
        remote.delete_manifest("deck/old", digest)
