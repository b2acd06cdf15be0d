"""Bytes from S3 under the server's own address, so that one port is all that clients need.

`roadstead run` redirects blob requests to a path on the same host; this streams them from the S3 service behind it.
On AWS, and wherever clients can reach S3 themselves, nothing of this is used.

Invariants:
* Only GET and HEAD of `data/<upload id>` below the bucket's path, only with a presigned query, which S3 verifies.
* What S3 refuses is refused with an error document; its own words and names stay inside.
* Nothing of the client's request goes to S3 but the URL and the conditions of the transfer: clients send the
  registry's Authorization along to a redirect on the same host, and S3 refuses two kinds of authentication.
* The digest in the URL, which the redirect put there, comes back as Docker-Content-Digest; it is not part of what
  S3 signed, and it is only said, never believed.
"""

import logging
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from aiohttp import ClientError, ClientResponse, ClientSession, web
from yarl import URL

from chalicelib.api.http import Request
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.services import DIGEST_MARK

log = logging.getLogger(__name__)

_CHUNK: Final = 1 << 18
_PASSED_ON = ("range", "if-range", "if-none-match", "if-modified-since", "if-match", "if-unmodified-since")
_PASSED_BACK = ("content-length", "content-range", "content-type", "etag", "last-modified", "accept-ranges")
# An upload id, as it is: nothing encoded, no way around.
_OBJECT = re.compile(r"/(?P<bucket>[^/?]+)/data/[0-9a-f-]{36}(?:\?.*)?", re.ASCII)

# fmt: off
_REFUSALS: Mapping[int, tuple[ErrorCode, str]] = MappingProxyType({
    400: (ErrorCode.DENIED,       "this address cannot be read: ask the registry for the blob again"),
    403: (ErrorCode.DENIED,       "this address has expired or was changed: ask the registry for the blob again"),
    404: (ErrorCode.BLOB_UNKNOWN, "these bytes are gone: ask the registry for the blob again"),
    412: (ErrorCode.UNSUPPORTED,  "the blob is not the one that the condition names"),
    416: (ErrorCode.SIZE_INVALID, "the range lies beyond the end of the blob"),
})
# fmt: on


@dataclass(frozen=True, slots=True)
class Downloads:
    """The way through this server to the bucket at `endpoint`."""

    endpoint: str
    bucket: str
    session: ClientSession

    def serves(self, method: str, target: str) -> bool:
        """Tell whether a request is one for bytes in the bucket; `target` is its path and query, as sent."""
        match = _OBJECT.fullmatch(target)
        return method in ("GET", "HEAD") and match is not None and match["bucket"] == self.bucket

    async def answer(self, request: web.BaseRequest, asked: Request, target: str) -> web.StreamResponse:
        """Stream the object; raise what S3's refusal means."""
        headers = {name: asked.headers[name] for name in _PASSED_ON if name in asked.headers}
        url = URL(self.endpoint + target.partition(f"&{DIGEST_MARK}=")[0], encoded=True)
        mark = _digest_header(asked)
        try:
            async with self.session.request(asked.method, url, headers=headers, allow_redirects=False) as source:
                kept = {name: source.headers[name] for name in _PASSED_BACK if name in source.headers}
                if source.status >= 400:  # noqa: PLR2004
                    raise _refusal(source.status, kept)
                answer = web.StreamResponse(status=source.status, headers={**kept, **mark, "Server": "Roadstead"})
                await _send(request, source, answer)
                return answer
        except ClientError as error:
            raise RegistryError(ErrorCode.UNAVAILABLE, headers={"Retry-After": "5"}) from error


async def _send(request: web.BaseRequest, source: ClientResponse, answer: web.StreamResponse) -> None:
    """Copy S3's body; once the head is out, all that can be done about a failure is to end the connection."""
    pieces = source.content.iter_chunked(_CHUNK)
    try:
        await answer.prepare(request)
        while piece := await _next(request, pieces):
            await answer.write(piece)
        await answer.write_eof()
    except ConnectionError:
        # The client is gone: it has enough, or lost its way. Nothing is wrong here.
        return


async def _next(request: web.BaseRequest, pieces: AsyncIterator[bytes]) -> bytes:
    try:
        return await anext(pieces, b"")
    except ClientError as error:
        log.error("S3 broke off in the middle of a blob: %s", error)  # noqa: TRY400 - where it happened is known
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionAbortedError from error


def _refusal(status: int, headers: Mapping[str, str]) -> RegistryError:
    code, message = _REFUSALS.get(status, (ErrorCode.UNAVAILABLE, ""))
    known = status if status in _REFUSALS else 0
    kept = {"Content-Range": headers["content-range"]} if "content-range" in headers else {}
    return RegistryError(code, message, status=known, headers=kept)


def _digest_header(asked: Request) -> dict[str, str]:
    text = asked.parameter(DIGEST_MARK)
    return {"Docker-Content-Digest": str(Digest.parse(text))} if text else {}
