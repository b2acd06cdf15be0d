"""HTTP/1.1 in front of `dispatch`: the local server and, on AWS, the relay.

Why it exists: API Gateway takes 10 MB and Lambda 4.5 MB of a body, and no stock client splits a layer. Here a body
of any size streams through, with backpressure and bounded memory.

Invariants:
* aiohttp parses; handlers run in threads, because they wait for S3, and pull the body piece by piece.
* What cannot be parsed is refused with an error document too.
* A client that expects 100-continue gets it when its body is first read, so a refusal costs it no upload.
"""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote

import orjson
from aiohttp import web
from aiohttp.client_exceptions import ClientError
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from chalicelib.api.dispatch import COMMON_HEADERS, dispatch, refuse
from chalicelib.api.http import JSON, Request, Response
from chalicelib.api.metrics import operation
from chalicelib.api.telemetry import Line
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.server.downloads import Downloads
from chalicelib.server.log import AccessLog
from chalicelib.services import Services
from chalicelib.store.uploads import BrokenBodyError

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

log = logging.getLogger(__name__)

_THREADS = 256
_METHODS_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
_BODY_BUFFER = 1 << 20
# A client that sends nothing for this long is gone; its thread is needed.
_STALLED_SECONDS = 60.0
# Longer than a load balancer keeps its own (infra/templates/relay.yaml), so that it never asks on one that ends.
KEEPALIVE_SECONDS = 330.0
_MAX_FIELD = 16_384
_HOST = re.compile(r"[A-Za-z0-9._-]+(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?", re.ASCII)
_ABSOLUTE = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")


class StreamedBody:
    """The body of a request on the event loop, read from a handler's thread."""

    def __init__(self, request: web.BaseRequest, loop: "AbstractEventLoop") -> None:
        self._request = request
        self._loop = loop
        self._left = b""
        self._continued = request.headers.get("expect", "").lower() != "100-continue"
        self.size = 0

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, b"" at the end; raise BrokenBodyError."""
        if not self._left:
            self._left = self._wait()
        piece, self._left = self._left[:size], self._left[size:]
        self.size += len(piece)
        return piece

    def _wait(self) -> bytes:
        arriving = asyncio.run_coroutine_threadsafe(self._next(), self._loop)
        try:
            return arriving.result(_STALLED_SECONDS)
        except (ClientError, HttpProcessingError, web.RequestPayloadError, OSError, CancelledError) as error:
            arriving.cancel()
            raise BrokenBodyError from error

    async def _next(self) -> bytes:
        if not self._continued:
            self._continued = True
            if self._request.transport is not None:
                self._request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return await self._request.content.readany()


class _Protocol(RequestHandler):
    """aiohttp's connection, with refusals in the registry's form."""

    def data_received(self, data: bytes) -> None:
        """Take bytes; where they break the body of the request under way, tell its reader, who would wait."""
        super().data_received(data)
        request = self._current_request
        broken = any(isinstance(message, _ErrInfo) for message, _ in self._messages)
        if broken and request is not None and not request.content.is_eof():
            request.content.set_exception(HttpProcessingError(message="malformed body"))
            self.close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's signature
    ) -> web.StreamResponse:
        """Answer a request that could not be parsed, or whose handler failed."""
        error = _UNPARSED.get(status, RegistryError(ErrorCode.UNKNOWN))
        if error.code is ErrorCode.UNKNOWN:
            log.error("answering %s failed", request.path, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError from exc
        headers = {**COMMON_HEADERS, "Content-Type": JSON}
        answer = web.Response(status=error.status, headers=headers, body=orjson.dumps(error.document()))
        answer.force_close()
        return answer


_UNPARSED: Mapping[int, RegistryError] = {
    400: RegistryError(
        ErrorCode.UNSUPPORTED,
        "this is not an HTTP/1.1 request that can be read: is a line or a header malformed or too long?",
        status=400,
    ),
}


# RFC 9112, section 6.1: what is not understood must not be guessed at.
_UNKNOWN_CODING = RegistryError(ErrorCode.UNSUPPORTED, "the one Transfer-Encoding taken is chunked", status=400)


class _Server(web.Server):
    """aiohttp's server, making our kind of connection."""

    def __call__(self) -> RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)


