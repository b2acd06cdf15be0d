"""Reading the audit log: of the system, and of a project, in the form of today and in the older one.

Invariants:
* Who may read the log of the system gets all of it, and everybody else, of those projects whose log they may read.
* By time, in either direction and without conditions, a page of one list is read where it is; one of several lists,
  the latest first, costs what comes before it, and there is none after so many entries. Everything else looks at the
  entries of the time that is asked for (`op_time=[from~to]`), the latest first, and at so many of them at most.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import Any

from chalicelib.api import identity
from chalicelib.api.harbor import listing
from chalicelib.api.harbor.calls import SIGNED_IN, HarborCall, HarborEndpoint, answer, in_project
from chalicelib.api.http import Response
from chalicelib.policy.audit import HARBOR, OTHERS, OURS
from chalicelib.policy.rbac import Permission
from chalicelib.store.directory import audit
from chalicelib.store.directory.audit import ALL, Logged, Scope, Span
from chalicelib.store.table import PAGE, Slice

Shape = Callable[[Logged], dict[str, Any]]
_OF_SYSTEM, _OF_PROJECT = Permission("audit-log", "list"), Permission("log", "list")


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


def _listed(call: HarborCall, scopes: Sequence[Scope], shape: Shape) -> Response:
    wanted = listing.parse(call.request)
    backwards = _backwards(wanted)
    if not wanted.conditions and backwards is not None and (backwards or len(scopes) == 1):
        entries = [shape(logged) for logged in _page(call, scopes, wanted, backwards=backwards)]
        counts = call.services.content.together(partial(audit.count, call.services.directory), scopes)
        return listing.answered(call, wanted, entries, sum(counts))
    meets = listing.meets(wanted.conditions)
    found = audit.search(_latest(call, scopes, _span(wanted), PAGE), lambda logged: meets(_fields(logged)))
    order = wanted.order if backwards is None else ()
    rows = [{**_fields(logged), "": logged} for logged in (found if backwards is not False else found[::-1])]
    chosen, total = listing.select(listing.Listing(wanted.page, wanted.size, {}, order), rows)
    return listing.answered(call, wanted, [shape(row[""]) for row in chosen], total)


def _page(call: HarborCall, scopes: Sequence[Scope], wanted: listing.Listing, *, backwards: bool) -> Sequence[Logged]:
    """Return a page by time: of several lists by reading each as far as the page goes."""
    skip = (wanted.page - 1) * wanted.size
    if len(scopes) == 1:
        part = Slice(limit=wanted.size, skip=skip, backwards=backwards)
        return audit.page(call.services.directory, scopes[0], part).entries
    events = _latest(call, scopes, Span(), min(skip + wanted.size, PAGE))
    return tuple(islice(events, skip, skip + wanted.size))


def _latest(call: HarborCall, scopes: Sequence[Scope], span: Span, limit: int) -> audit.Events:
    return audit.latest(call.services.directory, scopes, span, limit, call.services.content.together)


def _scopes(call: HarborCall) -> tuple[Scope, ...]:
    """Return what the caller may read: the log of all, or those of some projects."""
    if _OF_SYSTEM in call.permissions:
        return (ALL,)
    found = identity.permitting(call.services, call.principal, _OF_PROJECT)
    return tuple(project.id for project in found)


def _span(wanted: listing.Listing) -> Span:
    """Return of which time entries can meet the conditions."""
    values = {listing.field_name(name): value for name, value in wanted.conditions.items()}
    ranges = [found for name in _TIMES if (found := listing.bounds(values.get(name, "")))]
    return Span(max((begin for begin, _ in ranges), default=""), min((end for _, end in ranges if end), default=""))


def list_all(call: HarborCall) -> Response:
    """List every event that the caller may know of, the latest first."""
    return _listed(call, _scopes(call), _extended)


def list_all_older(call: HarborCall) -> Response:
    """List the same in the older form."""
    return _listed(call, _scopes(call), _older)


def list_project(call: HarborCall) -> Response:
    """List a project's events, the latest first."""
    return _listed(call, (call.project.id,), _extended)


def list_project_older(call: HarborCall) -> Response:
    """List a project's events in the older form."""
    return _listed(call, (call.project.id,), _older)


def event_types(call: HarborCall) -> Response:  # noqa: ARG001 - they are the same for everybody
    """List the types of events that can be switched off and purged: Harbor's own, ours, and the rest."""
    return answer([{"event_type": name} for name in (*HARBOR, *OURS, OTHERS)])


# What each gets of all is looked at by the handlers.
_PROJECT = in_project("log", "list")
# fmt: off
ENDPOINTS: tuple[HarborEndpoint, ...] = (
    HarborEndpoint("GET", "/audit-logs",                            SIGNED_IN, list_all_older),
    HarborEndpoint("GET", "/auditlog-exts",                         SIGNED_IN, list_all),
    HarborEndpoint("GET", "/auditlog-exts/events",                  SIGNED_IN, event_types),
    HarborEndpoint("GET", "/projects/{project_name}/logs",          _PROJECT,  list_project_older),
    HarborEndpoint("GET", "/projects/{project_name}/auditlog-exts", _PROJECT,  list_project),
)
# fmt: on
