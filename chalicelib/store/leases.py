"""A worker's hold on a task: taken for a while, shown at every change, lost to whoever takes the task after that.

Invariants:
* A task is held by one worker at a time, under a number (`fence`) that no other ever held it under. A worker that
  lost it changes nothing more.
* A worker that vanishes costs its task a try, so that a task which ends its workers is given up too.
* A stop that was asked for wins over whatever the worker would do next, but for the end of the work.
"""

from collections.abc import Callable
from dataclasses import replace

from chalicelib.policy.jobs import KINDS, Event, Status, pause
from chalicelib.store import pauses
from chalicelib.store.directory import Directory
from chalicelib.store.job_records import JSON, Task, find_task, move, now, task_of

_STOPPING = frozenset({Event.SAVE, Event.WAIT, Event.FAIL, Event.GIVE_UP})
_LONGEST_ERROR = 1000


class LostError(Exception):
    """The task is not this worker's any more: another took it, or it is gone."""


class NotYetError(Exception):
    """The task's time comes in so many `seconds`."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds
        super().__init__(f"due in {seconds} seconds")


def take(directory: Directory, task_id: int, seconds: float) -> Task | None:
    """Take a task for so many seconds; None where there is nothing to do, or another has it. Raise NotYetError."""
    while True:
        task = find_task(directory, task_id)
        if task is None or not task.active or _held(directory, task):
            return None
        if task.stop:
            event, become = Event.STOP, task
        elif pauses.is_paused(directory, task.kind):
            return None
        else:
            event, become = _taken(directory, task, seconds)
        moved = move(directory, task, event, become)
        if moved is not None:
            return moved if moved.status is Status.RUNNING and moved.fence == become.fence else None


def _held(directory: Directory, task: Task) -> bool:
    """Tell whether another worker has the task; raise NotYetError where its time has not come."""
    moment = now(directory)
    if task.due > moment and not task.stop:
        raise NotYetError(-(-(task.due - moment) // 1000))
    return task.status is Status.RUNNING and task.until > moment


def _taken(directory: Directory, task: Task, seconds: float) -> tuple[Event, Task]:
    vanished = task.status is Status.RUNNING and task.until > 0
    failures = task.failures + vanished
    if vanished and failures >= KINDS[task.kind].tries:
        error = f"its worker ended {failures} times without a word: was there too little memory or time?"
        return Event.GIVE_UP, replace(task, failures=failures, error=task.error or error)
    until = now(directory) + int(seconds * 1000)
    return Event.TAKE, replace(
        task,
        failures=failures,
        runs=task.runs + 1,
        fence=task.fence + 1,
        until=until,
        started=task.started or directory.time(),
    )


def save(directory: Directory, held: Task, cursor: JSON, report: JSON, seconds: float) -> Task:
    """Save how far a task is and hold it for so many seconds more, or with 0 let it go; raise LostError."""
    until = now(directory) + int(seconds * 1000) if seconds else 0
    return _change(directory, held, Event.SAVE, lambda task: _reported(task, cursor, report, until=until))


def wait(directory: Directory, held: Task, cursor: JSON, report: JSON, seconds: int) -> Task:
    """Leave a task until so many seconds from now; raise LostError."""
    due = now(directory) + seconds * 1000
    return _change(directory, held, Event.WAIT, lambda task: replace(_reported(task, cursor, report), due=due))


def finish(directory: Directory, held: Task, report: JSON) -> Task:
    """End a task whose work is done; raise LostError."""
    return _change(directory, held, Event.FINISH, lambda task: _reported(task, task.cursor or {}, report))


def give_up(directory: Directory, held: Task, error: str, report: JSON) -> Task:
    """End a task that cannot be done; raise LostError."""
    told = error[:_LONGEST_ERROR]
    return _change(
        directory,
        held,
        Event.GIVE_UP,
        lambda task: replace(_reported(task, task.cursor or {}, report), failures=task.failures + 1, error=told),
    )


def stopped(directory: Directory, held: Task) -> Task:
    """End a task that somebody stopped; raise LostError."""
    return _change(directory, held, Event.STOP, lambda task: task)


def fail(directory: Directory, held: Task, error: str) -> Task:
    """Have a failed step tried again after a while, or give the task up after too many; raise LostError."""
    failures = held.failures + 1
    event = Event.GIVE_UP if failures >= KINDS[held.kind].tries else Event.FAIL
    due = now(directory) + pause(failures) * 1000
    told = error[:_LONGEST_ERROR]
    return _change(
        directory,
        held,
        event,
        lambda task: replace(task, failures=failures, error=told, due=due, until=0),
    )


def current(directory: Directory, held: Task) -> Task:
    """Return a task as it is by now; raise LostError where it is not held any more."""
    found = directory.table.get(held.key)
    task = task_of(found) if found else None
    if task is None or task.fence != held.fence or task.status is not Status.RUNNING:
        raise LostError
    return task


def _reported(task: Task, cursor: JSON, report: JSON, *, until: int = 0) -> Task:
    attributes = {**(task.extra_attrs or {}), **report}
    return replace(task, cursor=dict(cursor), extra_attrs=attributes, failures=0, error="", until=until)


def _change(directory: Directory, held: Task, event: Event, become: Callable[[Task], Task]) -> Task:
    while True:
        task = current(directory, held)
        happens = Event.STOP if task.stop and event in _STOPPING else event
        moved = move(directory, task, happens, become(task))
        if moved is not None:
            return moved
