"""`roadstead robot`: accounts for programs, with rights of their own and a secret that is shown once."""

import re
from typing import Any

import click

from chalicelib.cli import session, text
from chalicelib.cli.access import ROBOT_MARKS
from chalicelib.cli.client import Client, Json, path
from chalicelib.cli.failures import CommandError, Exit
from chalicelib.cli.names import PROJECT
from chalicelib.cli.output import Column, Form, Look, as_time, as_yes, plain
from chalicelib.cli.session import Session

_MARKS = re.compile(f"[{re.escape(ROBOT_MARKS)}]")
_ALL_PROJECTS = "*"
_EVERYTHING = "all"
_NEVER = -1

# Words for what most robots need: pushing needs pulling, to see what is there already.
_SHORT = {
    "pull": ("repository:pull",),
    "push": ("repository:push", "repository:pull"),
    "delete": ("artifact:delete", "tag:delete"),
}


def _rights(value: Any, look: Look) -> str:
    entries = value if isinstance(value, list) else []
    return "; ".join(_right(entry, look) for entry in entries if isinstance(entry, dict)) or text.NOTHING


def _right(entry: Json, look: Look) -> str:
    access = [f"{right.get('resource')}:{right.get('action')}" for right in entry.get("access") or []]
    return f"{plain(entry.get('namespace'), look)}: {text.joined(access)}"


_ROBOTS = (
    Column("NAME", "name", plain),
    Column("ID", "id", plain),
    Column("DISABLED", "disable", as_yes),
    Column("EXPIRES", "expires_at", as_time),
    Column("CREATED", "creation_time", as_time),
)
_ROBOT = (
    Column("Name", "name", plain),
    Column("Id", "id", plain),
    Column("Level", "level", plain),
    Column("Description", "description", plain),
    Column("Disabled", "disable", as_yes),
    Column("Expires", "expires_at", as_time),
    Column("Rights", "permissions", _rights),
    Column("Created", "creation_time", as_time),
)


@click.group()
def robot() -> None:
    """Robot accounts: for programs, not people."""


@robot.command("list")
@click.option("--project", type=PROJECT, help="Show the robots of this project.")
@session.LIMIT
@session.asking()
def list_robots(asked: Session, project: str | None, limit: int) -> None:
    """List the robots of the system, or of a project."""
    asked.out.rows(_ROBOTS, _robots(asked.client, project or "", limit))


@robot.command(epilog="Example: roadstead robot create ci --project web --allow push --days 90")
@click.argument("name")
@click.option("--project", "projects", multiple=True, type=PROJECT, help="Project of its rights; may be repeated.")
@click.option("--all-projects", is_flag=True, help="Rights in every project; makes a robot of the system.")
@click.option("--system", is_flag=True, help="Make a robot of the system, not of the project.")
@click.option("--allow", multiple=True, help="pull, push, delete, all, or RESOURCE:ACTION; may be repeated.")
@click.option("--allow-system", multiple=True, help="RESOURCE:ACTION on the system itself; may be repeated.")
@click.option("--days", type=click.IntRange(min=1), help="Days until it expires; never by default.")
@click.option("--description", default="", help="What it is for.")
@session.asking()
def create(asked: Session, /, name: str, days: int | None, description: str, **rights: Any) -> None:
    """Create a robot and show its secret."""
    level, permissions = _permissions(asked.client, **rights)
    body = {
        "name": name,
        "level": level,
        "duration": days or _NEVER,
        "description": description,
        "disable": False,
        "permissions": permissions,
    }
    made = asked.client.change("POST", "/robots", body)
    asked.out.secret(made, f"Created robot {text.clean(made.get('name', name))} with this secret:")


@robot.command()
@click.argument("name", metavar="ROBOT")
@session.asking()
def show(asked: Session, name: str) -> None:
    """Show a robot and its rights; ROBOT is a name, project+name or an id."""
    asked.out.card(_ROBOT, _robot(asked.client, name))


@robot.command()
@click.argument("name", metavar="ROBOT")
@session.YES
@session.asking()
def delete(asked: Session, name: str, yes: bool) -> None:
    """Delete a robot."""
    found = _robot(asked.client, name)
    session.confirm(f"Delete robot {text.clean(found.get('name'))}?", yes=yes)
    asked.client.change("DELETE", path("robots", found.get("id")))
    asked.out.done(f"Deleted robot {text.clean(found.get('name'))}.")


