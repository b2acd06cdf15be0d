"""The records of jobs: executions and their tasks, and the one way in which a task goes from one state to another.

Invariants:
* A task changes only from the state in which it was read, and as `policy.jobs` allows; its place among what is due
  and the counters of its execution change in the same transaction.
* The transaction that ends the last task of an execution ends the execution: sums up what its tasks reported, and
  lets the next one begin.
* An execution of one task shows that task's report while it runs.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from chalicelib.policy.jobs import ACTIVE, KINDS, Event, Kind, Status, Trigger, after, together
from chalicelib.store.directory import Directory
from chalicelib.store.table import (
    ABSENT,
    PRESENT,
    Add,
    BusyError,
    Change,
    Delete,
    If,
    Key,
    Put,
    Record,
    RefusedError,
    every,
)

JSON = Mapping[str, Any]

DUE = "due/"
DEAD = "dead/"
# How long after its time a task is looked for, in case the message about it was lost.
GRACE = 60_000
_EPOCH = 1_767_225_600_000
_RANDOM_BITS = 14
RUNS_ALREADY = "one is running already: wait until it has ended, or stop it"
TAKEN = "the id is taken"
_CHANGED = "the task changed meanwhile"
_RACED = "another task of the execution changed meanwhile"
_ATTEMPTS = 50


@dataclass(frozen=True, slots=True)
class Execution:
    """A run of a job; `extra_attrs` are what it reports, `metrics` how many of its tasks are in each state."""

    id: int
    kind: Kind
    vendor_id: int
    trigger: Trigger
    parameters: JSON
    by: str
    started: str
    updated: str
    ended: str
    error: str
    extra_attrs: JSON
    metrics: Mapping[Status, int]

    @property
    def status(self) -> Status:
        """Return the state that its tasks are in together."""
        return together(self.metrics)


@dataclass(frozen=True, slots=True)
class Task:
    """A part of an execution, done step by step.

    It may be taken from `due` on, and by another worker from `until` on: the lease ends then. `fence` is raised each
    time it is taken. Moments are milliseconds since 1970. `failures` are those since the last step that worked.
    """

    id: int
    execution_id: int
    kind: Kind
    vendor_id: int
    trigger: Trigger
    status: Status
    parameters: JSON
    created: str
    updated: str
    started: str = ""
    ended: str = ""
    cursor: JSON | None = None
    extra_attrs: JSON | None = None
    runs: int = 0
    failures: int = 0
    fence: int = 0
    due: int = 0
    until: int = 0
    stop: bool = False
    error: str = ""
    etag: str = ""

    @property
    def active(self) -> bool:
        """Tell whether something is still to be done."""
        return self.status in ACTIVE

    @property
    def key(self) -> Key:
        """Return where its record is."""
        return task_key(self.execution_id, self.id)

    @property
    def due_key(self) -> Key:
        """Return where it is said when to look for it."""
        return Key(DUE, f"{max(self.due, self.until) + GRACE:015d}.{self.id}")

    def document(self) -> dict[str, Any]:
        """Return what is stored."""
        fields = (name for name in self.__dataclass_fields__ if name != "etag")
        return {name: getattr(self, name) for name in fields}


def now(directory: Directory) -> int:
    """Return the moment in milliseconds since 1970."""
    return int(directory.now().timestamp() * 1000)


def new_id(directory: Directory) -> int:
    """Return an id that grows with time, below 2^53: milliseconds since 2026, then random bits."""
    return max(now(directory) - _EPOCH, 1) << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)


def executions_of(kind: Kind, vendor_id: int) -> str:
    """Return the partition of the executions of a kind for a vendor."""
    return f"executions/{kind}/{vendor_id}"


def execution_key(kind: Kind, vendor_id: int, number: int) -> Key:
    """Return where an execution is."""
    return Key(executions_of(kind, vendor_id), f"{number:019d}")


def where_key(execution_id: int) -> Key:
    """Return where it is said of which kind and vendor an execution is."""
    return Key(f"execution/{execution_id}", "self")


def counters_key(execution_id: int) -> Key:
    """Return where an execution's tasks are counted."""
    return Key(f"execution/{execution_id}", "tasks")


def active_key(kind: Kind, vendor_id: int) -> Key:
    """Return where the one execution is named that runs, of kinds of which one runs at a time."""
    return Key(f"active/{kind}/{vendor_id}", "execution")


def pointer_key(task_id: int) -> Key:
    """Return where it is said of which execution a task is."""
    return Key(f"task/{task_id}", "self")


def dead_key(task_id: int) -> Key:
    """Return where it is noted that a task failed too often."""
    return Key(DEAD, f"{task_id:019d}")


def task_of(record: Record) -> Task:
    """Return the task that a record holds."""
    values = dict(record.document)
    values |= {"kind": Kind(values["kind"]), "status": Status(values["status"])}
    return Task(**{**values, "trigger": Trigger(values["trigger"]), "etag": record.etag})


def execution_of(record: Record, counted: Record | None) -> Execution:
    """Return the execution of its two records."""
    values = dict(record.document)
    counters = counted.counters if counted else {}
    return Execution(
        **{
            **values,
            "kind": Kind(values["kind"]),
            "trigger": Trigger(values["trigger"]),
            "metrics": {status: counters.get(status, 0) for status in Status},
        }
    )


def task_key(execution_id: int, task_id: int) -> Key:
    """Return where a task is."""
    return Key(f"tasks/{execution_id}", f"{task_id:019d}")


def find_task(directory: Directory, task_id: int) -> Task | None:
    """Return a task, or None."""
    pointer = directory.table.get(pointer_key(task_id))
    if pointer is None:
        return None
    found = directory.table.get(task_key(pointer.document["execution"], task_id))
    return task_of(found) if found else None


