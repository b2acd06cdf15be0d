"""The table in a SQLite file: what `roadstead run` keeps its directory in, and the quick table of the tests.

Invariants:
* A commit that was answered survives the end of the process, however it ends: it is in the write-ahead log. The
  log is not flushed to the disk each time, so the end of the machine may take the last moments with it.
* Text compares by the bytes of its UTF-8, as in DynamoDB; what DynamoDB refuses to store is refused here
  (`store.expressions`).
* One connection behind one lock serves every thread. Other processes may have the file open too.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple
from uuid import uuid4

import orjson

from chalicelib.oci.pages import Page
from chalicelib.store import expressions
from chalicelib.store.table import (
    NO_COUNTERS,
    Add,
    BusyError,
    Change,
    Check,
    Delete,
    If,
    Key,
    Put,
    Record,
    RefusedError,
    Slice,
)

# The columns before the document are those that are read of records that are skipped or only looked at.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    pk TEXT NOT NULL CHECK (length(CAST(pk AS BLOB)) BETWEEN 1 AND 2048),
    sk TEXT NOT NULL CHECK (length(CAST(sk AS BLOB)) BETWEEN 1 AND 1024),
    expires INTEGER NOT NULL,
    etag TEXT NOT NULL,
    counters BLOB NOT NULL,
    document BLOB NOT NULL CHECK (length(document) < 400000),
    PRIMARY KEY (pk, sk)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS expiring ON records (expires) WHERE expires > 0;
"""
_SETTINGS = ("journal_mode = WAL", "synchronous = NORMAL", "cache_size = -65536", "mmap_size = 268435456")
_LIVE = "(expires = 0 OR expires > ?)"
_GET = f"SELECT etag, counters, expires, document FROM records WHERE pk = ? AND sk = ? AND {_LIVE}"  # noqa: S608 - our own text
_LOOK = f"SELECT etag, counters, expires, NULL FROM records WHERE pk = ? AND sk = ? AND {_LIVE}"  # noqa: S608 - our own text
_PUT = "REPLACE INTO records (pk, sk, expires, etag, counters, document) VALUES (?, ?, ?, ?, ?, ?)"
_COUNT = "UPDATE records SET counters = ? WHERE pk = ? AND sk = ?"
_DELETE = "DELETE FROM records WHERE pk = ? AND sk = ?"
_SWEEP = """DELETE FROM records WHERE (pk, sk) IN
    (SELECT pk, sk FROM records WHERE expires > 0 AND expires <= ? LIMIT 1000)"""
_SWEEP_COMMITS = 1000
_WAIT_SECONDS = 10.0
_LAST_CHARACTER, _BEFORE_SURROGATES, _AFTER_SURROGATES = "\U0010ffff", "\ud7ff", "\ue000"


class _Row(NamedTuple):
    etag: str
    counters: bytes
    expires: int
    document: bytes | None

    def record(self, key: Key) -> Record:
        """Return the record; one that was only looked at has an empty document."""
        document = orjson.loads(self.document) if self.document else {}
        return Record(key, document, self.etag, orjson.loads(self.counters), self.expires)


