"""`roadstead doctor`: runs the checks against a deployment and says what it found.

Invariants:
* The report holds no secret and can be pasted into an issue.
* The exit code is 1 where something is broken, and only there.
"""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from chalicelib.cli import logins, output, session
from chalicelib.cli.client import Client, Json, connected
from chalicelib.cli.failures import CommandError
from chalicelib.cli.names import PROJECT
from chalicelib.cli.output import Column, Form, plain

if TYPE_CHECKING:
    from chalicelib.cli.findings import Check, Finding

_COLUMNS = (
    Column("CHECK", "check", plain),
    Column("GROUP", "group", plain),
    Column("VERDICT", "verdict", plain),
    Column("SEEN", "seen", plain),
)
_ADVICE = (Column("CHECK", "check", plain), Column("ASKED", "question", plain), Column("WHAT TO DO", "advice", plain))

# What a run says at its end where its project could not be removed.
_LEFT_OVER: Json = {
    "check": "clean-up",
    "group": "push",
    "question": "Is everything gone that the checks made?",
    "verdict": "broken",
    "advice": "Remove the project: roadstead repo delete, then roadstead project delete.",
}


@click.command(short_help="Check a deployment.", epilog="Example: roadstead doctor https://registry.example.com")
@click.argument("url", default="", envvar="ROADSTEAD_SERVER")
@click.option("--project", type=PROJECT, help="Scratch project to create and remove; a new name if none.")
@click.option("--only", multiple=True, metavar="CHECK", help="Run this check alone; may be given again.")
@click.option("--patient", is_flag=True, help="Wait until redirects are nearly over: a quarter of an hour.")
@click.option("--load", is_flag=True, help="Ask many times at once, to see what a client is told that asks too much.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@session.INSECURE
@session.TIMEOUT
def doctor(url: str, as_json: bool, insecure: bool, timeout: float, **wishes: Any) -> None:
    """Check a deployment: what becomes of requests on the way to it.

    URL is the server, by default the current one. The checks of pulls and pushes need a login that may create
    projects: they work in a project of their own, and remove it.
    """
    login = logins.find_or_anonymous(url)
    with connected(login, insecure=insecure, timeout=timeout) as client:
        rows = _examined(client, insecure=insecure, timeout=timeout, **wishes)
    _print(output.standard(session.form(as_json=as_json, quiet=False), datetime.now(UTC)), rows)
    broken = [str(row["check"]) for row in rows if row["verdict"] == "broken"]
    if broken:
        raise CommandError(f"{login.server} is broken: {', '.join(broken)}.")


def _examined(client: Client, *, insecure: bool, timeout: float, **wishes: Any) -> list[Json]:
    from chalicelib.cli.checks import CHECKS  # noqa: PLC0415 - other commands do without the checks
    from chalicelib.cli.findings import Needs, examine  # noqa: PLC0415
    from chalicelib.cli.subject import Subject, bare, scratch  # noqa: PLC0415

    chosen = _chosen(CHECKS, wishes.pop("only"))
    named = wishes.pop("project") or f"doctor-{secrets.token_hex(4)}"
    # A first answer is only seen to be slow where nothing was asked before it.
    project = named if any(check.needs is Needs.IMAGE for check in chosen) else ""
    rows: list[Json] = []
    try:
        with bare(insecure=insecure, timeout=timeout) as http:
            subject = Subject(client, http, project, **wishes)
            with scratch(subject) as prepared:
                rows += (_row(check, examine(check, prepared)) for check in chosen)
    except CommandError as error:
        rows.append({**_LEFT_OVER, "seen": error.message})
    return rows


def _chosen(checks: Sequence["Check"], only: Sequence[str]) -> list["Check"]:
    names = [check.name for check in checks]
    unknown = sorted(set(only).difference(names))
    if unknown:
        raise click.UsageError(f"There is no check {', '.join(unknown)}; there are {', '.join(names)}.")
    return [check for check in checks if not only or check.name in only]


def _row(check: "Check", found: "Finding") -> Json:
    return {
        "check": check.name,
        "group": check.group,
        "question": check.question,
        "verdict": found.verdict.value,
        "seen": found.seen,
        "advice": check.advice,
    }


def _print(out: output.Output, rows: Sequence[Json]) -> None:
    out.rows(_COLUMNS, rows)
    amiss = [row for row in rows if row["verdict"] in ("differs", "broken")]
    if amiss and out.form is Form.TABLE:
        out.gap()
        out.rows(_ADVICE, amiss)
