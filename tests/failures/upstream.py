"""Another registry that fails in every way: always, or once for each kind of request."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from threading import Event

from tests.engines.faults import Fault, wrong
from tests.store.remote.fake import Answer, FakeRegistry, Handler, answer

# How long a client waits for who does not answer, in these tests.
PATIENCE = 0.3
_METHODS = ("GET", "HEAD", "POST", "PATCH", "PUT", "DELETE")
_KINDS = ("uploads", "manifests", "blobs", "tags", "referrers", "_catalog")


def _slowly(handler: Handler) -> None:
    time.sleep(0.05)
    handler.route()


def _never(handler: Handler) -> None:
    Event().wait(3 * PATIENCE)
    handler.close_connection = True


def _broken_off(handler: Handler) -> None:
    """Give half of what is read; do what is written, and lose the answer."""
    handler.close_connection = True
    if handler.command == "GET":
        handler.spoil = lambda content: content[: len(content) // 2]
        handler.route()
        return
    handler.connection.shutdown(socket.SHUT_RDWR)
    with suppress(OSError):
        handler.route()


def _otherwise(handler: Handler) -> None:
    """Give other bytes than are wanted, and get others than are sent."""
    handler.spoil = wrong
    if handler.command == "PUT" and "/manifests/" in handler.path:
        handler.refuse(400, "MANIFEST_INVALID")
        return
    handler.asking = replace(handler.asking, content=wrong(handler.asking.content))
    handler.route()


ANSWERS: Mapping[Fault, Answer] = {
    Fault.SLOW: _slowly,
    Fault.BROKEN: answer(500),
    Fault.BUSY: answer(503),
    Fault.SILENT: _never,
    Fault.RESET: _broken_off,
    Fault.WRONG: _otherwise,
}


def fail(there: FakeRegistry, fault: Fault, *, passes: bool) -> None:
    """Let every request fail, or the first of each kind where the failure `passes`; `there.replaced` ends it."""
    seen = set[tuple[str, str]]()

    def answering(handler: Handler) -> None:
        parts = handler.asking.path.split("/")
        kind = (handler.command, next((each for each in _KINDS if each in parts), ""))
        if passes and kind in seen:
            handler.route()
            return
        seen.add(kind)
        ANSWERS[fault](handler)

    for method in _METHODS:
        there.instead(method, "/v2/", answering)
