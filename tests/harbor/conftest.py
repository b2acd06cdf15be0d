"""One whole registry for the scenarios of a run, as `roadstead run` starts it; each scenario has names of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.harbor.telling import Harbor, client_of
from tests.server.running import PASSWORD, Server, started


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("registry")
    with started(["run"], folder, {"ROADSTEAD_ADMIN_PASSWORD": PASSWORD}) as running:
        yield running


@pytest.fixture(scope="module")
def harbor(server: Server) -> Iterator[Harbor]:
    with asyncio.Runner() as runner:
        client = client_of(server)
        yield Harbor(client, server, runner)
        runner.run(client.client.aclose())
