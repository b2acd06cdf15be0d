"""The audit log against an obvious model: pages, times, counts, purges, entries that come late; and on DynamoDB."""

from dataclasses import replace
from datetime import timedelta
from itertools import islice

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chalicelib.oci.pages import Page
from chalicelib.policy.audit import Event
from chalicelib.store.directory import Directory, audit, configuration
from chalicelib.store.directory.audit import ALL, Logged, Span
from chalicelib.store.dynamodb import DynamoTable, dynamo_client, make_table
from chalicelib.store.index import written
from chalicelib.store.signing import Credentials
from chalicelib.store.sqlite import SqliteTable
from chalicelib.store.table import ABSENT, PAGE, Key, Put, Record, RefusedError, Slice, Table
from tests.engines import moto
from tests.memory import Clock
from tests.store.index.tables import CountingTable

USER = Key("users/", "ann")
ALWAYS = Span()
# What happens: seconds go by; an entry of a project that is so many seconds late; a look at the count; a purge.
deeds = st.one_of(
    st.tuples(st.just("wait"), st.integers(1, 200)),
    st.tuples(st.just("log"), st.integers(0, 100)),
    st.tuples(st.just("count"), st.integers(0, 2)),
    st.tuples(st.just("purge"), st.integers(0, 300)),
)


def directory_of(clock: Clock, table: Table | None = None) -> Directory:
    return Directory(table or SqliteTable(":memory:", lambda: clock().timestamp()), clock)


def latest(directory: Directory, *scopes: audit.Scope, span: Span = ALWAYS, limit: int = PAGE) -> audit.Events:
    return audit.latest(directory, scopes, span, limit, lambda read, asked: tuple(map(read, asked)))


def everything(directory: Directory, scope: int | str = ALL) -> tuple[Logged, ...]:
    return audit.page(directory, scope, Slice(limit=10_000)).entries


@settings(deadline=None, max_examples=100)
@example([("log", 0), ("wait", 200), ("count", 0), ("log", 100), ("count", 0), ("purge", 0), ("count", 0)])
@given(st.lists(deeds, max_size=40))
def test_pages_and_counts_are_those_of_the_model(done: list[tuple[str, int]]) -> None:
    clock = Clock()
    directory = directory_of(clock)
    model: list[tuple[str, int]] = []
    for number, (deed, argument) in enumerate(done):
        if deed == "wait":
            clock.advance(timedelta(seconds=argument))
        elif deed == "log":
            event = Event("ann", f"{number}", "label", "create", project_id=argument % 3)
            audit.log_many(directory, [(event, clock() - timedelta(seconds=argument), "")])
            model.append((written(clock() - timedelta(seconds=argument)), number))
        elif deed == "purge":
            before = written(clock() - timedelta(seconds=argument))
            audit.purge(directory, [logged for logged in everything(directory) if logged.time < before])
            model = [entry for entry in model if entry[0] >= before]
        else:
            assert audit.count(directory, ALL) == len(model)

    assert sorted(model) == sorted((logged.time, int(logged.event.resource)) for logged in everything(directory))
    for scope in (ALL, 0, 1, 2):
        assert audit.count(directory, scope) == len(everything(directory, scope))


def test_a_count_reads_what_is_new_and_stays_right_beside_late_entries() -> None:
    clock = Clock()
    table = CountingTable(SqliteTable(":memory:", lambda: clock().timestamp()))
    directory = directory_of(clock, table)
    for number in range(2500):
        audit.log(directory, Event("ann", f"{number}", "label", "create"))
    clock.advance(timedelta(minutes=10))
    assert audit.count(directory, ALL) == 2500
    audit.log_many(directory, [(Event("ann", "late", "artifact", "pull"), clock() - timedelta(minutes=1), "")])
    table.calls.clear()
    table.brought = 0

    assert audit.count(directory, ALL) == 2501
    assert (table.calls["query"], table.brought) == (1, 1)


def test_a_search_of_a_time_reads_that_time(directory: Directory, clock: Clock) -> None:
    for number in range(30):
        audit.log(directory, Event("ann", f"{number}", "label", "create"))
        clock.advance(timedelta(minutes=1))
    table = CountingTable(directory.table)

    span = Span("2026-03-01T12:10:00.000Z", "2026-03-01T12:12:00.000Z")
    found = audit.search(latest(directory_of(clock, table), ALL, span=span), lambda _: True)

    assert [logged.event.resource for logged in found] == ["12", "11", "10"]


