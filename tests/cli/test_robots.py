"""Robots: rights in words, names in every form, and secrets that are shown once."""

from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.cli.harbor import Harbor

LIST = """\
NAME      ID  DISABLED  EXPIRES  CREATED
robot$ci  21  no        never    2026-08-01T10:00:00Z
"""
SHOW = """\
Name:         robot$library+build
Id:           22
Level:        project
Description:  -
Disabled:     no
Expires:      never
Rights:       library: repository:pull
Created:      2026-08-01T10:00:00Z
"""
PULL = {"resource": "repository", "action": "pull"}
PUSH = {"resource": "repository", "action": "push"}


def entry(namespace: str, *access: dict[str, str], kind: str = "project") -> dict[str, Any]:
    return {"kind": kind, "namespace": namespace, "access": list(access)}


def test_robots_are_listed_by_level(cli: Cli, harbor: Harbor) -> None:
    assert cli("robot", "list").stdout == LIST
    assert cli("robot", "list", "--project", "library", "-q").stdout == "robot$library+build\n"
    assert cli.json("robot", "list") == harbor.robots[:1]


@pytest.mark.parametrize("name", ["22", "robot$library+build", "library+build"])
def test_a_robot_is_found_by_id_name_and_name_without_prefix(cli: Cli, name: str) -> None:
    assert cli("robot", "show", name).stdout == SHOW


@pytest.mark.parametrize("name", ["robot$ci", "ci"])
def test_a_robot_of_the_system_is_found(cli: Cli, name: str) -> None:
    assert cli("robot", "show", name, "-q").stdout == "robot$ci\n"


@pytest.mark.parametrize("name", ["build", "99", "library+ci", "bot$ci", "nothing+build"])
def test_a_robot_that_is_not_there_is_not_found(cli: Cli, name: str) -> None:
    assert cli("robot", "show", name).exit_code == 4


@pytest.mark.parametrize(
    ("arguments", "level", "permissions"),
    [
        (("--project", "library", "--allow", "pull"), "project", [entry("library", PULL)]),
        (("--project", "library", "--allow", "push", "--allow", "pull"), "project", [entry("library", PUSH, PULL)]),
        (
            ("--project", "library", "--allow", "tag:create"),
            "project",
            [entry("library", {"resource": "tag", "action": "create"})],
        ),
        (
            ("--project", "library", "--allow", "all"),
            "project",
            [entry("library", {"resource": "tag", "action": "list"}, {"resource": "log", "action": "list"})],
        ),
        (("--project", "library", "--system", "--allow", "pull"), "system", [entry("library", PULL)]),
        (
            ("--project", "library", "--project", "web", "--allow", "pull"),
            "system",
            [entry("library", PULL), entry("web", PULL)],
        ),
        (("--all-projects", "--allow", "pull"), "system", [entry("*", PULL)]),
        (
            ("--allow-system", "all"),
            "system",
            [entry("/", {"resource": "catalog", "action": "read"}, kind="system")],
        ),
        (
            ("--project", "web", "--allow", "pull", "--allow-system", "project:create"),
            "system",
            [entry("web", PULL), entry("/", {"resource": "project", "action": "create"}, kind="system")],
        ),
    ],
)
def test_rights_in_words_become_permissions(
    cli: Cli, harbor: Harbor, arguments: tuple[str, ...], level: str, permissions: list[dict[str, Any]]
) -> None:
    assert cli("robot", "create", "new", "--days", "90", "--description", "for CI", *arguments).exit_code == 0
    assert harbor.changes() == [
        (
            "POST",
            "/robots",
            {
                "name": "new",
                "level": level,
                "duration": 90,
                "description": "for CI",
                "disable": False,
                "permissions": permissions,
            },
        )
    ]


def test_a_robot_never_expires_unless_told(cli: Cli, harbor: Harbor) -> None:
    cli("robot", "create", "new", "--project", "library", "--allow", "pull")

    assert harbor.changes()[0][2]["duration"] == -1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Say where it has rights"),
        (("--project", "library"), "go with --allow"),
        (("--allow", "pull"), "Say where it has rights"),
        (("--allow", "pull", "--allow-system", "project:create"), "go with --allow"),
        (("--project", "library", "--allow", "fly"), "'fly' is no right"),
        (("--project", "library", "--allow", "fly:"), "'fly:' is no right"),
        (("--project", "library", "--allow", "pull", "--days", "0"), "--days"),
    ],
)
def test_rights_that_make_no_sense_are_refused(
    cli: Cli, harbor: Harbor, arguments: tuple[str, ...], words: str
) -> None:
    done = cli("robot", "create", "new", *arguments)

    assert done.exit_code == 2
    assert words in done.stderr
    assert harbor.changes() == []


CREATE = ("robot", "create", "new", "--project", "library", "--allow", "pull")


@pytest.mark.parametrize(
    ("command", "name", "secret"),
    [(CREATE, "robot$library+new", "Fresh5ecret"), (("robot", "refresh", "ci"), "robot$ci", "Newer5ecret")],
)
def test_a_secret_is_shown_once_with_a_note_or_alone(
    cli: Cli, command: tuple[str, ...], name: str, secret: str
) -> None:
    done = cli(*command)

    assert done.stdout.splitlines()[1:] == [secret]
    assert name in done.stdout
    assert done.stderr == "Keep the secret now: the server does not show it again.\n"
    assert cli(*command, "-q").output == f"{secret}\n"
    assert cli.json(*command)["secret"] == secret


def test_a_robot_is_switched_off_and_on_and_keeps_the_rest(cli: Cli, harbor: Harbor) -> None:
    before = dict(harbor.robots[1])

    assert cli("robot", "disable", "library+build").stdout == "Robot robot$library+build is disabled.\n"
    assert harbor.robots[1] == {**before, "disable": True}
    assert cli.json("robot", "enable", "library+build") == before
    assert harbor.robots[1] == before


def test_a_robot_is_deleted(cli: Cli, harbor: Harbor) -> None:
    assert cli("robot", "delete", "ci", "--yes").stdout == "Deleted robot robot$ci.\n"
    assert harbor.changes() == [("DELETE", "/robots/21", None)]
