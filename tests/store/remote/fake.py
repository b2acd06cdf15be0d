"""A small registry on this machine that is another one: correct, unless a test tells it what to answer instead.

    with faking() as registry:
        registry.add_blob("a/b", b"content")
        registry.instead("GET", "/v2/a/b/blobs/", answer(429, **{"Retry-After": "7"}))

`asked` has what came, in order. With `auth` it wants Basic or Bearer; its token service is on the same address.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

ACCESS_KEY, ACCESS_SECRET = "robot", "s3cret"
INDEX = "application/vnd.oci.image.index.v1+json"
Answer = Callable[["Handler"], None]


@dataclass(frozen=True)
class Asked:
    """A request as it came; header names are lower case."""

    method: str
    target: str
    headers: dict[str, str]
    content: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query)

    @property
    def form(self) -> dict[str, list[str]]:
        return parse_qs(self.content.decode())


@dataclass
class _Instead:
    method: str
    prefix: str
    answer: Answer
    times: int


@dataclass
class FakeRegistry:
    """What it has, what it was asked, and how it behaves."""

    port: int = 0
    scheme: str = "http"
    auth: str = ""
    page: int = 0
    referrers_api: bool = True
    chunk_min: str = ""
    lifetime: int = 300
    # Bodies are left where they are.
    unread: bool = False
    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    tags: dict[tuple[str, str], str] = field(default_factory=dict)
    uploads: dict[str, bytearray] = field(default_factory=dict)
    tokens: dict[str, set[str]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    replaced: list[_Instead] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def add_blob(self, repository: str, content: bytes) -> str:
        digest = digest_of(content)
        self.blobs[repository, digest] = content
        return digest

    def add_manifest(self, repository: str, content: bytes, media_type: str, tag: str = "") -> str:
        digest = digest_of(content)
        self.manifests[repository, digest] = (media_type, content)
        if tag:
            self.tags[repository, tag] = digest
        return digest

    def instead(self, method: str, prefix: str, answer: Answer, times: int = 1 << 30) -> None:
        """Answer so where this is asked, so many times."""
        self.replaced.append(_Instead(method, prefix, answer, times))

    def methods(self) -> list[str]:
        return [each.method for each in self.asked]


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def answer(status: int, content: bytes = b"", **headers: str) -> Answer:
    """Return an answer; `_` in a header's name is a dash."""

    def answering(handler: Handler) -> None:
        handler.give(status, content, {name.replace("_", "-"): value for name, value in headers.items()})

    return answering


