"""Pulls counted from the log lines of functions: what CloudWatch delivers, twice, late, broken or far too large."""

import base64
import gzip
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest

from chalicelib.api import telemetry, tokens
from chalicelib.api.http import Request, Response
from chalicelib.jobs import count_pulls
from chalicelib.oci.digests import Digest
from chalicelib.policy.grants import Grant, Kind, Principal
from chalicelib.services import Services
from chalicelib.store.directory import audit
from chalicelib.store.directory.audit import ALL
from chalicelib.store.dynamodb import DynamoTable, dynamo_client, make_table
from chalicelib.store.index import artifacts, written
from chalicelib.store.pulls import Pulled
from chalicelib.store.signing import Credentials
from chalicelib.store.table import Key, Record, Slice, Table
from tests.api.asking import basic
from tests.engines import moto
from tests.jobs.test_reindex import services_of
from tests.memory import START, Clock
from tests.store.index.tables import CountingTable
from tests.store.index.world import HOME, World, image

LAYER = "sha256:" + "1" * 64
MINUTE = timedelta(minutes=1)


class Body:
    def read(self, size: int = -1, /) -> bytes:
        del size
        return b""


def line(
    path: str, digest: str = "", *, status: int = 200, method: str = "GET", who: Mapping[str, str] | None = None
) -> str:
    """Return what a function writes of a request."""
    stream = StringIO()
    headers = {"user-agent": "docker/27.0", **(who or {})}
    request = Request(method, path, {}, headers, Body(), "https://registry.test", "request-1")
    telemetry.write(request, Response(status, {"Docker-Content-Digest": digest}, b"{}"), 0.01, stream)
    return stream.getvalue()


def pull(reference: str, digest: Digest, repository: str = HOME.name) -> str:
    return line(f"/v2/{repository}/manifests/{reference}", str(digest))


def delivery(messages: Iterable[str], moment: datetime = START, **changes: Any) -> dict[str, Any]:
    """Return an event as CloudWatch Logs sends it to a function, its lines a second apart."""
    events = [
        {
            "id": f"3919544100000000000000000000000000000000000000000000{number:04}",
            "timestamp": int((moment + timedelta(seconds=number)).timestamp() * 1000),
            "message": message,
        }
        for number, message in enumerate(messages)
    ]
    document = {
        "messageType": "DATA_MESSAGE",
        "owner": "123456789012",
        "logGroup": "/aws/lambda/roadstead-prod",
        "logStream": "2026/11/24/[$LATEST]0123456789abcdef0123456789abcdef",
        "subscriptionFilters": ["roadstead-pulls"],
        "logEvents": events,
        **changes,
    }
    return packed(json.dumps(document).encode())


def packed(content: bytes) -> dict[str, Any]:
    return {"awslogs": {"data": base64.b64encode(gzip.compress(content)).decode()}}


def world_and_services() -> tuple[World, Services]:
    world = World()
    return world, services_of(world)


def test_pulls_by_tag_and_by_digest_are_counted_with_the_times_of_their_lines() -> None:
    world, services = world_and_services()
    digest = world.push(image("one"), "v1", "v2")
    world.clock.advance(10 * MINUTE)

    counted = count_pulls.run(services, delivery([pull("v1", digest), pull(str(digest), digest)], START + MINUTE))

    assert (counted, world.home().pulls) == (2, 2)
    assert world.artifact(digest).pulled == written(START + MINUTE + timedelta(seconds=1))
    dates = {tag.name: tag.pulled for tag in artifacts.tags(world.index, world.home(), str(digest)).entries}
    assert dates == {"v1": written(START + MINUTE), "v2": ""}


def test_only_a_manifest_that_was_sent_is_a_pull() -> None:
    world, services = world_and_services()
    digest = str(world.push(image("one"), "v1"))
    path = f"/v2/{HOME}/manifests/v1"
    others = [
        line(path, digest, status=307, method="HEAD"),
        line(path, digest, status=304),
        line(path, digest, status=404),
        line(path, digest, status=201, method="PUT"),
        line(f"/v2/{HOME}/blobs/{LAYER}", LAYER, status=307),
        line("/api/v2.0/projects/library/repositories"),
    ]

    assert count_pulls.run(services, delivery(others)) == 0
    assert world.home().pulls == 0


def test_a_delivery_that_is_repeated_counts_once_and_another_counts_again() -> None:
    world, services = world_and_services()
    digest = world.push(image("one"), "v1")
    first = delivery([pull("v1", digest)] * 3)

    assert [count_pulls.run(services, first) for _ in range(3)] == [3, 0, 0]
    assert count_pulls.run(services, delivery([pull("v1", digest)] * 4)) == 4
    assert world.home().pulls == 7


class Failing(CountingTable):
    """A table that does not answer one kind of call."""

    def __init__(self, table: Table, call: str) -> None:
        super().__init__(table)
        self._call = call

    def _check(self, call: str) -> None:
        if call == self._call:
            raise OSError("DynamoDB does not answer")

    def get(self, key: Key) -> Record | None:
        self._check("get")
        return super().get(key)

    def get_many(self, keys: Iterable[Key]) -> Mapping[Key, Record]:
        self._check("get_many")
        return super().get_many(keys)

    def add(self, key: Key, amounts: Mapping[str, int]) -> None:
        self._check("add")
        super().add(key, amounts)


