"""Sends what waits in the audit log's `forward/` to a syslog service.

Invariants:
* No request waits for it: events wait in the table, and are removed when the service has taken them.
* Each is sent at least once, in the order of time. A service that does not answer loses nothing within the days that
  events wait; one that ends in the middle gets the last of them again.
* One process sends at a time.
"""

import logging
import socket
from collections.abc import Callable, Iterable

from chalicelib.policy.audit import Rules
from chalicelib.policy.collectors import Endpoint, may_be_sent_to
from chalicelib.policy.syslog import message
from chalicelib.services import Services
from chalicelib.store.directory import audit, configuration
from chalicelib.store.table import ABSENT, Delete, Key, Put, RefusedError

log = logging.getLogger(__name__)

_TOGETHER = 500
_SECONDS = 5.0
LEASE = Key("jobs/", "forward_audit")
_LEASE_SECONDS = 60


def run(services: Services, more_time: Callable[[], bool] = lambda: True, seconds: float = _SECONDS) -> int:
    """Send what waits and return how many events that were; a service that fails is in the log. Raise OSError."""
    if not services.keeps_table():
        return 0
    rules, count = Rules.of(configuration.recent(services.directory)), 0
    while rules.endpoint and more_time() and audit.waiting(services.directory, 1):
        sent = _send_some(services, Endpoint.parse(rules.endpoint), seconds)
        count += sent
        if not sent:
            break
    return count


def _send_some(services: Services, endpoint: Endpoint, seconds: float) -> int:
    """Send the oldest events, unless another process does."""
    table = services.directory.table
    expires = int(services.now().timestamp()) + _LEASE_SECONDS
    try:
        table.commit(Put(LEASE, {}, ABSENT, "another process sends", expires))
    except RefusedError:
        return 0
    try:
        waiting = audit.waiting(services.directory, _TOGETHER)
        _send(endpoint, [message(logged.id, logged.time, logged.event) for logged in waiting], seconds)
    except ServiceError as error:
        log.warning("audit events wait: the syslog service at %s:%d does not take them: %s", *endpoint, error)
        return 0
    else:
        audit.sent(services.directory, waiting)
        return len(waiting)
    finally:
        table.commit(Delete(LEASE))


class ServiceError(Exception):
    """The syslog service cannot be reached, or ended before it had everything."""


def _send(endpoint: Endpoint, messages: Iterable[bytes], seconds: float) -> None:
    try:
        with _connected(endpoint, seconds) as connection:
            connection.sendall(b"".join(messages))
            connection.shutdown(socket.SHUT_WR)
            _wait_for_the_end(connection)
    except OSError as error:
        raise ServiceError(str(error)) from error


def _connected(endpoint: Endpoint, seconds: float) -> socket.socket:
    """Return a connection to the first address of the endpoint that takes one; raise OSError."""
    failure = OSError("its name has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(*endpoint, type=socket.SOCK_STREAM):
        if not may_be_sent_to(str(address[0])):
            failure = OSError(f"{address[0]} is no address of a log collector")
            continue
        connection = socket.socket(family, kind, protocol)
        connection.settimeout(seconds)
        try:
            connection.connect(address)
        except OSError as error:
            connection.close()
            failure = error
        else:
            return connection
    raise failure


def _wait_for_the_end(connection: socket.socket) -> None:
    """Wait until the service, having read all, ends too; one that keeps the connection has taken it as well."""
    try:
        while connection.recv(4096):
            pass
    except TimeoutError:
        return
