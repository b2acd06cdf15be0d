"""Background jobs as data: which kinds there are, the states of a task, what leads from one to another, and retries.

Invariants:
* `TRANSITIONS` is the only place that says what may become of a task; whoever changes one asks `after`.
* A task that ended stays as it ended, but for an error, which somebody may have tried again.
* An execution is in the state that its tasks are in together: `together` needs their numbers alone. It runs from its
  beginning until the last of its tasks has ended, as in Harbor: who polls waits while it is Running.

Specification: the job states and vendor types of Harbor 2.16.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from types import MappingProxyType


class Kind(StrEnum):
    """What a job does; Harbor's vendor type where it has one."""

    GARBAGE_COLLECTION = "GARBAGE_COLLECTION"
    RETENTION = "RETENTION"
    PURGE_AUDIT_LOG = "PURGE_AUDIT_LOG"
    VERIFY = "VERIFY"
    QUOTA = "QUOTA"
    HISTORY = "HISTORY"
    SECRETS = "SECRETS"
    REGISTRY_HEALTH = "REGISTRY_HEALTH"
    ABANDONED_UPLOADS = "ABANDONED_UPLOADS"
    WEBHOOK = "WEBHOOK"
    SLACK = "SLACK"
    REPLICATION = "REPLICATION"
    PROXY_CACHE = "PROXY_CACHE"


# The vendor of what the registry does for itself, as Harbor has it.
NO_VENDOR = -1


# What these do is done in the table and outside, and the bucket is not written.
OF_THE_TABLE = frozenset({Kind.PURGE_AUDIT_LOG, Kind.REGISTRY_HEALTH, Kind.SECRETS, Kind.SLACK, Kind.WEBHOOK})


class Trigger(StrEnum):
    """Why an execution began."""

    MANUAL = "MANUAL"
    SCHEDULE = "SCHEDULE"
    EVENT = "EVENT"


class Status(StrEnum):
    """The state of a task, or of an execution. A scheduled one waits for a moment: a retry, or its next step."""

    PENDING = "Pending"
    SCHEDULED = "Scheduled"
    RUNNING = "Running"
    STOPPED = "Stopped"
    ERROR = "Error"
    SUCCESS = "Success"


class Event(Enum):
    """What happens to a task."""

    TAKE = "a worker takes it, for the first time or after another one's lease ran out"
    SAVE = "its worker saves how far it is"
    WAIT = "its worker leaves it until later"
    FAIL = "a step failed, and is to be tried again later"
    GIVE_UP = "a step failed too often"
    STOP = "somebody stopped it"
    FINISH = "its last step is done"
    RETRY = "somebody has it tried again"


# fmt: off
TRANSITIONS: Mapping[Status, Mapping[Event, Status]] = MappingProxyType({
    Status.PENDING: {
        Event.TAKE:    Status.RUNNING,
        Event.STOP:    Status.STOPPED,
    },
    Status.SCHEDULED: {
        Event.TAKE:    Status.RUNNING,
        Event.STOP:    Status.STOPPED,
    },
    Status.RUNNING: {
        Event.TAKE:    Status.RUNNING,
        Event.SAVE:    Status.RUNNING,
        Event.WAIT:    Status.SCHEDULED,
        Event.FAIL:    Status.SCHEDULED,
        Event.GIVE_UP: Status.ERROR,
        Event.STOP:    Status.STOPPED,
        Event.FINISH:  Status.SUCCESS,
    },
    Status.STOPPED: {},
    Status.ERROR: {
        Event.RETRY:   Status.PENDING,
    },
    Status.SUCCESS: {},
})
# fmt: on
ACTIVE = frozenset({Status.PENDING, Status.SCHEDULED, Status.RUNNING})
# From what tells most of an execution that has ended to what tells least.
_ENDED = (Status.ERROR, Status.STOPPED, Status.SUCCESS)


def after(status: Status, event: Event) -> Status | None:
    """Return what a task in a state becomes by an event, or None where that cannot happen to it."""
    return TRANSITIONS[status].get(event)


def together(numbers: Mapping[Status, int]) -> Status:
    """Return the state of an execution by how many of its tasks are in each."""
    if any(numbers.get(status, 0) > 0 for status in ACTIVE):
        return Status.RUNNING
    return next((status for status in _ENDED if numbers.get(status, 0) > 0), Status.SUCCESS)


MOST_TRIES = 6


@dataclass(frozen=True, slots=True)
class Row:
    """How a kind of jobs is treated.

    Of one that is `alone` a vendor has one execution at a time; `kept` are remembered; `cron` is the schedule that
    every registry begins with, or ""; a task that failed `tries` times in a row is given up.
    """

    alone: bool = True
    kept: int = 50
    cron: str = ""
    tries: int = MOST_TRIES


_ROWS: Mapping[Kind, Row] = {
    Kind.ABANDONED_UPLOADS: Row(cron="0 0 * * * *"),
    Kind.HISTORY: Row(cron="0 17 4 * * *"),
    Kind.PROXY_CACHE: Row(alone=False),
    Kind.QUOTA: Row(cron="0 41 2 * * *"),
    # Every five minutes, where there is any registry.
    Kind.REGISTRY_HEALTH: Row(kept=12),
    Kind.REPLICATION: Row(alone=False, kept=200),
    # An operator who replaces a key waits for it.
    Kind.SECRETS: Row(cron="0 7 * * * *"),
    # As often as Harbor tries.
    Kind.SLACK: Row(alone=False, tries=3),
    Kind.WEBHOOK: Row(alone=False, tries=3),
}
KINDS: Mapping[Kind, Row] = MappingProxyType({kind: _ROWS.get(kind, Row()) for kind in Kind})
# Those that change what users pushed: they wait while the registry is read-only.
RESTING: frozenset[Kind] = frozenset({Kind.PROXY_CACHE, Kind.RETENTION})

_FIRST_PAUSE, _LONGEST_PAUSE = 10, 900


def pause(failures: int) -> int:
    """Return for how many seconds a task rests after so many failures in a row."""
    return int(min(_FIRST_PAUSE * 3 ** (failures - 1), _LONGEST_PAUSE))
