"""What clients send of a policy, read from its JSON: each value is checked and named where it is wrong.

Invariant: what is refused is refused with ValueError, in words for whoever sent it.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar

Choice = TypeVar("Choice", bound=StrEnum)


def text(given: Mapping[str, Any], name: str, longest: int) -> str:
    """Return a text of at most `longest` bytes, "" where there is none; raise ValueError."""
    value = given.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or "\0" in value or len(value.encode(errors="replace")) > longest:
        raise ValueError(f"{name} must be a text of at most {longest} bytes")
    return value


def flag(given: Mapping[str, Any], name: str, *, default: bool = False) -> bool:
    """Return whether something is wanted; raise ValueError."""
    value = given.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false")  # noqa: TRY004 - whoever sent it is told, like others
    return value


def chosen(kinds: type[Choice], value: object, name: str) -> Choice:
    """Return the member of an enumeration that a value is; raise ValueError."""
    known = {str(each): each for each in kinds}
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}")
    return known[value]
