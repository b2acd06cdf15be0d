"""`roadstead project` and `roadstead member`: projects, their settings, and who has which role in them."""

from typing import Any

import click

from chalicelib.cli import registries, session, text
from chalicelib.cli.client import Client, Json, path
from chalicelib.cli.failures import CommandError, Exit
from chalicelib.cli.names import PROJECT, SIZE
from chalicelib.cli.output import Column, Form, Look, as_role, as_size, as_time, plain
from chalicelib.cli.session import Session


def _access(value: Any, _look: Look) -> str:
    return "public" if value in (True, "true") else "private"


def _settings(value: Any, _look: Look) -> str:
    pairs = sorted(value.items()) if isinstance(value, dict) else ()
    return text.joined([f"{key}={setting}" for key, setting in pairs])


_KINDS = {"u": "user", "g": "group"}


def _kind(value: Any, look: Look) -> str:
    return _KINDS.get(str(value), plain(value, look))


_PROJECTS = (
    Column("NAME", "name", plain),
    Column("ACCESS", "metadata.public", _access),
    Column("ROLE", "current_user_role_id", as_role),
    Column("REPOSITORIES", "repo_count", plain),
    Column("CREATED", "creation_time", as_time),
)
_PROJECT = (
    Column("Name", "name", plain),
    Column("Id", "project_id", plain),
    Column("Access", "metadata.public", _access),
    Column("Your role", "current_user_role_id", as_role),
    Column("Owner", "owner_name", plain),
    Column("Repositories", "repo_count", plain),
    Column("Storage used", "summary.quota.used.storage", as_size),
    Column("Storage limit", "summary.quota.hard.storage", as_size),
    Column("Settings", "metadata", _settings),
    Column("Created", "creation_time", as_time),
)
_CACHE = Column("Cache of", "summary.registry.name", plain)
_MEMBERS = (
    Column("NAME", "entity_name", plain),
    Column("KIND", "entity_type", _kind),
    Column("ROLE", "role_id", as_role),
)
_ROLE = click.Choice(list(text.ROLES))
_GROUP = click.option("--group", is_flag=True, help="The name is that of a group.")


@click.group()
def project() -> None:
    """Projects and their settings."""


@project.command("list")
@click.option("--name", default="", help="Show projects whose name contains this.")
@click.option("--public/--private", default=None, help="Show only public or private ones.")
@session.LIMIT
@session.asking()
def list_projects(asked: Session, name: str, public: bool | None, limit: int) -> None:
    """List the projects that you may see."""
    query = {"name": name} if name else {}
    if public is not None:
        query["public"] = str(public).lower()
    asked.out.rows(_PROJECTS, asked.client.each("/projects", query, limit))


@project.command(epilog="Example: roadstead project create web --quota 50GiB")
@click.argument("name", type=PROJECT)
@click.option("--public", is_flag=True, help="Let everybody pull.")
@click.option("--quota", type=SIZE, help="Largest storage, such as 50GiB or unlimited.")
@click.option("--proxy", default="", metavar="REGISTRY", help="Make it a cache of this registry.")
@session.asking()
def create(asked: Session, name: str, public: bool, quota: int | None, proxy: str) -> None:
    """Create a project."""
    body: Json = {"project_name": name, "metadata": {"public": str(public).lower()}}
    if quota is not None:
        body["storage_limit"] = quota
    if proxy:
        body["registry_id"] = registries.named(asked.client, proxy).get("id")
    asked.client.change("POST", "/projects", body)
    if asked.out.form is Form.JSON:
        asked.out.json(asked.client.get(path("projects", name)))
    asked.out.done(f"Created project {name}.", name)


@project.command()
@click.argument("name", type=PROJECT)
@session.asking()
def show(asked: Session, name: str) -> None:
    """Show a project, its settings and what it stores."""
    found = asked.client.get(path("projects", name))
    columns = (*_PROJECT, _CACHE) if found.get("registry_id") else _PROJECT
    asked.out.card(columns, {**found, "summary": asked.client.get(path("projects", name, "summary"))})


