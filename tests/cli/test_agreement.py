"""The command line, and the small Harbor that it is tested against, keep to Harbor's description of its API."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import click
import pytest
from jsonschema import Draft7Validator

from chalicelib.cli.main import main
from tests.cli.conftest import Cli
from tests.cli.harbor import Asked, Harbor
from tests.harbor.facts import FACTS, json_schema, operation
from tests.harbor.schema import problems

BOX = "library/tools/busybox"
# Tags have a past here, what is stored is verified, and there are regions; not so in Harbor.
OURS = re.compile(r".*/(history|undo)|/api/v2.0/system/(verify/.*|regions.*)")
# Runs against the real server in a module of its own.
OF_ITS_OWN = {"doctor"}
WITHOUT_A_SERVER = {"reindex", "run", "serve", "completion", "logout"}

COMMANDS = [
    "status --project library",
    "project list --name lib --public",
    "project create team --quota 5GiB",
    "project show library",
    "project set web public=true",
    "project delete web --yes",
    "member list library",
    "member add library alice developer",
    "member add library staff guest --group",
    "member set library admin maintainer",
    "member remove library admin",
    "robot list",
    "robot list --project library",
    "robot create new --project library --allow push --days 7",
    "robot create new --all-projects --allow all --allow-system all",
    "robot show library+build",
    "robot delete ci --yes",
    "robot refresh ci",
    "robot disable ci",
    "robot enable ci",
    "registry list",
    "registry add other https://registry.example.com -u me --password-stdin",
    "registry ping hub",
    "registry remove hub --yes",
    "replication list",
    "replication show to-the-edge",
    "replication create new --to hub --repository library/** --tag v* --label good --on-push --deletions",
    "replication create new --from hub --at '0 0 2 * * *' --namespace mirror --no-override --speed 100",
    "replication remove to-the-edge --yes",
    "replication run to-the-edge",
    "replication run to-the-edge --no-wait",
    "user list",
    "user create bob --email bob@example.com --password-stdin",
    "user delete alice --yes",
    "user password --password-stdin",
    "user password alice --password-stdin",
    "user admin alice on",
    "repo list",
    "repo list library",
    f"repo show {BOX}",
    f"repo delete {BOX} --yes",
    f"artifact list {BOX}",
    f"artifact list {BOX} --untagged",
    f"artifact show {BOX}:latest",
    f"artifact delete {BOX}:latest --yes",
    f"artifact copy {BOX}:latest web/box",
    f"tag list {BOX}",
    f"tag list {BOX}:latest",
    f"tag retag {BOX}:latest stable",
    f"tag delete {BOX}:latest --yes",
    f"tag history {BOX}:latest",
    f"tag undo {BOX}:latest",
    "gc --dry-run --delete-untagged",
    "verify library",
    "region status",
    "region arrears",
    "region promote --yes",
    "region demote --yes",
    "region rejoin --yes",
]


def names(group: click.Group, before: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from names(command, f"{name} ")
        else:
            yield before + name


def test_every_command_that_asks_a_server_is_here() -> None:
    tried = {name for name in names(main) for command in COMMANDS if f"{command} ".startswith(f"{name} ")}

    assert tried | {"login"} | OF_ITS_OWN | WITHOUT_A_SERVER == set(names(main))


def parameters(asked: Asked) -> list[Mapping[str, Any]]:
    found = operation(asked.method, asked.path)
    assert found, f"Harbor has no {asked.method} {asked.path}"
    return [
        FACTS["parameters"][row["$ref"].rpartition("/")[2]] if "$ref" in row else row
        for row in FACTS["paths"][found.path][asked.method.lower()]["parameters"]
    ]


def check_request(asked: Asked) -> None:
    """Fail where a request is none of Harbor's: its address, its query, its body."""
    known = parameters(asked)
    assert set(asked.query) <= {row["name"] for row in known if row["in"] == "query"}
    body = next((row for row in known if row["in"] == "body"), None)
    assert body or asked.body is None
    if body and asked.body is not None:
        Draft7Validator(json_schema(body["schema"])).validate(asked.body)
    assert asked.body is not None or not body or not body.get("required")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_and_its_answers_are_as_harbor_describes_them(cli: Cli, harbor: Harbor, command: str) -> None:
    done = cli(*shlex.split(command), given="Another1pass")

    assert done.exit_code == 0, done.output
    assert harbor.sent
    for sent in harbor.sent:
        if not OURS.fullmatch(sent.asked.path):
            check_request(sent.asked)
            assert not problems(sent.asked.method, sent.asked.path, sent.status, sent.headers, sent.body)


def test_a_request_that_is_none_of_harbors_would_be_seen() -> None:
    path = "/api/v2.0/projects"
    check_request(Asked("POST", path, {}, {}, {"project_name": "a"}))

    for asked in (
        Asked("POST", path, {}, {}, {"name": "a"}),
        Asked("POST", path, {}, {}, None),
        Asked("GET", path, {"limit": "1"}, {}, None),
        Asked("POST", "/api/v2.0/project", {}, {}, json.loads("{}")),
    ):
        with pytest.raises(Exception, match=r"."):
            check_request(asked)
