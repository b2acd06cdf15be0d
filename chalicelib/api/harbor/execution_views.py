"""How Harbor shows executions and schedules, and the endpoints of every kind of jobs that is scheduled by them.

Invariants:
* The calls of such a kind are alike: history, one execution, its log, stop, and the schedule, by which it is started
  too. A kind says its address, its words and what its parameters are (`Operated`); the rows follow.
* An execution of another kind is not there, whoever names it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import orjson

from chalicelib.api.harbor import listing
from chalicelib.api.harbor.calls import HarborCall, HarborEndpoint, Need, answer, done, in_system, typed
from chalicelib.api.harbor.errors import bad_request, not_found
from chalicelib.api.harbor.listing import Listing
from chalicelib.api.http import Response
from chalicelib.policy import cron as crons
from chalicelib.policy.jobs import NO_VENDOR, Kind, Status, Trigger
from chalicelib.store import executions, schedules
from chalicelib.store.executions import Execution, New
from chalicelib.store.schedules import Schedule

Parameters = Mapping[str, Any]
# What Harbor writes for a time that has not come.
NOT_YET = "0001-01-01T00:00:00Z"

_NOW, _NEVER, _CUSTOM = "Manual", "None", "Custom"
_REPEATED = (*crons.NAMED, _CUSTOM, "Schedule")
# By what an execution began, in the words that the schedules of the description have.
_TYPES: Mapping[Trigger, str] = MappingProxyType(
    {Trigger.MANUAL: "Manual", Trigger.SCHEDULE: "Schedule", Trigger.EVENT: "Manual"}
)
# The columns of Harbor's table, by which its histories are asked, and what they are called where they are shown.
_SHOWN_AS: Mapping[str, str] = MappingProxyType(
    {
        "vendortype": "job_name",
        "trigger": "job_kind",
        "status": "job_status",
        "starttime": "creation_time",
        "endtime": "update_time",
    }
)


def _always(_call: HarborCall, _parameters: Parameters) -> None:
    """Refuse no parameters."""


@dataclass(frozen=True, slots=True)
class Operated:
    """A kind of jobs that administrators start and schedule, at `path`; `parameter` names an execution's id there.

    `parse` makes parameters of what was sent; it raises BAD_REQUEST. `check` looks whether what they name is there;
    it raises NOT_FOUND.
    """

    kind: Kind
    path: str
    parameter: str
    resource: str
    words: str
    parse: Callable[[Parameters], dict[str, Any]]
    check: Callable[[HarborCall, Parameters], None] = _always


def shown_execution(execution: Execution) -> dict[str, Any]:
    """Return an execution as Harbor writes it in a history."""
    parameters = {**execution.parameters, **execution.extra_attrs}
    return {
        "id": execution.id,
        "job_name": execution.kind,
        "job_kind": execution.trigger,
        "job_parameters": orjson.dumps(parameters).decode(),
        "job_status": execution.status,
        "deleted": False,
        "schedule": {"type": _TYPES[execution.trigger]},
        "creation_time": execution.started,
        "update_time": execution.updated,
    }


def shown_schedule(schedule: Schedule) -> dict[str, Any]:
    """Return a schedule as Harbor writes it, in the form of a history."""
    following = schedule.next.isoformat().replace("+00:00", "Z")
    return {
        "id": schedule.id,
        "job_name": schedule.kind,
        "job_kind": schedule.cron,
        "job_parameters": orjson.dumps(dict(schedule.parameters)).decode(),
        # So Harbor says that there is one.
        "job_status": Status.RUNNING,
        "deleted": False,
        "schedule": {"type": schedule.type, "cron": schedule.cron, "next_scheduled_time": following},
        "creation_time": schedule.created,
        "update_time": schedule.updated,
    }


def text(content: str) -> Response:
    """Return an answer that is a log."""
    return Response(200, {"Content-Type": "text/plain; charset=utf-8"}, content.encode())


def _as_shown(wanted: Listing) -> Listing:
    """Return what is wanted of a history by the names that it is shown with."""

    def shown(name: str) -> str:
        return _SHOWN_AS.get(listing.field_name(name), name)

    return replace(
        wanted,
        conditions={shown(name): value for name, value in wanted.conditions.items()},
        order=tuple((shown(name), descending) for name, descending in wanted.order),
    )


def history(operated: Operated, call: HarborCall) -> Response:
    """List the executions, the latest first; no more are kept than are read here at once."""
    wanted = _as_shown(listing.parse(call.request))
    page = executions.page(call.services.directory, operated.kind, NO_VENDOR)
    chosen, total = listing.select(wanted, [shown_execution(each) for each in page.entries])
    return listing.answered(call, wanted, chosen, total)


def _found(operated: Operated, call: HarborCall) -> Execution:
    found = executions.get(call.services.directory, call.number(operated.parameter))
    if found is None or found.kind is not operated.kind:
        raise not_found(f"{operated.words} {call.parameters[operated.parameter]}")
    return found


def one(operated: Operated, call: HarborCall) -> Response:
    """Show one execution."""
    return answer(shown_execution(_found(operated, call)))


def log(operated: Operated, call: HarborCall) -> Response:
    """Show the log of an execution."""
    directory = call.services.directory
    tasks = executions.tasks(directory, _found(operated, call).id)
    return text("".join(executions.log(directory, each.id) or "" for each in tasks))


def task_log(call: HarborCall, execution: Execution) -> Response:
    """Show the log of the task that a call names; it is one of the execution's."""
    number, directory = call.number("task_id"), call.services.directory
    if number not in {task.id for task in executions.tasks(directory, execution.id)}:
        raise not_found(f"task {number} of the execution")
    return text(executions.log(directory, number) or "")


