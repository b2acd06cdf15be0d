"""Kills at every S3 request of a push: what was acknowledged is there, what is there is whole, and a push again works.

The server is killed (SIGKILL) when its n-th request reaches S3, or when S3 has answered it and the server does not
know yet, for every n of a whole push: a small blob, a blob in chunks and parts, a config, a manifest, a tag that moves.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import orjson
import pytest
from mypy_boto3_s3 import S3Client

from tests.engines import Engine
from tests.engines.proxy import Phase, Proxy, forwarding
from tests.server.pushing import (
    MiB,
    begin,
    chunked,
    content,
    digest,
    image,
    pull_blob,
    push_blob,
    push_manifest,
)
from tests.server.running import Server, over, started
from tests.server.wire import ClosedError

# Chunks that need a multipart upload of more than one part.
_CHUNKS = (17 * MiB, 2 * MiB)
_STRIDE = 16
# All of them are tried in so many shares, which workers take side by side.
_SHARES = 4
_START_REQUESTS = 1


@dataclass(slots=True)
class Push:
    """A push to one repository, and what of it was acknowledged."""

    repository: str
    blobs: list[bytes] = field(default_factory=list)
    tags: dict[str, bytes] = field(default_factory=dict)
    upload: tuple[str, int] = ("", 0)

    @property
    def config(self) -> bytes:
        return content(f"{self.repository} config", 300)

    @property
    def small(self) -> bytes:
        return content(f"{self.repository} small", 200_000)

    @property
    def chunks(self) -> tuple[bytes, ...]:
        return tuple(content(f"{self.repository} {size}", size) for size in _CHUNKS)

    @property
    def large(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def old(self) -> bytes:
        return image(self.config, [])

    @property
    def new(self) -> bytes:
        return image(self.config, [self.small, self.large])

    def before(self, server: Server) -> None:
        """Push the image that the tag names before."""
        push_blob(server, self.repository, self.config)
        push_manifest(server, self.repository, "moving", self.old)
        self.blobs.append(self.config)
        self.tags["moving"] = self.old

    def do(self, server: Server) -> None:
        """Push everything, and note what the server acknowledges as it does."""
        self._blob(server, self.small)
        self._chunked(server)
        for tag in ("first", "moving", "again"):
            push_manifest(server, self.repository, tag, self.new)
            self.tags[tag] = self.new

    def _blob(self, server: Server, blob: bytes) -> None:
        push_blob(server, self.repository, blob)
        self.blobs.append(blob)

    def _chunked(self, server: Server) -> None:
        self.upload = (begin(server, self.repository), 0)
        for chunk in self.chunks:
            location, received = self.upload
            framed = server.admin | {"Transfer-Encoding": "chunked"}
            answer = server.ask("PATCH", location, framed, chunked([chunk]))
            assert answer.status == 202
            self.upload = (answer.header("location"), received + len(chunk))
        self._finish(server, b"")
        self.upload = ("", 0)

    def _finish(self, server: Server, rest: bytes) -> None:
        answer = server.ask("PUT", f"{self.upload[0]}&digest={digest(self.large)}", None, rest)
        assert answer.status == 201
        self.blobs.append(self.large)

    def check(self, server: Server) -> None:
        """Check that what was acknowledged is there, and that what is there is whole."""
        held = {digest(blob) for blob in (self.config, self.small, self.large) if self._holds(server, blob)}
        listed = server.ask("GET", f"/v2/{self.repository}/tags/list").json()["tags"]
        assert set(listed) >= set(self.tags)
        for tag in listed:
            manifest = self._manifest(server, tag)
            assert manifest in (self.tags.get(tag), self.new)
            assert held >= {part["digest"] for part in orjson.loads(manifest)["layers"]}
        for manifest in self.tags.values():
            assert self._manifest(server, digest(manifest)) == manifest

    def _holds(self, server: Server, blob: bytes) -> bool:
        answer = pull_blob(server, self.repository, digest(blob))
        assert answer.status == 200 or blob not in self.blobs
        assert answer.status != 200 or answer.body == blob
        return answer.status == 200

    def _manifest(self, server: Server, reference: str) -> bytes:
        answer = server.ask("GET", f"/v2/{self.repository}/manifests/{reference}")
        assert (answer.status, digest(answer.body)) == (200, answer.header("docker-content-digest"))
        return answer.body

    def resume(self, server: Server) -> None:
        """Go on with an upload that was not ended, from where the server says it stands."""
        location, acknowledged = self.upload
        if not location:
            return
        status = server.ask("GET", location)
        # Its end may have been reached, and only the answer lost.
        if status.status == 404:
            assert acknowledged == sum(_CHUNKS)
            self._finish(server, b"")
            return
        received = int(status.header("range").removeprefix("0-"))
        received += received > 0
        assert received >= acknowledged
        self.upload = (status.header("location"), received)
        self._finish(server, self.large[received:])


@dataclass(frozen=True, slots=True)
class Site:
    """An S3 service behind a proxy that can kill."""

    engine: Engine
    proxy: Proxy
    folder: Path

    @contextmanager
    def server(self) -> Iterator[Server]:
        """Start a server, and wait until it has nothing more to ask of its own accord."""
        self.proxy.reset()
        with started(["serve", "--json"], self.folder, self._variables()) as server:
            deadline = time.monotonic() + 60
            while not self._idle():
                assert time.monotonic() < deadline, [(one.operation, one.status) for one in self.proxy.snapshot()]
                time.sleep(0.01)
            self.proxy.reset()
            yield server

    def _variables(self) -> dict[str, str]:
        # What jobs ask would be counted among the requests of clients.
        return {**over(self.engine, self.proxy.endpoint), "JOBS": "false"}

    def _idle(self) -> bool:
        """Tell whether the server's own requests at its start are answered."""
        asked = self.proxy.snapshot()
        return len(asked) >= _START_REQUESTS and all(exchange.status for exchange in asked)

    @contextmanager
    def killing(self, server: Server, number: int, phase: Phase) -> Iterator[None]:
        """Kill the server at one S3 request."""

        def kill(at: int, _operation: str, _key: str, now: Phase) -> None:
            if (at, now) == (number, phase):
                os.kill(server.process.pid, signal.SIGKILL)
                raise InterruptedError

        self.proxy.reset()
        self.proxy.hook = kill
        try:
            with suppress(ClosedError, OSError):
                yield
        finally:
            self.proxy.hook = None


