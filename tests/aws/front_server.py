"""The strict front as an HTTP server on this machine, in a thread of its own.

As API Gateway does it takes a whole request before anything else, chunked or not, and answers Expect by itself.
As a program, `python -m tests.aws.front_server HOST PORT`, it serves `app.py` with the settings of its environment;
HOST is where clients are sent for tokens. The functions' log lines are its output.
"""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from aiohttp import web

from tests.aws.front import Answered, Asked, Front, front_of
from tests.engines.process import HOST


@contextmanager
def listening(front: Front, port: int) -> Iterator[str]:
    """Serve a front until the block is left; yield its address."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(_serve(front, port), loop).result(30)
    try:
        yield f"http://{HOST}:{port}"
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
        asyncio.run_coroutine_threadsafe(loop.shutdown_default_executor(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


async def _serve(front: Front, port: int) -> web.ServerRunner:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        asked = await _asked(request)
        return _response(await asyncio.to_thread(front.answer, asked))

    runner = web.ServerRunner(web.Server(handle), auto_decompress=False, shutdown_timeout=5)
    await runner.setup()
    await web.TCPSite(runner, HOST, port).start()
    return runner


async def _asked(request: web.BaseRequest) -> Asked:
    if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    lines = [(name.decode(), value.decode(errors="surrogateescape")) for name, value in request.raw_headers]
    # Not `request.read()`, which has a limit of its own.
    body = await request.content.read()
    return Asked(request.method, request.raw_path, lines, body, request.remote or HOST)


def _response(answered: Answered) -> web.StreamResponse:
    response = web.Response(status=answered.status, body=answered.body)
    response.headers.popall("Content-Type", None)
    for name, value in answered.headers:
        response.headers.add(name, value)
    return response


def main(host: str, port: str) -> None:
    """Serve the application until this process is ended."""
    from app import app  # noqa: PLC0415 - tests load it with settings of their own

    with listening(front_of(app, host=host), int(port)):
        Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
