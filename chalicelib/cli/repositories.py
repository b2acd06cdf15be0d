"""`roadstead repo` and `roadstead artifact`: what projects hold."""

from typing import Any

import click

from chalicelib.cli import session, text
from chalicelib.cli.client import Json, path
from chalicelib.cli.failures import CommandError, Exit
from chalicelib.cli.names import ARTIFACT, PROJECT, REPOSITORY, Target
from chalicelib.cli.output import Column, Form, Look, as_digest, as_size, as_time, plain
from chalicelib.cli.session import Session

_REPOSITORIES = (
    Column("NAME", "name", plain),
    Column("ARTIFACTS", "artifact_count", plain),
    Column("PULLS", "pull_count", plain),
    Column("CHANGED", "update_time", as_time),
)
_REPOSITORY = (
    Column("Name", "name", plain),
    Column("Description", "description", plain),
    Column("Artifacts", "artifact_count", plain),
    Column("Pulls", "pull_count", plain),
    Column("Created", "creation_time", as_time),
    Column("Changed", "update_time", as_time),
)


def _tags(value: Any, _look: Look) -> str:
    rows = value if isinstance(value, list) else []
    return text.joined([row.get("name") for row in rows if isinstance(row, dict)])


def _platform(value: Any, _look: Look) -> str:
    row = value if isinstance(value, dict) else {}
    parts = [text.clean(row[key]) for key in ("os", "architecture", "variant") if row.get(key)]
    return "/".join(parts) or text.NOTHING


def _references(value: Any, look: Look) -> str:
    rows = [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
    children = [
        f"{as_digest(row.get('child_digest'), look)} ({_platform(row.get('platform'), look)})" for row in rows
    ]
    return text.joined(children)


_ARTIFACTS = (
    Column("DIGEST", "digest", as_digest),
    Column("TAGS", "tags", _tags),
    Column("TYPE", "type", plain),
    Column("PLATFORM", "extra_attrs", _platform),
    Column("SIZE", "size", as_size),
    Column("PUSHED", "push_time", as_time),
    Column("PULLED", "pull_time", as_time),
)
_ARTIFACT = (
    Column("Digest", "digest", plain),
    Column("Repository", "repository_name", plain),
    Column("Tags", "tags", _tags),
    Column("Type", "type", plain),
    Column("Media type", "manifest_media_type", plain),
    Column("Platform", "extra_attrs", _platform),
    Column("Size", "size", as_size),
    Column("Refers to", "references", _references),
    Column("Pushed", "push_time", as_time),
    Column("Pulled", "pull_time", as_time),
)


def at(target: Target, *parts: object) -> str:
    """Return a path of the API below a repository."""
    return path("projects", target.project, "repositories", target.repository, *parts)


@click.group()
def repo() -> None:
    """Repositories."""


@repo.command("list")
@click.argument("project", default="", type=str)
@session.LIMIT
@session.asking()
def list_repositories(asked: Session, project: str, limit: int) -> None:
    """List the repositories of PROJECT, or all that you may see."""
    where = path("projects", PROJECT.convert(project, None, None)) if project else ""
    asked.out.rows(_REPOSITORIES, asked.client.each(f"{where}/repositories", limit=limit))


@repo.command()
@click.argument("repository", type=REPOSITORY)
@session.asking()
def show(asked: Session, repository: Target) -> None:
    """Show a repository."""
    asked.out.card(_REPOSITORY, asked.client.get(at(repository)))


@repo.command()
@click.argument("repository", type=REPOSITORY)
@session.YES
@session.asking()
def delete(asked: Session, repository: Target, yes: bool) -> None:
    """Delete a repository with everything in it."""
    count = "its" if yes else asked.client.get(at(repository)).get("artifact_count")
    session.confirm(f"Delete repository {repository} with {text.clean(count)} artifacts?", yes=yes)
    asked.client.change("DELETE", at(repository))
    asked.out.done(f"Deleted repository {repository}.")


@click.group()
def artifact() -> None:
    """Artifacts: images, charts and whatever else has a manifest."""


@artifact.command("list")
@click.argument("repository", type=REPOSITORY)
@click.option("--untagged", is_flag=True, help="Show only those without a tag.")
@session.LIMIT
@session.asking()
def list_artifacts(asked: Session, repository: Target, untagged: bool, limit: int) -> None:
    """List the artifacts of a repository."""
    query = {"with_tag": "true"} | ({"q": "tags=nil"} if untagged else {})
    asked.out.rows(_ARTIFACTS, asked.client.each(at(repository, "artifacts"), query, limit))


@artifact.command("show", epilog="Example: roadstead artifact show web/api:1.4")
@click.argument("target", metavar="REPOSITORY:TAG|@DIGEST", type=ARTIFACT)
@session.asking()
def show_artifact(asked: Session, target: Target) -> None:
    """Show an artifact."""
    asked.out.card(_ARTIFACT, asked.client.get(at(target, "artifacts", target.reference)))


@artifact.command("delete")
@click.argument("target", metavar="REPOSITORY:TAG|@DIGEST", type=ARTIFACT)
@session.YES
@session.asking()
def delete_artifact(asked: Session, target: Target, yes: bool) -> None:
    """Delete an artifact with all of its tags."""
    if not yes:
        found = asked.client.get(at(target, "artifacts", target.reference))
        tags = _tags(found.get("tags"), asked.out.look)
        session.confirm(f"Delete {target} (tags: {tags})?", yes=yes)
    asked.client.change("DELETE", at(target, "artifacts", target.reference))
    asked.out.done(f"Deleted {target}.")


@artifact.command(epilog="Example: roadstead artifact copy dev/api:1.4 prod/api")
@click.argument("source", metavar="REPOSITORY:TAG|@DIGEST", type=ARTIFACT)
@click.argument("repository", type=REPOSITORY)
@session.asking()
def copy(asked: Session, source: Target, repository: Target) -> None:
    """Copy an artifact into another repository of the server; its layers stay where they are."""
    if source.name == repository.name:
        raise CommandError(f"{source} is in {repository} already.", Exit.USAGE)
    asked.client.change("POST", at(repository, "artifacts"), query={"from": str(source)})
    if asked.out.form is Form.JSON:
        asked.out.json(_copied(asked, source, repository))
    asked.out.done(f"Copied {source} to {repository}.")


def _copied(asked: Session, source: Target, repository: Target) -> Json:
    return asked.client.get(at(repository, "artifacts", source.reference))
