"""Artifacts as real tools push them: an image with a history, a chart, and a signature of either."""

from __future__ import annotations

import gzip
import io
import tarfile
from dataclasses import dataclass
from typing import Any

import orjson

from tests.server.pushing import (
    CONFIG_TYPE,
    IMAGE_TYPE,
    LAYER_TYPE,
    content,
    descriptor,
    digest,
    push_blob,
    push_manifest,
)
from tests.server.running import Server
from tests.server.wire import basic

CREATED = "2026-03-01T12:00:00Z"
CHART_CONFIG_TYPE = "application/vnd.cncf.helm.config.v1+json"
CHART_LAYER_TYPE = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
SIGNATURE_TYPE = "application/vnd.dev.cosign.artifact.sig.v1+json"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
SIGNED_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
ANNOTATED = {"annotations": {"org.opencontainers.image.title": "a test"}}
_REDIS = {"name": "redis", "version": "1.2.3", "repository": "https://charts.test"}
_CHART = {
    "shop/Chart.yaml": "apiVersion: v2\nname: shop\nversion: 0.1.0\n"
    "dependencies:\n- name: redis\n  version: 1.2.3\n  repository: https://charts.test\n",
    "shop/values.yaml": "replicas: 3\n",
    "shop/README.md": "# A shop\n",
}


@dataclass(frozen=True, slots=True)
class Account(Server):
    """A server as somebody other than the administrator asks it."""

    name: str = ""

    @classmethod
    def of(cls, server: Server, name: str, secret: str) -> Account:
        """Return the server as asked with these credentials."""
        return cls(server.process, server.folder, server.address, secret, name)

    @property
    def admin(self) -> dict[str, str]:
        """Return the headers of this account."""
        return {"Authorization": basic(self.name, self.password)}


@dataclass(frozen=True, slots=True)
class Part:
    """A blob of an artifact and what it is."""

    media_type: str
    data: bytes


def push_image(server: Server, repository: str, tag: str, name: str = "layer") -> str:
    """Push an image of one layer, different for each `name`; return its digest."""
    config = {
        "architecture": "amd64",
        "os": "linux",
        "author": "a shipwright",
        "created": CREATED,
        "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": []},
        "history": [
            {"created": CREATED, "created_by": f"COPY {name} /"},
            {"created": CREATED, "created_by": "CMD sh", "empty_layer": True},
        ],
    }
    parts = Part(CONFIG_TYPE, orjson.dumps(config)), Part(LAYER_TYPE, content(name, 3000))
    return _push(server, repository, tag, parts)


def push_chart(server: Server, repository: str, tag: str) -> str:
    """Push a Helm chart; return its digest."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, text in _CHART.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    config = orjson.dumps({"name": "shop", "version": "0.1.0", "apiVersion": "v2", "dependencies": [_REDIS]})
    chart = gzip.compress(packed.getvalue(), mtime=0)
    return _push(server, repository, tag, (Part(CHART_CONFIG_TYPE, config), Part(CHART_LAYER_TYPE, chart)))


def push_signature(server: Server, repository: str, subject: str) -> str:
    """Push a signature of an artifact of the repository, as cosign does; return its digest."""
    found = server.ask("GET", f"/v2/{repository}/manifests/{subject}")
    assert found.status == 200, found
    signed = {"mediaType": IMAGE_TYPE, "digest": subject, "size": len(found.body)}
    parts = Part(EMPTY_TYPE, b"{}"), Part(SIGNED_TYPE, content(f"signature of {subject}", 200))
    return _push(server, repository, "", parts, artifactType=SIGNATURE_TYPE, subject=signed)


def _push(server: Server, repository: str, tag: str, parts: tuple[Part, Part], **more: Any) -> str:
    """Push a configuration and a layer, and the manifest of both under a tag or only its digest."""
    for part in parts:
        push_blob(server, repository, part.data)
    config, layer = (descriptor(part.data, part.media_type) for part in parts)
    manifest = orjson.dumps(
        {"schemaVersion": 2, "mediaType": IMAGE_TYPE, "config": config, "layers": [layer], **ANNOTATED, **more}
    )
    return push_manifest(server, repository, tag or digest(manifest), manifest)
