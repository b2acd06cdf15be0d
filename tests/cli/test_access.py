"""Logging in and out: what is kept, where, for whom; and what `status` says."""

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from chalicelib.cli import logins
from tests.cli.conftest import Cli
from tests.cli.harbor import PASSWORD, ROBOT, ROBOT_SECRET, Harbor, serving

ROOT = Path(__file__).parents[2]
STATUS = """\
Server:         {url}
Version:        v2.16.0
Read-only:      no
Health:         healthy
User:           alice
Administrator:  no

COMPONENT  STATUS   ERROR
storage    healthy  -

RESOURCE  ACTIONS
artifact  create, read
"""


@pytest.mark.parametrize(("user", "password"), [("admin", PASSWORD), (ROBOT, ROBOT_SECRET)])
def test_users_and_robots_log_in(nobody: Cli, harbor: Harbor, user: str, password: str) -> None:
    done = nobody.login(harbor, user, password)

    assert (done.exit_code, done.stdout) == (0, f"Logged in to {harbor.url} as {user}.\n")
    assert nobody("project", "list", "-q").stdout.split() == ["library", "web"]


@pytest.mark.parametrize("user", ["admin", ROBOT])
def test_wrong_credentials_are_refused_and_not_kept(nobody: Cli, harbor: Harbor, user: str) -> None:
    done = nobody.login(harbor, user, "wrong")

    assert done.exit_code == 3
    assert done.stderr == f"Error: unauthorized (status 401). Log in again: roadstead login {harbor.url}\n"
    assert not nobody.file.exists()


def test_credentials_are_kept_where_nobody_else_reads_them(cli: Cli) -> None:
    assert stat.S_IMODE(cli.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(cli.file.parent.stat().st_mode) == 0o700
    assert sorted(path.name for path in cli.file.parent.iterdir()) == ["credentials.json", "lock"]


def test_credentials_that_others_can_read_are_not_used(cli: Cli) -> None:
    cli.file.chmod(0o644)

    done = cli("project", "list")

    assert done.exit_code == 3
    assert f"chmod 600 {cli.file}" in done.stderr


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"servers": []}', '{"servers": {"x": 1}, "current": ""}']
)
def test_damaged_credentials_are_named(cli: Cli, harbor: Harbor, content: str) -> None:
    cli.file.write_text(content)

    done = cli("project", "list")

    assert done.exit_code == 3
    assert str(cli.file) in done.stderr
    assert harbor.asked == []


def test_a_new_login_replaces_the_file_whole(cli: Cli, harbor: Harbor) -> None:
    with cli.file.open() as before:
        assert cli.login(harbor, "alice").exit_code == 0

        assert json.load(before)["servers"][harbor.url]["user"] == "admin"
    assert json.loads(cli.file.read_text())["servers"][harbor.url]["user"] == "alice"


def test_without_a_login_commands_say_how_to(nobody: Cli) -> None:
    done = nobody("project", "list")

    assert (done.exit_code, done.stderr) == (3, "Error: You are not logged in. Run: roadstead login URL.\n")


def test_a_server_without_a_login_is_named(cli: Cli) -> None:
    done = cli("project", "list", "--server", "https://other.example.com")

    assert done.exit_code == 3
    assert "Run: roadstead login https://other.example.com" in done.stderr


def test_each_server_has_its_own_login(cli: Cli, harbor: Harbor) -> None:
    with serving() as second:
        second.projects = second.projects[:1]
        cli.login(second, "alice")

        assert cli("project", "list", "-q").stdout == "library\n"
        assert cli("project", "list", "-q", "--server", harbor.url).stdout == "library\nweb\n"
        assert cli("project", "list", "-q", ROADSTEAD_SERVER=harbor.url).stdout == "library\nweb\n"


def test_after_logout_the_only_server_left_is_meant(cli: Cli, harbor: Harbor) -> None:
    with serving() as second:
        cli.login(second)
        done = cli("logout")

        assert done.stdout == f"Logged out from {second.url}.\n"
    assert cli("project", "list", "-q").exit_code == 0
    assert cli("logout", harbor.url).exit_code == 0
    assert cli("logout").exit_code == 3
    assert PASSWORD not in cli.file.read_text()


def test_after_logout_one_of_several_servers_must_be_chosen(cli: Cli, harbor: Harbor) -> None:
    with serving() as second, serving() as third:
        cli.login(second)
        cli.login(third)
        cli("logout")

        done = cli("project", "list")

    assert done.exit_code == 3
    assert f"{harbor.url}, {second.url}: choose with --server" in done.stderr


