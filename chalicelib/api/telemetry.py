"""What is told of a request: one JSON line, in which CloudWatch finds its metrics, and lines for what went wrong.

Invariants:
* No query, no body and no header is ever written: presigned URLs and upload URLs are capabilities. Of User-Agent
  stand a product's name and number, of Authorization the kind of principal that it claims, and of a pull who made it:
  the audit log is made of that. A client that sends an id of its own as X-Request-Id wants to be found by it.
* Of a path only the parts that can name something are written; all else is `-`.
* A line is bounded, whatever a client sends. The one dimension of metrics is `kind`, which has `KINDS` values: every
  other number of values would cost money for each.

Specification: CloudWatch's embedded metric format.
"""

import base64
import logging
import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson

from chalicelib.api import dispatch
from chalicelib.api.endpoints import Endpoint
from chalicelib.api.http import Request, Response
from chalicelib.changes import AUDIT
from chalicelib.oci.errors import RegistryError
from chalicelib.policy.grants import Action, Kind

NAMESPACE = "Roadstead"
# fmt: off
METRICS: Mapping[str, str] = {
    "Requests":     "Count",
    "Errors4xx":    "Count",
    "Errors5xx":    "Count",
    "Milliseconds": "Milliseconds",
    "BytesIn":      "Bytes",
}
_KINDS: Mapping[Action | None, str] = {
    Action.PULL:   "pull",
    Action.LIST:   "pull",
    Action.PUSH:   "push",
    Action.DELETE: "delete",
}
# fmt: on
_UPLOADS = ("end-5", "end-6", "end-13", "end-14")
_HARBOR = ("/api/", "/c/")
KINDS = frozenset({*_KINDS.values(), "login", "harbor", "other"})
_METHODS = frozenset({"GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS"})