def added(task: Task) -> tuple[Change, ...]:
    """Return the changes that make a task, but for the counting of it."""
    return (
        Put(task.key, task.document(), ABSENT, TAKEN),
        Put(pointer_key(task.id), {"execution": task.execution_id}, ABSENT, TAKEN),
        _due(task),
    )


def _due(task: Task) -> Put:
    return Put(task.due_key, {"task": task.id, "execution": task.execution_id, "kind": task.kind})


def move(directory: Directory, task: Task, event: Event, become: Task) -> Task | None:
    """Let an event happen to a task as it was read, and store what it becomes; None where it changed meanwhile.

    What `become` says of the state is put right here. Raise BusyError or OSError, and RefusedError where an execution
    that is to go on would be a second one.
    """
    status = after(task.status, event)
    if status is None:
        return None
    become = replace(become, status=status, updated=directory.time())
    if not become.active:
        become = replace(become, ended=directory.time(), until=0)
    for _ in range(_ATTEMPTS):
        changes = (*_of_task(task, become), *_of_execution(directory, task, become))
        try:
            directory.table.commit(*changes)
        except RefusedError as error:
            if _CHANGED in error.names:
                return None
            if set(error.names) != {_RACED}:
                raise
            # Which task of the execution is the last one has to be seen anew.
            continue
        found = directory.table.get(become.key)
        return task_of(found) if found else None
    raise BusyError(f"the tasks of execution {task.execution_id} change without end")


def _of_task(task: Task, become: Task) -> tuple[Change, ...]:
    changes: list[Change] = [Put(task.key, become.document(), If(etag=task.etag), _CHANGED)]
    if not become.active:
        changes.append(Delete(task.due_key))
    elif not task.active or become.due_key != task.due_key:
        changes += [Delete(task.due_key)] if task.active else []
        changes.append(_due(become))
    if become.status is Status.ERROR:
        changes.append(Put(dead_key(task.id), {"execution": task.execution_id}))
    elif task.status is Status.ERROR:
        changes.append(Delete(dead_key(task.id)))
    return tuple(changes)


def _of_execution(directory: Directory, task: Task, become: Task) -> tuple[Change, ...]:
    """Return what a change of a task changes of its execution."""
    counters, amounts = counters_key(task.execution_id), _amounts(task, become)
    if become.active:
        counted = (Add(counters, amounts, PRESENT, _RACED),) if amounts else ()
        return (*counted, *(_shown(directory, task, become) if task.active else _reopened(directory, become)))
    found = directory.table.get(counters)
    if found and found.counters.get("active", 0) > 1:
        return (Add(counters, amounts, If(exists=True, at_least={"active": 2}), _RACED),)
    return (Add(counters, amounts, If(exists=True, at_most={"active": 1}), _RACED), *_ended(directory, become))


def _amounts(task: Task, become: Task) -> dict[str, int]:
    if task.status is become.status:
        return {}
    amounts = {str(task.status): -1, str(become.status): 1}
    return amounts if task.active == become.active else {**amounts, "active": become.active - task.active}


def _shown(directory: Directory, task: Task, become: Task) -> tuple[Change, ...]:
    """Return the change that lets an execution of one task show the task's report."""
    if become.extra_attrs == task.extra_attrs:
        return ()
    counted = directory.table.get(counters_key(task.execution_id))
    if counted is None or sum(counted.counters.get(status, 0) for status in Status) != 1:
        return ()
    found = _execution(directory, become)
    return (_rewritten(found, extra_attrs=become.extra_attrs or {}, updated=become.updated),) if found else ()


def _execution(directory: Directory, task: Task) -> Record | None:
    return directory.table.get(execution_key(task.kind, task.vendor_id, task.execution_id))


def _rewritten(found: Record, **values: Any) -> Put:
    return Put(found.key, {**found.document, **values}, If(etag=found.etag), _RACED)


def _reopened(directory: Directory, become: Task) -> tuple[Change, ...]:
    """Return the changes that let an execution go on that had ended."""
    found = _execution(directory, become)
    if found is None:
        return ()
    lock = locked(become.kind, become.vendor_id, become.execution_id) if found.document["ended"] else ()
    return (_rewritten(found, error="", updated=become.updated, ended=""), *lock)


def locked(kind: Kind, vendor_id: int, execution_id: int) -> tuple[Change, ...]:
    """Return the change that lets no other execution begin, of kinds that are alone."""
    if not KINDS[kind].alone:
        return ()
    return (Put(active_key(kind, vendor_id), {"id": execution_id}, ABSENT, RUNS_ALREADY),)


def _ended(directory: Directory, become: Task) -> tuple[Change, ...]:
    """Return the changes that end an execution with its last task."""
    found = _execution(directory, become)
    if found is None:
        return ()
    ended = _rewritten(
        found,
        extra_attrs=_summed(directory, become),
        error=become.error or found.document["error"],
        updated=become.updated,
        ended=become.ended,
    )
    lock = directory.table.get(active_key(become.kind, become.vendor_id))
    mine = lock is not None and lock.document["id"] == become.execution_id
    return (ended, *((Delete(lock.key, If(etag=lock.etag), _RACED),) if lock and mine else ()))


def _summed(directory: Directory, last: Task) -> JSON:
    """Return what all tasks of an execution reported: numbers are added, of other values the latest counts."""
    total: dict[str, Any] = {}
    for record in every(directory.table, last.key.partition):
        task = last if record.key == last.key else task_of(record)
        for name, value in (task.extra_attrs or {}).items():
            number = type(value) in (int, float) and type(total.get(name, 0)) in (int, float)
            total[name] = total.get(name, 0) + value if number else value
    return total
