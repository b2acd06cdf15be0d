"""The lines that functions write: what is in them, what never is, and what CloudWatch reads out of them."""

import io
import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.api import telemetry, tokens
from chalicelib.api.dispatch import ENDPOINTS, dispatch
from chalicelib.api.http import Request, Response
from chalicelib.api.telemetry import JsonFormatter
from chalicelib.oci.names import Repository
from chalicelib.policy.grants import Action, Grant, Kind, Principal
from tests.api.asking import Client, basic

DIGEST = "sha256:" + "0" * 64
KEYS = tokens.KeyRing.of((bytes(range(32)),))
ACCESS = {"repository:library/app": frozenset({Action.PULL})}
TRACE = "1-5e3a8f5c-0123456789abcdef01234567"


def token(kind: Kind = Kind.USER, name: str = "alice") -> str:
    return KEYS.issue(Grant(Principal(name, kind=kind), ACCESS), datetime.now(UTC), 1800)


def request(path: str, method: str = "GET", body: bytes = b"", **fields: Any) -> Request:
    headers = {"content-length": str(len(body)), **fields.pop("headers", {})}
    return Request(
        method, path, fields.pop("query", {}), headers, io.BytesIO(body), "https://registry.test", "gateway-1"
    )


def text(asked: Request, answer: Response, seconds: float = 0.0125) -> str:
    stream = io.StringIO()
    telemetry.write(asked, answer, seconds, stream)
    return stream.getvalue()


def told(asked: Request, answer: Response) -> dict[str, Any]:
    written: dict[str, Any] = json.loads(text(asked, answer))
    return written


def test_a_pull_is_one_line_that_says_what_was_pulled_by_whom_and_how_long_it_took() -> None:
    headers = {
        "authorization": f"Bearer {token(Kind.ROBOT)}",
        "user-agent": "docker/27.1.1 go/go1.21 (linux)",
        "x-amzn-trace-id": f"Self=1-1-1;Root={TRACE}",
    }
    answer = Response(200, {"Docker-Content-Digest": DIGEST, "X-Request-Id": "mine"}, b"four")

    line = text(request("/v2/library/app/manifests/v1", headers=headers), answer)

    assert line.count("\n") == 1
    assert len(line) < 1024
    found = json.loads(line)
    assert {name: found[name] for name in found if name not in ("time", "_aws")} == {
        "request_id": "mine",
        "gateway_id": "gateway-1",
        "trace_id": TRACE,
        "method": "GET",
        "path": "/v2/library/app/manifests/v1",
        "kind": "pull",
        "endpoint": "end-3",
        "repository": "library/app",
        "pulled": DIGEST,
        "tag": "v1",
        "principal": "robot",
        "by": "alice",
        "status": 200,
        "received": 0,
        "sent": 4,
        "milliseconds": 12.5,
        "user_agent": "docker/27.1.1",
        "Requests": 1,
        "Milliseconds": 12.5,
    }


@pytest.mark.parametrize(
    ("headers", "principal"),
    [
        ({}, "anonymous"),
        (basic(), "password"),
        ({"cookie": "sid=abc"}, "session"),
        ({"authorization": f"Bearer {token()}"}, "user"),
        ({"authorization": f"Bearer {token(Kind.ANONYMOUS)}"}, "anonymous"),
        ({"authorization": "Bearer of-nothing"}, None),
        ({"authorization": "Bearer a.bnVsbA.c"}, None),
        ({"authorization": "Bearer a.\xff.c"}, None),
        ({"authorization": "Bearer"}, None),
    ],
)
def test_who_asks_is_told_by_kind(headers: dict[str, str], principal: str | None) -> None:
    assert told(request("/v2/", headers=headers), Response(200)).get("principal") == principal


# Kinds by path. `other` is what the table of endpoints does not know.
KINDS = {
    ("GET", "/v2/"): "login",
    ("POST", "/service/token"): "login",
    ("GET", "/v2/_catalog"): "pull",
    ("HEAD", f"/v2/a/b/blobs/{DIGEST}"): "pull",
    ("GET", f"/v2/a/b/referrers/{DIGEST}"): "pull",
    ("POST", "/v2/a/b/blobs/uploads/"): "push",
    ("PATCH", "/v2/a/b/blobs/uploads/4a1b"): "push",
    ("PUT", "/v2/a/b/manifests/v1"): "push",
    ("DELETE", "/v2/a/b/manifests/v1"): "delete",
    ("GET", "/api/v2.0/projects"): "harbor",
    ("POST", "/c/login"): "harbor",
    ("GET", "/nowhere"): "other",
    ("TRACE", "/v2/"): "other",
}


@pytest.mark.parametrize(("asked", "kind"), KINDS.items(), ids=str)
def test_a_request_is_of_one_kind(asked: tuple[str, str], kind: str) -> None:
    method, path = asked

    assert told(request(path, method), Response(200))["kind"] == kind


