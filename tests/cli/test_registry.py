"""The command line and the registry itself, as `roadstead run` starts it: a story of one team."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.server.pushing import content, image, push_blob, push_manifest
from tests.server.running import PASSWORD, Server, started


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with started(["run"], tmp_path_factory.mktemp("registry"), {"ROADSTEAD_ADMIN_PASSWORD": PASSWORD}) as running:
        yield running


@pytest.fixture
def admin(tmp_path: Path, registry: Server) -> Cli:
    return _logged_in(tmp_path, registry, "admin", PASSWORD)


def _logged_in(home: Path, registry: Server, user: str, password: str) -> Cli:
    cli = Cli(home)
    done = cli("login", registry.url, "-u", user, "--password-stdin", given=password)
    assert done.exit_code == 0, done.output
    return cli


def push(registry: Server, repository: str, tag: str, number: int) -> str:
    """Push an image and return its digest."""
    config, layer = b'{"os": "linux", "architecture": "arm64"}', content(f"layer {number}", 1000)
    push_blob(registry, repository, config)
    push_blob(registry, repository, layer)
    return push_manifest(registry, repository, tag, image(config, [layer]))


def did(cli: Cli, *arguments: str, given: str = "") -> str:
    """Return what a command printed that must succeed."""
    done = cli(*arguments, given=given)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_team_works_with_its_project(admin: Cli, registry: Server, tmp_path: Path) -> None:
    did(admin, "project", "create", "team", "--quota", "1GiB")
    did(admin, "user", "create", "alice", "--email", "alice@example.com", "--password-stdin", given="Secret123a")
    did(admin, "member", "add", "team", "alice", "developer")
    secret = did(admin, "robot", "create", "ci", "--project", "team", "--allow", "push", "-q").strip()
    alice = _logged_in(tmp_path / "alice", registry, "alice", "Secret123a")
    robot = _logged_in(tmp_path / "robot", registry, "robot$team+ci", secret)

    assert did(alice, "project", "list", "--private", "-q") == "team\n"
    assert "team" in did(robot, "project", "list", "-q").split()
    assert "Your role:      developer" in did(alice, "project", "show", "team")
    assert alice("user", "list").exit_code == 1
    assert alice("member", "set", "team", "alice", "project-admin").exit_code == 1

    did(admin, "robot", "disable", "team+ci")
    assert robot("project", "list").exit_code == 3
    did(admin, "robot", "enable", "team+ci")
    assert robot("project", "list").exit_code == 0
    did(admin, "robot", "refresh", "team+ci", "-q")
    assert robot("project", "list").exit_code == 3

    did(admin, "member", "remove", "team", "alice")
    assert alice("project", "show", "team").exit_code in (1, 4)
    did(alice, "user", "password", "--password-stdin", given="Another1pass")
    assert did(alice, "status", "-q").strip() == registry.url


def test_what_is_stored_is_verified_and_garbage_collected(admin: Cli, registry: Server) -> None:
    did(admin, "project", "create", "kept")
    push(registry, "kept/app", "v1", 7)

    assert did(admin, "verify", "--sample", "100") == "Nothing is wrong.\n"
    assert did(admin, "verify", "kept/app", "--repair") == "Nothing is wrong.\n"
    for missing in ("project nothere", "repository kept/nothere"):
        refused = admin("verify", missing.split()[1])
        assert (refused.exit_code, refused.stdout) == (4, "")
        assert f"{missing} not found (status 404)." in refused.stderr
    assert "FREED:      0 B" in did(admin, "gc")
    assert admin.json("artifact", "show", "kept/app:v1")


def test_a_tag_has_a_past(admin: Cli, registry: Server) -> None:
    did(admin, "project", "create", "past")
    first, second = push(registry, "past/a/b", "latest", 1), push(registry, "past/a/b", "latest", 2)

    assert did(admin, "repo", "list", "past", "-q") == "past/a/b\n"
    assert [row["digest"] for row in admin.json("tag", "history", "past/a/b:latest")] == [second, first]
    assert did(admin, "tag", "undo", "past/a/b:latest", "-q").strip() == first
    assert admin.json("artifact", "show", "past/a/b:latest")["digest"] == first

    did(admin, "tag", "delete", "past/a/b:latest", "--yes")
    assert admin("artifact", "show", "past/a/b:latest").exit_code == 4
    assert did(admin, "tag", "undo", "past/a/b:latest", "-q").strip() == first
    assert admin("tag", "undo", "past/a/b:never").exit_code == 4


def test_artifacts_are_tagged_copied_and_deleted(admin: Cli, registry: Server) -> None:
    for name in ("from", "to"):
        did(admin, "project", "create", name)
    digest = push(registry, "from/tools/box", "1.0", 3)
    did(admin, "tag", "retag", "from/tools/box:1.0", "stable")
    did(admin, "artifact", "copy", "from/tools/box:stable", "to/box")

    assert set(did(admin, "tag", "list", "from/tools/box", "-q").split()) == {"1.0", "stable"}
    assert did(admin, "artifact", "list", "to/box", "-q").strip() == digest
    assert "linux/arm64" in did(admin, "artifact", "show", f"to/box@{digest}")
    assert admin("tag", "retag", "from/tools/box:1.0", "stable").exit_code == 1
    assert admin("project", "delete", "from", "--yes").exit_code == 1

    did(admin, "artifact", "delete", f"from/tools/box@{digest}", "--yes")
    assert did(admin, "artifact", "list", "from/tools/box", "-q") == ""
    did(admin, "repo", "delete", "from/tools/box", "--yes")
    did(admin, "project", "delete", "from", "--yes")
    assert admin("project", "show", "from").exit_code == 4


def test_lists_of_the_registry_are_followed_to_their_end(admin: Cli, registry: Server) -> None:
    for number in range(101):
        answer = registry.ask(
            "POST",
            "/api/v2.0/projects",
            registry.admin | {"Content-Type": "application/json"},
            b'{"project_name": "many-%03d"}' % number,
        )
        assert answer.status == 201

    names = did(admin, "project", "list", "--name", "many-", "-q").split()

    assert sorted(names) == [f"many-{number:03}" for number in range(101)]
    assert did(admin, "project", "list", "--name", "many-", "-q", "--limit", "100").split() == names[:100]