@robot.command()
@click.argument("name", metavar="ROBOT")
@session.asking()
def refresh(asked: Session, name: str) -> None:
    """Give a robot a new secret and show it; the old one stops working."""
    found = _robot(asked.client, name)
    answer = asked.client.change("PATCH", path("robots", found.get("id")), {"secret": ""})
    asked.out.secret(answer, f"Robot {text.clean(found.get('name'))} has this new secret:")


@robot.command()
@click.argument("name", metavar="ROBOT")
@session.asking()
def disable(asked: Session, name: str) -> None:
    """Keep a robot, and refuse its secret."""
    _switch(asked, name, disable=True)


@robot.command()
@click.argument("name", metavar="ROBOT")
@session.asking()
def enable(asked: Session, name: str) -> None:
    """Let a disabled robot work again."""
    _switch(asked, name, disable=False)


def _switch(asked: Session, name: str, *, disable: bool) -> None:
    found = {**_robot(asked.client, name), "disable": disable}
    asked.client.change("PUT", path("robots", found.get("id")), found)
    if asked.out.form is Form.JSON:
        asked.out.json(asked.client.get(path("robots", found.get("id"))))
    asked.out.done(f"Robot {text.clean(found.get('name'))} is {'disabled' if disable else 'enabled'}.")


def _robots(client: Client, project: str, limit: int = 0) -> list[Json]:
    if not project:
        return client.each("/robots", limit=limit)
    number = client.get(path("projects", project)).get("project_id")
    return client.each("/robots", {"q": f"Level=project,ProjectID={number}"}, limit)


def _robot(client: Client, name: str) -> Json:
    """Return the robot with an id, a full name or a name without its prefix; raise CommandError."""
    if name.isdecimal() and name.isascii():
        return client.get(path("robots", name))
    short = _short(name)
    project = short.partition("+")[0] if "+" in short else ""
    for row in _robots(client, PROJECT.convert(project, None, None) if project else ""):
        full = str(row.get("name"))
        if name == full or (name == short and short == _short(full)):
            return client.get(path("robots", row.get("id")))
    raise CommandError(f"There is no robot {text.clean(name)}. Run: roadstead robot list", Exit.NOT_FOUND)


def _short(name: str) -> str:
    """Return a robot's name without the prefix of the system, such as `robot$`."""
    return _MARKS.split(name)[-1]


def _permissions(client: Client, **options: Any) -> tuple[str, list[Json]]:
    """Return the level of a robot and its permissions, as the API takes them; raise UsageError."""
    projects = [*options["projects"], *([_ALL_PROJECTS] if options["all_projects"] else [])]
    if not projects and not options["allow_system"]:
        raise click.UsageError("Say where it has rights: --project, --all-projects or --allow-system.")
    if bool(projects) != bool(options["allow"]):
        raise click.UsageError("--project and --all-projects go with --allow: pull, push, delete or all.")
    single = len(projects) == 1 and not (options["all_projects"] or options["allow_system"] or options["system"])
    access = _access(client, options["allow"], "project")
    permissions = [{"kind": "project", "namespace": name, "access": access} for name in projects]
    if options["allow_system"]:
        granted = _access(client, options["allow_system"], "system")
        permissions.append({"kind": "system", "namespace": "/", "access": granted})
    return "project" if single else "system", permissions


def _access(client: Client, words: tuple[str, ...], level: str) -> list[Json]:
    if _EVERYTHING in words:
        catalogue: list[Json] = client.get("/permissions").get(level) or []
        return [{"resource": right.get("resource"), "action": right.get("action")} for right in catalogue]
    rights = dict.fromkeys(right for word in words for right in _SHORT.get(word, (word,)))
    return [_parsed(right) for right in rights]


def _parsed(right: str) -> Json:
    resource, _, action = right.partition(":")
    if not resource or not action:
        raise click.UsageError(f"'{right}' is no right: write pull, push, delete, all or RESOURCE:ACTION.")
    return {"resource": resource, "action": action}
