"""Random histories of a table against a dictionary: whatever is committed, expires and is asked for.

The machine works in two partitions of its own, so a table may serve many machines. The model decides by itself what
a condition says; of entity tags it knows only that a new document has one that was never seen before.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from chalicelib.store.table import Add, Change, Check, Delete, If, Key, Put, RefusedError, Slice, Table
from tests.store.table_contract import Time

SORTS = ("a", "a!", "a/b", "ab", "b", "\ufffd", "😀")
COUNTERS = ("n", "size")
_numbers = count(1)

sorts = st.sampled_from(SORTS)
places = st.tuples(st.sampled_from("12"), sorts)
amounts = st.dictionaries(st.sampled_from(COUNTERS), st.integers(-3, 3), min_size=1)
bounds: st.SearchStrategy[Mapping[str, int]] = st.one_of(
    st.just({}), st.just({}), st.dictionaries(st.sampled_from(COUNTERS), st.integers(-2, 3))
)
documents = st.dictionaries(st.sampled_from("xyz"), st.one_of(st.none(), st.integers(0, 9), st.text(max_size=3)))
# Seconds after now at which a document expires; most do not.
lives = st.one_of(st.none(), st.none(), st.integers(1, 5))


@dataclass(frozen=True, slots=True)
class Wish:
    """A change as it is drawn: the entity tag, the key and the time are filled in when it is made."""

    kind: str
    place: tuple[str, str]
    exists: bool | None
    etag: str
    at_most: Mapping[str, int]
    at_least: Mapping[str, int]
    document: Mapping[str, Any]
    amounts: Mapping[str, int]
    lives: int | None


wishes = st.builds(
    Wish,
    kind=st.sampled_from(["put", "put", "add", "add", "delete", "check"]),
    place=places,
    exists=st.sampled_from([None, None, True, False]),
    etag=st.sampled_from(["", "", "", "current", "former"]),
    at_most=bounds,
    at_least=bounds,
    document=documents,
    amounts=amounts,
    lives=lives,
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A record as the model has it."""

    document: Mapping[str, Any]
    counters: Mapping[str, int] = field(default_factory=dict)
    expires: int = 0
    etag: str = ""


