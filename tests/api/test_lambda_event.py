"""API Gateway's events through `app.py`: what arrives, and what Chalice makes of the answer."""

import base64
import importlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from chalicelib.api.lambda_event import to_request
from chalicelib.oci.digests import Digest
from chalicelib.oci.manifests import OCI_MANIFEST
from chalicelib.policy.jobs import Kind, Status
from chalicelib.store import executions
from chalicelib.store.dynamodb import dynamo_client, make_table
from chalicelib.store.signing import Credentials
from tests.api.asking import basic, make_projects
from tests.engines.engine import s3_client
from tests.engines.moto_server import moto
from tests.memory import PASSWORD
from tests.oci.test_manifests import image

EVENTS = Path(__file__).parent.parent / "events"
# Bytes that no text encoding survives.
CONTENT = bytes(range(256)) * 40


def event(name: str, **changes: Any) -> dict[str, Any]:
    """Return an event as API Gateway sends it, with some of its fields changed."""
    document: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    context = {**document["requestContext"], **changes.pop("requestContext", {})}
    return {**document, **changes, "requestContext": context}


def test_the_path_is_what_the_client_sent_stage_and_slashes_included() -> None:
    request = to_request(event("get_manifest"), "")

    assert request.path == "/v2/library/nginx/manifests/sha256:" + "0" * 64
    assert request.base_url == "https://abcdefghij.execute-api.eu-west-1.amazonaws.com"
    assert request.id == "c6af9ac6-7b61-11e6-9a41-93e8deadbeef"


def test_several_accept_lines_arrive_as_one() -> None:
    request = to_request(event("get_manifest"), "")

    assert request.headers["accept"].split(", ") == [
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.oci.image.index.v1+json",
        "*/*",
    ]


def test_a_binary_body_arrives_byte_for_byte_with_its_length() -> None:
    body = base64.b64encode(CONTENT).decode()

    request = to_request(event("patch_upload", body=body, isBase64Encoded=True), "")

    assert request.length == len(CONTENT)
    assert request.body.read(1 << 20) == CONTENT
    assert request.query["_state"] == ["sha256.1.ab+c"]


def test_an_event_without_headers_query_and_body_is_a_request() -> None:
    bare = event(
        "get_manifest", multiValueHeaders=None, headers=None, multiValueQueryStringParameters=None, body=None
    )

    request = to_request(bare, "https://registry.example.org")

    assert (dict(request.query), request.length, request.body.read(1)) == ({}, 0, b"")
    assert request.base_url == "https://registry.example.org"


def fronted(host: str) -> dict[str, Any]:
    lines = event("get_manifest")["multiValueHeaders"]
    return event("get_manifest", multiValueHeaders={**lines, "x-forwarded-host": [host]})


def test_behind_cloudfront_the_registry_is_where_the_client_asked() -> None:
    request = to_request(fronted("registry.example.org"), "")

    assert request.base_url == "https://registry.example.org"
    assert request.fronted


@pytest.mark.parametrize("host", ["", "a b", 'x",scope="y', "a/b", "a" * 300])
def test_what_is_no_host_is_not_taken_for_one(host: str) -> None:
    request = to_request(fronted(host), "")

    assert request.base_url == "https://abcdefghij.execute-api.eu-west-1.amazonaws.com"
    assert not request.fronted


@pytest.fixture(scope="module")
def app() -> Iterator[ModuleType]:
    """The application as Lambda loads it, over moto's S3 and DynamoDB, with the project `a`."""
    before = dict(os.environ)
    with moto() as engine:
        s3_client(engine).create_bucket(Bucket="roadstead")
        make_table(
            dynamo_client(engine.region, engine.endpoint, Credentials(engine.access_key, engine.secret_key)),
            "roadstead",
        )
        os.environ |= {
            "AWS_ENDPOINT_URL_S3": engine.endpoint,
            "AWS_ENDPOINT_URL_DYNAMODB": engine.endpoint,
            "AWS_ACCESS_KEY_ID": engine.access_key,
            "AWS_SECRET_ACCESS_KEY": engine.secret_key,
            "AWS_REGION": engine.region,
            "ROADSTEAD_ADMIN_PASSWORD": PASSWORD,
            "ROADSTEAD_SIGNING_KEY": "00" * 32,
        }
        sys.modules.pop("app", None)
        loaded = importlib.import_module("app")
        make_projects(loaded.services(), ["a"])
        yield loaded
        os.environ.clear()
        os.environ |= before


