"""Sends one request to an address that a user chose, without becoming that user's arm inside the operator's network.

Invariants:
* The name is resolved once; every address that it has must be one that may be reached (`policy.addresses`), and the
  connection goes to the very address that was looked at: an answer of DNS that changes meanwhile changes nothing.
* Certificates and the Host header are those of the name.
* Nothing is followed and no proxy asked. After `SECONDS` the connection is shut down, whatever the other side does.
* Of the answer no more than `MOST_READ` bytes are read.
"""

import socket
import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from threading import Event, Timer
from typing import NamedTuple
from urllib.parse import urlsplit

from chalicelib.policy import addresses

SECONDS = 10.0
MOST_READ = 64 << 10
_PORTS = {"http": 80, "https": 443}

# Returns the addresses of a host; raises OSError where it has none.
Resolve = Callable[[str, int], Iterable[str]]


class PostError(OSError):
    """There was no answer, or the address may not be reached; the text can be shown to whoever chose it."""


class Reply(NamedTuple):
    """What the other side answered: the beginning of it."""

    status: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Letter:
    """What is sent, and where to."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)
    skip_cert_verify: bool = False


def resolve(host: str, port: int) -> Iterable[str]:
    """Return the addresses of a host, as the system knows them; raise OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return dict.fromkeys(str(each[4][0]) for each in found)


def post(letter: Letter, allowed: Iterable[str], look_up: Resolve = resolve, seconds: float = SECONDS) -> Reply:
    """Send a letter and return the answer; `allowed` may be reached though not public. Raise PostError."""
    parts = urlsplit(letter.url)
    host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
    address = _address(host, port, tuple(allowed), look_up)
    try:
        with _connected(address, port, seconds) as raw:
            connection = HTTPConnection(host, port)
            connection.sock = _secured(raw, host, letter) if parts.scheme == "https" else raw
            return _exchange(connection, letter)
    except (OSError, HTTPException, ValueError) as error:
        raise PostError(f"{host} did not answer as it should: {_said(error, seconds)}") from error


def _address(host: str, port: int, allowed: Iterable[str], look_up: Resolve) -> str:
    """Return the address that a host is reached at; raise PostError where it may not be."""
    try:
        found = tuple(look_up(host, port))
    except (OSError, UnicodeError) as error:
        raise PostError(f"the name {host} is not known: {error}") from error
    private = [each for each in found if not addresses.may_reach(host, each, allowed)]
    if private or not found:
        raise PostError(
            f"{host} is not sent to: it is not a public address."
            " The operator of the registry can allow it with ROADSTEAD_PRIVATE_TARGETS"
        )
    return found[0]


@contextmanager
def _connected(address: str, port: int, seconds: float) -> Iterator[socket.socket]:
    """Connect, and shut the connection down when the time is over: a timeout of a socket begins anew at each byte.

    Raise TimeoutError then, whatever came until then looked like.
    """
    over = Event()

    def end() -> None:
        over.set()
        with suppress(OSError):
            twin.shutdown(socket.SHUT_RDWR)

    with socket.create_connection((address, port), timeout=seconds) as raw, raw.dup() as twin:
        timer = Timer(seconds, end)
        timer.daemon = True
        timer.start()
        try:
            yield raw
        finally:
            timer.cancel()
    if over.is_set():
        raise TimeoutError("the time was over")


def _secured(raw: socket.socket, host: str, letter: Letter) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    if letter.skip_cert_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(raw, server_hostname=host)


def _exchange(connection: HTTPConnection, letter: Letter) -> Reply:
    parts = urlsplit(letter.url)
    path = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    try:
        # The default is taken off by the name of the scheme, which http.client does not know here.
        headers = {"Host": parts.netloc, "Connection": "close", **letter.headers}
        connection.request("POST", _quoted(path), letter.content, headers)
        answer = connection.getresponse()
        return Reply(answer.status, answer.read(MOST_READ))
    finally:
        connection.close()


def _quoted(path: str) -> str:
    return path.encode().decode("latin-1").translate(_PERCENT)


_PERCENT = {number: f"%{number:02X}" for number in (*range(0x21), *range(0x7F, 0x100))}


def _said(error: Exception, seconds: float) -> str:
    return f"{type(error).__name__} {error}, within {seconds:g} seconds"
