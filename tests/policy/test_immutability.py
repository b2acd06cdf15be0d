"""Immutability: which tags the rules of a project fix."""

from typing import Any

import pytest

from chalicelib.policy import immutability
from chalicelib.policy.immutability import Rule
from chalicelib.policy.selectors import Decoration, Selector

RULE: dict[str, Any] = {
    "id": 5,
    "priority": 0,
    "disabled": False,
    "action": "immutable",
    "template": "immutable_template",
    "params": {},
    "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": "v*"}],
    "scope_selectors": {"repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "team/**"}]},
}


def fixes(rules: list[Rule], repository: str, *tags: str) -> list[str]:
    return [tag for tag in tags if immutability.is_immutable(rules, repository, tag)]


def test_a_tag_is_fixed_where_a_rule_selects_its_repository_and_it() -> None:
    rules = [immutability.parse(RULE)]

    assert fixes(rules, "team/app", "v1", "latest", "v2") == ["v1", "v2"]
    assert fixes(rules, "app", "v1") == []


def test_excluded_tags_are_free_and_all_others_fixed() -> None:
    selector = {"kind": "doublestar", "decoration": "excludes", "pattern": "{latest,dev-*}"}
    rules = [immutability.parse({**RULE, "tag_selectors": [selector]})]

    assert fixes(rules, "team/app", "latest", "dev-1", "v1") == ["v1"]


def test_any_rule_that_is_on_suffices() -> None:
    everything = Rule(Selector(Decoration.MATCHES, "**"), Selector(Decoration.REPOSITORY_EXCLUDES, "scratch"))
    off = immutability.parse({**RULE, "disabled": True})

    assert fixes([off], "team/app", "v1") == []
    assert fixes([off, everything], "team/app", "v1") == ["v1"]
    assert fixes([off, everything], "scratch", "v1") == []


def test_a_rule_is_written_as_it_was_read() -> None:
    assert immutability.written(immutability.parse(RULE)) == RULE


def test_a_rule_needs_no_more_than_its_selectors() -> None:
    least = {name: RULE[name] for name in ("tag_selectors", "scope_selectors")}

    assert immutability.parse(least) == immutability.parse({**RULE, "id": 0})


def test_rules_that_select_the_same_are_the_same() -> None:
    rule = immutability.parse(RULE)

    assert immutability.is_same(rule, immutability.parse({**RULE, "id": 1, "disabled": True, "priority": 3}))
    assert not immutability.is_same(
        rule, immutability.parse({**RULE, "scope_selectors": {"repository": [_everywhere()]}})
    )


def _everywhere() -> dict[str, str]:
    return {"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"action": "retain"}, "action"),
        ({"template": "always"}, "template"),
        ({"tag_selectors": []}, "one selector"),
        ({"tag_selectors": RULE["tag_selectors"] * 2}, "one selector"),
        ({"scope_selectors": None}, "scope_selectors"),
        ({"scope_selectors": {"repository": RULE["tag_selectors"]}}, "repoMatches or repoExcludes"),
        ({"disabled": "yes"}, "true or false"),
        ({"priority": "1"}, "numbers"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        immutability.parse({**RULE, **change})
