"""What every `Table` does: one suite, run on SQLite and on services that are DynamoDB or stand for it.

* A class of tests derives from `TableContract`, names its `engine` and gives `table` and `other`: two processes' ways
  to one table. Both tell the time by `clock`.
* Each test works in a partition of its own, so a table serves all of them.
* `CANNOT` lists what an engine does not do. Such a test must fail there (xfail is strict), so a row that an engine
  no longer needs shows itself.
"""

import random
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count, product
from typing import Any

import pytest

from chalicelib.oci.pages import Page
from chalicelib.store.table import (
    ABSENT,
    ANYHOW,
    LARGEST_COMMIT,
    PRESENT,
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
    Table,
)

# fmt: off
CANNOT: Mapping[tuple[str, str], str] = {
    ("moto", "test_a_document_that_dynamodb_cannot_hold_is_an_os_error"): "leaves an item without document",
    ("moto", "test_an_answer_that_is_lost_counts_once"):                  "does not look at request tokens",
}
# fmt: on
START = 1_900_000_000
# In byte order: the characters of names, the ends of the ASCII range, and beyond it where UTF-16 sorts otherwise.
ORDERED = ("!", "-", "0", "1", "10", "9", "A", "Z", "_", "a", "a!b", "a-b", "a/b", "ab", "z", "é", "\ufffd", "😀")
PREFIXES = ("", "a", "a!", "1", "b", "é", "\U0010ffff")
DOCUMENTS: tuple[Mapping[str, Any], ...] = (
    {},
    {"text": "", "null": None, "true": True, "number": 1.5, "large": 2**53},
    {"nested": {"list": [1, [2, {"three": []}]], "é\n\0": '"\\'}},
    {"long": "x" * 100_000},
)
IMPOSSIBLE = {
    "no partition": Key("", "a"),
    "no sort key": Key("a", ""),
    "long sort key": Key("a", "é" * 513),
    "long partition": Key("é" * 1025, "a"),
    "half of a character in the sort key": Key("a", "b\ud800"),
    "half of a character in the partition": Key("a\udfff", "b"),
}
impossible = pytest.mark.parametrize("wrong", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
_numbers = count(1)


class Time:
    """Seconds since 1970, moved by hand."""

    def __init__(self) -> None:
        self.seconds = float(START)

    def __call__(self) -> float:
        return self.seconds


def _say(value: object) -> str | None:
    """Name a condition by the fields that are set."""
    if not isinstance(value, If):
        return None
    return " ".join(
        f"{name}={said}" for name in value.__slots__ if (said := getattr(value, name)) not in (None, "", {})
    )


class TableContract:
    """The suite; `engine` is the first half of the keys of `CANNOT`."""

    engine = ""

    @pytest.fixture(autouse=True)
    def _expectations(self, request: pytest.FixtureRequest) -> None:
        reason = CANNOT.get((self.engine, request.node.name))
        if reason:
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))

    @pytest.fixture
    def at(self) -> str:
        return f"contract/{next(_numbers)}"

    @pytest.fixture
    def key(self, at: str) -> Key:
        return Key(at, "one")

    # Reading and writing.

    @pytest.mark.parametrize("document", DOCUMENTS, ids=["empty", "flat", "nested", "long"])
    def test_a_document_reads_back_as_it_was_written(
        self, table: Table, other: Table, key: Key, document: Mapping[str, Any]
    ) -> None:
        table.commit(Put(key, document))

        found = _there(other, key)

        assert found == Record(key, document, found.etag)
        assert found.etag

    def test_what_was_never_written_is_none(self, table: Table, key: Key) -> None:
        table.commit(Put(Key(key.partition, "one more"), {}), Put(Key(f"{key.partition}/", "one"), {}))

        assert table.get(key) is None

    def test_a_write_replaces_the_document_and_the_entity_tag(self, table: Table, key: Key) -> None:
        table.commit(Put(key, {"first": 1, "both": 1}))
        first = _there(table, key)
        table.commit(Put(key, {"both": 2}))

        second = _there(table, key)

        assert second.document == {"both": 2}
        assert second.etag != first.etag

    def test_the_same_document_written_again_has_another_entity_tag(self, table: Table, key: Key) -> None:
        table.commit(Put(key, {"same": 1}))
        first = _there(table, key).etag
        table.commit(Put(key, {"same": 1}))

        assert _there(table, key).etag != first

    def test_deleting_takes_the_record_with_its_counters(self, table: Table, key: Key) -> None:
        table.commit(Put(key, {}))
        table.add(key, {"size": 5})
        table.commit(Delete(key))

        assert table.get(key) is None
        table.commit(Put(key, {}))
        assert _there(table, key).counters == {}

    def test_deleting_what_is_absent_is_no_error(self, table: Table, key: Key) -> None:
        table.commit(Delete(key))

        assert table.get(key) is None

    @impossible
    @pytest.mark.parametrize("kind", ["put", "delete", "add", "check"])
    def test_a_change_of_a_key_that_dynamodb_cannot_hold_is_an_os_error(
        self, table: Table, key: Key, wrong: Key, kind: str
    ) -> None:
        changes: Mapping[str, Change] = {
            "put": Put(wrong, {}),
            "delete": Delete(wrong),
            "add": Add(wrong, {"n": 1}, ANYHOW),
            "check": Check(wrong, ABSENT),
        }
        with pytest.raises(OSError, match=r"."):
            table.commit(Put(key, {}), changes[kind])

        assert table.get(key) is None

    @impossible
    def test_a_key_that_dynamodb_cannot_hold_is_absent(self, table: Table, key: Key, wrong: Key) -> None:
        table.commit(Put(key, {}))

        assert table.get(wrong) is None
        assert set(table.get_many([wrong, key])) == {key}
        table.add(wrong, {"n": 1})

    @pytest.mark.parametrize("partition", ["", "é" * 1025, "a\ud800"], ids=["none", "long", "half of a character"])
    def test_a_partition_that_dynamodb_cannot_hold_is_empty(self, table: Table, partition: str) -> None:
        assert table.query(partition, Slice()) == Page((), False)

    @pytest.mark.parametrize("prefix", ["é" * 513, "a\ud800"], ids=["long", "half of a character"])
    def test_nothing_begins_with_a_text_that_dynamodb_cannot_hold(self, table: Table, key: Key, prefix: str) -> None:
        table.commit(Put(key, {}))

        assert table.query(key.partition, Slice(prefix)) == Page((), False)

    def test_the_longest_keys_are_read_and_written(self, table: Table) -> None:
        key = Key("é" * 1024, "é" * 512)
        table.commit(Put(key, {}))

        assert set(table.get_many([key])) == {key}
        assert [record.key for record in table.query(key.partition, Slice(key.sort)).entries] == [key]

    def test_a_document_that_dynamodb_cannot_hold_is_an_os_error(self, table: Table, key: Key) -> None:
        with pytest.raises(OSError, match=r"."):
            table.commit(Put(key, {"long": "x" * 410_000}))

        assert table.get(key) is None

    def test_many_are_read_at_once_and_those_that_are_absent_left_out(self, table: Table, at: str) -> None:
        _fill(table, at, [f"{number:03}" for number in range(0, 250, 2)])
        keys = [Key(at, f"{number:03}") for number in range(250)]

        found = table.get_many([*keys, *keys[:3]])

        assert set(found) == set(keys[::2])
        assert all(found[key] == table.get(key) for key in keys[:20:2])
        assert table.get_many([]) == {}

    # Conditions.

    @pytest.mark.parametrize(("there", "condition"), [(False, ABSENT), (True, PRESENT)], ids=["absent", "present"])
    def test_a_condition_that_holds_lets_the_change_be_done(
        self, table: Table, key: Key, there: bool, condition: If
    ) -> None:
        if there:
            table.commit(Put(key, {"first": 1}))

        table.commit(Put(key, {"second": 2}, condition))

        assert _there(table, key).document == {"second": 2}

    @pytest.mark.parametrize(
        ("there", "condition"),
        [
            (True, ABSENT),
            (False, PRESENT),
            (True, If(etag="another")),
            (False, If(etag="another")),
            (True, If(at_most={"n": 4})),
            (True, If(at_least={"n": 6})),
            (True, If(at_most={"other": -1})),
            (True, If(at_least={"other": 1})),
            (False, If(at_most={"n": -1})),
            (False, If(at_least={"n": 1})),
            (True, If(exists=True, at_most={"n": 5, "other": -1})),
        ],
        ids=_say,
    )
    @pytest.mark.parametrize("kind", ["put", "delete", "check", "add"])
    def test_a_condition_that_does_not_hold_changes_nothing(
        self, table: Table, key: Key, there: bool, condition: If, kind: str
    ) -> None:
        before = _counted(table, key, n=5) if there else None

        with pytest.raises(RefusedError) as refused:
            table.commit(_change(kind, key, condition, "the name"))

        assert refused.value.names == ("the name",)
        assert table.get(key) == before

    @pytest.mark.parametrize(
        ("there", "condition"),
        [
            (True, If(at_most={"n": 5}, at_least={"n": 5})),
            (True, If(at_most={"other": 0}, at_least={"other": 0})),
            (False, If(at_most={"n": 0}, at_least={"n": 0})),
            (False, If(exists=False, at_most={"n": 7}, at_least={"n": -7})),
            (True, If(exists=True, at_most={"n": 9, "other": 9})),
            (True, ANYHOW),
            (False, ANYHOW),
        ],
        ids=_say,
    )
    @pytest.mark.parametrize("kind", ["put", "delete", "check", "add"])
    def test_a_condition_that_holds_of_counters_lets_each_kind_of_change_be_done(
        self, table: Table, key: Key, there: bool, condition: If, kind: str
    ) -> None:
        if there:
            _counted(table, key, n=5)

        table.commit(_change(kind, key, condition))

        expected = {"put": True, "delete": False, "check": there, "add": True}
        assert (table.get(key) is not None) == expected[kind]

    def test_an_entity_tag_lets_its_version_be_replaced_once(self, table: Table, key: Key) -> None:
        table.commit(Put(key, {"version": 1}))
        version = If(etag=_there(table, key).etag)
        table.commit(Put(key, {"version": 2}, version))

        with pytest.raises(RefusedError):
            table.commit(Put(key, {"version": 3}, version))
        with pytest.raises(RefusedError):
            table.commit(Delete(key, version))

        assert _there(table, key).document == {"version": 2}

    # Commits of several changes.

    def test_a_commit_does_all_of_its_changes(self, table: Table, other: Table, at: str) -> None:
        one, two, three, four = (Key(at, name) for name in ("1", "2", "3", "4"))
        _fill(table, at, ["2", "3", "4"])

        table.commit(
            Put(one, {"new": 1}, ABSENT), Delete(two, PRESENT), Add(three, {"n": 2}), Check(four, If(exists=True))
        )

        assert [record.key for record in other.query(at, Slice()).entries] == [one, three, four]
        assert _there(other, three).counters == {"n": 2}

    def test_a_commit_is_refused_whole_and_names_what_did_not_hold_in_order(self, table: Table, at: str) -> None:
        names = ("1", "2", "3", "4")
        one, two, three, four = (Key(at, name) for name in names)
        _fill(table, at, names[1:])
        before = table.query(at, Slice()).entries

        with pytest.raises(RefusedError) as refused:
            table.commit(
                Put(one, {"new": 1}, ABSENT, "fine"),
                Put(two, {"new": 1}, ABSENT, "second"),
                Delete(three, If(etag="another"), "third"),
                Add(four, {"n": 2}, If(at_least={"n": 1}), "fourth"),
            )

        assert refused.value.names == ("second", "third", "fourth")
        assert table.query(at, Slice()).entries == before

    def test_a_commit_over_partitions_is_whole(self, table: Table, at: str) -> None:
        with pytest.raises(RefusedError):
            table.commit(Put(Key(f"{at}/a", "1"), {}), Put(Key(f"{at}/b", "1"), {}, PRESENT, "second"))

        assert table.get(Key(f"{at}/a", "1")) is None

    def test_a_hundred_changes_are_one_commit_and_more_are_none(self, table: Table, at: str) -> None:
        changes = [Put(Key(at, f"{number:03}"), {}) for number in range(LARGEST_COMMIT + 1)]

        with pytest.raises(ValueError, match="100 different"):
            table.commit(*changes)
        table.commit(*changes[:-1])

        assert len(table.query(at, Slice()).entries) == LARGEST_COMMIT

    def test_a_record_is_changed_once_in_a_commit(self, table: Table, key: Key) -> None:
        with pytest.raises(ValueError, match="different"):
            table.commit(Put(key, {}), Check(key, ABSENT))

        assert table.get(key) is None

    def test_a_commit_of_nothing_is_no_error(self, table: Table) -> None:
        table.commit()

    # Counters.

    def test_counters_are_added_to_beside_the_document(self, table: Table, key: Key) -> None:
        table.commit(Put(key, {"document": 1}))
        before = _there(table, key)

        table.commit(Add(key, {"pulls": 2, "size": 2**50}))
        table.commit(Add(key, {"pulls": -5, "other-name": 0}))
        table.add(key, {"size": 1})

        after = _there(table, key)
        assert after.counters == {"pulls": -3, "size": 2**50 + 1, "other-name": 0}
        assert (after.document, after.etag) == (before.document, before.etag)

    def test_a_new_document_leaves_the_counters_alone(self, table: Table, key: Key) -> None:
        _counted(table, key, n=5)

        table.commit(Put(key, {"document": 2}))
        table.commit(Put(key, {"document": 3}), Check(Key(key.partition, "other"), ABSENT))

        assert _there(table, key).counters == {"n": 5}

    def test_adding_to_what_is_absent_is_refused_by_default(self, table: Table, key: Key) -> None:
        with pytest.raises(RefusedError) as refused:
            table.commit(Add(key, {"n": 1}, name="project"))

        assert refused.value.names == ("project",)
        assert table.get(key) is None

    def test_adding_anyhow_makes_an_empty_document_under_the_counters(self, table: Table, key: Key) -> None:
        table.commit(Add(key, {"n": 3}, ANYHOW))
        first = _there(table, key)
        table.commit(Add(key, {"n": 4}, ANYHOW))

        assert (first.document, first.counters) == ({}, {"n": 3})
        assert _there(table, key) == Record(key, {}, first.etag, {"n": 7})
        assert first.etag

    def test_adding_in_haste_to_what_is_absent_does_nothing(self, table: Table, key: Key) -> None:
        table.add(key, {"n": 1})

        assert table.get(key) is None

    # Slices.

    def test_a_partition_is_in_byte_order_both_ways(self, table: Table, at: str) -> None:
        _fill(table, at, ORDERED)

        assert _names(table, at, Slice()) == list(ORDERED)
        assert _names(table, at, Slice(backwards=True)) == list(reversed(ORDERED))

    def test_a_slice_is_what_its_prefix_and_its_after_leave(self, table: Table, at: str) -> None:
        _fill(table, at, ORDERED)

        for prefix, after, backwards in product(PREFIXES, ("", *ORDERED, "aa", "0a", "~"), (False, True)):
            wanted = Slice(prefix=prefix, after=after, backwards=backwards)
            assert _names(table, at, wanted) == _expected(wanted), wanted

    def test_pages_of_any_size_together_are_the_whole_and_the_last_says_so(self, table: Table, at: str) -> None:
        _fill(table, at, ORDERED)

        for prefix, limit, backwards in product(("", "a"), (1, 2, 3, 5, 17, 18, 19), (False, True)):
            whole = Slice(prefix=prefix, backwards=backwards)
            assert _pages(table, at, prefix, limit, backwards) == _expected(whole), (prefix, limit, backwards)

    def test_skipping_leaves_out_the_first_of_the_slice(self, table: Table, at: str) -> None:
        _fill(table, at, ORDERED)

        for prefix, after, skip, backwards in product(("", "a"), ("", "ab"), (0, 1, 2, 4, 5, 18, 40), (False, True)):
            wanted = Slice(prefix, after, limit=2, backwards=backwards, skip=skip)
            expected = _expected(wanted)[skip:]
            page = table.query(at, wanted)
            assert ([record.key.sort for record in page.entries], page.more) == (expected[:2], len(expected) > 2)

    def test_no_records_at_all_may_be_wanted(self, table: Table, at: str) -> None:
        empty = table.query(at, Slice(limit=0))
        _fill(table, at, ["a"])

        assert (empty.entries, empty.more) == ((), False)
        assert table.query(at, Slice(limit=0)).more

    def test_a_slice_holds_whole_records(self, table: Table, key: Key) -> None:
        _counted(table, key, n=5)

        assert table.query(key.partition, Slice()).entries == (_there(table, key),)

    def test_partitions_do_not_show_each_other(self, table: Table, at: str) -> None:
        _fill(table, f"{at}/a", ["1"])
        _fill(table, at, ["2"])

        assert _names(table, at, Slice()) == ["2"]

    def test_a_slice_of_more_than_a_megabyte_is_whole(self, table: Table, at: str) -> None:
        names = [f"{number:03}" for number in range(24)]
        for name in names:
            table.commit(Put(Key(at, name), {"long": "x" * 100_000}))

        assert _names(table, at, Slice()) == names
        assert _names(table, at, Slice(skip=22)) == names[22:]
        assert _pages(table, at, "", 20, backwards=False) == names
        assert len(table.get_many(Key(at, name) for name in names)) == len(names)

    # Expiry.

    def test_a_record_tells_when_it_expires_and_is_there_until_then(
        self, table: Table, clock: Time, key: Key
    ) -> None:
        expires = _seconds(clock, 10)
        table.commit(Put(key, {}, expires=expires))

        clock.seconds = expires - 0.1
        assert _there(table, key).expires == expires
        clock.seconds = float(expires)
        assert table.get(key) is None

    def test_an_expired_record_is_absent_everywhere(self, table: Table, other: Table, clock: Time, key: Key) -> None:
        table.commit(Put(key, {}, expires=_seconds(clock, 10)), Put(Key(key.partition, "two"), {}))
        clock.seconds += 10

        assert other.get(key) is None
        assert other.get_many([key]) == {}
        assert _names(other, key.partition, Slice()) == ["two"]
        assert _names(other, key.partition, Slice(skip=1)) == []

    def test_expired_records_do_not_count_for_pages(self, table: Table, clock: Time, at: str) -> None:
        names = [f"{number:02}" for number in range(12)]
        for name in names:
            table.commit(Put(Key(at, name), {}, expires=0 if name in ("00", "05", "11") else _seconds(clock, 10)))
        clock.seconds += 10

        assert _pages(table, at, "", 1, backwards=False) == ["00", "05", "11"]
        assert not table.query(at, Slice(after="05", limit=1)).more
        assert _names(table, at, Slice(skip=2)) == ["11"]

    @pytest.mark.parametrize("kind", ["put", "delete", "check", "add"])
    @pytest.mark.parametrize(
        ("condition", "held"),
        [
            (ANYHOW, True),
            (ABSENT, True),
            (PRESENT, False),
            (If(at_most={"n": 4}), True),
            (If(at_least={"n": 5}), False),
            (If(at_most={"n": -1}), False),
        ],
        ids=_say,
    )
    def test_conditions_take_an_expired_record_for_absent(
        self, table: Table, clock: Time, key: Key, kind: str, condition: If, held: bool
    ) -> None:
        _expired(table, clock, key)

        refused = _refused(table, _change(kind, key, condition, "name"))

        assert refused == (() if held else ("name",))
        assert (table.get(key) is not None) == (held and kind in ("put", "add"))

    @pytest.mark.parametrize("alone", [True, False])
    def test_the_entity_tag_of_an_expired_record_is_none(
        self, table: Table, clock: Time, key: Key, alone: bool
    ) -> None:
        etag = _expired(table, clock, key).etag
        others = () if alone else (Put(Key(key.partition, "other"), {}),)

        with pytest.raises(RefusedError):
            table.commit(Put(key, {}, If(etag=etag)), *others)

        assert _names(table, key.partition, Slice()) == []

    @pytest.mark.parametrize("alone", [True, False])
    @pytest.mark.parametrize("condition", [ANYHOW, ABSENT], ids=["anyhow", "absent"])
    def test_what_is_written_over_an_expired_record_begins_anew(
        self, table: Table, clock: Time, at: str, condition: If, alone: bool
    ) -> None:
        put, added, other = Key(at, "put"), Key(at, "added"), Key(at, "other")
        before = [_expired(table, clock, key).etag for key in (put, added)]
        changes = (Put(put, {"new": 1}, condition), Add(added, {"m": 2}, condition))

        if alone:
            for change in changes:
                table.commit(change)
        else:
            table.commit(*changes, Put(other, {}, ABSENT))

        after = [_there(table, key) for key in (put, added)]
        assert [(record.document, record.counters) for record in after] == [({"new": 1}, {}), ({}, {"m": 2})]
        assert [record.expires for record in after] == [0, 0]
        assert not {record.etag for record in after} & set(before)

    def test_a_refusal_beside_an_expired_record_is_named_alone(self, table: Table, clock: Time, key: Key) -> None:
        _expired(table, clock, key)

        refused = _refused(table, Put(key, {}, name="fine"), Put(Key(key.partition, "2"), {}, PRESENT, "second"))

        assert refused == ("second",)
        assert table.get(key) is None

    def test_adding_in_haste_to_what_expired_does_nothing(self, table: Table, clock: Time, key: Key) -> None:
        _expired(table, clock, key)

        table.add(key, {"n": 1})

        assert table.get(key) is None

    def test_a_later_write_moves_or_ends_the_expiry_and_adding_keeps_it(
        self, table: Table, clock: Time, at: str
    ) -> None:
        kept, moved, ended = Key(at, "kept"), Key(at, "moved"), Key(at, "ended")
        table.commit(*(Put(key, {}, expires=_seconds(clock, 10)) for key in (kept, moved, ended)))

        table.commit(Add(kept, {"n": 1}), Put(moved, {}, expires=_seconds(clock, 20)), Put(ended, {}))

        assert _there(table, kept).expires == _seconds(clock, 10)
        clock.seconds += 10
        assert _names(table, at, Slice()) == ["ended", "moved"]
        clock.seconds += 10
        assert _names(table, at, Slice()) == ["ended"]

    # Races.

    def test_of_many_creators_at_once_one_wins(self, table: Table, other: Table, key: Key) -> None:
        won = _race(lambda n: (table, other)[n % 2].commit(Put(key, {"writer": n}, ABSENT)))

        assert [_there(table, key).document["writer"]] == won

    def test_of_many_writers_of_one_version_one_wins(self, table: Table, other: Table, key: Key) -> None:
        table.commit(Put(key, {"writer": -1}))
        version = If(etag=_there(table, key).etag)

        won = _race(lambda n: (table, other)[n % 2].commit(Put(key, {"writer": n}, version)))

        assert [_there(table, key).document["writer"]] == won

    def test_of_two_commits_that_cross_one_wins_whole(self, table: Table, other: Table, at: str) -> None:
        keys = [Key(at, str(number)) for number in range(4)]

        def write(number: int) -> None:
            changes = [Put(key, {"writer": number}, ABSENT) for key in keys]
            (table, other)[number % 2].commit(*(changes if number % 2 else reversed(changes)))

        won = _race(write)

        found = {record.document["writer"] for record in table.query(at, Slice()).entries}
        assert found == set(won)
        assert len(won) == 1

    def test_bounded_counters_end_exact_under_many_writers(self, table: Table, other: Table, key: Key) -> None:
        table.commit(Put(key, {}))
        bound = If(exists=True, at_most={"n": 37})

        def work(number: int) -> int:
            mine = (table, other)[number % 2]
            return sum(not _patiently(lambda: mine.commit(Add(key, {"n": 3}, bound))) for _ in range(3))

        with ThreadPoolExecutor(8) as pool:
            done = sum(pool.map(work, range(8)))

        # Each of 24 adds 3 where there is room: 0, 3, ... 36 admit one more.
        assert (done, _there(table, key).counters) == (13, {"n": 39})

    def test_adding_in_haste_from_many_threads_loses_nothing(self, table: Table, other: Table, key: Key) -> None:
        table.commit(Put(key, {}))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: (table, other)[n % 2].add(key, {"n": n}), range(40)))

        assert _there(table, key).counters == {"n": sum(range(40))}


