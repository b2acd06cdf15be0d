"""The tables of `docs/harbor-api.md`: what is built of each part, where answers differ, and what Harbor has not.

`python -m tests.harbor.page` writes them again; a test compares.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from chalicelib.api.harbor.unbuilt import UNBUILT
from tests.harbor.deviations import DEVIATIONS, EXTENSIONS
from tests.harbor.facts import operations

PAGE = Path(__file__).parents[2] / "docs" / "harbor-api.md"
_BUILT = ("part", "built", "of")
_DIFFERENCES = ("what", "operations", "why")
_EXTENSIONS = ("operation", "what it does")


def rendered(text: str) -> str:
    """Return the page with its tables as they should be."""
    for head, rows in ((_BUILT, _built()), (_DIFFERENCES, _differences()), (_EXTENSIONS, _extensions())):
        text = _with_table(text, head, rows)
    return text


def _built() -> Iterable[tuple[str, ...]]:
    unbuilt = set(UNBUILT)
    every = Counter(each.tag for each in operations())
    built = Counter(each.tag for each in operations() if (each.method, each.path) not in unbuilt)
    for part, count in sorted(every.items(), key=lambda row: row[0].lower()):
        yield part, str(built[part] or ""), str(count)
    yield "all", str(built.total()), str(every.total())


def _differences() -> Iterable[tuple[str, ...]]:
    for each in DEVIATIONS:
        yield f"{each.kind.value} `{each.name}`", ", ".join(sorted(each.operations)) or "any", each.reason


def _extensions() -> Iterable[tuple[str, ...]]:
    for each in EXTENSIONS:
        yield f"`{each.method} {each.path}`", each.purpose


def _with_table(text: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    start, rule = _row(head), "|---" * len(head) + "|\n"
    table = start + rule + "".join(map(_row, rows))
    return re.sub(re.escape(start + rule) + r"(?:\|.*\n)*", lambda _: table, text)


def _row(cells: tuple[str, ...]) -> str:
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|\n"


if __name__ == "__main__":
    PAGE.write_text(rendered(PAGE.read_text()))
