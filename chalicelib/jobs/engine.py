"""Does tasks: takes one, has its job do steps while there is time, saves after each, and wakes who goes on.

Invariants:
* Whatever ends a worker, wherever it was, the task goes on from the last saved cursor: a message, or the minutely
  `tick`, brings another worker once the lease ran out.
* A failure of a job is the task's, told in its log; a failure of the table ends the work, and the next look goes on.
"""

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import islice

from chalicelib.jobs import table, tend
from chalicelib.jobs.steps import JSON, Done, Failed, Job, Outcome, TaskRun
from chalicelib.policy.jobs import OF_THE_TABLE, Kind, Status
from chalicelib.services import Services
from chalicelib.store import executions, leases, pauses, schedules
from chalicelib.store.directory import Directory
from chalicelib.store.job_records import DUE, Task, now
from chalicelib.store.leases import LostError, NotYetError
from chalicelib.store.queue import LONGEST_DELAY
from chalicelib.store.table import every

log = logging.getLogger(__name__)

MoreTime = Callable[[], bool]
# A step is asked to return after this long, so that what it did is saved.
STEP_SECONDS = 60.0
# A worker that has not saved for this long is taken for dead.
LEASE_SECONDS = 300.0
_LOOK_SECONDS = 5.0
_WOKEN_TOGETHER = 10_000


def work(
    services: Services, task_id: int, more_time: MoreTime = lambda: True, jobs: Mapping[Kind, Job] = table.JOBS
) -> None:
    """Do a task as far as the time goes, unless there is nothing to do; raise OSError."""
    directory = services.directory
    if not _is_done_here(services):
        return
    try:
        task = leases.take(directory, task_id, LEASE_SECONDS)
    except NotYetError as early:
        directory.queue.send(task_id, min(early.seconds, LONGEST_DELAY))
        return
    if task is None:
        return
    try:
        while task.status is Status.RUNNING:
            if not _is_done_here(services, task.kind):
                # Another region is the primary now: it takes the task over, as from a worker that vanished.
                return
            task = _step(services, task, more_time, jobs)
            if task.status is Status.RUNNING and not task.until:
                directory.queue.send(task_id)
                return
    except LostError:
        log.info("task %d goes on elsewhere", task_id)
        return
    _afterwards(directory, task)


def _is_done_here(services: Services, kind: Kind | None = None) -> bool:
    """Tell whether this region does jobs of a kind, or any: a copy does none, or those of a table of its own."""
    if services.is_writer():
        return True
    return services.keeps_table() and (kind is None or kind in OF_THE_TABLE)


def _step(services: Services, task: Task, more_time: MoreTime, jobs: Mapping[Kind, Job]) -> Task:
    """Do one step and store what came of it; raise LostError or OSError."""
    directory = services.directory
    run = _run(services, task, more_time)
    try:
        outcome = _outcome(services, run, jobs.get(task.kind))
    except LostError:
        raise
    except Exception as error:
        # Whatever a job raises is its failure, which is tried again, and told in the end.
        log.exception("task %d of %s failed", task.id, task.kind)
        run.log(f"failed: {error}")
        return leases.fail(directory, task, f"{type(error).__name__}: {error}")
    if isinstance(outcome, Done):
        return leases.finish(directory, task, outcome.report)
    if isinstance(outcome, Failed):
        return leases.give_up(directory, task, outcome.error, outcome.report)
    if outcome.after > 0:
        return leases.wait(directory, task, outcome.cursor, outcome.report, outcome.after)
    return leases.save(directory, task, outcome.cursor, outcome.report, LEASE_SECONDS if more_time() else 0)


def _outcome(services: Services, run: TaskRun, job: Job | None) -> Outcome:
    if job is None:
        raise LookupError("there is no job of this kind here: is this an older version than started it?")
    return job(services, run)


def _goes_on_here(services: Services, kind: Kind) -> bool:
    """Tell whether a step that is under way may go on: where the table does not say, its end will tell why."""
    try:
        return _is_done_here(services, kind)
    except OSError:
        return False


def _run(services: Services, task: Task, more_time: MoreTime) -> TaskRun:
    directory, started = services.directory, time.monotonic()

    def is_left() -> bool:
        # A promotion elsewhere waits for less time than a step may take.
        return time.monotonic() - started < STEP_SECONDS and more_time() and _goes_on_here(services, task.kind)

    return TaskRun(
        task.id,
        task.execution_id,
        task.vendor_id,
        task.trigger,
        task.parameters,
        task.cursor or {},
        directory,
        is_left,
        _Stopping(partial(leases.current, directory, task)),
        task.fence,
        lambda cursor: _keep(directory, task, cursor),
    )


def _keep(directory: Directory, task: Task, cursor: JSON) -> None:
    """Save how far a step is, and hold the task on; raise LostError where it is to end."""
    if leases.save(directory, task, cursor, {}, LEASE_SECONDS).status is not Status.RUNNING:
        raise LostError


class _Stopping:
    """Tells whether a task was stopped, looking every few seconds; raises LostError where it is not ours any more."""

    def __init__(self, look: Callable[[], Task]) -> None:
        self._look = look
        self._looked = float("-inf")
        self._found = False

    def __call__(self) -> bool:
        if not self._found and time.monotonic() - self._looked >= _LOOK_SECONDS:
            self._found = self._look().stop
            self._looked = time.monotonic()
        return self._found


def _afterwards(directory: Directory, task: Task) -> None:
    """Do what follows when a task is left: wake whoever goes on, or drop what is too old."""
    if task.status is Status.SCHEDULED:
        seconds = -(-(task.due - now(directory)) // 1000)
        if seconds <= LONGEST_DELAY:
            directory.queue.send(task.id, max(0, seconds))
    elif not task.active:
        executions.drop_old(directory, task.kind, task.vendor_id)


def wake(services: Services, ahead: int = 0) -> None:
    """Do what is to be done every minute, as `tick` takes `ahead`; raise OSError or RegistryError."""
    if not tend.run(services):
        return
    schedules.lay(services.directory)
    tick(services, ahead)


def tick(services: Services, ahead: int = 0) -> None:
    """Wake workers for what is due and was not done, and begin what is scheduled; raise OSError.

    With `ahead`, in milliseconds, tasks are woken so much earlier: to wake one in vain costs a look at it.
    """
    directory = services.directory
    paused, moment = pauses.paused(directory), now(directory)
    for record in islice(every(directory.table, DUE), _WOKEN_TOGETHER):
        if int(record.key.sort.partition(".")[0]) > moment + ahead:
            return
        scheduled = record.document.get("schedule", "")
        kind = scheduled.partition("/")[0] or record.document["kind"]
        if not _is_done_here(services, Kind(kind)):
            continue
        if scheduled:
            schedules.follow(directory, scheduled)
        elif kind not in paused:
            directory.queue.send(record.document["task"])
