"""The settings that an administrator changes at run time: those that differ from `policy.configuration`'s defaults.

Invariants:
* Two administrators who change different settings at once both succeed; of the same setting the last holds.
* A change is in force everywhere within `SECONDS`: what is asked often reads a copy that is no older. The process
  that made the change has it at once, and who looks at the settings themselves sees what is stored.
"""

from collections.abc import Mapping
from typing import Any

from chalicelib.store.directory import Directory
from chalicelib.store.table import ABSENT, If, Key, Put, RefusedError

SECONDS = 3
# Is no setting that anybody sees: whether a replication policy was ever to be begun by events (`replication`).
REPLICATION_EVENTS = "replication_events"
_KEY = Key("configuration/", "values")
_ATTEMPTS = 10
_CHANGED = "the configuration was changed meanwhile: try again"


def read(directory: Directory) -> Mapping[str, Any]:
    """Return the settings that were changed, as they are stored now."""
    now, found = directory.now(), directory.table.get(_KEY)
    values: Mapping[str, Any] = found.document if found else {}
    directory.settings.keep(values, now)
    return values


def recent(directory: Directory) -> Mapping[str, Any]:
    """Return the settings that were changed, as they were stored at most `SECONDS` ago."""
    kept = directory.settings.kept
    if kept and abs((directory.now() - kept.read).total_seconds()) < SECONDS:
        return kept.values
    return read(directory)


def change(directory: Directory, changes: Mapping[str, Any]) -> None:
    """Change settings, which were checked before; raise RefusedError where others do so again and again."""
    for attempt in range(_ATTEMPTS):
        found = directory.table.get(_KEY)
        condition = If(etag=found.etag) if found else ABSENT
        document = {**(found.document if found else {}), **changes}
        try:
            directory.table.commit(Put(_KEY, document, condition, _CHANGED))
        except RefusedError:
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            directory.settings.keep(document, directory.now())
            return
