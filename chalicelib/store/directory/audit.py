"""The audit log: who did what to which resource, when, and whether it worked.

Invariants:
* An entry is written once and never changed. Its project's list and the list of all get it in one transaction, in
  which nothing is that other entries need too: writers do not wait for each other.
* `carried` puts an entry into the very transaction of the change that it tells of: both are there, or neither.
* Lists are in the order of time; later entries have higher ids but for the same millisecond.
* What is to be sent elsewhere waits in `forward/`, written with the entry, until it is sent or `KEPT_DAYS` are over.
* How many entries a list has is known from a count up to some entry; those after it are counted when that is asked.
"""

import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from heapq import merge
from itertools import islice
from typing import Any

from chalicelib.oci.pages import Page
from chalicelib.policy.audit import LONGEST_NAME, Event, Rules
from chalicelib.store.directory import Directory, configuration
from chalicelib.store.table import (
    ABSENT,
    PAGE,
    Add,
    Change,
    Delete,
    If,
    Key,
    Put,
    Record,
    RefusedError,
    Slice,
    Table,
    batches,
)

ALL = ""
FORWARD = "forward/"
KEPT_DAYS = 7
_TOGETHER = 30
_CHANCE_BITS = 12
_ENTRIES, _AFTER, _PURGED = "entries", "after", "purged"
# What is told behind a request comes later than it happened; entries are counted for good when none can come before.
_LATE = timedelta(minutes=2)
_MOST_PAGES, _COUNTED_ANEW = 50, 500
_LOOKED_AT = _MOST_PAGES * PAGE
# Sorts behind the "." after a time, and before what may go on a time.
_BEHIND = "/"


# A project's list by its id, or that of all.
Scope = int | str


@dataclass(frozen=True, slots=True)
class Logged:
    """An event as it is listed."""

    id: int
    time: str
    event: Event
    sort: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """Of which time entries are wanted, both ends included; "" is no end."""

    begin: str = ""
    end: str = ""


Events = Iterator[Logged]
Together = Callable[[Callable[[Scope], Page[Logged]], Sequence[Scope]], Sequence[Page[Logged]]]


def changes(directory: Directory, event: Event, moment: datetime | None = None, name: str = "") -> tuple[Change, ...]:
    """Return what writes an event, nothing where the settings leave it out.

    Of events with one `name` and moment one entry is made, however often they are written.
    """
    rules = Rules.of(configuration.recent(directory))
    if not rules.want(event.type):
        return ()
    when = moment or directory.now()
    chance = int.from_bytes(hashlib.sha256(name.encode()).digest()[:6]) if name else secrets.randbits(48)
    number = int(when.timestamp() * 1000) << _CHANCE_BITS | chance % (1 << _CHANCE_BITS)
    document = _document(event, number, _written(when))
    sort = f"{document['time']}.{number}.{chance:012x}"
    scopes = {ALL, str(event.project_id)} if rules.kept else ()
    entries = tuple(Put(Key(f"audit/{scope}", sort), document) for scope in sorted(scopes))
    if not rules.endpoint:
        return entries
    expires = int((directory.now() + timedelta(days=KEPT_DAYS)).timestamp())
    return (*entries, Put(Key(FORWARD, sort), document, expires=expires))


def log(directory: Directory, *events: Event) -> None:
    """Write events."""
    for event in events:
        if written := changes(directory, event):
            directory.table.commit(*written)


def log_many(directory: Directory, events: Iterable[tuple[Event, datetime, str]]) -> None:
    """Write events with their moments and names, as `changes` takes them."""
    written = (change for each in events for change in changes(directory, *each))
    for batch in batches(written, 3 * _TOGETHER):
        directory.table.commit(*batch)


class _Carrying:
    """A table whose next commit does some more changes."""

    def __init__(self, table: Table, more: list[Change], then: Callable[[], None]) -> None:
        self._table, self._more, self._then = table, more, then
        self.get, self.get_many, self.query, self.add = table.get, table.get_many, table.query, table.add

    def commit(self, *changes: Change) -> None:
        """Do the changes with those that are carried; a commit that is refused leaves these to the next."""
        self._table.commit(*changes, *self._more)
        if self._more:
            self._more.clear()
            self._then()


def carried(directory: Directory, tables: Iterable[Table], event: Event, then: Callable[[], None]) -> list[Table]:
    """Return the tables such that the first commit of any writes the event too, and calls `then`."""
    more = list(changes(directory, event))
    return [_Carrying(table, more, then) for table in tables]


def page(directory: Directory, scope: Scope, wanted: Slice) -> Page[Logged]:
    """Return a part of a project's events, or of ALL."""
    found = directory.table.query(f"audit/{scope}", wanted)
    return Page(tuple(map(_logged, found.entries)), found.more)


