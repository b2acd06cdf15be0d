"""Opens connections to hosts that users chose, without becoming those users' arm inside the operator's network.

Invariants:
* A name is resolved once; every address that it has must be one that may be reached (`policy.addresses`), and the
  connection goes to one of the very addresses that were looked at: an answer of DNS that changes meanwhile changes
  nothing.
* Certificates are those of the name.
"""

import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Timer
from typing import NamedTuple
from urllib.parse import urldefrag, urljoin, urlsplit

from chalicelib.policy import addresses

_PORTS = {"http": 80, "https": 443}

# Returns the addresses of a host; raises OSError where it has none.
Resolve = Callable[[str, int], Iterable[str]]


class ReachError(OSError):
    """The host may not be reached, or there is none; the text can be shown to whoever chose it."""


class Origin(NamedTuple):
    """Who is spoken to."""

    scheme: str
    host: str
    port: int

    @property
    def secure(self) -> bool:
        """Tell whether what is said is for that host alone."""
        return self.scheme == "https"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def origin(url: str) -> Origin:
    """Return who is spoken to at a URL; raise ReachError where it is none of http or https."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ReachError("an address looks like https://registry.example.com") from error
    if parts.scheme not in _PORTS or not host:
        raise ReachError("an address looks like https://registry.example.com")
    return Origin(parts.scheme, host, _PORTS[parts.scheme] if port is None else port)


def joined(url: str, reference: str) -> str:
    """Return where a reference leads from a URL; raise ReachError where it leads to no address."""
    try:
        location: str = urldefrag(urljoin(url, reference)).url
    except ValueError as error:
        raise ReachError("it leads to what is no address") from error
    origin(location)
    return location


def resolve(host: str, port: int) -> Iterable[str]:
    """Return the addresses of a host, as the system knows them; raise OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return dict.fromkeys(str(each[4][0]) for each in found)


def reachable(place: Origin, allowed: Iterable[str], look_up: Resolve) -> tuple[str, ...]:
    """Return the addresses that a host is reached at; raise ReachError where it may not be."""
    host, allowed = place.host, tuple(allowed)
    try:
        found = tuple(look_up(host, place.port))
    except (OSError, UnicodeError) as error:
        # Its text alone: the number before it is of no use to a person.
        why = getattr(error, "strerror", None) or error
        raise ReachError(f"the name {host} is not known: {why}") from error
    if not found or not all(addresses.may_reach(host, each, allowed) for each in found):
        raise ReachError(
            f"{host} is not connected to: it is not a public address."
            " The operator of the registry can allow it with ROADSTEAD_PRIVATE_TARGETS"
        )
    return found


def dial(found: tuple[str, ...], port: int, seconds: float) -> socket.socket:
    """Connect to the first of the addresses that answers; raise OSError.

    `seconds` are for all of them, so that who has many is not waited for longer; they stay the socket's timeout.
    """
    share = seconds / len(found)
    for address in found[:-1]:
        with suppress(OSError):
            return _connected(address, port, share, seconds)
    return _connected(found[-1], port, share, seconds)


def _connected(address: str, port: int, within: float, seconds: float) -> socket.socket:
    connection = socket.create_connection((address, port), timeout=within)
    connection.settimeout(seconds)
    return connection


def trust(*, skip_cert_verify: bool = False, ca_certificate: str = "") -> ssl.SSLContext:
    """Return whose certificates are believed: everybody's, those of one CA, or the system's; raise ValueError."""
    try:
        context = ssl.create_default_context(cadata=ca_certificate or None)
    except ssl.SSLError as error:
        raise ValueError("the CA certificate must be in PEM form") from error
    if skip_cert_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


@contextmanager
def ending(twin: socket.socket, seconds: float) -> Iterator[None]:
    """Shut a connection down when the time is over: a timeout of a socket begins anew at each byte.

    `twin` is a duplicate of the connection's socket. Raise TimeoutError then, whatever came until then looked like,
    and whatever it looked like to be shut down.
    """
    over = Event()

    def end() -> None:
        over.set()
        with suppress(OSError):
            twin.shutdown(socket.SHUT_RDWR)

    timer = Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception as error:
        if over.is_set():
            raise TimeoutError("the time was over") from error
        raise
    finally:
        timer.cancel()
    if over.is_set():
        raise TimeoutError("the time was over")


def target(url: str) -> str:
    """Return the path and query of a URL as they are sent."""
    parts = urlsplit(url)
    path = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
    return path.encode().decode("latin-1").translate(_PERCENT)


_PERCENT = {number: f"%{number:02X}" for number in (*range(0x21), *range(0x7F, 0x100))}
