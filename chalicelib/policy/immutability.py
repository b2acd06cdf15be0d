"""Immutability: which tags, once they name something, keep naming it.

Invariants:
* A tag is immutable if a rule that is not disabled selects both its repository and it. What has no tag is not.
* Rules say nothing about a tag that is not there: the first push of one is free.

Specification: the immutable tags of Harbor 2.16.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from chalicelib.policy import selectors
from chalicelib.policy.selectors import Selector

MOST_RULES = 15
_ACTION, _TEMPLATE = "immutable", "immutable_template"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of a project."""

    tags: Selector
    repositories: Selector
    disabled: bool = False
    id: int = 0
    priority: int = 0


def is_immutable(rules: Iterable[Rule], repository: str, tag: str) -> bool:
    """Tell whether a tag of a repository, named without its project, is immutable."""
    return any(
        not rule.disabled
        and selectors.selects_repository(rule.repositories, repository)
        and selectors.selects(rule.tags, (tag,))
        for rule in rules
    )


def is_same(one: Rule, other: Rule) -> bool:
    """Tell whether two rules select the same, on or off."""
    return replace(one, id=0, priority=0, disabled=False) == replace(other, id=0, priority=0, disabled=False)


def parse(given: Mapping[str, Any]) -> Rule:
    """Return the rule that a client sent, or a record holds; raise ValueError."""
    for name, only in (("action", _ACTION), ("template", _TEMPLATE)):
        if given.get(name) not in (None, "", only):
            raise ValueError(f'the {name} of an immutability rule must be "{only}"')
    tags, repositories = selectors.parse_scope(given, most=1)
    number, priority, disabled = given.get("id") or 0, given.get("priority") or 0, given.get("disabled") or False
    if not isinstance(disabled, bool) or type(number) is not int or type(priority) is not int:
        raise ValueError("id and priority of an immutability rule must be numbers, and disabled true or false")
    return Rule(tags[0], repositories[0], disabled, number, priority)


def written(rule: Rule) -> dict[str, Any]:
    """Return a rule as clients and records write it."""
    return {
        "id": rule.id,
        "priority": rule.priority,
        "disabled": rule.disabled,
        "action": _ACTION,
        "template": _TEMPLATE,
        "params": {},
        **selectors.written_scope([rule.tags], [rule.repositories]),
    }
