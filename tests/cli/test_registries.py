"""Other registries: listed, added with a secret that nobody sees, asked, removed."""

import pytest

from tests.cli.conftest import Cli
from tests.cli.harbor import Harbor

LIST = """\
NAME  ID  TYPE        URL                     USER  INSECURE  STATUS
hub   31  docker-hub  https://hub.docker.com  me    no        healthy
"""


def test_registries_are_listed(cli: Cli, harbor: Harbor) -> None:
    assert cli("registry", "list").stdout == LIST
    assert cli("registry", "list", "-q").stdout == "hub\n"
    assert cli.json("registry", "list") == harbor.registries


def test_a_registry_is_added_with_a_secret_that_is_in_no_command_line(cli: Cli, harbor: Harbor) -> None:
    url = "https://registry.example.com"
    done = cli(
        "registry", "add", "r", url, "--type", "harbor", "-u", "me", "--skip-verify", "--password-stdin", given="pw"
    )

    assert (done.exit_code, done.stdout) == (0, "Added registry r.\n")
    assert harbor.changes() == [
        (
            "POST",
            "/registries",
            {
                "name": "r",
                "url": url,
                "type": "harbor",
                "credential": {"type": "basic", "access_key": "me", "access_secret": "pw"},
                "description": "",
                "insecure": True,
            },
        )
    ]


def test_a_registry_that_everybody_may_read_needs_no_secret(cli: Cli, harbor: Harbor) -> None:
    assert cli("registry", "add", "r", "https://registry.example.com").exit_code == 0
    assert harbor.changes()[0][2]["credential"] == {}


def test_a_name_that_is_taken_is_said(cli: Cli) -> None:
    done = cli("registry", "add", "hub", "https://hub.docker.com")

    assert done.exit_code != 0
    assert "choose another" in done.output


@pytest.mark.parametrize("name", ["hub", "31"])
def test_a_registry_is_asked_and_removed_by_name_or_id(cli: Cli, harbor: Harbor, name: str) -> None:
    assert cli("registry", "ping", name).stdout == "Registry hub answers.\n"
    harbor.registries[0]["status"] = "unhealthy"
    assert "it did not answer" in cli("registry", "ping", name).output
    assert cli("registry", "remove", name).exit_code == 2
    assert cli("registry", "remove", name, "--yes").stdout == "Removed registry hub.\n"
    assert harbor.registries == []
    assert cli("registry", "remove", name, "--yes").exit_code == 4
