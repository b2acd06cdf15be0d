"""Tags: listed, added, removed, and their way back."""

import pytest

from tests.cli.conftest import Cli
from tests.cli.harbor import NEW, OLD, TIME, Harbor

BOX = "library/tools/busybox"
AT = "/projects/library/repositories/tools%252Fbusybox"
THEN = f"{TIME[:-5]}Z"
LIST = f"""\
TAG     {"DIGEST":71}  IMMUTABLE  PUSHED                PULLED
latest  {NEW}  no         {THEN}  never
1.1     {NEW}  no         {THEN}  never
1.0     {OLD}  no         {THEN}  never
"""
HISTORY = f"""\
{"DIGEST":71}  STATE    SIZE   TIME                  VERSION
{NEW}  current  420 B  {THEN}  v2
{OLD}  -        410 B  {THEN}  v1
{OLD}  deleted  0 B    {THEN}  v0
"""


def test_the_tags_of_a_repository_are_listed_with_their_digests(cli: Cli, harbor: Harbor) -> None:
    assert cli("tag", "list", BOX).stdout == LIST
    assert [row["name"] for row in cli.json("tag", "list", BOX)] == ["latest", "1.1", "1.0"]
    assert harbor.asked[0].query["q"] == "tags=*"


def test_the_tags_of_one_artifact_are_listed(cli: Cli) -> None:
    assert cli("tag", "list", f"{BOX}:1.1", "-q").stdout.split() == ["latest", "1.1"]
    assert cli.json("tag", "list", f"{BOX}@{OLD}")[0]["digest"] == OLD


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
def test_a_limit_counts_tags_not_artifacts(cli: Cli, limit: int) -> None:
    names = cli("tag", "list", BOX, "-q", "--limit", str(limit)).stdout.split()

    assert names == ["latest", "1.1", "1.0"][:limit]


def test_an_artifact_gets_another_tag(cli: Cli, harbor: Harbor) -> None:
    done = cli("tag", "retag", f"{BOX}:latest", "stable")

    assert done.stdout == f"{BOX}:stable is now {BOX}:latest.\n"
    assert harbor.changes() == [("POST", f"{AT}/artifacts/latest/tags", {"name": "stable"})]
    assert cli("tag", "retag", f"{BOX}:latest", "more", "-q").stdout == f"{BOX}:more\n"
    assert cli.json("tag", "retag", f"{BOX}@{OLD}", "old")["digest"] == OLD


def test_a_tag_that_names_another_artifact_is_left_alone(cli: Cli) -> None:
    done = cli("tag", "retag", f"{BOX}:latest", "1.0")

    assert done.exit_code == 1
    assert "tag 1.0 already exists (status 409)" in done.stderr


def test_a_tag_is_deleted(cli: Cli, harbor: Harbor) -> None:
    assert cli("tag", "delete", f"{BOX}:1.1", "--yes").stdout == f"Deleted tag {BOX}:1.1.\n"
    assert harbor.changes() == [("DELETE", f"{AT}/artifacts/1.1/tags/1.1", None)]
    assert cli("tag", "delete", f"{BOX}:1.1", "--yes").exit_code == 4


def test_the_history_of_a_tag_is_shown_newest_first(cli: Cli, harbor: Harbor) -> None:
    assert cli("tag", "history", f"{BOX}:latest").stdout == HISTORY
    assert cli.json("tag", "history", f"{BOX}:latest") == harbor.history
    assert harbor.paths()[0] == f"{AT}/tags/latest/history"


@pytest.mark.parametrize(
    ("arguments", "body", "digest"),
    [((), {}, OLD), (("--version", "v2"), {"version": "v2"}, NEW)],
)
def test_a_tag_goes_back(
    cli: Cli, harbor: Harbor, arguments: tuple[str, ...], body: dict[str, str], digest: str
) -> None:
    done = cli("tag", "undo", f"{BOX}:latest", *arguments)

    assert done.stdout == f"{BOX}:latest is {digest} again.\n"
    assert harbor.changes() == [("POST", f"{AT}/tags/latest/undo", body)]
    assert cli("tag", "undo", f"{BOX}:latest", "-q").stdout == f"{OLD}\n"
    assert cli.json("tag", "undo", f"{BOX}:latest") == {"digest": OLD}


def test_a_tag_with_nothing_to_go_back_to_stays(cli: Cli, harbor: Harbor) -> None:
    harbor.history = []

    done = cli("tag", "undo", f"{BOX}:latest")

    assert done.exit_code == 4
    assert f"(status 404). Its states are in: roadstead tag history {BOX}:latest" in done.stderr
    assert "roadstead" not in cli("artifact", "show", f"{BOX}:nothere").stderr
