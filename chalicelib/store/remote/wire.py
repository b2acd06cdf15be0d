"""Requests to other hosts, a few connections kept alive: what is sent and read, and its bounds.

Invariants:
* A connection goes to an address that may be reached (`store.reach`), and belongs to one origin.
* Timeouts are of single operations: to connect, to send a piece, to get an answer's head, to read a piece. Who drips
  bytes is given up all the same: what is read at once has a time for all of it.
* Nothing is tried again, except a GET or HEAD that finds a kept connection closed.
* A connection is used again only when its answer was read to the end.
* Answers that are kept whole have a most number of bytes.
"""

import select
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from http.client import HTTPConnection, HTTPException, HTTPResponse
from types import TracebackType
from typing import NamedTuple, Self

from chalicelib.store import reach
from chalicelib.store.reach import Origin, Resolve
from chalicelib.store.remote.errors import DownError, RemoteError, UntrueError

CONNECT_SECONDS, READ_SECONDS = 10.0, 30.0
MOST_SAID = 64 << 10
_SLOWEST = 16 << 10
_PIECE = 256 << 10
_REPEATABLE = frozenset({"GET", "HEAD"})


class Streamed(NamedTuple):
    """A body that is sent as it comes, and cannot be sent twice."""

    pieces: Iterable[bytes]
    size: int


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent, and where to."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    content: bytes | Streamed | None = field(default=None, repr=False)


@dataclass(slots=True)
class _Line:
    """A connection, and a duplicate of its socket to end it with."""

    http: HTTPConnection
    twin: socket.socket

    def close(self) -> None:
        self.http.close()
        self.twin.close()

    def quiet(self) -> bool:
        """Tell whether nothing waits to be read: an idle connection that has news was closed by the other side."""
        waiting = select.poll()
        waiting.register(self.twin, select.POLLIN)
        return not waiting.poll(0)


