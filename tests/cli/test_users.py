"""Users: by name, with passwords that come from standard input and stay out of sight."""

import pytest

from tests.cli.conftest import Cli
from tests.cli.harbor import PASSWORD, Answer, Harbor, serving

LIST = """\
NAME   ID  REAL NAME  EMAIL              ADMINISTRATOR  CREATED
admin  1   Admin      admin@example.com  yes            2026-08-01T10:00:00Z
alice  7   Alice      alice@example.com  no             2026-08-01T10:00:00Z
"""


def test_users_are_listed(cli: Cli, harbor: Harbor) -> None:
    assert cli("user", "list").stdout == LIST
    assert cli.json("user", "list") == harbor.users


def test_only_administrators_see_the_users(cli: Cli, harbor: Harbor) -> None:
    cli.login(harbor, "alice")

    done = cli("user", "list")

    assert done.exit_code == 1
    assert "forbidden (status 403)" in done.stderr


def test_a_user_is_created(cli: Cli, harbor: Harbor) -> None:
    done = cli("user", "create", "bob", "--email", "bob@example.com", "--password-stdin", given="Secret123\r\n")

    assert done.stdout == "Created user bob.\n"
    body = {
        "username": "bob",
        "realname": "bob",
        "email": "bob@example.com",
        "comment": "",
        "password": "Secret123",
    }
    assert harbor.changes() == [("POST", "/users", body)]


def test_a_created_user_is_printed_as_json_without_the_password(cli: Cli) -> None:
    done = cli("user", "create", "bob", "--email", "b@c.d", "--password-stdin", "--json", given="Secret123")

    assert '"username": "bob"' in done.stdout
    assert "Secret123" not in done.output


def test_without_a_terminal_the_password_must_come_from_standard_input(cli: Cli, harbor: Harbor) -> None:
    done = cli("user", "create", "bob", "--email", "b@c.d", given="Secret123")

    assert done.exit_code == 2
    assert "add --password-stdin" in done.stderr
    assert harbor.changes() == []


def test_a_user_is_deleted_by_name_or_id(cli: Cli, harbor: Harbor) -> None:
    assert cli("user", "delete", "alice", "--yes").stdout == "Deleted user alice.\n"
    assert cli("user", "delete", "1", "--yes").stdout == "Deleted user admin.\n"
    assert harbor.changes() == [("DELETE", "/users/7", None), ("DELETE", "/users/1", None)]


def test_a_name_of_digits_goes_before_an_id(cli: Cli, harbor: Harbor) -> None:
    harbor.users.append({**harbor.users[1], "user_id": 9, "username": "7"})

    cli("user", "delete", "7", "--yes")

    assert harbor.changes() == [("DELETE", "/users/9", None)]


@pytest.mark.parametrize("name", ["bob", "99", "..", "٣"])
def test_a_user_who_is_not_there_is_not_found(cli: Cli, harbor: Harbor, name: str) -> None:
    assert cli("user", "delete", name, "--yes").exit_code == 4
    assert harbor.paths() == (["/users", "/users/99"] if name == "99" else ["/users"])


def test_a_server_that_filters_loosely_deletes_nobody_else(cli: Cli, harbor: Harbor) -> None:
    harbor.instead["GET", "/users"] = Answer(200, [{"user_id": 9, "username": "Bob"}, {"user_id": 8}])

    assert cli("user", "delete", "bob", "--yes").exit_code == 4
    assert harbor.changes() == []


def test_a_password_changed_elsewhere_leaves_the_current_server(cli: Cli, harbor: Harbor) -> None:
    with serving() as second:
        cli.login(second)
        cli("user", "password", "--password-stdin", "--server", harbor.url, given="Another1pass")

        assert cli("status", "-q").stdout == f"{second.url}\n"
    assert cli("status", "-q", "--server", harbor.url).exit_code == 0


def test_who_changes_their_own_password_stays_logged_in(cli: Cli, harbor: Harbor) -> None:
    done = cli("user", "password", "--password-stdin", given="Another1pass\n")

    assert done.stdout == "Changed the password of admin.\n"
    body = {"old_password": PASSWORD, "new_password": "Another1pass"}
    assert harbor.changes() == [("PUT", "/users/1/password", body)]
    assert cli("project", "list").exit_code == 0


@pytest.mark.parametrize("name", ["admin", "1"])
def test_ones_own_name_or_id_means_ones_own_password(cli: Cli, harbor: Harbor, name: str) -> None:
    assert cli("user", "password", name, "--password-stdin", given="Another1pass").exit_code == 0
    assert harbor.changes()[0][2]["old_password"] == PASSWORD
    assert cli("project", "list").exit_code == 0


def test_an_administrator_sets_the_password_of_another(cli: Cli, harbor: Harbor) -> None:
    assert cli("user", "password", "alice", "--password-stdin", given="Another1pass").exit_code == 0
    assert harbor.changes() == [("PUT", "/users/7/password", {"new_password": "Another1pass"})]
    assert cli("project", "list").exit_code == 0


def test_a_password_that_is_refused_is_not_kept(cli: Cli, harbor: Harbor) -> None:
    harbor.passwords["alice"] = "Changed1meanwhile"

    assert cli("user", "password", "bob", "--password-stdin", given="Another1pass").exit_code == 4
    assert cli("user", "password", "--password-stdin").exit_code == 2
    assert cli("project", "list").exit_code == 0


@pytest.mark.parametrize(("state", "sentence"), [("on", "an administrator now"), ("off", "no administrator")])
def test_administrators_are_made_and_unmade(cli: Cli, harbor: Harbor, state: str, sentence: str) -> None:
    assert cli("user", "admin", "alice", state).stdout == f"alice is {sentence}.\n"
    assert harbor.changes() == [("PUT", "/users/7/sysadmin", {"sysadmin_flag": state == "on"})]
