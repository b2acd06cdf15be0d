"""The proxy as a process of its own, so that a measured server does not share an interpreter with it.

`python -m tests.engines.proxy_process --upstream URL --delay-ms 15` prints its two addresses as one line of JSON.
The control address answers `GET /` with the ledger, `POST /reset` empties it, `POST /delay?seconds=` sets the delay.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.engines.ledger import Exchange
from tests.engines.process import ending
from tests.engines.proxy import Proxy, listening

_PROJECT = Path(__file__).parents[2]


class RemoteProxy:
    """A proxy in another process: the same questions as of one in this."""

    def __init__(self, endpoint: str, control: str) -> None:
        self.endpoint = endpoint
        self._control = control

    def snapshot(self) -> tuple[Exchange, ...]:
        """Return the exchanges since the last reset, in order of arrival."""
        return tuple(Exchange(**fields) for fields in self._call("GET", "/"))

    def reset(self) -> None:
        """Forget the exchanges."""
        self._call("POST", "/reset")

    def set_delay(self, seconds: float) -> None:
        """Delay the requests to come by as much."""
        self._call("POST", f"/delay?seconds={seconds}")

    def _call(self, method: str, path: str) -> Any:
        request = urllib.request.Request(self._control + path, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


@contextmanager
def proxy_process(upstream: str, *, delay: float = 0.0) -> Iterator[RemoteProxy]:
    """Run a proxy in a process of its own."""
    command = [sys.executable, "-m", __name__, "--upstream", upstream, "--delay-ms", str(delay * 1000)]
    with (
        subprocess.Popen(command, cwd=_PROJECT, stdout=subprocess.PIPE, start_new_session=True) as process,
        ending(process),
    ):
        assert process.stdout is not None
        addresses = json.loads(process.stdout.readline())
        yield RemoteProxy(addresses["endpoint"], addresses["control"])


async def _serve(proxy: Proxy, port: int, control_port: int) -> None:
    async def control(request: web.BaseRequest) -> web.Response:
        match request.method, request.path:
            case "GET", "/":
                return web.json_response([asdict(exchange) for exchange in proxy.snapshot()])
            case "POST", "/reset":
                proxy.reset()
            case "POST", "/delay":
                proxy.delay = float(request.query["seconds"])
            case _:
                return web.json_response({"error": "no such control"}, status=404)
        return web.json_response({})

    async with listening(control, control_port) as address:
        await proxy.serve(
            lambda: print(json.dumps({"endpoint": proxy.endpoint, "control": address}), flush=True),
            asyncio.Event().wait(),
            port,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--port", type=int, default=0, help="of the proxy; free by default")
    parser.add_argument("--control-port", type=int, default=0, help="free by default")
    parser.add_argument("--delay-ms", type=float, default=0.0)
    options = parser.parse_args()
    proxy = Proxy(options.upstream, delay=options.delay_ms / 1000)
    asyncio.run(_serve(proxy, options.port, options.control_port))


if __name__ == "__main__":
    main()
