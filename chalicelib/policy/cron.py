"""When a schedule is due: Harbor's cron expressions, of six fields with the seconds first, in UTC.

Invariants:
* What Harbor refuses is refused: other numbers of fields, seconds that are not 0, a Sunday that is written 7, and
  the additions of other crons (`L`, `#`, `@daily`).
* Where day of month and day of week are both restricted, either of them is enough; a field is restricted unless it
  is `*` or `?`, alone or with the step 1.
* An expression that never comes true is refused when it is set, not found out later.

Specification: the cron expressions of Harbor 2.16, which are those of robfig/cron. The dates are found by cronsim.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType

from cronsim import CronSim, CronSimError

# What the names of Harbor's portal mean.
NAMED: Mapping[str, str] = MappingProxyType(
    {"Hourly": "0 0 * * * *", "Daily": "0 0 0 * * *", "Weekly": "0 0 0 * * 0"},
)
_WEEKDAY = 5
_LONGEST = 200
_TERM = re.compile(r"(?:[*?]|(?P<low>[0-9]{1,2}|[A-Z]{3})(?:-(?:[0-9]{1,2}|[A-Z]{3}))?)(?:/[0-9]{1,2})?", re.ASCII)
_SUNDAY = re.compile(r"(?:^|-)7(?:$|[-/])", re.ASCII)
# By the place of the field, all that it can be.
_EVERY = ("0-59", "0-59", "0-23", "1-31", "1-12", "0-6")
_WORDS = "write six fields: second (0), minute, hour, day of month, month, day of week"


def parse(text: str) -> str:
    """Return an expression in the one way in which it is kept; raise ValueError with what to write instead."""
    fields = text.upper().split()
    if len(text) > _LONGEST or len(fields) != len(_EVERY):
        raise ValueError(f"the cron expression has not six fields: {_WORDS}")
    if fields[0] != "0":
        raise ValueError(f"the seconds of a schedule must be 0: {_WORDS}")
    for field in fields:
        if not all(_TERM.fullmatch(term) for term in field.split(",")):
            raise ValueError(f"the cron expression has a field {field!r} that makes no sense: {_WORDS}")
    if any(_SUNDAY.search(term) for term in fields[_WEEKDAY].split(",")):
        raise ValueError("Sunday is 0 in a cron expression, or SUN")
    whole = " ".join(fields)
    try:
        if following(whole, datetime(2000, 1, 1, tzinfo=UTC)) is None:
            raise ValueError(f"the cron expression {whole!r} never comes true")
    except CronSimError as error:
        raise ValueError(f"the cron expression cannot be read ({error}): {_WORDS}") from error
    return whole


def following(expression: str, moment: datetime) -> datetime | None:
    """Return the first time after a moment at which a schedule is due, or None; raise CronSimError."""
    fields = [_understood(number, field) for number, field in enumerate(expression.split())]
    return next(CronSim(" ".join(fields), moment.astimezone(UTC)), None)


def _understood(number: int, field: str) -> str:
    """Return a field as cronsim has to have it, which takes `*/2` for no restriction."""
    terms = [term.replace("?", "*") for term in field.split(",")]
    if {"*", "*/1"} & set(terms):
        return "*"
    every = _EVERY[number]
    return ",".join(_plain(term.replace("*", every), every.partition("-")[2]) for term in terms)


def _plain(term: str, last: str) -> str:
    """Return a term without what cronsim reads otherwise: `5-5/2` as all from 5 on, to a Sunday that is 7 too."""
    span, slash, step = term.partition("/")
    low, dash, high = span.partition("-")
    if low == high:
        return low
    return f"{low}-{last}/{step}" if slash and not dash else term
