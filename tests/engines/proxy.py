"""A forwarding proxy before an S3 service: it names, counts, times and delays requests, and can cut them short.

* Paths, queries and headers pass unchanged, Host among them: signatures cover them.
* Bodies stream both ways; of an answer no more than `_SMALL` bytes are held.
* A request is counted when it arrives, whatever becomes of it.
* A hook is called before a request is passed to S3, and when S3 has answered but before the answer is passed on.
  Raising in either place cuts the connection: the client never learns what S3 did.
* `choose` may have a request meet a fault (`tests.engines.faults`). What breaks or falsifies an answer lets the
  service do what was asked first.

`with forwarding(engine.endpoint, hook=...) as proxy:` runs one in a thread; proxy_process.py in a process of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import asynccontextmanager, closing, contextmanager
from typing import Literal

from aiohttp import ClientResponse, ClientSession, ClientTimeout, TCPConnector, web
from yarl import URL

from tests.engines.faults import SLOW_SECONDS, Choose, Fault, Words, words, wrong
from tests.engines.ledger import Exchange, Ledger
from tests.engines.operations import classify
from tests.engines.process import HOST

Phase = Literal["before", "after"]
Hook = Callable[[int, str, str, Phase], None]
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

_SMALL = 256 * 1024
# Less than any engine keeps an idle connection, so that no request meets a connection being closed.
_IDLE_SECONDS = 2.0
_HOP_BY_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "transfer-encoding", "expect", "te"})


class Proxy(Ledger):
    """The proxy and its ledger; `delay` (seconds) and `hook` may be changed while it runs."""

    def __init__(self, upstream: str, *, delay: float = 0.0, hook: Hook | None = None, service: str = "S3") -> None:
        super().__init__()
        self.endpoint = ""
        self.delay = delay
        self.hook = hook
        self.choose: Choose | None = None
        self._service = service
        self._over = asyncio.Event()
        self._upstream = upstream.rstrip("/")

    async def serve(self, ready: Callable[[], object], ended: Awaitable[object], port: int = 0) -> None:
        """Accept connections until `ended`."""
        async with _s3_session() as session, listening(lambda one: self._answer(session, one), port) as self.endpoint:
            ready()
            await ended
            self._over.set()

    async def _answer(self, session: ClientSession, request: web.BaseRequest) -> web.StreamResponse:
        exchange = self.open(classify(request.method, request.raw_path, request.headers))
        try:
            fault = self.choose(exchange) if self.choose else None
            await asyncio.sleep(SLOW_SECONDS if fault is Fault.SLOW else self.delay)
            self._call_hook(exchange, "before")
            if fault is Fault.SILENT:
                await self._over.wait()
                return web.Response(status=504)
            if fault in (Fault.BROKEN, Fault.BUSY):
                return await self._refuse(request, exchange, words(self._service, fault))
            return await self._forward(session, request, exchange, fault)
        except Exception:  # noqa: BLE001  # a hook may raise anything, and the connection is cut whatever it was
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=502)

    async def _forward(
        self, session: ClientSession, request: web.BaseRequest, exchange: Exchange, fault: Fault | None
    ) -> web.StreamResponse:
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        async with session.request(
            request.method,
            URL(self._upstream + request.raw_path, encoded=True),
            headers=_end_to_end(request.headers),
            data=request.content if request.can_read_body else None,
            allow_redirects=False,
        ) as answer:
            self._call_hook(exchange, "after")
            if fault is Fault.RESET:
                raise ConnectionResetError
            return await self._pass_on(request, answer, exchange, wrong if fault is Fault.WRONG else bytes)

    async def _refuse(self, request: web.BaseRequest, exchange: Exchange, said: Words) -> web.StreamResponse:
        await request.read()
        self.close(exchange, said.status)
        body = b"" if request.method == "HEAD" else said.content
        return web.Response(status=said.status, body=body, content_type=said.content_type)

    async def _pass_on(
        self, request: web.BaseRequest, answer: ClientResponse, exchange: Exchange, become: Callable[[bytes], bytes]
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=_end_to_end(answer.headers))
        if request.method == "HEAD" or (answer.content_length is not None and answer.content_length <= _SMALL):
            rest = become(await answer.read())
            # Closed before the client can know the answer, so that what it asks next begins later.
            self.close(exchange, answer.status)
            await response.prepare(request)
        else:
            rest = b""
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(become(chunk))
            self.close(exchange, answer.status)
        await response.write_eof(rest)
        return response

    def _call_hook(self, exchange: Exchange, phase: Phase) -> None:
        if self.hook is not None:
            self.hook(self.position(exchange), exchange.operation, exchange.key, phase)


def _end_to_end(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers.items() if name.lower() not in _HOP_BY_HOP]


def _s3_session() -> ClientSession:
    return ClientSession(
        connector=TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS),
        auto_decompress=False,
        timeout=ClientTimeout(total=None),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        read_bufsize=_SMALL,
    )


@asynccontextmanager
async def listening(handler: Handler, port: int = 0) -> AsyncIterator[str]:
    runner = web.ServerRunner(web.Server(handler, auto_decompress=False, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port).start()
        yield "http://{}:{}".format(*runner.addresses[0])
    finally:
        await runner.cleanup()


@contextmanager
def forwarding(
    upstream: str, *, delay: float = 0.0, hook: Hook | None = None, service: str = "S3"
) -> Iterator[Proxy]:
    """Run a proxy in a thread of this process; what it is told to call is called in that thread."""
    proxy = Proxy(upstream, delay=delay, hook=hook, service=service)
    ready: Future[None] = Future()
    with closing(asyncio.new_event_loop()) as loop, ThreadPoolExecutor(1) as thread:
        ended = loop.create_future()
        serving = thread.submit(loop.run_until_complete, proxy.serve(lambda: ready.set_result(None), ended))
        try:
            wait((ready, serving), return_when=FIRST_COMPLETED)
            if ready.done():
                yield proxy
        finally:
            loop.call_soon_threadsafe(ended.set_result, None)
            serving.result()
