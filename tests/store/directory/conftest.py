"""A directory on a table in memory."""

import pytest

from chalicelib.store.directory import Directory
from chalicelib.store.sqlite import SqliteTable
from tests.memory import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def directory(clock: Clock) -> Directory:
    return Directory(SqliteTable(":memory:", lambda: clock().timestamp()), clock)
