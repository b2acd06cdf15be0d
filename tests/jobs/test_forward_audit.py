"""The audit log sent to a syslog service on a socket, that takes all, is away, ends early or never ends."""

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from chalicelib.jobs import forward_audit
from chalicelib.policy.audit import Event
from chalicelib.services import Services
from chalicelib.store.directory import audit, configuration
from chalicelib.store.directory.audit import ALL, KEPT_DAYS
from chalicelib.store.table import Put, Slice
from tests.api.artifacts import Registry
from tests.memory import Clock, MemoryObjects, services_over


@dataclass
class Collector:
    """A syslog service: reads each connection to its end, or as its `manner` says."""

    manner: str = "polite"
    lines: list[str] = field(default_factory=list)
    connections: int = 0

    @contextmanager
    def listening(self) -> Iterator[str]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            thread = threading.Thread(target=self._serve, args=(server,), daemon=True)
            thread.start()
            yield f"127.0.0.1:{server.getsockname()[1]}"
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)

    def _serve(self, server: socket.socket) -> None:
        kept: list[socket.socket] = []
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                for connection in kept:
                    connection.close()
                return
            self.connections += 1
            if self.manner == "rude":
                # Closing with bytes that were not read resets the connection.
                connection.recv(1)
                connection.close()
                continue
            with connection.makefile("rb") as stream:
                self.lines += [line.decode().rstrip("\n") for line in stream]
            if self.manner == "clinging":
                kept.append(connection)
            else:
                connection.close()


def services_with(clock: Clock | None = None, **settings: Any) -> Services:
    clock = clock or Clock()
    services = services_over(MemoryObjects(clock), clock)
    configuration.change(services.directory, settings)
    return services


def write(services: Services, count: int) -> None:
    for number in range(count):
        audit.log(services.directory, Event("ann", f"label {number}", "label", "create"))


def forward(services: Services) -> int:
    return forward_audit.run(services, seconds=0.3)


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def test_what_was_done_through_the_api_is_sent_and_kept_too() -> None:
    collector, registry = Collector(), Registry()
    with collector.listening() as endpoint:
        registry.api("PUT", "/configurations", {"audit_log_forward_endpoint": endpoint})
        registry.api("POST", "/labels", {"name": 'an "odd"\nname'[:8], "scope": "g"})
        registry.image("library/app", "v1", "one")
        assert collector.connections == 0, "nothing is sent while a request is answered"

        assert forward(registry.client.services) == 2
        assert forward(registry.client.services) == 0

    assert [line.partition(" - operator=")[0].split()[-1] for line in sorted(collector.lines)] == [
        "create_artifact",
        "create_label",
    ]
    assert all('"admin"' in line for line in collector.lines)
    found = audit.page(registry.client.services.directory, ALL, Slice()).entries
    assert {"create_label", "create_artifact"} <= {logged.event.type for logged in found}


def test_many_are_sent_over_few_connections_in_the_order_of_time() -> None:
    collector = Collector()
    with collector.listening() as endpoint:
        services = services_with(clock := Clock(), audit_log_forward_endpoint=endpoint)
        for _ in range(4):
            write(services, 300)
            clock.advance(timedelta(seconds=1))
        assert forward(services) == 1200

    assert collector.connections == 3
    times = [line.split()[1] for line in collector.lines]
    assert times == sorted(times)
    assert len(set(collector.lines)) == 1200


def test_without_the_table_events_are_sent_and_nowhere_else() -> None:
    collector = Collector()
    with collector.listening() as endpoint:
        services = services_with(audit_log_forward_endpoint=endpoint, skip_audit_log_database=True)
        write(services, 2)
        assert audit.page(services.directory, ALL, Slice()).entries == ()
        assert forward(services) == 2

    assert len(collector.lines) == 2


def test_a_service_that_is_away_loses_nothing_and_gets_everything_later(caplog: pytest.LogCaptureFixture) -> None:
    services = services_with(audit_log_forward_endpoint=closed_port())
    write(services, 3)

    with caplog.at_level(logging.WARNING):
        assert forward(services) == 0
    assert "audit events wait" in caplog.text
    assert len(audit.page(services.directory, ALL, Slice()).entries) == 3

    collector = Collector()
    with collector.listening() as endpoint:
        configuration.change(services.directory, {"audit_log_forward_endpoint": endpoint})
        assert forward(services) == 3
    assert len(collector.lines) == 3


def test_a_service_that_ends_before_it_read_everything_gets_it_again() -> None:
    collector = Collector("rude")
    with collector.listening() as endpoint:
        services = services_with(audit_log_forward_endpoint=endpoint)
        write(services, 500)
        assert forward(services) == 0
        collector.manner = "polite"
        assert forward(services) == 500

    assert len(collector.lines) == 500


def test_a_service_that_never_ends_the_connection_has_taken_what_was_sent() -> None:
    collector = Collector("clinging")
    with collector.listening() as endpoint:
        services = services_with(audit_log_forward_endpoint=endpoint)
        write(services, 2)
        assert forward(services) == 2
        assert forward(services) == 0

    assert len(collector.lines) == 2


@pytest.mark.parametrize("endpoint", ["169.254.169.254:80", "0.0.0.0:514", "nowhere.invalid:514"])
def test_what_is_no_collector_is_not_connected_to(endpoint: str, caplog: pytest.LogCaptureFixture) -> None:
    services = services_with(audit_log_forward_endpoint=endpoint)
    write(services, 1)

    with caplog.at_level(logging.WARNING):
        assert forward(services) == 0

    assert "does not take them" in caplog.text


def test_two_processes_send_each_event_once_and_one_that_died_is_replaced() -> None:
    collector, clock = Collector(), Clock()
    with collector.listening() as endpoint:
        services = services_with(clock, audit_log_forward_endpoint=endpoint)
        write(services, 2)
        # A process that died while it sent.
        services.directory.table.commit(Put(forward_audit.LEASE, {}, expires=int(clock().timestamp()) + 60))
        assert forward(services) == 0
        clock.advance(timedelta(seconds=61))
        assert forward(services) == 2

    assert len(collector.lines) == 2


def test_what_nobody_takes_for_days_is_dropped_and_the_log_keeps_it() -> None:
    clock = Clock()
    services = services_with(clock, audit_log_forward_endpoint=closed_port())
    write(services, 1)
    assert len(audit.waiting(services.directory, 10)) == 1

    clock.advance(timedelta(days=KEPT_DAYS, seconds=1))

    assert audit.waiting(services.directory, 10) == ()
    assert len(audit.page(services.directory, ALL, Slice()).entries) == 1


def test_without_a_service_nothing_waits() -> None:
    services = services_with()
    write(services, 1)

    assert audit.waiting(services.directory, 10) == ()
    assert forward(services) == 0


def test_skipping_the_table_needs_a_service() -> None:
    registry = Registry()
    refused = registry.api("PUT", "/configurations", {"skip_audit_log_database": True})
    assert refused.status == 400
    assert b"needs an audit_log_forward_endpoint" in refused.body
    both = {"skip_audit_log_database": True, "audit_log_forward_endpoint": "logs.example.org:514"}
    assert registry.api("PUT", "/configurations", both).status == 200
    assert registry.api("PUT", "/configurations", {"audit_log_forward_endpoint": ""}).status == 400
