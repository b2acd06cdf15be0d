"""What of the jobs waits and what runs, in two reads, for whoever watches the registry.

Invariant: the reads are bounded, and so are the numbers: they are of what is to be done first, which is what matters.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from chalicelib.policy.jobs import Kind, Status
from chalicelib.store import executions, pauses
from chalicelib.store.directory import Directory
from chalicelib.store.executions import Task
from chalicelib.store.job_records import DUE, now
from chalicelib.store.table import Slice

_LOOKED_AT = 200
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
    tasks, moment = executions.active(directory), now(directory)
    queues = {kind.value: _queue([task for task in tasks if task.kind is kind], moment) for kind in sorted(Kind)}
    scheduled = sum(task.status is Status.SCHEDULED for task in tasks)
    works = any(task.until > moment for task in tasks)
    return Waiting(queues, scheduled, 0 if works else _neglected(directory, moment))


def _queue(tasks: list[Task], moment: int) -> Queue:
    since = [task.due for task in tasks if task.status is Status.PENDING]
    latency = max(0, moment - min(since)) // _SECOND if since else 0
    return Queue(len(since), latency, sum(task.until > moment for task in tasks))


def _neglected(directory: Directory, moment: int) -> int:
    """Return for how many seconds something was to be looked at, of what is not paused."""
    paused = pauses.paused(directory)
    for record in directory.table.query(DUE, Slice(limit=_LOOKED_AT)).entries:
        if record.document.get("kind") not in paused:
            return max(0, moment - int(record.key.sort.partition(".")[0])) // _SECOND
    return 0
