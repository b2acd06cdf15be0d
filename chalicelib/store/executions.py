"""Executions of jobs as those see them who start, stop and look at them; workers use `store.leases`.

Invariants:
* An execution and its tasks begin in one transaction, and so does its hold on being the only one of its kind and
  vendor, where the kind is alone.
* Starting one is done when it is stored: the message that wakes a worker may be lost (`store.queue`).
* Of a kind and vendor the latest are kept (`policy.jobs.KINDS`); older ones go with their tasks and logs.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.pages import Page
from chalicelib.policy.jobs import KINDS, Event, Kind, Status, Trigger
from chalicelib.store import job_logs
from chalicelib.store.directory import Directory
from chalicelib.store.job_records import (
    DEAD,
    DUE,
    JSON,
    RUNS_ALREADY,
    TAKEN,
    Execution,
    Task,
    added,
    counters_key,
    dead_key,
    execution_key,
    execution_of,
    executions_of,
    find_task,
    locked,
    move,
    new_id,
    now,
    pointer_key,
    task_key,
    task_of,
    where_key,
)
from chalicelib.store.table import (
    ABSENT,
    ANYHOW,
    Add,
    Change,
    Delete,
    If,
    Key,
    Put,
    Record,
    RefusedError,
    Slice,
    batches,
    every,
)

# Who works with executions finds here what they are made of.
__all__ = [
    "Execution",
    "Kind",
    "Status",
    "Task",
    "Trigger",
    "active",
    "begin",
    "beginning",
    "check_built",
    "dead",
    "drop_old",
    "due",
    "extend",
    "get",
    "log",
    "page",
    "retry",
    "stop",
    "stop_task",
    "tasks",
    "tasks_of",
    "wake",
]

log_ = logging.getLogger(__name__)

MOST_TASKS = 25
MOST_SHOWN = 1000
_ATTEMPTS = 5
_DROPPED_TOGETHER = 20
_ENDED = "the execution has ended"
ALL = Slice()


@dataclass(frozen=True, slots=True)
class New:
    """An execution that is to begin, with a task for each of `tasks`: parameters beside those of the execution."""

    kind: Kind
    vendor_id: int
    trigger: Trigger
    parameters: JSON
    by: str = ""
    tasks: Sequence[JSON] = ({},)


def begin(directory: Directory, new: New, *besides: Change) -> int:
    """Begin an execution, make changes `besides` in the same transaction, and return its id.

    Raise RegistryError: 409 where one runs already of a kind that is alone, 501 for a kind that is not built.
    Raise RefusedError where one of the other changes was refused.
    """
    check_built(new.kind)
    for _ in range(_ATTEMPTS):
        begun, changes = beginning(directory, new)
        try:
            directory.table.commit(*changes, *besides)
        except RefusedError as error:
            if RUNS_ALREADY in error.names:
                raise RegistryError(ErrorCode.DENIED, RUNS_ALREADY, status=409) from error
            if any(each.name in error.names for each in besides):
                raise
        else:
            wake(directory, begun)
            return begun[0].execution_id
    raise RefusedError([TAKEN])


def check_built(kind: Kind) -> None:
    """Raise RegistryError (501) for a kind of jobs that nobody built yet."""
    if kind not in KINDS:
        raise RegistryError(ErrorCode.UNSUPPORTED, f"jobs of the kind {kind} are not built yet", status=501)


def beginning(directory: Directory, new: New) -> tuple[tuple[Task, ...], tuple[Change, ...]]:
    """Return the tasks of a new execution and the changes that make it; raise ValueError where they are too many."""
    if not 1 <= len(new.tasks) <= MOST_TASKS:
        raise ValueError(f"an execution begins with 1 to {MOST_TASKS} tasks")
    number, time = new_id(directory), directory.time()
    begun = tuple(_task(directory, new, number + position, number, each) for position, each in enumerate(new.tasks))
    document = {
        "id": number,
        "kind": new.kind,
        "vendor_id": new.vendor_id,
        "trigger": new.trigger,
        "parameters": dict(new.parameters),
        "by": new.by,
        "started": time,
        "updated": time,
        "ended": "",
        "error": "",
        "extra_attrs": {},
    }
    whole = (
        Put(execution_key(new.kind, new.vendor_id, number), document, ABSENT, TAKEN),
        Put(where_key(number), {"kind": new.kind, "vendor_id": new.vendor_id}, ABSENT, TAKEN),
        Add(counters_key(number), {"active": len(begun), Status.PENDING.value: len(begun)}, ANYHOW),
        *locked(new.kind, new.vendor_id, number),
    )
    return begun, (*whole, *(change for each in begun for change in added(each)))


def _task(directory: Directory, new: New, number: int, execution_id: int, parameters: JSON) -> Task:
    time = directory.time()
    return Task(
        id=number,
        execution_id=execution_id,
        kind=new.kind,
        vendor_id=new.vendor_id,
        trigger=new.trigger,
        status=Status.PENDING,
        parameters={**new.parameters, **parameters},
        created=time,
        updated=time,
        due=now(directory),
    )


def extend(directory: Directory, execution_id: int, named: Mapping[str, JSON]) -> None:
    """Add tasks to an execution that is not done, each under a name that makes no second one; raise OSError.

    Raise RefusedError where the execution has ended.
    """
    found = get(directory, execution_id)
    if found is None:
        raise RefusedError([_ENDED])
    new = New(found.kind, found.vendor_id, found.trigger, found.parameters)
    for batch in batches(named.items(), MOST_TASKS - 1):
        for _ in range(_ATTEMPTS):
            if _extended(directory, new, execution_id, dict(batch)):
                break
        else:
            raise RefusedError([TAKEN])


def _extended(directory: Directory, new: New, execution_id: int, named: Mapping[str, JSON]) -> bool:
    """Add those tasks whose names are free; tell whether nobody came in between."""
    keys = {name: Key(f"named/{execution_id}", name) for name in named}
    known = directory.table.get_many(keys.values())
    missing = [name for name in named if keys[name] not in known]
    if not missing:
        return True
    first = new_id(directory)
    begun = [_task(directory, new, first + place, execution_id, named[name]) for place, name in enumerate(missing)]
    names = (Put(keys[name], {"task": each.id}, ABSENT, TAKEN) for name, each in zip(missing, begun, strict=True))
    counters = {"active": len(begun), Status.PENDING.value: len(begun)}
    goes_on = Add(counters_key(execution_id), counters, If(exists=True, at_least={"active": 1}), _ENDED)
    try:
        directory.table.commit(goes_on, *names, *(change for each in begun for change in added(each)))
    except RefusedError as error:
        if _ENDED in error.names:
            raise
        return False
    wake(directory, begun)
    return True


def wake(directory: Directory, woken: Iterable[Task]) -> None:
    """Have workers look at tasks; where no message can be sent, they are looked at a little later."""
    try:
        for each in woken:
            directory.queue.send(each.id)
    except OSError:
        log_.exception("no worker could be woken; it is tried again within minutes")


def get(directory: Directory, execution_id: int) -> Execution | None:
    """Return an execution, or None."""
    where = directory.table.get(where_key(execution_id))
    if where is None:
        return None
    key = execution_key(where.document["kind"], where.document["vendor_id"], execution_id)
    found = directory.table.get_many([key, counters_key(execution_id)])
    return execution_of(found[key], found.get(counters_key(execution_id))) if key in found else None


def page(directory: Directory, kind: Kind, vendor_id: int, wanted: Slice = ALL) -> Page[Execution]:
    """Return a part of the executions of a kind for a vendor, the latest first."""
    part = directory.table.query(executions_of(kind, vendor_id), replace(wanted, backwards=True))
    counted = directory.table.get_many(counters_key(each.document["id"]) for each in part.entries)
    return Page(
        tuple(execution_of(each, counted.get(counters_key(each.document["id"]))) for each in part.entries), part.more
    )


def tasks(directory: Directory, execution_id: int) -> tuple[Task, ...]:
    """Return the tasks of an execution in the order in which they were made."""
    return tuple(map(task_of, every(directory.table, f"tasks/{execution_id}")))


def log(directory: Directory, task_id: int) -> str | None:
    """Return the log of a task, or None where there is no such task."""
    return job_logs.read(directory, task_id) if find_task(directory, task_id) else None


def stop(directory: Directory, execution_id: int) -> bool:
    """Stop what is not done of an execution; tell whether there is such an execution."""
    if directory.table.get(where_key(execution_id)) is None:
        return False
    for each in tasks(directory, execution_id):
        stop_task(directory, each.id)
    return True


def stop_task(directory: Directory, task_id: int) -> bool:
    """Stop a task: at once, or at its worker's next look; tell whether there is such a task."""
    while True:
        found = find_task(directory, task_id)
        if found is None or not found.active or found.stop:
            return found is not None
        if found.status is Status.RUNNING and found.until > now(directory):
            asked = Put(found.key, {**found.document(), "stop": True}, If(etag=found.etag), "the task changed")
            with suppress(RefusedError):
                directory.table.commit(asked)
        else:
            move(directory, found, Event.STOP, found)


