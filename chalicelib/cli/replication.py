"""`roadstead replication`: policies that copy to and from other registries, made, run and watched.

Invariant: an execution is the server's: who stops waiting stops nothing, and is told how to.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import click

from chalicelib.cli import registries, session, text
from chalicelib.cli.client import Client, Json, path
from chalicelib.cli.failures import CommandError
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


@replication.command(
    epilog="Example: roadstead replication create to-the-edge --to edge --repository 'library/**' --on-push"
)
@click.argument("name")
@click.option("--to", metavar="REGISTRY", help="Copy from here to this one; a name or an id.")
@click.option("--from", "source", metavar="REGISTRY", help="Copy from this one to here.")
@click.option("--repository", metavar="PATTERN", help="Only repositories like this: library/**, {web,api}/*.")
@click.option("--tag", metavar="PATTERN", help="Only tags like this: v*.")
@click.option("--label", multiple=True, help="Only what has this label; several are all wanted.")
@click.option("--namespace", default="", help="Where to put them, in the place of their own project.")
@click.option("--on-push", is_flag=True, help="Copy whatever is pushed, at once.")
@click.option("--at", "cron", metavar="CRON", help="Copy at these times: second minute hour day month weekday.")
@click.option("--deletions", is_flag=True, help="Delete there what is deleted here; with --on-push.")
@click.option("--override/--no-override", default=True, show_default=True, help="Put tags that are there anew.")
@click.option("--speed", type=click.IntRange(min=0), default=0, help="At most so many KB a second; else no limit.")
@session.asking()
def create(asked: Session, /, name: str, to: str | None, source: str | None, **given: Any) -> None:
    """Create a policy; the other side is a registry that was added."""
    if (to is None) == (source is None):
        raise click.UsageError("Name the other side: --to REGISTRY or --from REGISTRY.")
    if given["on_push"] and given["cron"]:
        raise click.UsageError("--on-push and --at are two triggers: a policy has one.")
    if given["on_push"] and source:
        raise click.UsageError(
            "What is pushed to another registry is not heard of here: use --at instead of --on-push."
        )
    other = {"id": registries.named(asked.client, to or source or "").get("id")}
    body = {
        "name": name,
        "dest_registry" if to else "src_registry": other,
        "dest_namespace": given["namespace"],
        "filters": _filters(given),
        "trigger": _trigger(on_push=given["on_push"], cron=given["cron"]),
        "replicate_deletion": given["deletions"],
        "override": given["override"],
        "speed": given["speed"],
        "enabled": True,
    }
    asked.client.change("POST", "/replication/policies", body)
    asked.out.done(f"Created policy {text.clean(name)}.")


def _filters(given: Mapping[str, Any]) -> list[Json]:
    wanted = {"name": given["repository"], "tag": given["tag"], "label": list(given["label"])}
    return [{"type": kind, "value": value} for kind, value in wanted.items() if value]


def _trigger(*, on_push: bool, cron: str | None) -> Json:
    if cron:
        return {"type": "scheduled", "trigger_settings": {"cron": cron}}
    return {"type": "event_based" if on_push else "manual"}


@replication.command(epilog="Example: roadstead replication remove to-the-edge")
@click.argument("name", metavar="POLICY")
@session.YES
@session.asking()
def remove(asked: Session, name: str, yes: bool) -> None:
    """Remove a policy and what is known of its executions; what it copied stays."""
    found = _policy(asked.client, name)
    session.confirm(f"Remove policy {text.clean(found.get('name'))}?", yes=yes)
    asked.client.change("DELETE", path("replication", "policies", found.get("id")))
    asked.out.done(f"Removed policy {text.clean(found.get('name'))}.")


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
    return client.named("/replication/policies", name, "policy", "roadstead replication list")
