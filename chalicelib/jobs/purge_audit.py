"""Removes old entries of the types that are asked for from the audit log, or counts them (`dry_run`).

Invariants:
* What is old is decided when the task begins: an entry that is written meanwhile is never old.
* Nothing is removed where no type is named, as in Harbor.
"""

from datetime import timedelta

from chalicelib.jobs.steps import Again, Done, Outcome, TaskRun
from chalicelib.policy.audit import Purge
from chalicelib.services import Services
from chalicelib.store.directory import audit
from chalicelib.store.directory.audit import ALL
from chalicelib.store.index import written
from chalicelib.store.table import Slice

_TOGETHER = 500


def step(services: Services, task: TaskRun) -> Outcome:
    """Remove as many entries as the time allows; raise ValueError where the parameters are wrong, or OSError."""
    wanted = Purge.parse(task.parameters)
    before = task.cursor.get("before") or written(services.now() - timedelta(hours=wanted.hours))
    after, gone = task.cursor.get("after", ""), task.cursor.get("purged", 0)
    if unknown := ", ".join(sorted(wanted.unknown)):
        task.log(f"there is no type of events {unknown}: see /auditlog-exts/events")
    while task.more_time() and not task.stopping():
        page = audit.page(services.directory, ALL, Slice(after=after, limit=_TOGETHER))
        old = [logged for logged in page.entries if logged.sort < before]
        chosen = [logged for logged in old if logged.event.type in wanted.types]
        if not task.dry_run:
            audit.purge(services.directory, chosen)
        gone += len(chosen)
        if len(old) < len(page.entries) or not page.more:
            task.log(f"{'would remove' if task.dry_run else 'removed'} {gone} entries from before {before}")
            return Done({"purged": gone})
        after = old[-1].sort
    return Again({"before": before, "after": after, "purged": gone}, {"purged": gone})
