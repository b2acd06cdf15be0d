"""The strict front has every trap that is known of API Gateway; test_traps.py tells what the registry does there."""

import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection
from typing import Any

import pytest

from chalicelib.api.lambda_event import to_request
from tests.aws.front import DOMAIN, Answered, Asked, Front, Limits
from tests.aws.front_policy import LONGEST, Doorman, allows
from tests.aws.front_server import listening
from tests.engines.process import free_ports

CONTENT = bytes(range(256)) * 40
LIMITS = Limits()
METHODS = ("GET", "HEAD", "PUT", "POST", "PATCH")
ARN = "arn:aws:execute-api:us-east-1:123456789012:abcdefghij/v2"
POLICY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "*"}],
}


@dataclass
class Echo:
    """A function that keeps the events that it gets."""

    answer: Any = field(default_factory=lambda: {"statusCode": 200})
    events: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, event: dict[str, Any], _context: Any) -> Any:
        self.events.append(event)
        return self.answer


def front(function: Callable[..., Any], doorman: Doorman | None = None, limits: Limits = LIMITS) -> Front:
    paths = ("/", "/{proxy+}", "/token")
    return Front(function, {path: dict.fromkeys(METHODS, doorman) for path in paths}, limits=limits)


def event(asked: Asked) -> dict[str, Any]:
    echo = Echo()
    assert front(echo).answer(asked).status == 200
    return echo.events[0]


def seen(answer: Any, method: str = "GET") -> Answered:
    return front(Echo(answer)).answer(Asked(method, "/v2/a"))


@pytest.mark.parametrize(
    ("sent", "path", "proxy", "whole"),
    [
        ("/v2/a/", "/a/", "a", "/v2/a/"),
        ("/v2/a//b", "/a//b", "a//b", "/v2/a//b"),
        ("/v2//a", "/a", "a", "/v2//a"),
        ("//v2/a", "/a", "a", "/v2/a"),
        ("/v2/a/x%2By/x+y", "/a/x%2By/x+y", "a/x%2By/x+y", "/v2/a/x%2By/x+y"),
    ],
)
def test_a_path_is_passed_on_as_recorded_on_aws(sent: str, path: str, proxy: str, whole: str) -> None:
    made = event(Asked("GET", sent))

    assert (made["path"], made["pathParameters"], made["requestContext"]["path"]) == (path, {"proxy": proxy}, whole)


def test_a_query_is_decoded_as_a_form_and_the_last_value_stands_alone() -> None:
    made = event(Asked("GET", "/v2/a?x=1&x=2+3&y=%2B;z=sha256%3Aa"))

    assert made["multiValueQueryStringParameters"] == {"x": ["1", "2 3"], "y": ["+"], "z": ["sha256:a"]}
    assert made["queryStringParameters"]["x"] == "2 3"


@pytest.mark.parametrize("name", ["Connection", "Content-Length", "Content-MD5", "Expect", "TE", "Transfer-Encoding"])
def test_a_header_that_is_dropped_is_in_no_event(name: str) -> None:
    made = event(Asked("GET", "/v2/a", [(name, "1"), ("tEsT-HEADeR", "2"), ("authorization", "3")]))

    assert set(made["headers"]) >= {"tEsT-HEADeR", "Authorization"}
    assert name not in made["multiValueHeaders"]


@pytest.mark.parametrize("name", ["WWW-Authenticate", "Content-Length", "Date", "Server", "Authorization"])
def test_a_function_s_header_is_renamed(name: str) -> None:
    answered = seen({"statusCode": 200, "headers": {name: "7", "Range": "0-4", "Location": "/x"}})

    assert answered.header(f"X-Amzn-Remapped-{name}") == "7"
    assert answered.header(name) in ("", "0")
    assert (answered.header("Range"), answered.header("Location")) == ("0-4", "/x")


