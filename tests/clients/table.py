"""Own the table of the matrix: what each client did with each operation, in plain aligned text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

OPERATIONS = ("login", "push", "pull", "re-push", "mount", "multi-arch index", "delete", "list")
PASSED, FAILED, CANNOT, UNKNOWN = "pass", "FAIL", "cannot", "-"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one cell."""

    result: str
    seconds: float
    reason: str = ""


Cells = Mapping[tuple[str, str], Outcome]


def shown(outcome: Outcome | None) -> str:
    if outcome is None:
        return UNKNOWN
    return f"{outcome.result} {outcome.seconds:.1f}s" if outcome.result == PASSED else outcome.result


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def render(clients: Mapping[str, str], cells: Cells) -> str:
    """Render the matrix; `clients` are names and versions."""
    head = ("client", *OPERATIONS)
    body = [(name, *(shown(cells.get((name, each))) for each in OPERATIONS)) for name in clients]
    reasons = [
        (f"{client} {operation}:", outcome.reason)
        for (client, operation), outcome in cells.items()
        if outcome.result == CANNOT
    ]
    beyond = [
        (client, operation, shown(outcome))
        for (client, operation), outcome in cells.items()
        if operation not in OPERATIONS
    ]
    blocks = (
        aligned([head, *body]),
        ["beyond the table", *(f"  {line}" for line in aligned(beyond))] if beyond else [],
        ["cannot", *(f"  {line}" for line in aligned(reasons))] if reasons else [],
        ["versions", *(f"  {line}" for line in aligned(list(clients.items())))],
    )
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"
