"""Reading the audit log: of the system, and of a project, in the form of today and in the older one.

Invariant: by time, in either direction and without conditions, a page is read where it is. Everything else looks at
the entries of the time that is asked for (`op_time=[from~to]`), the latest first, and at so many of them at most.
"""

from collections.abc import Callable
from typing import Any

from chalicelib.api.harbor import listing
from chalicelib.api.harbor.calls import SIGNED_IN, HarborCall, HarborEndpoint, answer, in_project, in_system
from chalicelib.api.http import Response
from chalicelib.policy.audit import HARBOR, OTHERS, OURS
from chalicelib.store.directory import audit
from chalicelib.store.directory.audit import ALL, Logged, Span
from chalicelib.store.table import Slice

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


def _fields(logged: Logged) -> dict[str, Any]:
    """Return what conditions and orders can name: all that is shown, and some that tools ask for."""
    event = logged.event
    also = {"project_id": event.project_id, "creation_time": logged.time, "event_type": event.type}
    return {**_extended(logged), **also, "is_successful": event.succeeded}


# Ids grow with time.
_TIMES = ("optime", "creationtime")
_BY_TIME = (*_TIMES, "id")


def _backwards(wanted: listing.Listing) -> bool | None:
    """Tell whether the log is wanted from its end or from its beginning; None where in an order other than time's."""
    if not wanted.order:
        return True
    (name, descending), *others = wanted.order
    return descending if listing.field_name(name) in _BY_TIME and not others else None


def _listed(call: HarborCall, scope: int | str, shape: Shape) -> Response:
    wanted, directory = listing.parse(call.request), call.services.directory
    backwards = _backwards(wanted)
    if not wanted.conditions and backwards is not None:
        part = Slice(limit=wanted.size, skip=(wanted.page - 1) * wanted.size, backwards=backwards)
        entries = [shape(logged) for logged in audit.page(directory, scope, part).entries]
        return listing.answered(call, wanted, entries, audit.count(directory, scope))
    meets = listing.meets(wanted.conditions)
    found = audit.search(directory, scope, _span(wanted), lambda logged: meets(_fields(logged)))
    order = wanted.order if backwards is None else ()
    rows = [{**_fields(logged), "": logged} for logged in (found if backwards is not False else found[::-1])]
    chosen, total = listing.select(listing.Listing(wanted.page, wanted.size, {}, order), rows)
    return listing.answered(call, wanted, [shape(row[""]) for row in chosen], total)


def _span(wanted: listing.Listing) -> Span:
    """Return of which time entries can meet the conditions."""
    values = {listing.field_name(name): value for name, value in wanted.conditions.items()}
    ranges = [found for name in _TIMES if (found := listing.bounds(values.get(name, "")))]
    return Span(max((begin for begin, _ in ranges), default=""), min((end for _, end in ranges if end), default=""))


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
    """List the types of events that can be switched off and purged: Harbor's own, ours, and the rest."""
    return answer([{"event_type": name} for name in (*HARBOR, *OURS, OTHERS)])


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
