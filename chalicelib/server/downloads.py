"""Bytes from S3 under the server's own address, so that one port is all that clients need.

`roadstead run` redirects blob requests to a path on the same host; this streams them from the S3 service behind it.
On AWS, and wherever clients can reach S3 themselves, nothing of this is used.

Invariants:
* Only GET and HEAD of `data/` below the bucket's path, only with a presigned query, which S3 verifies.
* Nothing of the client's request goes to S3 but the URL and the conditions of the transfer: clients send the
  registry's Authorization along to a redirect on the same host, and S3 refuses two kinds of authentication.
* The digest in the URL, which the redirect put there, comes back as Docker-Content-Digest; it is not part of what
  S3 signed, and it is only said, never believed.
"""

from dataclasses import dataclass
from typing import Final

from aiohttp import ClientError, ClientSession, web
from yarl import URL

from chalicelib.api.http import Request
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.services import DIGEST_MARK

_CHUNK: Final = 1 << 18
_PASSED_ON = ("range", "if-range", "if-none-match", "if-modified-since", "if-match", "if-unmodified-since")
_PASSED_BACK = ("content-length", "content-range", "content-type", "etag", "last-modified", "accept-ranges")


@dataclass(frozen=True, slots=True)
class Downloads:
    """The way through this server to the bucket at `endpoint`."""

    endpoint: str
    bucket: str
    session: ClientSession

    def serves(self, request: Request) -> bool:
        """Tell whether the request is one for bytes in the bucket."""
        return request.method in ("GET", "HEAD") and request.path.startswith(f"/{self.bucket}/data/")

    async def answer(self, request: web.BaseRequest, asked: Request) -> web.StreamResponse:
        """Stream the object, or S3's refusal."""
        headers = {name: asked.headers[name] for name in _PASSED_ON if name in asked.headers}
        url = URL(self.endpoint + request.raw_path.partition(f"&{DIGEST_MARK}=")[0], encoded=True)
        try:
            async with self.session.request(asked.method, url, headers=headers, allow_redirects=False) as source:
                kept = {name: source.headers[name] for name in _PASSED_BACK if name in source.headers}
                answer = web.StreamResponse(status=source.status, headers={**kept, **_digest_header(asked)})
                await answer.prepare(request)
                async for piece in source.content.iter_chunked(_CHUNK):
                    await answer.write(piece)
                await answer.write_eof()
                return answer
        except ClientError as error:
            raise RegistryError(ErrorCode.UNAVAILABLE, headers={"Retry-After": "5"}) from error


def _digest_header(asked: Request) -> dict[str, str]:
    text = asked.parameter(DIGEST_MARK)
    return {"Docker-Content-Digest": str(Digest.parse(text))} if text else {}
