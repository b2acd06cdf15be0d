"""A strict API Gateway in front of a Chalice application that runs in this process: a REST API with Lambda proxies.

It does to requests and answers what is written of AWS or was recorded there, and nothing kinder. Routes, methods and
authorizers are read from the application; stages and gateway responses are those of `infra.gateway`. What cannot be
known without an account follows what most reports say; `docs/first-deploy.md` lists it.

Invariants:
* The function sees an event, and never the request; a client sees what API Gateway makes of an answer.
* A function takes one request at a time, as an instance of a Lambda does.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from time import monotonic
from typing import Any, NamedTuple
from urllib.parse import parse_qsl
from uuid import uuid4

from infra import gateway
from tests.aws.front_policy import Doorman, RefusedError
from tests.aws.headers import Lines, arriving, leaving

API, ACCOUNT, REGION = "abcdefghij", "123456789012", "us-east-1"
DOMAIN = f"{API}.execute-api.{REGION}.amazonaws.com"
_ANSWER_KEYS = {"statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded"}
_NOT_IN_QUERIES = re.compile(r"[|{}]")
_RESPONSES = {each.type: each for each in gateway.RESPONSES}
_HEADER = "gatewayresponse.header."


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes of a body, of a function's event and of its answer; characters of a target; seconds of a function."""

    body: int = 10 * 1024 * 1024
    event: int = 6 * 1024 * 1024
    answer: int = 6 * 1024 * 1024
    target: int = 10_240
    seconds: float = 29.0


class Asked(NamedTuple):
    """A request as it was sent: the target is neither decoded nor normalised."""

    method: str
    target: str
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    source: str = "203.0.113.7"


class Answered(NamedTuple):
    """An answer as it is sent."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        """Return the value of a header, or ""."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")


class Place(NamedTuple):
    """Where a request leads: `path` is below the stage, `whole` includes it, `resource` is that of the route."""

    stage: str
    path: str
    whole: str
    resource: str


@dataclass(frozen=True, slots=True)
class Context:
    """What Lambda tells a function of its run."""

    aws_request_id: str
    until: float
    function_name: str = "roadstead"

    def get_remaining_time_in_millis(self) -> int:
        """Return the time that is left."""
        return max(0, int((self.until - monotonic()) * 1000))


Routes = Mapping[str, Mapping[str, Doorman | None]]


