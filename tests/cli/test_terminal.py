"""The command line as a person meets it: on a terminal, in a process of its own; and what such a process loads."""

import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.cli.harbor import PASSWORD, Harbor

ROOT = Path(__file__).parents[2]
_SECONDS = 20.0


class Person:
    """Somebody at a terminal who types an answer when a question appears."""

    def __init__(self, cli: Cli, *arguments: str, colour: bool = False) -> None:
        self.master, slave = pty.openpty()
        variables = {"PATH": os.environ["PATH"], "TERM": "xterm", **cli.environment}
        variables |= {} if colour else {"NO_COLOR": "1"}
        command = [sys.executable, "-m", "chalicelib.cli.main", *arguments]
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=variables, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        self.seen = ""

    def reads(self, words: str) -> None:
        """Read until the words were shown."""
        end = time.monotonic() + _SECONDS
        while words not in self.seen:
            assert time.monotonic() < end, self.seen
            if not self._read():
                break
        assert words in self.seen

    def types(self, line: str) -> None:
        os.write(self.master, line.encode() + b"\n")

    def ends(self) -> int:
        """Return the exit status, once everything was shown."""
        while self._read():
            pass
        os.close(self.master)
        return self.process.wait(_SECONDS)

    def _read(self) -> bool:
        try:
            data = os.read(self.master, 4096)
        except OSError:
            return False
        self.seen += data.decode(errors="replace")
        return bool(data)


def test_a_person_logs_in(nobody: Cli, harbor: Harbor) -> None:
    person = Person(nobody, "login", harbor.url)
    person.reads("User: ")
    person.types("admin")
    person.reads("Password: ")
    person.types(PASSWORD)

    assert person.ends() == 0
    assert "Logged in to" in person.seen
    assert PASSWORD not in person.seen


def test_a_new_password_is_asked_for_twice(cli: Cli, harbor: Harbor) -> None:
    person = Person(cli, "user", "password", "alice")
    person.reads("New password: ")
    person.types("Another1pass")
    person.reads("Repeat for confirmation: ")
    person.types("Another1pass")

    assert person.ends() == 0
    assert harbor.passwords["alice"] == "Another1pass"
    assert "Another1pass" not in person.seen


@pytest.mark.parametrize(("answer", "status", "left"), [("y", 0, 0), ("n", 1, 1), ("", 1, 1)])
def test_a_person_is_asked_before_something_is_deleted(
    cli: Cli, harbor: Harbor, answer: str, status: int, left: int
) -> None:
    person = Person(cli, "repo", "delete", "library/nginx")
    person.reads("Delete repository library/nginx with 2 artifacts? [y/N]: ")
    person.types(answer)

    assert person.ends() == status
    assert sum(row["name"] == "library/nginx" for row in harbor.repositories) == left


def test_the_tags_of_an_artifact_are_said_before_it_is_deleted(cli: Cli, harbor: Harbor) -> None:
    person = Person(cli, "artifact", "delete", "library/nginx:latest")
    person.reads("Delete library/nginx:latest (tags: latest, 1.1)? [y/N]: ")
    person.types("n")

    assert person.ends() == 1
    assert len(harbor.artifacts) == 2


@pytest.mark.parametrize("colour", [True, False])
def test_a_table_on_a_terminal_is_drawn(cli: Cli, harbor: Harbor, colour: bool) -> None:
    harbor.projects[0]["name"] = "[red]\x1b[31m"
    person = Person(cli, "project", "list", colour=colour)

    assert person.ends() == 0
    assert "────" in person.seen
    assert r"[red]\x1b[31m" in person.seen
    assert re.search(r"\d+ (month|year)s? ago|days ago|just now|in \d+", person.seen)
    assert ("\x1b[36m" in person.seen) is colour


def loaded(cli: Cli, *arguments: str) -> set[str]:
    """Return the modules that a command has loaded when it ends."""
    script = (
        "import sys\nfrom chalicelib.cli.main import main\n"
        "main(sys.argv[1:], standalone_mode=False)\nprint(*sys.modules, file=sys.stderr)"
    )
    variables = {"PATH": os.environ["PATH"], **cli.environment}
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stderr.split())


SERVER = {"aiohttp", "boto3", "botocore", "nacl", "chalice", "urllib3", "chalicelib.server"}
CLIENT = {"httpx", "rich"}


@pytest.mark.parametrize("arguments", [["--help"], ["project", "list", "--help"], ["completion", "zsh"], ["logout"]])
def test_help_loads_neither_a_server_nor_an_http_client(cli: Cli, arguments: list[str]) -> None:
    assert not (SERVER | CLIENT) & loaded(cli, *arguments)


def test_a_client_loads_no_server(cli: Cli) -> None:
    modules = loaded(cli, "project", "list")

    assert "httpx" in modules
    assert not SERVER & modules