def _change(kind: str, key: Key, condition: If, name: str = "") -> Change:
    kinds: Mapping[str, Change] = {
        "put": Put(key, {"new": 1}, condition, name),
        "delete": Delete(key, condition, name),
        "check": Check(key, condition, name),
        "add": Add(key, {"n": 1}, condition, name),
    }
    return kinds[kind]


def _there(table: Table, key: Key) -> Record:
    found = table.get(key)
    assert found is not None
    return found


def _counted(table: Table, key: Key, **amounts: int) -> Record:
    table.commit(Put(key, {"document": 1}))
    table.commit(Add(key, amounts))
    return _there(table, key)


def _expired(table: Table, clock: Time, key: Key) -> Record:
    """Return a record with a counter that has expired since."""
    table.commit(Put(key, {"old": 1}, expires=_seconds(clock, 10)))
    table.commit(Add(key, {"n": 5}))
    found = _there(table, key)
    clock.seconds += 10
    return found


def _seconds(clock: Time, later: int) -> int:
    return int(clock.seconds) + later


def _fill(table: Table, partition: str, names: Iterable[str]) -> None:
    changes = [Put(Key(partition, name), {"name": name}) for name in sorted(names, key=lambda name: name[::-1])]
    for at in range(0, len(changes), LARGEST_COMMIT):
        table.commit(*changes[at : at + LARGEST_COMMIT])


