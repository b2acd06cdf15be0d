"""One host in front of what is behind it: CloudFront, as a template describes it, or the API alone.

It is CloudFront after TLS has ended: behaviours, methods, policies and functions are the template's. The rest is
written by AWS: it drops headers of the connection and X-Forwarded-Proto, tells who asks, refuses a GET with a body
and what is too long, and runs no function over an answer of 400 or more. It keeps nothing.

What makes ministack more like AWS, or the registry reachable without TLS:
* a HEAD is answered by the API with a length of 0, as API Gateway does, whatever the function said;
* bodies above what a function takes are refused, as API Gateway and Lambda do;
* challenges lead to http, since there is no certificate for 127.0.0.1.
"""

import asyncio
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import Any, NamedTuple

from aiohttp import ClientSession, ClientTimeout, web
from yarl import URL

from infra.gateway import STAGES
from tests.aws import edge
from tests.aws.distribution import Behavior, Distribution
from tests.engines.process import HOST

# Lambda takes 6 MB of an event, in which a body is base64.
LARGEST_BODY = 4_500_000
# What CloudFront takes: of a URL; and of a request with its headers, but without its body.
LONGEST_URL, LONGEST_REQUEST = 8192, 20_480
API = "api"
_HOP = {
    "connection",
    "expect",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
_CONNECTIONS = _HOP | {"content-length", "host"}
Lines = Sequence[tuple[str, str]]
# From a path with its query, to where that is.
Origin = Callable[[str], str]


def at(url: str) -> Origin:
    """Return the origin whose paths are below an address."""
    return url.__add__


@dataclass(frozen=True, slots=True)
class Behind:
    """What the door leads to: origins by their names in the template, and CloudFront, or the API alone."""

    origins: Mapping[str, Origin]
    front: Distribution | None = None


class Asked(NamedTuple):
    """What an origin is asked."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: Any


class Answered(NamedTuple):
    """What an origin answered, or the door in its place."""

    status: int
    headers: Lines
    body: bytes


class _Refusal(Exception):  # noqa: N818 - an answer, not an error of ours
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.answer = Answered(status, [("Content-Type", "application/json")], _document(message))


@dataclass(slots=True)
class Door:
    """The door of one `Behind`; it counts what it passed to each origin."""

    behind: Behind
    edge: edge.Edge
    passed: dict[str, int]
    session: ClientSession | None = None

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Pass a request on and its answer back."""
        front = self.behind.front
        try:
            answered = await (self._alone(request) if front is None else self._fronted(request, front))
        except _Refusal as refusal:
            answered = refusal.answer
        return _response(request.method, answered)

    async def _alone(self, request: web.BaseRequest) -> Answered:
        kept = _without(request.headers.items(), *_CONNECTIONS)
        return await self._of_api(Asked(request.method, request.raw_path, kept, request.content))

    async def _fronted(self, request: web.BaseRequest, front: Distribution) -> Answered:
        path, _, query = request.raw_path.partition("?")
        behavior = front.taker(path)
        _check(request, behavior)
        viewed = edge.request(request.method, path, query, _viewers(request))
        made = self._function(behavior, edge.event("viewer-request", viewed))
        if made and "statusCode" in made:
            return Answered(made["statusCode"], list(edge.lines(made["headers"])), made.get("body", "").encode())
        forwarded = _forwarded(behavior, made or viewed, request)
        if behavior.origin not in front.s3_origins:
            # S3 would refuse it beside a presigned query that does not sign it.
            forwarded.headers.append(("x-amz-cf-id", "none"))
        answered = await (self._of_api(forwarded) if behavior.origin == API else self._of(behavior.origin, forwarded))
        if answered.status >= web.HTTPBadRequest.status_code:
            return answered
        seen = edge.response(answered.status, answered.headers)
        last = self._function(behavior, edge.event("viewer-response", viewed, seen))
        return answered._replace(headers=list(edge.lines(last["headers"]))) if last else answered

    def _function(self, behavior: Behavior, event: dict[str, Any]) -> dict[str, Any] | None:
        code = behavior.functions.get(event["context"]["eventType"])
        return self.edge.run(code, event) if code else None

    async def _of_api(self, asked: Asked) -> Answered:
        """Ask the API as API Gateway lets itself be asked."""
        if not asked.target.startswith(tuple(f"/{stage}" for stage in STAGES)):
            raise _Refusal(403, "Missing Authentication Token")
        if any(name.lower() == "host" for name, _ in asked.headers):
            raise _Refusal(403, "Forbidden: API Gateway knows itself by its own Host only")
        # Not `request.read()`, which has a limit of its own.
        body = await asked.body.read() if asked.body else b""
        if len(body) > LARGEST_BODY:
            raise _Refusal(413, "Request Too Long")
        headers = _without(asked.headers, "content-length")
        if body and "content-type" not in {name.lower() for name, _ in headers}:
            # ministack would take it for text.
            headers.append(("Content-Type", "application/octet-stream"))
        # aiohttp warns of long bytes: a file is sent piece by piece.
        answered = await self._of(API, Asked(asked.method, asked.target, headers, io.BytesIO(body) if body else None))
        lengths = [("Content-Length", "0")] if asked.method == "HEAD" else []
        return answered._replace(headers=[*_without(answered.headers, "content-length"), *lengths])

    async def _of(self, origin: str, asked: Asked) -> Answered:
        assert self.session is not None
        self.passed[origin] = self.passed.get(origin, 0) + 1
        url = URL(self.behind.origins[origin](asked.target), encoded=True)
        async with self.session.request(
            asked.method, url, headers=asked.headers, data=asked.body, allow_redirects=False
        ) as answer:
            return Answered(answer.status, list(answer.headers.items()), await answer.read())


def _check(request: web.BaseRequest, behavior: Behavior) -> None:
    """Refuse what CloudFront does."""
    size = len(request.raw_path) + sum(len(name) + len(value) + 4 for name, value in request.raw_headers)
    refused = {
        "this distribution does not allow the method": (403, request.method not in behavior.methods),
        "a GET has no body": (403, request.method in ("GET", "HEAD") and request.body_exists),
        "the URL is too long": (414, len(request.raw_path) > LONGEST_URL),
        "the headers are too long": (413, size > LONGEST_REQUEST),
    }
    for message, (status, holds) in refused.items():
        if holds:
            raise _Refusal(status, message)


def _viewers(request: web.BaseRequest) -> Lines:
    """Return the headers that CloudFront's functions see."""
    return _without(request.headers.items(), *_HOP, "content-length", "x-forwarded-proto")


def _forwarded(behavior: Behavior, asked: dict[str, Any], request: web.BaseRequest) -> Asked:
    """Return what the origin is asked: what its policy lets through, and what CloudFront adds."""
    fields = [(name, value) for name, value in edge.lines(asked["querystring"]) if behavior.queries.takes(name)]
    headers = [(name, value) for name, value in edge.lines(asked["headers"]) if behavior.headers.takes(name)]
    before = [value for name, value in headers if name == "x-forwarded-for"]
    headers = [
        *_without(headers, "x-forwarded-for"),
        ("x-forwarded-for", ", ".join([*before, edge.VIEWER])),
        ("via", "1.1 door (CloudFront)"),
    ]
    if "content-length" in request.headers and request.body_exists:
        headers.append(("content-length", request.headers["content-length"]))
    target = asked["uri"] + (f"?{edge.query(fields)}" if fields else "")
    return Asked(asked["method"], target, headers, request.content if request.body_exists else None)


def _without(lines: Iterable[tuple[str, str]], *names: str) -> list[tuple[str, str]]:
    return [(name, value) for name, value in lines if name.lower() not in names]


def _response(method: str, answered: Answered) -> web.Response:
    response = web.Response(status=answered.status, body=answered.body)
    response.headers.popall("Content-Type", None)
    for name, value in _without(answered.headers, *_HOP, "content-length"):
        reachable = value.replace("https://", "http://") if name.lower() == "www-authenticate" else value
        response.headers.add(name, reachable)
    if method == "HEAD":
        lengths = [value for name, value in answered.headers if name.lower() == "content-length"]
        response.headers["Content-Length"] = lengths[0] if lengths else "0"
    return response


def _document(message: str) -> bytes:
    return json.dumps({"message": message}).encode()


@contextmanager
def opened(behind: Behind, port: int) -> Iterator[Door]:
    """Open the door on a port until the block is left."""
    with edge.edge() as functions:
        door = Door(behind, functions, {})
        with _served(door, port):
            yield door


@contextmanager
def _served(door: Door, port: int) -> Iterator[None]:
    loop = asyncio.new_event_loop()

    async def serve() -> web.ServerRunner:
        door.session = ClientSession(auto_decompress=False, timeout=ClientTimeout(total=300))
        # Whatever is too long is for the door to refuse.
        server = web.Server(door.handle, max_line_size=1 << 20, max_field_size=1 << 20)
        runner = web.ServerRunner(server, auto_decompress=False)
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
        yield
    finally:
        asyncio.run_coroutine_threadsafe(close(runner), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()
