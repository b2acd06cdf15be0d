"""Ways to a table that count what is asked, or stop answering at a moment that a test chooses."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from chalicelib.oci.pages import Page
from chalicelib.store.table import Change, Key, Record, Slice, Table


class CountingTable:
    """A table that counts its calls, and the records that they brought."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.calls: Counter[str] = Counter()
        self.brought = 0

    def get(self, key: Key) -> Record | None:
        self.calls["get"] += 1
        return self._table.get(key)

    def get_many(self, keys: Iterable[Key]) -> Mapping[Key, Record]:
        self.calls["get_many"] += 1
        found = self._table.get_many(keys)
        self.brought += len(found)
        return found

    def query(self, partition: str, wanted: Slice) -> Page[Record]:
        self.calls["query"] += 1
        page = self._table.query(partition, wanted)
        self.brought += len(page.entries)
        return page

    def commit(self, *changes: Change) -> None:
        self.calls["commit"] += 1
        self._table.commit(*changes)

    def add(self, key: Key, amounts: Mapping[str, int]) -> None:
        self.calls["add"] += 1
        self._table.add(key, amounts)


class StoppingTable(CountingTable):
    """A table that does no commit from a certain one on, or does that one and loses its answer."""

    def __init__(self, table: Table, *, at: int, done: bool) -> None:
        super().__init__(table)
        self._at, self._done = at, done

    def commit(self, *changes: Change) -> None:
        last = self.calls["commit"] + 1 == self._at
        if not last or self._done:
            super().commit(*changes)
        if last:
            raise ConnectionResetError("the database went away")


class InterruptedTable(CountingTable):
    """A table before whose commits somebody else does something, once for each entry of `deeds`."""

    def __init__(self, table: Table, deeds: Mapping[int, Callable[[], None]]) -> None:
        super().__init__(table)
        self._deeds = deeds

    def commit(self, *changes: Change) -> None:
        self._deeds.get(self.calls["commit"] + 1, lambda: None)()
        super().commit(*changes)
