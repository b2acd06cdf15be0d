"""What docker's operations take of this design, counted while they run over moto's S3 and DynamoDB.

* What API Gateway does is played: a refusal without a token, one call of the authorizer for each token, the function.
* The function's part is the real one: an event, `to_request`, `dispatch`, `to_chalice`. Its time is what this process
  computed; waiting is round trips to S3 and DynamoDB, times a delay that the reader of the counts assumes.
* Uploads go to the relay where there is one: the same `dispatch`, but neither API Gateway nor Lambda.
* S3 requests are counted by the proxy in front of it, those of the client after a redirect among them.
* Units of DynamoDB are worked out of each request and answer as AWS counts them.
"""

from __future__ import annotations

import base64
import hashlib
import io
import secrets
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin

import orjson

from bench.registry import IMAGE, Blob, image
from bench.usage import Call, Usage
from chalicelib import services as composition
from chalicelib.api import authorizer, passwords, telemetry
from chalicelib.api.dispatch import dispatch
from chalicelib.api.http import Response
from chalicelib.api.lambda_event import to_chalice, to_request
from chalicelib.config import Settings
from chalicelib.services import Services
from chalicelib.store.dynamodb import DynamoTable, dynamo_client, make_table
from chalicelib.store.objects import S3Objects
from chalicelib.store.signing import Credentials, Presigner
from tests.api.asking import basic, make_projects
from tests.engines.engine import ACCESS_KEY, REGION, SECRET_KEY, Engine, s3_client
from tests.engines.ledger import Exchange, round_trips
from tests.engines.process import HOST, free_ports, running, wait_ready
from tests.engines.proxy_process import RemoteProxy, proxy_process

MIB = 1 << 20
_PASSWORD = "a password of the bench"
_FREE = ("Delete", "Abort")
_READS = ("Get", "Head")
# START, END and REPORT, which Lambda writes of each call.
_LAMBDA_S_LINES = 330
_HOST = "abcdefghij.execute-api.us-east-1.amazonaws.com"
_ARN = "arn:aws:execute-api:us-east-1:123456789012:abcdefghij/v2/GET/"
_WRITTEN = {"TransactWriteItems": 2, "BatchWriteItem": 1, "PutItem": 1, "UpdateItem": 1, "DeleteItem": 1}


@dataclass(slots=True)
class Counted:
    """What one operation of a client took."""

    usage: Usage = field(default_factory=Usage)
    calls: list[Call] = field(default_factory=list)