class Opened:
    """An answer whose head has been read; header names are lower case. To be closed."""

    def __init__(self, wire: "Wire", place: Origin, line: _Line, response: HTTPResponse) -> None:
        self._wire, self._place, self._line, self._response = wire, place, line, response
        self.status = response.status
        self.headers: Mapping[str, str] = _joined(response.getheaders())
        # The bytes of the body; None where the other side does not say.
        self.size = self._left = response.length

    def read(self, most: int) -> bytes:
        """Return the next bytes of the body, as many as wanted until it ends; raise DownError where it ends early."""
        coming = most if self._left is None else min(most, self._left)
        with _as_down(self._place), reach.ending(self._line.twin, self._wire.seconds + coming / _SLOWEST):
            piece = self._response.read(most)
        if self._left is not None:
            self._left -= len(piece)
            if len(piece) < most and self._left:
                raise DownError(f"{self._place} ended its answer early")
        return piece

    def content(self, most: int = MOST_SAID) -> bytes:
        """Return the whole body; raise UntrueError where it is larger, and DownError."""
        found = self.read(most + 1)
        if len(found) > most:
            raise UntrueError(f"{self._place} sent more than {most} bytes", self.status)
        return found

    def beginning(self) -> bytes:
        """Return the beginning of the body of an error, as far as it comes."""
        with suppress(RemoteError):
            return self.read(MOST_SAID)
        return b""

    def close(self) -> None:
        """Keep the connection where the answer was read to the end; else end it."""
        if self._response.length == 0:
            self._response.read()
        if self._response.isclosed() and self._line.http.sock is not None:
            self._wire.keep(self._place, self._line)
        else:
            self._response.close()
            self._line.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Wire:
    """Connections to whatever hosts one conversation needs; not for several threads."""

    def __init__(self, allowed: Iterable[str], look_up: Resolve, seconds: float = READ_SECONDS) -> None:
        self._allowed, self._look_up = tuple(allowed), look_up
        self._idle: dict[Origin, _Line] = {}
        self._trusts: dict[Origin, ssl.SSLContext] = {}
        self._skip_cert_verify = False
        self.seconds = seconds

    def believe(self, place: Origin, *, skip_cert_verify: bool, ca_certificate: str) -> None:
        """Set whose certificates are believed: one CA is for its registry alone. Raise ValueError."""
        self._skip_cert_verify = skip_cert_verify
        self._trusts[place] = reach.trust(skip_cert_verify=skip_cert_verify, ca_certificate=ca_certificate)

    def send(self, request: Request) -> Opened:
        """Return the answer to a request, its body unread; raise DownError where there is none, and RemoteError."""
        try:
            place = reach.origin(request.url)
        except reach.ReachError as error:
            raise RemoteError(str(error)) from error
        line = self._kept(place)
        if line is None:
            return self._exchange(place, self._new(place), request)
        try:
            return self._exchange(place, line, request)
        except DownError as error:
            if request.method not in _REPEATABLE or not isinstance(error.__cause__, ConnectionError):
                raise
        return self._exchange(place, self._new(place), request)

    def keep(self, place: Origin, line: _Line) -> None:
        """Keep a connection for the next request to its origin."""
        if place in self._idle:
            line.close()
        else:
            self._idle[place] = line

    def close(self) -> None:
        """Close the kept connections."""
        while self._idle:
            self._idle.popitem()[1].close()

    def _kept(self, place: Origin) -> _Line | None:
        line = self._idle.pop(place, None)
        if line and not line.quiet():
            line.close()
            return None
        return line

    def _new(self, place: Origin) -> _Line:
        try:
            found = reach.reachable(place, self._allowed, self._look_up)
        except reach.ReachError as error:
            raise DownError(str(error)) from error
        with _as_down(place):
            seconds = min(CONNECT_SECONDS, self.seconds)
            raw = reach.dial(found, place.port, seconds)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            twin = raw.dup()
            try:
                with reach.ending(twin, seconds):
                    own = self._trust(place).wrap_socket(raw, server_hostname=place.host) if place.secure else raw
                own.settimeout(self.seconds)
            except BaseException:
                raw.close()
                twin.close()
                raise
        http = HTTPConnection(place.host, place.port)
        http.sock, http.auto_open = own, 0
        return _Line(http, twin)

    def _trust(self, place: Origin) -> ssl.SSLContext:
        return self._trusts.get(place) or self._general

    @cached_property
    def _general(self) -> ssl.SSLContext:
        return reach.trust(skip_cert_verify=self._skip_cert_verify)

    def _exchange(self, place: Origin, line: _Line, request: Request) -> Opened:
        try:
            with _as_down(place):
                _say(line.http, place, request)
                with reach.ending(line.twin, self.seconds):
                    response = line.http.getresponse()
        except BaseException as error:
            line.close()
            if isinstance(error, _SourceError) and error.__cause__:
                raise error.__cause__ from None
            raise
        return Opened(self, place, line, response)


def _say(http: HTTPConnection, place: Origin, request: Request) -> None:
    """Send a request; an answer that comes before its body was sent is still read."""
    headers = {"Host": str(place), "User-Agent": "Roadstead", **request.headers}
    content = request.content
    if content is not None:
        headers["Content-Length"] = str(content.size if isinstance(content, Streamed) else len(content))
    with suppress(BrokenPipeError, ConnectionResetError):
        http.request(request.method, reach.target(request.url), _pieces(content), headers)


class _SourceError(Exception):
    """What is sent could not be had; its cause is what the caller is told."""


def _pieces(content: bytes | Streamed | None) -> Iterable[bytes] | None:
    """Return a body in pieces, each of which has a timeout of its own."""
    if content is None:
        return None
    if isinstance(content, Streamed):
        return _drawn(content)
    return (content[at : at + _PIECE] for at in range(0, len(content), _PIECE))


def _drawn(content: Streamed) -> Iterator[bytes]:
    """Yield what comes from elsewhere: its errors are none of the connection that it goes to."""
    left = content.size
    try:
        for piece in content.pieces:
            left -= len(piece)
            if left < 0:
                break
            yield piece
    except Exception as error:
        raise _SourceError from error
    if left:
        raise _SourceError from UntrueError("what was to be sent does not have the size that was said")


@contextmanager
def _as_down(place: Origin) -> Iterator[None]:
    try:
        yield
    except RemoteError:
        raise
    except (OSError, HTTPException, ValueError) as error:
        raise DownError(f"{place} did not answer as it should: {type(error).__name__} {error}".rstrip()) from error


def _joined(headers: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """Return headers by lower-case name, those that came several times as one list."""
    found: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found