class SqliteTable:
    """A table in a file, or in memory where `path` is ":memory:"; `now` tells seconds since 1970."""

    def __init__(self, path: str | Path, now: Callable[[], float]) -> None:
        self._path = str(path)
        self._now = now
        self._lock = Lock()
        self._commits = 0
        with _errors(self._path):
            self._database = sqlite3.connect(
                self._path, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False
            )
            for setting in _SETTINGS:
                self._database.execute(f"PRAGMA {setting}")
            self._database.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file; whatever is asked afterwards is an OSError."""
        with self._locked() as database:
            database.close()

    def get(self, key: Key) -> Record | None:
        """Return a record, or None."""
        with self._locked() as database:
            return self._read(database, _GET, key)

    def get_many(self, keys: Iterable[Key]) -> Mapping[Key, Record]:
        """Return those of the records that exist."""
        with self._locked() as database:
            found = ((key, self._read(database, _GET, key)) for key in dict.fromkeys(keys))
            return {key: record for key, record in found if record}

    def query(self, partition: str, wanted: Slice) -> Page[Record]:
        """Return a part of a partition in the order of sort keys, and whether more follows."""
        if not expressions.can_hold(partition, wanted):
            return Page((), False)
        bounds = dict(_bounds(wanted))
        tests = " AND ".join(("pk = ?", _LIVE, *bounds))
        statement = (
            f"SELECT sk, etag, counters, expires, document FROM records WHERE {tests} "  # noqa: S608 - our own text
            f"ORDER BY sk {'DESC' if wanted.backwards else 'ASC'} LIMIT ? OFFSET ?"
        )
        values = (partition, self._now(), *bounds.values(), wanted.limit + 1, wanted.skip)
        with self._locked() as database:
            rows = database.execute(statement, values).fetchall()
        entries = tuple(_Row(*row).record(Key(partition, sort)) for sort, *row in rows[: wanted.limit])
        return Page(entries, len(rows) > wanted.limit)

    def commit(self, *changes: Change) -> None:
        """Do up to `LARGEST_COMMIT` changes of different records; raise RefusedError or BusyError."""
        expressions.check(changes)
        with self._transaction() as database:
            records = [self._read(database, _LOOK, change.key) for change in changes]
            pairs = tuple(zip(changes, records, strict=True))
            refused = [change.name for change, record in pairs if not _holds(change.condition, record)]
            if refused:
                raise RefusedError(refused)
            for change, record in pairs:
                _apply(database, change, record)
            self._sweep(database)

    def add(self, key: Key, amounts: Mapping[str, int]) -> None:
        """Add to counters of a record that is there, in haste: a lost request may count twice; absent is no error."""
        if not expressions.can_be(key):
            return
        try:
            with suppress(RefusedError):
                self.commit(Add(key, amounts))
        except BusyError as error:
            raise OSError(str(error)) from error

    def _read(self, database: sqlite3.Connection, statement: str, key: Key) -> Record | None:
        if not expressions.can_be(key):
            return None
        row = database.execute(statement, (*key, self._now())).fetchone()
        return _Row(*row).record(key) if row else None

    def _sweep(self, database: sqlite3.Connection) -> None:
        """Now and then remove records that have expired."""
        if self._commits % _SWEEP_COMMITS == 0:
            database.execute(_SWEEP, (self._now(),))
        self._commits += 1

    @contextmanager
    def _locked(self) -> Iterator[sqlite3.Connection]:
        with _errors(self._path), self._lock:
            yield self._database

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._locked() as database:
            _begin(database)
            try:
                yield database
                database.execute("COMMIT")
            finally:
                # Some errors have ended the transaction already.
                if database.in_transaction:
                    database.execute("ROLLBACK")


@contextmanager
def _errors(path: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise OSError(f"the database {path}: {error}") from error


def _begin(database: sqlite3.Connection) -> None:
    """Begin a transaction that writes, when other processes have ended theirs; raise BusyError."""
    try:
        database.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            raise BusyError("another process is writing") from error
        raise


def _holds(condition: If, record: Record | None) -> bool:
    """Return whether a condition holds of a record, or of its absence."""
    counters = record.counters if record else NO_COUNTERS
    return (
        condition.exists in (None, record is not None)
        and (not condition.etag or (record is not None and record.etag == condition.etag))
        and all(counters.get(name, 0) <= bound for name, bound in condition.at_most.items())
        and all(counters.get(name, 0) >= bound for name, bound in condition.at_least.items())
    )


def _apply(database: sqlite3.Connection, change: Change, record: Record | None) -> None:
    """Do a change whose condition holds; `record` is what is there."""
    match change:
        case Put():
            _write(database, change.key, change.document, change.expires, record.counters if record else NO_COUNTERS)
        case Delete():
            database.execute(_DELETE, change.key)
        case Add():
            if record is None:
                _write(database, change.key, {}, 0, change.amounts)
            else:
                counters = {name: record.counters.get(name, 0) + amount for name, amount in change.amounts.items()}
                database.execute(_COUNT, (orjson.dumps({**record.counters, **counters}), *change.key))
        case Check():
            pass


def _write(
    database: sqlite3.Connection, key: Key, document: Mapping[str, Any], expires: int, counters: Mapping[str, int]
) -> None:
    values = (*key, expires, uuid4().hex, orjson.dumps(dict(counters)), orjson.dumps(dict(document)))
    database.execute(_PUT, values)


def _bounds(wanted: Slice) -> Iterator[tuple[str, str]]:
    """Yield at most one bound from below and one from above: SQLite seeks by one of each only."""
    end = _end(wanted.prefix)
    if wanted.backwards:
        yield "sk >= ?", wanted.prefix
        end = min(filter(None, (wanted.after, end)), default="")
    elif wanted.after >= wanted.prefix:
        yield "sk > ?", wanted.after
    else:
        yield "sk >= ?", wanted.prefix
    if end:
        yield "sk < ?", end


def _end(prefix: str) -> str:
    """Return the first text after all that begin with a prefix, or "" where there is none."""
    stem = prefix.rstrip(_LAST_CHARACTER)
    if not stem:
        return ""
    following = _AFTER_SURROGATES if stem[-1] == _BEFORE_SURROGATES else chr(ord(stem[-1]) + 1)
    return stem[:-1] + following
