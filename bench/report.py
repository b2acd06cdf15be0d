"""Rows of results and the tables they are printed in."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

_START = time.monotonic()


class Verdict(Enum):
    """How a result stands to its budget; `BROKEN` fails the run, `SLOW` is said and no more."""

    KEPT = "ok"
    BROKEN = "OVER BUDGET"
    SLOW = "over budget"
    NONE = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One line: what was done, what it took either registry, and what ours may take."""

    name: str
    theirs: str
    ours: str
    budget: str
    verdict: Verdict

    @property
    def cells(self) -> tuple[str, ...]:
        """Return the line as text."""
        return (self.name, self.theirs, self.ours, self.budget, self.verdict.value)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a title."""

    title: str
    rows: Sequence[Row]
    notes: Sequence[str] = ()
    theirs: str = "docker-registry"

    @property
    def broken(self) -> bool:
        """Say whether a budget that fails the run was exceeded."""
        return any(row.verdict is Verdict.BROKEN for row in self.rows)


def render(table: Table) -> str:
    """Return the table as aligned text."""
    lines = [("", table.theirs, "roadstead", "budget", ""), *(row.cells for row in table.rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    body = ["  ".join(_aligned(line, widths)).rstrip() for line in lines]
    return "\n".join([table.title, "-" * len(table.title), *body, *table.notes])


def _aligned(line: Sequence[str], widths: Sequence[int]) -> Iterable[str]:
    first, *rest = zip(line, widths, strict=True)
    yield first[0].ljust(first[1])
    *numbers, last = rest
    for text, width in numbers:
        yield text.rjust(width)
    yield last[0]


def progress(text: str) -> None:
    """Tell whoever waits."""
    print(f"[{time.monotonic() - _START:6.1f} s] {text}", file=sys.stderr, flush=True)
