"""Own what the matrix runs on (the registry, the cargo, a bench for each client) and the table at its end."""

import os
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType

import pytest

from . import images
from .bench import CACHE, Bench
from .clients import CLIENTS, Cannot, Client
from .registry import Registry, under_test
from .table import CANNOT, FAILED, PASSED, Outcome, render

CELLS: pytest.StashKey[dict[tuple[str, str], Outcome]] = pytest.StashKey()


@pytest.fixture(scope="session", autouse=True)
def ended_tidily() -> None:
    """Turn a request to end into an orderly end: every process that was started is ended by its fixture."""

    def end(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    home = tmp_path_factory.mktemp("registry")
    with under_test(home) as running:
        yield running
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def cargo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[images.Cargo]:
    home = tmp_path_factory.mktemp("cargo")
    yield images.build(home)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def run_id() -> str:
    """Name this run's repositories, so that a registry that has seen other runs has seen none of them."""
    return f"run-{secrets.token_hex(4)}"


@pytest.fixture(scope="module", params=CLIENTS, ids=lambda client: client.name)
def client(request: pytest.FixtureRequest) -> Client:
    chosen: Client = request.param
    assert chosen.program.is_file(), f"{chosen.name} is not installed: run tests/clients/install.sh"
    return chosen


@pytest.fixture(scope="module")
def bench(
    client: Client,
    registry: Registry,
    cargo: images.Cargo,
    run_id: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Bench]:
    home = tmp_path_factory.mktemp(client.name)
    if client.mounts_unasked:
        cargo = replace(cargo, image=images.build_usual(home / "image"))
    place = Bench(client.name, home, registry, cargo, run_id, client.daemon)
    with place.stack:
        if not isinstance(client.login, Cannot):
            client.login(place, registry.user, registry.password)
        yield place
    shutil.rmtree(home, ignore_errors=True)


def outcome(item: pytest.Item, report: pytest.TestReport) -> Outcome:
    reason = dict(item.user_properties).get("cannot", "")
    if not report.passed:
        return Outcome(FAILED, report.duration)
    return Outcome(CANNOT if reason else PASSED, report.duration, str(reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if isinstance(item, pytest.Function) and "client" in item.callspec.params and report.when != "teardown":
        client: Client = item.callspec.params["client"]  # type: ignore[assignment]  # params are objects
        operation = item.callspec.params.get("operation") or item.originalname.removeprefix("test_")
        if report.when == "call" or not report.passed:
            cells = item.config.stash.setdefault(CELLS, {})
            cells[client.name, str(operation).replace("_", " ")] = outcome(item, report)
    return report


def version(client: Client) -> str:
    """Tell a client's version: of what install.sh built by its folder, of Debian's by asking it."""
    if not client.program.is_file():
        return "not installed"
    if client.program.parent == CACHE:
        return client.program.resolve().parent.name.rpartition("-")[2]
    printed = subprocess.run([client.program, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\d+\.\d+[\w.~+-]*", printed)
    return found.group() if found else printed.strip()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    cells = config.stash.get(CELLS, {})
    if not cells:
        return
    named = {name for name, _ in cells}
    table = render({each.name: version(each) for each in CLIENTS if each.name in named}, cells)
    terminalreporter.section("clients")
    terminalreporter.write_line(table)
    if path := os.environ.get("ROADSTEAD_CLIENTS_TABLE"):
        Path(path).write_text(table)
