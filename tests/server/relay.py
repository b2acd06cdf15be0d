"""A relay of bytes before an S3 service that can break off in the middle of an answer, as a failing service does."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.engines.process import HOST

_READ = 1 << 16


@dataclass(slots=True)
class Relay:
    """Where the relay listens; `limit` is how many bytes of an answer pass before it breaks off, None for all."""

    endpoint: str
    limit: int | None = None


@contextmanager
def relaying(upstream: str) -> Iterator[Relay]:
    """Run a relay in threads of this process."""
    parts = urlsplit(upstream)
    target = (parts.hostname or HOST, parts.port or 80)
    relay = Relay("")

    class Connection(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection(target) as onward:
                asking = threading.Thread(target=_pump, args=(self.request, onward), daemon=True)
                asking.start()
                _pump(onward, self.request, relay)
                with suppress(OSError):
                    self.request.shutdown(socket.SHUT_RDWR)
                asking.join()

    with socketserver.ThreadingTCPServer((HOST, 0), Connection) as server:
        server.daemon_threads = True
        relay.endpoint = f"http://{HOST}:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield relay
        finally:
            server.shutdown()


def _pump(source: socket.socket, sink: socket.socket, relay: Relay | None = None) -> None:
    """Pass bytes on until either side ends, or the relay's limit is reached."""
    passed = 0
    with suppress(OSError):
        while data := source.recv(_READ):
            limit = relay.limit if relay else None
            if limit is not None and passed + len(data) > limit:
                sink.sendall(data[: limit - passed])
                return
            passed += len(data)
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