@dataclass(frozen=True, slots=True)
class Front:
    """The API: its function, its methods by resource with their authorizers, its stages, and the limits of AWS."""

    function: Callable[[dict[str, Any], Any], Any]
    routes: Routes
    stages: Sequence[str] = gateway.STAGES
    limits: Limits = Limits()
    # The host of which the gateway responses tell, which is fixed when the API is deployed.
    host: str = DOMAIN
    pool: Executor = field(default_factory=lambda: ThreadPoolExecutor(8, thread_name_prefix="lambda"))
    busy: Lock = field(default_factory=Lock)

    def answer(self, asked: Asked) -> Answered:
        """Do what API Gateway does with a request."""
        try:
            place = self._place(asked)
        except RefusedError as refusal:
            # No stage is known, so nothing of ours applies.
            return _sent(asked, refusal.status, [("x-amzn-ErrorType", refusal.kind)], _own_words(refusal))
        try:
            return self._through(_overridden(asked), place)
        except RefusedError as refusal:
            return _refusal(asked, refusal, self.host)

    def _place(self, asked: Asked) -> Place:
        if len(asked.target) > self.limits.target:
            raise RefusedError("RequestUriTooLong", 414, "Request-URI Too Long")
        raw = asked.target.partition("?")[0]
        stage, slash, rest = raw.lstrip("/").partition("/")
        if stage not in self.stages:
            raise RefusedError("ForbiddenException", 403, "Forbidden")
        path = "/" + rest.lstrip("/")
        return Place(stage, path, f"/{stage}{slash}{rest}", self._resource(path))

    def _resource(self, path: str) -> str:
        """Return the resource of a path: itself, or the longest one whose greedy part takes the rest."""
        exact = path.rstrip("/") or "/"
        if exact in self.routes:
            return exact
        greedy = [each for each in self.routes if each.endswith("/{proxy+}")]
        fitting = [each for each in greedy if _greedy(each, exact) and exact != "/"]
        return max(fitting, key=len, default="")

    def _through(self, asked: Asked, place: Place) -> Answered:
        methods = self.routes.get(place.resource, {})
        if asked.method not in methods:
            raise RefusedError("MISSING_AUTHENTICATION_TOKEN", 403, "Missing Authentication Token")
        if len(asked.body) > self.limits.body:
            raise RefusedError("", 413, f"HTTP content length exceeded {self.limits.body} bytes.")
        if _NOT_IN_QUERIES.search(asked.target.partition("?")[2]):
            raise RefusedError("", 400, "Bad Request")
        doorman = methods[asked.method]
        if doorman is not None:
            doorman.check(_value(asked.headers, doorman.header), _arn(asked.method, place))
        event = _event(asked, place)
        if len(json.dumps(event)) > self.limits.event:
            raise RefusedError("", 413, "Request Too Long")
        return _proxied(asked, self._invoke(event), self.limits)

    def _invoke(self, event: dict[str, Any]) -> Any:
        context = Context(event["requestContext"]["requestId"], monotonic() + self.limits.seconds)
        try:
            return self.pool.submit(self._run, event, context).result(self.limits.seconds)
        except TimeoutError as error:
            raise RefusedError("INTEGRATION_TIMEOUT", 504, "Endpoint request timed out") from error
        except Exception as error:
            # Lambda's document about the failure is no answer of a proxy.
            raise _malformed() from error

    def _run(self, event: dict[str, Any], context: Context) -> Any:
        with self.busy:
            # Both cross a process's border as JSON.
            return json.loads(json.dumps(self.function(json.loads(json.dumps(event)), context)))


def front_of(application: Any, *, host: str = DOMAIN, now: Callable[[], float] = monotonic) -> Front:
    """Return the API of a Chalice application, as it is deployed; `host` is where clients are sent for tokens."""
    doormen: dict[str, Doorman] = {}

    def doorman(authorizer: Any) -> Doorman | None:
        if authorizer is None:
            return None
        config = authorizer.config
        made = Doorman(authorizer, config.ttl_seconds, now, config.header or "Authorization")
        return doormen.setdefault(authorizer.name, made)

    routes = {
        path: {method: doorman(entry.authorizer) for method, entry in methods.items()}
        for path, methods in application.routes.items()
    }
    return Front(application, routes, host=host)


def _greedy(resource: str, path: str) -> bool:
    return path.startswith(resource.removesuffix("{proxy+}"))


def _overridden(asked: Asked) -> Asked:
    return asked._replace(method=_value(asked.headers, "X-HTTP-Method-Override") or asked.method)


def _value(lines: Lines, name: str) -> str:
    return next((value for key, value in lines if key.lower() == name.lower()), "")


def _arn(method: str, place: Place) -> str:
    return f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{API}/{place.stage}/{method}{place.path}"


def _event(asked: Asked, place: Place) -> dict[str, Any]:
    """Return the event of a Lambda proxy; every body is base64, since the API has the binary type `*/*`."""
    headers = _by_name([*arriving(asked.headers), ("X-Forwarded-For", asked.source), ("X-Forwarded-Proto", "https")])
    query = _query(asked.target.partition("?")[2])
    greedy = place.resource.endswith("{proxy+}")
    rest = place.path.removeprefix(place.resource.removesuffix("{proxy+}")).rstrip("/")
    return {
        "resource": place.resource,
        "path": place.path,
        "httpMethod": asked.method,
        "headers": _last(headers),
        "multiValueHeaders": headers,
        "queryStringParameters": _last(query) or None,
        "multiValueQueryStringParameters": query or None,
        "pathParameters": {"proxy": rest} if greedy else None,
        "stageVariables": None,
        "requestContext": _context(asked, place),
        "body": base64.b64encode(asked.body).decode() if asked.body else None,
        "isBase64Encoded": bool(asked.body),
    }


