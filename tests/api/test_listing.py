"""What lists are asked by: `q`, `sort`, `page` and `page_size`, against a slow and obvious model."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cmp_to_key
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.api.harbor import listing
from chalicelib.api.harbor.errors import HarborError
from chalicelib.api.harbor.listing import Listing
from chalicelib.api.http import Request

PLAIN = "abAB019-. :"
words = st.text(PLAIN, min_size=1, max_size=6)
numbers = st.integers(-20, 20) | st.sampled_from([10**18, -(10**18), 10**25])
values = st.none() | numbers | st.booleans() | words | st.just("") | st.lists(words | numbers, max_size=3)
names = st.sampled_from(["name", "project_id", "ProjectID", "creation_time", "missing"])
documents = st.lists(
    st.fixed_dictionaries({"name": values, "project_id": values, "creation_time": values}), max_size=8
)


def asked(**query: str) -> Listing:
    parameters = {name: [value] for name, value in query.items()}
    return listing.parse(Request("GET", "/", parameters, {}, io.BytesIO(), "", ""))


def selected(rows: Sequence[Mapping[str, Any]], **query: str) -> list[Mapping[str, Any]]:
    return listing.select(asked(**{"page_size": "100", **query}), rows)[0]


# Conditions as they are written, in which nothing looks like an encoding.
conditions_texts = st.lists(
    st.builds("{}={}".format, st.sampled_from("abc"), st.text("ab/ ~[](){}:+-_é", max_size=8)), min_size=1, max_size=3
).map(",".join)


# The model: one condition and one pair of values at a time.


def text_of(value: object) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def value_in(row: Mapping[str, Any], name: str) -> Any:
    return row.get({"ProjectID": "project_id"}.get(name, name))


def model_compares(left: object, right: object) -> int:
    first, second = text_of(left), text_of(right)
    a: Any = first.replace(" ", "T")
    b: Any = second.replace(" ", "T")
    if re.fullmatch("-?[0-9]+", first) and re.fullmatch("-?[0-9]+", second):
        a, b = int(first), int(second)
    return int(a > b) - int(a < b)


def model_order(left: Any, right: Any) -> int:
    """Put nothing first, then numbers, then texts."""
    kinds = [0 if each is None else 1 if isinstance(each, int) else 2 for each in (left, right)]
    if kinds[0] != kinds[1] or left is None:
        return kinds[0] - kinds[1]
    a, b = (left, right) if kinds[0] == 1 else (text_of(left), text_of(right))
    return int(a > b) - int(a < b)


@given(documents, names, words)
def test_a_condition_for_a_value_is_met_by_that_value_alone(
    rows: list[Mapping[str, Any]], name: str, value: str
) -> None:
    found = selected(rows, q=f"{name}={value}")

    assert found == [row for row in rows if value_in(row, name) is not None and text_of(value_in(row, name)) == value]


@given(documents, names, st.text(PLAIN, max_size=3))
def test_a_condition_for_a_part_is_met_where_it_is_contained_in_any_case(
    rows: list[Mapping[str, Any]], name: str, part: str
) -> None:
    found = selected(rows, q=f"{name}=~{part}")

    held = [(row, value_in(row, name)) for row in rows]
    assert found == [row for row, value in held if value is not None and part.lower() in text_of(value).lower()]


@given(documents, names, st.just("") | words | numbers, st.just("") | words | numbers)
@example([{"name": "web"}], "name", 1, 9)
@example([{"name": "web"}], "name", "", 5)
@example([{"project_id": 7}], "ProjectID", "--5", 9)
@example([{"name": "5"}], "name", "-", "x")
def test_a_range_takes_numbers_for_numbers_and_all_else_for_texts(
    rows: list[Mapping[str, Any]], name: str, low: object, high: object
) -> None:
    found = selected(rows, q=f"{name}=[{low}~{high}]")

    least, most = (str(bound).strip() for bound in (low, high))
    held = [(row, value_in(row, name)) for row in rows]
    assert found == [
        row
        for row, value in held
        if value is not None
        and (not least or model_compares(least, value) <= 0)
        and (not most or model_compares(value, most) <= 0)
    ]


@given(documents, names, st.lists(words.map(lambda word: word.replace(" ", "")).filter(bool), max_size=3))
def test_one_of_and_all_of_look_at_each_word(rows: list[Mapping[str, Any]], name: str, wanted: list[str]) -> None:
    held = [(row, value_in(row, name)) for row in rows]

    one_of = selected(rows, q=f"{name}={{{' '.join(wanted)}}}")
    all_of = selected(rows, q=f"{name}=({' '.join(wanted)})")

    assert one_of == [row for row, value in held if value is not None and text_of(value) in wanted]
    assert all_of == [
        row
        for row, value in held
        if value is not None
        and set(wanted) <= {text_of(each) for each in (value if isinstance(value, list) else [value])}
    ]


@given(documents, st.lists(st.tuples(st.booleans(), names), max_size=4))
def test_lists_are_sorted_by_each_field_in_turn(rows: list[Mapping[str, Any]], order: list[tuple[bool, str]]) -> None:
    def compared(left: Mapping[str, Any], right: Mapping[str, Any]) -> int:
        for descending, name in order:
            found = model_order(value_in(left, name), value_in(right, name))
            if found:
                return -found if descending else found
        return 0

    found = selected(rows, sort=",".join("-" * descending + name for descending, name in order))

    assert found == sorted(rows, key=cmp_to_key(compared))


@given(st.integers(0, 30), st.integers(1, 40), st.integers(1, 100))
def test_pages_are_cut_from_what_matches_and_all_of_it_is_counted(count: int, page: int, size: int) -> None:
    rows = [{"name": str(number)} for number in range(count)]

    found, total = listing.select(asked(page=str(page), page_size=str(size)), rows)

    assert (found, total) == (rows[(page - 1) * size : page * size], count)


@given(st.text())
@example("a=(" * 1300)
@example("=")
@example("a=b,")
@example("a=[")
@example('a="')
def test_any_text_is_a_list_of_conditions_or_a_bad_request(text: str) -> None:
    row = {"a": "b", "name": 5, "nothing": None}
    with suppress(HarborError):
        assert selected([row], q=text, sort=text) in ([row], [])


@pytest.mark.parametrize(
    ("text", "conditions"),
    [
        ("", {}),
        ("a=b,c=d", {"a": "b", "c": "d"}),
        ("a=b=c", {"a": "b=c"}),
        ("a={b,c},d=e", {"a": "{b,c}", "d": "e"}),
        ("a=[1~2],b=(3 4)", {"a": "[1~2]", "b": "(3 4)"}),
        ("a=~(,b=c", {"a": "~(", "b": "c"}),
        ("a=~),b=c", {"a": "~)", "b": "c"}),
        ("a=x,b=~)", {"a": "x", "b": "~)"}),
        (" a =b", {"a": "b"}),
        ("project_id=1,ProjectID=2", {"ProjectID": "2"}),
        ("a=,b=c", {"a": "", "b": "c"}),
        ("name%3D~a%2Fb%2Cb%3D%7Bc%20d+e%7D", {"name": "~a/b", "b": "{c d e}"}),
        ("name=~a%2Fb", {"name": "~a/b"}),
        ("a=[2026-01-01T00:00:00+02:00~]", {"a": "[2026-01-01T00:00:00+02:00~]"}),
        ("a=50%,b=%zz", {"a": "50%", "b": "%zz"}),
    ],
)
def test_conditions_are_cut_at_the_commas_that_are_not_in_brackets(text: str, conditions: Mapping[str, str]) -> None:
    assert asked(q=text).conditions == conditions


@given(conditions_texts, st.sampled_from([quote, quote_plus]))
def test_conditions_that_come_encoded_once_more_as_harbors_pages_send_them_are_the_same(
    text: str, encode: Callable[..., str]
) -> None:
    assert asked(q=encode(text, safe="")) == asked(q=text)


def test_after_a_backslash_a_character_that_means_something_is_one_like_others() -> None:
    rows = [{"a": "~x"}, {"a": "x"}, {"a": "{x}"}, {"a": "\\x"}]

    assert selected(rows, q="a=\\~x") == [{"a": "~x"}]
    assert selected(rows, q="a=\\{x}") == [{"a": "{x}"}]
    assert selected(rows, q="a=\\\\x") == [{"a": "\\x"}]


@pytest.mark.parametrize(
    "query",
    [
        {"q": "a"},
        {"q": "=b"},
        {"q": "a=b,,c=d"},
        {"q": "a=b,"},
        {"q": "a=" + "b" * 4096},
        {"q": ",".join(f"a{number}=b" for number in range(17))},
        {"sort": ",".join("x" * 9)},
        {"page": "0"},
        {"page": "-1"},
        {"page": "1e3"},
        {"page": "१"},
        {"page": str(10**9 + 1)},
        {"page_size": "0"},
        {"page_size": "101"},
        {"page_size": "9" * 40},
    ],
)
def test_what_cannot_be_meant_or_costs_too_much_is_a_bad_request(query: Mapping[str, str]) -> None:
    with pytest.raises(HarborError) as refused:
        asked(**query)

    assert refused.value.code.status == 400


def test_as_much_as_is_allowed_is_answered() -> None:
    row = {f"f{number}": number for number in range(16)}

    conditions = ",".join(f"f{number}=[{number}~]" for number in range(16))
    assert selected([row], q=conditions, sort=",".join(f"-f{number}" for number in range(8))) == [row]


def test_spellings_of_a_field_are_one_field() -> None:
    conditions = ",".join(f"{'_' * number}name=b" for number in range(40))

    assert len(asked(q=conditions).conditions) == 1
