"""The functions of `app.py` as Lambda runs them, over services behind a proxy that writes down every call.

* Some requests are made without botocore, so only the wire shows all; what a client does with a URL that a function
  signed is a call of the function, since S3 asks what the function may do.
* The bucket keeps versions, as the one of `infra/` does.
"""

from __future__ import annotations

import asyncio
import base64
import importlib
import os
import re
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import boto3
import orjson
import requests
from aiohttp import ClientSession, web
from yarl import URL

from chalicelib.api.http import Response
from chalicelib.services import Services
from chalicelib.store.dynamodb import dynamo_client, make_table
from chalicelib.store.signing import Credentials
from infra.package import ARRIVALS_QUEUE
from tests.api.asking import Client, basic
from tests.engines import Engine, moto, s3_client
from tests.engines.engine import client
from tests.engines.operations import classify
from tests.engines.proxy import listening
from tests.infra.aws_calls import Call
from tests.memory import PASSWORD

ROOT = Path(__file__).parents[2]
CONFIG: dict[str, Any] = orjson.loads((ROOT / ".chalice/config.json").read_bytes())["stages"]["prod"]
_KEY = re.compile(rb"<Key>([^<]+)</Key>")


class Recorder:
    """Passes requests on to an AWS of this machine, and knows which calls they were."""

    def __init__(self, upstream: str) -> None:
        self.endpoint = ""
        self._upstream = upstream
        self._calls: set[Call] = set()
        self._refused = ""
        self._copied: Mapping[str, str] = {}

    def take(self) -> frozenset[Call]:
        """Return the calls since the last time."""
        taken, self._calls = frozenset(self._calls), set()
        return taken

    @contextmanager
    def refusing(self, operation: str) -> Iterator[None]:
        """Refuse the calls of an operation, as AWS does where something is wrong with them."""
        self._refused = operation
        try:
            yield
        finally:
            self._refused = ""

    @contextmanager
    def copying(self) -> Iterator[None]:
        """Say of every object that S3 copied it from another bucket, as it does of replicas."""
        self._copied = {"x-amz-replication-status": "REPLICA"}
        try:
            yield
        finally:
            self._copied = {}

    async def serve(self, ready: Future[asyncio.Event]) -> None:
        """Accept connections until the event that `ready` gets."""
        ended = asyncio.Event()
        async with ClientSession(auto_decompress=False) as session:

            async def answer(request: web.BaseRequest) -> web.Response:
                return await self._answer(session, request)

            async with listening(answer) as self.endpoint:
                ready.set_result(ended)
                await ended.wait()

    async def _answer(self, session: ClientSession, request: web.BaseRequest) -> web.Response:
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if self._refused and self._refused in request.headers.get("X-Amz-Target", ""):
            return web.Response(status=400, body=b'{"__type":"ValidationException"}')
        # Bodies that are read here are small: what is stored passes through.
        told = request.method == "POST"
        body = await request.read() if told else b""
        data = body if told else request.content if request.can_read_body else None
        url = URL(self._upstream + request.raw_path, encoded=True)
        headers = _end_to_end(request.headers)
        async with session.request(request.method, url, headers=headers, data=data, allow_redirects=False) as found:
            content = await found.read()
        self._calls.update(calls_of(request.method, request.raw_path, request.headers, body, found.status))
        given = [*_end_to_end(found.headers), *self._copied.items()]
        return web.Response(status=found.status, headers=given, body=content)


def _end_to_end(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers.items() if name.lower() not in _HOP_BY_HOP]


_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "expect"})


def calls_of(method: str, target: str, headers: Mapping[str, str], body: bytes, status: int) -> Iterator[Call]:
    """Yield the calls that a request is, and those that it needs the rights of besides.

    The key of an object in another bucket begins with `@` and the bucket.
    """
    name, bucket, key, _ = classify(method, target, headers)
    elsewhere = f"@{bucket}/" if bucket not in ("", CONFIG["environment_variables"]["ROADSTEAD_BUCKET"]) else ""
    key = elsewhere + key
    query = parse_qs(target.partition("?")[2], keep_blank_values=True)
    if "x-amz-target" in headers:
        yield from _in_json(name, orjson.loads(body))
    elif name == "DeleteObjects":
        yield from (Call("DeleteObjects.Key", unquote(found.decode())) for found in _KEY.findall(body))
    elif "versionId" in query:
        yield Call(f"{name}[version]", key)
    else:
        yield Call(name, key)
    if status == 404 and name in ("GetObject", "HeadObject"):
        yield Call(f"{name}[absent]", elsewhere)
    if "if-match" in headers:
        yield Call(f"{name}[if-match]", key)


def _in_json(name: str, document: Mapping[str, Any]) -> Iterator[Call]:
    if name == "TransactWriteItems":
        for each in document["TransactItems"]:
            yield from (Call(f"{name}.{kind}", request["TableName"]) for kind, request in each.items())
    elif name == "BatchGetItem":
        yield from (Call(name, table) for table in document["RequestItems"])
    elif name == "GetParameters":
        yield from (Call(name, parameter) for parameter in document["Names"])
    elif "QueueUrl" in document or "QueueName" in document:
        yield Call(name, document.get("QueueName") or document["QueueUrl"].rpartition("/")[2])
    else:
        yield Call(name, document["TableName"])


