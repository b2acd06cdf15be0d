"""`roadstead gc` and `roadstead verify`: jobs of a server that are started, followed to their end, and summed up.

Invariants:
* What a job logs goes to standard error as it comes, the sum to standard output.
* The job is the server's: who stops waiting stops nothing, and is told how to.
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import click

from chalicelib.cli import session, text
from chalicelib.cli.client import Client, Json, path
from chalicelib.cli.failures import CommandError, Exit
from chalicelib.cli.names import parse_target
from chalicelib.cli.output import Column, Form, as_size, plain
from chalicelib.cli.session import Session

_ENDED = frozenset({"Success", "Error", "Stopped"})
_DONE = "Success"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 3.0
_WAIT = click.option("--wait/--no-wait", default=True, show_default=True, help="Follow it to its end.")

_DROPPED = (Column("BLOBS", "purged_blobs", plain), Column("MANIFESTS", "purged_manifests", plain))
_COLLECTED = (Column("FREED", "freed_space", as_size), *_DROPPED)
_TRIED = (Column("WOULD FREE", "freed_space", as_size), *_DROPPED)
_FOUND = (
    Column("DAMAGE", "damage", plain),
    Column("FOUND", "found", plain),
    Column("REPAIRED", "repaired", plain),
)


@click.command(epilog="Example: roadstead gc --delete-untagged --dry-run")
@click.option("--dry-run", is_flag=True, help="Delete nothing; say what would go.")
@click.option("--delete-untagged", is_flag=True, help="Retire manifests without a tag as well.")
@_WAIT
@session.asking()
def gc(asked: Session, dry_run: bool, delete_untagged: bool, wait: bool) -> None:
    """Collect garbage: drop what nothing needs, while pushes go on."""
    where = _begin(asked, "gc", {"dry_run": dry_run, "delete_untagged": delete_untagged})
    if not wait:
        asked.out.done("Garbage is being collected.", where.rpartition("/")[2])
        return
    ended = _follow(asked, where)
    asked.out.card(_TRIED if dry_run else _COLLECTED, ended if asked.out.form is Form.JSON else _parameters(ended))
    _check(ended)


def _target(_context: click.Context, _parameter: click.Parameter, value: str) -> dict[str, str]:
    """Return the parameters that an argument means: nothing, a project, or a repository."""
    try:
        if "/" not in value:
            target = parse_target(f"{value or 'all'}/all")
            return {"project": target.project} if value else {}
        target = parse_target(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if target.reference:
        raise click.BadParameter("name a project or a repository, without a tag")
    return {"project": target.project, "repository": target.repository}


@click.command(epilog="Example: roadstead verify library/nginx --sample 100")
@click.argument("target", metavar="[PROJECT[/REPOSITORY]]", default="", callback=_target)
@click.option("--repair", is_flag=True, help="Repair what can be repaired; nothing that is in use is deleted.")
@click.option(
    "--sample",
    default=1,
    show_default=True,
    type=click.IntRange(0, 100),
    help="Read the bytes of so many per cent of the blobs; of the others look whether they are there.",
)
@_WAIT
@session.asking()
def verify(asked: Session, target: Mapping[str, str], repair: bool, sample: int, wait: bool) -> None:
    """Verify what is stored: everything, a project or a repository.

    The exit code is 1 where something is broken and was not repaired.
    """
    where = _begin(asked, "verify", {"repair": repair, "sample": sample, **target})
    if not wait:
        asked.out.done("What is stored is being verified.", where.rpartition("/")[2])
        return
    ended = _follow(asked, where)
    report = _parameters(ended)
    if asked.out.form is Form.JSON:
        asked.out.json(ended)
    elif report.get("found"):
        asked.out.rows(_FOUND, _rows(report))
    _check(ended)
    if report.get("left"):
        raise CommandError(
            f"{report['left']} damages are left. What to do about each is in the log above, or at {where}/log."
        )
    asked.out.done("What is left is whole." if report.get("found") else "Nothing is wrong.")


def _rows(report: Json) -> list[Json]:
    found, repaired = report["found"], report.get("repaired") or {}
    return [{"damage": each, "found": found[each], "repaired": repaired.get(each, 0)} for each in sorted(found)]


def _begin(asked: Session, job: str, parameters: Json) -> str:
    """Start a job and return where it is in the API."""
    body = {"schedule": {"type": "Manual"}, "parameters": parameters}
    answer = asked.client.send("POST", path("system", job, "schedule"), body=body)
    number = answer.headers.get("Location", "").rpartition("/")[2]
    if not number.isdecimal() or number == "0":
        raise CommandError(f"{asked.client.login.server} did not say what it started.")
    return path("system", job, number)


def _follow(asked: Session, where: str, rest: Callable[[float], None] = time.sleep) -> Json:
    """Print what a job logs until it ends, and return it."""
    shown, pause = 0, _FIRST_PAUSE
    try:
        while True:
            found = asked.client.get(where)
            lines = _log(asked.client, where)
            for line in lines[shown:]:
                asked.out.note(text.clean(line))
            shown = len(lines)
            if found.get("job_status") in _ENDED:
                return found
            rest(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
    except KeyboardInterrupt:
        raise CommandError(f"The server goes on with it. To stop it: PUT {where}.") from None


def _log(client: Client, where: str) -> list[str]:
    """Return the lines of a job's log; none while there is no log."""
    try:
        return client.send("GET", f"{where}/log").text.splitlines()
    except CommandError as error:
        if error.exit_code == Exit.NOT_FOUND:
            return []
        raise


def _parameters(ended: Json) -> Json:
    """Return what a job was given and what it found, which the API has as a text of JSON."""
    try:
        found: Any = json.loads(ended.get("job_parameters") or "{}")
    except ValueError:
        found = {}
    return found if isinstance(found, dict) else {}


def _check(ended: Json) -> None:
    status = text.clean(ended.get("job_status") or "")
    if status != _DONE:
        raise CommandError(f"The job ended with the status {status}. Its log says why: see above, or start it again.")
