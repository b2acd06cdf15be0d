"""Words of the output: sizes, times and roles for people, and text of others made harmless.

Invariants:
* `clean` leaves nothing that a terminal obeys: control characters and those that turn the direction of writing
  come out as escapes.
* A value that is not what the API promises is shown as it is, or as `-`; nothing here raises.
"""

import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

NOTHING = "-"

_OBEYED = "\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
_UNSAFE = re.compile(f"[\x00-\x1f{_OBEYED}]")
# In JSON the characters below the blank are escapes already, but for the line ends between its tokens.
_UNSAFE_IN_JSON = re.compile(f"[{_OBEYED}]")

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_STEP = 1024
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([KMGTP])(?:i?B)?|B)?", re.IGNORECASE | re.ASCII)

# The first year of a time that means something: Go's zero time is of the year 1.
_FIRST_YEAR = 1971
# fmt: off
_SPANS = (
    ("year",   timedelta(days=365)),
    ("month",  timedelta(days=30)),
    ("week",   timedelta(days=7)),
    ("day",    timedelta(days=1)),
    ("hour",   timedelta(hours=1)),
    ("minute", timedelta(minutes=1)),
)

ROLES: Mapping[str, int] = MappingProxyType({
    "project-admin": 1,
    "maintainer":    4,
    "developer":     2,
    "guest":         3,
    "limited-guest": 5,
})
# fmt: on
_ROLE_NAMES: Mapping[int, str] = MappingProxyType({number: name for name, number in ROLES.items()})


def clean(value: object) -> str:
    """Return text that a terminal prints and does not obey."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), str(value))


def clean_json(text: str) -> str:
    """Return the same JSON in text that a terminal does not obey."""
    return _UNSAFE_IN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def width(text: str) -> int:
    """Return how many columns of a terminal `text` takes."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def size(value: Any) -> str:
    """Return a number of bytes for people, such as `12.3 MiB`; -1 is unlimited."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return NOTHING
    if value < 0:
        return "unlimited"
    amount, units = float(value), list(_UNITS)
    while amount >= _STEP and len(units) > 1:
        amount, units = amount / _STEP, units[1:]
    return f"{amount:.0f} B" if units[0] == "B" else f"{amount:.1f} {units[0]}"


def parse_size(text: str) -> int:
    """Return the bytes that `10GiB`, `500M` or `1024` mean, -1 for `unlimited`; raise ValueError."""
    if text.lower() in ("unlimited", "-1"):
        return -1
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise ValueError(f"'{text}' is no size: write it as 10GiB, 500MiB or unlimited")
    power = "KMGTP".index(match[2].upper()) + 1 if match[2] else 0
    return int(float(match[1]) * _STEP**power)


def moment(value: Any) -> datetime | None:
    """Return the time that the API gave as text or seconds since 1970; None for never."""
    try:
        if isinstance(value, str):
            time = datetime.fromisoformat(value)
        elif isinstance(value, int | float):
            time = datetime.fromtimestamp(value, UTC)
        else:
            return None
        time = (time if time.tzinfo else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return time if time.year >= _FIRST_YEAR else None


def ago(then: datetime, now: datetime) -> str:
    """Return how long ago, or from now, `then` is: `3 days ago`, `in 2 hours`."""
    span = abs(now - then)
    for name, unit in _SPANS:
        count = int(span / unit)
        if count:
            words = f"{count} {name}{'s' if count > 1 else ''}"
            return f"{words} ago" if then < now else f"in {words}"
    return "just now"


def exact(then: datetime) -> str:
    """Return a time to the second, in UTC, as programs sort it."""
    return then.strftime("%Y-%m-%dT%H:%M:%SZ")


def role(value: Any) -> str:
    """Return the name of a role's number."""
    return _ROLE_NAMES.get(value, clean(value) if value else NOTHING) if isinstance(value, int) else NOTHING


def yes_no(value: Any) -> str:
    """Return `yes` or `no`; the API writes some booleans as text."""
    return "yes" if value is True or value == "true" else "no"


def joined(values: Any) -> str:
    """Return the elements of a list in one cell."""
    return ", ".join(clean(value) for value in values) if isinstance(values, list) and values else NOTHING