class Machine(RuleBasedStateMachine):
    """A table, its time, and the model."""

    def __init__(self, table: Table, clock: Time) -> None:
        super().__init__()
        self.table, self.clock = table, clock
        self.at = f"machine/{next(_numbers)}"
        self.model: dict[Key, Entry] = {}
        self.former: dict[Key, str] = {}
        self.seen: set[str] = set()

    @rule(drawn=st.lists(wishes, min_size=1, max_size=4, unique_by=lambda wish: wish.place))
    def commit(self, drawn: list[Wish]) -> None:
        changes = [self.change(wish, f"{number}") for number, wish in enumerate(drawn)]
        refused = tuple(change.name for change in changes if not holds(change.condition, self.model.get(change.key)))

        assert self.refused(changes) == refused
        if not refused:
            for change in changes:
                self.apply(change)

    @rule(place=places, amounts=amounts)
    def add(self, place: tuple[str, str], amounts: Mapping[str, int]) -> None:
        key = self.key(place)

        self.table.add(key, amounts)

        if key in self.model:
            self.apply(Add(key, amounts))

    @rule(seconds=st.integers(1, 3))
    def wait(self, seconds: int) -> None:
        self.clock.seconds += seconds
        self.model = {key: entry for key, entry in self.model.items() if not 0 < entry.expires <= self.clock.seconds}

    @rule(
        partition=st.sampled_from("12"),
        wanted=st.builds(
            Slice,
            prefix=st.sampled_from(["", "", "a", "a!", "c"]),
            after=st.sampled_from(["", "", "0", "aa", *SORTS]),
            limit=st.integers(0, 4),
            backwards=st.booleans(),
            skip=st.integers(0, 3),
        ),
    )
    def query(self, partition: str, wanted: Slice) -> None:
        sorted_keys = sorted(self.keys(partition), reverse=wanted.backwards)
        expected = [sort for sort in sorted_keys if _is_in(sort, wanted)][wanted.skip :]

        page = self.table.query(f"{self.at}/{partition}", wanted)

        assert [record.key.sort for record in page.entries] == expected[: wanted.limit]
        assert page.more == (len(expected) > wanted.limit)

    @rule(wanted=st.lists(places, max_size=8))
    def get_many(self, wanted: list[tuple[str, str]]) -> None:
        keys = [self.key(place) for place in wanted]

        found = self.table.get_many(keys)

        assert set(found) == set(keys) & set(self.model)
        assert all(record == self.table.get(key) for key, record in found.items())

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        records = [
            record for partition in "12" for record in self.table.query(f"{self.at}/{partition}", Slice()).entries
        ]

        found = {r.key: Entry(r.document, dict(r.counters), r.expires, r.etag) for r in records}

        assert found == self.model

    def key(self, place: tuple[str, str]) -> Key:
        return Key(f"{self.at}/{place[0]}", place[1])

    def keys(self, partition: str) -> Iterator[str]:
        return (key.sort for key in self.model if key.partition == f"{self.at}/{partition}")

    def change(self, wish: Wish, name: str) -> Change:
        key = self.key(wish.place)
        there = self.model.get(key)
        etags = {"": "", "current": there.etag if there else "none", "former": self.former.get(key, "none")}
        condition = If(wish.exists, etags[wish.etag], wish.at_most, wish.at_least)
        expires = int(self.clock.seconds) + wish.lives if wish.lives else 0
        changes: Mapping[str, Change] = {
            "put": Put(key, wish.document, condition, name, expires),
            "add": Add(key, wish.amounts, condition, name),
            "delete": Delete(key, condition, name),
            "check": Check(key, condition, name),
        }
        return changes[wish.kind]

    def refused(self, changes: list[Change]) -> tuple[str, ...]:
        try:
            self.table.commit(*changes)
        except RefusedError as refused:
            return refused.names
        return ()

    def apply(self, change: Change) -> None:
        """Do to the model what the table did."""
        there = self.model.get(change.key)
        match change:
            case Put():
                counters = there.counters if there else {}
                self.model[change.key] = Entry(change.document, counters, change.expires, self.fresh(change.key))
            case Delete():
                self.model.pop(change.key, None)
            case Add():
                before = there or Entry({}, etag=self.fresh(change.key))
                sums = {name: before.counters.get(name, 0) + amount for name, amount in change.amounts.items()}
                self.model[change.key] = replace(before, counters={**before.counters, **sums})
            case Check():
                pass

    def fresh(self, key: Key) -> str:
        """Return the entity tag of a document that was just written."""
        record = self.table.get(key)
        assert record is not None
        assert record.etag not in self.seen
        self.seen.add(record.etag)
        if key in self.model:
            self.former[key] = self.model[key].etag
        return record.etag


def holds(condition: If, entry: Entry | None) -> bool:
    """Return whether a condition holds in the model."""
    counters = entry.counters if entry else {}
    wrong = [
        condition.exists is True and entry is None,
        condition.exists is False and entry is not None,
        condition.etag != "" and (entry is None or entry.etag != condition.etag),
        any(counters.get(name, 0) > bound for name, bound in condition.at_most.items()),
        any(counters.get(name, 0) < bound for name, bound in condition.at_least.items()),
    ]
    return not any(wrong)


def _is_in(sort: str, wanted: Slice) -> bool:
    follows = not wanted.after or (sort < wanted.after if wanted.backwards else sort > wanted.after)
    return sort.startswith(wanted.prefix) and follows


def run_machine(table: Table, clock: Time, *, examples: int, steps: int) -> None:
    """Run histories on a table that tells the time by the clock."""

    class OnTable(Machine):
        def __init__(self) -> None:
            super().__init__(table, clock)

    run_state_machine_as_test(
        OnTable,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
