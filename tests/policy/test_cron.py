"""When schedules are due, beside an obvious reference; and what is no schedule."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.policy import cron

START = datetime(2026, 2, 27, 23, 59, 30, tzinfo=UTC)
LIMITS = ((0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
DAY, MONTH, WEEKDAY = 3, 4, 5


@pytest.mark.parametrize(
    ("expression", "due"),
    [
        ("0 0 * * * *", "2026-02-28T00:00"),
        ("0 0 0 * * 0", "2026-03-01T00:00"),
        ("0 0 0 ? * SUN", "2026-03-01T00:00"),
        ("0 */7 * * * *", "2026-02-28T00:00"),
        ("0 5/20 3 * * *", "2026-02-28T03:05"),
        ("0 0 0 29 2 *", "2028-02-29T00:00"),
        ("0 0 0 31 * *", "2026-03-31T00:00"),
        ("0 30 4 1 JAN,jul *", "2026-07-01T04:30"),
        # Either of the days, where both are restricted.
        ("0 0 0 15 * 1", "2026-03-02T00:00"),
        ("0 0 0 */15 * 1", "2026-03-01T00:00"),
        ("0 0 0 */1 * 1", "2026-03-02T00:00"),
        ("0 0 0 * * 3/2", "2026-03-04T00:00"),
    ],
)
def test_a_schedule_is_due(expression: str, due: str) -> None:
    found = cron.following(cron.parse(expression), START)

    assert found == datetime.fromisoformat(due).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "* * * * *",
        "0 0 0 * * * *",
        "* 0 0 * * *",
        "5 0 0 * * *",
        "0 60 * * * *",
        "0 0 24 * * *",
        "0 0 0 0 * *",
        "0 0 0 32 * *",
        "0 0 0 * 13 *",
        "0 0 0 * * 7",
        "0 0 0 * * 5-7",
        "0 0 0 L * *",
        "0 0 0 * * 5L",
        "0 0 0 * * 1#2",
        "@daily",
        "0 0 0 30 2 *",
        "0 0 0 31 2,4 *",
        "0 5-1 * * * *",
        "0 */0 * * * *",
        "0 a * * * *",
        "0 ,1 * * * *",
        "0 -1 * * * *",
        "0 \u0661 * * * *",
        "0 0 0 1 * *" + " " * 200,
    ],
)
def test_what_is_no_schedule_is_refused_with_words(expression: str) -> None:
    with pytest.raises(ValueError, match=r"cron|seconds|Sunday"):
        cron.parse(expression)


@given(st.text(alphabet="0123456789*/-,?LW# ADEFJMNOSTU", max_size=30))
def test_nothing_but_words_comes_of_any_text(text: str) -> None:
    try:
        parsed = cron.parse(text)
    except ValueError:
        return
    assert cron.parse(parsed) == parsed


def test_the_names_of_the_portal_are_schedules() -> None:
    for expression in cron.NAMED.values():
        assert cron.parse(expression) == expression


def numbers(low: int, high: int) -> st.SearchStrategy[str]:
    one = st.integers(low, high)
    pair = st.tuples(one, one).map(lambda bounds: f"{min(bounds)}-{max(bounds)}")
    stepped = st.tuples(st.one_of(st.just("*"), one.map(str), pair), st.integers(1, high)).map("{0[0]}/{0[1]}".format)
    terms = st.lists(st.one_of(one.map(str), pair, stepped), min_size=1, max_size=3).map(",".join)
    return st.one_of(st.just("*"), terms)


def values(field: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for term in field.split(","):
        span, _, step = term.partition("/")
        first, _, last = span.partition("-")
        bounds = (low, high) if span == "*" else (int(first), int(last or (high if step else first)))
        found |= set(range(bounds[0], bounds[1] + 1, int(step or 1)))
    return found


def matches(fields: list[str], moment: datetime) -> bool:
    sets = [values(field, *limits) for field, limits in zip(fields, LIMITS, strict=True)]
    actual = (
        moment.second,
        moment.minute,
        moment.hour,
        moment.day,
        moment.month,
        moment.isoweekday() % 7,
    )
    inside = [value in allowed for value, allowed in zip(actual, sets, strict=True)]
    free = [any(term in ("*", "*/1") for term in fields[place].split(",")) for place in (DAY, WEEKDAY)]
    days = inside[DAY] and inside[WEEKDAY] if any(free) else inside[DAY] or inside[WEEKDAY]
    return all(inside[:DAY]) and inside[MONTH] and days


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(*(numbers(*limits) for limits in LIMITS[1:MONTH]), numbers(*LIMITS[WEEKDAY])), st.integers(0, 40_000)
)
def test_the_next_time_is_the_first_minute_that_matches(fields: tuple[str, ...], minutes: int) -> None:
    *times, weekday = fields
    whole = ["0", *times, "*", weekday]
    start = START + timedelta(minutes=minutes)

    found = cron.following(cron.parse(" ".join(whole)), start)

    first = start.replace(second=0) + timedelta(minutes=1)
    days = (first + timedelta(minutes=number) for number in range(15 * 1440))
    expected = next((moment for moment in days if matches(whole, moment)), None)
    assert found is not None
    assert found == expected if expected else found > first + timedelta(days=14)