class MeteredTable(DynamoTable):
    """A table that counts the units of its requests."""

    def __init__(self, endpoint: str) -> None:
        super().__init__("roadstead", REGION, endpoint, Credentials(ACCESS_KEY, SECRET_KEY))
        self.reads = self.writes = 0.0

    @cached_property
    def _dynamo(self) -> Any:
        client = dynamo_client(self.region, self.endpoint, self.credentials)
        client.meta.events.register("before-parameter-build.dynamodb", self._asked)
        client.meta.events.register("after-call.dynamodb", self._answered)
        return client

    def close(self) -> None:
        """Close its connections."""
        self._dynamo.close()

    def _asked(self, *, params: Mapping[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
        context["consistent"] = b'"ConsistentRead":true' in orjson.dumps(params, default=str)
        if times := _WRITTEN.get(model.name):
            self.writes += times * sum(written_units(item) for item in params.get("TransactItems", [params]))

    def _answered(self, *, parsed: Mapping[str, Any], model: Any, context: Mapping[str, Any], **_: Any) -> None:
        if model.name not in _WRITTEN:
            self.reads += read_units(parsed, consistent=context.get("consistent", False))


class ClosedObjects(S3Objects):
    """A bucket whose connections can be closed: a function never does."""

    def close(self) -> None:
        """Close them."""
        self._connections.close()
        self._s3.close()


def written_units(item: object) -> int:
    """Return the write units of one item, at most 1 KB each."""
    return max(1, ceil(len(orjson.dumps(item, default=str)) / 1024))


def read_units(answer: Mapping[str, Any], *, consistent: bool) -> float:
    """Return the read units of an answer: 4 KB each, of single items each by itself, and half where it may be old."""
    batches = answer.get("Responses")
    found = [item for rows in batches.values() for item in rows] if isinstance(batches, dict) else None
    parts = found if found is not None else [answer.get("Item") or answer.get("Items") or {}]
    units = sum(max(1, ceil(len(orjson.dumps(part, default=str)) / 4096)) for part in parts)
    return units if consistent else units / 2


@dataclass(slots=True)
class Front:
    """API Gateway, the functions and the relay, as a client meets them; `counted` is what was used since."""

    services: Services
    table: MeteredTable
    proxy: RemoteProxy
    relay: bool
    counted: Counted = field(default_factory=Counted)
    _let_in: set[str] = field(default_factory=set)

    def begin(self) -> None:
        """Count anew."""
        self.counted = Counted()
        self.proxy.reset()
        self.table.reads = self.table.writes = 0.0

    def end(self) -> Counted:
        """Return what was counted; what is asked from now on is not in it."""
        self._settle()
        counted, self.counted = self.counted, Counted()
        return counted

    def ask(self, method: str, target: str, body: bytes = b"", authorization: str = "", kind: str = "") -> Response:
        """Send a request as a client does, follow a redirect to S3, and return the registry's answer."""
        relayed = self.relay and "/blobs/uploads/" in target
        if not relayed and target.startswith("/v2/") and not self._let_through(authorization):
            return Response(401)
        event = _event(method, target, body, authorization)
        answer = self._relayed(event, body) if relayed else self._called(event, kind or method)
        if answer.status == 307:
            self._download(method, answer.headers["Location"])
        return answer

    def _let_through(self, authorization: str) -> bool:
        if not authorization:
            self.counted.usage += Usage(gateway=1)
            return False
        if authorization not in self._let_in:
            self._let_in.add(authorization)
            began = time.process_time()
            authorizer.answer(self.services, authorization, _ARN)
            self._note(Call("authorizer", time.process_time() - began, 0), Usage(log_bytes=_LAMBDA_S_LINES))
        return True

    def _called(self, event: Mapping[str, Any], kind: str) -> Response:
        self._settle()
        began = time.process_time()
        request = to_request(event, "")
        answer = dispatch(self.services, request)
        to_chalice(answer)
        line = io.StringIO()
        telemetry.write(request, answer, 0.1, line)
        spent = time.process_time() - began
        sent = len(answer.body) + sum(map(len, answer.headers.values()))
        logged = _LAMBDA_S_LINES + len(line.getvalue())
        trips = round_trips(self._settle())
        self._note(Call(kind, spent, trips), Usage(gateway=1, log_bytes=logged, egress_bytes=sent))
        return answer

    def _relayed(self, event: Mapping[str, Any], body: bytes) -> Response:
        answer = dispatch(self.services, to_request(event, ""))
        self._settle()
        self.counted.usage += Usage(relay_bytes=len(body))
        return answer

    def _note(self, call: Call, usage: Usage) -> None:
        self.counted.calls.append(call)
        self.counted.usage += usage + Usage(calls=1)

    def _download(self, method: str, location: str) -> None:
        with urllib.request.urlopen(urllib.request.Request(location, method=method), timeout=60) as answer:
            self.counted.usage += Usage(egress_bytes=len(answer.read()))
        self._settle()

    def _settle(self) -> Sequence[Exchange]:
        """Take what was asked of S3 and DynamoDB into the count, and return it."""
        exchanges = self.proxy.snapshot()
        self.proxy.reset()
        s3 = [one.operation for one in exchanges if one.bucket and not one.operation.startswith(_FREE)]
        reads = sum(name.startswith(_READS) for name in s3)
        tables = Usage(table_reads=self.table.reads, table_writes=self.table.writes)
        self.table.reads = self.table.writes = 0.0
        self.counted.usage += tables + Usage(s3_reads=reads, s3_writes=len(s3) - reads)
        return exchanges


def _event(method: str, target: str, body: bytes, authorization: str) -> dict[str, Any]:
    path, _, query = target.partition("?")
    lines = {"Host": [_HOST], "User-Agent": ["docker/20.10.24"], "Accept": [IMAGE]}
    lines |= {"Authorization": [authorization]} if authorization else {}
    lines |= {"Content-Type": [IMAGE if "/manifests/" in path else "application/octet-stream"]}
    context = {"httpMethod": method, "path": path, "requestId": secrets.token_hex(8), "domainName": _HOST}
    return {
        "requestContext": context,
        "multiValueHeaders": lines,
        "multiValueQueryStringParameters": parse_qs(query, keep_blank_values=True) or None,
        "body": base64.b64encode(body).decode() if body else None,
        "isBase64Encoded": bool(body),
    }


def _token(front: Front, name: str, actions: str) -> str:
    front.ask("GET", "/v2/")
    target = f"/service/token?account=admin&scope=repository:{name}:{actions}&service={_HOST}"
    answer = front.ask("GET", target, authorization=basic("admin", _PASSWORD)["authorization"], kind="token")
    return "Bearer " + str(orjson.loads(answer.body)["token"])


# What docker with its own image store asks, as recorded between it and a registry: tests/clients does it anew.
def push(front: Front, name: str, layers: Sequence[bytes]) -> bytes:
    """Push an image under the tag `v1`, and return its manifest."""
    token = _token(front, name, "push,pull")
    blobs = [_push_blob(front, name, content, token) for content in (*layers, secrets.token_bytes(2_000))]
    manifest = image(blobs[-1], blobs[:-1])
    answer = front.ask("PUT", f"/v2/{name}/manifests/v1", manifest, token, "manifest PUT")
    assert answer.status == 201, answer
    return manifest


def push_again(front: Front, name: str, manifest: bytes) -> None:
    """Push an image whose blobs are all there, under the tag `v1`."""
    token = _token(front, name, "push,pull")
    document = orjson.loads(manifest)
    for blob in (*document["layers"], document["config"]):
        front.ask("HEAD", f"/v2/{name}/blobs/{blob['digest']}", b"", token, "blob HEAD")
    changed = orjson.dumps({**document, "annotations": {"build": secrets.token_hex(8)}})
    answer = front.ask("PUT", f"/v2/{name}/manifests/v1", changed, token, "manifest PUT")
    assert answer.status == 201, answer


def _push_blob(front: Front, name: str, content: bytes, token: str) -> Blob:
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    front.ask("HEAD", f"/v2/{name}/blobs/{digest}", b"", token, "blob HEAD")
    begun = front.ask("POST", f"/v2/{name}/blobs/uploads/", b"", token, "upload POST")
    sent = front.ask("PATCH", _relative(begun), content, token, "upload PATCH")
    location = _relative(sent)
    done = front.ask("PUT", f"{location}{'&' if '?' in location else '?'}digest={digest}", b"", token, "upload PUT")
    assert done.status == 201, done
    front.ask("HEAD", f"/v2/{name}/blobs/{digest}", b"", token, "blob HEAD")
    return Blob(digest, len(content))


def _relative(answer: Response) -> str:
    location = urljoin(f"https://{_HOST}/", answer.headers["Location"])
    return location.removeprefix(f"https://{_HOST}")


def look(front: Front, name: str) -> str:
    """Ask whether the tag `v1` is still what the client has, and return the token: a pull with nothing to get."""
    token = _token(front, name, "pull")
    front.ask("HEAD", f"/v2/{name}/manifests/v1", b"", token, "manifest HEAD")
    return token


def pull(front: Front, name: str, manifest: bytes) -> None:
    """Pull all that the tag `v1` names."""
    token = look(front, name)
    digest = "sha256:" + hashlib.sha256(manifest).hexdigest()
    front.ask("GET", f"/v2/{name}/manifests/{digest}", b"", token, "manifest GET")
    document = orjson.loads(manifest)
    for blob in (document["config"], *document["layers"]):
        answer = front.ask("GET", f"/v2/{name}/blobs/{blob['digest']}", b"", token, "blob GET")
        assert answer.status == 307, answer


@contextmanager
def backend() -> Iterator[tuple[Engine, RemoteProxy]]:
    """Run moto and the counting proxy, each in a process of its own: what they compute is not the function's."""
    (port,) = free_ports(1)
    endpoint = f"http://{HOST}:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", HOST, "-p", str(port)]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-cost-")))
        process = stack.enter_context(running(command, environment=_environment(), directory=folder))
        wait_ready(lambda: urllib.request.urlopen(endpoint, timeout=5).close(), process, folder)
        yield Engine("moto", endpoint), stack.enter_context(proxy_process(endpoint))


def _environment() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "HOME": tempfile.gettempdir(), "AWS_DEFAULT_REGION": REGION}


