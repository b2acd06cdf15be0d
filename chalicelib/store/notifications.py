"""Begins to tell the targets of webhook policies what happened: `jobs.webhook` does the telling.

Invariants:
* Where the project's record says that nobody wants to know, nothing is read and nothing is done.
* `tell` never fails what happened: an event that cannot be noted is lost, and the process's log says so.
* What is told under a name is told once, whoever tells it again within a week: its mark and the execution are made
  in one transaction. So `tell_once` may fail, and be done again.
"""

import hashlib
import logging
from collections.abc import Iterable, Sequence
from datetime import timedelta

from chalicelib.policy.jobs import Kind, Trigger
from chalicelib.policy.webhook_payloads import Happened
from chalicelib.policy.webhooks import Notify
from chalicelib.store import executions
from chalicelib.store.directory import Directory, configuration, webhooks
from chalicelib.store.directory.projects import Project
from chalicelib.store.table import ABSENT, Key, Put, RefusedError

log = logging.getLogger(__name__)

KINDS = {Notify.HTTP: Kind.WEBHOOK, Notify.SLACK: Kind.SLACK}
HAPPENED, NOTIFY, TARGET = "happened", "notify", "target"
_TOLD, _TOLD_ALREADY = "jobs/told", "this was told already"
_REMEMBERED = timedelta(days=7)


def tell(directory: Directory, project: Project, events: Iterable[Happened]) -> None:
    """Begin an execution for each policy and kind of targets that wants to know of an event, with a task a target."""
    for happened in events:
        for wanted in webhooks.wanting(project, happened.type):
            try:
                _begin(directory, wanted["id"], wanted["targets"], happened)
            except Exception:
                log.exception("the webhook policy %s missed %s of %s", wanted["id"], happened.type, project.name)


def tell_once(directory: Directory, project: Project, happened: Happened, name: str) -> None:
    """Do the same for an event that may have been told under this name before; raise OSError or BusyError."""
    for wanted in webhooks.wanting(project, happened.type):
        _begin(directory, wanted["id"], wanted["targets"], happened, name)


def _begin(directory: Directory, policy_id: int, targets: Sequence[str], happened: Happened, name: str = "") -> None:
    if not configuration.recent(directory).get("notification_enable", True):
        return
    for notify, kind in KINDS.items():
        tasks = [{TARGET: place, NOTIFY: notify} for place, each in enumerate(targets) if each == notify]
        if tasks:
            new = executions.New(
                kind, policy_id, Trigger.EVENT, {HAPPENED: happened.document()}, happened.operator, tasks
            )
            marks = [_mark(directory, f"{policy_id} {kind} {happened.type} {name}")] if name else []
            try:
                executions.begin(directory, new, *marks)
            except RefusedError as error:
                if _TOLD_ALREADY not in error.names:
                    raise


def _mark(directory: Directory, name: str) -> Put:
    expires = int((directory.now() + _REMEMBERED).timestamp())
    return Put(Key(_TOLD, hashlib.sha256(name.encode()).hexdigest()), {}, ABSENT, _TOLD_ALREADY, expires)
