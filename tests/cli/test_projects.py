"""Projects and members: what is asked for, and how it is shown."""

import pytest

from tests.cli.conftest import Cli
from tests.cli.harbor import Harbor

LIST = """\
NAME     ACCESS   ROLE           REPOSITORIES  CREATED
library  public   project-admin  2             2026-08-01T10:00:00Z
web      private  maintainer     0             2026-08-01T10:00:00Z
"""
SHOW = """\
Name:           web
Id:             2
Access:         private
Your role:      maintainer
Owner:          admin
Repositories:   0
Storage used:   1.4 MiB
Storage limit:  unlimited
Settings:       auto_scan=true, public=false
Created:        2026-08-01T10:00:00Z
"""
MEMBERS = """\
NAME   KIND   ROLE
admin  user   project-admin
staff  group  limited-guest
"""


def test_projects_are_listed(cli: Cli, harbor: Harbor) -> None:
    assert cli("project", "list").stdout == LIST
    assert cli("project", "list", "-q").stdout == "library\nweb\n"
    assert cli.json("project", "list") == harbor.projects


@pytest.mark.parametrize(
    ("arguments", "names"),
    [(("--name", "li"), ["library"]), (("--public",), ["library"]), (("--private",), ["web"])],
)
def test_projects_are_filtered_by_the_server(cli: Cli, arguments: tuple[str, ...], names: list[str]) -> None:
    assert cli("project", "list", "-q", *arguments).stdout.split() == names


def test_a_project_is_shown_with_what_it_stores(cli: Cli) -> None:
    assert cli("project", "show", "web").stdout == SHOW
    assert cli.json("project", "show", "web")["summary"]["quota"]["used"] == {"storage": 1_500_000}


def test_a_project_is_created(cli: Cli, harbor: Harbor) -> None:
    done = cli("project", "create", "team", "--public", "--quota", "1.5GiB")

    assert (done.exit_code, done.stdout) == (0, "Created project team.\n")
    body = {"project_name": "team", "metadata": {"public": "true"}, "storage_limit": 1_610_612_736}
    assert harbor.changes() == [("POST", "/projects", body)]


def test_a_project_is_created_as_a_cache_of_a_registry(cli: Cli, harbor: Harbor) -> None:
    registry = harbor.registries[0]

    assert cli("project", "create", "hub", "--proxy", registry["name"]).exit_code == 0
    assert cli("project", "create", "hub2", "--proxy", "nowhere").exit_code != 0

    [(_, _, body)] = harbor.changes()
    assert body["registry_id"] == registry["id"]


@pytest.mark.parametrize("size", ["much", "-5", "1e3"])
def test_a_quota_is_a_size(cli: Cli, harbor: Harbor, size: str) -> None:
    done = cli("project", "create", "team", f"--quota={size}")

    assert done.exit_code == 2
    assert f"'{size}' is no size: write it as 10GiB, 500MiB or unlimited" in done.stderr
    assert harbor.asked == []


def test_a_created_project_is_printed_as_json(cli: Cli) -> None:
    assert cli.json("project", "create", "team")["name"] == "team"
    assert cli("project", "create", "second", "-q").stdout == "second\n"


def test_a_project_that_is_there_is_not_created_again(cli: Cli) -> None:
    done = cli("project", "create", "web")

    assert done.exit_code == 1
    assert "project web already exists (status 409)" in done.stderr


def test_a_project_is_deleted(cli: Cli, harbor: Harbor) -> None:
    assert cli("project", "delete", "web", "--yes").stdout == "Deleted project web.\n"
    assert [row["name"] for row in harbor.projects] == ["library"]
    assert cli("project", "show", "web").exit_code == 4


def test_a_project_that_holds_repositories_is_not_deleted(cli: Cli) -> None:
    done = cli("project", "delete", "library", "--yes")

    assert done.exit_code == 1
    assert "the project library holds repositories (status 412)" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("project", "delete", "web"),
        ("repo", "delete", "library/nginx"),
        ("artifact", "delete", "library/nginx:latest"),
        ("tag", "delete", "library/nginx:latest"),
        ("robot", "delete", "ci"),
        ("user", "delete", "alice"),
    ],
)
def test_nothing_is_deleted_unasked(cli: Cli, harbor: Harbor, arguments: tuple[str, ...]) -> None:
    done = cli(*arguments, given="y\n")

    assert done.exit_code == 2
    assert "Nobody is here to ask: add --yes." in done.stderr
    assert harbor.changes() == []


