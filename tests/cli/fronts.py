"""A front before a server that breaks one thing of its requests or answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOP = ("transfer-encoding", "connection", "keep-alive")


@dataclass(slots=True)
class Exchange:
    """A request, and the answer to it once there is one; a breaker changes either in place."""

    method: str
    target: str
    asked: list[tuple[str, str]]
    sent: bytes
    chunked: bool = False
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


Breaker = Callable[[Exchange], None]


class Listener(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, origin: tuple[str, int], breaker: Breaker) -> None:
        super().__init__(("127.0.0.1", 0), Front)
        self.origin = origin
        self.breaker = breaker


class Front(BaseHTTPRequestHandler):
    server: Listener
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def handle_one_exchange(self) -> None:
        exchange = self.read()
        self.server.breaker(exchange)
        if not exchange.status:
            ask(self.server.origin, exchange)
            self.server.breaker(exchange)
        self.answer(exchange)

    def read(self) -> Exchange:
        chunked = self.headers.get("Transfer-Encoding", "") == "chunked"
        sent = self.chunks() if chunked else self.rfile.read(int(self.headers.get("Content-Length", "0")))
        kept = [(name, value) for name, value in self.headers.items() if name.lower() not in HOP]
        return Exchange(self.command, self.path, kept, sent, chunked)

    def chunks(self) -> bytes:
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def answer(self, exchange: Exchange) -> None:
        self.send_response_only(exchange.status)
        length = {} if exchange.method == "HEAD" else {"Content-Length": str(len(exchange.body))}
        for name, value in {**exchange.headers, **length}.items():
            self.send_header(name, value)
        self.end_headers()
        if exchange.method != "HEAD":
            self.wfile.write(exchange.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        pass

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_one_exchange  # noqa: N815


@contextmanager
def broken(address: tuple[str, int], breaker: Breaker) -> Iterator[str]:
    """Serve what the server at an address does but for what the breaker does to it; give the URL.

    The breaker is called twice: before the request goes on (status 0) and before the answer does. A status that it
    sets before is the answer.
    """
    server = Listener(address, breaker)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield "http://{}:{}".format(*server.server_address[:2])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def ask(address: tuple[str, int], exchange: Exchange) -> None:
    """Send an exchange's request on and fill its answer in."""
    connection = HTTPConnection(*address, timeout=30)
    try:
        connection.putrequest(exchange.method, exchange.target, skip_host=True, skip_accept_encoding=True)
        dropped = ("content-length", "expect")
        for name, value in exchange.asked:
            if name.lower() not in dropped:
                connection.putheader(name, value)
        if exchange.sent or exchange.method in ("POST", "PUT", "PATCH"):
            connection.putheader("Content-Length", str(len(exchange.sent)))
        connection.endheaders(exchange.sent or None)
        answer = connection.getresponse()
        exchange.body = answer.read()
        exchange.status = answer.status
        exchange.headers = {name.title(): value for name, value in answer.getheaders() if name.lower() not in HOP}
    finally:
        connection.close()
