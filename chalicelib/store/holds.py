"""Holds: of several processes one does something for a while, and the others know.

Invariant: a hold is nobody's once its time is over. So what is done under one must be harmless when done twice: a
hold saves work, and guards nothing.
"""

import secrets
from dataclasses import dataclass

from chalicelib.store.directory import Directory
from chalicelib.store.table import ABSENT, Delete, If, Key, Put, RefusedError

_PARTITION = "holds/"
_TAKEN = "another process does it"


@dataclass(frozen=True, slots=True)
class Hold:
    """That this process does what `name` says; `by` tells this time from others."""

    name: str
    by: str


def take(directory: Directory, name: str, seconds: int) -> Hold | None:
    """Take a hold for so many seconds; None where another has it. Raise OSError."""
    hold = Hold(name, secrets.token_hex(8))
    try:
        directory.table.commit(Put(_key(name), {"by": hold.by}, ABSENT, _TAKEN, _until(directory, seconds)))
    except RefusedError:
        return None
    return hold


def is_taken(directory: Directory, name: str) -> bool:
    """Tell whether somebody has a hold; raise OSError."""
    return directory.table.get(_key(name)) is not None


def renew(directory: Directory, hold: Hold, seconds: int) -> None:
    """Have a hold for so many seconds more, if it is still ours; raise OSError."""
    found = directory.table.get(_key(hold.name))
    if found and found.document["by"] == hold.by:
        kept = Put(found.key, found.document, If(etag=found.etag), _TAKEN, _until(directory, seconds))
        _unless_lost(directory, kept)


def release(directory: Directory, hold: Hold) -> None:
    """Give a hold up, if it is still ours; raise OSError."""
    found = directory.table.get(_key(hold.name))
    if found and found.document["by"] == hold.by:
        _unless_lost(directory, Delete(found.key, If(etag=found.etag), _TAKEN))


def _unless_lost(directory: Directory, change: Put | Delete) -> None:
    try:
        directory.table.commit(change)
    except RefusedError:
        return


def _until(directory: Directory, seconds: int) -> int:
    return int(directory.now().timestamp()) + seconds


def _key(name: str) -> Key:
    return Key(_PARTITION, name)
