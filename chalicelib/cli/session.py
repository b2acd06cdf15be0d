"""What every client command has in common: its options, the session made of them, questions to the user.

Invariants:
* A question is asked on a terminal alone; elsewhere the command refuses and says which option answers it.
* A password comes from a prompt that shows nothing, or from standard input; never from the command line.
"""

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Concatenate, ParamSpec

import click

from chalicelib.cli import logins, output
from chalicelib.cli.client import Client, connected
from chalicelib.cli.failures import CommandError, Exit

Arguments = ParamSpec("Arguments")

SERVER = click.option("--server", envvar="ROADSTEAD_SERVER", default="", help="Server, if not the current one.")
INSECURE = click.option("--insecure", is_flag=True, help="Accept any certificate, and http to other machines.")
TIMEOUT = click.option(
    "--timeout",
    default=30.0,
    show_default=True,
    type=click.FloatRange(min=0.1),
    help="Seconds to wait for an answer.",
)
LIMIT = click.option("--limit", default=0, type=click.IntRange(min=0), help="Show at most so many; 0 shows all.")
YES = click.option("--yes", is_flag=True, help="Do it without asking.")
PASSWORD_STDIN = click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print the API's JSON.")
_QUIET = click.option("-q", "--quiet", is_flag=True, help="Print names, ids or secrets alone.")


@dataclass(frozen=True, slots=True)
class Session:
    """A server to ask and a way to print."""

    client: Client
    out: output.Output


def form(*, as_json: bool, quiet: bool) -> output.Form:
    """Return the form that the options ask for; raise UsageError where they ask for two."""
    if as_json and quiet:
        raise click.UsageError("--json and --quiet exclude each other.")
    return output.Form.JSON if as_json else output.Form.QUIET if quiet else output.Form.TABLE


def asking(
    *, anonymous: bool = False
) -> Callable[[Callable[Concatenate[Session, Arguments], None]], Callable[..., None]]:
    """Give a command the options of a client, and a session as its first argument.

    An anonymous command works without a login where a server is named.
    """
    find = logins.find_or_anonymous if anonymous else logins.find

    def decorate(function: Callable[Concatenate[Session, Arguments], None]) -> Callable[..., None]:
        @functools.wraps(function)
        def command(*args: Any, **options: Any) -> None:
            printed = form(as_json=options.pop("as_json"), quiet=options.pop("quiet"))
            insecure, timeout = options.pop("insecure"), options.pop("timeout")
            login = find(options.pop("server"))
            with connected(login, insecure=insecure, timeout=timeout) as client:
                function(Session(client, output.standard(printed, datetime.now(UTC))), *args, **options)

        for option in (_QUIET, _JSON, TIMEOUT, INSECURE, SERVER):
            option(command)
        return command

    return decorate


def confirm(question: str, *, yes: bool) -> None:
    """Return where the user agrees; raise CommandError where nobody can be asked, Abort where they do not."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError(f"{question} Nobody is here to ask: add --yes.", Exit.USAGE)
    click.confirm(question, abort=True, err=True)


def password(prompt: str, *, from_stdin: bool, twice: bool = False) -> str:
    """Return a password from standard input or the terminal; raise CommandError."""
    if from_stdin:
        secret = sys.stdin.readline().rstrip("\r\n")
    elif sys.stdin.isatty():
        secret = click.prompt(prompt, hide_input=True, confirmation_prompt=twice, err=True)
    else:
        raise CommandError("Nobody is here to ask for the password: add --password-stdin.", Exit.USAGE)
    if not secret:
        raise CommandError("The password is empty.", Exit.USAGE)
    return secret
