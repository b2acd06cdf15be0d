"""`roadstead tag`: the names of artifacts, where they pointed before, and the way back."""

from dataclasses import replace
from typing import Any

import click

from chalicelib.cli import session, text
from chalicelib.cli.client import Client, Json
from chalicelib.cli.names import ANY_TARGET, ARTIFACT, TAG, TAGGED, Target
from chalicelib.cli.output import Column, Form, Look, as_digest, as_size, as_time, as_yes, plain
from chalicelib.cli.repositories import at
from chalicelib.cli.session import Session


def _state(value: Any, _look: Look) -> str:
    return "deleted" if value.get("deleted") else "current" if value.get("current") else text.NOTHING


_TAGS = (
    Column("TAG", "name", plain),
    Column("DIGEST", "digest", as_digest),
    Column("IMMUTABLE", "immutable", as_yes),
    Column("PUSHED", "push_time", as_time),
    Column("PULLED", "pull_time", as_time),
)
_HISTORY = (
    Column("DIGEST", "digest", as_digest),
    Column("STATE", "state", plain),
    Column("SIZE", "size", as_size),
    Column("TIME", "time", as_time),
    Column("VERSION", "version", plain),
)


@click.group()
def tag() -> None:
    """Tags: move, remove and bring them back."""


@tag.command("list")
@click.argument("target", metavar="REPOSITORY[:TAG|@DIGEST]", type=ANY_TARGET)
@session.LIMIT
@session.asking()
def list_tags(asked: Session, target: Target, limit: int) -> None:
    """List the tags of a repository, or of one artifact."""
    if target.reference:
        found = asked.client.get(at(target, "artifacts", target.reference))
        rows = asked.client.each(
            at(target, "artifacts", target.reference, "tags"), {"with_immutable_status": "true"}, limit
        )
        asked.out.rows(_TAGS, [{**row, "digest": found.get("digest")} for row in rows])
    else:
        asked.out.rows(_TAGS, _all_tags(asked.client, target, limit))


def _all_tags(client: Client, target: Target, limit: int) -> list[Json]:
    """Return the tags of a repository; the API has them by artifact, each of which has at least one here."""
    query = {"q": "tags=*", "with_tag": "true", "with_immutable_status": "true"}
    artifacts = client.each(at(target, "artifacts"), query, limit)
    rows = [{**row, "digest": found.get("digest")} for found in artifacts for row in found.get("tags") or []]
    return rows[:limit] if limit else rows


@tag.command(epilog="Example: roadstead tag retag web/api:1.4 stable")
@click.argument("source", metavar="REPOSITORY:TAG|@DIGEST", type=ARTIFACT)
@click.argument("name", metavar="TAG", type=TAG)
@session.asking()
def retag(asked: Session, source: Target, name: str) -> None:
    """Give an artifact one more tag."""
    asked.client.change("POST", at(source, "artifacts", source.reference, "tags"), {"name": name})
    if asked.out.form is Form.JSON:
        asked.out.json(asked.client.get(at(source, "artifacts", name)))
    asked.out.done(f"{source.name}:{name} is now {source}.", f"{source.name}:{name}")


@tag.command()
@click.argument("target", metavar="REPOSITORY:TAG", type=TAGGED)
@session.YES
@session.asking()
def delete(asked: Session, target: Target, yes: bool) -> None:
    """Delete a tag; the artifact stays.

    `roadstead tag undo` brings the tag back.
    """
    session.confirm(f"Delete tag {target}?", yes=yes)
    asked.client.change("DELETE", at(target, "artifacts", target.reference, "tags", target.reference))
    asked.out.done(f"Deleted tag {target}.")


@tag.command()
@click.argument("target", metavar="REPOSITORY:TAG", type=TAGGED)
@session.LIMIT
@session.asking()
def history(asked: Session, target: Target, limit: int) -> None:
    """Show what a tag pointed to, newest first."""
    rows = asked.client.each(at(target, "tags", target.reference, "history"), limit=limit)
    if asked.out.form is not Form.JSON:
        rows = [{**row, "state": _state(row, asked.out.look)} for row in rows]
    asked.out.rows(_HISTORY, rows)


@tag.command(epilog="Versions are those of `roadstead tag history`.")
@click.argument("target", metavar="REPOSITORY:TAG", type=TAGGED)
@click.option("--version", default="", help="Go back to this version, not to the previous one.")
@session.asking()
def undo(asked: Session, target: Target, version: str) -> None:
    """Move a tag back to where it pointed before its last change."""
    body = {"version": version} if version else {}
    client = replace(asked.client, missing=f"Its states are in: roadstead tag history {target}")
    answer = client.change("POST", at(target, "tags", target.reference, "undo"), body)
    digest = text.clean(answer.get("digest") or text.NOTHING)
    if asked.out.form is Form.JSON:
        asked.out.json(answer)
    asked.out.done(f"{target} is {digest} again.", digest)
