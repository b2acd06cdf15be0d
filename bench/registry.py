"""A client of a registry that sends exactly what a benchmark says, and follows no redirect."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import re
import secrets
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlencode, urljoin, urlsplit

from bench.peers import Peer

IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_ACTIONS = "pull,push,delete"
_TIMEOUT = 600
_IDLE_SECONDS = 5.0


class UnexpectedAnswerError(RuntimeError):
    """A registry answered with a status that the benchmark does not know what to do with."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, its body read to the end."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob's digest and size; of the bytes themselves only their maker knows."""

    digest: str
    size: int

    @classmethod
    def of(cls, content: bytes) -> Blob:
        """Return what names `content`."""
        return cls(digest_of(content), len(content))


def digest_of(content: bytes) -> str:
    """Return the SHA-256 digest of `content`."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Registry:
    """One connection to a registry, with the rights it was granted."""

    def __init__(self, peer: Peer, *repositories: str) -> None:
        self.peer = peer
        self._connection = http.client.HTTPConnection(peer.host, peer.port, timeout=_TIMEOUT)
        self._used = time.monotonic()
        self.authorization: Mapping[str, str] = {}
        if repositories:
            self.grant(*repositories)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def grant(self, *repositories: str) -> None:
        """Get a token for everything in these repositories, if the registry asks for one."""
        self.authorization = {}
        challenge = self.call("GET", "/v2/", expect={200, 401}).headers.get("WWW-Authenticate")
        if challenge is None or self.peer.credentials is None:
            return
        asked = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        scopes = [("scope", f"repository:{name}:{_ACTIONS}") for name in repositories]
        path = f"{urlsplit(asked['realm']).path}?{urlencode([('service', asked['service']), *scopes])}"
        basic = base64.b64encode(":".join(self.peer.credentials).encode()).decode()
        answer = self.call("GET", path, headers={"Authorization": f"Basic {basic}"}, expect={200})
        self.authorization = {"Authorization": f"Bearer {json.loads(answer.body)['token']}"}

    def call(
        self,
        method: str,
        path: str,
        *,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        expect: Collection[int],
    ) -> Answer:
        """Send one request; a body that is not bytes goes chunked."""
        chunked = body is not None and not isinstance(body, bytes)
        sent = {**self.authorization, **(headers or {}), **({"Transfer-Encoding": "chunked"} if chunked else {})}
        if method in {"POST", "PUT"} and body is None:
            sent["Content-Length"] = "0"
        self._freshen()
        self._connection.request(method, path, body=body, headers=sent, encode_chunked=chunked)
        with self._connection.getresponse() as response:
            answer = Answer(response.status, response.headers, response.read())
        if answer.status not in expect:
            raise UnexpectedAnswerError(f"{self.peer.name}: {method} {path}: {answer.status} {answer.body[:400]!r}")
        return answer

    def _freshen(self) -> None:
        """Open a new connection where the registry may have closed an idle one."""
        now = time.monotonic()
        if now - self._used > _IDLE_SECONDS:
            self._connection.close()
        self._used = now

    def start_upload(self, repository: str) -> str:
        """Open an upload and return its path."""
        return self._location(self.call("POST", f"/v2/{repository}/blobs/uploads/", expect={202}))

    def patch_upload(self, location: str, body: bytes | Iterable[bytes]) -> str:
        """Send bytes to an upload and return the path to go on with."""
        headers = {"Content-Type": "application/octet-stream"}
        return self._location(self.call("PATCH", location, body=body, headers=headers, expect={202}))

    def finish_upload(self, location: str, digest: str, body: bytes = b"") -> None:
        """Send the last bytes, if any, and the digest."""
        separator = "&" if "?" in location else "?"
        headers = {"Content-Type": "application/octet-stream"}
        path = f"{location}{separator}digest={quote(digest, safe='')}"
        self.call("PUT", path, body=body, headers=headers, expect={201})

    def push_blob(self, repository: str, content: bytes) -> Blob:
        """Upload with POST and PUT."""
        blob = Blob.of(content)
        self.finish_upload(self.start_upload(repository), blob.digest, content)
        return blob

    def put_manifest(self, repository: str, reference: str, manifest: bytes, media_type: str = IMAGE) -> None:
        """Put a manifest by tag or digest."""
        path = f"/v2/{repository}/manifests/{reference}"
        self.call("PUT", path, body=manifest, headers={"Content-Type": media_type}, expect={201})

    @staticmethod
    def _location(answer: Answer) -> str:
        split = urlsplit(urljoin("/", answer.headers["Location"]))
        return f"{split.path}?{split.query}" if split.query else split.path


def image(config: Blob, layers: Sequence[Blob]) -> bytes:
    """Return an image manifest that no other has the digest of."""
    return _document(
        IMAGE,
        config=_descriptor(_CONFIG, config),
        layers=[_descriptor(_LAYER, layer) for layer in layers],
    )


def empty_index() -> bytes:
    """Return an index of nothing: the cheapest manifest there is to put."""
    return _document(INDEX, manifests=[])


def _document(media_type: str, **fields: object) -> bytes:
    nonce = {"benchmark": secrets.token_hex(8)}
    return json.dumps({"schemaVersion": 2, "mediaType": media_type, **fields, "annotations": nonce}).encode()


def _descriptor(media_type: str, blob: Blob) -> dict[str, object]:
    return {"mediaType": media_type, "digest": blob.digest, "size": blob.size}
