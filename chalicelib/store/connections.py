"""Kept-alive HTTP connections to one S3 address, for reads.

Why not urllib3, which boto3 brings along: its import alone is a fifth of a cold start's budget, and a pull needs
nothing of it but this (docs/decisions/003).

Invariants:
* Only GET and HEAD, which may be repeated: a connection that the other side had closed is replaced at once, an
  error or a 5xx answer is tried again after a random, growing pause, as often as `Patience` says, and not once it has
  lasted `_LONGEST`: whoever waits for the registry gets an answer before API Gateway gives up (29 seconds).
* A connection is used by one thread at a time and returns to the pool only when its answer was read to the end.
"""

import random
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from types import MappingProxyType
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

_FIRST_PAUSE = 0.1
# Seconds, after which no attempt is begun any more.
_LONGEST = 9
_IDLE = 64
_CHUNK = 1 << 20
_OK, _PARTIAL, _SERVER_ERROR = 200, 206, 500

_NONE: Mapping[str, str] = MappingProxyType({})

T = TypeVar("T")


class Patience(NamedTuple):
    """How often a request is tried, and how many seconds each step of it may take."""

    attempts: int
    seconds: float


PATIENT = Patience(4, 5)


class Answer(NamedTuple):
    """A whole answer; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Connections:
    """A pool of connections; `address` is `scheme://host:port`, with or without a path."""

    def __init__(self, address: str, patience: Patience = PATIENT) -> None:
        self._patience = patience
        parts = urlsplit(address)
        self._secure = parts.scheme == "https"
        self._host = parts.netloc
        # Appending and popping are atomic; the last one used is the likeliest to be alive.
        self._idle: deque[HTTPConnection] = deque(maxlen=_IDLE)

    def fetch(self, method: str, url: str) -> Answer:
        """Return the answer to a request; raise OSError where there was none after all attempts."""
        return self._attempt(method, url, self._whole)

    def stream(self, url: str, start: int = 0) -> tuple[int, Iterator[bytes]]:
        """Return the status of a GET and the body from `start` on in pieces, which raise OSError where it ends early.

        Only a body of status 200, or 206 where a part was asked for, is given; any other is read and dropped here.
        """
        part = {"Range": f"bytes={start}-"} if start else {}
        return self._attempt("GET", url, partial(self._beginning, _PARTIAL if start else _OK), part)

    def close(self) -> None:
        """Close the idle connections; new ones are made where needed."""
        while self._idle:
            self._idle.pop().close()

    def _whole(self, connection: HTTPConnection, response: HTTPResponse) -> Answer:
        content = response.read()
        self._idle.append(connection)
        return Answer(response.status, _headers(response), content)

    def _beginning(
        self, wanted: int, connection: HTTPConnection, response: HTTPResponse
    ) -> tuple[int, Iterator[bytes]]:
        if response.status != wanted:
            return self._whole(connection, response).status, iter(())
        return wanted, self._pieces(connection, response)

    def _pieces(self, connection: HTTPConnection, response: HTTPResponse) -> Iterator[bytes]:
        whole = False
        try:
            while piece := response.read(_CHUNK):
                yield piece
            whole = response.length in (0, None)
            if not whole:
                raise OSError("the body ended early")
        except HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            if whole:
                self._idle.append(connection)
            else:
                response.close()
                connection.close()

    def _attempt(
        self,
        method: str,
        url: str,
        take: Callable[[HTTPConnection, HTTPResponse], T],
        headers: Mapping[str, str] = _NONE,
    ) -> T:
        parts = urlsplit(url)
        target, begun = f"{parts.path}?{parts.query}", time.monotonic()
        for attempt in range(self._patience.attempts):
            connection, response = self._send(method, target, headers)
            last = attempt == self._patience.attempts - 1 or time.monotonic() - begun > _LONGEST
            if response is not None and (response.status < _SERVER_ERROR or last):
                try:
                    return take(connection, response)
                except (OSError, HTTPException):
                    response.close()
            connection.close()
            if last:
                break
            time.sleep(_FIRST_PAUSE * 2**attempt * random.random())  # noqa: S311 - spreads load, hides nothing
        raise OSError(f"no answer from {self._host}")

    def _send(
        self, method: str, target: str, headers: Mapping[str, str]
    ) -> tuple[HTTPConnection, HTTPResponse | None]:
        """Send on idle connections until one is alive, then on a new one; None stands for its failure.

        One that says nothing is alive for all that is known: its silence is the failure of this attempt.
        """
        while True:
            connection, idle = self._connection()
            try:
                connection.request(method, target, headers=dict(headers))
                return connection, connection.getresponse()
            except (OSError, HTTPException) as error:
                connection.close()
                if not idle or isinstance(error, TimeoutError):
                    return connection, None

    def _connection(self) -> tuple[HTTPConnection, bool]:
        try:
            return self._idle.pop(), True
        except IndexError:
            return self._new(), False

    def _new(self) -> HTTPConnection:
        if self._secure:
            return HTTPSConnection(self._host, timeout=self._patience.seconds, context=self._tls)
        return HTTPConnection(self._host, timeout=self._patience.seconds)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context()


def _headers(response: HTTPResponse) -> Mapping[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}