@project.command()
@click.argument("name", type=PROJECT)
@session.YES
@session.asking()
def delete(asked: Session, name: str, yes: bool) -> None:
    """Delete a project that holds no repositories."""
    session.confirm(f"Delete project {name}?", yes=yes)
    asked.client.change("DELETE", path("projects", name))
    asked.out.done(f"Deleted project {name}.")


@project.command("set", epilog="Example: roadstead project set web public=true auto_scan=true")
@click.argument("name", type=PROJECT)
@click.argument("settings", nargs=-1, required=True, metavar="KEY=VALUE...")
@session.asking()
def set_project(asked: Session, name: str, settings: tuple[str, ...]) -> None:
    """Change settings of a project."""
    wanted = dict(map(_pair, settings))
    asked.client.change("PUT", path("projects", name), {"metadata": wanted})
    kept = asked.client.get(path("projects", name))
    # Harbor passes over keys that it does not know, without a word.
    ignored = sorted(set(wanted) - set(kept.get("metadata") or {}))
    if ignored:
        raise CommandError(f"The server does not know the setting {', '.join(ignored)}. Check how it is spelled.")
    if asked.out.form is Form.JSON:
        asked.out.json(kept)
    asked.out.done(f"Changed project {name}.")


def _pair(setting: str) -> tuple[str, str]:
    key, equals, value = setting.partition("=")
    if not key or not equals:
        raise CommandError(f"'{setting}' is no setting: write KEY=VALUE.", Exit.USAGE)
    return key, value


@click.group()
def member() -> None:
    """Members of a project and their roles."""


@member.command("list")
@click.argument("project_name", metavar="PROJECT", type=PROJECT)
@session.LIMIT
@session.asking()
def list_members(asked: Session, project_name: str, limit: int) -> None:
    """List who has a role in a project."""
    asked.out.rows(_MEMBERS, asked.client.each(path("projects", project_name, "members"), limit=limit))


@member.command(epilog="Example: roadstead member add web alice developer")
@click.argument("project_name", metavar="PROJECT", type=PROJECT)
@click.argument("name")
@click.argument("role", type=_ROLE)
@_GROUP
@session.asking()
def add(asked: Session, project_name: str, name: str, role: str, group: bool) -> None:
    """Give a user or group a role in a project."""
    if group:
        who: Json = {"member_group": {"id": _group(asked.client, name)}}
    else:
        who = {"member_user": {"username": name}}
    asked.client.change("POST", path("projects", project_name, "members"), {"role_id": text.ROLES[role], **who})
    asked.out.done(f"{text.clean(name)} is now {role} in {project_name}.")


@member.command("set")
@click.argument("project_name", metavar="PROJECT", type=PROJECT)
@click.argument("name")
@click.argument("role", type=_ROLE)
@_GROUP
@session.asking()
def set_member(asked: Session, project_name: str, name: str, role: str, group: bool) -> None:
    """Change the role of a member."""
    found = _member(asked.client, project_name, name, group=group)
    asked.client.change("PUT", found, {"role_id": text.ROLES[role]})
    asked.out.done(f"{text.clean(name)} is now {role} in {project_name}.")


@member.command()
@click.argument("project_name", metavar="PROJECT", type=PROJECT)
@click.argument("name")
@_GROUP
@session.asking()
def remove(asked: Session, project_name: str, name: str, group: bool) -> None:
    """Take a member's role away."""
    asked.client.change("DELETE", _member(asked.client, project_name, name, group=group))
    asked.out.done(f"{text.clean(name)} has no role of their own in {project_name} any more.")


def _group(client: Client, name: str) -> Any:
    """Return the id of a group; raise CommandError."""
    for row in client.each("/usergroups/search", {"groupname": name}):
        if row.get("group_name") == name:
            return row.get("id")
    raise CommandError(f"There is no group {text.clean(name)}.", Exit.NOT_FOUND)


def _member(client: Client, project_name: str, name: str, *, group: bool) -> str:
    """Return the path of a member; raise CommandError where the name has no role."""
    members = path("projects", project_name, "members")
    for row in client.each(members, {"entityname": name}):
        if row.get("entity_name") == name and row.get("entity_type") == ("g" if group else "u"):
            return members + path(row.get("id"))
    raise CommandError(
        f"{text.clean(name)} is no member of {project_name}. Run: roadstead member list {project_name}",
        Exit.NOT_FOUND,
    )