def _context(asked: Asked, place: Place) -> dict[str, Any]:
    return {
        "accountId": ACCOUNT,
        "apiId": API,
        "domainName": _value(asked.headers, "Host") or DOMAIN,
        "httpMethod": asked.method,
        "identity": {"sourceIp": asked.source, "userAgent": _value(asked.headers, "User-Agent") or None},
        "path": place.whole,
        "protocol": "HTTP/1.1",
        "requestId": str(uuid4()),
        "resourcePath": place.resource,
        "stage": place.stage,
    }


def _query(text: str) -> dict[str, list[str]]:
    """Return parameters, decoded as a form is; a semicolon parts them as well."""
    return _by_name(parse_qsl(text.replace(";", "&"), keep_blank_values=True))


def _by_name(pairs: Lines) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return found


def _last(lines: Mapping[str, list[str]]) -> dict[str, str]:
    return {name: values[-1] for name, values in lines.items()}


def _proxied(asked: Asked, answer: Any, limits: Limits) -> Answered:
    """Return what a client sees of a function's answer; raise RefusedError where it is none."""
    if not isinstance(answer, dict) or not set(answer) <= _ANSWER_KEYS or len(json.dumps(answer)) > limits.answer:
        raise _malformed()
    status, body = str(answer.get("statusCode", "")), answer.get("body") or ""
    if not status.isdecimal() or not isinstance(body, str):
        raise _malformed()
    lines = list(leaving(_lines(answer)))
    if not _value(lines, "Content-Type"):
        lines.append(("Content-Type", "application/json"))
    return _sent(asked, int(status), lines, _decoded(body) if answer.get("isBase64Encoded") else body.encode())


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise RefusedError("API_CONFIGURATION_ERROR", 500, "Internal server error") from error


def _lines(answer: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the answer's header lines; several of one name can only be in `multiValueHeaders`."""
    several: Mapping[str, list[str]] = answer.get("multiValueHeaders") or {}
    for name, value in (answer.get("headers") or {}).items():
        if isinstance(value, list | dict):
            raise _malformed()
        if name not in several:
            yield name, str(value)
    yield from ((name, str(value)) for name, values in several.items() for value in values)


def _malformed() -> RefusedError:
    return RefusedError("DEFAULT_5XX", 502, "Internal server error")


def _refusal(asked: Asked, refusal: RefusedError, host: str) -> Answered:
    """Return a gateway response: ours, or AWS's own where there can be none."""
    general = "DEFAULT_4XX" if refusal.status < 500 else "DEFAULT_5XX"
    response = _RESPONSES.get(refusal.kind) or _RESPONSES[general]
    if not refusal.kind:
        return _sent(asked, refusal.status, [("Content-Type", "application/json")], _own_words(refusal))
    named = gateway.headers(response, host).items()
    lines = [(name.removeprefix(_HEADER), value.removeprefix("'").removesuffix("'")) for name, value in named]
    lines += [("Content-Type", "application/json"), ("x-amzn-ErrorType", refusal.kind)]
    text = gateway.body(response).replace("$context.error.messageString", json.dumps(refusal.message))
    return _sent(asked, response.status or refusal.status, lines, text.encode())


def _own_words(refusal: RefusedError) -> bytes:
    return json.dumps({"message": refusal.message}).encode()


def _sent(asked: Asked, status: int, lines: Lines, body: bytes) -> Answered:
    """Return the answer with API Gateway's own headers; a HEAD's has no body, and a length of 0 whatever it was."""
    content = b"" if asked.method == "HEAD" else body
    own = [("x-amzn-RequestId", str(uuid4())), ("Content-Length", str(len(content)))]
    return Answered(status, [*lines, *own], content)
