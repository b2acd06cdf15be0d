"""A request and a response, and the one place that renders errors.

Invariants:
* Header names of a request are lower case; several lines of one header are joined by a comma.
* `path` is decoded once, and every text can be encoded again. `base_url` is the address by which the client
  reached the registry, or "" where its Host header is not one.
* Every refusal is the specification's error document; a 401 below `/v2` carries the challenge, which names the
  scope where the request had one, and never an error: some clients give up on a challenge with an error.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qs, urlsplit

import orjson

from chalicelib.oci.errors import ErrorCode, RegistryError

if TYPE_CHECKING:
    # A pull, which reads no body, does not wait for what does.
    from chalicelib.store.uploads import Body

JSON = "application/json"
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
TOKEN_PATH = "/service/token"
_READ = 1 << 16
_LONGEST_FORM = 64 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks."""

    method: str
    path: str
    query: Mapping[str, Sequence[str]]
    headers: Mapping[str, str]
    body: "Body"
    base_url: str
    id: str
    # API Gateway answers HEAD with a length of 0, which corrupts clients; behind it HEAD is redirected to S3.
    redirect_head: bool = False
    # It came through our CloudFront, which passes presigned HEADs on to the bucket and says the digest there.
    fronted: bool = False
    # The answer's body may be a stream: API Gateway takes whole ones alone.
    streams: bool = True
    # The address from which it came, as far as this side of any proxy can tell.
    source: str = ""

    @property
    def host(self) -> str:
        """Return the host and port by which the client reached the registry."""
        return urlsplit(self.base_url).netloc

    @property
    def length(self) -> int | None:
        """Return the Content-Length, or None where the body is chunked or absent."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isascii() and text.isdecimal() else None

    def read(self, limit: int) -> bytes | None:
        """Return the whole body, or None where it has more than `limit` bytes."""
        if (self.length or 0) > limit:
            return None
        content = bytearray()
        while len(content) <= limit and (piece := self.body.read(_READ)):
            content += piece
        return bytes(content) if len(content) <= limit else None

    def form(self, most: int) -> dict[str, list[str]]:
        """Return the fields of the HTML form that was sent; raise ValueError if it has more than `most`, or is none.

        A body longer than any login takes is read as none.
        """
        content = self.read(_LONGEST_FORM)
        return parse_qs((content or b"").decode(), max_num_fields=most)

    def parameter(self, name: str) -> str:
        """Return the first value of a query parameter, or ""."""
        return (self.query.get(name) or [""])[0]


class Stream(Protocol):
    """A body that comes while it is sent; whoever sends it closes it."""

    def read(self) -> bytes | None:
        """Return the next bytes, b"" where none came for a while, None at the end; raise OSError."""

    def close(self) -> None:
        """Say that nothing more is read."""


@dataclass(frozen=True, slots=True)
class Response:
    """What the registry answers; a stated Content-Length is kept, for HEAD and for a body that is a `stream`."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    stream: Stream | None = None


def json_response(document: object, *, headers: Mapping[str, str] = NO_HEADERS, media_type: str = JSON) -> Response:
    """Return a document with status 200."""
    return Response(200, {"Content-Type": media_type, **headers}, orjson.dumps(document))


def challenge(request: Request, scope: str = "") -> dict[str, str]:
    """Return the header that tells a client where to get a token."""
    asked = f',scope="{scope}"' if scope else ""
    value = f'Bearer realm="{request.base_url}{TOKEN_PATH}",service="{request.host}"{asked}'
    return {"WWW-Authenticate": value}


def error_response(error: RegistryError, request: Request) -> Response:
    """Return the answer to a refused request."""
    general = challenge(request) if error.code is ErrorCode.UNAUTHORIZED and request.path.startswith("/v2") else {}
    headers = {"Content-Type": JSON, **general, **error.headers}
    return Response(error.status, headers, orjson.dumps(error.document(), default=str))
