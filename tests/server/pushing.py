"""Pushes and pulls as clients do them, against a server under test; whatever is pulled is checked against its digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import urlsplit

import orjson

from tests.server.running import Server
from tests.server.wire import Answer, connected, request

MiB = 1 << 20
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
IMAGE_TYPE = "application/vnd.oci.image.manifest.v1+json"
_FILLER = 1 << 16


def content(name: str, size: int) -> bytes:
    """Return bytes that look like nothing else, the same for a name every time."""
    block = hashlib.shake_256(name.encode()).digest(min(size, _FILLER))
    return (block * (size // max(len(block), 1) + 1))[:size]


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def descriptor(data: bytes, media_type: str) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest(data), "size": len(data)}


def image(config: bytes, layers: Sequence[bytes]) -> bytes:
    """Return the manifest of an image."""
    return orjson.dumps(
        {
            "schemaVersion": 2,
            "mediaType": IMAGE_TYPE,
            "config": descriptor(config, CONFIG_TYPE),
            "layers": [descriptor(layer, LAYER_TYPE) for layer in layers],
        }
    )


def begin(server: Server, repository: str) -> str:
    """Begin an upload and return its address."""
    answer = server.ask("POST", f"/v2/{repository}/blobs/uploads/")
    assert answer.status == 202, answer
    return answer.header("location")


def received(server: Server, location: str) -> int:
    """Return how many bytes an upload has, by its status; one byte looks like none, and is not asked for here."""
    answer = server.ask("GET", location)
    assert answer.status == 204, answer
    first, _, last = answer.header("range").partition("-")
    assert first == "0"
    return int(last) + 1 if int(last) else 0


def push_blob(server: Server, repository: str, data: bytes) -> str:
    """Push a blob in a POST and a PUT; return its digest."""
    answer = server.ask("PUT", f"{begin(server, repository)}&digest={digest(data)}", None, data)
    assert answer.status == 201, answer
    return digest(data)


def push_chunked(server: Server, repository: str, chunks: Sequence[bytes]) -> str:
    """Push a blob as docker does: chunked PATCHes, then an empty PUT; return its digest."""
    location = begin(server, repository)
    for chunk in chunks:
        answer = server.ask("PATCH", location, server.admin | {"Transfer-Encoding": "chunked"}, chunked([chunk]))
        assert answer.status == 202, answer
        location = answer.header("location")
    name = digest(b"".join(chunks))
    answer = server.ask("PUT", f"{location}&digest={name}")
    assert answer.status == 201, answer
    return name


def push_manifest(server: Server, repository: str, reference: str, manifest: bytes) -> str:
    """Push a manifest and return its digest."""
    typed = server.admin | {"Content-Type": IMAGE_TYPE}
    answer = server.ask("PUT", f"/v2/{repository}/manifests/{reference}", typed, manifest)
    assert answer.status == 201, answer
    return answer.header("docker-content-digest")


def chunked(chunks: Sequence[bytes]) -> bytes:
    """Return a body in chunks; empty ones are left out, since they would end it."""
    return b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*filter(None, chunks), b""))


def pull_blob(server: Server, repository: str, name: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Get a blob, following the redirect to wherever it leads."""
    answer = server.ask("GET", f"/v2/{repository}/blobs/{name}")
    if answer.status != 307:
        return answer
    return follow(server, answer.header("location"), headers or {})


def follow(server: Server, location: str, headers: Mapping[str, str], method: str = "GET") -> Answer:
    """Go to an address that a redirect gave, on this host or another."""
    parts = urlsplit(location)
    address = (parts.hostname, parts.port or 80) if parts.hostname else server.address
    with connected(address) as wire:
        wire.send(request(method, f"{parts.path}?{parts.query}", {"Host": _host(address), **headers}))
        return wire.answer(method)


def _host(address: tuple[str, int]) -> str:
    return f"{address[0]}:{address[1]}"


def pulled(server: Server, repository: str, reference: str) -> Iterator[bytes]:
    """Yield a manifest and then every blob it names; each is whole and is what its digest says."""
    answer = server.ask("GET", f"/v2/{repository}/manifests/{reference}")
    assert answer.status == 200, answer
    assert digest(answer.body) == answer.header("docker-content-digest")
    yield answer.body
    document = answer.json()
    for part in (document["config"], *document["layers"]):
        blob = pull_blob(server, repository, part["digest"])
        assert (blob.status, digest(blob.body)) == (200, part["digest"])
        yield blob.body
