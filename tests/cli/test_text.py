"""Words of the output: sizes, times, roles, and text that no terminal obeys."""

import json
import unicodedata
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.cli import text

NOW = datetime(2026, 8, 1, 12, tzinfo=UTC)
ANY_TEXT = st.text(st.characters(exclude_categories=[]))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (2_200_000, "2.1 MiB"),
        (50 * 1024**3, "50.0 GiB"),
        (1024**6, "1024.0 PiB"),
        (-1, "unlimited"),
        (None, "-"),
        ("12", "-"),
        (True, "-"),
    ],
)
def test_sizes_are_for_people(value: object, words: str) -> None:
    assert text.size(value) == words


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("0", 0),
        ("1024", 1024),
        ("7B", 7),
        ("10GiB", 10 * 1024**3),
        ("10 gb", 10 * 1024**3),
        ("1.5k", 1536),
        ("2T", 2 * 1024**4),
        ("-1", -1),
        ("unlimited", -1),
    ],
)
def test_sizes_of_people_are_understood(words: str, value: int) -> None:
    assert text.parse_size(words) == value


@pytest.mark.parametrize("words", ["", "much", "-2", "1e3", "10XB", "1..5k", "٣", "1 G 2"])
def test_what_is_no_size_is_refused_in_words(words: str) -> None:
    with pytest.raises(ValueError, match="is no size: write it as 10GiB"):
        text.parse_size(words)


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2026-08-01T10:00:00.000Z", datetime(2026, 8, 1, 10, tzinfo=UTC)),
        ("2026-08-01T10:00:00", datetime(2026, 8, 1, 10, tzinfo=UTC)),
        ("2026-08-01T12:00:00+02:00", datetime(2026, 8, 1, 10, tzinfo=UTC)),
        (1785578400, datetime(2026, 8, 1, 10, tzinfo=UTC)),
        ("0001-01-01T00:00:00.000Z", None),
        ("0001-01-01T00:00:00+23:00", None),
        ("9999-12-31T23:59:59-23:00", None),
        ("yesterday", None),
        ("", None),
        (0, None),
        (-1, None),
        (1e300, None),
        (float("nan"), None),
        (None, None),
        ({}, None),
    ],
)
def test_times_of_the_api_are_read(value: object, moment: datetime | None) -> None:
    assert text.moment(value) == moment


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (timedelta(seconds=59), "just now"),
        (timedelta(seconds=-59), "just now"),
        (timedelta(seconds=60), "1 minute ago"),
        (timedelta(minutes=-119), "in 1 hour"),
        (timedelta(hours=23), "23 hours ago"),
        (timedelta(days=6), "6 days ago"),
        (timedelta(days=13), "1 week ago"),
        (timedelta(days=59), "1 month ago"),
        (timedelta(days=-800), "in 2 years"),
    ],
)
def test_times_are_for_people(span: timedelta, words: str) -> None:
    assert text.ago(NOW - span, NOW) == words


@pytest.mark.parametrize(
    ("value", "name"),
    [(1, "project-admin"), (4, "maintainer"), (9, "9"), (0, "-"), (None, "-"), ("1", "-"), ([], "-")],
)
def test_roles_have_names(value: object, name: str) -> None:
    assert text.role(value) == name


@given(ANY_TEXT)
def test_clean_text_holds_nothing_that_a_terminal_obeys(value: str) -> None:
    clean = text.clean(value)

    assert not {unicodedata.category(char) for char in clean} & {"Cc", "Cs", "Zl", "Zp"}
    assert not set(clean) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
    assert clean.encode().decode() == clean


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"])))
def test_harmless_text_stays_as_it_is(value: str) -> None:
    assert text.clean(value) == value


@given(ANY_TEXT)
def test_clean_json_means_the_same(value: str) -> None:
    document = json.dumps({value: [value]}, ensure_ascii=False, indent=2)
    clean = text.clean_json(document)

    assert json.loads(clean) == {value: [value]}
    assert not {unicodedata.category(char) for char in clean.replace("\n", "")} & {"Cc", "Cs", "Zl", "Zp"}


@given(st.integers(min_value=0, max_value=2**60))
def test_a_size_that_is_read_back_is_about_the_same(value: int) -> None:
    words = text.size(value)

    assert abs(text.parse_size(words) - value) <= max(value, 1) * 0.06