def test_every_endpoint_has_a_kind_of_its_own_and_every_kind_is_used() -> None:
    marks = {"<name>": "a/b", "<digest>": DIGEST, "<reference>": "v1", "<upload>": "4a1b"}
    seen = set()
    for endpoint in ENDPOINTS:
        path = endpoint.path
        for mark, value in marks.items():
            path = path.replace(mark, value)
        seen.add(told(request(path, endpoint.method), Response(200))["kind"])

    assert seen == telemetry.KINDS - {"harbor"}
    assert set(KINDS.values()) == telemetry.KINDS


# The embedded metric format, as its specification says it: bounds of names, numbers of things, where values stand.
UNITS = {"Count", "Bytes", "Milliseconds", "Seconds", "Percent", "None"}


def check_emf(document: dict[str, Any]) -> dict[str, float]:
    """Assert that CloudWatch takes metrics out of a document; return them by name."""
    metadata = document["_aws"]
    assert set(metadata) == {"Timestamp", "CloudWatchMetrics"}
    assert isinstance(metadata["Timestamp"], int)
    # Two weeks back and two hours ahead; milliseconds, not seconds.
    assert abs(metadata["Timestamp"] / 1000 - datetime.now(UTC).timestamp()) < 7200
    values: dict[str, float] = {}
    for directive in metadata["CloudWatchMetrics"]:
        assert set(directive) == {"Namespace", "Dimensions", "Metrics"}
        assert 1 <= len(directive["Namespace"]) <= 1024
        assert not directive["Namespace"].startswith("AWS/")
        for dimensions in directive["Dimensions"]:
            assert len(dimensions) <= 30
            assert all(isinstance(document[name], str) and 1 <= len(document[name]) <= 1024 for name in dimensions)
        assert 1 <= len(directive["Metrics"]) <= 100
        for metric in directive["Metrics"]:
            assert set(metric) <= {"Name", "Unit", "StorageResolution"}
            assert 1 <= len(metric["Name"]) <= 1024
            assert metric["Unit"] in UNITS
            value = document[metric["Name"]]
            assert isinstance(value, int | float)
            assert not isinstance(value, bool)
            values[metric["Name"]] = value
    return values


