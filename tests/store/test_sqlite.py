"""SqliteTable keeps the contract in memory and in a file, and a file keeps what was acknowledged."""

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from chalicelib.store.sqlite import SqliteTable
from chalicelib.store.table import Key, Put, Slice, Table
from tests.store.table_contract import TableContract, Time
from tests.store.table_machine import run_machine

MEMORY = ":memory:"
ROOT = Path(__file__).parents[2]
# A process that writes until it is killed, and says each number when its commit has returned.
WRITER = """
import sys, time
from chalicelib.store.sqlite import SqliteTable
from chalicelib.store.table import ABSENT, ANYHOW, Add, Key, Put

table = SqliteTable(sys.argv[1], time.time)
number = int(sys.argv[2]) * 1_000_000
while True:
    written = Put(Key("written", str(number)), {"number": number}, ABSENT)
    table.commit(written, Add(Key("count", "all"), {"n": 1}, ANYHOW))
    print(number, flush=True)
    number += 1
"""


@pytest.fixture(scope="module")
def clock() -> Time:
    return Time()


@pytest.fixture(scope="class")
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    name: str = request.cls.file
    return name if name == MEMORY else str(tmp_path_factory.mktemp("sqlite") / name)


@pytest.fixture(scope="class")
def table(clock: Time, path: str) -> Iterator[Table]:
    with closing(SqliteTable(path, clock)) as opened:
        yield opened


@pytest.fixture(scope="class")
def other(clock: Time, path: str, table: Table) -> Iterator[Table]:
    """Give another process's way to the file; memory is seen by its own process only."""
    if path == MEMORY:
        yield table
        return
    with closing(SqliteTable(path, clock)) as opened:
        yield opened


class TestMemory(TableContract):
    engine, file = "sqlite", MEMORY


class TestFile(TableContract):
    engine, file = "sqlite", "directory.db"


@pytest.mark.parametrize("examples", [30, pytest.param(500, marks=pytest.mark.soak)])
def test_random_histories_end_as_in_a_dictionary(examples: int) -> None:
    clock = Time()

    run_machine(SqliteTable(MEMORY, clock), clock, examples=examples, steps=30)


def test_what_was_acknowledged_is_there_after_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "directory.db"
    acknowledged: list[int] = []
    for _ in range(3):
        acknowledged += _acknowledged_until_killed(path, first=len(acknowledged))

    with closing(SqliteTable(path, Time())) as table:
        counter = table.get(Key("count", "all"))
        records = table.query("written", Slice(limit=100_000)).entries

    written = [record.document["number"] for record in records]
    assert len(acknowledged) >= 300
    assert set(acknowledged) <= set(written)
    # Each commit wrote a record and counted it, whole or not at all.
    assert counter is not None
    assert counter.counters["n"] == len(written)


def _acknowledged_until_killed(path: Path, first: int) -> list[int]:
    """Return the numbers whose commits a process acknowledged before it was killed in the middle of its work."""
    command = [sys.executable, "-c", WRITER, str(path), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(100)]
        process.kill()
        # What it said and was not read yet is acknowledged too; the last line may be cut.
        lines += process.stdout.read().splitlines(keepends=True)
    assert process.returncode == -signal.SIGKILL
    return [int(line) for line in lines if line.endswith(b"\n")]


@pytest.mark.parametrize("path", ["/", "/nowhere/directory.db"])
def test_a_file_that_cannot_be_opened_is_an_os_error(path: str) -> None:
    with pytest.raises(OSError, match=path):
        SqliteTable(path, Time())


def test_a_file_that_is_no_database_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "directory.db").write_bytes(b"not a database, and long enough to see it" * 100)

    with pytest.raises(OSError, match="not a database"):
        SqliteTable(tmp_path / "directory.db", Time())


def test_a_closed_table_answers_with_an_os_error() -> None:
    table = SqliteTable(MEMORY, Time())
    table.close()

    with pytest.raises(OSError, match="closed"):
        table.get(Key("a", "b"))


def test_what_expired_is_removed_from_the_file_in_time(tmp_path: Path) -> None:
    clock, path = Time(), tmp_path / "directory.db"
    with closing(SqliteTable(path, clock)) as table:
        table.commit(*(Put(Key("a", f"{number}"), {}, expires=int(clock()) + 5) for number in range(100)))
        clock.seconds += 5
        for _ in range(1000):
            table.commit(Put(Key("b", "b"), {}))

    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM records").fetchone() == (1,)
