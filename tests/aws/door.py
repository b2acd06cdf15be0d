"""One host in front of the emulated API and the relay, as CloudFront is: by path, with the client's Host passed on.

What it does beside that makes ministack more like AWS, or the registry reachable without TLS:
* a HEAD is answered with a length of 0, as API Gateway does, whatever the function said;
* bodies above what a function takes are refused, as API Gateway and Lambda do;
* challenges lead to http, since there is no certificate for 127.0.0.1.
"""

import asyncio
import io
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from threading import Thread
from typing import Any

from aiohttp import ClientSession, ClientTimeout, web

from tests.engines.process import HOST

# Lambda takes 6 MB of an event, in which a body is base64.
LARGEST_BODY = 4_500_000
_STAGES = ("/v2", "/service", "/api", "/c")
_HOP = {
    "connection",
    "keep-alive",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "content-length",
    "host",
    "expect",
}
_TO_BUCKET = ("/repositories/*", "/data/*")
_TO_RELAY = "/v2/*/blobs/uploads/*"


@dataclass(frozen=True, slots=True)
class Behind:
    """What the door leads to: the API's address, the relay's ("" for none), and the bucket's."""

    api: str
    relay: str
    bucket: str


@dataclass(slots=True)
class Door:
    """The door of one `Behind`; it counts what it passed to each."""

    behind: Behind
    passed: dict[str, int]
    session: ClientSession | None = None

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Pass a request on and its answer back."""
        path = request.raw_path.partition("?")[0]
        if self.behind.relay and fnmatchcase(path, _TO_RELAY):
            return await self._pass(request, "relay", self.behind.relay + request.raw_path, request.content)
        if any(fnmatchcase(path, pattern) for pattern in _TO_BUCKET):
            return await self._head_of_bucket(request)
        if not path.startswith(_STAGES):
            return _document(403, "Missing Authentication Token")
        # Not `request.read()`, which has a limit of its own.
        body = await request.content.read()
        if len(body) > LARGEST_BODY:
            return _document(413, "Request Too Long")
        return await self._pass(request, "api", self.behind.api + request.raw_path, body)

    async def _head_of_bucket(self, request: web.BaseRequest) -> web.StreamResponse:
        """Do as the functions at CloudFront: the digest goes from the query into the answer."""
        query, _, digest = request.raw_path.partition("?")[2].rpartition("&_digest=")
        answer = await self._pass(request, "bucket", f"{self.behind.bucket}{request.path}?{query}", b"")
        answer.headers["Docker-Content-Digest"] = digest
        return answer

    async def _pass(self, request: web.BaseRequest, to: str, url: str, body: Any) -> web.Response:
        assert self.session is not None
        self.passed[to] = self.passed.get(to, 0) + 1
        sent = self._sent(request, to, has_body=body != b"")
        # aiohttp warns of long bytes: a file is sent piece by piece.
        content = io.BytesIO(body) if isinstance(body, bytes) and body else body or None
        async with self.session.request(
            request.method, _raw(url), headers=sent, data=content, allow_redirects=False
        ) as answer:
            return _answer(request.method, to, answer.status, answer.headers.items(), await answer.read())

    def _sent(self, request: web.BaseRequest, to: str, *, has_body: bool) -> list[tuple[str, str]]:
        dropped = _HOP | ({"authorization"} if to == "bucket" else set())
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in dropped]
        if to == "api" and self.behind.relay:
            headers.append(("X-Forwarded-Host", request.host))
        if to == "relay":
            headers.append(("Host", request.host))
        if has_body and "content-type" not in request.headers:
            # ministack would take it for text.
            headers.append(("Content-Type", "application/octet-stream"))
        return headers


def _answer(method: str, to: str, status: int, headers: Iterable[tuple[str, str]], content: bytes) -> web.Response:
    response = web.Response(status=status, body=content)
    response.headers.popall("Content-Type", None)
    length = "0"
    for name, value in headers:
        if name.lower() == "content-length":
            length = value
        elif name.lower() not in _HOP:
            reachable = value.replace("https://", "http://") if name == "WWW-Authenticate" else value
            response.headers.add(name, reachable)
    if method == "HEAD":
        response.headers["Content-Length"] = "0" if to == "api" else length
    return response


def _raw(url: str) -> Any:
    from yarl import URL  # noqa: PLC0415 - aiohttp's own

    return URL(url, encoded=True)


def _document(status: int, message: str) -> web.Response:
    return web.Response(status=status, text=json.dumps({"message": message}), content_type="application/json")


@contextmanager
def opened(behind: Behind, port: int) -> Iterator[Door]:
    """Open the door on a port until the block is left."""
    loop = asyncio.new_event_loop()
    door = Door(behind, {})

    async def serve() -> web.ServerRunner:
        door.session = ClientSession(auto_decompress=False, timeout=ClientTimeout(total=300))
        runner = web.ServerRunner(web.Server(door.handle), auto_decompress=False)
        await runner.setup()
        await web.TCPSite(runner, HOST, port).start()
        return runner

    async def close(runner: web.ServerRunner) -> None:
        await runner.cleanup()
        if door.session is not None:
            await door.session.close()

    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(serve(), loop).result(30)
    try:
        yield door
    finally:
        asyncio.run_coroutine_threadsafe(close(runner), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()