def test_logins_at_the_same_time_are_all_kept(nobody: Cli) -> None:
    servers = [f"https://host-{number}.example.com" for number in range(16)]
    with pytest.MonkeyPatch.context() as variables:
        variables.setenv("XDG_CONFIG_HOME", str(nobody.home))
        threads = [threading.Thread(target=logins.keep, args=(logins.Login(name, "a", "b"),)) for name in servers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert sorted(logins.read().by_server) == sorted(servers)


def test_a_disk_that_is_full_loses_no_login(cli: Cli, harbor: Harbor) -> None:
    before = cli.file.read_bytes()
    # No file may grow any more; a pipe may.
    script = (
        "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "from chalicelib.cli.main import main\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "login", harbor.url, "-u", "alice", "--password-stdin"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **cli.environment},
        input=PASSWORD,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr == f"Error: Cannot write to {cli.file.parent}: File too large.\n"
    assert cli.file.read_bytes() == before
    assert sorted(path.name for path in cli.file.parent.iterdir()) == ["credentials.json", "lock"]


def test_a_configuration_folder_that_is_none_is_named(nobody: Cli, harbor: Harbor) -> None:
    nobody.file.parent.write_text("a file")

    assert str(nobody.file.parent) in nobody.login(harbor).stderr


def test_passwords_do_not_cross_a_network_in_the_clear(nobody: Cli) -> None:
    done = nobody("login", "http://registry.example.com", "-u", "admin", "--password-stdin", given=PASSWORD)

    assert done.exit_code == 1
    assert "http://registry.example.com is not encrypted" in done.stderr
    assert "--insecure" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("login",), "Missing argument 'URL'"),
        (("login", "ftp://host", "-u", "a"), "'ftp://host' is no server"),
        (("login", "https://", "-u", "a"), "'https://' is no server"),
        (("login", "https://host:port", "-u", "a"), "'https://host:port' is no server"),
        (("login", "https://host:70000", "-u", "a"), "is no server"),
        (("login", "https://[::1", "-u", "a"), "is no server"),
        (("login", "[::1", "-u", "a"), "is no server"),
        (("login", "https://admin:secret@host"), "give the user with -u"),
        (("login", "https://host/harbor/projects"), "A server is https://host or https://host:port"),
        (("login", "https://host", "-u", "a:b"), "no colon"),
        (("login", "https://host"), "add -u"),
        (("login", "https://host", "-u", "a"), "add --password-stdin"),
        (("login", "https://host", "--password-stdin"), "Give the user with -u"),
        (("login", "https://host", "-u", "a", "--password-stdin"), "The password is empty"),
    ],
)
def test_a_mistake_in_a_login_is_said_in_words(nobody: Cli, arguments: tuple[str, ...], words: str) -> None:
    done = nobody(*arguments)

    assert done.exit_code == 2
    assert words in done.stderr


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("registry.example.com", "https://registry.example.com"),
        (" https://Registry.Example.com:443/ ", "https://registry.example.com"),
        ("http://registry.example.com:80", "http://registry.example.com"),
        ("https://registry.example.com:80", "https://registry.example.com:80"),
        ("registry.example.com:5000", "https://registry.example.com:5000"),
        ("localhost:5000", "http://localhost:5000"),
        ("127.0.0.1", "http://127.0.0.1"),
        ("[::1]:5000", "http://[::1]:5000"),
        ("https://[2001:DB8::1]:5000", "https://[2001:db8::1]:5000"),
        ("https://localhost:5000", "https://localhost:5000"),
    ],
)
def test_a_server_has_one_name(address: str, origin: str) -> None:
    assert logins.origin(address) == origin


def test_status_shows_the_server_and_the_rights(cli: Cli, harbor: Harbor) -> None:
    cli.login(harbor, "alice")

    done = cli("status", "--project", "library")

    assert (done.exit_code, done.stdout) == (0, STATUS.format(url=harbor.url))


def test_status_as_json_holds_what_the_api_said(cli: Cli, harbor: Harbor) -> None:
    found = cli.json("status")

    assert found["server"] == harbor.url
    assert found["systeminfo"]["harbor_version"] == "v2.16.0"
    assert found["health"]["components"] == [{"name": "storage", "status": "healthy"}]
    assert found["user"]["username"] == "admin"
    assert {"resource": "project", "action": "create"} in found["permissions"]


def test_status_needs_no_login(nobody: Cli, harbor: Harbor) -> None:
    done = nobody("status", "--server", harbor.url)

    assert done.exit_code == 0
    assert "(anonymous)" in done.stdout
    assert not any("Authorization" in asked.headers for asked in harbor.asked)


def test_status_of_a_robot_asks_for_no_user(nobody: Cli, harbor: Harbor) -> None:
    nobody.login(harbor, ROBOT, ROBOT_SECRET)

    assert ROBOT in nobody("status").stdout


def test_status_fails_where_the_server_is_not_healthy(cli: Cli, harbor: Harbor) -> None:
    harbor.health = "unhealthy"

    done = cli("status")

    assert done.exit_code == 1
    assert "storage    unhealthy" in done.stdout
    assert "is not healthy" in done.stderr