@contextmanager
def front(*, relay: bool) -> Iterator[Front]:
    """Yield a new registry with the project `library`, in a bucket that keeps versions as on AWS."""
    with backend() as (engine, proxy):
        with closing(s3_client(engine)) as s3:
            s3.create_bucket(Bucket="roadstead")
            s3.put_bucket_versioning(Bucket="roadstead", VersioningConfiguration={"Status": "Enabled"})
        credentials = Credentials(ACCESS_KEY, SECRET_KEY)
        with closing(dynamo_client(REGION, engine.endpoint, credentials)) as dynamo:
            make_table(dynamo, "roadstead")
        settings = Settings(
            s3_endpoint=proxy.endpoint,
            access_key=ACCESS_KEY,
            secret_key=SECRET_KEY,
            admin_password=_PASSWORD,
            signing_key=bytes(32),
        )
        locate = composition.locator(settings, lambda: credentials)
        with closing(MeteredTable(proxy.endpoint)) as table, closing(_objects(settings, credentials)) as objects:
            services = composition.assemble(settings, objects, locate, table)
            make_projects(services, ["library"])
            yield Front(services, table, proxy, relay)


def _objects(settings: Settings, credentials: Credentials) -> ClosedObjects:
    base = f"{settings.s3_endpoint}/{settings.bucket}"
    presigner = Presigner(base, settings.region, lambda: credentials, lambda: datetime.now(UTC))
    return ClosedObjects(settings.bucket, settings.region, settings.s3_endpoint, credentials, presigner)


def measured(on: Front, operation: Callable[[], object]) -> Counted:
    """Return what an operation takes."""
    on.begin()
    operation()
    return on.end()


def checked_password() -> Call:
    """Return what it takes to check a password that this process has not seen: what it is asked once of each."""
    stored = passwords.hash_password(_PASSWORD)
    began = time.process_time()
    assert passwords.verify_password(stored, _PASSWORD)
    return Call("password check", time.process_time() - began, 0)
