"""Pulls in a region that is a copy, left in the table for the primary: it alone writes what it might be changing.

A record of a global table is written whole where the later of two writes wins: to add to a counter there, in a copy,
could undo what the primary wrote a moment before. So each lot of pulls is a record of its own.

Invariant: what was left is told once under the name of its record, or again under the same name.
"""

import secrets
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from chalicelib.oci.names import Repository
from chalicelib.store.pulls import Pulled, Pulls
from chalicelib.store.table import Delete, Key, Put, Slice, Table, batches

PARTITION = "pulled/"
_TOGETHER = 500
_KEPT = timedelta(days=30)


def leave(table: Table, made: Mapping[Pulled, Pulls], now: datetime) -> None:
    """Leave pulls for the primary; raise OSError."""
    expires = int((now + _KEPT).timestamp())
    for some in batches(made.items(), _TOGETHER):
        rows = [
            [pulled.repository.name, pulled.digest, pulled.tag, pulled.by, told.count, *_times(told)]
            for pulled, told in some
        ]
        key = Key(PARTITION, f"{now.isoformat()}.{secrets.token_hex(8)}")
        table.commit(Put(key, {"pulls": rows}, expires=expires))


def _times(told: Pulls) -> tuple[str, str]:
    return told.last.isoformat(), told.began.isoformat()


def left(table: Table, limit: int) -> Iterator[tuple[Key, Mapping[Pulled, Pulls]]]:
    """Yield what was left, the oldest first, with where it is; raise OSError."""
    for record in table.query(PARTITION, Slice(limit=limit)).entries:
        yield (
            record.key,
            {
                Pulled(Repository(name), digest, tag, by): Pulls(
                    count, datetime.fromisoformat(last), datetime.fromisoformat(first)
                )
                for name, digest, tag, by, count, last, first in record.document["pulls"]
            },
        )


def told(table: Table, key: Key) -> None:
    """Forget what was left; raise OSError."""
    table.commit(Delete(key))
