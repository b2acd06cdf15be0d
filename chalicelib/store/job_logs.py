"""What tasks log: pieces of text in the order in which they were written, read back as one.

Invariants:
* A piece is written once and expires; what a step logged before it failed stays.
* Losing a line never fails a job.
* Of a log that is longer than an answer may be the end is read, which says how the task went, and no more than that.
"""

import secrets
from itertools import count

from chalicelib.store.directory import Directory
from chalicelib.store.table import Delete, Key, Put, Slice, batches, every, slices

_SECONDS = 90 * 24 * 3600
# As much as a record holds with room to spare, in bytes of UTF-8 at worst.
LONGEST_PIECE = 64_000
_DELETED_TOGETHER = 50
# A Lambda function answers at most 6 MiB, a body in base64.
MOST_BYTES = 4_000_000
LEFT_OUT = "(The log is too long to be shown whole: what comes before this is left out.)\n"
_READ_TOGETHER = 100
_written = count()


def append(directory: Directory, task_id: int, text: str) -> None:
    """Write text to the end of a task's log; raise OSError."""
    moment = int(directory.now().timestamp() * 1_000_000)
    expires = moment // 1_000_000 + _SECONDS
    for start in range(0, len(text), LONGEST_PIECE):
        # A clock may stand still between two lines.
        sort = f"{moment:017d}.{next(_written):012d}.{secrets.token_hex(4)}"
        piece = text[start : start + LONGEST_PIECE]
        directory.table.commit(Put(Key(_partition(task_id), sort), {"text": piece}, expires=expires))


def read(directory: Directory, task_id: int, most: int = MOST_BYTES) -> str:
    """Return a task's log as one text; of one with more than so many bytes the last pieces."""
    pieces: list[str] = []
    latest_first = Slice(limit=_READ_TOGETHER, backwards=True)
    for record in slices(directory.table, _partition(task_id), latest_first):
        text: str = record.document["text"]
        most -= len(text.encode())
        if most < 0:
            return LEFT_OUT + "".join(reversed(pieces))
        pieces.append(text)
    return "".join(reversed(pieces))


def delete(directory: Directory, task_id: int) -> None:
    """Remove a task's log."""
    keys = (record.key for record in every(directory.table, _partition(task_id)))
    for batch in batches(keys, _DELETED_TOGETHER):
        directory.table.commit(*map(Delete, batch))


def _partition(task_id: int) -> str:
    return f"log/{task_id}"