def invoke(
    app: ModuleType, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of an answer, as the client sees them behind the gateway."""
    path, _, query = path.partition("?")
    parameters = dict(part.split("=", 1) for part in query.split("&") if part)
    sent = {**basic(), **{name.replace("_", "-"): value for name, value in headers.items()}}
    context = {"httpMethod": method, "path": path, "resourcePath": "/{proxy+}"}
    answer = app.app(
        event(
            "patch_upload",
            httpMethod=method,
            headers=sent,
            multiValueHeaders={name: [value] for name, value in sent.items()},
            queryStringParameters=parameters or None,
            multiValueQueryStringParameters={name: [value] for name, value in parameters.items()} or None,
            pathParameters={"proxy": path.removeprefix("/v2/").strip("/")},
            body=base64.b64encode(body).decode() if body else None,
            isBase64Encoded=bool(body),
            requestContext=context,
        ),
        None,
    )
    assert answer["isBase64Encoded"]
    return answer["statusCode"], answer["headers"], base64.b64decode(answer["body"])


def test_a_push_and_a_pull_through_the_lambda(app: ModuleType) -> None:
    for blob in (b"{}", b"one", b"two"):
        _, started, _ = invoke(app, "POST", "/v2/a/b/blobs/uploads/")
        status, _, _ = invoke(app, "PUT", f"{started['Location']}&digest={Digest.of(blob)}", blob)
        assert status == 201
    content = json.dumps(image(), indent=3).encode()

    status, pushed, _ = invoke(app, "PUT", "/v2/a/b/manifests/v1", content, Content_Type=OCI_MANIFEST)
    _, headers, pulled = invoke(app, "GET", "/v2/a/b/manifests/v1")

    assert status == 201
    assert pulled == content
    assert headers["Content-Type"] == OCI_MANIFEST
    assert headers["Docker-Content-Digest"] == pushed["Docker-Content-Digest"] == str(Digest.of(content))


def test_chunks_of_binary_bytes_come_back_from_where_the_redirect_leads(app: ModuleType) -> None:
    _, started, _ = invoke(app, "POST", "/v2/a/b/blobs/uploads/")
    status, middle, _ = invoke(app, "PATCH", started["Location"], CONTENT[:5000], Content_Range="0-4999")
    assert (status, middle["Range"]) == (202, "0-4999")
    digest = Digest.of(CONTENT)

    status, _, _ = invoke(app, "PUT", f"{middle['Location']}&digest={digest}", CONTENT[5000:])
    redirect, headers, _ = invoke(app, "GET", f"/v2/a/b/blobs/{digest}")

    assert (status, redirect) == (201, 307)
    key = headers["Location"].partition("?")[0].partition("/roadstead/")[2]
    assert b"".join(app.services().content.objects.read(key)) == CONTENT


@pytest.mark.parametrize("path", ["manifests/v1", f"blobs/{Digest.of(b'one')}"])
def test_head_is_redirected_since_the_gateway_would_answer_a_length_of_0(app: ModuleType, path: str) -> None:
    test_a_push_and_a_pull_through_the_lambda(app)

    status, headers, body = invoke(app, "HEAD", f"/v2/a/b/{path}")

    assert (status, body) == (307, b"")
    assert "X-Amz-Signature=" in headers["Location"]


@pytest.mark.parametrize("path", ["manifests/v1", f"blobs/{Digest.of(b'one')}"])
def test_behind_cloudfront_head_is_redirected_on_the_same_host_with_its_digest(app: ModuleType, path: str) -> None:
    test_a_push_and_a_pull_through_the_lambda(app)

    _, headers, _ = invoke(app, "HEAD", f"/v2/a/b/{path}", x_forwarded_host="registry.example.org")

    key, _, query = headers["Location"].removeprefix("/").partition("?")
    assert app.services().content.objects.head(key)
    assert "X-Amz-Signature=" in query
    assert query.endswith(f"&_digest={headers['Docker-Content-Digest']}")


def test_the_authorizer_of_the_application_lets_through_what_the_function_accepts(app: ModuleType) -> None:
    _, _, body = invoke(app, "GET", "/service/token?scope=repository:a/b:pull")
    arn = "arn:aws:execute-api:eu-west-1:123456789012:abcdefghij/v2"
    asked = {
        "type": "TOKEN",
        "authorizationToken": f"Bearer {json.loads(body)['token']}",
        "methodArn": f"{arn}/GET/a/b/manifests/v1",
    }

    answer = app.authorise(asked, None)

    assert f"{arn}/GET/a/b/manifests/*" in answer["policyDocument"]["Statement"][0]["Resource"]
    refused = app.authorise({**asked, "authorizationToken": "Bearer of-nothing"}, None)
    assert refused["policyDocument"]["Statement"][0]["Effect"] == "Deny"


def test_a_request_without_accept_and_an_unknown_path_get_registry_answers(app: ModuleType) -> None:
    status, headers, body = invoke(app, "GET", "/v2/a")

    assert (status, headers["Content-Type"]) == (404, "application/json")
    assert json.loads(body)["errors"][0]["code"] == "UNSUPPORTED"


def test_every_minute_jobs_are_woken_and_a_message_has_one_done(app: ModuleType) -> None:
    app.wake_jobs({"version": "0", "detail": {}, "time": "", "source": "", "id": "", "region": "",
                   "detail-type": "", "account": "", "resources": []}, None)  # fmt: skip
    directory = app.services().directory
    task = next(each for each in executions.active(directory) if each.kind is Kind.ABANDONED_UPLOADS)

    app.do_jobs({"Records": [{"body": str(task.id), "receiptHandle": "1"}]}, _Context())

    found = executions.get(directory, task.execution_id)
    assert found is not None
    assert found.status is Status.SUCCESS


class _Context:
    """Lambda's context of a function that has a quarter of an hour."""

    def get_remaining_time_in_millis(self) -> int:
        return 900_000