def test_settings_are_changed_together(cli: Cli, harbor: Harbor) -> None:
    done = cli("project", "set", "web", "public=true", "severity=high")

    assert done.stdout == "Changed project web.\n"
    assert harbor.changes() == [("PUT", "/projects/web", {"metadata": {"public": "true", "severity": "high"}})]
    assert cli.json("project", "set", "web", "public=false")["metadata"]["public"] == "false"


def test_a_setting_that_the_server_passes_over_is_an_error(cli: Cli) -> None:
    done = cli("project", "set", "web", "severty=high")

    assert done.exit_code == 1
    assert "does not know the setting severty" in done.stderr


@pytest.mark.parametrize("setting", ["public", "=true", ""])
def test_a_setting_has_a_key_and_a_value(cli: Cli, harbor: Harbor, setting: str) -> None:
    done = cli("project", "set", "web", setting)

    assert done.exit_code == 2
    assert harbor.changes() == []


@pytest.mark.parametrize("name", ["..", ".", "a/b", "Web", "", "a?b", "a%2Fb", "-a"])
@pytest.mark.parametrize("command", [("project", "show"), ("project", "delete", "--yes"), ("member", "list")])
def test_a_name_that_is_none_is_never_part_of_a_path(
    cli: Cli, harbor: Harbor, command: tuple[str, ...], name: str
) -> None:
    assert cli(*command, "--", name).exit_code == 2
    assert harbor.asked == []


def test_members_are_listed(cli: Cli, harbor: Harbor) -> None:
    harbor.members.append({"id": 12, "entity_name": "staff", "entity_type": "g", "role_id": 5})

    assert cli("member", "list", "library").stdout == MEMBERS
    assert cli.json("member", "list", "library") == harbor.members


@pytest.mark.parametrize(
    ("arguments", "body"),
    [
        (("alice", "maintainer"), {"role_id": 4, "member_user": {"username": "alice"}}),
        (("staff", "guest", "--group"), {"role_id": 3, "member_group": {"id": 31}}),
    ],
)
def test_users_and_groups_become_members(
    cli: Cli, harbor: Harbor, arguments: tuple[str, ...], body: dict[str, object]
) -> None:
    done = cli("member", "add", "library", *arguments)

    assert done.stdout == f"{arguments[0]} is now {arguments[1]} in library.\n"
    assert harbor.changes() == [("POST", "/projects/library/members", body)]


def test_the_member_meant_is_the_one_of_exactly_that_name_and_kind(cli: Cli, harbor: Harbor) -> None:
    harbor.members += [
        {"id": 12, "entity_name": "alice2", "entity_type": "u", "role_id": 3},
        {"id": 13, "entity_name": "alice", "entity_type": "g", "role_id": 3},
        {"id": 14, "entity_name": "alice", "entity_type": "u", "role_id": 3},
    ]

    assert cli("member", "set", "library", "alice", "developer").exit_code == 0
    assert cli("member", "remove", "library", "alice", "--group").exit_code == 0
    assert harbor.changes() == [
        ("PUT", "/projects/library/members/14", {"role_id": 2}),
        ("DELETE", "/projects/library/members/13", None),
    ]


def test_who_is_no_member_is_not_found(cli: Cli) -> None:
    done = cli("member", "remove", "library", "bob")

    assert done.exit_code == 4
    assert done.stderr == "Error: bob is no member of library. Run: roadstead member list library\n"


def test_a_group_that_is_not_there_becomes_no_member(cli: Cli, harbor: Harbor) -> None:
    done = cli("member", "add", "library", "sta", "guest", "--group")

    assert (done.exit_code, done.stderr) == (4, "Error: There is no group sta.\n")
    assert harbor.changes() == []


def test_a_role_is_one_of_five(cli: Cli) -> None:
    done = cli("member", "add", "library", "alice", "captain")

    assert done.exit_code == 2
    for role in ("project-admin", "maintainer", "developer", "guest", "limited-guest"):
        assert role in done.stderr
