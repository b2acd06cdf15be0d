"""Sends one request to an address that a user chose.

Invariants:
* Who may be reached, and how, is decided in `store.reach`.
* Certificates and the Host header are those of the name.
* Nothing is followed and no proxy asked. After `SECONDS` the connection is shut down, whatever the other side does.
* Of the answer no more than `MOST_READ` bytes are read.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from typing import NamedTuple

from chalicelib.store import reach
from chalicelib.store.reach import Origin, Resolve, resolve

SECONDS = 10.0
MOST_READ = 64 << 10


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


def post(letter: Letter, allowed: Iterable[str], look_up: Resolve = resolve, seconds: float = SECONDS) -> Reply:
    """Send a letter and return the answer; `allowed` may be reached though not public. Raise PostError."""
    try:
        place = reach.origin(letter.url)
        found = reach.reachable(place, allowed, look_up)
    except reach.ReachError as error:
        raise PostError(str(error)) from error
    try:
        return _exchange(letter, place, found, seconds)
    except (OSError, HTTPException, ValueError) as error:
        said = f"{type(error).__name__} {error}, within {seconds:g} seconds"
        raise PostError(f"{place.host} did not answer as it should: {said}") from error


def _exchange(letter: Letter, place: Origin, found: tuple[str, ...], seconds: float) -> Reply:
    with (
        reach.dial(found, place.port, seconds) as raw,
        raw.dup() as twin,
        reach.ending(twin, seconds),
    ):
        connection = HTTPConnection(place.host, place.port)
        connection.sock = raw
        if place.secure:
            trust = reach.trust(skip_cert_verify=letter.skip_cert_verify)
            connection.sock = trust.wrap_socket(raw, server_hostname=place.host)
        try:
            # The default is taken off by the name of the scheme, which http.client does not know here.
            headers = {"Host": str(place), "Connection": "close", **letter.headers}
            connection.request("POST", reach.target(letter.url), letter.content, headers)
            answer = connection.getresponse()
            return Reply(answer.status, answer.read(MOST_READ))
        finally:
            connection.close()
