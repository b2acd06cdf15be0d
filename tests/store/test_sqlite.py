"""SqliteTable keeps the contract in memory and in a file, and a file keeps what was acknowledged."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from chalicelib.store.sqlite import SqliteTable
from chalicelib.store.table import Table
from tests.store.table_contract import TableContract, Time

MEMORY = ":memory:"


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
