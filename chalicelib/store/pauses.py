"""Which kinds of jobs are paused: their tasks wait until somebody lets them go on.

Invariant: while the registry is read-only, the kinds that change what users pushed (`RESTING`) are paused too.
"""

from chalicelib.policy.jobs import RESTING
from chalicelib.store.directory import Directory, configuration
from chalicelib.store.table import Delete, Key, Put, every

# What begins nothing by itself while it is paused: the schedules of all kinds.
SCHEDULER = "SCHEDULER"
_PARTITION = "paused/"


def pause(directory: Directory, what: str) -> None:
    """Let no task of a kind begin, or no schedule (SCHEDULER) be followed."""
    directory.table.commit(Put(Key(_PARTITION, what), {}))


def resume(directory: Directory, what: str) -> None:
    """Let what was paused go on, within a minute."""
    directory.table.commit(Delete(Key(_PARTITION, what)))


def is_paused(directory: Directory, what: str) -> bool:
    """Tell whether something is paused."""
    return what in _resting(directory) or directory.table.get(Key(_PARTITION, what)) is not None


def paused(directory: Directory) -> frozenset[str]:
    """Return all that is paused."""
    return _resting(directory) | {record.key.sort for record in every(directory.table, _PARTITION)}


def _resting(directory: Directory) -> frozenset[str]:
    return frozenset(RESTING) if configuration.recent(directory).get("read_only") else frozenset()
