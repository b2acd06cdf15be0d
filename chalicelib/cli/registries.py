"""`roadstead registry`: other registries, from and to which is copied, or whose content is cached."""

import click

from chalicelib.cli import session, text
from chalicelib.cli.client import Client, Json, path
from chalicelib.cli.output import Column, as_yes, plain
from chalicelib.cli.session import Session

_REGISTRIES = (
    Column("NAME", "name", plain),
    Column("ID", "id", plain),
    Column("TYPE", "type", plain),
    Column("URL", "url", plain),
    Column("USER", "credential.access_key", plain),
    Column("INSECURE", "insecure", as_yes),
    Column("STATUS", "status", plain),
)


@click.group()
def registry() -> None:
    """Other registries: to copy from and to, or to cache."""


@registry.command("list")
@session.LIMIT
@session.asking()
def list_registries(asked: Session, limit: int) -> None:
    """List the other registries and whether they answered last."""
    asked.out.rows(_REGISTRIES, asked.client.each("/registries", limit=limit))


@registry.command(epilog="Example: roadstead registry add hub https://hub.docker.com --type docker-hub -u me")
@click.argument("name")
@click.argument("url")
@click.option("--type", "kind", default="docker-registry", show_default=True, help="Make of the registry.")
@click.option("-u", "--user", default="", help="Name or access key there; its secret is asked for.")
@click.option("--description", default="", help="What it is for.")
@click.option("--skip-verify", is_flag=True, help="Believe any certificate of it.")
@session.PASSWORD_STDIN
@session.asking()
def add(asked: Session, /, name: str, url: str, kind: str, user: str, password_stdin: bool, **given: object) -> None:
    """Add a registry that answers."""
    credential: Json = {}
    if user or password_stdin:
        secret = session.password("Secret there", from_stdin=password_stdin)
        credential = {"type": "basic", "access_key": user, "access_secret": secret}
    body = {
        "name": name,
        "url": url,
        "type": kind,
        "credential": credential,
        "description": given["description"],
        "insecure": given["skip_verify"],
    }
    asked.client.change("POST", "/registries", body)
    asked.out.done(f"Added registry {text.clean(name)}.")


@registry.command()
@click.argument("name", metavar="REGISTRY")
@session.asking()
def ping(asked: Session, name: str) -> None:
    """Ask a registry whether it answers; REGISTRY is a name or an id."""
    found = named(asked.client, name)
    asked.client.change("POST", "/registries/ping", {"id": found.get("id")})
    asked.out.done(f"Registry {text.clean(found.get('name'))} answers.")


@registry.command()
@click.argument("name", metavar="REGISTRY")
@session.YES
@session.asking()
def remove(asked: Session, name: str, yes: bool) -> None:
    """Remove a registry that no policy and no project uses."""
    found = named(asked.client, name)
    session.confirm(f"Remove registry {text.clean(found.get('name'))}?", yes=yes)
    asked.client.change("DELETE", path("registries", found.get("id")))
    asked.out.done(f"Removed registry {text.clean(found.get('name'))}.")


def named(client: Client, name: str) -> Json:
    """Return the registry with a name or an id; raise CommandError."""
    return client.named("/registries", name, "registry", "roadstead registry list")
