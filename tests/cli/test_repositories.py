"""Repositories and artifacts."""

import pytest

from tests.cli.conftest import Cli
from tests.cli.harbor import NEW, OLD, TIME, Harbor

BOX = "library/tools/busybox"
AT = "/projects/library/repositories/tools%252Fbusybox"
LIST = """\
NAME                   ARTIFACTS  PULLS  CHANGED
library/tools/busybox  2          7      2026-08-01T10:00:00Z
library/nginx          2          7      2026-08-01T10:00:00Z
"""
SHOW = """\
Name:         library/tools/busybox
Description:  -
Artifacts:    2
Pulls:        7
Created:      2026-08-01T10:00:00Z
Changed:      2026-08-01T10:00:00Z
"""
ARTIFACTS = f"""\
{"DIGEST":71}  TAGS         TYPE   PLATFORM     SIZE     PUSHED                PULLED
{NEW}  latest, 1.1  IMAGE  linux/amd64  2.1 MiB  {TIME[:-5]}Z  never
{OLD}  1.0          IMAGE  linux/amd64  2.1 MiB  {TIME[:-5]}Z  never
"""
ARTIFACT = f"""\
Digest:      {NEW}
Repository:  library/tools/busybox
Tags:        latest, 1.1
Type:        IMAGE
Media type:  application/vnd.oci.image.manifest.v1+json
Platform:    linux/amd64
Size:        2.1 MiB
Refers to:   {OLD} (linux/arm64/v8), sha256:x (-)
Pushed:      2026-08-01T10:00:00Z
Pulled:      never
"""


def test_repositories_are_listed_in_a_project_or_everywhere(cli: Cli, harbor: Harbor) -> None:
    harbor.repositories.append({"name": "web/api"})

    assert cli("repo", "list", "library").stdout == LIST
    assert cli("repo", "list", "-q").stdout.split() == [BOX, "library/nginx", "web/api"]
    assert cli.json("repo", "list") == harbor.repositories


def test_a_repository_with_slashes_is_shown(cli: Cli, harbor: Harbor) -> None:
    assert cli("repo", "show", BOX).stdout == SHOW
    assert harbor.paths() == [AT]


def test_a_repository_is_deleted(cli: Cli, harbor: Harbor) -> None:
    assert cli("repo", "delete", BOX, "--yes").stdout == f"Deleted repository {BOX}.\n"
    assert harbor.changes() == [("DELETE", AT, None)]
    assert cli("repo", "delete", BOX, "--yes").exit_code == 4


def test_artifacts_are_listed(cli: Cli, harbor: Harbor) -> None:
    harbor.artifacts[0]["extra_attrs"]["config"] = {"Env": ["A=b"]}

    assert cli("artifact", "list", BOX).stdout == ARTIFACTS
    assert cli("artifact", "list", BOX, "-q").stdout.split() == [NEW, OLD]
    assert cli.json("artifact", "list", BOX) == harbor.artifacts


def test_artifacts_without_tags_are_listed_alone(cli: Cli, harbor: Harbor) -> None:
    harbor.artifacts[1]["tags"] = []

    assert cli("artifact", "list", BOX, "--untagged", "-q").stdout.split() == [OLD]


@pytest.mark.parametrize("reference", [":latest", f"@{NEW}"])
def test_an_artifact_is_shown_by_tag_or_digest(cli: Cli, harbor: Harbor, reference: str) -> None:
    platform = {"os": "linux", "architecture": "arm64", "variant": "v8"}
    harbor.artifacts[0]["references"] = [
        {"child_digest": OLD, "platform": platform},
        {"child_digest": "sha256:x"},
    ]

    assert cli("artifact", "show", BOX + reference).stdout == ARTIFACT


def test_an_artifact_is_deleted(cli: Cli, harbor: Harbor) -> None:
    assert cli("artifact", "delete", f"{BOX}@{OLD}", "--yes").stdout == f"Deleted {BOX}@{OLD}.\n"
    assert harbor.changes() == [("DELETE", f"{AT}/artifacts/{OLD.replace(':', '%3A')}", None)]


@pytest.mark.parametrize("reference", [":latest", f"@{NEW}"])
def test_an_artifact_is_copied(cli: Cli, harbor: Harbor, reference: str) -> None:
    done = cli("artifact", "copy", BOX + reference, "web/a/b")

    assert done.stdout == f"Copied {BOX}{reference} to web/a/b.\n"
    assert harbor.changes() == [("POST", "/projects/web/repositories/a%252Fb/artifacts", None)]
    assert harbor.asked[-1].query == {"from": BOX + reference}


def test_a_copied_artifact_is_printed_as_json(cli: Cli) -> None:
    assert cli.json("artifact", "copy", f"{BOX}:1.0", "library/nginx")["digest"] == OLD


def test_an_artifact_is_not_copied_to_where_it_is(cli: Cli, harbor: Harbor) -> None:
    assert cli("artifact", "copy", f"{BOX}:1.0", BOX).exit_code == 2
    assert harbor.asked == []


@pytest.mark.parametrize(
    ("command", "argument"),
    [
        (("repo", "show"), "library"),
        (("repo", "show"), f"{BOX}:latest"),
        (("repo", "show"), f"{BOX}@{NEW}"),
        (("repo", "show"), f"{BOX}:"),
        (("repo", "show"), f"{BOX}@"),
        (("repo", "show"), "library/../web"),
        (("repo", "show"), "library//web"),
        (("repo", "show"), "Library/web"),
        (("artifact", "list"), "library/web?x"),
        (("artifact", "show"), BOX),
        (("artifact", "show"), f"{BOX}:"),
        (("artifact", "show"), f"{BOX}@"),
        (("artifact", "show"), f"{BOX}@latest"),
        (("artifact", "show"), f"{BOX}:.."),
        (("artifact", "show"), f"{BOX}@sha256:abc"),
        (("tag", "delete", "--yes"), f"{BOX}@{NEW}"),
        (("tag", "history"), BOX),
        (("tag", "retag", f"{BOX}:latest"), "-x"),
        (("tag", "retag", f"{BOX}:latest"), NEW),
    ],
)
def test_what_names_nothing_of_the_kind_is_refused(
    cli: Cli, harbor: Harbor, command: tuple[str, ...], argument: str
) -> None:
    assert cli(*command, "--", argument).exit_code == 2
    assert harbor.asked == []
