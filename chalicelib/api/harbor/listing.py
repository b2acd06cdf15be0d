"""Lists: how they are asked for (`q`, `sort`, `page`, `page_size`) and how they are answered.

Invariants:
* A list in its natural order, without conditions, is read a page at a time. With conditions or another order all of
  it is read, then filtered and sorted; what one principal may see of a list is small.
* X-Total-Count counts what matches, not what the page has. Link leads to the pages before and after.
* What a stranger may ask for is bounded: so many conditions and orders, and each looks at an entry once.

`q` is a list of conditions with commas between: `k=v` exact, `k=~v` contains, `k=[min~max]` range, `k={a b}` one of,
`k=(a b)` all of; after a backslash the first character of `v` means itself. Harbor decodes `q` once more than its
framework has, and its own pages encode it so: `q=name%253D~a` is `q=name=~a`.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote, unquote_plus, urlencode

import orjson

from chalicelib.api.harbor.calls import HarborCall, identifier
from chalicelib.api.harbor.errors import JSON, bad_request
from chalicelib.api.http import Request, Response
from chalicelib.store.index import written
from chalicelib.store.table import Slice

LARGEST_PAGE = 100
_DEFAULT_PAGE = 10
_LARGEST_NUMBER = 10**9
_LONGEST_QUERY = 4096
_MOST_CONDITIONS, _MOST_ORDERS = 16, 8
# A comma between brackets separates nothing; a bracket without its other half is a character like others.
_PIECE = re.compile(r"[\[({][^\[\](){}]*[\])}]|,|[^,\[({]+|[\[({]")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
# As many digits as ids have, and the sizes of all there is.
_WHOLE = re.compile(r"-?[0-9]{1,30}", re.ASCII)

Matcher = Callable[[Any], bool]
Test = Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True, slots=True)
class Listing:
    """What is wanted of a list: a page (from 1) of `size`, the conditions by field, the order."""

    page: int
    size: int
    conditions: Mapping[str, str]
    order: tuple[tuple[str, bool], ...]

    @property
    def natural(self) -> bool:
        """Tell whether the list is wanted as it is stored."""
        return not self.conditions and not self.order

    @property
    def slice(self) -> Slice:
        """Return the part of a partition that the page is, where the list is wanted as it is stored."""
        return Slice(limit=self.size, skip=(self.page - 1) * self.size)


def parse(request: Request) -> Listing:
    """Return what a request wants of a list; raise BAD_REQUEST."""
    return Listing(
        page=_number(request, "page", 1, _LARGEST_NUMBER),
        size=_number(request, "page_size", _DEFAULT_PAGE, LARGEST_PAGE),
        conditions=_conditions(request.parameter("q")),
        order=_order(request.parameter("sort")),
    )


def _number(request: Request, name: str, default: int, largest: int) -> int:
    text = request.parameter(name)
    if not text:
        return default
    number = identifier(text) or 0
    if not 1 <= number <= largest:
        raise bad_request(f"{name} must be a number from 1 to {largest}")
    return number


def _conditions(text: str) -> dict[str, str]:
    """Return the conditions of `q` by field; of several for one field, however it is spelled, the last one holds."""
    if len(text) > _LONGEST_QUERY:
        raise bad_request(f"q has at most {_LONGEST_QUERY} characters")
    # A plus is a space where it was encoded for sure, and else may be part of a time.
    text = unquote(text) if "=" in text else unquote_plus(text)
    conditions: dict[str, tuple[str, str]] = {}
    for part in _parts(text) if text else ():
        name, equals, value = part.partition("=")
        if not (equals and name.strip()):
            raise bad_request(f"q has no condition in {part!r}: write field=value, field=~part, field=[from~to] ...")
        conditions[field_name(name)] = name.strip(), value
    if len(conditions) > _MOST_CONDITIONS:
        raise bad_request(f"q has at most {_MOST_CONDITIONS} conditions")
    return dict(conditions.values())


def _parts(text: str) -> Iterator[str]:
    part = ""
    for piece in _PIECE.findall(text):
        if piece == ",":
            yield part
            part = ""
        else:
            part += piece
    yield part


def _order(text: str) -> tuple[tuple[str, bool], ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if len(names) > _MOST_ORDERS:
        raise bad_request(f"sort has at most {_MOST_ORDERS} fields")
    return tuple((name.removeprefix("-"), name.startswith("-")) for name in names)


@lru_cache(maxsize=1024)
def field_name(name: str) -> str:
    """Return what all spellings of a field's name have in common: `ProjectID` and `project_id` are one."""
    return name.strip().replace("_", "").lower()


