"""The tables of failures in docs/operations.md: how a row is written, and the rows that are there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

DOCUMENT = Path(__file__).parents[2] / "docs" / "operations.md"
# How each operation ends where nothing fails; the order is that of the columns.
# fmt: off
WELL: Mapping[str, int] = MappingProxyType({
    "pull manifest": 200,
    "pull blob":     307,
    "list tags":     200,
    "push blob":     201,
    "push manifest": 201,
    "log in":        200,
    "Harbor's API":  200,
    "start a job":   201,
})
# fmt: on
HEAD = ("fails", "how", *WELL, "where it passes")
Row = tuple[str, ...]
TARGETS: Row = ("a webhook's target", "as long as it lasts", "where it passes")


def row(service: str, fault: str, lasting: Mapping[str, int], passing: Mapping[str, int]) -> Row:
    """Return what a row says: how each operation ends while a failure lasts, and what is seen of one that passes."""
    seen = [f"{name} {passing[name]}" for name, status in WELL.items() if passing[name] != status]
    cells = ("works" if lasting[name] == status else str(lasting[name]) for name, status in WELL.items())
    return (service, fault, *cells, ", ".join(seen) or "not seen")


def of_document(head: Row = HEAD) -> list[Row]:
    """Return the rows of the document's table that has this head."""
    lines = DOCUMENT.read_text().splitlines()
    cells = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines if line.startswith("|")]
    first = cells.index(head) + 2
    rows = []
    for each in cells[first:]:
        if len(each) != len(head):
            break
        rows.append(each)
    return rows
