"""Drops uploads that nobody went on with: their state and their parts.

Invariants:
* An upload URL is good for a day after the last answer; only what is older is dropped.
* `data/` objects are never touched: a finished upload's bytes may be a blob.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from chalicelib.jobs.steps import Done, TaskRun
from chalicelib.services import Services
from chalicelib.store import layout, listings
from chalicelib.store.objects import Entry, Multipart

AGE = timedelta(hours=25)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to drop: the keys of states, and multipart uploads."""

    states: tuple[str, ...]
    multiparts: tuple[Multipart, ...]


def plan(states: Iterable[Entry], multiparts: Iterable[Multipart], now: datetime, age: timedelta = AGE) -> Plan:
    """Return what is older than `age`; parts whose upload has a younger state are in use."""
    before = now - age
    known = tuple(states)
    live = {layout.upload_id(entry.key) for entry in known if entry.modified > before}
    return Plan(
        tuple(entry.key for entry in known if entry.modified <= before),
        tuple(m for m in multiparts if m.started <= before and layout.upload_id(m.key) not in live),
    )


def run(services: Services, age: timedelta = AGE) -> Plan:
    """Drop what is abandoned and return what that was; safe to run twice, and beside uploads."""
    objects = services.content.objects
    # Parts are listed first: an upload that begins in between is then younger than any state that is seen.
    multiparts = tuple(objects.unfinished(layout.DATA))
    decided = plan(listings.below(objects, layout.UPLOADS), multiparts, services.now(), age)
    for multipart in decided.multiparts:
        objects.abort(multipart.key, multipart.id)
    objects.delete(*decided.states)
    return decided


def step(services: Services, task: TaskRun) -> Done:
    """Drop what is abandoned, as a task; raise OSError."""
    decided = run(services)
    task.log(f"dropped {len(decided.states)} uploads and the parts of {len(decided.multiparts)}")
    return Done({"uploads": len(decided.states), "multiparts": len(decided.multiparts)})