@given(
    st.sampled_from(["GET", "PUT", "DELETE"]),
    st.text(max_size=60).map("/v2/{}".format),
    st.integers(200, 599),
    st.binary(max_size=50),
    st.floats(0, 900),
)
def test_cloudwatch_finds_metrics_in_every_line(
    method: str, path: str, status: int, body: bytes, seconds: float
) -> None:
    document = json.loads(text(request(path, method, body), Response(status), seconds))

    metrics = check_emf(document)

    assert set(metrics) <= set(telemetry.METRICS)
    assert document["kind"] in telemetry.KINDS
    assert metrics["Requests"] == 1
    assert metrics.get("Errors4xx", 0) == (status // 100 == 4)
    assert metrics.get("Errors5xx", 0) == (status // 100 == 5)
    assert metrics.get("BytesIn", 0) == len(body)


# What must not be found in a log. A password may look like anything, so in a path it stands for itself only where it
# could not be a name; everything else has a shape that no name has.
passwords = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJ0123456789!$%&*()?#", min_size=12, max_size=30).filter(
    lambda password: not password.isalnum() and not password.isdigit()
)
presigned = st.binary(min_size=32, max_size=32).map(
    lambda signature: f"X-Amz-Credential=AKIDEXAMPLE%2F20261124&X-Amz-Signature={signature.hex()}"
)
keys = st.binary(min_size=32, max_size=32).map(bytes.hex)
issued = st.from_regex(r"[a-z]{3,12}", fullmatch=True).map(lambda name: token(name=name))
secrets = st.one_of(passwords, presigned, keys, issued)
names = st.sampled_from(
    ["authorization", "cookie", "x-harbor-csrf-token", "user-agent", "x-amzn-trace-id", "referer"]
)
places = st.sampled_from(
    ["/v2/{}", "/v2/a/b/manifests/{}", "/v2/{}/x/tags/list", "/api/v2.0/users/{}", "/{}", "/c/{}"]
)


def pieces(secret: str) -> list[str]:
    """Return what would give a secret away: all of it, or the parts of a token or a signature."""
    return [piece for piece in secret.replace("=", ".").replace("/", ".").split(".") if len(piece) >= 12] or [secret]


@given(secrets, names, places)
def test_no_secret_is_written_wherever_it_stands_in_a_request(secret: str, name: str, place: str) -> None:
    asked = request(
        place.format(secret),
        "GET",
        secret.encode(),
        headers={name: f"Bearer {secret}", f"x-{name}": secret},
        query={"password": [secret], secret: [secret], "_state": [secret]},
    )
    answer = Response(307, {"Location": f"https://s3.test/?{secret}", "Set-Cookie": secret}, secret.encode())

    line = text(asked, answer)

    assert not [piece for piece in pieces(secret) if piece in line]


@given(secrets, names)
def test_a_client_that_sends_a_secret_as_a_method_or_product_writes_none(secret: str, name: str) -> None:
    line = text(request("/v2/", secret, headers={name: secret}), Response(405))

    assert secret not in line


@given(st.one_of(presigned.map("https://s3.test/data/x?{}".format), keys.map("key {}".format),
                 issued.map("Bearer {}".format), issued, passwords.map("Basic {}".format)))  # fmt: skip
def test_an_error_s_words_are_written_without_secrets(words: str) -> None:
    secret = words.rpartition("?")[2] if "s3.test" in words else words.rpartition(" ")[2]

    line = formatted(OSError(words), "asking %s failed", words)

    assert secret not in line
    assert "OSError" in line


def formatted(error: Exception, message: str, *arguments: object) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    try:
        raise error
    except type(error):
        # Given to this handler alone: pytest cannot send every text that it captures from process to process.
        about = ("chalicelib.test", logging.ERROR, __file__, 1, message, arguments, sys.exc_info())
        handler.handle(logging.getLogger("chalicelib.test").makeRecord(*about))
    return stream.getvalue()


def test_a_traceback_is_one_line_with_its_end() -> None:
    line = formatted(ValueError("café\udcff\n" * 5000), "request %s failed", "id-1")

    assert line.count("\n") == 1
    record = json.loads(line)
    assert (record["level"], record["logger"], record["message"]) == (
        "ERROR",
        "chalicelib.test",
        "request id-1 failed",
    )
    assert record["traceback"].endswith("\n")
    assert len(line) < 32_000


def test_the_digest_of_content_is_no_secret() -> None:
    for words in (DIGEST, DIGEST.replace(":", "/")):
        assert telemetry.harmless(f"{words} is gone") == f"{words} is gone"


def test_a_failure_inside_a_function_and_its_request_have_the_same_id(caplog: pytest.LogCaptureFixture) -> None:
    client = Client()

    def fail(operation: str, key: str) -> None:
        raise OSError(f"S3 does not answer {operation} of {key}?X-Amz-Signature=abc")

    client.objects.before = fail
    asked = request("/v2/a/b/manifests/v1", headers={**basic(), "x-request-id": "find-me"})
    answer = dispatch(client.services, asked)

    [record] = [record for record in caplog.records if record.levelname == "ERROR"]
    line = JsonFormatter().format(record)
    assert "request find-me " in json.loads(line)["message"]
    assert "X-Amz-Signature" not in line
    assert (told(asked, answer)["request_id"], told(asked, answer)["Errors5xx"]) == ("find-me", 1)


def test_a_log_that_is_gone_costs_no_answer() -> None:
    stream = io.StringIO()
    stream.close()

    telemetry.write(request("/v2/"), Response(200), 0.1, stream)


def test_a_long_repository_is_whole_where_its_pull_is_counted() -> None:
    name = Repository.parse("library/" + "a" * 200).name

    assert told(request(f"/v2/{name}/manifests/v1"), Response(200))["repository"] == name
    assert told(request(f"/v2/{name}/manifests/v1"), Response(404))["repository"] == "library/-"


class Sink(logging.Handler):
    """A handler as Lambda has it: it writes what is formatted, and nothing after it."""

    def __init__(self, stream: io.StringIO) -> None:
        super().__init__()
        self.stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        self.stream.write(self.format(record))


@pytest.mark.parametrize("kind", [logging.StreamHandler, Sink])
def test_handlers_that_are_there_write_a_line_of_json_for_each_record(kind: type[logging.Handler]) -> None:
    stream = io.StringIO()
    handler = kind(stream)  # type: ignore[arg-type]
    logger = logging.getLogger(f"tests.telemetry.{kind.__name__}")
    logger.addHandler(handler)

    telemetry.format_logs([logger.name])
    logger.error("first")
    logger.error("second")

    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["first", "second"]


@pytest.mark.parametrize(
    "path", ["/" * 100_000, "/v2/" + "a/" * 50_000, "/v2/a/manifests/" + "x" * 100_000, "é/" * 9999]
)
def test_a_line_is_short_whatever_is_asked(path: str) -> None:
    headers = {"user-agent": "a" * 100_000, "x-amzn-trace-id": f"Root={TRACE}" * 999, "cookie": "c" * 100_000}

    assert len(text(request(path, "M" * 1000, headers=headers), Response(404))) < 2000
    assert len(text(request(path, headers=headers), Response(404))) < 2000