def test_a_head_has_a_length_of_0_whatever_the_function_says() -> None:
    answer = {"statusCode": 200, "headers": {"Content-Length": "9"}, "body": "nine char"}

    assert seen(answer).header("Content-Length") == "9"
    assert (seen(answer, "HEAD").header("Content-Length"), seen(answer, "HEAD").body) == ("0", b"")


@pytest.mark.parametrize(
    "answer",
    [
        "text",
        {"statusCode": "two hundred"},
        {"statusCode": 200, "body": {"a": 1}},
        {"statusCode": 200, "status": "ok"},
        {"statusCode": 200, "headers": {"a": ["b"]}},
        {"statusCode": 200, "body": "x" * LIMITS.answer},
    ],
)
def test_what_is_no_proxy_s_answer_is_502(answer: Any) -> None:
    answered = seen(answer)

    assert answered.status == 502
    assert json.loads(answered.body)["errors"][0]["code"] == "UNAVAILABLE"


def test_base64_that_is_not_marked_is_sent_as_text_and_the_wrong_one_fails() -> None:
    text = base64.b64encode(CONTENT).decode()

    assert seen({"statusCode": 200, "body": text}).body == text.encode()
    assert seen({"statusCode": 200, "body": text, "isBase64Encoded": True}).body == CONTENT
    assert seen({"statusCode": 200, "body": "?", "isBase64Encoded": True}).status == 500


