"""Manifests: their media types, what they refer to, and what makes them valid.

Invariants:
* The exact bytes are the manifest; parsing only reads them, nothing is ever written back.
* The Content-Type and the `mediaType` field agree, and a document is an image or an index, never both
  (a document that two clients read differently could smuggle content past one of them).
* Artifact types, annotations and unknown fields are the client's business and are kept as they are.

Specification: OCI Image 1.1, "Image Manifest", "Image Index" and "Descriptor"; Docker Image Manifest V2, Schema 2.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any, NoReturn

import orjson

from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError

MAX_MANIFEST = 4 * 1024 * 1024
MAX_CONTENT = (1 << 63) - 1

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"


class Kind(Enum):
    """What a manifest is made of: one image's blobs, or other manifests."""

    IMAGE = "image"
    INDEX = "index"


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        OCI_MANIFEST: Kind.IMAGE,
        DOCKER_MANIFEST: Kind.IMAGE,
        OCI_INDEX: Kind.INDEX,
        DOCKER_LIST: Kind.INDEX,
    }
)
SCHEMA_1 = frozenset(
    {
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    }
)
# Layers that clients must not push: licences keep them at the publisher's.
NON_DISTRIBUTABLE = frozenset(
    {
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    }
)
_FOREIGN_FIELDS: Mapping[Kind, tuple[str, ...]] = MappingProxyType(
    {Kind.IMAGE: ("manifests",), Kind.INDEX: ("layers", "config", "fsLayers")}
)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What refers to content: its type, name and size, and where else it can be had."""

    media_type: str
    digest: Digest
    size: int
    urls: tuple[str, ...] = ()

    @property
    def held_elsewhere(self) -> bool:
        """Tell whether the content may be missing here by design."""
        return bool(self.urls) or self.media_type in NON_DISTRIBUTABLE


@dataclass(frozen=True, slots=True)
class Manifest:
    """A valid manifest: its exact bytes and what they say."""

    content: bytes
    media_type: str
    kind: Kind
    blobs: tuple[Descriptor, ...] = ()
    manifests: tuple[Descriptor, ...] = ()
    subject: Descriptor | None = None
    artifact_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)

    def referrer(self, digest: Digest) -> dict[str, object]:
        """Return the descriptor by which the referrers API lists this manifest (end-12)."""
        entry: dict[str, object] = {
            "mediaType": self.media_type,
            "digest": str(digest),
            "size": len(self.content),
        }
        if self.artifact_type:
            entry["artifactType"] = self.artifact_type
        if self.annotations:
            entry["annotations"] = dict(self.annotations)
        return entry


def parse(content: bytes, content_type: str) -> Manifest:
    """Return the manifest in `content`, sent with `content_type`; raise MANIFEST_INVALID with the reason."""
    if len(content) > MAX_MANIFEST:
        _invalid(f"a manifest has at most {MAX_MANIFEST} bytes", status=413)
    document = _json_object(content)
    media_type = _media_type(document, content_type.partition(";")[0].strip().lower())
    kind = KINDS[media_type]
    for name in _FOREIGN_FIELDS[kind]:
        if name in document:
            _invalid(f"an {kind.value} manifest has no field {name!r}")
    if document.get("schemaVersion") != 2:  # noqa: PLR2004 - the one version there is
        _invalid("schemaVersion must be 2")
    blobs = _image_blobs(document) if kind is Kind.IMAGE else ()
    return Manifest(
        content=content,
        media_type=media_type,
        kind=kind,
        blobs=blobs,
        manifests=_descriptors(document, "manifests") if kind is Kind.INDEX else (),
        subject=_descriptor(document["subject"], "subject") if document.get("subject") is not None else None,
        artifact_type=_text(document, "artifactType") or (blobs[0].media_type if blobs else ""),
        annotations=_annotations(document),
    )


def parse_named(digest: Digest, content: bytes, content_type: str) -> Manifest | None:
    """Return the manifest that stored content is, or None where it is none, or another than the digest names."""
    try:
        return parse(content, content_type) if digest.matches(content) else None
    except RegistryError:
        return None


def _json_object(content: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        _invalid(f"the manifest is not JSON: {error.msg}")
    if not isinstance(document, dict):
        _invalid("a manifest is a JSON object")
    return document


def _media_type(document: Mapping[str, Any], sent: str) -> str:
    """Return the manifest's type from header and field; a missing one of the two is taken from the other."""
    stated = _text(document, "mediaType")
    if sent in SCHEMA_1 or stated in SCHEMA_1 or document.get("schemaVersion") == 1:
        _invalid("schema 1 manifests are not supported: push the image with a client of 2017 or later")
    media_type = sent or stated or _guessed_type(document)
    if media_type not in KINDS:
        _invalid(f"manifests of type {media_type[:200]!r} are not supported: use one of {', '.join(KINDS)}")
    if stated and stated != media_type:
        _invalid(f"Content-Type says {media_type}, the field mediaType {stated[:200]!r}")
    return media_type


def _guessed_type(document: Mapping[str, Any]) -> str:
    return OCI_INDEX if "manifests" in document else OCI_MANIFEST


def _image_blobs(document: Mapping[str, Any]) -> tuple[Descriptor, ...]:
    """Return the config and then the layers, in order."""
    return (_descriptor(document.get("config"), "config"), *_descriptors(document, "layers"))


def _descriptors(document: Mapping[str, Any], name: str) -> tuple[Descriptor, ...]:
    entries = document.get(name)
    if not isinstance(entries, list):
        _invalid(f"{name} must be a list of descriptors")
    return tuple(_descriptor(entry, f"{name}[{index}]") for index, entry in enumerate(entries))


def _descriptor(entry: object, where: str) -> Descriptor:
    if not isinstance(entry, dict):
        _invalid(f"{where} must be a descriptor: an object with mediaType, digest and size")
    size = entry.get("size")
    if type(size) is not int or not 0 <= size <= MAX_CONTENT:
        _invalid(f"{where}.size must be a whole number of bytes")
    urls = _or_default(entry.get("urls"), [])
    if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
        _invalid(f"{where}.urls must be a list of URLs")
    media_type = _text(entry, "mediaType", where)
    if not media_type:
        _invalid(f"{where}.mediaType is missing")
    return Descriptor(media_type, _digest(entry.get("digest"), where), size, tuple(urls))


def _digest(value: object, where: str) -> Digest:
    if not isinstance(value, str):
        _invalid(f"{where}.digest is missing")
    try:
        return Digest.parse(value)
    except RegistryError as error:
        _invalid(f"{where}.digest: {error.message}")


def _annotations(document: Mapping[str, Any]) -> Mapping[str, str]:
    value = _or_default(document.get("annotations"), {})
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        _invalid("annotations must map names to texts")
    return value


def _text(document: Mapping[str, Any], name: str, where: str = "") -> str:
    value = _or_default(document.get(name), "")
    if not isinstance(value, str):
        _invalid(f"{where + '.' if where else ''}{name} must be a text")
    return value


def _or_default(value: Any, default: Any) -> Any:
    """Return `default` for a field that is missing or null; anything else must have the right type."""
    return default if value is None else value


def _invalid(message: str, *, status: int = 0) -> NoReturn:
    raise RegistryError(ErrorCode.MANIFEST_INVALID, message, status=status)