def test_a_search_that_finds_nothing_looks_at_a_bounded_number_of_entries() -> None:
    class Endless(CountingTable):
        """A log that always has one page more."""

        def query(self, partition: str, wanted: Slice) -> Page[Record]:
            return Page(super().query(partition, replace(wanted, after="")).entries, more=True)

    clock = Clock()
    table = Endless(SqliteTable(":memory:", lambda: clock().timestamp()))
    directory = directory_of(clock, table)
    audit.log(directory, Event("ann", "x", "label", "create"))

    assert audit.search(latest(directory, ALL), lambda _: False) == ()
    assert table.calls["query"] == 50
    assert audit.count(directory, ALL) == 50


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), max_size=40),
    st.sets(st.integers(1, 3)),
    st.integers(1, 7),
)
def test_several_lists_come_as_one_in_the_order_of_time(
    told: list[tuple[int, int]], scopes: set[int], limit: int
) -> None:
    clock = Clock()
    directory = directory_of(clock)
    for number, (project, seconds) in enumerate(told):
        clock.advance(timedelta(seconds=seconds))
        audit.log(directory, Event("ann", f"{number}", "label", "create", project_id=project))
    expected = [each for each in everything(directory)[::-1] if each.event.project_id in scopes]

    assert list(latest(directory, *sorted(scopes), limit=limit)) == expected


def test_of_several_lists_no_more_is_read_than_is_wanted(clock: Clock) -> None:
    table = CountingTable(SqliteTable(":memory:", lambda: clock().timestamp()))
    directory = directory_of(clock, table)
    for number in range(40):
        audit.log(directory, Event("ann", f"{number}", "label", "create", project_id=number % 2 + 1))
        clock.advance(timedelta(seconds=1))
    table.calls.clear()
    table.brought = 0

    found = list(islice(latest(directory, 1, 2, limit=5), 5))

    assert [each.event.resource for each in found] == ["39", "38", "37", "36", "35"]
    assert (table.calls["query"], table.brought) == (2, 10)


# In the transaction of the change


def change(directory: Directory, told: list[str]) -> None:
    [table] = audit.carried(
        directory, [directory.table], Event("admin", "ann", "user", "create"), lambda: told.append("told")
    )
    table.commit(Put(USER, {"name": "ann"}, ABSENT, "the name is taken"))


def test_a_change_that_is_refused_leaves_no_entry(directory: Directory) -> None:
    told: list[str] = []
    change(directory, told)
    with pytest.raises(RefusedError, match="the name is taken"):
        change(directory, told)

    assert len(everything(directory)) == 1
    assert told == ["told"]


def test_the_entry_goes_with_the_first_change_alone(directory: Directory) -> None:
    [table] = audit.carried(directory, [directory.table], Event("admin", "ann", "user", "create"), lambda: None)
    table.commit(Put(USER, {}))
    table.commit(Put(USER, {"name": "ann"}))

    assert len(everything(directory)) == 1


def test_the_log_on_dynamodb() -> None:
    clock = Clock()
    with moto() as service:
        credentials = Credentials(service.access_key, service.secret_key)
        make_table(dynamo_client(service.region, service.endpoint, credentials), "directory")
        table = DynamoTable("directory", service.region, service.endpoint, credentials, lambda: clock().timestamp())
        directory = directory_of(clock, table)
        configuration.change(directory, {"audit_log_forward_endpoint": "logs.example.org:514"})
        told: list[str] = []
        change(directory, told)
        with pytest.raises(RefusedError):
            change(directory, told)
        pull = Event("ann", "web/app:v1", "artifact", "pull", project_id=7)
        pulls = [(pull, clock(), f"{number}") for number in range(10)]
        for _ in range(2):
            audit.log_many(directory, pulls)
        clock.advance(timedelta(minutes=5))

        assert (audit.count(directory, ALL), audit.count(directory, 7)) == (11, 10)
        audit.sent(directory, audit.waiting(directory, 100))
        assert audit.waiting(directory, 100) == ()
        audit.purge(directory, everything(directory, 7))
        assert (audit.count(directory, ALL), audit.count(directory, 7)) == (1, 0)
        assert told == ["told"]
