"""What kind of thing a manifest is, in Harbor's words: the type of an artifact, and the type of an accessory.

Pure: everything follows from media types, annotations and tags.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import RegistryError
from chalicelib.oci.manifests import Kind, Manifest

IMAGE, CHART, CNAB, WASM, CNAI, SBOM, UNKNOWN = "IMAGE", "CHART", "CNAB", "WASM", "CNAI", "SBOM", "UNKNOWN"

TYPES: Mapping[str, str] = MappingProxyType(
    {
        "application/vnd.oci.image.config.v1+json": IMAGE,
        "application/vnd.docker.container.image.v1+json": IMAGE,
        "application/vnd.cncf.helm.config.v1+json": CHART,
        "application/vnd.cnab.config.v1+json": CNAB,
        "application/vnd.wasm.config.v0+json": WASM,
        "application/vnd.wasm.config.v1+json": WASM,
        "application/vnd.cnai.model.config.v1+json": CNAI,
        "application/vnd.cncf.model.config.v1+json": CNAI,
        "application/vnd.goharbor.harbor.sbom.v1": SBOM,
    }
)
# application/vnd.<organisation>.<type>.config.<version>+json
_TYPED = re.compile(r"application/vnd\.[^.]*\.(.*)\.config\.[^.]*", re.ASCII)

COSIGN, NOTATION, HARBOR_SBOM = "signature.cosign", "signature.notation", "sbom.harbor"
NYDUS, SUBJECT = "accelerator.nydus", "subject.accessory"
# Those that live and die with their subject.
HARD = frozenset({COSIGN, NOTATION, HARBOR_SBOM, NYDUS, SUBJECT})

ACCESSORIES: Mapping[str, str] = MappingProxyType(
    {
        "application/vnd.dev.cosign.artifact.sig.v1+json": COSIGN,
        "application/vnd.dev.sigstore.bundle.v0.3+json": COSIGN,
        "application/vnd.cncf.notary.signature": NOTATION,
        "application/vnd.goharbor.harbor.sbom.v1": HARBOR_SBOM,
    }
)
# Cosign's older way: the tag says whose signature, attestation or SBOM an image without a subject is.
_ATTACHED = re.compile(r"(?P<algorithm>sha256)-(?P<hex>[0-9a-f]{64})\.(?P<suffix>sig|att|sbom)", re.ASCII)
_SUFFIXES: Mapping[str, str] = MappingProxyType({"sig": COSIGN, "att": SUBJECT, "sbom": SUBJECT})
_ACCELERATED = "io.goharbor.artifact.v1alpha1.acceleration.source.digest"


class Relation(NamedTuple):
    """That something is an accessory: of which digest, and of what type."""

    subject: str
    type: str


def artifact_type(manifest: Manifest) -> str:
    """Return the type of an artifact; an index is taken for an image, as Harbor does."""
    if manifest.kind is Kind.INDEX:
        return TYPES.get(manifest.artifact_type, IMAGE)
    for media_type in (manifest.blobs[0].media_type, manifest.artifact_type):
        if media_type in TYPES:
            return TYPES[media_type]
        match = _TYPED.fullmatch(media_type)
        if match:
            return match[1].upper()
    return UNKNOWN


def relation(manifest: Manifest) -> Relation | None:
    """Return whose accessory a manifest says it is, or None."""
    if manifest.subject:
        known = (manifest.artifact_type, manifest.blobs[0].media_type if manifest.blobs else "")
        kind = next((ACCESSORIES[name] for name in known if name in ACCESSORIES), SUBJECT)
        return Relation(str(manifest.subject.digest), kind)
    return _accelerated(manifest)


def _accelerated(manifest: Manifest) -> Relation | None:
    try:
        return Relation(str(Digest.parse(manifest.annotations.get(_ACCELERATED, ""))), NYDUS)
    except RegistryError:
        return None


def attached(tag: str) -> Relation | None:
    """Return whose accessory the thing with this tag is, or None where the tag says nothing about it."""
    match = _ATTACHED.fullmatch(tag)
    return Relation(f"{match['algorithm']}:{match['hex']}", _SUFFIXES[match["suffix"]]) if match else None
