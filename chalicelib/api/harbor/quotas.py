"""Quotas: how much each project may store, and how much it does. A quota's id is its project's.

Invariant: what is shown as used is what pushes are measured by (`charging`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from chalicelib.api.harbor import listing
from chalicelib.api.harbor.calls import (
    HarborCall,
    HarborEndpoint,
    answer,
    created,
    done,
    identifier,
    in_system,
    typed,
)
from chalicelib.api.harbor.errors import bad_request, not_found
from chalicelib.api.harbor.execution_views import shown_execution
from chalicelib.api.http import Response
from chalicelib.policy import projects as rules
from chalicelib.policy.jobs import NO_VENDOR, Kind, Trigger
from chalicelib.store import executions
from chalicelib.store.directory import projects
from chalicelib.store.directory.projects import Project
from chalicelib.store.executions import New
from chalicelib.store.usage import counting


def list_quotas(call: HarborCall) -> Response:
    """List the quotas of all projects, or of the one that `reference_id` names."""
    request, wanted, directory = call.request, listing.parse(call.request), call.services.directory
    kind, number = request.parameter("reference"), request.parameter("reference_id")
    if kind not in ("", "project"):
        raise bad_request("reference must be project")
    if number:
        known = identifier(number)
        found = projects.by_id(directory, known) if known is not None else None
        return listing.answered(call, wanted, [_shown(call, found)] if found else [], 1 if found else 0)
    if wanted.natural:
        page = projects.page(directory, wanted.slice)
        entries = call.services.content.together(partial(_shown, call), page.entries)
        return listing.answered(call, wanted, entries, projects.count(directory))
    by_id = {project.id: project for project in projects.every(directory)}
    chosen, total = listing.select(wanted, _fields(call, wanted, by_id.values()))
    shown = call.services.content.together(partial(_shown, call), [by_id[fields["id"]] for fields in chosen])
    return listing.answered(call, wanted, shown, total)


def _fields(call: HarborCall, wanted: listing.Listing, every: Iterable[Project]) -> Sequence[Mapping[str, Any]]:
    """Return what quotas can be chosen and sorted by; what is used is asked for only where it matters."""
    named = {*wanted.conditions, *(name for name, _ in wanted.order)}
    if any(listing.field_name(name).startswith("used") for name in named):
        shown = call.services.content.together(partial(_shown, call), every)
    else:
        shown = tuple(map(_limit, every))
    return [
        {**quota, **{f"{name}.storage": quota[name]["storage"] for name in ("hard", "used") if name in quota}}
        for quota in shown
    ]


def _shown(call: HarborCall, project: Project) -> dict[str, Any]:
    return {**_limit(project), "used": {"storage": counting.used(call.services.index, project.id)}}


def _limit(project: Project) -> dict[str, Any]:
    return {
        "id": project.id,
        "ref": {"id": project.id, "name": project.name, "owner_name": project.owner_name},
        "hard": {"storage": project.storage_limit},
        "creation_time": project.created,
        "update_time": project.updated,
    }


def _project(call: HarborCall) -> Project:
    project = projects.by_id(call.services.directory, call.number("id"))
    if project is None:
        raise not_found("quota")
    return project


def get_quota(call: HarborCall) -> Response:
    """Show a project's quota."""
    return answer(_shown(call, _project(call)))


def update_quota(call: HarborCall) -> Response:
    """Set how much a project may store."""
    project, hard = _project(call), typed(call.body(), "hard", dict, {})
    limit = typed(hard, "storage", int, None)
    if limit is None or set(hard) != {"storage"}:
        raise bad_request('send the limit as {"hard": {"storage": <bytes, or -1>}}')
    try:
        limit = rules.parse_storage_limit(limit)
    except ValueError as error:
        raise bad_request(str(error)) from error
    audited = replace(call, in_project=project).auditing("quota", "update", project.name, f"{limit} bytes")
    projects.update(audited.directory, replace(project, storage_limit=limit))
    return done()


def reconcile(call: HarborCall) -> Response:
    """Let what is used be counted anew from what is stored, beside pushes; once at a time."""
    directory = call.auditing("quota", "update", "all", "reconciliation").directory
    begun = executions.begin(directory, New(Kind.QUOTA, NO_VENDOR, Trigger.MANUAL, {}, call.principal.name))
    return created(call, begun)


def get_reconciliation(call: HarborCall) -> Response:
    """Show how far a reconciliation is; `repaired` in its parameters says how much was wrong."""
    found = executions.get(call.services.directory, call.number("reconciliation_id"))
    if found is None or found.kind is not Kind.QUOTA:
        raise not_found("reconciliation")
    return answer(shown_execution(found))


_COUNTS = "/quotas/reconciliations"
# fmt: off
ENDPOINTS: tuple[HarborEndpoint, ...] = (
    HarborEndpoint("GET", "/quotas",      in_system("quota", "list"),   list_quotas),
    HarborEndpoint("GET", "/quotas/{id}", in_system("quota", "read"),   get_quota),
    HarborEndpoint("PUT", "/quotas/{id}", in_system("quota", "update"), update_quota),
    HarborEndpoint("POST", _COUNTS, in_system("quota", "update"), reconcile),
    HarborEndpoint("GET", f"{_COUNTS}/{{reconciliation_id}}", in_system("quota", "read"), get_reconciliation),
)
# fmt: on