@pytest.fixture(scope="module")
def engine(strict_engine: Engine) -> Engine:
    return strict_engine


@pytest.fixture(scope="module")
def site(engine: Engine, s3: S3Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    assert s3.list_buckets()["Buckets"]
    with forwarding(engine.endpoint) as proxy:
        yield Site(engine, proxy, tmp_path_factory.mktemp("crash"))


def _is_killed(site: Site, server: Server, push: Push, number: int, phase: Phase) -> bool:
    """Kill a server at one request of a push; tell whether the push was long enough to be killed there."""
    push.before(server)
    with site.killing(server, number, phase):
        push.do(server)
    killed = server.process.poll() is not None or "again" not in push.tags
    assert not killed or server.process.wait(5) == -signal.SIGKILL
    return killed


def _kill_everywhere(site: Site, phase: Phase, first: int, stride: int) -> None:
    """Kill a server at each of the requests; the one that shows what was left is the next to be killed."""
    tried = 0
    with ExitStack() as servers:
        server = servers.enter_context(site.server())
        for number in count(first, stride):
            push = Push(f"library/{phase}-{number}")
            if not _is_killed(site, server, push, number, phase):
                break
            server = servers.enter_context(site.server())
            push.check(server)
            push.resume(server)
            push.do(server)
            push.check(server)
            tried += 1
    print(f"killed {phase} {tried} S3 requests, every {stride} from {first}")
    assert tried * stride > 30, "the push is shorter than it was, or was not killed"


@pytest.mark.parametrize(("phase", "first"), [("before", 2), ("after", 10)])
def test_some_kills_lose_nothing_that_was_acknowledged(site: Site, phase: Phase, first: int) -> None:
    _kill_everywhere(site, phase, first, _STRIDE)


@pytest.mark.soak
@pytest.mark.parametrize("first", range(1, _SHARES + 1))
@pytest.mark.parametrize("phase", ["before", "after"])
def test_every_kill_loses_nothing_that_was_acknowledged(site: Site, phase: Phase, first: int) -> None:
    _kill_everywhere(site, phase, first, _SHARES)
