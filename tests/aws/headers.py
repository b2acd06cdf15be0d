"""What a REST API of API Gateway does to headers between a client and a Lambda proxy function: a table, as data.

A header that the table does not name passes. Names keep the case in which they were sent, but for a few that API
Gateway knows, which arrive with capitals.

Specification: "Amazon API Gateway important notes", its table of headers that are remapped or dropped, the column
of Lambda integrations; Content-Length as recorded on live APIs, where a function's own is renamed.
"""

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum, auto
from types import MappingProxyType
from typing import NamedTuple

Lines = Iterable[tuple[str, str]]
REMAPPED = "X-Amzn-Remapped-"


class Fate(Enum):
    """What becomes of a header."""

    PASS = auto()
    DROP = auto()
    REMAP = auto()


class Row(NamedTuple):
    """What becomes of a header in a request, and in an answer."""

    request: Fate
    answer: Fate


_PASS, _DROP, _REMAP = Fate.PASS, Fate.DROP, Fate.REMAP
# fmt: off
TABLE: Mapping[str, Row] = MappingProxyType({
    "Accept":             Row(_PASS, _PASS),
    "Authorization":      Row(_PASS, _REMAP),
    "Connection":         Row(_DROP, _REMAP),
    "Content-Encoding":   Row(_PASS, _PASS),
    "Content-Length":     Row(_DROP, _REMAP),
    "Content-MD5":        Row(_DROP, _REMAP),
    "Content-Type":       Row(_PASS, _PASS),
    "Date":               Row(_PASS, _REMAP),
    "Expect":             Row(_DROP, _DROP),
    "Host":               Row(_PASS, _DROP),
    "Max-Forwards":       Row(_DROP, _REMAP),
    "Proxy-Authenticate": Row(_DROP, _DROP),
    "Range":              Row(_PASS, _PASS),
    "Server":             Row(_DROP, _REMAP),
    "TE":                 Row(_DROP, _DROP),
    "Trailer":            Row(_DROP, _DROP),
    "Transfer-Encoding":  Row(_DROP, _DROP),
    "Upgrade":            Row(_DROP, _DROP),
    "User-Agent":         Row(_PASS, _REMAP),
    "Via":                Row(_PASS, _DROP),
    "WWW-Authenticate":   Row(_DROP, _REMAP),
})
# fmt: on
_OTHER = Row(Fate.PASS, Fate.PASS)
_ROWS = {name.lower(): row for name, row in TABLE.items()}
_CAPITALS = {
    name.lower(): name for name in ("Accept", "Authorization", "Content-Type", "Host", "Range", "User-Agent")
}


def arriving(lines: Lines) -> Iterator[tuple[str, str]]:
    """Yield the header lines of a request that are in the function's event."""
    for name, value in lines:
        if _row(name).request is Fate.PASS:
            yield _CAPITALS.get(name.lower(), name), value


def leaving(lines: Lines) -> Iterator[tuple[str, str]]:
    """Yield the header lines of a function's answer that a client sees, some of them renamed."""
    for name, value in lines:
        fate = _row(name).answer
        if fate is not Fate.DROP:
            yield (REMAPPED + name if fate is Fate.REMAP else name), value


def _row(name: str) -> Row:
    return _ROWS.get(name.lower(), _OTHER)
