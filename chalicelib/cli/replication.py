"""`roadstead replication`: policies that copy to and from other registries, run and watched.

Invariant: an execution is the server's: who stops waiting stops nothing, and is told how to.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import click

from chalicelib.cli import session, text
from chalicelib.cli.client import Client, Json, path
from chalicelib.cli.failures import CommandError, Exit
from chalicelib.cli.output import Column, Form, Look, as_time, as_yes, plain
from chalicelib.cli.session import Session

_RUNNING, _DONE = "InProgress", "Succeed"
_ENDED = frozenset({_DONE, "Failed", "Stopped"})
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 3.0
_SHOWN = 10


def _as_pattern(value: Any, _look: Look) -> str:
    """Write the filters of a policy in one line."""
    filters = value if isinstance(value, list) else []
    shown = [_as_filter(each) for each in filters if isinstance(each, Mapping)]
    return text.clean(" ".join(shown)) or "everything"


def _as_filter(given: Mapping[str, Any]) -> str:
    value = given.get("value")
    values = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return f"{given.get('type')}{'!' if given.get('decoration') == 'excludes' else ''}={values}"


_POLICIES = (
    Column("NAME", "name", plain),
    Column("ID", "id", plain),
    Column("FROM", "src_registry.name", plain),
    Column("TO", "dest_registry.name", plain),
    Column("FILTERS", "filters", _as_pattern),
    Column("TRIGGER", "trigger.type", plain),
    Column("ENABLED", "enabled", as_yes),
)
_POLICY = (
    *_POLICIES,
    Column("CRON", "trigger.trigger_settings.cron", plain),
    Column("NAMESPACE", "dest_namespace", plain),
    Column("OVERRIDE", "override", as_yes),
    Column("DELETIONS", "replicate_deletion", as_yes),
    Column("KB/S", "speed", plain),
)
_EXECUTIONS = (
    Column("EXECUTION", "id", plain),
    Column("STATUS", "status", plain),
    Column("TRIGGER", "trigger", plain),
    Column("STARTED", "start_time", as_time),
    Column("REPOSITORIES", "total", plain),
    Column("FAILED", "failed", plain),
)
_TASKS = (
    Column("FROM", "src_resource", plain),
    Column("TO", "dst_resource", plain),
    Column("OPERATION", "operation", plain),
    Column("STATUS", "status", plain),
)


@click.group()
def replication() -> None:
    """Policies that copy to and from other registries."""


@replication.command("list")
@session.LIMIT
@session.asking()
def list_policies(asked: Session, limit: int) -> None:
    """List the policies."""
    asked.out.rows(_POLICIES, asked.client.each("/replication/policies", limit=limit))


@replication.command(epilog="Example: roadstead replication show to-the-edge")
@click.argument("name", metavar="POLICY")
@session.asking()
def show(asked: Session, name: str) -> None:
    """Show a policy and its last executions; POLICY is a name or an id."""
    found = _policy(asked.client, name)
    asked.out.card(_POLICY, found)
    if asked.out.form is Form.TABLE:
        asked.out.gap()
        query = {"policy_id": str(found.get("id"))}
        asked.out.rows(_EXECUTIONS, asked.client.each("/replication/executions", query, limit=_SHOWN))


@replication.command(epilog="Example: roadstead replication run to-the-edge --dry-run")
@click.argument("name", metavar="POLICY")
@click.option("--dry-run", is_flag=True, help="Copy nothing; say what would be copied.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Follow it to its end.")
@session.asking()
def run(asked: Session, name: str, dry_run: bool, wait: bool) -> None:
    """Run a policy now; POLICY is a name or an id. The exit code is 1 where something was not copied."""
    found = _policy(asked.client, name)
    query = {"dry_run": "true"} if dry_run else {}
    answer = asked.client.send("POST", "/replication/executions", query=query, body={"policy_id": found.get("id")})
    number = answer.headers.get("Location", "").rpartition("/")[2]
    if not number.isdecimal():
        raise CommandError(f"{asked.client.login.server} did not say what it started.")
    if not wait:
        asked.out.done(f"Policy {text.clean(found.get('name'))} runs.", number)
        return
    where = path("replication", "executions", number)
    ended = _follow(asked, where)
    tasks = asked.client.each(f"{where}/tasks")
    if asked.out.form is Form.JSON:
        asked.out.json({**ended, "tasks": tasks})
    else:
        asked.out.rows(_TASKS, tasks)
    _say_why(asked, where, tasks, all_of_them=dry_run)
    _check(ended)


def _follow(asked: Session, where: str, rest: Callable[[float], None] = time.sleep) -> Json:
    """Say how far an execution is until it ends, and return it."""
    said, pause = "", _FIRST_PAUSE
    try:
        while True:
            found = asked.client.get(where)
            numbers = (found.get("succeed", 0), found.get("total", 0), found.get("failed", 0))
            progress = "{} of {} repositories are done, {} failed".format(*numbers)
            if progress != said and found.get("total"):
                asked.out.note(text.clean(progress))
                said = progress
            if found.get("status") in _ENDED:
                return found
            rest(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
    except KeyboardInterrupt:
        raise CommandError(f"The server goes on with it. To stop it: PUT {where}.") from None


def _say_why(asked: Session, where: str, tasks: list[Json], *, all_of_them: bool) -> None:
    """Print what tasks logged that failed, or of a dry run what would be copied."""
    for task in tasks:
        if all_of_them or task.get("status") == "Failed":
            log = asked.client.send("GET", where + path("tasks", task.get("id"), "log"))
            for line in log.text.splitlines():
                asked.out.note(text.clean(line))


def _check(ended: Json) -> None:
    status = text.clean(ended.get("status") or "")
    if status != _DONE:
        why = text.clean(ended.get("status_text") or "")
        raise CommandError(f"The execution ended with the status {status}{f': {why}' if why else ''}.")


def _policy(client: Client, name: str) -> Json:
    """Return the policy with a name or an id; raise CommandError."""
    for row in client.each("/replication/policies"):
        if name in (row.get("name"), str(row.get("id"))):
            return row
    raise CommandError(f"There is no policy {text.clean(name)}. Run: roadstead replication list", Exit.NOT_FOUND)
