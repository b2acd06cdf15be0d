"""Webhook policies of projects, and what became of what they told.

Invariants:
* Who may change policies sees what they send as `Authorization`, as in Harbor (terraform compares it); who may only
  look sees that there is something. The secret that signs is shown to nobody.
* An address that is private in itself is refused at once; what a name leads to is looked at when it is told.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from chalicelib.api.harbor import listing
from chalicelib.api.harbor.calls import HarborCall, HarborEndpoint, answer, created, done, identifier, in_project
from chalicelib.api.harbor.errors import HarborCode, bad_request, not_found, refusing
from chalicelib.api.harbor.execution_views import NOT_YET, task_log
from chalicelib.api.http import Response
from chalicelib.policy import addresses, webhooks
from chalicelib.policy.jobs import Status
from chalicelib.policy.rbac import Permission
from chalicelib.policy.webhooks import FORMATS, HIDDEN, EventType, Notify, Policy
from chalicelib.store import executions, sealed
from chalicelib.store.directory import webhooks as policies
from chalicelib.store.directory.webhooks import Stored
from chalicelib.store.executions import Execution, Task
from chalicelib.store.notifications import HAPPENED, KINDS
from chalicelib.store.sealed import SealError

_RESOURCE = "notification-policy"
_UPDATE = Permission(_RESOURCE, "update")


def list_events(_call: HarborCall) -> Response:
    """Show what policies can be made of."""
    formats = [{"notify_type": notify, "formats": list(known)} for notify, known in FORMATS.items()]
    return answer({"event_type": list(EventType), "notify_type": list(Notify), "payload_formats": formats})


def list_policies(call: HarborCall) -> Response:
    """List the policies of a project, the newest first."""
    wanted = listing.parse(call.request)
    chosen, total = listing.select(wanted, [_shown(call, stored) for stored in _all(call)])
    return listing.answered(call, wanted, chosen, total)


def _all(call: HarborCall) -> Sequence[Stored]:
    return policies.all_of(call.services.directory, call.project.id)[::-1]


def _shown(call: HarborCall, stored: Stored) -> dict[str, Any]:
    keys, may_see = call.services.settings.signing_keys, _UPDATE in call.permissions

    def shown(secret: str) -> str:
        try:
            return sealed.unseal(keys, secret) if may_see else HIDDEN
        except SealError:
            return HIDDEN

    return {
        "id": stored.id,
        "project_id": stored.project_id,
        "creator": stored.creator,
        "creation_time": stored.created,
        "update_time": stored.updated,
        **webhooks.written(webhooks.with_secrets(stored.policy, shown)),
    }


def create_policy(call: HarborCall) -> Response:
    """Add a policy."""
    policy = _parsed(call)
    services = call.auditing(_RESOURCE, "create", policy.name)
    with refusing(_CODES):
        number = policies.create(services.directory, call.project.id, _sealed(call, policy), call.principal.name)
    return created(call, number)


def get_policy(call: HarborCall) -> Response:
    """Show a policy."""
    return answer(_shown(call, _found(call)))


def update_policy(call: HarborCall) -> Response:
    """Replace a policy; the secret that signs stays where none is sent, and goes with ""."""
    stored = _found(call)
    policy = _parsed(call, stored)
    services = call.auditing(_RESOURCE, "update", policy.name)
    with refusing(_CODES):
        policies.change(services.directory, stored, _sealed(call, policy))
    return done()


def delete_policy(call: HarborCall) -> Response:
    """Delete a policy: what it has not told yet is not told."""
    stored = _found(call)
    services = call.auditing(_RESOURCE, "delete", stored.policy.name)
    with refusing(_CODES):
        policies.remove(services.directory, stored)
    return done()


def _parsed(call: HarborCall, before: Stored | None = None) -> Policy:
    """Return the policy that was sent, its secrets open; raise BAD_REQUEST."""
    body, keys = call.body(), call.services.settings.signing_keys
    try:
        known = None
        if before and body.get("signing_secret") is None:
            # What is sent anew need not be opened: that may be why it is sent.
            known = webhooks.with_secrets(
                replace(before.policy, targets=()), lambda secret: sealed.unseal(keys, secret)
            )
        policy = webhooks.parse(body, known)
    except ValueError as error:
        raise bad_request(str(error)) from error
    for target in policy.targets:
        _check_address(call, target.address)
    return policy


def _check_address(call: HarborCall, address: str) -> None:
    host = urlsplit(address).hostname or ""
    literal = "127.0.0.1" if host == "localhost" else host
    allowed = call.services.settings.private_targets
    if addresses.parsed(literal) and not addresses.may_reach(host, literal, allowed):
        raise bad_request(
            f"{host} is not a public address: who operates the registry can allow it with ROADSTEAD_PRIVATE_TARGETS"
        )


def _sealed(call: HarborCall, policy: Policy) -> Policy:
    keys = call.services.settings.signing_keys
    return webhooks.with_secrets(policy, lambda secret: sealed.seal(keys, secret))


def _found(call: HarborCall) -> Stored:
    number = call.number("webhook_policy_id")
    found = policies.by_id(call.services.directory, number)
    if found is None or found.project_id != call.project.id:
        raise not_found(f"webhook policy {number}")
    return found


# The conditions that do not hold by fault of the caller.
_CODES = {policies.FULL: HarborCode.BAD_REQUEST, policies.GONE: HarborCode.NOT_FOUND}


def _runs(call: HarborCall, stored: Stored) -> list[Execution]:
    """Return what a policy told, the latest first; no more are kept than are read here at once."""
    directory = call.services.directory
    found = [each for kind in KINDS.values() for each in executions.page(directory, kind, stored.id).entries]
    return sorted(found, key=lambda each: each.id, reverse=True)


def list_executions(call: HarborCall) -> Response:
    """List what a policy told, the latest first."""
    wanted = listing.parse(call.request)
    chosen, total = listing.select(wanted, list(map(_shown_execution, _runs(call, _found(call)))))
    return listing.answered(call, wanted, chosen, total)


def _event(execution: Execution) -> str:
    return str(execution.parameters[HAPPENED]["type"])


def _shown_execution(execution: Execution) -> dict[str, Any]:
    counts = {f"{status.lower()}_task_count": number for status, number in execution.metrics.items() if number}
    return {
        "id": execution.id,
        "vendor_type": execution.kind,
        "vendor_id": execution.vendor_id,
        "status": execution.status,
        "status_message": execution.error,
        "metrics": {"task_count": sum(counts.values()), **counts},
        "trigger": execution.trigger,
        "extra_attrs": {"event_type": _event(execution), **execution.extra_attrs},
        "start_time": execution.started,
        "end_time": execution.ended or NOT_YET,
    }


def _execution(call: HarborCall) -> Execution:
    stored, number = _found(call), call.number("execution_id")
    found = executions.get(call.services.directory, number)
    if found is None or found.kind not in KINDS.values() or found.vendor_id != stored.id:
        raise not_found(f"execution {number} of the webhook policy {stored.id}")
    return found


def list_tasks(call: HarborCall) -> Response:
    """List what became of each target in an execution."""
    wanted, execution = listing.parse(call.request), _execution(call)
    tasks = executions.tasks(call.services.directory, execution.id)
    chosen, total = listing.select(wanted, [_shown_task(execution, task) for task in tasks])
    return listing.answered(call, wanted, chosen, total)


def _shown_task(execution: Execution, task: Task) -> dict[str, Any]:
    return {
        "id": task.id,
        "execution_id": task.execution_id,
        "status": task.status,
        "status_message": task.error,
        "run_count": task.runs,
        "extra_attrs": {"event_type": _event(execution), **(task.extra_attrs or {})},
        "creation_time": task.created,
        "update_time": task.updated,
        "start_time": task.started or NOT_YET,
        "end_time": task.ended or NOT_YET,
    }


def get_log(call: HarborCall) -> Response:
    """Show how a target was told, or why not."""
    return task_log(call, _execution(call))


def last_triggers(call: HarborCall) -> Response:
    """Show when each policy told last of each type of events that it wants."""
    return answer([each for stored in _all(call) for each in _last(call, stored)])


def _last(call: HarborCall, stored: Stored) -> Iterator[Mapping[str, Any]]:
    last: dict[str, str] = {}
    for each in _runs(call, stored):
        last.setdefault(_event(each), each.started)
    for event in stored.policy.event_types:
        yield {
            "policy_name": stored.policy.name,
            "event_type": event,
            "enabled": stored.policy.enabled,
            "creation_time": stored.created,
            **({"last_trigger_time": last[event]} if event in last else {}),
        }


def list_jobs(call: HarborCall) -> Response:
    """List what a policy told, as older clients ask for it."""
    number = identifier(call.request.parameter("policy_id"))
    if number is None:
        raise bad_request("policy_id must be a number")
    stored = policies.by_id(call.services.directory, number)
    if stored is None or stored.project_id != call.project.id:
        raise not_found(f"webhook policy {number}")
    wanted, statuses = listing.parse(call.request), _statuses(call)
    shown = [_shown_job(each) for each in _runs(call, stored) if not statuses or each.status in statuses]
    chosen, total = listing.select(wanted, shown)
    return listing.answered(call, wanted, chosen, total)


def _statuses(call: HarborCall) -> frozenset[Status]:
    sent = [each for part in call.request.query.get("status", ()) for each in part.split(",") if each]
    known = {status.lower(): status for status in Status}
    if unknown := [each for each in sent if each.lower() not in known]:
        raise bad_request(f"there is no status {unknown[0]}: there are {', '.join(Status)}")
    return frozenset(known[each.lower()] for each in sent)


def _shown_job(execution: Execution) -> dict[str, Any]:
    return {
        "id": execution.id,
        "policy_id": execution.vendor_id,
        "event_type": _event(execution),
        "notify_type": next(notify for notify, kind in KINDS.items() if kind is execution.kind),
        "status": execution.status,
        "job_detail": str(execution.extra_attrs.get("payload", "")),
        "creation_time": execution.started,
        "update_time": execution.updated,
    }


_ALL = "/projects/{project_name_or_id}/webhook"
_ONE = f"{_ALL}/policies/{{webhook_policy_id}}"
_TASKS = f"{_ONE}/executions/{{execution_id}}/tasks"
# fmt: off
ENDPOINTS: tuple[HarborEndpoint, ...] = (
    HarborEndpoint("GET",    f"{_ALL}/events",           in_project(_RESOURCE, "read"),   list_events),
    HarborEndpoint("GET",    f"{_ALL}/lasttrigger",      in_project(_RESOURCE, "read"),   last_triggers),
    HarborEndpoint("GET",    f"{_ALL}/jobs",             in_project(_RESOURCE, "list"),   list_jobs),
    HarborEndpoint("GET",    f"{_ALL}/policies",         in_project(_RESOURCE, "list"),   list_policies),
    HarborEndpoint("POST",   f"{_ALL}/policies",         in_project(_RESOURCE, "create"), create_policy),
    HarborEndpoint("GET",    _ONE,                       in_project(_RESOURCE, "read"),   get_policy),
    HarborEndpoint("PUT",    _ONE,                       in_project(_RESOURCE, "update"), update_policy),
    HarborEndpoint("DELETE", _ONE,                       in_project(_RESOURCE, "delete"), delete_policy),
    HarborEndpoint("GET",    f"{_ONE}/executions",       in_project(_RESOURCE, "read"),   list_executions),
    HarborEndpoint("GET",    _TASKS,                     in_project(_RESOURCE, "read"),   list_tasks),
    HarborEndpoint("GET",    f"{_TASKS}/{{task_id}}/log", in_project(_RESOURCE, "read"),  get_log),
)
# fmt: on
