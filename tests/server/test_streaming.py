"""Answers that are streamed: who takes nothing of one is let go, and with it what was kept on disk for it."""

import asyncio
import io

from chalicelib.server import http
from chalicelib.server.log import AccessLog
from tests.api.hub import LAYER, NAME, hub
from tests.store.remote.fake import digest_of

# More than the sockets of both sides hold.
LARGE = LAYER * 128


async def taken_late(running: http.Running, target: str) -> int:
    """Return how many bytes of a body there are for a client who takes them once the server is done with it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    await running.door.quiet(20)
    size = 0
    try:
        while piece := await reader.read(1 << 20):
            size += len(piece)
    except ConnectionError:
        return size
    finally:
        writer.close()
    return size


def test_a_client_that_takes_nothing_is_let_go() -> None:
    async def scenario() -> int:
        running = await http.start(cache.client.services, None, AccessLog(io.StringIO()), ("127.0.0.1", 0))
        running.door.patience = 0.5
        try:
            return await taken_late(running, f"/v2/hub/{NAME}/blobs/{digest_of(LARGE)}")
        finally:
            await running.stop(10)

    with hub() as cache:
        cache.image(layers=(LARGE,))

        assert asyncio.run(scenario()) < len(LARGE)
