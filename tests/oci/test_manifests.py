"""Manifests: what is accepted, what it refers to, and the words of every refusal."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.oci import manifests
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import RegistryError
from chalicelib.oci.manifests import DOCKER_LIST, DOCKER_MANIFEST, MAX_MANIFEST, OCI_INDEX, OCI_MANIFEST, Kind

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"


def descriptor(content: bytes, media_type: str = LAYER, **more: object) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content), **more}


def image(**changes: object) -> dict[str, Any]:
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(b"{}", CONFIG),
        "layers": [descriptor(b"one"), descriptor(b"two")],
    }
    return _changed(document, changes)


def index(**changes: object) -> dict[str, Any]:
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor(b"child", OCI_MANIFEST)]}
    return _changed(document, changes)


def _changed(document: dict[str, Any], changes: dict[str, object]) -> dict[str, Any]:
    return {name: value for name, value in {**document, **changes}.items() if value != "absent"}


def parse(document: object, content_type: str = "") -> manifests.Manifest:
    return manifests.parse(orjson.dumps(document), content_type)


def test_an_image_refers_to_its_config_and_layers_in_order() -> None:
    manifest = parse(image(), OCI_MANIFEST)

    assert manifest.kind is Kind.IMAGE
    assert [blob.digest for blob in manifest.blobs] == [Digest.of(content) for content in (b"{}", b"one", b"two")]
    assert (manifest.manifests, manifest.subject) == ((), None)


def test_an_index_refers_to_manifests() -> None:
    manifest = parse(index(), OCI_INDEX)

    assert manifest.kind is Kind.INDEX
    assert [child.digest for child in manifest.manifests] == [Digest.of(b"child")]


@pytest.mark.parametrize(
    ("document", "content_type", "media_type"),
    [
        (image(), OCI_MANIFEST, OCI_MANIFEST),
        (image(), f"{OCI_MANIFEST}; charset=utf-8", OCI_MANIFEST),
        (image(), OCI_MANIFEST.upper(), OCI_MANIFEST),
        (image(), "", OCI_MANIFEST),
        (image(mediaType="absent"), "", OCI_MANIFEST),
        (index(mediaType="absent"), "", OCI_INDEX),
        (image(mediaType=None), DOCKER_MANIFEST, DOCKER_MANIFEST),
        (index(mediaType=DOCKER_LIST), DOCKER_LIST, DOCKER_LIST),
    ],
)
def test_the_type_comes_from_header_and_field(document: object, content_type: str, media_type: str) -> None:
    assert parse(document, content_type).media_type == media_type


@pytest.mark.parametrize(
    ("document", "content_type", "words"),
    [
        ([], "", "is a JSON object"),
        ("x", "", "is a JSON object"),
        (image(schemaVersion=1), "", "schema 1 manifests are not supported"),
        (image(), "application/vnd.docker.distribution.manifest.v1+prettyjws", "schema 1 manifests"),
        (image(schemaVersion=3), "", "schemaVersion must be 2"),
        (image(schemaVersion="2"), "", "schemaVersion must be 2"),
        (image(), OCI_INDEX, "the field mediaType"),
        (image(), "application/json", "not supported: use one of"),
        (image(mediaType=7), "", "mediaType must be a text"),
        (image(mediaType=False), OCI_MANIFEST, "mediaType must be a text"),
        (image(manifests=[]), "", "no field 'manifests'"),
        (index(layers=[]), "", "no field 'layers'"),
        (image(config="absent"), "", "config must be a descriptor"),
        (image(layers="absent"), "", "layers must be a list"),
        (image(layers={}), "", "layers must be a list"),
        (image(layers=[7]), "", r"layers\[0\] must be a descriptor"),
        (index(manifests=None), "", "manifests must be a list"),
        (image(layers=[descriptor(b"", digest="absent")]), "", "looks like"),
        (image(layers=[descriptor(b"", digest=7)]), "", "digest is missing"),
        (image(layers=[descriptor(b"", digest="md5:" + "0" * 32)]), "", "not supported"),
        (image(layers=[descriptor(b"", size=-1)]), "", "whole number of bytes"),
        (image(layers=[descriptor(b"", size=True)]), "", "whole number of bytes"),
        (image(layers=[descriptor(b"", size=1.5)]), "", "whole number of bytes"),
        (image(layers=[descriptor(b"", "")]), "", "mediaType is missing"),
        (image(layers=[descriptor(b"", urls="x")]), "", "list of URLs"),
        (image(layers=[descriptor(b"", urls={})]), "", "list of URLs"),
        (image(subject=[]), "", "subject must be a descriptor"),
        (image(annotations={"a": 1}), "", "annotations must map"),
        (image(annotations=[]), "", "annotations must map"),
        (image(artifactType=0), "", "artifactType must be a text"),
    ],
)
def test_what_is_not_valid_is_refused_in_words(document: object, content_type: str, words: str) -> None:
    with pytest.raises(RegistryError, match=words) as refused:
        parse(document, content_type)

    assert (refused.value.code.name, refused.value.status) == ("MANIFEST_INVALID", 400)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b'{"a":' * 5000, b"null"])
def test_what_is_not_json_is_refused(content: bytes) -> None:
    with pytest.raises(RegistryError, match="MANIFEST_INVALID"):
        manifests.parse(content, OCI_MANIFEST)


def test_a_manifest_of_4_mib_is_taken_and_one_byte_more_is_413() -> None:
    padding = MAX_MANIFEST - len(orjson.dumps(image(annotations={"x": ""})))
    content = orjson.dumps(image(annotations={"x": "y" * padding}))

    assert len(manifests.parse(content, OCI_MANIFEST).content) == MAX_MANIFEST
    with pytest.raises(RegistryError, match="at most") as refused:
        manifests.parse(content + b" ", OCI_MANIFEST)
    assert refused.value.status == 413


@given(st.binary(max_size=200), st.sampled_from(["", OCI_MANIFEST, OCI_INDEX]))
def test_random_bytes_are_refused_and_nothing_else_happens(content: bytes, content_type: str) -> None:
    with pytest.raises(RegistryError, match="MANIFEST_INVALID"):
        manifests.parse(content, content_type)


@pytest.mark.parametrize(
    ("layer", "elsewhere"),
    [
        (descriptor(b""), False),
        (descriptor(b"", urls=["https://example.org/layer"]), True),
        (descriptor(b"", urls=[]), False),
        (descriptor(b"", "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"), True),
        (descriptor(b"", "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"), True),
    ],
)
def test_layers_that_clients_must_not_push_may_be_missing(layer: dict[str, Any], elsewhere: bool) -> None:
    assert parse(image(layers=[layer])).blobs[1].held_elsewhere is elsewhere


@pytest.mark.parametrize(
    ("document", "artifact_type"),
    [
        (image(artifactType="application/spdx+json"), "application/spdx+json"),
        (image(), CONFIG),
        (index(artifactType="application/x"), "application/x"),
        (index(), None),
    ],
)
def test_a_referrer_s_descriptor_has_the_artifact_type_of_the_specification(
    document: dict[str, Any], artifact_type: str | None
) -> None:
    manifest = parse({**document, "subject": descriptor(b"subject", OCI_MANIFEST), "annotations": {"a": "b"}})
    digest = Digest.of(manifest.content)

    entry = manifest.referrer(digest)

    assert manifest.subject is not None
    assert manifest.subject.digest == Digest.of(b"subject")
    assert entry.get("artifactType") == artifact_type
    assert entry["annotations"] == {"a": "b"}
    assert (entry["digest"], entry["size"]) == (str(digest), len(manifest.content))


def test_what_is_stored_is_a_manifest_only_under_its_own_digest() -> None:
    content = orjson.dumps(image())
    own = Digest.of(content)

    found = manifests.parse_named(own, content, OCI_MANIFEST)

    assert found is not None
    assert found.content == content
    assert manifests.parse_named(Digest.of(b"other"), content, OCI_MANIFEST) is None
    assert manifests.parse_named(Digest.of(b"{}"), b"{}", OCI_MANIFEST) is None
