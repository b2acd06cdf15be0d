"""What of the jobs waits and what runs, for whoever watches the registry.

Invariant: the reads are bounded, and so are the numbers: they are of what is to be done first, which is what matters.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from chalicelib.policy.jobs import Kind, Status
from chalicelib.store import executions, pauses
from chalicelib.store.directory import Directory
from chalicelib.store.executions import Task
from chalicelib.store.job_records import now
from chalicelib.store.table import Record

_SECOND = 1000


@dataclass(frozen=True, slots=True)
class Queue:
    """Of one kind: how many tasks wait for a worker, for how many seconds the first does, and how many run."""

    size: int
    latency: int
    running: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """The queues by kind; how many tasks wait for their time; for how many seconds nobody did what was due."""

    queues: Mapping[str, Queue]
    scheduled: int
    neglected: int


def look(directory: Directory) -> Waiting:
    """Return what waits now; raise OSError."""
    due, moment = executions.due(directory), now(directory)
    tasks = executions.tasks_of(directory, due)
    scheduled = sum(task.status is Status.SCHEDULED for task in tasks)
    works = any(task.until > moment for task in tasks)
    return Waiting(_queues(tasks, moment), scheduled, 0 if works else _neglected(directory, due, moment))


def queues(directory: Directory) -> Mapping[str, Queue]:
    """Return the queues by kind; raise OSError."""
    return _queues(executions.active(directory), now(directory))


def _queues(tasks: Iterable[Task], moment: int) -> Mapping[str, Queue]:
    return {kind.value: _queue([task for task in tasks if task.kind is kind], moment) for kind in sorted(Kind)}


def _queue(tasks: list[Task], moment: int) -> Queue:
    since = [task.due for task in tasks if task.status is Status.PENDING]
    latency = max(0, moment - min(since)) // _SECOND if since else 0
    return Queue(len(since), latency, sum(task.until > moment for task in tasks))


def _neglected(directory: Directory, due: Iterable[Record], moment: int) -> int:
    """Return for how many seconds something was to be looked at, of what is not paused."""
    paused = pauses.paused(directory)
    for record in due:
        if record.document.get("kind") not in paused:
            return max(0, moment - int(record.key.sort.partition(".")[0])) // _SECOND
    return 0
