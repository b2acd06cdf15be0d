"""Projects: names, metadata in their normal forms, allowlists and storage limits."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.oci.names import Repository
from chalicelib.policy import projects
from chalicelib.policy.projects import METADATA, Setter

TIB = 1024**4
names = st.from_regex(r"[a-z0-9]+(?:[._-][a-z0-9]+)*", fullmatch=True) | st.text("ab0._-/", max_size=8)


@pytest.mark.parametrize("name", ["a", "0", "123", "library", "a.b_c-d", "a" * 255])
def test_a_name_of_the_grammar_is_accepted(name: str) -> None:
    assert projects.check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "A", "a/b", "a__b", "a--b", "-a", "a-", ".a", "a b", "ä", "a\n", "*", "a+b", "a" * 256]
)
def test_any_other_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="project's name"):
        projects.check_name(name)


def test_the_one_name_whose_images_would_have_the_api_s_addresses_is_refused() -> None:
    with pytest.raises(ValueError, match="Harbor's API"):
        projects.check_name("v2.0")


@given(names.filter(lambda name: len(name) < 200))
def test_a_project_can_hold_repositories(name: str) -> None:
    try:
        projects.check_name(name)
    except ValueError:
        return

    assert str(Repository.parse(f"{name}/app")) == f"{name}/app"


@pytest.mark.parametrize(
    ("key", "value", "normal"),
    [
        ("public", "true", "true"),
        ("public", "false", "false"),
        ("public", True, "true"),
        ("public", False, "false"),
        ("auto_scan", "True", "true"),
        ("prevent_vul", "1", "true"),
        ("prevent_vul", 0, "false"),
        ("severity", "High", "high"),
        ("proxy_speed_kb", "-1", "-1"),
        ("proxy_speed_kb", 500, "500"),
        ("max_upstream_conn", "007", "7"),
        ("max_upstream_conn", "2147483647", "2147483647"),
        ("proxy_cache_filter_pattern", "library/**", "library/**"),
        ("proxy_cache_filter_pattern", "", ""),
        ("proxy_cache_filter_kind", "regex", "regex"),
    ],
)
def test_values_become_texts_in_their_normal_form(key: str, value: object, normal: str) -> None:
    assert projects.parse_metadata({key: value}) == {key: normal}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("public", "yes", "metadata public must be true or false"),
        ("public", 2, "must be true or false"),
        ("public", ["true"], "metadata public must be a text"),
        ("auto_scan", 1.0, "must be a text"),
        ("severity", "terrible", "one of none, low, medium, high, critical"),
        ("severity", True, "one of none"),
        ("proxy_speed_kb", "-2", "whole number"),
        ("proxy_speed_kb", "2147483648", "whole number"),
        ("proxy_speed_kb", "1.5", "whole number"),
        ("proxy_speed_kb", "٣", "whole number"),
        ("max_upstream_conn", "1" * 5000, "whole number"),
        ("proxy_cache_filter_pattern", "a" * 1025, "at most 1024"),
        ("proxy_cache_filter_pattern", "a\nb", "printable"),
        ("proxy_cache_filter_kind", "glob", "doublestar, regex"),
    ],
)
def test_other_values_are_refused_with_a_sentence_that_names_the_key(key: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        projects.parse_metadata({key: value})


def test_what_is_unknown_or_null_or_the_registry_s_own_is_left_out() -> None:
    sent: dict[str, Any] = {
        "public": "true",
        "retention_id": "7",
        "no_such_key": {},
        "severity": None,
        "auto_scan": "",
    }

    assert projects.parse_metadata(sent) == {"public": "true"}


values = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["true", "high", "regex"])


@given(st.dictionaries(st.sampled_from([*METADATA, "other"]), values))
def test_what_was_parsed_is_parsed_to_itself(given: dict[str, Any]) -> None:
    try:
        parsed = projects.parse_metadata(given)
    except ValueError:
        return

    assert projects.parse_metadata(parsed) == parsed


def test_a_default_is_a_value_that_could_be_set() -> None:
    defaults = {key: row.default for key, row in METADATA.items() if row.setter is Setter.MEMBER}

    assert projects.parse_metadata(defaults) == defaults


def test_what_is_not_set_has_a_default() -> None:
    assert projects.effective({}, "public") == "false"
    assert projects.effective({}, "reuse_sys_cve_allowlist") == "true"
    assert projects.effective({"public": "true"}, "public") == "true"


@pytest.mark.parametrize(
    ("given", "parsed"),
    [
        ({}, {"items": []}),
        ({"items": None, "expires_at": None}, {"items": []}),
        ({"items": [{"cve_id": " CVE-2019-10164 "}]}, {"items": [{"cve_id": "CVE-2019-10164"}]}),
        (
            {"items": [{"cve_id": "b"}, {"cve_id": "a", "x": 1}, {"cve_id": "b"}]},
            {"items": [{"cve_id": "b"}, {"cve_id": "a"}]},
        ),
        ({"id": 3, "project_id": 3, "items": [], "expires_at": 1893456000}, {"items": [], "expires_at": 1893456000}),
    ],
)
def test_an_allowlist_names_each_vulnerability_once(given: dict[str, Any], parsed: dict[str, Any]) -> None:
    assert projects.parse_allowlist(given) == parsed
    assert projects.parse_allowlist(parsed) == parsed


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"items": {}}, "must be a list"),
        ({"items": "CVE-1"}, "must be a list"),
        ({"items": ["CVE-2019-10164"]}, "an object with a cve_id"),
        ({"items": [{}]}, "an object with a cve_id"),
        ({"items": [{"cve_id": "  "}]}, "an object with a cve_id"),
        ({"items": [{"cve_id": 7}]}, "an object with a cve_id"),
        ({"items": [{"cve_id": "CVE 1"}]}, "an object with a cve_id"),
        ({"items": [{"cve_id": "x" * 65}]}, "an object with a cve_id"),
        ({"items": [{"cve_id": str(number)} for number in range(4001)]}, "at most 4000"),
        ({"expires_at": 0}, "expires_at"),
        ({"expires_at": -1}, "expires_at"),
        ({"expires_at": True}, "expires_at"),
        ({"expires_at": "2030-01-01"}, "expires_at"),
        ({"expires_at": 10**12}, "expires_at"),
    ],
)
def test_other_allowlists_are_refused_with_the_reason(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        projects.parse_allowlist(given)


@pytest.mark.parametrize("limit", [-1, 1, 10 * TIB, 1024 * TIB])
def test_a_storage_limit_is_a_number_of_bytes_or_none(limit: int) -> None:
    assert projects.parse_storage_limit(limit) == limit


@pytest.mark.parametrize("limit", [0, -2, 1024 * TIB + 1, True])
def test_other_storage_limits_are_refused(limit: int) -> None:
    with pytest.raises(ValueError, match="storage limit"):
        projects.parse_storage_limit(limit)
