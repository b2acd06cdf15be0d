"""The rules of a project that say which tags are immutable: a list in the project's own record.

A push reads that record anyway, so the rules cost it nothing.

Invariants:
* An id is drawn at random below 2^31; no two rules of a project have one, or select the same.
* Two who change rules of one project at once both succeed, unless they would make two that select the same.
"""

import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from chalicelib.policy import immutability
from chalicelib.policy.immutability import MOST_RULES, Rule
from chalicelib.store.directory import Directory, projects
from chalicelib.store.directory.projects import PROJECTS, Project
from chalicelib.store.table import RefusedError

DUPLICATE = "a rule that selects the same exists already"
FULL = f"a project has at most {MOST_RULES} immutability rules: delete one, or join two with {{a,b}}"
GONE = "the project or the rule does not exist any more"
_FIELD = "immutable_rules"
_HIGHEST_ID = 2**31 - 1

_Rules = tuple[Rule, ...]


def of(project: Project) -> _Rules:
    """Return the rules of a project as it was read, the oldest first."""
    return tuple(map(immutability.parse, project.entry.document.get(_FIELD, ())))


def add(directory: Directory, project_id: int, rule: Rule) -> int:
    """Add a rule and return its id; raise RefusedError naming `DUPLICATE`, `FULL` or `GONE`."""

    def added(rules: _Rules) -> _Rules:
        if len(rules) >= MOST_RULES:
            raise RefusedError([FULL])
        number = next(number for number in iter(_random_id, 0) if number not in {known.id for known in rules})
        return _different((*rules, replace(rule, id=number)))

    return _change(directory, project_id, added)[-1].id


def change(directory: Directory, project_id: int, rule: Rule) -> None:
    """Put a rule in the place of the one with its id; raise RefusedError naming `DUPLICATE` or `GONE`."""

    def replaced(rules: _Rules) -> _Rules:
        _check_there(rules, rule.id)
        return _different(tuple(rule if known.id == rule.id else known for known in rules))

    _change(directory, project_id, replaced)


def remove(directory: Directory, project_id: int, number: int) -> None:
    """Remove a rule; raise RefusedError naming `GONE`."""

    def without(rules: _Rules) -> _Rules:
        _check_there(rules, number)
        return tuple(known for known in rules if known.id != number)

    _change(directory, project_id, without)


def _change(directory: Directory, project_id: int, become: Callable[[_Rules], _Rules]) -> _Rules:
    """Store what the rules become; return that."""

    def changed(project: Project) -> _Rules:
        rules = become(of(project))
        document: dict[str, Any] = {**project.entry.document, _FIELD: list(map(immutability.written, rules))}
        PROJECTS.update(directory, project.entry, document)
        return rules

    return projects.beside(directory, project_id, changed, GONE)


def _check_there(rules: _Rules, number: int) -> None:
    if number not in {rule.id for rule in rules}:
        raise RefusedError([GONE])


def _different(rules: _Rules) -> _Rules:
    for place, rule in enumerate(rules):
        if any(immutability.is_same(rule, other) for other in rules[:place]):
            raise RefusedError([DUPLICATE])
    return rules


def _random_id() -> int:
    return 1 + secrets.randbelow(_HIGHEST_ID)