def test_a_body_above_10_mb_is_refused_in_aws_s_words_and_one_above_lambda_s_6_too() -> None:
    largest = front(Echo()).answer(Asked("PUT", "/v2/a", body=bytes(LIMITS.body + 1)))
    large = front(Echo()).answer(Asked("PUT", "/v2/a", body=bytes(LIMITS.event * 3 // 4)))

    assert (largest.status, large.status) == (413, 413)
    assert "HTTP content length exceeded" in json.loads(largest.body)["message"]
    assert json.loads(large.body) == {"message": "Request Too Long"}
    assert front(Echo()).answer(Asked("PUT", "/v2/a", body=bytes(4_400_000))).status == 200


def test_a_function_that_takes_too_long_is_504_and_one_that_fails_502() -> None:
    done = threading.Event()

    def slow(_event: Any, _context: Any) -> None:
        done.wait(30)

    def failing(_event: Any, _context: Any) -> None:
        raise LookupError

    late = front(slow, limits=replace(LIMITS, seconds=0.05)).answer(Asked("GET", "/v2/a"))
    done.set()

    assert late.status == 504
    assert late.header("Retry-After") == "5"
    assert front(failing).answer(Asked("GET", "/v2/a")).status == 502


@pytest.mark.parametrize(
    ("method", "target", "status", "kind"),
    [
        ("GET", "/", 403, "ForbiddenException"),
        ("GET", "/chalice/a", 403, "ForbiddenException"),
        ("OPTIONS", "/v2/a", 404, "MISSING_AUTHENTICATION_TOKEN"),
        ("OPTIONS", "/service/token", 404, "MISSING_AUTHENTICATION_TOKEN"),
    ],
)
def test_where_nothing_is_the_function_is_not_asked(method: str, target: str, status: int, kind: str) -> None:
    echo = Echo()

    answered = front(echo).answer(Asked(method, target))

    assert (answered.status, answered.header("x-amzn-ErrorType"), echo.events) == (status, kind, [])


def guarded(answer: Any, now: Callable[[], float] = time.monotonic) -> tuple[Echo, Callable[..., Answered]]:
    asked = Echo(answer)
    api = front(Echo(), Doorman(asked, 60, now))
    return asked, lambda token="t", target="/v2/a": api.answer(Asked("GET", target, [("Authorization", token)]))


def test_an_authorizer_is_asked_once_per_token_until_its_time_is_over() -> None:
    clock = [0.0]
    asked, ask = guarded({"principalId": "x", "policyDocument": POLICY}, lambda: clock[0])

    assert [ask(target=f"/v2/{name}").status for name in "abc"] == [200, 200, 200]
    assert len(asked.events) == 1
    ask("another")
    clock[0] = 61
    ask()

    assert [each["authorizationToken"] for each in asked.events] == ["t", "another", "t"]
    assert asked.events[0]["methodArn"] == f"{ARN}/GET/a"


def test_without_a_token_no_authorizer_is_asked() -> None:
    asked, ask = guarded({"principalId": "x", "policyDocument": POLICY})

    assert (ask("").status, asked.events) == (401, [])
    assert ask("").header("WWW-Authenticate").startswith(f'Bearer realm="https://{DOMAIN}/')


@pytest.mark.parametrize(
    "answer",
    [
        None,
        {"policyDocument": POLICY},
        {"principalId": "x", "policyDocument": POLICY, "context": {"a": []}},
        {"principalId": "x" * LONGEST, "policyDocument": POLICY},
    ],
)
def test_an_authorizer_s_wrong_answer_is_no_permission(answer: Any) -> None:
    _, ask = guarded(answer)

    assert (ask().status, ask().header("x-amzn-ErrorType")) == (503, "AUTHORIZER_CONFIGURATION_ERROR")


@pytest.mark.parametrize(
    ("effect", "resource", "allowed"),
    [
        ("Allow", f"{ARN}/GET/*", True),
        ("Allow", f"{ARN}/GET/a/manifests/v?", True),
        ("Allow", [f"{ARN}/PUT/*", f"{ARN}/GET/b/*"], False),
        ("Deny", f"{ARN}/*", False),
    ],
)
def test_a_policy_is_read_as_iam_does(effect: str, resource: Any, allowed: bool) -> None:
    statement = {"Effect": effect, "Action": "execute-api:*", "Resource": resource}

    assert allows({"Statement": [statement]}, f"{ARN}/GET/a/manifests/v1") is allowed
    assert not allows({"Statement": [*POLICY["Statement"], {**statement, "Effect": "Deny", "Resource": "*"}]}, ARN)


def test_lines_of_one_header_and_values_of_one_parameter_all_arrive() -> None:
    made = event(Asked("GET", "/v2/a?scope=x&scope=y", [("Accept", "a/b"), ("Accept", "c/d")]))

    request = to_request(made, "")

    assert request.headers["accept"] == "a/b, c/d"
    assert request.query["scope"] == ["x", "y"]


def _wire(port: int, method: str, target: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, target, body, headers, encode_chunked=isinstance(body, list))
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def test_over_a_socket_chunked_bodies_arrive_whole_and_no_head_has_a_body() -> None:
    echo = Echo({"statusCode": 200, "headers": {"WWW-Authenticate": "x"}, "body": "text"})
    chunks: Sequence[bytes] = [CONTENT, b"end"]
    (port,) = free_ports(1)

    with listening(front(echo), port):
        _wire(port, "PATCH", "/v2/a%2Fb", chunks, **{"Transfer-Encoding": "chunked", "X-One": "1"})
        status, headers, body = _wire(port, "HEAD", "/v2/a")

    patched = echo.events[0]
    assert base64.b64decode(patched["body"]) == CONTENT + b"end"
    assert (patched["path"], patched["headers"]["X-One"]) == ("/a%2Fb", "1")
    assert "Transfer-Encoding" not in patched["headers"]
    assert (status, headers["Content-Length"], headers["X-Amzn-Remapped-WWW-Authenticate"], body) == (
        200,
        "0",
        "x",
        b"",
    )


def test_over_a_socket_expect_is_answered_before_the_body_is_sent() -> None:
    echo = Echo()
    (port,) = free_ports(1)

    with listening(front(echo), port), socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(b"PUT /v2/a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 100 ")
        client.sendall(b"abc")
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")

    assert base64.b64decode(echo.events[0]["body"]) == b"abc"
    assert "Expect" not in echo.events[0]["headers"]
