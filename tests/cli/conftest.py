"""A Harbor to ask, and the command line logged in to it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from chalicelib.cli.main import main
from tests.cli.harbor import PASSWORD, Harbor, serving


@dataclass(frozen=True, slots=True)
class Cli:
    """The command line of one user, whose configuration is in a folder of its own."""

    home: Path

    @property
    def file(self) -> Path:
        return self.home / "roadstead" / "credentials.json"

    @property
    def environment(self) -> dict[str, str]:
        return {"XDG_CONFIG_HOME": str(self.home), "NO_PROXY": "*", "COLUMNS": "100"}

    def __call__(self, *arguments: str, given: str = "", **variables: str) -> Result:
        """Run a command in this process; a stack trace is an error of the test."""
        runner = CliRunner(env={**self.environment, "ROADSTEAD_SERVER": None, **variables})
        return runner.invoke(main, arguments, input=given, catch_exceptions=False)

    def json(self, *arguments: str) -> Any:
        """Run a command that must succeed, and return what it printed: JSON and nothing else."""
        done = self(*arguments, "--json")
        assert (done.exit_code, done.stderr) == (0, "")
        return json.loads(done.stdout)

    def login(self, harbor: Harbor, user: str = "admin", password: str = PASSWORD) -> Result:
        return self("login", harbor.url, "-u", user, "--password-stdin", given=password)


@pytest.fixture
def harbor() -> Iterator[Harbor]:
    with serving() as running:
        yield running


@pytest.fixture
def nobody(tmp_path: Path) -> Cli:
    """Return the command line of a user who never logged in."""
    return Cli(tmp_path)


@pytest.fixture
def cli(nobody: Cli, harbor: Harbor) -> Cli:
    """Return the command line of an administrator."""
    assert nobody.login(harbor).exit_code == 0
    harbor.asked.clear()
    return nobody