@pytest.mark.parametrize(("call", "pulls"), [("get", 1), ("add", 1), ("get_many", 2)])
def test_a_delivery_that_fails_is_counted_when_it_is_repeated(call: str, pulls: int) -> None:
    world, services = world_and_services()
    digest = world.push(image("one"), "v1")
    event = delivery([pull("v1", digest)])
    broken = world.over(Failing(world.table, call))

    with pytest.raises(OSError, match="does not answer"):
        count_pulls.run(replace(services, index=broken), event)

    assert count_pulls.run(services, event) == 1
    assert world.artifact(digest).pulled
    # Where the times failed after the number, the number is counted twice: rather that than a time that is lost.
    assert world.home().pulls == pulls


def test_what_is_none_of_our_lines_is_passed_over() -> None:
    world, services = world_and_services()
    digest = world.push(image("one"), "v1")
    good = json.loads(pull("v1", digest))
    bad = [
        "START RequestId: 8f507cfc Version: $LATEST",
        "",
        "[]",
        "null",
        '{"repository": 5, "pulled": 7}',
        *(json.dumps({**good, **wrong}) for wrong in (
            {"repository": "UPPER"}, {"repository": "../x"}, {"pulled": "sha256:short"}, {"tag": "a b"}, {"tag": 5},
            {"repository": "gone/app"}, {"pulled": LAYER}, {"by": 5},
        )),
    ]  # fmt: skip

    count_pulls.run(services, delivery([*bad, pull("v1", digest)]))

    # A manifest that is gone was pulled all the same.
    assert world.home().pulls == 2
    assert world.shown() == world.expected()


def test_a_time_in_the_future_is_now() -> None:
    world, services = world_and_services()
    digest = world.push(image("one"), "v1")

    count_pulls.run(services, delivery([pull("v1", digest)], START + timedelta(days=300)))

    assert world.artifact(digest).pulled == written(world.clock())


def test_a_message_of_the_subscription_itself_counts_nothing() -> None:
    world, services = world_and_services()
    digest = world.push(image("one"), "v1")

    assert count_pulls.run(services, delivery([pull("v1", digest)], messageType="CONTROL_MESSAGE")) == 0
    assert world.home().pulls == 0


@pytest.mark.parametrize(
    "event",
    [
        {"awslogs": {"data": "no gzip"}},
        {"awslogs": {"data": base64.b64encode(zlib.compress(b"{}")).decode()}},
        {"awslogs": {"data": base64.b64encode(gzip.compress(b"{}" * 100)[:-9]).decode()}},
        packed(b"no json"),
        packed(b"0" * (count_pulls.MOST_BYTES + 1)),
    ],
    ids=["no gzip", "zlib", "cut short", "no JSON", "a bomb"],
)
def test_what_is_no_delivery_is_refused(event: dict[str, Any]) -> None:
    _, services = world_and_services()

    with pytest.raises(ValueError, match=r".+"):
        count_pulls.run(services, event)


def test_on_dynamodb_a_repetition_counts_once_and_the_mark_goes_by_itself() -> None:
    clock = Clock()
    with moto() as service:
        credentials = Credentials(service.access_key, service.secret_key)
        client = dynamo_client(service.region, service.endpoint, credentials)
        make_table(client, "index")
        table = DynamoTable("index", service.region, service.endpoint, credentials, lambda: clock().timestamp())
        world = World(clock=clock, engine=table)
        services = services_of(world)
        digest = world.push(image("one"), "v1")
        event = delivery([pull("v1", digest), pull("v1", digest)])

        assert [count_pulls.run(services, event) for _ in range(2)] == [2, 0]
        assert world.home().pulls == 2
        marks = [item for item in client.scan(TableName="index")["Items"] if "count_pulls" in item["pk"]["S"]]
        assert [int(mark["ttl"]["N"]) > clock().timestamp() for mark in marks] == [True]


def test_who_pulled_is_in_the_audit_log_once_however_often_the_lines_come() -> None:
    world, services = world_and_services()
    digest = world.push(image("one"), "v1")
    path = f"/v2/{HOME}/manifests/v1"
    token = tokens.ring((bytes(32),)).issue(Grant(Principal("robot$ci", kind=Kind.ROBOT)), world.clock(), 60)
    callers: list[Mapping[str, str]] = [{"authorization": f"Bearer {token}"}, basic("änn"), {}]
    messages = [line(path, str(digest), who=who) for who in callers]
    event = delivery(messages)
    world.clock.advance(MINUTE)

    with pytest.raises(OSError, match="does not answer"):
        count_pulls.run(replace(services, index=world.over(Failing(world.table, "add"))), event)
    for _ in range(2):
        count_pulls.run(services, event)

    found = audit.page(services.directory, ALL, Slice()).entries
    assert [(each.event.username, each.event.resource, each.event.type) for each in found] == [
        (name, "library/app:v1", "pull_artifact") for name in ("robot$ci", "änn", "anonymous")
    ]
    assert [each.time[-7:-1] for each in found] == ["00.000", "01.000", "02.000"]


def test_a_pull_is_what_the_log_line_says() -> None:
    digest = Digest.of(b"{}")

    [found] = count_pulls.read(delivery([pull("v1", digest)]))

    assert (found.pulled, found.moment) == (Pulled(HOME, str(digest), "v1"), START)