class Handler(BaseHTTPRequestHandler):
    """One request to the registry of the server."""

    protocol_version = "HTTP/1.1"
    registry: FakeRegistry

    def give(self, status: int, content: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        given = headers or {}
        for name, value in given.items():
            self.send_header(name, value)
        if status != 204 and "Content-Length" not in given and "Transfer-Encoding" not in given:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(self.spoil(content))

    def refuse(self, status: int, code: str) -> None:
        document = {"errors": [{"code": code, "message": f"no: {code.lower()}"}]}
        self.give(status, json.dumps(document).encode(), {"Content-Type": "application/json"})

    def handle_one(self) -> None:
        content = self._content()
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.asking = Asked(self.command, self.path, headers, content)
        # What becomes of content on its way: an answer may set another, and `route`.
        self.spoil: Callable[[bytes], bytes] = bytes
        self.registry.asked.append(self.asking)
        for each in self.registry.replaced:
            if each.times and each.method == self.command and self.path.startswith(each.prefix):
                each.times -= 1
                each.answer(self)
                return
        self.route()

    do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = do_DELETE = handle_one  # noqa: N815 - so they are named there

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - so it is named there
        """Say nothing."""

    def _content(self) -> bytes:
        if self.registry.unread:
            self.close_connection = True
            return b""
        if self.headers.get("transfer-encoding", "") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", "0")))
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def route(self) -> None:
        """Answer as a registry does."""
        path = self.asking.path
        if path == "/token":
            self._token()
        elif self.admitted():
            if path == "/v2/":
                self.give(200, b"{}")
                return
            for pattern, method in _ROUTES:
                if match := re.fullmatch(pattern, path):
                    getattr(self, method)(**match.groupdict())
                    return
            self.refuse(404, "NAME_UNKNOWN")

    def admitted(self) -> bool:
        """Tell whether the request may go on; else it was answered."""
        if self._is_admitted():
            return True
        challenge = {
            "basic": 'Basic realm="fake"',
            "bearer": f'Bearer realm="{self.registry.url}/token",service="fake",scope="{self._scope()}"',
        }[self.registry.auth]
        document = b'{"errors":[{"code":"UNAUTHORIZED","message":"log in"}]}'
        self.give(401, document, {"WWW-Authenticate": challenge})
        return False

    def _scope(self) -> str:
        match = re.match(r"/v2/(.+)/(?:manifests|blobs|tags|referrers)/", self.path)
        actions = "pull" if self.command in ("GET", "HEAD") else "pull,push"
        return f"repository:{match[1]}:{actions}" if match else ""

    def _is_admitted(self) -> bool:
        sent = self.asking.headers.get("authorization", "")
        match self.registry.auth:
            case "":
                return True
            case "basic":
                return sent == basic(ACCESS_KEY, ACCESS_SECRET)
        scopes = self.registry.tokens.get(sent.removeprefix("Bearer "))
        return scopes is not None and (not self._scope() or any(self._scope() in each for each in scopes))

    def _token(self) -> None:
        given = self.asking.headers.get("authorization")
        form = self.asking.form
        known = given in (None, basic(ACCESS_KEY, ACCESS_SECRET))
        if form:
            known = form.get("password") == [ACCESS_SECRET] or form.get("refresh_token") == [ACCESS_SECRET]
        if not known:
            self.give(401, b"{}")
            return
        token = f"token-{len(self.registry.tokens)}"
        scopes = self.asking.query.get("scope", form.get("scope", []))
        self.registry.tokens[token] = {scope for each in scopes for scope in each.split()}
        self.give(200, json.dumps({"token": token, "expires_in": self.registry.lifetime}).encode())

    def manifest(self, name: str, reference: str) -> None:
        registry = self.registry
        if self.command == "PUT":
            media_type = self.headers["content-type"]
            digest = registry.add_manifest(
                name, self.asking.content, media_type, "" if ":" in reference else reference
            )
            subject = (json.loads(self.asking.content).get("subject") or {}).get("digest", "")
            told = {"OCI-Subject": subject} if subject and registry.referrers_api else {}
            self.give(201, b"", {"Docker-Content-Digest": digest, **told})
            return
        digest = reference if ":" in reference else registry.tags.get((name, reference), "")
        if (name, digest) not in registry.manifests:
            self.refuse(404, "MANIFEST_UNKNOWN")
        elif self.command == "DELETE":
            self._delete(name, reference)
        else:
            media_type, content = registry.manifests[name, digest]
            self.give(200, content, {"Content-Type": media_type, "Docker-Content-Digest": digest})

    def _delete(self, name: str, reference: str) -> None:
        registry = self.registry
        if ":" in reference:
            del registry.manifests[name, reference]
        gone = [key for key, digest in registry.tags.items() if key[0] == name and reference in (key[1], digest)]
        for key in gone:
            del registry.tags[key]
        self.give(202)

    def blob(self, name: str, digest: str) -> None:
        content = self.registry.blobs.get((name, digest))
        if content is None:
            self.refuse(404, "BLOB_UNKNOWN")
            return
        match = re.fullmatch(r"bytes=(\d+)-", self.asking.headers.get("range", ""))
        start = int(match[1]) if match else 0
        part = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if match else {}
        self.give(206 if match else 200, content[start:], {"Docker-Content-Digest": digest, **part})

    def begin(self, name: str) -> None:
        query, registry = self.asking.query, self.registry
        source = (query.get("from", [""])[0], query.get("mount", [""])[0])
        if source in registry.blobs:
            registry.add_blob(name, registry.blobs[source])
            self.give(201)
            return
        place = f"{len(registry.uploads)}"
        registry.uploads[place] = bytearray()
        least = {"OCI-Chunk-Min-Length": registry.chunk_min} if registry.chunk_min else {}
        self.give(202, b"", {"Location": f"/v2/{name}/blobs/uploads/{place}?state=a%2Fb", "Range": "0-0", **least})

    def upload(self, name: str, place: str) -> None:
        registry = self.registry
        if place not in registry.uploads:
            self.refuse(404, "BLOB_UPLOAD_UNKNOWN")
            return
        held = registry.uploads[place]
        match self.command:
            case "GET":
                self._stands(204, name, place)
            case "DELETE":
                del registry.uploads[place]
                self.give(204)
            case "PATCH":
                span = self.asking.headers.get("content-range", f"{len(held)}-")
                if span.partition("-")[0] != str(len(held)):
                    self._stands(416, name, place)
                    return
                held += self.asking.content
                self._stands(202, name, place)
            case "PUT":
                held += self.asking.content
                digest = self.asking.query["digest"][0]
                if digest != digest_of(bytes(held)):
                    self.refuse(400, "DIGEST_INVALID")
                    return
                registry.add_blob(name, bytes(registry.uploads.pop(place)))
                self.give(201, b"", {"Docker-Content-Digest": digest})

    def _stands(self, status: int, name: str, place: str) -> None:
        last = max(len(self.registry.uploads[place]) - 1, 0)
        headers = {"Location": f"/v2/{name}/blobs/uploads/{place}?state=a%2Fb", "Range": f"0-{last}"}
        self.give(status, b"", headers)

    def list_tags(self, name: str) -> None:
        tags = sorted(tag for repository, tag in self.registry.tags if repository == name)
        if not any(each[0] == name for each in (*self.registry.manifests, *self.registry.blobs)):
            self.refuse(404, "NAME_UNKNOWN")
            return
        self._list("tags", tags)

    def catalog(self) -> None:
        self._list("repositories", sorted({each[0] for each in self.registry.manifests}))

    def _list(self, field_name: str, entries: list[str]) -> None:
        last = self.asking.query.get("last", [""])[0]
        rest = [each for each in entries if each > last]
        page = rest[: self.registry.page or None]
        more = len(page) < len(rest)
        link = {"Link": f'<{self.asking.path}?n=1&last={page[-1]}>; rel="next"'} if more else {}
        self.give(200, json.dumps({field_name: page or None}).encode(), {"Content-Type": "application/json", **link})

    def list_referrers(self, name: str, digest: str) -> None:
        if not self.registry.referrers_api:
            self.refuse(404, "UNSUPPORTED")
            return
        found = [
            {"mediaType": media_type, "digest": each, "size": len(content)}
            for (repository, each), (media_type, content) in self.registry.manifests.items()
            if repository == name and (json.loads(content).get("subject") or {}).get("digest") == digest
        ]
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": found}
        self.give(200, json.dumps(document).encode(), {"Content-Type": INDEX})


_NAME = r"/v2/(?P<name>.+)"
_ROUTES = (
    (r"/v2/_catalog", "catalog"),
    (rf"{_NAME}/manifests/(?P<reference>[^/]+)", "manifest"),
    (rf"{_NAME}/blobs/uploads/", "begin"),
    (rf"{_NAME}/blobs/uploads/(?P<place>[^/]+)", "upload"),
    (rf"{_NAME}/blobs/(?P<digest>[^/]+)", "blob"),
    (rf"{_NAME}/tags/list", "list_tags"),
    (rf"{_NAME}/referrers/(?P<digest>[^/]+)", "list_referrers"),
)


def basic(name: str, secret: str) -> str:
    return f"Basic {base64.b64encode(f'{name}:{secret}'.encode()).decode()}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that went away, as some tests want."""


@contextmanager
def faking(context: ssl.SSLContext | None = None, auth: str = "") -> Iterator[FakeRegistry]:
    """Run a registry; `context` makes it one on https."""
    registry = FakeRegistry(auth=auth, scheme="https" if context else "http")
    handler = type("Bound", (Handler,), {"registry": registry})
    server = _Server(("127.0.0.1", 0), handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    registry.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
