"""Tables as a terminal shows them and as a pipe gets them."""

import io
import sys
import unicodedata
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.cli import output
from chalicelib.cli.failures import MEANINGS, Exit
from chalicelib.cli.output import Column, Form, Look, Output
from tests.cli.conftest import Cli

NOW = datetime(2026, 8, 4, 10, tzinfo=UTC)
COLUMNS = (
    Column("NAME", "name", output.plain),
    Column("DIGEST", "inner.digest", output.as_digest),
    Column("TIME", "time", output.as_time),
)
ROW = {"name": "[red]web[/red]", "inner": {"digest": "sha256:" + "a" * 64}, "time": "2026-08-01T10:00:00Z"}
ON_A_TERMINAL = """\

  NAME             DIGEST                TIME
 ───────────────────────────────────────────────────
  [red]web[/red]   sha256:aaaaaaaaaaaa   3 days ago

"""
IN_A_PIPE = f"""\
NAME            {"DIGEST":71}  TIME
[red]web[/red]  sha256:{"a" * 64}  2026-08-01T10:00:00Z
"""


def printing(form: Form = Form.TABLE, *, terminal: bool = False) -> tuple[Output, io.StringIO]:
    stream = io.StringIO()
    return Output(form, Look(terminal, NOW), stream, io.StringIO()), stream


def _without_trailing_blanks(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.split("\n"))


def test_a_table_on_a_terminal() -> None:
    out, stream = printing(terminal=True)
    out.rows(COLUMNS, [ROW])

    assert _without_trailing_blanks(stream.getvalue()) == ON_A_TERMINAL


def test_a_table_in_a_pipe() -> None:
    out, stream = printing()
    out.rows(COLUMNS, [ROW])

    assert stream.getvalue() == IN_A_PIPE


def test_a_card_on_a_terminal() -> None:
    out, stream = printing(terminal=True)
    out.card(COLUMNS, ROW)

    lines = [line.split() for line in stream.getvalue().splitlines()]
    assert lines == [["NAME", "[red]web[/red]"], ["DIGEST", "sha256:aaaaaaaaaaaa"], ["TIME", "3", "days", "ago"]]


def test_a_narrow_terminal_breaks_lines_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    out, stream = printing(terminal=True)
    out.rows(COLUMNS[:1], [{"name": "x" * 100}])

    assert stream.getvalue().count("x") == 100


def test_columns_line_up_where_characters_are_wide() -> None:
    assert output.aligned([("港", "a"), ("e\u0301x", "b"), ("abc", "c")]) == ["港   a", "e\u0301x   b", "abc  c"]


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1))
def test_columns_in_a_pipe_begin_one_below_the_other(rows: list[tuple[str, str]]) -> None:
    cells = [(output.plain(first, Look(False, NOW)), f"|{second}") for first, second in rows]
    longest = max(_width(first) for first, _ in cells)

    for line, (first, second) in zip(output.aligned(cells), cells, strict=True):
        assert line == (first + " " * (longest - _width(first) + 2) + second).rstrip()


def _width(text: str) -> int:
    wide = sum(unicodedata.east_asian_width(char) in "WF" and not unicodedata.combining(char) for char in text)
    return len(text) + wide - sum(bool(unicodedata.combining(char)) for char in text)


def test_characters_that_the_encoding_lacks_come_out_as_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    latin = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    with monkeypatch.context() as patch:
        patch.setitem(vars(sys), "stdout", latin)
        output.standard(Form.TABLE, NOW).rows(COLUMNS[:1], [{"name": "é 港"}])
    latin.flush()

    assert latin.buffer.seek(0) == 0
    assert latin.buffer.read() == b"NAME\n\xe9 \\u6e2f\n"


def test_the_forms_exclude_each_other(cli: Cli) -> None:
    done = cli("project", "list", "--json", "-q")

    assert done.exit_code == 2
    assert "--json and --quiet exclude each other" in done.stderr


def test_the_help_has_the_table_of_exit_codes(nobody: Cli) -> None:
    lines = nobody("--help").stdout.splitlines()

    assert set(MEANINGS) == set(Exit)
    for code, meaning in MEANINGS.items():
        assert f"    {code.value}  {meaning}" in lines
