from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.distribution.servers import ours
from tests.engines import Engine, seaweedfs
from tests.server.running import Server


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with seaweedfs() as running:
        yield running


@pytest.fixture
def two(engine: Engine, tmp_path: Path) -> Iterator[tuple[Server, Server]]:
    """Two servers of ours, each with a project `library`."""
    name = tmp_path.name.replace("_", "-")[:40].strip("-")
    with (
        ours(engine, f"here-{name}", tmp_path / "here") as here,
        ours(engine, f"there-{name}", tmp_path / "there") as there,
    ):
        yield here, there
