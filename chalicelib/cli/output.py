"""What commands print: tables for people, plain text in a pipe, the API's JSON, or names alone.

Invariants:
* Results go to standard output, notes and errors to standard error.
* In a pipe nothing is coloured, drawn or shortened; on a terminal long digests are short and times relative.
* Text of the server passes through `clean` and is never read as markup.
* rich draws on a terminal and is imported there alone: `--help` and `run` need none of it.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple, TextIO

import click

from chalicelib.cli import text

Row = Mapping[str, Any]
_SHORT_DIGEST = len("sha256:") + 12


class Form(Enum):
    """What the user asked to see."""

    TABLE = "table"
    JSON = "json"
    QUIET = "quiet"


@dataclass(frozen=True, slots=True)
class Look:
    """Who reads: a person at a terminal, and when; or a program."""

    terminal: bool
    now: datetime


Format = Callable[[Any, Look], str]


class Column(NamedTuple):
    """One column of a table or line of a card: a title, the field (dots go deeper) and how it is written."""

    title: str
    field: str
    format: Format


def plain(value: Any, _look: Look) -> str:
    """Write a value as it is."""
    return text.NOTHING if value is None or value == "" else text.clean(value)


def as_size(value: Any, _look: Look) -> str:
    """Write bytes for people."""
    return text.size(value)


def as_time(value: Any, look: Look) -> str:
    """Write a time: relative on a terminal, exact in a pipe."""
    then = text.moment(value)
    if then is None:
        return "never"
    return text.ago(then, look.now) if look.terminal else text.exact(then)


def as_digest(value: Any, look: Look) -> str:
    """Write a digest: whole in a pipe, its beginning on a terminal."""
    whole = plain(value, look)
    return whole[:_SHORT_DIGEST] if look.terminal else whole


def as_role(value: Any, _look: Look) -> str:
    """Write the name of a role."""
    return text.role(value)


def as_yes(value: Any, _look: Look) -> str:
    """Write yes or no."""
    return text.yes_no(value)


def value_of(row: Row, field: str) -> Any:
    """Return the field of a row, or None; `a.b` is the field b of the field a."""
    value: Any = row
    for name in field.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


@dataclass(frozen=True, slots=True)
class Output:
    """Where and how a command prints."""

    form: Form
    look: Look
    stream: TextIO
    notes: TextIO

    def rows(self, columns: Sequence[Column], rows: Sequence[Row]) -> None:
        """Print a list: a table, the API's JSON, or the first column alone."""
        if self.form is Form.JSON:
            self.json(rows)
        elif self.form is Form.QUIET:
            for row in rows:
                self._line(text.clean(value_of(row, columns[0].field)))
        elif rows:
            cells = [[column.format(value_of(row, column.field), self.look) for column in columns] for row in rows]
            self._table([column.title for column in columns], cells)
        else:
            self.note("Nothing to list.")

    def card(self, columns: Sequence[Column], row: Row) -> None:
        """Print one thing: a line for each field, the API's JSON, or the first field alone."""
        if self.form is Form.JSON:
            self.json(row)
        elif self.form is Form.QUIET:
            self._line(text.clean(value_of(row, columns[0].field)))
        else:
            self._pairs([(column.title, column.format(value_of(row, column.field), self.look)) for column in columns])

    def gap(self) -> None:
        """Leave a line empty between two tables."""
        self._line("")

    def done(self, sentence: str, name: str = "") -> None:
        """Say what was done: a sentence, or with --quiet the name that is new; JSON has nothing to add."""
        if self.form is Form.TABLE:
            self._line(sentence)
        elif self.form is Form.QUIET and name:
            self._line(text.clean(name))

    def secret(self, answer: Row, sentence: str) -> None:
        """Print a secret that the server shows once: with a note, or alone in JSON or with --quiet."""
        if self.form is Form.JSON:
            self.json(answer)
            return
        if self.form is Form.TABLE:
            self._line(sentence)
        self._line(text.clean(answer.get("secret") or ""))
        if self.form is Form.TABLE:
            self.note("Keep the secret now: the server does not show it again.")

    def note(self, sentence: str) -> None:
        """Say something that is no result; with --json or --quiet nothing is said."""
        if self.form is Form.TABLE:
            click.echo(sentence, file=self.notes)

    def json(self, value: Any) -> None:
        """Print JSON as the API gave it."""
        self._line(text.clean_json(json.dumps(value, indent=2, ensure_ascii=False)))

    def _line(self, line: str) -> None:
        click.echo(line, file=self.stream)

    def _table(self, titles: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
        if self.look.terminal:
            _draw(self.stream, titles, cells)
            return
        for line in aligned([titles, *cells]):
            self._line(line)

    def _pairs(self, pairs: Sequence[tuple[str, str]]) -> None:
        if self.look.terminal:
            _draw(self.stream, (), pairs)
            return
        for line in aligned([(f"{title}:", value) for title, value in pairs]):
            self._line(line)


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Return lines whose columns begin one below the other, two blanks apart."""
    widths = [max(map(text.width, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(map(_padded, line, widths)).rstrip() for line in lines]


def _padded(cell: str, columns: int) -> str:
    return cell + " " * (columns - text.width(cell))


def _draw(stream: TextIO, titles: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    from rich import box  # noqa: PLC0415 - only a terminal pays for it
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD if titles else None, show_header=bool(titles), header_style="bold")
    for number in range(len(cells[0])):
        table.add_column(titles[number] if titles else "", style="" if number else "cyan", overflow="fold")
    for row in cells:
        table.add_row(*row)
    Console(file=stream, highlight=False, markup=False, emoji=False).print(table)


def standard(form: Form, now: datetime) -> Output:
    """Return the output of this process; characters that its encoding lacks come out as escapes."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure:
            reconfigure(errors="backslashreplace")
    return Output(form, Look(sys.stdout.isatty(), now), sys.stdout, sys.stderr)
