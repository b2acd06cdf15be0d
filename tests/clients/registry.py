"""Own the registry under test: where it is, how it starts and ends, and what it holds as read by no client.

* The reader is independent of the clients: every document is hashed as it is read.
* The server is ours, started with `run`, unless ROADSTEAD_CLIENTS_URL names one that runs already.
"""

import base64
import hashlib
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

ROOT = Path(__file__).parents[2]
INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    *INDEXES,
)
STARTS_WITHIN = 60.0


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer of the registry."""

    status: int
    headers: dict[str, str]
    body: bytes


def ask(authority: str, method: str, target: str, headers: dict[str, str], body: bytes | None = None) -> Answer:
    connection = HTTPConnection(authority, timeout=60)
    try:
        connection.request(method, target, body, headers)
        response: HTTPResponse = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


@dataclass(frozen=True, slots=True)
class Registry:
    """A running registry and the account that the clients use."""

    host: str
    port: int
    user: str
    password: str
    project: str

    @property
    def upstream(self) -> tuple[str, int]:
        return self.host, self.port

    @property
    def _basic(self) -> str:
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    def _authorization(self, challenge: str, repository: str) -> str:
        if not challenge.lower().startswith("bearer"):
            return self._basic
        fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        realm = urlsplit(fields["realm"])
        query = urlencode({"service": fields.get("service", ""), "scope": f"repository:{repository}:pull"})
        answer = ask(realm.netloc, "GET", f"{realm.path}?{query}", {"Authorization": self._basic})
        return f"Bearer {json.loads(answer.body)['token']}"

    def ask(self, method: str, repository: str, rest: str) -> Answer:
        """Ask about a repository, with whatever credentials the registry wants; redirects are followed once."""
        authority, target = f"{self.host}:{self.port}", f"/v2/{repository}/{rest}"
        headers = {"Accept": ", ".join(MANIFESTS)}
        answer = ask(authority, method, target, headers)
        if answer.status == HTTPStatus.UNAUTHORIZED:
            headers["Authorization"] = self._authorization(answer.headers["www-authenticate"], repository)
            answer = ask(authority, method, target, headers)
        if answer.status == HTTPStatus.TEMPORARY_REDIRECT:
            elsewhere = urlsplit(answer.headers["location"])
            answer = ask(elsewhere.netloc or authority, method, f"{elsewhere.path}?{elsewhere.query}", {})
        return answer

    def manifest(self, repository: str, reference: str) -> tuple[str, dict[str, Any]]:
        """Read a manifest; return its digest and what it says."""
        answer = self.ask("GET", repository, f"manifests/{reference}")
        assert answer.status == HTTPStatus.OK, f"no manifest {repository}:{reference}: {answer}"
        digest = sha256(answer.body)
        assert answer.headers.get("docker-content-digest", digest) == digest
        return digest, json.loads(answer.body)

    def has_manifest(self, repository: str, reference: str) -> bool:
        return self.ask("GET", repository, f"manifests/{reference}").status == HTTPStatus.OK

    def whole(self, repository: str, reference: str) -> str:
        """Check that a manifest and all that it names are held, at their true sizes; return its digest."""
        digest, document = self.manifest(repository, reference)
        for each in document.get("manifests", ()):
            assert self.whole(repository, each["digest"]) == each["digest"]
        for blob in (*document.get("layers", ()), *filter(None, [document.get("config")])):
            answer = self.ask("HEAD", repository, f"blobs/{blob['digest']}")
            assert answer.status == HTTPStatus.OK, f"{repository} lacks {blob['digest']}"
            assert int(answer.headers["content-length"]) == blob["size"]
        return digest

    def fix(self, repository: str) -> None:
        """Make the tags of a repository immutable, by Harbor's API."""
        rule = {
            "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": "**"}],
            "scope_selectors": {
                "repository": [
                    {
                        "kind": "doublestar",
                        "decoration": "repoMatches",
                        "pattern": repository.removeprefix(f"{self.project}/"),
                    }
                ]
            },
        }
        target = f"/api/v2.0/projects/{self.project}/immutabletagrules"
        headers = {"Authorization": self._basic, "Content-Type": "application/json"}
        answer = ask(f"{self.host}:{self.port}", "POST", target, headers, json.dumps(rule).encode())
        assert answer.status == HTTPStatus.CREATED, answer

    def referrers(self, repository: str, digest: str) -> list[dict[str, Any]]:
        """List what refers to a manifest, by the referrers API or, where there is none, by its fallback tag."""
        answer = self.ask("GET", repository, f"referrers/{digest}")
        if answer.status == HTTPStatus.NOT_FOUND:
            answer = self.ask("GET", repository, f"manifests/{digest.replace(':', '-')}")
        found: list[dict[str, Any]] = json.loads(answer.body).get("manifests", []) if answer.status == 200 else []
        return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def await_challenge(port: int, server: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < end:
        assert server.poll() is None, f"the server ended: {log.read_text()[-4000:]}"
        try:
            if ask(f"127.0.0.1:{port}", "GET", "/v2/", {}).status == HTTPStatus.UNAUTHORIZED:
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"no 401 from /v2/ within {STARTS_WITHIN:.0f} s: {log.read_text()[-4000:]}")


@contextmanager
def ended(process: "subprocess.Popen[bytes]", sign: signal.Signals, seconds: float = 20) -> Iterator[None]:
    """End a process by its id when the block is left, however it is left."""
    try:
        yield
    finally:
        process.send_signal(sign)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def started(home: Path) -> Iterator[Registry]:
    """Run our own server with data of its own."""
    port, password, log = free_port(), secrets.token_urlsafe(16), home / "server.log"
    environment = os.environ | {
        "PORT": str(port),
        "DATA": str(home / "data"),
        "ROADSTEAD_ADMIN_PASSWORD": password,
    }
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "chalicelib.cli.main", "run"],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    with ended(server, signal.SIGINT):
        await_challenge(port, server, log)
        yield Registry("127.0.0.1", port, "admin", password, "library")


@contextmanager
def under_test(home: Path) -> Iterator[Registry]:
    """Yield the registry that the environment names, or one of our own."""
    url = urlsplit(os.environ.get("ROADSTEAD_CLIENTS_URL", ""))
    if not url.hostname:
        with started(home) as registry:
            yield registry
        return
    yield Registry(
        url.hostname,
        url.port or 80,
        os.environ.get("ROADSTEAD_CLIENTS_USER", "admin"),
        os.environ["ROADSTEAD_CLIENTS_PASSWORD"],
        os.environ.get("ROADSTEAD_CLIENTS_PROJECT", "library"),
    )
