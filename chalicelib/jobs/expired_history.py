"""Drops copies of what tags were, once nobody can go back to them: in a bucket that keeps no versions by itself.

In a versioned bucket there are none, and a rule of its lifecycle does the same (infra/templates/storage.yaml).

Invariants:
* A copy is made just before its version ends, so its age is how long ago that was; what is younger than the window
  stays. The copy of the version that is there now has no meaning yet, however old it is: its writer may come back
  and end it without copying again, so it stays as well.
* Tags that moved, and what they name now, are not touched.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby

from chalicelib.jobs.steps import Again, Done, Outcome, TaskRun
from chalicelib.services import Services
from chalicelib.store import layout
from chalicelib.store.objects import Entry, Head


def step(services: Services, task: TaskRun) -> Outcome:
    """Drop what is too old, as far as the time allows; raise OSError."""
    objects = services.content.objects
    after, dropped = task.cursor.get("after", ""), task.cursor.get("dropped", 0)
    while task.more_time() and not task.stopping():
        page = objects.list(layout.HISTORY, after=after)
        old = [entry for entry in page.entries if entry.modified < services.now() - services.settings.history_window]
        keys = list(_forgotten(services, old))
        if keys and not task.dry_run:
            objects.delete(*keys)
        dropped += len(keys)
        if not page.more:
            task.log(f"{'would drop' if task.dry_run else 'dropped'} {dropped} copies of what tags were")
            return Done({"dropped": dropped})
        after = page.entries[-1].key
    return Again({"after": after, "dropped": dropped}, {"dropped": dropped})


def _forgotten(services: Services, old: Iterable[Entry]) -> Iterator[str]:
    """Yield the keys of copies whose version has ended."""
    for tag_key, entries in groupby(old, key=lambda entry: layout.kept_of(entry.key)[0]):
        head = services.content.objects.head(tag_key)
        yield from (entry.key for entry in entries if _has_ended(head, layout.kept_of(entry.key)[1]))


def _has_ended(head: Head | None, version: str) -> bool:
    """Tell whether a version of a tag is not what is there now; one from before ids were given may be."""
    return head is None or head.version not in ("", version)
