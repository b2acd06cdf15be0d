"""Tells webhooks what became of a replication task: those of the project here that content came into or went from.

Specification: Harbor 2.16's REPLICATION event. There each task tells of one resource; here of all that it copied.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from chalicelib.jobs.replicate_copy import Progress
from chalicelib.jobs.steps import Failed, Outcome, TaskRun
from chalicelib.policy import replication
from chalicelib.policy.jobs import Status
from chalicelib.policy.webhook_payloads import Happened
from chalicelib.policy.webhooks import EventType
from chalicelib.services import Services
from chalicelib.store import executions, notifications
from chalicelib.store.directory import projects, webhooks
from chalicelib.store.directory.registries import Registry
from chalicelib.store.directory.replication import Stored
from chalicelib.store.replicating import REPOSITORY, TO


def tell(
    services: Services, run: TaskRun, stored: Stored, registry: Registry, outcome: Outcome, progress: Progress
) -> None:
    """Begin to tell whoever wants to know how a task ended, if it did anything."""
    here = run.parameters[TO if stored.policy.pulls else REPOSITORY]
    project = projects.find(run.directory, here.partition("/")[0])
    if project is None or not (progress.copied or progress.failed):
        return
    if not webhooks.wanting(project, EventType.REPLICATED):
        return
    execution = executions.get(run.directory, run.execution_id)
    kind = replication.resource(registry.type if stored.policy.pulls else replication.HARBOR)
    told = {
        **_told(services, run, stored, registry),
        "artifact_type": kind,
        "job_status": Status.ERROR if isinstance(outcome, Failed) else Status.SUCCESS,
        "execution_timestamp": int(datetime.fromisoformat(execution.started).timestamp()) if execution else 0,
        "successful_artifact": [
            {"type": kind, **each} for each in _artifacts(run, here, progress.copied, Status.SUCCESS)
        ],
        "failed_artifact": [{"type": kind, **each} for each in _artifacts(run, here, progress.failed, Status.ERROR)],
    }
    more = {"replication": {name: value for name, value in told.items() if value not in ("", [])}}
    moment, who = int(services.now().timestamp()), execution.by if execution else ""
    notifications.tell(run.directory, project, [Happened(EventType.REPLICATED, moment, who, here, more=more)])


def _told(services: Services, run: TaskRun, stored: Stored, registry: Registry) -> dict[str, Any]:
    policy, source, target = stored.policy, run.parameters[REPOSITORY], run.parameters[TO]
    there = {"registry_name": registry.name, "registry_type": registry.type, "endpoint": registry.url}
    here = {"registry_type": replication.HARBOR, "endpoint": services.settings.public_url}
    return {
        "harbor_hostname": urlsplit(services.settings.public_url).hostname or "",
        "description": policy.description,
        "authentication_type": registry.credential_type,
        "override_mode": policy.override,
        "trigger_type": run.trigger,
        "policy_creator": stored.creator,
        "execution_id": run.execution_id,
        "task_id": run.task_id,
        "src_resource": {**(there if policy.pulls else here), "namespace": _namespace(source)},
        "dest_resource": {**(here if policy.pulls else there), "namespace": _namespace(target)},
    }


def _namespace(repository: str) -> str:
    project, slash, _ = repository.partition("/")
    return project if slash else ""


def _artifacts(run: TaskRun, here: str, names: Iterable[str], status: Status) -> Iterable[dict[str, Any]]:
    """Return artifacts, which are named as they are at the source, by their names here, below the project's."""
    for name in names:
        what = name.removeprefix(run.parameters[REPOSITORY])
        references = what[1:].split(",") if what else []
        named = f"{here.partition('/')[2]}{what}"
        yield {"status": status, "name_tag": named, "references": references}
