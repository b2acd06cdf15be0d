"""What becomes of a webhook whose target fails, in every way: its table in docs/operations.md.

A push does not wait for it, and each of its tasks says in its log what the target did.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from threading import Event

import pytest

from chalicelib.jobs import engine
from chalicelib.store import executions
from tests.api.artifacts import Registry
from tests.engines.faults import Fault
from tests.failures import table
from tests.store.receiver import Receiver, receiving, with_status

POLICIES = "/projects/library/webhook/policies"
_LONG = timedelta(seconds=100)


def _slowly(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(0.5)
    with_status(200)(handler)


def _never(_handler: BaseHTTPRequestHandler) -> None:
    Event().wait(20)


def _broken_off(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.close()


def _nonsense(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"\x15\x03\x01 this is not HTTP\r\n")


ANSWERS: Mapping[Fault, Callable[[BaseHTTPRequestHandler], None]] = {
    Fault.SLOW: _slowly,
    Fault.BROKEN: with_status(500),
    Fault.BUSY: with_status(503),
    Fault.SILENT: _never,
    Fault.RESET: _broken_off,
    Fault.WRONG: _nonsense,
}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


def told(receiver: Receiver) -> str:
    """Push an image of which a target is to be told; return what became of that."""
    registry = Registry()
    client = registry.client
    client.services = replace(
        client.services, settings=replace(client.services.settings, private_targets=("127.0.0.1",))
    )
    target = {"type": "http", "address": f"http://127.0.0.1:{receiver.port}/"}
    policy = {"name": "ci", "event_types": ["PUSH_ARTIFACT"], "targets": [target]}
    made = registry.api("POST", POLICIES, policy)
    assert made.status == 201
    number = made.headers["Location"].rpartition("/")[2]
    # It fails where the push is not answered with 201.
    registry.image("library/app", "v1", "one")
    tries = 0
    while tasks := executions.active(client.services.directory):
        client.clock.advance(_LONG)
        tries += 1
        engine.work(client.services, tasks[0].id)
    [execution] = registry.get(f"{POLICIES}/{number}/executions")
    return f"{execution['status']} after {tries} {'try' if tries == 1 else 'tries'}"


@pytest.mark.parametrize(
    "fault", [pytest.param(each, marks=pytest.mark.soak if each is Fault.SILENT else ()) for each in Fault]
)
def test_what_becomes_of_a_webhook_is_what_the_table_says(receiver: Receiver, fault: Fault) -> None:
    receiver.otherwise = ANSWERS[fault]
    lasting = told(receiver)
    receiver.otherwise, receiver.answers = with_status(200), [ANSWERS[fault]]
    passing = told(receiver)

    assert (fault.value, lasting, passing) in table.of_document(table.TARGETS)


def test_the_table_has_every_failure_of_a_target_once() -> None:
    assert [row[0] for row in table.of_document(table.TARGETS)] == [fault.value for fault in Fault]
