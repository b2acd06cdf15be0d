"""The settings that an administrator changes at run time: those that differ from `policy.configuration`'s defaults.

Invariant: two administrators who change different settings at once both succeed; of the same setting the last holds.
"""

from collections.abc import Mapping
from typing import Any

from chalicelib.store.directory import Directory
from chalicelib.store.table import ABSENT, If, Key, Put, RefusedError

_KEY = Key("configuration/", "values")
_ATTEMPTS = 10
_CHANGED = "the configuration was changed meanwhile: try again"


def read(directory: Directory) -> Mapping[str, Any]:
    """Return the settings that were changed."""
    found = directory.table.get(_KEY)
    return found.document if found else {}


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
            return
