"""What a job is: a function that does one step of a task, and what it is given and gives back.

A step may be done twice, and its worker may vanish at any point of it: what it does must be idempotent, and what it
did counts once its outcome is saved. It goes on while `more_time()` and returns `Again` with a cursor, `Done`, or
`Failed`. Whatever it raises has it tried again with the same cursor after a pause, and after its kind's `tries`
given up.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from chalicelib.policy.jobs import Trigger
from chalicelib.services import Services
from chalicelib.store import executions, job_logs
from chalicelib.store.directory import Directory

log_ = logging.getLogger(__name__)

JSON = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Done:
    """The task is done; `report` is merged into what it and its execution show (`extra_attrs`)."""

    report: JSON = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Again:
    """The task goes on at `cursor`, `after` so many seconds."""

    cursor: JSON
    report: JSON = field(default_factory=dict)
    after: int = 0


@dataclass(frozen=True, slots=True)
class Failed:
    """The task cannot be done, and trying again would not help: `error` says why."""

    error: str
    report: JSON = field(default_factory=dict)


Outcome = Done | Again | Failed


def _nothing(cursor: JSON) -> None:
    """Keep nothing: a step that is tried by itself has no task."""


@dataclass(frozen=True, slots=True)
class TaskRun:
    """A task as its step sees it; `cursor` is what the last step that was saved gave, {} before the first.

    `fence` grows with each worker that takes the task: whatever a step writes elsewhere may carry it. A step that
    takes long says by `keep` how far it is: from that cursor on the next worker goes on; it raises `leases.LostError`
    where the task is another's by now, or was stopped.
    """

    task_id: int
    execution_id: int
    vendor_id: int
    trigger: Trigger
    parameters: JSON
    cursor: JSON
    directory: Directory
    more_time: Callable[[], bool]
    stopping: Callable[[], bool]
    fence: int = 0
    keep: Callable[[JSON], None] = _nothing

    @property
    def dry_run(self) -> bool:
        """Tell whether nothing is to be changed."""
        return bool(self.parameters.get("dry_run", False))

    def log(self, text: str) -> None:
        """Write a line, or several, to the task's log, each with the time."""
        moment = self.directory.time()
        lines = "".join(f"{moment} {line}\n" for line in text.splitlines())
        try:
            job_logs.append(self.directory, self.task_id, lines)
        except OSError:
            log_.exception("task %d could not log: %s", self.task_id, text)

    def spawn(self, named: Mapping[str, JSON]) -> None:
        """Add tasks to the execution, each once under its name; its parameters are added to the execution's."""
        executions.extend(self.directory, self.execution_id, named)


Job = Callable[[Services, TaskRun], Outcome]
