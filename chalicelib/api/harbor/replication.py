"""Replication policies, and what became of their executions.

Invariants:
* A policy's schedule is set after the policy, and removed before it: a run that begins in between does what it says.
* The task that finds out what there is to do is not shown: it counts only where it failed, since nothing else tells.
* A policy of which an execution is under way is not deleted.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from chalicelib.api.harbor import listing
from chalicelib.api.harbor.artifact_views import flag
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
from chalicelib.api.harbor.errors import HarborCode, HarborError, bad_request, not_found, refusing
from chalicelib.api.harbor.execution_views import NOT_YET, task_log
from chalicelib.api.harbor.registries import shown, shown_local
from chalicelib.api.http import Response
from chalicelib.policy import replication
from chalicelib.policy.jobs import ACTIVE, Kind, Status, Trigger
from chalicelib.policy.replication import Policy
from chalicelib.store import executions, schedules
from chalicelib.store.directory import registries
from chalicelib.store.directory import replication as policies
from chalicelib.store.directory.replication import Stored
from chalicelib.store.executions import Execution, New, Task
from chalicelib.store.replicating import COPY, ITEMS, OPERATION, REPOSITORY, TAGS, TO

_POLICY, _EXECUTION = "replication-policy", "replication"
# Harbor's words in this part of its API.
_IN_PROGRESS, _SUCCEEDED, _FAILED, _STOPPED, _PENDING = "InProgress", "Succeed", "Failed", "Stopped", "Pending"
_TAG_DELETION = "tag deletion"
_STATES: Mapping[Status, str] = MappingProxyType(
    {
        Status.PENDING: _IN_PROGRESS,
        Status.SCHEDULED: _IN_PROGRESS,
        Status.RUNNING: _IN_PROGRESS,
        Status.STOPPED: _STOPPED,
        Status.ERROR: _FAILED,
        Status.SUCCESS: _SUCCEEDED,
    }
)
_TRIGGERS: Mapping[Trigger, str] = MappingProxyType(
    {Trigger.MANUAL: "manual", Trigger.SCHEDULE: "scheduled", Trigger.EVENT: "event_based"}
)
# From which counter the task that lists is taken out, where it did not fail.
_LISTING = (Status.SUCCESS, Status.RUNNING, Status.SCHEDULED, Status.PENDING)


def list_policies(call: HarborCall) -> Response:
    """List the policies, in the order of their names."""
    wanted, directory = listing.parse(call.request), call.services.directory
    if part := call.request.parameter("name"):
        wanted = replace(wanted, conditions={**wanted.conditions, "name": f"~{part}"})
    if wanted.natural:
        found = policies.page(directory, wanted.slice)
        return listing.answered(call, wanted, _shown(call, found.entries), policies.count(directory))
    chosen, total = listing.select(wanted, _shown(call, policies.every(directory)))
    return listing.answered(call, wanted, chosen, total)


def _shown(call: HarborCall, found: Iterable[Stored]) -> list[dict[str, Any]]:
    here, known = shown_local(call), dict[int, Mapping[str, Any]]()

    def side(number: int) -> Mapping[str, Any]:
        if number and number not in known:
            registry = registries.find(call.services.directory, number)
            known[number] = shown(registry) if registry else {"id": number}
        return known[number] if number else here

    return [
        {
            **replication.written(stored.policy),
            "id": stored.id,
            "src_registry": side(stored.policy.source),
            "dest_registry": side(stored.policy.destination),
            "creation_time": stored.created,
            "update_time": stored.updated,
        }
        for stored in found
    ]


def create_policy(call: HarborCall) -> Response:
    """Add a policy."""
    policy = _parsed(call)
    services = call.auditing(_POLICY, "create", policy.name)
    with refusing(_CODES):
        number = policies.create(services.directory, policy, call.principal.name)
    _schedule(call, number, policy)
    return created(call, number)


def _parsed(call: HarborCall) -> Policy:
    try:
        policy = replication.parse(call.body())
    except ValueError as error:
        raise bad_request(str(error)) from error
    if registries.find(call.services.directory, policy.registry) is None:
        raise bad_request(f"there is no registry {policy.registry}: add it first")
    return policy


def _schedule(call: HarborCall, number: int, policy: Policy) -> None:
    directory = call.services.directory
    if policy.cron and policy.enabled:
        schedules.set(directory, Kind.REPLICATION, number, policy.cron, {}, call.principal.name)
    else:
        schedules.remove(directory, Kind.REPLICATION, number)


_CODES = {policies.POLICIES.taken: HarborCode.CONFLICT}


def _found(call: HarborCall) -> Stored:
    return _policy(call, call.number("id"))


def _policy(call: HarborCall, number: int) -> Stored:
    found = policies.by_id(call.services.directory, number)
    if found is None:
        raise not_found(f"replication policy {number}")
    return found


def get_policy(call: HarborCall) -> Response:
    """Show a policy."""
    return answer(_shown(call, [_found(call)])[0])


def update_policy(call: HarborCall) -> Response:
    """Replace a policy."""
    stored, policy = _found(call), _parsed(call)
    services = call.auditing(_POLICY, "update", policy.name)
    with refusing(_CODES):
        policies.update(services.directory, stored, policy)
    _schedule(call, stored.id, policy)
    return done()


def delete_policy(call: HarborCall) -> Response:
    """Delete a policy with its schedule, unless it is at work."""
    stored, directory = _found(call), call.services.directory
    if any(each.status in ACTIVE for each in executions.page(directory, Kind.REPLICATION, stored.id).entries):
        raise HarborError(HarborCode.PRECONDITION, "an execution of the policy is under way: stop it, or wait for it")
    schedules.remove(directory, Kind.REPLICATION, stored.id)
    policies.delete(call.auditing(_POLICY, "delete", stored.policy.name).directory, stored)
    return done()


def start_execution(call: HarborCall) -> Response:
    """Begin an execution of a policy, or see with `dry_run` what it would copy."""
    stored = _policy(call, typed(call.body(), "policy_id", int, 0))
    if not stored.policy.enabled:
        message = f"the policy {stored.policy.name} is disabled: enable it first"
        raise HarborError(HarborCode.PRECONDITION, message)
    dry = flag(call, "dry_run")
    directory = call.auditing(_EXECUTION, "run", stored.policy.name, "dry run" if dry else "").directory
    parameters = {"dry_run": True} if dry else {}
    new = New(Kind.REPLICATION, stored.id, Trigger.MANUAL, parameters, call.principal.name)
    return created(call, executions.begin(directory, new))


def list_executions(call: HarborCall) -> Response:
    """List executions, the latest first, of one policy or of all that there are."""
    wanted = listing.parse(call.request)
    runs = (_shown_execution(each) for number in _numbers(call) for each in _runs(call, number))
    conditions = {name: value for name in ("status", "trigger") if (value := call.request.parameter(name))}
    found = sorted(filter(listing.meets(conditions), runs), key=lambda each: each["id"], reverse=True)
    chosen, total = listing.select(wanted, found)
    return listing.answered(call, wanted, chosen, total)


def _numbers(call: HarborCall) -> tuple[int, ...]:
    given = call.request.parameter("policy_id")
    if not given:
        return tuple(stored.id for stored in policies.every(call.services.directory))
    number = identifier(given)
    if number is None:
        raise bad_request("policy_id must be a number")
    return (number,)


def _runs(call: HarborCall, number: int) -> tuple[Execution, ...]:
    return executions.page(call.services.directory, Kind.REPLICATION, number).entries


def _shown_execution(execution: Execution) -> dict[str, Any]:
    numbers = dict(execution.metrics)
    if execution.trigger is not Trigger.EVENT:
        lists = next((status for status in _LISTING if numbers.get(status, 0)), None)
        if lists:
            numbers[lists] -= 1
    counted = {
        "failed": numbers.get(Status.ERROR, 0),
        "succeed": numbers.get(Status.SUCCESS, 0),
        "stopped": numbers.get(Status.STOPPED, 0),
        "in_progress": sum(numbers.get(status, 0) for status in ACTIVE),
    }
    return {
        "id": execution.id,
        "policy_id": execution.vendor_id,
        "status": _STATES[execution.status],
        "trigger": _TRIGGERS[execution.trigger],
        "start_time": execution.started,
        "end_time": execution.ended or NOT_YET,
        "status_text": execution.extra_attrs.get("status_text", "") or execution.error,
        "total": sum(counted.values()),
        **counted,
    }


def _execution(call: HarborCall) -> Execution:
    found = executions.get(call.services.directory, call.number("id"))
    if found is None or found.kind is not Kind.REPLICATION:
        raise not_found(f"replication execution {call.parameters['id']}")
    return found


def get_execution(call: HarborCall) -> Response:
    """Show an execution."""
    return answer(_shown_execution(_execution(call)))


def stop_execution(call: HarborCall) -> Response:
    """Stop an execution: what was copied stays, and nothing more is."""
    found = _execution(call)
    executions.stop(call.auditing(_EXECUTION, "stop", str(found.id)).directory, found.id)
    return done()


def list_tasks(call: HarborCall) -> Response:
    """List what an execution does with each repository."""
    wanted = listing.parse(call.request)
    execution = _execution(call)
    kind = _resource(call, execution)
    tasks = [_shown_task(task, kind) for task in _tasks(call, execution)]
    conditions = {name: value for name in ("status", "resource_type") if (value := call.request.parameter(name))}
    chosen, total = listing.select(wanted, list(filter(listing.meets(conditions), tasks)))
    return listing.answered(call, wanted, chosen, total)


def _resource(call: HarborCall, execution: Execution) -> str:
    """Return what an execution copies or deletes, by Harbor's word for what its source has."""
    stored = policies.by_id(call.services.directory, execution.vendor_id)
    if stored is None or not stored.policy.pulls:
        return replication.resource(replication.HARBOR)
    registry = registries.find(call.services.directory, stored.policy.registry)
    return replication.resource(registry.type if registry else "")


