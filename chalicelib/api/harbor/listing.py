"""Lists: how they are asked for (`q`, `sort`, `page`, `page_size`) and how they are answered.

Invariants:
* A list in its natural order, without conditions, is read a page at a time. With conditions or another order all of
  it is read, then filtered and sorted; what one principal may see of a list is small.
* X-Total-Count counts what matches, not what the page has. Link leads to the pages before and after.

`q` is a list of conditions with commas between: `k=v` exact, `k=~v` contains, `k=[min~max]` range, `k={a b}` one of,
`k=(a b)` all of.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from chalicelib.api.harbor.calls import HarborCall, identifier
from chalicelib.api.harbor.errors import JSON, bad_request
from chalicelib.api.http import Request, Response
from chalicelib.store.table import Slice

LARGEST_PAGE = 100
_DEFAULT_PAGE = 10
_LARGEST_NUMBER = 10**9
_LONGEST_QUERY = 4096
# A comma inside brackets separates nothing.
_SEPARATOR = re.compile(r",(?![^\[\](){}]*[\])}])")

Matcher = Callable[[Any], bool]


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
    if len(text) > _LONGEST_QUERY:
        raise bad_request(f"q has at most {_LONGEST_QUERY} characters")
    conditions: dict[str, str] = {}
    for part in _SEPARATOR.split(text) if text else ():
        name, equals, value = part.partition("=")
        if not (equals and name.strip()):
            raise bad_request(f"q has no condition in {part!r}: write field=value, field=~part, field=[from~to] ...")
        conditions[name.strip()] = value
    return conditions


def _order(text: str) -> tuple[tuple[str, bool], ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    return tuple((name.removeprefix("-"), name.startswith("-")) for name in names)


def matches(conditions: Mapping[str, str], document: Mapping[str, Any]) -> bool:
    """Tell whether a document meets all conditions. A field that it does not have meets none."""
    return all(_matcher(value)(_field(document, name)) for name, value in conditions.items())


def _field(document: Mapping[str, Any], name: str) -> Any:
    """Return a field by its name, however it is spelled: `ProjectID` and `project_id` are one."""
    wanted = name.replace("_", "").lower()
    return next((value for key, value in document.items() if key.replace("_", "").lower() == wanted), None)


def _matcher(value: str) -> Matcher:
    if value.startswith("~"):
        return lambda field: value[1:].lower() in _text(field).lower()
    if value.startswith("[") and value.endswith("]"):
        low, _, high = value[1:-1].partition("~")
        return lambda field: field is not None and _at_least(field, low) and _at_most(field, high)
    if value.startswith("{") and value.endswith("}"):
        choices = _words(value[1:-1])
        return lambda field: _text(field) in choices
    if value.startswith("(") and value.endswith(")"):
        wanted = _words(value[1:-1])
        return lambda field: wanted <= set(map(_text, field if isinstance(field, list | tuple) else [field]))
    return lambda field: field is not None and _text(field) == value.strip("\"'")


def _words(text: str) -> set[str]:
    return {word.strip("\"'") for word in text.split()}


def _text(field: Any) -> str:
    if isinstance(field, bool):
        return str(field).lower()
    return "" if field is None else str(field)


def _at_least(field: Any, low: str) -> bool:
    return not low.strip() or _comparable(field, low) >= _comparable(low, low)


def _at_most(field: Any, high: str) -> bool:
    return not high.strip() or _comparable(field, high) <= _comparable(high, high)


def _comparable(value: Any, bound: str) -> Any:
    """Return numbers as numbers where the bound is one, and times in one spelling."""
    text = _text(value).strip("\"' ")
    if bound.strip().lstrip("-").isdecimal() and text.lstrip("-").isdecimal():
        return int(text)
    return text.replace(" ", "T")


def select(listing: Listing, documents: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], int]:
    """Return the page of the documents that match, in the order wanted, and how many match."""
    found = [document for document in documents if matches(listing.conditions, document)]
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