def stop(operated: Operated, call: HarborCall) -> Response:
    """Stop an execution; one that has ended stays as it is."""
    found = _found(operated, call)
    audited = call.auditing("job", "stop", f"{operated.kind} {found.id}")
    executions.stop(audited.directory, found.id)
    return done()


def get_schedule(operated: Operated, call: HarborCall) -> Response:
    """Show the schedule; an empty object where there is none."""
    found = schedules.get(call.services.directory, operated.kind, NO_VENDOR)
    return answer(shown_schedule(found) if found else {})


def create_schedule(operated: Operated, call: HarborCall) -> Response:
    """Start an execution now, or set or remove the schedule; Location names what was started."""
    number = _operate(operated, call)
    above = quote(call.request.path.rstrip("/")).rpartition("/")[0]
    return Response(201, {"Location": f"{above}/{number}"})


def update_schedule(operated: Operated, call: HarborCall) -> Response:
    """Start an execution now, or set or remove the schedule."""
    _operate(operated, call)
    return done()


def _operate(operated: Operated, call: HarborCall) -> int:
    """Do what a schedule that was sent says; return the id of the execution that began, or 0."""
    body = call.body()
    wanted, sent = typed(body, "schedule", dict, {}), typed(body, "parameters", dict, {})
    kind, by = typed(wanted, "type", str, ""), call.principal.name
    audited = partial(call.auditing, "job-schedule", "update", operated.kind)
    if kind == _NEVER:
        schedules.remove(audited("removed").directory, operated.kind, NO_VENDOR)
        return 0
    parameters = operated.parse(sent)
    operated.check(call, parameters)
    if kind == _NOW:
        directory = audited("started").directory
        return executions.begin(directory, New(operated.kind, NO_VENDOR, Trigger.MANUAL, parameters, by))
    expression = _expression(wanted, kind)
    directory = audited(expression).directory
    schedules.set(directory, operated.kind, NO_VENDOR, expression, parameters, by, kind)
    return 0


def _expression(wanted: Parameters, kind: str) -> str:
    """Return the cron expression of a schedule that was sent; raise BAD_REQUEST."""
    if kind not in _REPEATED:
        raise bad_request(f"the type of a schedule is one of {', '.join((*_REPEATED, _NOW, _NEVER))}")
    try:
        return crons.parse(typed(wanted, "cron", str, "") or crons.NAMED.get(kind, ""))
    except ValueError as error:
        raise bad_request(str(error)) from error


def rows(operated: Operated) -> tuple[HarborEndpoint, ...]:
    """Return the endpoints of a kind of jobs."""

    def need(action: str) -> Need:
        return in_system(operated.resource, action)

    path, single = operated.path, f"{operated.path}/{{{operated.parameter}}}"
    # fmt: off
    table: tuple[tuple[str, str, str, Callable[[Operated, HarborCall], Response]], ...] = (
        ("GET",  path,               "list",   history),
        ("GET",  single,             "read",   one),
        ("PUT",  single,             "stop",   stop),
        ("GET",  f"{single}/log",    "read",   log),
        ("GET",  f"{path}/schedule", "read",   get_schedule),
        ("POST", f"{path}/schedule", "create", create_schedule),
        ("PUT",  f"{path}/schedule", "update", update_schedule),
    )
    # fmt: on
    return tuple(
        HarborEndpoint(method, where, need(action), partial(handler, operated))
        for method, where, action, handler in table
    )
