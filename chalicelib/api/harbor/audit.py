"""Reading the audit log: of the system, and of a project, in the form of today and in the older one."""

from collections.abc import Callable
from typing import Any

from chalicelib.api.harbor import listing
from chalicelib.api.harbor.calls import SIGNED_IN, HarborCall, HarborEndpoint, answer, in_project, in_system
from chalicelib.api.http import Response
from chalicelib.store.directory import audit
from chalicelib.store.directory.audit import ALL, Logged
from chalicelib.store.table import Slice

EVENT_TYPES = (
    "create_artifact",
    "delete_artifact",
    "pull_artifact",
    "create_project",
    "delete_project",
    "update_project",
    "delete_repository",
    "login_user",
    "logout_user",
    "create_user",
    "delete_user",
    "update_user",
    "create_robot",
    "delete_robot",
    "update_configuration",
    "create_member",
    "delete_member",
    "update_member",
)
Shape = Callable[[Logged], dict[str, Any]]


def _older(logged: Logged) -> dict[str, Any]:
    event = logged.event
    return {
        "id": logged.id,
        "username": event.username,
        "resource": event.resource,
        "resource_type": event.resource_type,
        "operation": event.operation,
        "op_time": logged.time,
    }


def _extended(logged: Logged) -> dict[str, Any]:
    event = logged.event
    description = event.description or f"{event.operation} {event.resource_type} {event.resource}"
    return {**_older(logged), "operation_description": description, "operation_result": event.succeeded}


# What portals and tools ask for; the log is read from its end, however long it is.
_LATEST_FIRST = ((), (("op_time", True),), (("id", True),), (("creation_time", True),))


def _listed(call: HarborCall, scope: int | str, shape: Shape) -> Response:
    wanted, directory = listing.parse(call.request), call.services.directory
    if not wanted.conditions and wanted.order in _LATEST_FIRST:
        part = Slice(limit=wanted.size, skip=(wanted.page - 1) * wanted.size, backwards=True)
        entries = [shape(logged) for logged in audit.page(directory, scope, part).entries]
        return listing.answered(call, wanted, entries, audit.count(directory, scope))
    meets = listing.meets(wanted.conditions)
    found = audit.scan(directory, scope, lambda logged: meets(_extended(logged)))
    chosen, total = listing.select(
        listing.Listing(wanted.page, wanted.size, {}, wanted.order), [shape(logged) for logged in found]
    )
    return listing.answered(call, wanted, chosen, total)


def list_all(call: HarborCall) -> Response:
    """List every event, the latest first."""
    return _listed(call, ALL, _extended)


def list_all_older(call: HarborCall) -> Response:
    """List every event in the older form."""
    return _listed(call, ALL, _older)


def list_project(call: HarborCall) -> Response:
    """List a project's events, the latest first."""
    return _listed(call, call.project.id, _extended)


def list_project_older(call: HarborCall) -> Response:
    """List a project's events in the older form."""
    return _listed(call, call.project.id, _older)


def event_types(call: HarborCall) -> Response:  # noqa: ARG001 - they are the same for everybody
    """List the types of events."""
    return answer([{"event_type": name} for name in EVENT_TYPES])


_ALL, _PROJECT = in_system("audit-log", "list"), in_project("log", "list")
# fmt: off
ENDPOINTS: tuple[HarborEndpoint, ...] = (
    HarborEndpoint("GET", "/audit-logs",                            _ALL,      list_all_older),
    HarborEndpoint("GET", "/auditlog-exts",                         _ALL,      list_all),
    HarborEndpoint("GET", "/auditlog-exts/events",                  SIGNED_IN, event_types),
    HarborEndpoint("GET", "/projects/{project_name}/logs",          _PROJECT,  list_project_older),
    HarborEndpoint("GET", "/projects/{project_name}/auditlog-exts", _PROJECT,  list_project),
)
# fmt: on
