"""Pushing to a registry without a socket, and asking its API; every answer is held against Harbor's description."""

import gzip
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

import orjson

from chalicelib.api.http import Response
from chalicelib.oci.digests import Digest
from chalicelib.oci.manifests import OCI_INDEX, OCI_MANIFEST
from tests.api.asking import Client, basic
from tests.harbor import schema

API = "/api/v2.0"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
CHART_CONFIG = "application/vnd.cncf.helm.config.v1+json"
CHART_LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
COSIGN = "application/vnd.dev.cosign.artifact.sig.v1+json"
Json = dict[str, Any]


def encoded(repository: str) -> str:
    """Return a repository's name below its project as clients write it into a path."""
    return quote(quote(repository, safe=""), safe="") if "/" in repository else repository


@dataclass
class Registry:
    """A registry with the projects `library` (public) and `one` (private), and its administrator."""

    client: Client = field(default_factory=lambda: Client(projects=("library", "one")))

    def __post_init__(self) -> None:
        self.api("PUT", "/projects/library", {"metadata": {"public": "true"}})

    def api(self, method: str, path: str, body: object = None, who: Mapping[str, str] | None = None) -> Response:
        """Ask Harbor's API; the path is as it is on the wire."""
        self.client.headers = dict(basic() if who is None else who)
        target, question, query = (API + path).partition("?")
        content = b"" if body is None else orjson.dumps(body)
        answer = self.client.ask(method, unquote(target) + question + query, content, content_type="application/json")
        schema.check(method, API + path, answer.status, answer.headers, answer.body)
        return answer

    def get(self, path: str, status: int = 200) -> Any:
        """Return the document that a GET brings."""
        answer = self.api("GET", path)
        assert answer.status == status, answer.body
        return orjson.loads(answer.body)

    def blob(self, repository: str, content: bytes) -> str:
        """Push a blob and return its digest."""
        self.client.headers = basic()
        digest = str(Digest.of(content))
        answer = self.client.ask("POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", content)
        assert answer.status == 201, answer.body
        return digest

    def push(self, repository: str, reference: str, document: Json) -> str:
        """Push a manifest and return its digest; the reference "" is the digest itself."""
        self.client.headers = basic()
        content = orjson.dumps(document)
        digest = str(Digest.of(content))
        path = f"/v2/{repository}/manifests/{reference or digest}"
        answer = self.client.ask("PUT", path, content, content_type=document["mediaType"])
        assert answer.status == 201, answer.body
        return digest

    def image(self, repository: str, reference: str, name: str, **fields: Any) -> str:
        """Push an image and return its digest; those of different names differ."""
        history = [{"created": "2026-01-01T00:00:00Z", "created_by": f"COPY {name}"}]
        config = {"architecture": "arm64", "os": "linux", "config": {"Cmd": [name]}, "history": history}
        return self.push(repository, reference, self.document(repository, orjson.dumps(config), name, **fields))

    def document(self, repository: str, config: bytes, name: str, **fields: Any) -> Json:
        """Push the blobs of an image and return its manifest."""
        types = {"config": fields.pop("config_type", CONFIG_TYPE), "layer": fields.pop("layer_type", LAYER_TYPE)}
        layer = fields.pop("layer", f"layer of {name}".encode())
        return {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {
                "mediaType": types["config"],
                "digest": self.blob(repository, config),
                "size": len(config),
            },
            "layers": [{"mediaType": types["layer"], "digest": self.blob(repository, layer), "size": len(layer)}],
            **fields,
        }

    def index(self, repository: str, reference: str, *children: str, **fields: Any) -> str:
        """Push an index of images that were pushed, and return its digest."""
        entries = [
            {
                "mediaType": OCI_MANIFEST,
                "digest": child,
                "size": 1,
                "platform": {"architecture": "arm64", "os": "linux", "os.version": "10"},
            }
            for child in children
        ]
        whole = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries, **fields}
        return self.push(repository, reference, whole)

    def chart(self, repository: str, reference: str, files: Mapping[str, bytes]) -> str:
        """Push a chart and return its digest."""
        config = {"name": "app", "version": "1.2.3", "apiVersion": "v2", "dependencies": [{"name": "db"}]}
        types = {"config_type": CHART_CONFIG, "layer_type": CHART_LAYER}
        document = self.document(repository, orjson.dumps(config), "chart", layer=packed(files), **types)
        return self.push(repository, reference, document)

    def sign(self, repository: str, digest: str, name: str = "signature") -> str:
        """Push a signature of something, and return its digest."""
        subject = {"mediaType": OCI_MANIFEST, "digest": digest, "size": 1}
        return self.image(repository, "", name, subject=subject, artifactType=COSIGN)

    def pull(self, repository: str, reference: str) -> int:
        """Return the status of a pull's first step."""
        self.client.headers = basic()
        return self.client.ask("HEAD", f"/v2/{repository}/manifests/{reference}").status


def packed(files: Mapping[str, bytes]) -> bytes:
    """Return files as a gzipped tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(buffer.getvalue())
