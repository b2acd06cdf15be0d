"""Schedules: what is to begin by itself, and when.

Invariants:
* A kind and vendor has one schedule. Its next time is among what is due, and moves in the transaction that begins the
  execution: whoever looks, and however many, each time begins one. Times that passed unseen begin one together.
* Where the last execution of a kind that is alone still runs, the time passes without another.
"""

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from chalicelib.policy import cron as crons
from chalicelib.policy.jobs import KINDS, NO_VENDOR, Kind, Trigger
from chalicelib.store import executions, pauses
from chalicelib.store.directory import Directory
from chalicelib.store.executions import New
from chalicelib.store.job_records import DUE, RUNS_ALREADY, new_id, now
from chalicelib.store.table import ABSENT, Change, Delete, If, Key, Put, Record, RefusedError, every

log = logging.getLogger(__name__)

PARTITION = "schedules/"
CUSTOM = "Custom"
_CHANGED = "the schedule changed meanwhile: look at it again"


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule; `type` is how it was asked for (Hourly, Daily ...), `due` when it is next (ms since 1970)."""

    id: int
    kind: Kind
    vendor_id: int
    type: str
    cron: str
    parameters: Mapping[str, Any]
    by: str
    created: str
    updated: str
    due: int
    etag: str = ""

    @property
    def key(self) -> Key:
        """Return where it is."""
        return _key(self.kind, self.vendor_id)

    @property
    def due_key(self) -> Key:
        """Return where it is said when it is due."""
        return Key(DUE, f"{self.due:015d}.{self.kind}/{self.vendor_id}")

    @property
    def next(self) -> datetime:
        """Return when it is due."""
        return datetime.fromtimestamp(self.due / 1000, UTC)

    def document(self) -> dict[str, Any]:
        """Return what is stored."""
        return {name: value for name, value in asdict(self).items() if name != "etag"}


def _key(kind: Kind, vendor_id: int) -> Key:
    return Key(PARTITION, f"{kind}/{vendor_id}")


def _schedule(record: Record) -> Schedule:
    return Schedule(**{**record.document, "kind": Kind(record.document["kind"]), "etag": record.etag})


def get(directory: Directory, kind: Kind, vendor_id: int) -> Schedule | None:
    """Return the schedule of a kind and vendor, or None."""
    found = directory.table.get(_key(kind, vendor_id))
    return _schedule(found) if found else None


def all_of(directory: Directory) -> tuple[Schedule, ...]:
    """Return every schedule there is."""
    return tuple(map(_schedule, every(directory.table, PARTITION)))


def set(  # noqa: A001, PLR0913, PLR0917 - what a schedule is
    directory: Directory,
    kind: Kind,
    vendor_id: int,
    cron: str,
    parameters: Mapping[str, Any],
    by: str = "",
    type: str = CUSTOM,  # noqa: A002 - Harbor's word
) -> Schedule:
    """Set the schedule of a kind and vendor, in place of one that it has; raise ValueError, RefusedError or OSError.

    Raise RegistryError (501) for a kind that is not built.
    """
    executions.check_built(kind)
    before = get(directory, kind, vendor_id)
    made = _made(directory, before, (kind, vendor_id), (type, cron), parameters, by)
    directory.table.commit(*_changes(before, made))
    return made


def _made(
    directory: Directory,
    before: Schedule | None,
    whose: tuple[Kind, int],
    when: tuple[str, str],
    parameters: Mapping[str, Any],
    by: str,
) -> Schedule:
    expression = crons.parse(when[1])
    return Schedule(
        id=before.id if before else new_id(directory),
        kind=whose[0],
        vendor_id=whose[1],
        type=when[0],
        cron=expression,
        parameters=dict(parameters),
        by=by,
        created=before.created if before else directory.time(),
        updated=directory.time(),
        due=_following(directory, expression),
    )


def _following(directory: Directory, expression: str) -> int:
    moment = crons.following(expression, directory.now())
    if moment is None:
        raise ValueError(f"the cron expression {expression!r} never comes true")
    return int(moment.timestamp() * 1000)


def _changes(before: Schedule | None, made: Schedule) -> tuple[Change, ...]:
    unchanged = If(etag=before.etag) if before else ABSENT
    moved = before is not None and before.due_key != made.due_key
    return (
        Put(made.key, made.document(), unchanged, _CHANGED),
        Put(made.due_key, {"schedule": made.key.sort}),
        *((Delete(before.due_key),) if before and moved else ()),
    )


def remove(directory: Directory, kind: Kind, vendor_id: int) -> bool:
    """Remove the schedule of a kind and vendor; tell whether there was one. Raise RefusedError or OSError."""
    found = get(directory, kind, vendor_id)
    if found is None:
        directory.table.commit(Delete(_key(kind, vendor_id), ABSENT, _CHANGED))
    else:
        directory.table.commit(Delete(found.key, If(etag=found.etag), _CHANGED), Delete(found.due_key))
    return found is not None


def follow(directory: Directory, name: str) -> None:
    """Begin what a schedule says, if its time has come; `name` is what is noted among what is due. Raise OSError."""
    record = directory.table.get(Key(PARTITION, name))
    schedule = _schedule(record) if record else None
    if schedule is None or schedule.due > now(directory):
        return
    moved = replace(schedule, due=_following(directory, schedule.cron))
    if pauses.is_paused(directory, pauses.SCHEDULER):
        _move_on(directory, schedule, moved)
        return
    new = New(schedule.kind, schedule.vendor_id, Trigger.SCHEDULE, schedule.parameters, schedule.by)
    begun, changes = executions.beginning(directory, new)
    try:
        directory.table.commit(*_changes(schedule, moved), *changes)
    except RefusedError as error:
        # Somebody else began it, or changed the schedule, or the last one still runs.
        if error.names == (RUNS_ALREADY,):
            log.warning("the schedule of %s begins nothing: the last execution still runs", name)
            _move_on(directory, schedule, moved)
        return
    executions.wake(directory, begun)


def _move_on(directory: Directory, schedule: Schedule, moved: Schedule) -> None:
    with suppress(RefusedError):
        directory.table.commit(*_changes(schedule, moved))


def lay(directory: Directory) -> None:
    """Make the schedules that every registry has, where they are missing; each is due at once."""
    for kind, row in KINDS.items():
        if row.cron and get(directory, kind, NO_VENDOR) is None:
            made = _made(directory, None, (kind, NO_VENDOR), (CUSTOM, row.cron), {}, "")
            with suppress(RefusedError):
                directory.table.commit(*_changes(None, replace(made, due=now(directory))))
