"""Replication from the command line: policies listed and shown, one run and followed to its end."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.cli.harbor import Harbor

LIST = """\
NAME         ID  FROM   TO   FILTERS                       TRIGGER    ENABLED
to-the-edge  51  Local  hub  name=library/** tag!=*-dev    scheduled  yes
"""
TASKS = """\
FROM                                TO                                 OPERATION  STATUS
library/app1 [1 item(s) in total]   mirror/app1 [1 item(s) in total]   copy       {}
library/app2 [1 item(s) in total]   mirror/app2 [1 item(s) in total]   copy       Succeed
"""


def squeezed(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_policies_are_listed(cli: Cli, harbor: Harbor) -> None:
    assert squeezed(cli("replication", "list").stdout) == squeezed(LIST)
    assert cli("replication", "list", "-q").stdout == "to-the-edge\n"
    assert cli.json("replication", "list") == harbor.replications


def test_a_policy_is_shown_with_its_last_executions(cli: Cli) -> None:
    shown = cli("replication", "show", "51").stdout

    assert "CRON:       0 0 2 * * *\n" in shown
    assert "NAMESPACE:  mirror\n" in shown
    assert squeezed(shown)[-1][:3] == ["61", "InProgress", "manual"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--to hub", {"dest_registry": {"id": 31}, "filters": [], "trigger": {"type": "manual"}}),
        (
            "--from 31 --at 0|0|2|*|*|* --no-override --speed 100 --namespace mirror",
            {
                "src_registry": {"id": 31},
                "trigger": {"type": "scheduled", "trigger_settings": {"cron": "0 0 2 * * *"}},
                "override": False,
                "speed": 100,
                "dest_namespace": "mirror",
            },
        ),
        (
            "--to hub --on-push --deletions --repository library/** --tag v* --label a --label b",
            {
                "trigger": {"type": "event_based"},
                "replicate_deletion": True,
                "filters": [
                    {"type": "name", "value": "library/**"},
                    {"type": "tag", "value": "v*"},
                    {"type": "label", "value": ["a", "b"]},
                ],
            },
        ),
    ],
    ids=["by hand", "scheduled", "on push"],
)
def test_a_policy_is_created(cli: Cli, harbor: Harbor, options: str, said: Mapping[str, Any]) -> None:
    done = cli("replication", "create", "new", *(option.replace("|", " ") for option in options.split()))

    assert (done.exit_code, done.stdout) == (0, "Created policy new.\n")
    [(method, where, body)] = harbor.changes()
    assert (method, where) == ("POST", "/replication/policies")
    assert {"name": "new", "enabled": True, **said}.items() <= body.items()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("", "--to REGISTRY or --from REGISTRY"),
        ("--to hub --from hub", "--to REGISTRY or --from REGISTRY"),
        ("--to hub --on-push --at @daily", "a policy has one"),
        ("--from hub --on-push", "use --at"),
        ("--to other", "roadstead registry list"),
    ],
)
def test_a_policy_that_cannot_be_is_not_created(cli: Cli, harbor: Harbor, options: str, said: str) -> None:
    done = cli("replication", "create", "new", *options.split())

    assert done.exit_code != 0
    assert said in done.output
    assert harbor.changes() == []


def test_a_policy_is_removed_once_that_is_confirmed(cli: Cli, harbor: Harbor) -> None:
    assert cli("replication", "remove", "to-the-edge").exit_code == 2
    assert harbor.changes() == []
    assert cli("replication", "remove", "to-the-edge", "--yes").stdout == "Removed policy to-the-edge.\n"
    assert harbor.replications == []


def test_a_policy_that_is_not_there_is_said(cli: Cli) -> None:
    done = cli("replication", "run", "other")

    assert done.exit_code == 4
    assert "roadstead replication list" in done.stderr


def test_a_run_says_how_far_it_is_and_what_was_copied(cli: Cli, harbor: Harbor) -> None:
    done = cli("replication", "run", "to-the-edge")

    assert done.exit_code == 0
    assert done.stderr.splitlines() == [
        "0 of 2 repositories are done, 0 failed",
        "1 of 2 repositories are done, 0 failed",
        "2 of 2 repositories are done, 0 failed",
    ]
    assert squeezed(done.stdout) == squeezed(TASKS.format("Succeed"))
    assert harbor.changes() == [("POST", "/replication/executions", {"policy_id": 51})]


def test_a_run_that_failed_says_why_and_fails(cli: Cli, harbor: Harbor) -> None:
    harbor.copying = [("Failed", 1, 1)]

    done = cli("replication", "run", "to-the-edge")

    assert done.exit_code == 1
    assert squeezed(done.stdout) == squeezed(TASKS.format("Failed"))
    assert "ERR library/app1:v1: it does not fit" in done.stderr
    assert "app2" not in done.stderr
    assert "ended with the status Failed" in done.stderr


def test_a_dry_run_says_what_would_be_copied(cli: Cli, harbor: Harbor) -> None:
    done = cli("replication", "run", "to-the-edge", "--dry-run")

    [asked] = [each for each in harbor.asked if each.method == "POST"]
    assert (asked.body, asked.query) == ({"policy_id": 51}, {"dry_run": "true"})
    assert "library/app2:v1" in done.stderr


def test_a_run_can_be_left_alone(cli: Cli, harbor: Harbor) -> None:
    assert cli("replication", "run", "to-the-edge", "--no-wait", "-q").stdout == "61\n"
    assert all("/tasks" not in asked.path for asked in harbor.asked)