def retry(directory: Directory, task_id: int) -> bool:
    """Have a task tried again that failed too often; tell whether there is one.

    Raise RegistryError (409) where another execution of a kind that is alone runs by now.
    """
    found = find_task(directory, task_id)
    if found is None or found.status is not Status.ERROR:
        return False
    again = replace(found, failures=0, error="", ended="", stop=False, due=now(directory))
    try:
        moved = move(directory, found, Event.RETRY, again)
    except RefusedError as error:
        raise RegistryError(ErrorCode.DENIED, RUNS_ALREADY, status=409) from error
    if moved:
        wake(directory, [moved])
    return moved is not None


def active(directory: Directory) -> tuple[Task, ...]:
    """Return tasks that are not done, those first that are to be looked at first, and up to `MOST_SHOWN`."""
    return tasks_of(directory, due(directory))


def due(directory: Directory) -> Sequence[Record]:
    """Return what is noted as to be looked at, tasks and schedules: the first of it, up to `MOST_SHOWN`."""
    return directory.table.query(DUE, Slice(limit=MOST_SHOWN)).entries


def tasks_of(directory: Directory, noted: Iterable[Record]) -> tuple[Task, ...]:
    """Return the tasks among what is noted as due."""
    keys = [task_key(each.document["execution"], each.document["task"]) for each in noted if "task" in each.document]
    found = directory.table.get_many(keys)
    return tuple(task_of(found[key]) for key in keys if key in found)


def dead(directory: Directory) -> tuple[Task, ...]:
    """Return the tasks that failed too often, the oldest first."""
    found = (find_task(directory, int(record.key.sort)) for record in every(directory.table, DEAD))
    return tuple(task for task in found if task)


def drop_old(directory: Directory, kind: Kind, vendor_id: int) -> None:
    """Drop executions that have ended, but the latest of them; safe at any time, and twice."""
    old = Slice(limit=_DROPPED_TOGETHER, backwards=True, skip=KINDS[kind].kept)
    for record in directory.table.query(executions_of(kind, vendor_id), old).entries:
        if record.document["ended"]:
            _drop(directory, record)


def _drop(directory: Directory, record: Record) -> None:
    """Drop an execution: what leads to its parts goes last, so that none is left after a crash."""
    number = record.document["id"]
    for each in tasks(directory, number):
        job_logs.delete(directory, each.id)
        gone = (each.key, pointer_key(each.id), dead_key(each.id))
        directory.table.commit(*map(Delete, gone))
    for names in batches((each.key for each in every(directory.table, f"named/{number}")), _DROPPED_TOGETHER):
        directory.table.commit(*map(Delete, names))
    directory.table.commit(*map(Delete, (record.key, where_key(number), counters_key(number))))