@contextmanager
def recording(upstream: str) -> Iterator[Recorder]:
    """Run a recorder in a thread of this process."""
    recorder, ready = Recorder(upstream), Future[asyncio.Event]()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(recorder.serve(ready),))
    thread.start()
    ended = ready.result(timeout=30)
    try:
        yield recorder
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()


@dataclass(frozen=True, slots=True)
class World:
    """AWS on this machine, as the templates set it up."""

    engine: Engine
    recorder: Recorder

    @contextmanager
    def function(self, name: str, **more: str) -> Iterator[ModuleType]:
        """Give `app.py` as a new instance of a function loads it: with the configuration's settings, and more."""
        before = dict(os.environ)
        given = CONFIG["lambda_functions"][name].get("environment_variables", {})
        os.environ |= {
            **self.engine.environment(),
            "AWS_ENDPOINT_URL": self.recorder.endpoint,
            **CONFIG["environment_variables"],
            **given,
            **more,
        }
        os.environ.pop("AWS_ENDPOINT_URL_S3")
        sys.modules.pop("app", None)
        app = importlib.import_module("app")
        try:
            yield app
        finally:
            _close(app.services())
            sys.modules.pop("app", None)
            os.environ.clear()
            os.environ |= before

    def lose(self, key: str) -> None:
        """Delete an object behind the registry's back."""
        s3 = s3_client(self.engine)
        s3.delete_object(Bucket=CONFIG["environment_variables"]["ROADSTEAD_BUCKET"], Key=key)
        s3.close()


def _close(services: Any) -> None:
    """Close what an instance of a function leaves open for the next request."""
    services.index.table._dynamo.close()  # noqa: SLF001 - on Lambda nothing ever closes it
    peer = services.region.peer if services.region else None
    for content in (services.content, *([peer.content] if peer else [])):
        content.pool.shutdown()
        for name in vars(content.objects).keys() & {"_connections", "_s3"}:
            vars(content.objects)[name].close()


@contextmanager
def world() -> Iterator[World]:
    """Give an AWS with the bucket, the table and the parameters, and nothing in them."""
    with moto() as engine, recording(engine.endpoint) as recorder:
        bucket = CONFIG["environment_variables"]["ROADSTEAD_BUCKET"]
        s3 = s3_client(engine)
        s3.create_bucket(Bucket=bucket)
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        s3.close()
        credentials = Credentials(engine.access_key, engine.secret_key)
        make_table(
            dynamo_client(engine.region, engine.endpoint, credentials),
            CONFIG["environment_variables"]["ROADSTEAD_TABLE"],
        )
        _make_parameters(engine)
        sqs = client(engine, "sqs")
        for name in (CONFIG["environment_variables"]["ROADSTEAD_QUEUE"], ARRIVALS_QUEUE):
            sqs.create_queue(QueueName=name)
        sqs.close()
        yield World(engine, recorder)


def _make_parameters(engine: Engine) -> None:
    session = boto3.Session(engine.access_key, engine.secret_key, region_name=engine.region)
    ssm = session.client("ssm", endpoint_url=engine.endpoint)
    for name, value in (("signing-key", "5e" * 32), ("admin-password", PASSWORD)):
        ssm.put_parameter(Name=f"/roadstead/{name}", Value=value, Type="SecureString")
    ssm.close()


class Gateway(Client):
    """A client that asks by way of API Gateway's events, and follows redirects to S3."""

    def __init__(self, app: ModuleType) -> None:
        self.app = app
        self.headers = basic()
        # Method and path of what did not fail.
        self.answered: set[tuple[str, str]] = set()

    def __post_init__(self) -> None:
        """Make no registry in memory."""

    @property
    def live(self) -> Services:
        """Return what the instance works with."""
        services: Services = self.app.services()
        return services

    def ask(self, method: str, target: str, body: bytes = b"", **headers: str) -> Response:
        path, _, query = target.partition("?")
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        answer = self.app.app(_event(method, path, parse_qs(query, keep_blank_values=True), sent, body), None)
        location = str(answer["headers"].get("Location", ""))
        if answer["statusCode"] < 400:
            self.answered.add((method, path))
        if answer["statusCode"] == 307:
            _follow(method, location)
        return Response(answer["statusCode"], answer["headers"], base64.b64decode(answer["body"]))


def _event(
    method: str, path: str, query: Mapping[str, Sequence[str]], headers: Mapping[str, str], body: bytes
) -> dict[str, Any]:
    event: dict[str, Any] = orjson.loads((ROOT / "tests/events/patch_upload.json").read_bytes())
    context = {"httpMethod": method, "path": quote(path), "resourcePath": "/{proxy+}"}
    return {
        **event,
        "httpMethod": method,
        "headers": dict(headers),
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": {name: values[-1] for name, values in query.items()},
        "multiValueQueryStringParameters": query,
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
        "requestContext": {**event["requestContext"], **context},
    }


def _follow(method: str, location: str) -> None:
    with requests.request(method, location, timeout=30) as answer:
        assert answer.status_code == 200, (answer.status_code, urlsplit(location).path)
