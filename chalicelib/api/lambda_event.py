"""API Gateway's REST events to requests, and responses to what Chalice returns: plain dictionaries, no Chalice here.

Facts that shape it: `requestContext.path` is what the client sent, stage included and not decoded, while
`path` loses slashes and `pathParameters` the one at the end; query values come decoded; several lines of one header
are only in `multiValueHeaders`; there is no Content-Length; with every type binary, every body is base64. Behind
CloudFront the Host is API Gateway's; X-Forwarded-Host, which our function at CloudFront sets, is the client's.
Whoever sends it past CloudFront deceives nobody but himself.
"""

import base64
import io
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from chalicelib.api.http import Request, Response

ACCEPT_ANYTHING = "*/*"
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(?::[0-9]{1,5})?", re.ASCII)


def to_request(event: Mapping[str, Any], public_url: str) -> Request:
    """Return the request in an event of a REST API with proxy integration."""
    context = event["requestContext"]
    body = _body(event)
    lines: Mapping[str, list[str]] = event.get("multiValueHeaders") or {}
    headers = {name.lower(): ", ".join(values) for name, values in lines.items()}
    forwarded = headers.get("x-forwarded-host", "")
    fronted = bool(_HOST.fullmatch(forwarded))
    host = forwarded if fronted else headers.get("host") or context.get("domainName", "")
    return Request(
        method=context["httpMethod"],
        path=unquote(context["path"], errors="replace"),
        query=event.get("multiValueQueryStringParameters") or {},
        headers={**headers, "content-length": str(len(body))},
        body=io.BytesIO(body),
        base_url=public_url or f"https://{host}",
        id=context.get("requestId", ""),
        redirect_head=True,
        fronted=fronted,
        streams=False,
        source=(context.get("identity") or {}).get("sourceIp") or "",
    )


def _body(event: Mapping[str, Any]) -> bytes:
    text: str = event.get("body") or ""
    return base64.b64decode(text) if event.get("isBase64Encoded") else text.encode()


def accepting_anything(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return the event with an Accept header: Chalice refuses requests without one, and docker sends such."""
    return {**event, "headers": {**(event.get("headers") or {}), "accept": ACCEPT_ANYTHING}}


def to_chalice(response: Response) -> dict[str, Any]:
    """Return the arguments of a Chalice response."""
    headers = {"Content-Type": "application/octet-stream", **response.headers}
    return {"status_code": response.status, "headers": headers, "body": response.body}
