"""A server over services that fail as a test says, and what its clients do meanwhile.

* S3, DynamoDB and SQS are one emulator; the one that fails is behind a proxy.
* An operation is what a client does for one end, of one or several requests; what becomes of it is the status that
  ended it: the first that is not as it should be, else that of the last request.
* The credentials of clients are from before the failure, but where getting them is the operation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import orjson

from chalicelib.store.dynamodb import make_table
from tests.engines import ministack, moto, s3_client
from tests.engines.engine import Engine, client
from tests.engines.faults import Choose
from tests.engines.proxy import Proxy, forwarding
from tests.server.pushing import IMAGE_TYPE, content, digest, image, pull_blob, push_blob, push_manifest
from tests.server.running import BUCKET, Server, over, started
from tests.server.wire import Answer, connected

REPOSITORY = "library/app"
V2, API = f"/v2/{REPOSITORY}", "/api/v2.0"
TABLE, QUEUE = "directory", "jobs"
# The services, and the settings of a server that is to meet their failures: the table is a file but where it fails.
SERVICES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {"S3": {}, "DynamoDB": {"ROADSTEAD_TABLE": TABLE}, "SQS": {}}
)
# moto knows a transaction that is repeated from no other.
ENGINES = {"S3": moto, "DynamoDB": ministack, "SQS": moto}
# The longest that API Gateway waits for an answer.
GATEWAY_SECONDS = 29.0
_PATIENCE = GATEWAY_SECONDS + 5
CONFIG, LAYER = content("config", 300), content("layer", 2000)
IMAGE = image(CONFIG, [LAYER])
_numbers = count(1)


class Outcome(NamedTuple):
    """What a client saw: the answer that ended what it did, and after how many seconds."""

    answer: Answer
    seconds: float


@dataclass(frozen=True, slots=True)
class World:
    """The server, the proxy before the service that fails, and a client's token."""

    server: Server
    proxy: Proxy
    token: dict[str, str]
    # What was acknowledged: tags with their manifests, and blobs.
    tags: dict[str, bytes] = field(default_factory=dict)
    blobs: list[bytes] = field(default_factory=list)

    @contextmanager
    def failing(self, choose: Choose) -> Iterator[None]:
        """Let the service fail."""
        self.rest()
        self.proxy.choose = choose
        try:
            yield
        finally:
            self.proxy.choose = None

    def rest(self) -> None:
        """Stop the verification that waits: there can be one at a time, and nobody does any here."""
        for each in self.server.ask("GET", f"{API}/system/verify?q=job_status=Running").json():
            self.server.ask("PUT", f"{API}/system/verify/{each['id']}")

    def ask(self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
        with connected(self.server.address) as wire:
            wire.patience(_PATIENCE)
            return wire.ask(method, target, self.token if headers is None else headers, body)

    def all(self) -> dict[str, Outcome]:
        """Do every operation, all at once, as clients do."""
        with ThreadPoolExecutor(len(OPERATIONS)) as pool:
            running = {name: pool.submit(self.one, name) for name in OPERATIONS}
            return {name: each.result() for name, each in running.items()}

    def one(self, name: str) -> Outcome:
        """Do an operation; where it takes too long, or is refused without saying what to do, fail."""
        begun = time.monotonic()
        answer = OPERATIONS[name](self)
        outcome = Outcome(answer, time.monotonic() - begun)
        assert outcome.seconds < GATEWAY_SECONDS, name
        if answer.status >= HTTPStatus.BAD_REQUEST:
            [error] = answer.json()["errors"]
            assert len(error["message"].split()) > 3, error
            assert answer.status != HTTPStatus.SERVICE_UNAVAILABLE or answer.header("retry-after")
        return outcome

    def check(self, tags: int = 0, blobs: int = 0) -> None:
        """Check that what was acknowledged is there: all of it, or what was after so many tags and blobs."""
        for tag, manifest in tuple(self.tags.items())[tags:]:
            found = self.ask("GET", f"{V2}/manifests/{tag}")
            assert (found.status, found.body) == (200, manifest)
        for blob in self.blobs[blobs:]:
            found = pull_blob(self.server, REPOSITORY, digest(blob))
            assert (found.status, found.body) == (200, blob)


def _manifest(world: World) -> Answer:
    return world.ask("GET", f"{V2}/manifests/v1")


def _blob(world: World) -> Answer:
    return world.ask("GET", f"{V2}/blobs/{digest(LAYER)}")


def _tags(world: World) -> Answer:
    return world.ask("GET", f"{V2}/tags/list")


def _upload(world: World) -> Answer:
    blob = content(f"blob {next(_numbers)}", 1000)
    answer = world.ask("POST", f"{V2}/blobs/uploads/")
    if answer.status == 202:
        answer = world.ask("PUT", f"{answer.header('location')}&digest={digest(blob)}", None, blob)
    if answer.status == 201:
        world.blobs.append(blob)
    return answer


def _push(world: World) -> Answer:
    tag, pushed = f"t{next(_numbers)}", image(CONFIG, [LAYER] * next(_numbers))
    answer = world.ask("PUT", f"{V2}/manifests/{tag}", world.token | {"Content-Type": IMAGE_TYPE}, pushed)
    if answer.status == 201:
        world.tags[tag] = pushed
    return answer


def _token(world: World) -> Answer:
    return world.ask("GET", f"/service/token?service=registry&scope=repository:{REPOSITORY}:pull", world.server.admin)


def _listing(world: World) -> Answer:
    return world.ask("GET", f"{API}/projects/library/repositories", world.server.admin)


def _job(world: World) -> Answer:
    body = orjson.dumps({"schedule": {"type": "Manual"}, "parameters": {"sample": 0}})
    headers = world.server.admin | {"Content-Type": "application/json"}
    return world.ask("POST", f"{API}/system/verify/schedule", headers, body)


# What each is called in docs/operations.md.
# fmt: off
OPERATIONS: Mapping[str, Callable[[World], Answer]] = MappingProxyType({
    "pull manifest": _manifest,
    "pull blob":     _blob,
    "list tags":     _tags,
    "push blob":     _upload,
    "push manifest": _push,
    "log in":        _token,
    "Harbor's API":  _listing,
    "start a job":   _job,
})
# fmt: on


@contextmanager
def running(folder: Path, service: str) -> Iterator[World]:
    """Start everything, with an image in it, and a proxy before the service."""
    with ExitStack() as stack:
        engine = stack.enter_context(ENGINES[service]())
        proxy = stack.enter_context(forwarding(engine.endpoint, service=service))
        _make(engine)
        variables = {
            **over(engine),
            "AWS_ENDPOINT_URL_SQS": engine.endpoint,
            "ROADSTEAD_QUEUE": QUEUE,
            **SERVICES[service],
            f"AWS_ENDPOINT_URL_{service.upper()}": proxy.endpoint,
        }
        server = stack.enter_context(started(["serve", "--json"], folder, variables))
        for blob in (CONFIG, LAYER):
            push_blob(server, REPOSITORY, blob)
        push_manifest(server, REPOSITORY, "v1", IMAGE)
        if service == "SQS":
            _want_to_know(server)
        scope = f"repository:{REPOSITORY}:pull,push,delete"
        token = server.ask("GET", f"/service/token?service=registry&scope={scope}").json()["token"]
        yield World(server, proxy, {"Authorization": f"Bearer {token}"}, {"v1": IMAGE}, [CONFIG, LAYER])


def _make(engine: Engine) -> None:
    s3_client(engine).create_bucket(Bucket=BUCKET)
    make_table(client(engine, "dynamodb"), TABLE)
    client(engine, "sqs").create_queue(QueueName=QUEUE)


def _want_to_know(server: Server) -> None:
    """Have each push wake the queue: a webhook is to be told of it."""
    policy = {
        "name": "ci",
        "event_types": ["PUSH_ARTIFACT"],
        "targets": [{"type": "http", "address": "https://hooks.example.com"}],
    }
    headers = server.admin | {"Content-Type": "application/json"}
    made = server.ask("POST", f"{API}/projects/library/webhook/policies", headers, orjson.dumps(policy))
    assert made.status == HTTPStatus.CREATED