def latest(directory: Directory, scopes: Iterable[Scope], span: Span, limit: int, together: Together) -> Events:
    """Yield the events of several lists, the latest first, as they are wanted; of each some thousands at most.

    Of each list `limit` events are read at once, and the first of them beside those of the others (`together`).
    """
    reading = partial(_before, directory, span, limit)
    asked = tuple(scopes)
    firsts = together(lambda scope: reading(scope, f"{span.end}{_BEHIND}" if span.end else ""), asked)
    lists = (_on(partial(reading, scope), first) for scope, first in zip(asked, firsts, strict=True))
    return merge(*lists, key=lambda logged: logged.sort, reverse=True)


def _before(directory: Directory, span: Span, limit: int, scope: Scope, after: str) -> Page[Logged]:
    """Return the events before one, back to where the time begins that is wanted."""
    part = page(directory, scope, Slice(after=after, limit=limit, backwards=True))
    inside = tuple(logged for logged in part.entries if logged.sort >= span.begin)
    return Page(inside, part.more and len(inside) == len(part.entries))


def _on(reading: Callable[[str], Page[Logged]], part: Page[Logged]) -> Events:
    yield from part.entries
    for _ in range(_MOST_PAGES - 1):
        if not part.more:
            break
        part = reading(part.entries[-1].sort)
        yield from part.entries


def search(events: Events, wanted: Callable[[Logged], bool]) -> tuple[Logged, ...]:
    """Return the events for which `wanted` says yes, looking at so many at most."""
    return tuple(filter(wanted, islice(events, _LOOKED_AT)))


def count(directory: Directory, scope: Scope) -> int:
    """Return how many events a project has, or how many there are (ALL): at least, where very many are new."""
    key = _count(scope)
    before = directory.table.get(key)
    known: Mapping[str, Any] = before.document if before and before.document else {_AFTER: "", _ENTRIES: 0}
    settled: int = known[_ENTRIES]
    total, after = settled, known[_AFTER]
    old = _written(directory.now() - _LATE)
    for _ in range(_MOST_PAGES):
        part = directory.table.query(f"audit/{scope}", Slice(after=after))
        total += len(part.entries)
        sorts = [record.key.sort for record in part.entries if record.key.sort < old]
        if sorts:
            settled += len(sorts)
            known = {_AFTER: sorts[-1], _ENTRIES: settled}
        if not part.more:
            break
        after = part.entries[-1].key.sort
    if settled - (before.document.get(_ENTRIES, 0) if before else 0) >= _COUNTED_ANEW:
        with suppress(RefusedError):
            directory.table.commit(Put(key, known, If(etag=before.etag) if before else ABSENT))
    return max(0, total - (before.counters.get(_PURGED, 0) if before else 0))


def purge(directory: Directory, gone: Iterable[Logged]) -> None:
    """Remove entries from the list of all and from their projects' lists, some at a time."""
    for batch in batches(gone, _TOGETHER):
        by_scope: dict[str, list[str]] = {}
        for logged in batch:
            for scope in {ALL, str(logged.event.project_id)}:
                by_scope.setdefault(scope, []).append(logged.sort)
        deletes = (Delete(Key(f"audit/{scope}", sort)) for scope, sorts in by_scope.items() for sort in sorts)
        directory.table.commit(*deletes, *_uncounted(directory, by_scope))


def _uncounted(directory: Directory, gone: Mapping[str, Iterable[str]]) -> Iterator[Change]:
    """Yield what takes entries off the counts that they are in."""
    counts = directory.table.get_many(map(_count, gone))
    for scope, sorts in gone.items():
        found = counts.get(_count(scope))
        counted = sum(sort <= found.document.get(_AFTER, "") for sort in sorts) if found else 0
        if counted:
            yield Add(_count(scope), {_PURGED: counted})


def waiting(directory: Directory, limit: int) -> tuple[Logged, ...]:
    """Return the events that are yet to be sent, the oldest first."""
    return tuple(map(_logged, directory.table.query(FORWARD, Slice(limit=limit)).entries))


def sent(directory: Directory, events: Iterable[Logged]) -> None:
    """Note that events were sent."""
    for batch in batches(events, 3 * _TOGETHER):
        directory.table.commit(*(Delete(Key(FORWARD, logged.sort)) for logged in batch))


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _document(event: Event, number: int, time: str) -> dict[str, Any]:
    return {
        "id": number,
        "time": time,
        "username": event.username[:LONGEST_NAME],
        "resource": event.resource,
        "resource_type": event.resource_type,
        "operation": event.operation,
        "description": event.description,
        "succeeded": event.succeeded,
        "project_id": event.project_id,
    }


def _count(scope: Scope) -> Key:
    return Key(f"count/audit/{scope}", "count")


def _logged(record: Record) -> Logged:
    document = record.document
    event = Event(
        username=document["username"],
        resource=document["resource"],
        resource_type=document["resource_type"],
        operation=document["operation"],
        description=document["description"],
        succeeded=document["succeeded"],
        project_id=document["project_id"],
    )
    return Logged(document["id"], document["time"], event, record.key.sort)
