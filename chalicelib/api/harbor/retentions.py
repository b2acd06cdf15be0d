"""Retention policies of projects, and their runs.

Invariants:
* What a caller may do to a policy follows from the permissions in its project: who may change it may run and stop it.
  Whoever may not look at a policy is not told whether there is one; administrators are.
* A policy's schedule is set after the policy, and removed before it: a run that begins in between does what it says.
* The tasks that are shown are those for repositories.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from chalicelib.api import identity
from chalicelib.api.harbor import listing
from chalicelib.api.harbor.calls import SIGNED_IN, HarborCall, HarborEndpoint, answer, created, done, typed
from chalicelib.api.harbor.errors import HarborCode, HarborError, bad_request, conflict, not_found
from chalicelib.api.harbor.execution_views import NOT_YET, text
from chalicelib.api.http import Response
from chalicelib.policy import cron, retention
from chalicelib.policy.jobs import Kind, Status, Trigger
from chalicelib.policy.rbac import Permission
from chalicelib.policy.retention import DuplicateRuleError, Policy, Template
from chalicelib.services import Services
from chalicelib.store import executions, schedules
from chalicelib.store.directory import projects
from chalicelib.store.directory import retention as policies
from chalicelib.store.directory.projects import Project
from chalicelib.store.directory.retention import Stored
from chalicelib.store.executions import Execution, New, Task
from chalicelib.store.index import written

_RESOURCE = "tag-retention"
_REPOSITORY = "repository"
# Harbor's numbers of the states.
_CODES: Mapping[Status, int] = MappingProxyType(
    {
        Status.PENDING: 0,
        Status.SCHEDULED: 1,
        Status.RUNNING: 2,
        Status.STOPPED: 3,
        Status.ERROR: 3,
        Status.SUCCESS: 3,
    }
)


def _template(template: Template, words: str, unit: str = "") -> dict[str, Any]:
    parameter = {"type": "int", "unit": unit, "required": True}
    return {
        "rule_template": str(template),
        "display_text": words,
        "action": "retain",
        "params": [parameter] if unit else [],
    }


# What there is to choose from; the words are those that Harbor's portal has for it.
METADATA: Mapping[str, Any] = MappingProxyType(
    {
        "templates": [
            _template(Template.LATEST_PUSHED, "the most recently pushed # artifacts", "COUNT"),
            _template(Template.LATEST_PULLED, "the most recently pulled # artifacts", "COUNT"),
            _template(Template.PUSHED_SINCE, "pushed within the last # days", "DAYS"),
            _template(Template.PULLED_SINCE, "pulled within the last # days", "DAYS"),
            _template(Template.ALWAYS, "always"),
        ],
        "scope_selectors": [
            {"display_text": "Repositories", "kind": "doublestar", "decorations": ["repoMatches", "repoExcludes"]}
        ],
        "tag_selectors": [{"display_text": "Tags", "kind": "doublestar", "decorations": ["matches", "excludes"]}],
    }
)


def get_metadata(_call: HarborCall) -> Response:
    """Show of what rules are made."""
    return answer(dict(METADATA))


def create_policy(call: HarborCall) -> Response:
    """Give a project its policy."""
    policy = _parsed(call)
    project = projects.by_id(call.services.directory, policy.project_id)
    _check(call, project, "create")
    if project is None:
        raise bad_request(f"there is no project {policy.project_id}")
    if known := policies.of_project(call.services.directory, policy.project_id):
        raise bad_request(f"the project {project.name} has the retention policy {known.id} already: change that one")
    services = _auditing(call, project, "create")
    number = policies.create(services.directory, policy)
    _schedule(call, number, policy)
    return created(call, number)


def _parsed(call: HarborCall) -> Policy:
    body = call.body()
    try:
        policy = retention.parse(body)
        if policy.cron:
            policy = replace(policy, cron=cron.parse(policy.cron))
    except DuplicateRuleError as error:
        raise conflict(str(error)) from error
    except ValueError as error:
        raise bad_request(str(error)) from error
    return policy


def _schedule(call: HarborCall, number: int, policy: Policy) -> None:
    directory = call.services.directory
    if policy.cron:
        schedules.set(directory, Kind.RETENTION, number, policy.cron, {"dry_run": False}, call.principal.name)
    else:
        schedules.remove(directory, Kind.RETENTION, number)


def _check(call: HarborCall, project: Project | None, action: str) -> None:
    """Raise FORBIDDEN where the caller may not do this to the policy of a project, or an administrator to none."""
    allowed = identity.permissions(call.services, call.principal, project) if project else frozenset()
    if Permission(_RESOURCE, action) not in allowed and not (project is None and call.principal.administrator):
        raise _refusal(action)


def _refusal(action: str) -> HarborError:
    return HarborError(HarborCode.FORBIDDEN, f"you may not do this: it needs {_RESOURCE}:{action}")


def _auditing(call: HarborCall, project: Project, operation: str, description: str = "") -> Services:
    return replace(call, in_project=project).auditing(_RESOURCE, operation, project.name, description)


def _found(call: HarborCall, action: str) -> tuple[Stored, Project]:
    """Return the policy that the path names and its project; raise NOT_FOUND or FORBIDDEN."""
    number, directory = call.number("id"), call.services.directory
    stored = policies.by_id(directory, number)
    project = projects.by_id(directory, stored.policy.project_id) if stored else None
    _check(call, project, action)
    if stored is None or project is None:
        raise not_found(f"retention policy {number}")
    return stored, project


def get_policy(call: HarborCall) -> Response:
    """Show a policy."""
    stored, _ = _found(call, "read")
    shown = retention.written(stored.policy, stored.id)
    if stored.policy.cron and (due := cron.following(stored.policy.cron, call.services.now())):
        shown["trigger"]["settings"]["next_scheduled_time"] = written(due)
    return answer(shown)


def update_policy(call: HarborCall) -> Response:
    """Replace the rules and the schedule of a policy."""
    stored, project = _found(call, "update")
    policy = _parsed(call)
    if policy.project_id != project.id:
        raise not_found(f"retention policy {stored.id} of project {policy.project_id}")
    policies.update(_auditing(call, project, "update").directory, stored, policy)
    _schedule(call, stored.id, policy)
    return done()


def delete_policy(call: HarborCall) -> Response:
    """Delete a policy with its schedule: nothing of the project is deleted any more."""
    stored, project = _found(call, "delete")
    _delete(call, stored, project)
    return done()


def _delete(call: HarborCall, stored: Stored, project: Project) -> None:
    schedules.remove(call.services.directory, Kind.RETENTION, stored.id)
    policies.delete(_auditing(call, project, "delete").directory, stored)


def delete_of_project(call: HarborCall) -> bool:
    """Delete the policy of the project that a call names; tell whether there was one. Raise FORBIDDEN."""
    stored = policies.of_project(call.services.directory, call.project.id)
    if stored:
        _check(call, call.project, "delete")
        _delete(call, stored, call.project)
    return stored is not None


def run_policy(call: HarborCall) -> Response:
    """Apply the rules now, or see what they would do."""
    stored, project = _found(call, "update")
    parameters = {"dry_run": typed(call.body(), "dry_run", bool, False)}
    directory = _auditing(call, project, "run", "dry run" if parameters["dry_run"] else "").directory
    new = New(Kind.RETENTION, stored.id, Trigger.MANUAL, parameters, call.principal.name)
    return created(call, executions.begin(directory, new))


def list_executions(call: HarborCall) -> Response:
    """List the runs of a policy, the latest first; no more are kept than are read here at once."""
    stored, _ = _found(call, "list")
    wanted = listing.parse(call.request)
    page = executions.page(call.services.directory, Kind.RETENTION, stored.id)
    chosen, total = listing.select(wanted, list(map(_shown_execution, page.entries)))
    return listing.answered(call, wanted, chosen, total)


def _shown_execution(execution: Execution) -> dict[str, Any]:
    return {
        "id": execution.id,
        "policy_id": execution.vendor_id,
        "start_time": execution.started,
        "end_time": execution.ended or NOT_YET,
        "status": execution.status,
        "trigger": execution.trigger,
        "dry_run": bool(execution.parameters.get("dry_run", False)),
    }


def _execution(call: HarborCall, stored: Stored) -> Execution:
    found = executions.get(call.services.directory, call.number("eid"))
    if found is None or (found.kind, found.vendor_id) != (Kind.RETENTION, stored.id):
        raise not_found(f"run {call.parameters['eid']} of the retention policy {stored.id}")
    return found


def stop_execution(call: HarborCall) -> Response:
    """Stop a run: what it deleted is gone, and nothing more goes."""
    stored, project = _found(call, "update")
    if typed(call.body(), "action", str, "") != "stop":
        raise bad_request('the action must be "stop"')
    found = _execution(call, stored)
    executions.stop(_auditing(call, project, "stop", str(found.id)).directory, found.id)
    return done()


def list_tasks(call: HarborCall) -> Response:
    """List what a run does in each repository."""
    stored, _ = _found(call, "list")
    wanted = listing.parse(call.request)
    tasks = _tasks(call, _execution(call, stored))
    chosen, total = listing.select(wanted, list(map(_shown_task, tasks)))
    return listing.answered(call, wanted, chosen, total)


def _tasks(call: HarborCall, execution: Execution) -> list[Task]:
    tasks = executions.tasks(call.services.directory, execution.id)
    return [task for task in tasks if _REPOSITORY in task.parameters]


def _shown_task(task: Task) -> dict[str, Any]:
    reported = task.extra_attrs or {}
    return {
        "id": task.id,
        "execution_id": task.execution_id,
        "repository": task.parameters[_REPOSITORY],
        "job_id": str(task.id),
        "status": task.status,
        "status_code": _CODES[task.status],
        "status_revision": task.runs,
        "start_time": task.started or NOT_YET,
        "end_time": task.ended or NOT_YET,
        "total": reported.get("total", 0),
        "retained": reported.get("retained", 0),
    }


def get_log(call: HarborCall) -> Response:
    """Show what a run decided, and did, in a repository."""
    stored, _ = _found(call, "read")
    wanted = call.number("tid")
    if wanted not in {task.id for task in _tasks(call, _execution(call, stored))}:
        raise not_found(f"task {wanted} of the run")
    return text(executions.log(call.services.directory, wanted) or "")


# The permission is one in the policy's project: the handlers ask for it.
_ONE, _RUNS = "/retentions/{id}", "/retentions/{id}/executions"
# fmt: off
ENDPOINTS: tuple[HarborEndpoint, ...] = (
    HarborEndpoint("GET",    "/retentions/metadatas",       SIGNED_IN, get_metadata),
    HarborEndpoint("POST",   "/retentions",                 SIGNED_IN, create_policy),
    HarborEndpoint("GET",    _ONE,                          SIGNED_IN, get_policy),
    HarborEndpoint("PUT",    _ONE,                          SIGNED_IN, update_policy),
    HarborEndpoint("DELETE", _ONE,                          SIGNED_IN, delete_policy),
    HarborEndpoint("POST",   _RUNS,                         SIGNED_IN, run_policy),
    HarborEndpoint("GET",    _RUNS,                         SIGNED_IN, list_executions),
    HarborEndpoint("PATCH",  f"{_RUNS}/{{eid}}",            SIGNED_IN, stop_execution),
    HarborEndpoint("GET",    f"{_RUNS}/{{eid}}/tasks",      SIGNED_IN, list_tasks),
    HarborEndpoint("GET",    f"{_RUNS}/{{eid}}/tasks/{{tid}}", SIGNED_IN, get_log),
)
# fmt: on
