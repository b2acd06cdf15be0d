"""What the directory and the artifact index need of a database: one table of small records, and how they change.

Invariants:
* A record is found by `Key`: a partition, and a sort key by whose bytes the records of a partition are ordered.
* Every write of a document gives the record a new entity tag; counters are added to beside it and leave it alone.
* `commit` does all of its changes or none. Each has a condition and a name; the one that did not hold is named in
  `RefusedError`. Repeating a lost request does not do it twice.
* Reads see every commit that was answered before. An expired record is absent everywhere.

Two engines implement this, proven by one suite of tests: DynamoDB (`store.dynamodb`) and SQLite (`store.sqlite`).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, TypeVar

from chalicelib.oci.pages import Page

T = TypeVar("T")

LARGEST_COMMIT = 100
PAGE = 1000
NO_COUNTERS: Mapping[str, int] = MappingProxyType({})


class Key(NamedTuple):
    """Where a record is."""

    partition: str
    sort: str


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it was read; `document` is any JSON object, `expires` seconds since 1970 or 0 for never."""

    key: Key
    document: Mapping[str, Any]
    etag: str
    counters: Mapping[str, int] = field(default_factory=lambda: NO_COUNTERS)
    expires: int = 0


@dataclass(frozen=True, slots=True)
class If:
    """What must hold for a change: each field that is set, of the record as it is before the change.

    `at_most` and `at_least` bound counters; an absent counter, or that of an absent record, is 0.
    """

    exists: bool | None = None
    etag: str = ""
    at_most: Mapping[str, int] = field(default_factory=lambda: NO_COUNTERS)
    at_least: Mapping[str, int] = field(default_factory=lambda: NO_COUNTERS)


ANYHOW = If()
ABSENT = If(exists=False)
PRESENT = If(exists=True)


@dataclass(frozen=True, slots=True)
class Put:
    """Write a document; counters that the record has stay as they are."""

    key: Key
    document: Mapping[str, Any]
    condition: If = ANYHOW
    name: str = ""
    expires: int = 0


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a record with its counters; an absent one is no error."""

    key: Key
    condition: If = ANYHOW
    name: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """Change nothing, and let the commit depend on the condition."""

    key: Key
    condition: If
    name: str = ""


@dataclass(frozen=True, slots=True)
class Add:
    """Add to counters (the amounts may be negative); by default of a record that is there.

    Where the record may be absent (`ANYHOW`), an empty document is made under the counters.
    """

    key: Key
    amounts: Mapping[str, int]
    condition: If = PRESENT
    name: str = ""


Change = Put | Delete | Check | Add


class RefusedError(Exception):
    """A commit whose conditions did not hold: nothing was done. `names` are those of the changes, in their order."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)
        super().__init__(", ".join(self.names))


class BusyError(OSError):
    """A commit met others over the same records again and again: nothing was done, and trying later helps."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Which records of a partition are wanted: those with `prefix`, after the sort key `after`, at most `limit`.

    `skip` leaves out as many first, without bringing them here. Backwards, `after` means before it.
    """

    prefix: str = ""
    after: str = ""
    limit: int = PAGE
    backwards: bool = False
    skip: int = 0


class Table(Protocol):
    """One table. Whatever keeps an engine from answering is an OSError."""

    def get(self, key: Key) -> Record | None:
        """Return a record, or None."""

    def get_many(self, keys: Iterable[Key]) -> Mapping[Key, Record]:
        """Return those of the records that exist."""

    def query(self, partition: str, wanted: Slice) -> Page[Record]:
        """Return a part of a partition in the order of sort keys, and whether more follows."""

    def commit(self, *changes: Change) -> None:
        """Do up to `LARGEST_COMMIT` changes of different records; raise RefusedError or BusyError."""

    def add(self, key: Key, amounts: Mapping[str, int]) -> None:
        """Add to counters of a record that is there, in haste: a lost request may count twice; absent is no error."""


def every(table: Table, partition: str, prefix: str = "", after: str = "", limit: int = PAGE) -> Iterator[Record]:
    """Yield the records of a partition with `prefix`, after the sort key `after`, reading up to `limit` at a time."""
    return slices(table, partition, Slice(prefix, after, limit))


def slices(table: Table, partition: str, wanted: Slice) -> Iterator[Record]:
    """Yield the records of a partition, reading slice after slice, the first of which is `wanted`."""
    while True:
        page = table.query(partition, wanted)
        yield from page.entries
        if not page.more:
            return
        wanted = replace(wanted, after=page.entries[-1].key.sort, skip=0)


def batches(items: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
    """Yield the items, up to `size` together."""
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield tuple(batch)
            batch = []
    if batch:
        yield tuple(batch)