class Door:
    """The registry as an aiohttp handler; it knows how many requests are under way."""

    def __init__(self, services: Services, downloads: Downloads | None, access_log: AccessLog) -> None:
        self.services = services
        self.downloads = downloads
        self.access_log = access_log
        self.threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="request")
        # Apart, so that bodies that do not arrive hold up no pull.
        self.body_threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="body")
        # Those of answers that come slowly, likewise.
        self.stream_threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="stream")
        # So many seconds a client may take for a piece of one.
        self.patience = _STALLED_SECONDS
        self._under_way = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request and write its line to the access log."""
        self._under_way += 1
        self._quiet.clear()
        self.services.requests.begin()
        try:
            return await self._logged(request)
        finally:
            self.services.requests.end()
            self._under_way -= 1
            if not self._under_way:
                self._quiet.set()

    async def quiet(self, seconds: float) -> None:
        """Wait until no request is under way, but no longer than `seconds`."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._quiet.wait(), seconds)

    async def _logged(self, request: web.BaseRequest) -> web.StreamResponse:
        started = time.perf_counter()
        body = StreamedBody(request, asyncio.get_running_loop())
        asked = _to_request(request, body, self.services.settings.public_url)
        answer = await self._answer(request, asked)
        seconds = time.perf_counter() - started
        # A body that was streamed may have ended early; one that was not is only about to be sent.
        sent = (answer.content_length or 0) if isinstance(answer, web.Response) else answer.body_length
        self.access_log.write(Line(asked, answer.status, body.size, sent, seconds))
        counted = self.services.requests.answered
        counted(operation(asked), answer.status, seconds, received=body.size, sent=sent)
        return answer

    async def _answer(self, request: web.BaseRequest, asked: Request) -> web.StreamResponse:
        if asked.headers.get("transfer-encoding", "chunked").lower() != "chunked":
            return _to_response(refuse(_UNKNOWN_CODING, asked))
        target = _target(request)
        if self.downloads is None or not self.downloads.serves(request.method, target):
            answer = await self._dispatch(asked)
            return await self._streamed(request, answer) if answer.stream else _to_response(answer)
        try:
            return await self.downloads.answer(request, asked, target)
        except RegistryError as error:
            return _to_response(refuse(error, asked))

    async def _streamed(self, request: web.BaseRequest, answer: Response) -> web.StreamResponse:
        """Send a body as it comes; after its head, all that can be done about a failure is to end the connection."""
        assert answer.stream
        stream, loop = answer.stream, asyncio.get_running_loop()
        sent = web.StreamResponse(status=answer.status, headers={**answer.headers, "Server": "Roadstead"})
        try:
            await sent.prepare(request)
            while (piece := await loop.run_in_executor(self.stream_threads, stream.read)) is not None:
                if piece:
                    await self._give(sent, piece)
                elif request.transport is None or request.transport.is_closing():
                    break
            await sent.write_eof()
        except ConnectionError:
            # The client is gone: nothing is wrong here.
            return sent
        except OSError as error:
            log.error("%s ended in the middle of its answer: %s", request.path, error)  # noqa: TRY400 - it is known where
            if request.transport is not None:
                request.transport.abort()
        finally:
            stream.close()
        return sent

    async def _give(self, sent: web.StreamResponse, piece: bytes) -> None:
        """Send a piece; who takes nothing is let go: what is spooled for it takes room on the disk."""
        try:
            await asyncio.wait_for(sent.write(piece), self.patience)
        except TimeoutError as error:
            raise OSError(f"the client took nothing for {self.patience:.0f} seconds") from error

    async def _dispatch(self, asked: Request) -> Response:
        loop = asyncio.get_running_loop()
        threads = self.body_threads if asked.method in _METHODS_WITH_BODY else self.threads
        return await loop.run_in_executor(threads, dispatch, self.services, asked)


def _to_request(request: web.BaseRequest, body: StreamedBody, public_url: str) -> Request:
    path, _, query = _target(request).partition("?")
    names = {name.lower() for name in request.headers}
    return Request(
        method=request.method,
        path=unquote(_text(path), errors="replace"),
        query=parse_qs(_text(query), keep_blank_values=True, errors="replace"),
        headers={name: _text(", ".join(request.headers.getall(name))) for name in names},
        body=body,
        base_url=public_url or _address(request),
        id=uuid.uuid4().hex,
        source=request.remote or "",
    )


def _address(request: web.BaseRequest) -> str:
    """Return how the client reached this server; a proxy in front tells by X-Forwarded-Proto."""
    host = _text(request.headers.get("host", ""))
    if not _HOST.fullmatch(host):
        return ""
    scheme = request.headers.get("x-forwarded-proto", request.scheme).partition(",")[0].strip()
    return f"{'https' if scheme == 'https' else 'http'}://{host}"


def _target(request: web.BaseRequest) -> str:
    """Return path and query, also of a target in absolute form (RFC 9112, section 3.2.2)."""
    return _ABSOLUTE.sub("", request.raw_path) or "/"


def _text(received: str) -> str:
    """Return what was received as text that can be encoded: bytes that are not UTF-8 are replaced."""
    return received.encode(errors="surrogateescape").decode(errors="replace")


def _to_response(response: Response) -> web.Response:
    headers = {**response.headers, "Server": "Roadstead"}
    answer = web.Response(status=response.status, body=response.body or None, headers=headers)
    if "Content-Type" not in response.headers:
        answer.headers.popall("Content-Type", None)
    return answer


async def start(
    services: Services, downloads: Downloads | None, access_log: AccessLog, address: tuple[str, int]
) -> "Running":
    """Listen on host and port and return what serves there; raise OSError where the address is taken."""
    door = Door(services, downloads, access_log)
    server = _Server(
        door.handle,
        access_log=None,
        max_field_size=_MAX_FIELD,
        max_line_size=_MAX_FIELD,
        read_bufsize=_BODY_BUFFER,
        keepalive_timeout=KEEPALIVE_SECONDS,
        # The bytes that were sent are the content, whatever Content-Encoding says of them.
        auto_decompress=False,
    )
    runner = web.ServerRunner(server, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, *address)
    await site.start()
    return Running(runner, site, door)


@dataclass(frozen=True, slots=True)
class Running:
    """A server that listens."""

    runner: web.ServerRunner
    site: web.TCPSite
    door: Door

    @property
    def port(self) -> int:
        """Return the port, which the system chose where 0 was asked for."""
        return int(self.runner.addresses[0][1])

    async def stop(self, seconds: float) -> None:
        """Take no new connection, let requests under way finish for up to `seconds`, then close."""
        await self.site.stop()
        await self.door.quiet(seconds)
        await self.runner.cleanup()
        for threads in (self.door.threads, self.door.body_threads, self.door.stream_threads):
            threads.shutdown(wait=False, cancel_futures=True)