_HIDDEN = "-"
_LONGEST_PATH, _LONGEST_TEXT, _LONGEST_TRACEBACK, _LONGEST_NAME = 512, 2000, 8000, 255
_NAME = re.compile(r"(?!eyJ)[A-Za-z0-9._:@+-]{0,63}|[a-z0-9]{1,16}:[0-9a-f]{32,128}", re.ASCII)
_PRODUCT = re.compile(r"[A-Za-z][A-Za-z-]{0,30}/v?[0-9]{1,4}(?:\.[0-9]{1,4}){0,3}", re.ASCII)
_TRACE = re.compile(r"1-[0-9a-f]{8}-[0-9a-f]{24}", re.ASCII)
_PULL = ("end-3", "GET", 200)
# What may stand in an error's words: queries, credentials, tokens, keys and what AWS calls its secrets.
_SECRETS = re.compile(
    r"(?<=\?)[^\s'\"<>]+"
    r"|(?<=Basic )\S+|(?<=Bearer )\S+"
    r"|eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){1,2}"
    r"|(?<![0-9a-f])(?<!sha256[:/])[0-9a-f]{64}(?![0-9a-f])"
    r"|[A-Za-z0-9+/]{100,}={0,2}"
    r"|(?i:(?<=password=)|(?<=secret=)|(?<=token=)|(?<=_state=)|(?<=X-Amz-Signature=))[^\s&'\"]+",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Line:
    """What a request was, and what became of it: bytes of bodies, seconds until the answer was there."""

    request: Request
    status: int
    received: int
    sent: int
    seconds: float


def write(request: Request, response: Response, seconds: float, stream: TextIO | None = None) -> None:
    """Write the line of a request that a function answered; whatever goes wrong here costs nobody an answer."""
    with suppress(Exception):
        line = Line(request, response.status, request.length or 0, len(response.body), seconds)
        headers = {name.lower(): value for name, value in response.headers.items()}
        record = {**document(line, headers), **_metrics(line)}
        print(orjson.dumps(record).decode(), file=stream or sys.stdout, flush=True)


def document(line: Line, answered: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the fields of a request's line; `answered` are the answer's headers in lower case, where they are known.

    `request_id` is what the client sees; `gateway_id` is API Gateway's, where that is another.
    """
    request, headers = line.request, answered or {}
    seen = headers.get("x-request-id", request.id)
    endpoint, name, argument = _routed(request)
    fields = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "request_id": seen,
        "gateway_id": request.id if request.id != seen else "",
        "trace_id": _trace(request),
        "method": request.method if request.method in _METHODS else _HIDDEN,
        "path": shown(request.path),
        "kind": _kind(request, endpoint),
        "endpoint": _endpoint_id(endpoint),
        "repository": shown(name),
        "principal": _claimed(request),
    }
    if endpoint and (endpoint.id, request.method, line.status) == _PULL:
        # What was found is a name for certain, and jobs.count_pulls needs all of it.
        tag = "" if ":" in argument else argument
        pulled = headers.get("docker-content-digest", "")
        fields |= {"repository": name, "tag": tag, "pulled": pulled, "by": _name(request)}
    return {
        **{name: value for name, value in fields.items() if value},
        "status": line.status,
        "received": line.received,
        "sent": line.sent,
        "milliseconds": round(line.seconds * 1000, 1),
        "user_agent": _product(request),
    }


def _kind(request: Request, endpoint: Endpoint | None) -> str:
    if request.path.startswith(_HARBOR):
        return "harbor"
    if endpoint is None or endpoint.path in dispatch.METRICS_PATHS:
        return "other"
    if endpoint.action is None:
        return "push" if endpoint.id in _UPLOADS else "login"
    return _KINDS[endpoint.action]


def _metrics(line: Line) -> dict[str, Any]:
    """Return what CloudWatch makes metrics of; what is 0 is left out, for it would cost as much as what is not."""
    values = {
        "Requests": 1,
        "Errors4xx": int(400 <= line.status < 500),  # noqa: PLR2004 - classes of HTTP statuses
        "Errors5xx": int(line.status >= 500),  # noqa: PLR2004 - as above
        "Milliseconds": round(line.seconds * 1000, 1),
        "BytesIn": line.received,
    }
    told = {name: value for name, value in values.items() if value}
    directive = {
        "Namespace": NAMESPACE,
        "Dimensions": [["kind"]],
        "Metrics": [{"Name": name, "Unit": METRICS[name]} for name in told],
    }
    moment = int(datetime.now(UTC).timestamp() * 1000)
    return {"_aws": {"Timestamp": moment, "CloudWatchMetrics": [directive]}, **told}


def _routed(request: Request) -> tuple[Endpoint | None, str, str]:
    """Return the endpoint, the repository's name and the path's last part; none where there is no such endpoint."""
    try:
        return dispatch.route(request.method, request.path)
    except RegistryError:
        return None, "", ""


def _endpoint_id(endpoint: Endpoint | None) -> str:
    return (endpoint.id or endpoint.path.rpartition("/")[2]) if endpoint else ""


def shown(path: str) -> str:
    """Return a path without what cannot be a name in it."""
    parts = path[:_LONGEST_PATH].split("/")
    return "/".join(part if _NAME.fullmatch(part) else _HIDDEN for part in parts)


def _trace(request: Request) -> str:
    found = _TRACE.search(request.headers.get("x-amzn-trace-id", ""))
    return found.group() if found else ""


def _product(request: Request) -> str:
    found = _PRODUCT.match(request.headers.get("user-agent", ""))
    return found.group() if found else ""


def _claimed(request: Request) -> str:
    """Return what the request says of whoever makes it, which is true where the status is not 401."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if not scheme:
        return "session" if "sid=" in request.headers.get("cookie", "") else Kind.ANONYMOUS
    if scheme.lower() != "bearer":
        return "password"
    try:
        return Kind(_claims(credentials)["kind"])
    except (ValueError, IndexError, KeyError, TypeError):
        return ""


def _claims(token: str) -> Mapping[str, Any]:
    claims = token.split(".")[1]
    found: Mapping[str, Any] = orjson.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    return found


def _name(request: Request) -> str:
    """Return the name that a request comes under, "" for anonymous; true of one that was answered with content."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    try:
        if scheme.lower() == "bearer":
            return _encodable(_claims(credentials.strip())["sub"])[:_LONGEST_NAME]
        return base64.b64decode(credentials).decode().partition(":")[0][:_LONGEST_NAME]
    except (ValueError, IndexError, KeyError, TypeError, AttributeError):
        return ""


class JsonFormatter(logging.Formatter):
    """One line of JSON for each record, with its traceback, and without secrets; `end` is put after it."""

    def __init__(self, end: str = "") -> None:
        super().__init__()
        self._end = end

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        trace = self.formatException(record.exc_info) if record.exc_info and record.exc_info[0] else ""
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": harmless(record.getMessage())[:_LONGEST_TEXT],
            # Its end says what happened and where.
            "traceback": harmless(trace)[-_LONGEST_TRACEBACK:],
            "lambda_id": getattr(record, "aws_request_id", ""),
        }
        text: dict[str, Any] = {name: _encodable(value) for name, value in fields.items() if value}
        if audit := getattr(record, "audit", None):
            text["audit"] = {name: _plain(value) for name, value in audit.items()}
        return orjson.dumps(text).decode() + self._end


def harmless(text: str) -> str:
    """Return a text without queries, credentials, tokens and keys, as far as they look like such."""
    return _SECRETS.sub(_HIDDEN, text)


def _plain(value: object) -> object:
    return _encodable(value)[:_LONGEST_TEXT] if isinstance(value, str) else value


def _encodable(text: str) -> str:
    return text.encode(errors="replace").decode()


def format_logs(names: Iterable[str] = ("",)) -> None:
    """Let the handlers of these loggers, of which "" is the root, write JSON: Lambda and Chalice have made them."""
    for name in names:
        for handler in logging.getLogger(name).handlers:
            # Lambda's own handler ends no line, as those of the standard library do.
            handler.setFormatter(JsonFormatter("" if isinstance(handler, logging.StreamHandler) else "\n"))
    AUDIT.setLevel(logging.INFO)
