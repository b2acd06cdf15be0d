"""Audit events: who did what to which resource, when, and whether it worked.

Invariants:
* An event is written once and never changed. Its project's list and the list of all get it in one transaction, in
  which nothing is that other events need too: writers do not wait for each other.
* Lists are in the order of time; an id is unique, and later events have higher ones but for the same millisecond.
"""

import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass

from chalicelib.oci.pages import Page
from chalicelib.store.directory import SYSTEM, Directory
from chalicelib.store.table import ABSENT, Add, Change, Key, Put, Record, RefusedError, Slice

ALL = ""
_ENTRIES = "entries"
_RANDOM_BITS = 10


@dataclass(frozen=True, slots=True)
class Event:
    """What happened; `project_id` is 0 for what concerns no project, `operation` is create, delete, pull ..."""

    username: str
    resource: str
    resource_type: str
    operation: str
    description: str = ""
    succeeded: bool = True
    project_id: int = SYSTEM


@dataclass(frozen=True, slots=True)
class Logged:
    """An event as it is listed."""

    id: int
    time: str
    event: Event


def log(directory: Directory, events: Iterable[Event]) -> None:
    """Write events."""
    for event in events:
        directory.table.commit(*_changes(directory, event))
        for scope in {ALL, str(event.project_id)}:
            directory.table.add(_count(scope), {_ENTRIES: 1})


def page(directory: Directory, project_id: int | str, wanted: Slice) -> Page[Logged]:
    """Return a part of a project's events, or of ALL."""
    found = directory.table.query(f"audit/{project_id}", wanted)
    return Page(tuple(map(_logged, found.entries)), found.more)


def count(directory: Directory, project_id: int | str) -> int:
    """Return how many events a project has, or how many there are (ALL).

    They are counted when this is asked first, and added up from then on: close to the truth where many write at once.
    """
    found = directory.table.get(_count(project_id))
    if found:
        return found.counters.get(_ENTRIES, 0)
    counted = len(scan(directory, project_id, lambda _: True))
    with suppress(RefusedError):
        directory.table.commit(Add(_count(project_id), {_ENTRIES: counted}, ABSENT))
    return counted


def scan(directory: Directory, project_id: int | str, wanted: Callable[[Logged], bool]) -> tuple[Logged, ...]:
    """Return every event for which `wanted` says yes, the latest first."""
    found: list[Logged] = []
    after = ""
    while True:
        part = directory.table.query(f"audit/{project_id}", Slice(after=after, backwards=True))
        found += [logged for logged in map(_logged, part.entries) if wanted(logged)]
        if not part.more:
            return tuple(found)
        after = part.entries[-1].key.sort


def _changes(directory: Directory, event: Event) -> Iterable[Change]:
    number = int(directory.now().timestamp() * 1000) << _RANDOM_BITS | secrets.randbelow(1 << _RANDOM_BITS)
    document = {
        "id": number,
        "time": directory.time(),
        "username": event.username,
        "resource": event.resource,
        "resource_type": event.resource_type,
        "operation": event.operation,
        "description": event.description,
        "succeeded": event.succeeded,
        "project_id": event.project_id,
    }
    for scope in (ALL, event.project_id):
        yield Put(Key(f"audit/{scope}", f"{document['time']}.{number}"), document)


def _count(scope: int | str) -> Key:
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
    return Logged(document["id"], document["time"], event)
