"""Whether an answer below `/api/v2.0` is one that Harbor could have given.

Invariants:
* Every refusal is Harbor's error document, whether the operation documents its status or not.
* A body has nothing that Harbor's has not; absent members are fine, since Harbor leaves out what is empty.
* What differs on purpose is in `DEVIATIONS`, and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import orjson
from jsonschema import Draft7Validator, FormatChecker
from jsonschema.exceptions import ValidationError

from tests.harbor.deviations import DEVIATIONS, EXTENSIONS, Kind
from tests.harbor.facts import PREFIX, Documented, Operation, json_schema, operation, pattern

Headers = Mapping[str, str] | Mapping[str, tuple[str, ...]]

_ERRORS = Documented({"$ref": "#/definitions/Errors"}, {})
_NOWHERE = frozenset({404, 405})
# What only some answers have, though the description lists it for all.
_OPTIONAL = frozenset({"link"})
_LINK = re.compile(r'<[^<>]+>; rel="(?:prev|next)"(?: , <[^<>]+>; rel="next")?')
_FORMATS = FormatChecker(formats=())
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
_BITS = {"int8": 8, "int32": 32, "int64": 64}


class Problem(NamedTuple):
    """What is wrong with an answer."""

    kind: Kind
    name: str
    text: str


@_FORMATS.checks("date-time")
def _is_time(value: object) -> bool:
    return not isinstance(value, str) or _TIME.fullmatch(value) is not None


def _is_int(bits: int, value: object) -> bool:
    return not isinstance(value, int) or -(1 << bits - 1) <= value < 1 << bits - 1


for _name, _size in _BITS.items():
    _FORMATS.checks(_name)(lambda value, bits=_size: _is_int(bits, value))


def check(method: str, path: str, status: int, headers: Headers, body: bytes) -> None:
    """Fail where an answer of Harbor's API is none of Harbor's; answers of other paths are not looked at."""
    if path.startswith(PREFIX + "/"):
        found = problems(method, path, status, headers, body)
        assert not found, f"{method} {path} -> {status}: {'; '.join(found)}; body {body[:1000]!r}"


def problems(method: str, path: str, status: int, headers: Headers, body: bytes) -> list[str]:
    """Return what is wrong with an answer, less what differs on purpose."""
    if _is_extension(method, path):
        return [] if status < 400 else [problem.text for problem in _wrong_body(_ERRORS, _lines(headers), body)]
    asked = operation(method, path)
    name = asked.id if asked else ""
    return [
        problem.text
        for problem in _problems(method, asked, status, _lines(headers), body)
        if not any(deviation.covers(problem.kind, problem.name, name) for deviation in DEVIATIONS)
    ]


def _is_extension(method: str, path: str) -> bool:
    path = path.partition("?")[0]
    return any(each.method == method and pattern(each.path).fullmatch(path) for each in EXTENSIONS)


def _lines(headers: Headers) -> dict[str, str]:
    return {
        name.lower(): value if isinstance(value, str) else ", ".join(value)
        for name, value in headers.items()
    }  # fmt: skip


def _problems(
    method: str, asked: Operation | None, status: int, headers: Mapping[str, str], body: bytes
) -> Iterator[Problem]:
    documented = asked.answers.get(status) if asked else None
    if documented is None and (asked or status not in _NOWHERE):
        yield Problem(Kind.STATUS, str(status), f"status {status}{_instead(asked)}")
    if documented is None or (status >= 400 and method != "HEAD"):
        documented = _ERRORS if status >= 400 else Documented(None, {})
    if method != "HEAD":
        yield from _wrong_body(documented, headers, body)
    yield from _wrong_headers((asked.answers if asked else {}).get(status, documented), headers)
    yield from _wrong_count(headers, body)


def _instead(asked: Operation | None) -> str:
    return f" is not one of {asked.id}'s: {sorted(asked.answers)}" if asked else " at an address that Harbor has not"


def _wrong_headers(documented: Documented, headers: Mapping[str, str]) -> Iterator[Problem]:
    for name, kind in documented.headers.items():
        value = headers.get(name.lower())
        if value is None and name.lower() not in _OPTIONAL:
            yield Problem(Kind.HEADER, name, f"header {name} is missing")
        elif value is not None and kind == "integer" and not value.isdecimal():
            yield Problem(Kind.HEADER, name, f"header {name} is no number: {value}")


def _wrong_count(headers: Mapping[str, str], body: bytes) -> Iterator[Problem]:
    """Yield what is wrong with the headers of a list: more entries than it has, or no way to them."""
    link = headers.get("link")
    if link is not None and not _LINK.fullmatch(link):
        yield Problem(Kind.HEADER, "Link", f"Link is not a list of pages: {link}")
    total, entries = headers.get("x-total-count", ""), _parsed(body)
    if total.isdecimal() and isinstance(entries, list):
        if len(entries) > int(total):
            yield Problem(Kind.HEADER, "X-Total-Count", f"X-Total-Count is {total} with {len(entries)} entries")
        if link is None and len(entries) < int(total):
            yield Problem(Kind.HEADER, "Link", f"Link is missing with {len(entries)} entries of {total}")


def _wrong_body(documented: Documented, headers: Mapping[str, str], body: bytes) -> Iterator[Problem]:
    if documented.schema is None:
        if body:
            yield Problem(Kind.BODY, "", "a body where Harbor sends none")
    elif not documented.raw:
        media_type = headers.get("content-type", "")
        if media_type.partition(";")[0].strip() != "application/json":
            yield Problem(Kind.HEADER, "Content-Type", f"Content-Type is {media_type!r} and not application/json")
        yield from _unfit(documented.schema, body)


def _unfit(schema: Mapping[str, Any], body: bytes) -> Iterator[Problem]:
    document = _parsed(body)
    if document is None:
        yield Problem(Kind.BODY, "", "the body is not JSON, or null")
        return
    for error in _validator(orjson.dumps(schema)).iter_errors(document):
        yield from _of(_deepest(error))


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


@cache
def _validator(schema: bytes) -> Draft7Validator:
    return Draft7Validator(json_schema(orjson.loads(schema)), format_checker=_FORMATS)


def _deepest(error: ValidationError) -> ValidationError:
    """Return what is wrong inside where the value is one that may also be null."""
    return _deepest(error.context[0]) if error.validator == "anyOf" and error.context else error


def _of(error: ValidationError) -> Iterator[Problem]:
    place = ".".join(str(step) for step in error.absolute_path if isinstance(step, str))
    if error.validator != "additionalProperties":
        yield Problem(Kind.BODY, place, f"{place or 'the body'}: {error.message[:300]}")
        return
    schema, instance = error.schema, error.instance
    assert isinstance(schema, dict)
    assert isinstance(instance, dict)
    for name in sorted(set(instance) - set(schema["properties"])):
        where = f"{place}.{name}".lstrip(".")
        yield Problem(Kind.BODY, where, f"{where}: Harbor has no such member")
