"""What S3 says of a manifest that is worth a record: its type, sizes, the attributes in its config, its children.

Invariants:
* A description follows from S3 alone. What S3 lacks or holds damaged is left out of it, never an error: an index of
  which only some children are here counts those.
* What clients wrote freely is bounded, so that every record fits into the database and a page of them into memory.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from chalicelib.oci import manifests as oci
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.manifests import Descriptor, Kind, Manifest
from chalicelib.oci.names import Repository
from chalicelib.store import blobs, manifests
from chalicelib.store.content import Content
from chalicelib.store.index import kinds
from chalicelib.store.index.kinds import CHART, CNAI, IMAGE, WASM

_LARGEST_CONFIG = 1 << 20
_LARGEST_MAP = 48 * 1024
_LARGEST_TEXT = 4096
_DEEPEST = 3
_MOST_CHILDREN = 10_000
_IMAGE_FIELDS = ("architecture", "author", "created", "os")
_DESCRIBED = frozenset({IMAGE, CHART, CNAI, WASM})


@dataclass(frozen=True, slots=True)
class Description:
    """A manifest's record as S3 has it, and an index's children in their order."""

    document: Mapping[str, Any]
    children: tuple[Mapping[str, Any], ...]


def read(content: Content, repository: Repository, digest: Digest) -> Manifest | None:
    """Return the manifest that the repository has, or None where it has none, a damaged or a retired one."""
    try:
        stored = manifests.get(content, repository, digest)
        return None if stored.retired else oci.parse(stored.content, stored.media_type)
    except RegistryError as error:
        if error.code is ErrorCode.UNAVAILABLE:
            raise
        return None


def describe(
    content: Content, repository: Repository, digest: Digest, manifest: Manifest, *, deep: bool = True
) -> Description:
    """Return what is worth knowing of a manifest; reads an index's children for sizes and, if `deep`, the config.

    A push has no time for the config: its attributes are None until somebody looks at them (`attributes`).
    """
    kind = kinds.artifact_type(manifest)
    relation = kinds.relation(manifest)
    own = len(manifest.content) + sum(blob.size for blob in manifest.blobs)
    children = _children(manifest)
    document = {
        "digest": str(digest),
        "type": kind,
        "media_type": manifest.blobs[0].media_type if manifest.blobs else manifest.media_type,
        "manifest_media_type": manifest.media_type,
        "artifact_type": manifest.artifact_type or manifest.media_type,
        "size": own + _sizes(content, repository, manifest),
        "bytes": own,
        "extra_attrs": _attributes(content, repository, manifest, kind)
        if deep or not _has_more(manifest, kind)
        else None,
        "config": _config(manifest),
        "annotations": bounded(manifest.annotations),
        "subject": relation.subject if relation else "",
        "accessory": relation.type if relation else "",
        "children": len(children),
    }
    return Description(document, children)


def _children(manifest: Manifest) -> tuple[Mapping[str, Any], ...]:
    if manifest.kind is not Kind.INDEX:
        return ()
    entries = orjson.loads(manifest.content)["manifests"][:_MOST_CHILDREN]
    return tuple(
        {
            "digest": entry["digest"],
            "platform": bounded(_mapping(entry.get("platform")), _LARGEST_TEXT),
            "annotations": bounded(_mapping(entry.get("annotations")), _LARGEST_TEXT),
            "urls": list(entry.get("urls") or [])[:10],
        }
        for entry in entries
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def bounded(value: Mapping[str, Any], largest: int = _LARGEST_MAP) -> Mapping[str, Any]:
    """Return the members of an object that fit into `largest` bytes of JSON together, in their order."""
    kept: dict[str, Any] = {}
    for name, member in value.items():
        largest -= len(orjson.dumps({name: member}))
        if largest < 0:
            break
        kept[name] = member
    return kept


def _sizes(content: Content, repository: Repository, manifest: Manifest) -> int:
    """Return the bytes of the manifests below an index and of what they refer to, each counted once."""
    total, seen = 0, set[Digest]()
    level = _digests(manifest.manifests)
    for _ in range(_DEEPEST):
        new = [digest for digest in level if digest not in seen][:_MOST_CHILDREN]
        seen |= set(new)
        found = content.together(lambda digest: read(content, repository, digest), new)
        below = [child for child in found if child]
        total += sum(len(child.content) + sum(blob.size for blob in child.blobs) for child in below)
        level = _digests(grandchild for child in below for grandchild in child.manifests)
    return total


def _digests(descriptors: Iterable[Descriptor]) -> tuple[Digest, ...]:
    return tuple(dict.fromkeys(descriptor.digest for descriptor in descriptors))


def _has_more(manifest: Manifest, kind: str) -> bool:
    """Tell whether the config says something that Harbor shows."""
    return manifest.kind is Kind.IMAGE and kind in _DESCRIBED


def _config(manifest: Manifest) -> Mapping[str, Any]:
    if manifest.kind is not Kind.IMAGE or not manifest.blobs:
        return {}
    return {"digest": str(manifest.blobs[0].digest), "size": manifest.blobs[0].size}


def attributes(content: Content, repository: Repository, document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the config of a described manifest says, read now where nobody has looked at it before."""
    known: Mapping[str, Any] | None = document["extra_attrs"]
    if known is not None:
        return known
    config = document["config"]
    descriptor = Descriptor(document["media_type"], Digest.parse(config["digest"]), config["size"])
    return _shown(read_config(content, repository, descriptor), document["type"])


def _attributes(content: Content, repository: Repository, manifest: Manifest, kind: str) -> Mapping[str, Any]:
    if not _has_more(manifest, kind):
        return {}
    return _shown(read_config(content, repository, manifest.blobs[0]), kind)


def _shown(config: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Return what Harbor shows of a config."""
    if kind != IMAGE:
        return bounded(config)
    shown = {name: config[name] for name in _IMAGE_FIELDS if isinstance(config.get(name), str)}
    runtime = config.get("config")
    return {**bounded(shown, _LARGEST_TEXT), "config": bounded(_mapping(runtime))}


def read_config(content: Content, repository: Repository, descriptor: Descriptor) -> Mapping[str, Any]:
    """Return a config's JSON object, or an empty one where it is not to be had, too large or something else."""
    if descriptor.size > _LARGEST_CONFIG:
        return {}
    blob = blobs.find(content, repository, descriptor.digest)
    found = content.objects.get(blob.key) if blob and blob.size <= _LARGEST_CONFIG else None
    if found is None or not descriptor.digest.matches(found.content):
        return {}
    try:
        return _mapping(orjson.loads(found.content))
    except orjson.JSONDecodeError:
        return {}
