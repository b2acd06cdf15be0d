"""`roadstead region`: what a region is, what has not arrived there, and which one takes the writes.

Invariants:
* Each command asks the region of the server that it is logged in to; nothing is sent to the other one.
* What would be lost, or changes, is named before anything is done.
"""

from collections.abc import Iterator
from typing import Any

import click

from chalicelib.cli import session, text
from chalicelib.cli.client import Json, path
from chalicelib.cli.failures import CommandError
from chalicelib.cli.output import Column, Form, Look, plain
from chalicelib.cli.session import Session

_REGIONS = path("system", "regions")
_CHANGES_HERE = frozenset({"is here alone", "is another one there"})
# A first scan takes long where there is much, and each page of it some seconds.
_MOST_PAGES = 10_000
_CHECK = click.option("--check/--no-check", default=True, show_default=True, help="Name first what has not arrived.")


def _seconds(value: Any, _look: Look) -> str:
    return "" if value is None else f"{value:.0f} s"


def _joined(value: Any, _look: Look) -> str:
    return text.joined(value or [])


_STATUS = (
    Column("REGION", "name", plain),
    Column("ROLE", "role", plain),
    Column("EPOCH", "epoch", plain),
    Column("IT", "standing", plain),
    Column("PRIMARY", "primary", plain),
    Column("BEHIND", "lag_seconds", _seconds),
    Column("OTHER", "peer.url", plain),
    Column("IS", "peer.role", plain),
    Column("BEHIND", "peer.lag_seconds", _seconds),
)
# Of a registry that is in one region alone.
_ONLY = tuple(column for column in _STATUS if column.title in {"ROLE", "EPOCH"})
_ARREARS = (
    Column("REPOSITORY", "repository", plain),
    Column("REFERENCE", "reference", plain),
    Column("TAGS", "tags", _joined),
    Column("IT", "lack", plain),
    Column("MISSING", "missing", _joined),
)


@click.group()
def region() -> None:
    """Regions of the registry."""


@region.command()
@session.asking()
def status(asked: Session) -> None:
    """Show what the server's region is, and how far behind."""
    found = asked.client.get(_REGIONS)
    asked.out.card(_STATUS if found.get("name") else _ONLY, found)
    if not found.get("name"):
        asked.out.note("This registry is in one region: ROADSTEAD_REGION_NAME names none.")


@region.command()
@session.asking()
def arrears(asked: Session) -> None:
    """List what has not arrived in the region, and what is there alone."""
    asked.out.rows(_ARREARS, list(_arrears(asked)))


@region.command(epilog="Example: roadstead region promote --server https://paris.example.org")
@click.option("--force", is_flag=True, help="Though the other region says that it is the primary.")
@_CHECK
@session.YES
@session.asking()
def promote(asked: Session, force: bool, check: bool, yes: bool) -> None:
    """Make the server's region the primary, which takes the writes."""
    name = text.clean(asked.client.get(_REGIONS).get("name") or "this region")
    _name_them(asked, list(_arrears(asked)) if check else [])
    session.confirm(f"Make {name} the primary? What has not arrived there is not part of it.", yes=yes)
    told = f"{name} is the primary, and takes writes within seconds. Let its bucket take no more copies."
    _become(asked, {"role": "primary", "force": force}, told, name)


@region.command()
@session.YES
@session.asking()
def demote(asked: Session, yes: bool) -> None:
    """Let the server's region take no more writes, before another is promoted."""
    name = text.clean(asked.client.get(_REGIONS).get("name") or "this region")
    session.confirm(f"Let {name} take no more writes? No region takes any until one is promoted.", yes=yes)
    told = f"{name} takes no more writes. Wait until the other is not behind, and promote it."
    _become(asked, {"role": "replica"}, told, name)


@region.command()
@session.YES
@session.asking()
def rejoin(asked: Session, yes: bool) -> None:
    """Bring a region back as a copy, after another was promoted in its place."""
    name = text.clean(asked.client.get(_REGIONS).get("name") or "this region")
    changing = [each for each in _arrears(asked) if each.get("lack") in _CHANGES_HERE]
    _name_them(asked, changing)
    session.confirm(f"Let these {len(changing)} be in {name} what they are in the primary?", yes=yes)
    for _ in _pages(asked, "POST", f"{_REGIONS}/alignments"):
        pass
    told = f"{name} is a copy again. The history of its tags still has what they named."
    _become(asked, {"role": "replica"}, told, name)


def _become(asked: Session, wanted: Json, told: str, name: str) -> None:
    """Change what the region is, and say what it is now."""
    made = asked.client.change("PUT", _REGIONS, wanted)
    if asked.out.form is Form.JSON:
        asked.out.json(made)
    asked.out.done(told, name)


def _name_them(asked: Session, found: list[Json]) -> None:
    for each in found:
        reference = str(each.get("reference") or "")
        mark = "@" if ":" in reference else ":"
        asked.out.note(text.clean(f"{each.get('repository')}{mark}{reference} {each.get('lack')}"))


def _arrears(asked: Session) -> Iterator[Json]:
    for found in _pages(asked, "GET", f"{_REGIONS}/arrears"):
        yield from found.get("arrears") or []


def _pages(asked: Session, method: str, where: str) -> Iterator[Json]:
    last = ""
    for _ in range(_MOST_PAGES):
        found = (
            asked.client.get(where, {"last": last})
            if method == "GET"
            else asked.client.change(method, where, {"last": last})
        )
        yield found
        last = str(found.get("next") or "")
        if not last:
            return
    raise CommandError(f"{asked.client.login.server} does not come to an end: try again.")
