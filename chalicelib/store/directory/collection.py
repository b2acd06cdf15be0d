"""Named records with numeric ids: what projects, users, groups, members, robots and labels have in common.

Invariants:
* A name is taken once in a partition, an id once in a kind; whoever comes second is told so by name.
* An entry changes only from the state in which it was read: of two writers one is refused.
* A partition's `entries` counter moves in the transaction that adds or removes an entry.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.oci.pages import Page
from chalicelib.store.directory import FIRST_ID, Directory
from chalicelib.store.table import ABSENT, ANYHOW, Add, Change, Delete, If, Key, Put, Record, RefusedError, Slice

_HIGHEST_ID = 2**31 - 1
ID_TAKEN = "the id is taken"
_ID_ATTEMPTS = 5
ENTRIES = "entries"
ALL = Slice()


@dataclass(frozen=True, slots=True)
class Entry:
    """A record of a collection with its numeric id."""

    id: int
    record: Record

    @property
    def document(self) -> Mapping[str, Any]:
        """Return what was stored."""
        return self.record.document


@dataclass(frozen=True, slots=True)
class Collection:
    """One kind of entries; `kind` names the partition of ids, `plural` begins those of the entries.

    `taken` is what the second of two writers of one name is told.
    """

    kind: str
    plural: str
    taken: str

    def key(self, parent: str | int, name: str) -> Key:
        """Return where the entry with this name is."""
        return Key(f"{self.plural}/{parent}", name)

    def create(
        self,
        directory: Directory,
        key: Key,
        document: Mapping[str, Any],
        also: Callable[[int], Iterable[Change]] = lambda _id: (),
        *,
        fixed_id: int = 0,
    ) -> Entry:
        """Add an entry and do the changes that `also` makes of its id; raise RefusedError naming what failed."""
        for _ in range(_ID_ATTEMPTS):
            number = fixed_id or FIRST_ID + secrets.randbelow(_HIGHEST_ID - FIRST_ID)
            whole = {**document, "id": number}
            try:
                directory.table.commit(
                    Put(key, whole, ABSENT, self.taken),
                    Put(self.pointer(number), {"partition": key.partition, "sort": key.sort}, ABSENT, ID_TAKEN),
                    self.counted(key.partition, 1),
                    *also(number),
                )
            except RefusedError as error:
                if set(error.names) != {ID_TAKEN} or fixed_id:
                    raise
            else:
                return Entry(number, Record(key, whole, ""))
        raise RefusedError([ID_TAKEN])

    def find(self, directory: Directory, key: Key) -> Entry | None:
        """Return the entry at `key`, or None."""
        return _entry(directory.table.get(key))

    def by_id(self, directory: Directory, number: int) -> Entry | None:
        """Return the entry with this id, or None."""
        pointer = directory.table.get(self.pointer(number))
        if pointer is None:
            return None
        found = self.find(directory, Key(pointer.document["partition"], pointer.document["sort"]))
        return found if found and found.id == number else None

    def page(self, directory: Directory, parent: str | int, wanted: Slice) -> Page[Entry]:
        """Return a part of the entries below `parent`, in the order of their names."""
        page = directory.table.query(f"{self.plural}/{parent}", wanted)
        return Page(tuple(Entry(record.document["id"], record) for record in page.entries), page.more)

    def all(self, directory: Directory, parent: str | int = "") -> tuple[Entry, ...]:
        """Return every entry below `parent`, in the order of their names."""
        found: list[Entry] = []
        page = self.page(directory, parent, ALL)
        found += page.entries
        while page.more:
            page = self.page(directory, parent, Slice(after=page.entries[-1].record.key.sort))
            found += page.entries
        return tuple(found)

    def count(self, directory: Directory, parent: str | int = "") -> int:
        """Return how many entries there are below `parent`."""
        found = directory.table.get(self._count_key(f"{self.plural}/{parent}"))
        return found.counters.get(ENTRIES, 0) if found else 0

    def counts(self, directory: Directory, parents: Iterable[int]) -> Mapping[int, int]:
        """Return how many entries there are below each of several."""
        keys = {parent: self._count_key(f"{self.plural}/{parent}") for parent in parents}
        found = directory.table.get_many(keys.values())
        return {parent: found[key].counters.get(ENTRIES, 0) if key in found else 0 for parent, key in keys.items()}

    def update(self, directory: Directory, entry: Entry, document: Mapping[str, Any], *also: Change) -> None:
        """Replace an entry's document and do the changes `also`; raise RefusedError where it changed meanwhile."""
        whole = {**document, "id": entry.id}
        unchanged = If(etag=entry.record.etag)
        directory.table.commit(Put(entry.record.key, whole, unchanged, changed(self.kind)), *also)

    def move(self, directory: Directory, entry: Entry, key: Key, document: Mapping[str, Any]) -> None:
        """Give an entry another name in its partition; raise RefusedError where it is taken, or the entry changed."""
        directory.table.commit(
            Delete(entry.record.key, If(etag=entry.record.etag), changed(self.kind)),
            Put(key, {**document, "id": entry.id}, ABSENT, self.taken),
            Put(self.pointer(entry.id), {"partition": key.partition, "sort": key.sort}),
        )

    def delete(self, directory: Directory, entry: Entry, *also: Change) -> None:
        """Remove an entry and do the changes `also`; raise RefusedError where it changed meanwhile."""
        directory.table.commit(
            Delete(entry.record.key, If(etag=entry.record.etag), changed(self.kind)),
            Delete(self.pointer(entry.id)),
            self.counted(entry.record.key.partition, -1),
            *also,
        )

    def pointer(self, number: int) -> Key:
        """Return where the record is that leads from an id to its entry."""
        return Key(f"{self.kind}/{number}", "self")

    def counted(self, partition: str, amount: int) -> Add:
        """Return the change that moves the counter of a partition."""
        return Add(self._count_key(partition), {ENTRIES: amount}, ANYHOW)

    def uncounted(self, partition: str) -> Delete:
        """Return the change that removes the counter of a partition that goes as a whole."""
        return Delete(self._count_key(partition))

    @staticmethod
    def _count_key(partition: str) -> Key:
        return Key(f"count/{partition}", "count")


def changed(kind: str) -> str:
    """Return the name of the condition that an entry is as it was read."""
    return f"the {kind} was changed or deleted meanwhile: look at it again"


def _entry(record: Record | None) -> Entry | None:
    return Entry(record.document["id"], record) if record else None
