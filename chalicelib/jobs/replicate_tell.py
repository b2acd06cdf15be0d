"""Tells webhooks what became of a replication task: those of the project here that content came into or went from.

Specification: Harbor 2.16's REPLICATION event.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from chalicelib.jobs.replicate_copy import Progress
from chalicelib.jobs.steps import Failed, Outcome, TaskRun
from chalicelib.policy.jobs import Status, Trigger
from chalicelib.policy.webhook_payloads import Happened
from chalicelib.policy.webhooks import EventType
from chalicelib.services import Services
from chalicelib.store import executions, notifications
from chalicelib.store.directory import projects, webhooks
from chalicelib.store.directory.registries import Registry
from chalicelib.store.directory.replication import Stored
from chalicelib.store.replicating import REPOSITORY, TO

_TYPE = "image"
TRIGGERS: Mapping[Trigger, str] = {
    Trigger.MANUAL: "manual",
    Trigger.SCHEDULE: "scheduled",
    Trigger.EVENT: "event_based",
}


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
    told = _told(services, run, stored, registry, outcome)
    told["successful_artifact"] = _artifacts(progress.copied, Status.SUCCESS)
    told["failed_artifact"] = _artifacts(progress.failed, Status.ERROR)
    more = {"replication": {name: value for name, value in told.items() if value not in ("", [])}}
    moment = int(services.now().timestamp())
    happened = Happened(EventType.REPLICATED, moment, told["trigger_type"].upper(), here, more=more)
    notifications.tell(run.directory, project, [happened])


def _told(services: Services, run: TaskRun, stored: Stored, registry: Registry, outcome: Outcome) -> dict[str, Any]:
    host = urlsplit(services.settings.public_url).netloc
    execution = executions.get(run.directory, run.execution_id)
    begun = int(datetime.fromisoformat(execution.started).timestamp()) if execution else 0
    policy, source, target = stored.policy, run.parameters[REPOSITORY], run.parameters[TO]
    there = {"registry_name": registry.name, "registry_type": registry.type, "endpoint": registry.url}
    here = {"registry_type": "harbor", "endpoint": services.settings.public_url}
    return {
        "harbor_hostname": host.partition(":")[0],
        "job_status": Status.ERROR if isinstance(outcome, Failed) else Status.SUCCESS,
        "description": policy.description,
        "artifact_type": _TYPE,
        "authentication_type": registry.credential_type,
        "override_mode": policy.override,
        "trigger_type": TRIGGERS[run.trigger],
        "policy_creator": stored.creator,
        "execution_timestamp": begun,
        "src_resource": {**(there if policy.pulls else here), "namespace": _namespace(source)},
        "dest_resource": {**(here if policy.pulls else there), "namespace": _namespace(target)},
    }


def _namespace(repository: str) -> str:
    return repository.rpartition("/")[0]


def _artifacts(names: list[str], status: Status) -> list[dict[str, str]]:
    return [{"type": _TYPE, "status": status, "name_tag": name.rpartition("/")[2]} for name in names]
