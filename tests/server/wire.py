"""HTTP as bytes: what a test says is sent exactly so, and answers are read strictly, one after another.

* A body is read by its Content-Length or its chunks, never to the end of the connection by accident: whatever
  follows belongs to the next answer, so a server that frames wrongly is found out.
* Answers 1xx are answers: they are read like any other.
"""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import orjson

_TIMEOUT = 20.0
_READ = 1 << 16
_BODILESS = frozenset({100, 204, 304})


class ClosedError(Exception):
    """The connection ended before an answer was whole; the message is what had come."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; header names are lower case, and a header may have several lines."""

    status: int
    headers: Mapping[str, tuple[str, ...]]
    body: bytes

    def header(self, name: str) -> str:
        """Return the one line of a header, or ""."""
        (value,) = self.headers.get(name, ("",))
        return value

    def json(self) -> Any:
        """Return the body as the JSON value that it is."""
        return orjson.loads(self.body)

    def codes(self) -> list[str]:
        """Return the codes of an error document."""
        return [error["code"] for error in self.json()["errors"]]


class Wire:
    """A connection to a server."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._read = bytearray()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._stream.sendall(data)

    def finish(self) -> None:
        """Send no more, and go on reading."""
        self._stream.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Break the connection without a farewell."""
        linger_for_no_time = b"\x01\x00\x00\x00\x00\x00\x00\x00"
        self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_for_no_time)
        self._stream.close()

    def ask(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """Send a request and return its answer."""
        self.send(request(method, target, headers, body))
        return self.answer(method)

    def answer(self, method: str = "GET") -> Answer:
        """Read the next answer, to a request of this method; raise ClosedError."""
        head = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        status = int(head[0].split(" ", 2)[1])
        headers: dict[str, tuple[str, ...]] = {}
        for line in filter(None, head[1:]):
            name, _, value = line.partition(":")
            headers[name.lower()] = (*headers.get(name.lower(), ()), value.strip())
        if method == "HEAD" or status in _BODILESS:
            return Answer(status, headers, b"")
        return Answer(status, headers, self._body(headers))

    def closed(self) -> bool:
        """Tell whether the server closes the connection with nothing more to say."""
        try:
            return not self._read and not self._stream.recv(1)
        except TimeoutError:
            return False
        except ConnectionError:
            return True

    def patience(self, seconds: float) -> None:
        """Wait so long for what is to come."""
        self._stream.settimeout(seconds)

    def _body(self, headers: Mapping[str, tuple[str, ...]]) -> bytes:
        if "chunked" in headers.get("transfer-encoding", ()):
            return b"".join(self._chunks())
        return self._exactly(int(headers["content-length"][0]))

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self._until(b"\r\n"), 16):
            yield self._exactly(size)
            self._until(b"\r\n")
        self._until(b"\r\n")

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._read:
            self._more()
        return self._taken(self._read.index(mark) + len(mark)).removesuffix(mark)

    def _exactly(self, size: int) -> bytes:
        while len(self._read) < size:
            self._more()
        return self._taken(size)

    def _taken(self, size: int) -> bytes:
        found = bytes(memoryview(self._read)[:size])
        del self._read[:size]
        return found

    def _more(self) -> None:
        try:
            piece = self._stream.recv(_READ)
        except ConnectionError as error:
            raise ClosedError(bytes(self._read)) from error
        if not piece:
            raise ClosedError(bytes(self._read))
        self._read += piece


@contextmanager
def connected(address: tuple[str, int]) -> Iterator[Wire]:
    """Connect to a server."""
    with closing(socket.create_connection(address, _TIMEOUT)) as stream:
        yield Wire(stream)


def request(method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """Return a request's bytes; Host and a Content-Length are added where they are not said."""
    length = {"Content-Length": str(len(body))} if body or method in ("POST", "PUT", "PATCH") else {}
    framed = {name.lower() for name in headers} & {"content-length", "transfer-encoding"}
    lines = {"Host": "registry.test", **({} if framed else length), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("utf-8", "surrogateescape") + body


def basic(user: str, password: str) -> str:
    """Return an Authorization header's value."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
