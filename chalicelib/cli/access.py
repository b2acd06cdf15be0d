"""`roadstead login`, `logout` and `status`: who asks which server, and what it says about itself and them."""

import sys

import click

from chalicelib.cli import logins, session, text
from chalicelib.cli.client import Client, Json, check_encrypted, connected, path
from chalicelib.cli.failures import CommandError, Exit
from chalicelib.cli.names import PROJECT
from chalicelib.cli.output import Column, Form, as_yes, plain, value_of
from chalicelib.cli.session import Session

# No user's name holds one of these, every robot's does.
ROBOT_MARKS = ',"~#%$'

_STATUS = (
    Column("Server", "server", plain),
    Column("Version", "systeminfo.harbor_version", plain),
    Column("Read-only", "systeminfo.read_only", as_yes),
    Column("Health", "health.status", plain),
    Column("User", "user.username", plain),
    Column("Administrator", "user.sysadmin_flag", as_yes),
)
_COMPONENTS = (Column("COMPONENT", "name", plain), Column("STATUS", "status", plain), Column("ERROR", "error", plain))
_RIGHTS = (Column("RESOURCE", "resource", plain), Column("ACTIONS", "actions", plain))


def is_robot(user: str) -> bool:
    """Tell whether a user's name is that of a robot."""
    return any(mark in user for mark in ROBOT_MARKS)


@click.command(epilog="Example: roadstead login https://registry.example.com -u admin")
@click.argument("url", envvar="ROADSTEAD_SERVER")
@click.option("-u", "--user", default="", help="Name of a user or robot.")
@session.PASSWORD_STDIN
@session.INSECURE
@session.TIMEOUT
def login(url: str, user: str, password_stdin: bool, insecure: bool, timeout: float) -> None:
    """Log in to a server, and mean it from now on."""
    server = logins.origin(url)
    if not user and password_stdin:
        raise click.UsageError("Give the user with -u: standard input holds the password.")
    if not user:
        user = _asked_user()
    if ":" in user:
        raise CommandError("A user's name has no colon.", Exit.USAGE)
    check_encrypted(logins.Login(server, user), insecure=insecure)
    entered = logins.Login(server, user, session.password("Password", from_stdin=password_stdin))
    with connected(entered, insecure=insecure, timeout=timeout) as client:
        _check(client)
    logins.keep(entered)
    click.echo(f"Logged in to {server} as {text.clean(user)}.")


def _asked_user() -> str:
    if not sys.stdin.isatty():
        raise CommandError("Nobody is here to ask for the user: add -u.", Exit.USAGE)
    return str(click.prompt("User", err=True))


def _check(client: Client) -> None:
    """Ask for something that only valid credentials get; raise CommandError."""
    if is_robot(client.login.user):
        client.each("/projects", limit=1)
    else:
        client.get("/users/current")


@click.command()
@click.argument("url", default="", envvar="ROADSTEAD_SERVER")
def logout(url: str) -> None:
    """Forget the credentials of a server.

    URL is the server to log out from, by default the current one.
    """
    server = logins.find(url).server
    logins.forget(server)
    click.echo(f"Logged out from {server}.")


@click.command()
@click.option("--project", type=PROJECT, help="Show the rights in this project.")
@session.asking(anonymous=True)
def status(asked: Session, project: str | None) -> None:
    """Show the server, its health and your rights.

    The exit code is 1 where the server is not healthy.
    """
    found = _found(asked.client, project or "")
    if asked.out.form is Form.TABLE:
        asked.out.card(_STATUS, found)
        asked.out.gap()
        asked.out.rows(_COMPONENTS, found["health"].get("components") or [])
        if found["permissions"]:
            asked.out.gap()
            asked.out.rows(_RIGHTS, _by_resource(found["permissions"]))
    else:
        asked.out.card(_STATUS, found)
    if found["health"].get("status") != "healthy":
        raise CommandError(f"{asked.client.login.server} is not healthy: see its components.")


def _found(client: Client, project: str) -> Json:
    user, rights = client.login.user, []
    who: Json = {"username": user or "(anonymous)"}
    if user and not is_robot(user):
        who = client.get("/users/current")
        rights = _rights(client, project)
    return {
        "server": client.login.server,
        "systeminfo": client.get("/systeminfo"),
        "health": client.get("/health"),
        "user": who,
        "permissions": rights,
    }


def _rights(client: Client, project: str) -> list[Json]:
    if not project:
        return client.whole("/users/current/permissions", {"scope": "/"})
    number = client.get(path("projects", project)).get("project_id")
    return client.whole("/users/current/permissions", {"scope": f"/project/{number}", "relative": "true"})


def _by_resource(rights: list[Json]) -> list[Json]:
    actions: dict[str, list[str]] = {}
    for right in rights:
        resource = str(value_of(right, "resource") or "(itself)")
        actions.setdefault(resource, []).append(str(value_of(right, "action")))
    return [{"resource": name, "actions": ", ".join(sorted(words))} for name, words in sorted(actions.items())]
