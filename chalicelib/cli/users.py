"""`roadstead user`: the people of a server, their passwords and who administers it."""

from dataclasses import replace
from typing import Any

import click

from chalicelib.cli import logins, session, text
from chalicelib.cli.client import Client, Json, path
from chalicelib.cli.failures import CommandError, Exit
from chalicelib.cli.output import Column, Form, as_time, as_yes, plain
from chalicelib.cli.session import Session

_USERS = (
    Column("NAME", "username", plain),
    Column("ID", "user_id", plain),
    Column("REAL NAME", "realname", plain),
    Column("EMAIL", "email", plain),
    Column("ADMINISTRATOR", "sysadmin_flag", as_yes),
    Column("CREATED", "creation_time", as_time),
)


@click.group()
def user() -> None:
    """Users of the server."""


@user.command("list")
@session.LIMIT
@session.asking()
def list_users(asked: Session, limit: int) -> None:
    """List the users."""
    asked.out.rows(_USERS, asked.client.each("/users", limit=limit))


@user.command(epilog="Example: roadstead user create alice --email alice@example.com")
@click.argument("name")
@click.option("--email", required=True, help="Address of the user.")
@click.option("--real-name", default="", help="Name of the person; the user's name by default.")
@click.option("--comment", default="", help="Anything worth knowing.")
@session.PASSWORD_STDIN
@session.asking()
def create(asked: Session, /, name: str, password_stdin: bool, **profile: Any) -> None:
    """Create a user."""
    body = {
        "username": name,
        "realname": profile["real_name"] or name,
        "email": profile["email"],
        "comment": profile["comment"],
        "password": session.password("Password of the new user", from_stdin=password_stdin, twice=True),
    }
    asked.client.change("POST", "/users", body)
    if asked.out.form is Form.JSON:
        asked.out.json(_user(asked.client, name))
    asked.out.done(f"Created user {text.clean(name)}.", name)


@user.command()
@click.argument("name", metavar="USER")
@session.YES
@session.asking()
def delete(asked: Session, name: str, yes: bool) -> None:
    """Delete a user; USER is a name or an id."""
    found = _user(asked.client, name)
    session.confirm(f"Delete user {text.clean(found.get('username'))}?", yes=yes)
    asked.client.change("DELETE", path("users", found.get("user_id")))
    asked.out.done(f"Deleted user {text.clean(found.get('username'))}.")


@user.command()
@click.argument("name", metavar="[USER]", default="")
@session.PASSWORD_STDIN
@session.asking()
def password(asked: Session, name: str, password_stdin: bool) -> None:
    """Change a password: your own, or that of a user."""
    own = asked.client.get("/users/current")
    found = _user(asked.client, name) if name and name != own.get("username") else own
    body = {"new_password": session.password("New password", from_stdin=password_stdin, twice=True)}
    mine = found.get("user_id") == own.get("user_id")
    if mine:
        body["old_password"] = asked.client.login.password
    asked.client.change("PUT", path("users", found.get("user_id"), "password"), body)
    if mine:
        logins.keep(replace(asked.client.login, password=body["new_password"]), current=False)
    asked.out.done(f"Changed the password of {text.clean(found.get('username'))}.")


@user.command()
@click.argument("name", metavar="USER")
@click.argument("state", type=click.Choice(["on", "off"]))
@session.asking()
def admin(asked: Session, name: str, state: str) -> None:
    """Make a user an administrator of the server, or no longer."""
    found = _user(asked.client, name)
    asked.client.change("PUT", path("users", found.get("user_id"), "sysadmin"), {"sysadmin_flag": state == "on"})
    word = "an administrator now" if state == "on" else "no administrator"
    asked.out.done(f"{text.clean(found.get('username'))} is {word}.")


def _user(client: Client, name: str) -> Json:
    """Return the user with a name or, where nobody has that name, with an id; raise CommandError."""
    for row in client.each("/users", {"q": f"username={name}"}):
        if row.get("username") == name:
            return row
    if name.isdecimal() and name.isascii():
        return client.get(path("users", name))
    raise CommandError(f"There is no user {text.clean(name)}. Run: roadstead user list", Exit.NOT_FOUND)