def meets(conditions: Mapping[str, str]) -> Test:
    """Return the test whether a document meets all conditions. A field that it does not have meets none."""
    matchers = [(name, _matcher(value)) for name, value in conditions.items()]

    def test(document: Mapping[str, Any]) -> bool:
        fields = ((_field(document, name), matcher) for name, matcher in matchers)
        return all(field is not None and matcher(field) for field, matcher in fields)

    return test


def _field(document: Mapping[str, Any], name: str) -> Any:
    wanted = field_name(name)
    return next((value for key, value in document.items() if field_name(key) == wanted), None)


def _matcher(value: str) -> Matcher:
    first, inner, last = value[:1], value[1:-1], value[1:][-1:]
    if first == "~":
        part = value[1:].lower()
        return lambda field: part in _text(field).lower()
    if found := bounds(value):
        low, high = found
        return lambda field: (not low or _in_order(low, field)) and (not high or _in_order(field, high))
    if first + last == "{}":
        choices = _words(inner)
        return lambda field: _text(field) in choices
    if first + last == "()":
        wanted = _words(inner)
        return lambda field: wanted <= set(map(_text, field if isinstance(field, list | tuple) else [field]))
    exact = value[1:] if first == "\\" else value.strip("\"'")
    return lambda field: _text(field) == exact


def bounds(value: str) -> tuple[str, str] | None:
    """Return the ends of a range, "" for none, times as they are stored; None where it is no range."""
    if value[:1] + value[1:][-1:] != "[]":
        return None
    low, _, high = (bound.strip("\"' ") for bound in value[1:-1].partition("~"))
    return _time(low), _time(high)


def _time(text: str) -> str:
    """Return a time as it is stored, and any other text as it is."""
    if not _DATE.match(text):
        return text
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text.replace(" ", "T")
    return written(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _words(text: str) -> set[str]:
    return {word.strip("\"'") for word in text.split()}


def _text(field: Any) -> str:
    if isinstance(field, bool):
        return str(field).lower()
    return "" if field is None else str(field)


def _in_order(low: Any, high: Any) -> bool:
    """Tell whether one is at most the other: as numbers where both are, else as texts."""
    left, right = _text(low), _text(high)
    if _WHOLE.fullmatch(left) and _WHOLE.fullmatch(right):
        return int(left) <= int(right)
    # Times have two spellings.
    return left.replace(" ", "T") <= right.replace(" ", "T")


def select(listing: Listing, documents: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], int]:
    """Return the page of the documents that match, in the order wanted, and how many match."""
    found = list(filter(meets(listing.conditions), documents))
    for name, descending in reversed(listing.order):
        found.sort(key=lambda document: _rank(_field(document, name)), reverse=descending)
    start = (listing.page - 1) * listing.size
    return found[start : start + listing.size], len(found)


def _rank(field: Any) -> tuple[int, Any]:
    """Return a value to sort by: numbers before texts, nothing before both."""
    if field is None:
        return (0, 0)
    return (1, field) if isinstance(field, int | float) else (2, _text(field))


def answered(call: HarborCall, listing: Listing, entries: Sequence[object], total: int) -> Response:
    """Return a page of a list."""
    headers = {"Content-Type": JSON, "X-Total-Count": str(total), **_links(call.request, listing, total)}
    return Response(200, headers, orjson.dumps(list(entries)))


def _links(request: Request, listing: Listing, total: int) -> dict[str, str]:
    def link(page: int, relation: str) -> str:
        query = {name: values for name, values in request.query.items() if name not in ("page", "page_size")}
        pairs = [(name, value) for name, values in query.items() for value in values]
        text = urlencode([*pairs, ("page", page), ("page_size", listing.size)])
        return f'<{quote(request.path)}?{text}>; rel="{relation}"'

    links = [link(listing.page - 1, "prev")] if listing.page > 1 else []
    if listing.page * listing.size < total:
        links.append(link(listing.page + 1, "next"))
    return {"Link": " , ".join(links)} if links else {}