def _names(table: Table, partition: str, wanted: Slice) -> list[str]:
    return [record.key.sort for record in table.query(partition, wanted).entries]


def _expected(wanted: Slice) -> list[str]:
    """Return the names of `ORDERED` that a slice wants, limits aside."""
    names = [name for name in ORDERED if name.startswith(wanted.prefix)]
    if wanted.backwards:
        return [name for name in reversed(names) if not wanted.after or name < wanted.after]
    return [name for name in names if name > wanted.after]


def _pages(table: Table, partition: str, prefix: str, limit: int, backwards: bool) -> list[str]:
    """Return a whole slice, read in pages; no page may be short or promise more than there is."""
    found: list[str] = []
    page = table.query(partition, Slice(prefix, limit=limit, backwards=backwards))
    while True:
        found += [record.key.sort for record in page.entries]
        if not page.more:
            assert len(page.entries) <= limit
            return found
        assert len(page.entries) == limit
        page = table.query(partition, Slice(prefix, found[-1], limit, backwards))
        assert page.entries


def _refused(table: Table, *changes: Change) -> tuple[str, ...]:
    try:
        table.commit(*changes)
    except RefusedError as refused:
        return refused.names
    return ()


def _race(write: Callable[[int], object]) -> list[int]:
    """Let sixteen threads write at once; return the numbers of those that were not refused."""
    with ThreadPoolExecutor(16) as pool:
        refused = pool.map(lambda number: _patiently(lambda: write(number)), range(16))
        return [number for number, was_refused in enumerate(refused) if not was_refused]


def _patiently(write: Callable[[], object]) -> bool:
    """Return whether a write was refused in the end, however busy the table was."""
    while True:
        with suppress(BusyError):
            try:
                write()
            except RefusedError:
                return True
            return False
        time.sleep(random.uniform(0, 0.2))
