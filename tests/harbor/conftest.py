"""One whole registry for the scenarios of a run, as `roadstead run` starts it; each scenario has names of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.running import PASSWORD, Server, started


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("registry")
    with started(
        ["run"], folder, {"ROADSTEAD_ADMIN_PASSWORD": PASSWORD, "ROADSTEAD_PRIVATE_TARGETS": "127.0.0.1"}
    ) as running:
        yield running