def _tasks(call: HarborCall, execution: Execution) -> list[Task]:
    tasks = executions.tasks(call.services.directory, execution.id)
    return [task for task in tasks if REPOSITORY in task.parameters]


def _shown_task(task: Task, kind: str) -> dict[str, Any]:
    parameters, items = task.parameters, task.parameters[ITEMS]
    return {
        "id": task.id,
        "execution_id": task.execution_id,
        "status": _PENDING if task.status is Status.PENDING else _STATES[task.status],
        "job_id": str(task.id),
        "operation": _TAG_DELETION if TAGS in parameters else parameters.get(OPERATION, COPY),
        "resource_type": kind,
        "src_resource": replication.text(parameters[REPOSITORY], items),
        "dst_resource": replication.text(parameters[TO], items),
        "start_time": task.started or task.created,
        "end_time": task.ended or NOT_YET,
    }


def get_log(call: HarborCall) -> Response:
    """Show what a task copied, or why not."""
    return task_log(call, _execution(call))


_POLICIES, _EXECUTIONS = "/replication/policies", "/replication/executions"
_ONE_POLICY, _ONE = f"{_POLICIES}/{{id}}", f"{_EXECUTIONS}/{{id}}"
# fmt: off
ENDPOINTS: tuple[HarborEndpoint, ...] = (
    HarborEndpoint("GET",    _POLICIES,       in_system(_POLICY, "list"),      list_policies),
    HarborEndpoint("POST",   _POLICIES,       in_system(_POLICY, "create"),    create_policy),
    HarborEndpoint("GET",    _ONE_POLICY,     in_system(_POLICY, "read"),      get_policy),
    HarborEndpoint("PUT",    _ONE_POLICY,     in_system(_POLICY, "update"),    update_policy),
    HarborEndpoint("DELETE", _ONE_POLICY,     in_system(_POLICY, "delete"),    delete_policy),
    HarborEndpoint("GET",    _EXECUTIONS,     in_system(_EXECUTION, "list"),   list_executions),
    HarborEndpoint("POST",   _EXECUTIONS,     in_system(_EXECUTION, "create"), start_execution),
    HarborEndpoint("GET",    _ONE,            in_system(_EXECUTION, "read"),   get_execution),
    HarborEndpoint("PUT",    _ONE,            in_system(_EXECUTION, "create"), stop_execution),
    HarborEndpoint("GET",    f"{_ONE}/tasks", in_system(_EXECUTION, "list"),   list_tasks),
    HarborEndpoint("GET",    f"{_ONE}/tasks/{{task_id}}/log", in_system(_EXECUTION, "read"), get_log),
)
# fmt: on
