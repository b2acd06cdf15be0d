"""Begins to tell the targets of webhook policies what happened: `jobs.webhook` does the telling.

Invariants:
* Where the project's record says that nobody wants to know, nothing is read and nothing is done.
* It never fails what happened: an event that cannot be noted is lost, and the process's log says so.
"""

import logging
from collections.abc import Iterable

from chalicelib.policy.jobs import Kind, Trigger
from chalicelib.policy.webhook_payloads import Happened
from chalicelib.policy.webhooks import Notify
from chalicelib.store import executions
from chalicelib.store.directory import Directory, configuration, webhooks
from chalicelib.store.directory.projects import Project

log = logging.getLogger(__name__)

KINDS = {Notify.HTTP: Kind.WEBHOOK, Notify.SLACK: Kind.SLACK}
HAPPENED, NOTIFY, TARGET = "happened", "notify", "target"


def tell(directory: Directory, project: Project, events: Iterable[Happened]) -> None:
    """Begin an execution for each policy and kind of targets that wants to know of an event, with a task a target."""
    for happened in events:
        for wanted in webhooks.wanting(project, happened.type):
            try:
                _begin(directory, wanted["id"], wanted["targets"], happened)
            except Exception:
                log.exception("the webhook policy %s missed %s of %s", wanted["id"], happened.type, project.name)


def _begin(directory: Directory, policy_id: int, targets: list[str], happened: Happened) -> None:
    if not configuration.recent(directory).get("notification_enable", True):
        return
    for notify, kind in KINDS.items():
        tasks = [{TARGET: place, NOTIFY: notify} for place, each in enumerate(targets) if each == notify]
        if tasks:
            new = executions.New(
                kind, policy_id, Trigger.EVENT, {HAPPENED: happened.document()}, happened.operator, tasks
            )
            executions.begin(directory, new)
