"""Retention: which artifacts of a repository a project's rules keep, and which go.

Invariants:
* A rule looks at a repository if all its repository selectors take it. It keeps some of the artifacts that all its
  tag selectors take, by its template. What any rule keeps is kept.
* Where at least one rule looks, everything that none keeps goes, as a whole with its tags: also what no rule selects.
* A repository that no rule looks at is left alone, and so is every one where all rules are disabled.
* An artifact with an immutable tag stays.
* Of artifacts with the same time the one that was pushed last counts as the newer, and then the greater digest.

Specification: the tag retention of Harbor 2.16.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from chalicelib.policy import selectors
from chalicelib.policy.selectors import Selector

MOST_RULES = 15
_MOST_SELECTORS = 4
LATEST, DAYS = 32766, 20190904
_DAY = 24 * 60 * 60
_NEVER = float("-inf")
_HIGHEST = 2**31 - 1
SCHEDULE = "Schedule"


@dataclass(frozen=True, slots=True)
class Candidate:
    """An artifact that a list shows; times are seconds since 1970, `pulled` 0 for never.

    `pushed` and `pulled` are the latest of its own and of its tags'; `created` is when it was pushed first.
    """

    digest: str
    tags: tuple[str, ...]
    pushed: float
    pulled: float
    created: float


class Template(StrEnum):
    """What a rule keeps of what it selects."""

    LATEST_PUSHED = "latestPushedK"
    LATEST_PULLED = "latestPulledN"
    PUSHED_SINCE = "nDaysSinceLastPush"
    PULLED_SINCE = "nDaysSinceLastPull"
    ALWAYS = "always"
    LATEST_ACTIVE = "latestActiveK"
    LAST_DAYS = "lastXDays"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule; `number` is the template's parameter, how many artifacts or days."""

    template: Template
    number: int
    tags: tuple[Selector, ...]
    repositories: tuple[Selector, ...]
    disabled: bool = False
    id: int = 0
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Policy:
    """A project's rules, and when they are applied: by a schedule of six fields, or "" for by hand alone."""

    project_id: int
    rules: tuple[Rule, ...]
    cron: str


class Action(StrEnum):
    """What becomes of an artifact, as Harbor's logs say it."""

    RETAIN = "RETAIN"
    DELETE = "DEL"
    IMMUTABLE = "IMMUTABLE"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of an artifact, and which rules (by their place in the policy, from 1) keep it."""

    candidate: Candidate
    action: Action
    kept_by: tuple[int, ...]


def looks_at(rule: Rule, repository: str) -> bool:
    """Tell whether a rule is about a repository, named without its project."""
    return not rule.disabled and all(
        selectors.selects_repository(selector, repository) for selector in rule.repositories
    )


def is_touched(rules: Iterable[Rule], repository: str) -> bool:
    """Tell whether something in a repository may go."""
    return any(looks_at(rule, repository) for rule in rules)


def decide(
    rules: Sequence[Rule],
    repository: str,
    candidates: Iterable[Candidate],
    now: float,
    immutable: Callable[[str], bool] = lambda _tag: False,
) -> tuple[Verdict, ...]:
    """Return what becomes of each artifact of a repository, in their order."""
    found = tuple(candidates)
    looking = [(number, rule) for number, rule in enumerate(rules, start=1) if looks_at(rule, repository)]
    kept = {number: _kept(rule, found, now) for number, rule in looking}

    def verdict(candidate: Candidate) -> Verdict:
        by = tuple(number for number, digests in kept.items() if candidate.digest in digests)
        if by or not looking:
            return Verdict(candidate, Action.RETAIN, by)
        fixed = any(map(immutable, candidate.tags))
        return Verdict(candidate, Action.IMMUTABLE if fixed else Action.DELETE, ())

    return tuple(map(verdict, found))


def _kept(rule: Rule, candidates: Iterable[Candidate], now: float) -> frozenset[str]:
    """Return the digests that a rule keeps."""
    selected = [
        candidate
        for candidate in candidates
        if all(selectors.selects(selector, candidate.tags) for selector in rule.tags)
    ]
    keep = _KEEP[rule.template]
    return frozenset(candidate.digest for candidate in keep(selected, rule.number, now))


_Keep = Callable[[Sequence[Candidate], int, float], Iterable[Candidate]]
_Time = Callable[[Candidate], float]


def _pulled(candidate: Candidate) -> float:
    return candidate.pulled or _NEVER


def _pushed(candidate: Candidate) -> float:
    return candidate.pushed


def _active(candidate: Candidate) -> float:
    return max(candidate.pulled, candidate.pushed)


def _latest(time: _Time) -> _Keep:
    def keep(selected: Sequence[Candidate], number: int, _now: float) -> Iterable[Candidate]:
        def age(candidate: Candidate) -> tuple[float, float, str]:
            return time(candidate), candidate.pushed, candidate.digest

        return sorted(selected, key=age, reverse=True)[:number]

    return keep


def _since(time: _Time) -> _Keep:
    """Return the template of days: Harbor counts in whole seconds, and the first second of the time belongs to it."""
    return lambda selected, number, now: [found for found in selected if time(found) >= int(now) - number * _DAY]


def _after(selected: Sequence[Candidate], number: int, now: float) -> Iterable[Candidate]:
    return [found for found in selected if int(found.pushed) > now - number * _DAY]


def _all(selected: Sequence[Candidate], _number: int, _now: float) -> Iterable[Candidate]:
    return selected


# How each template chooses; what it counts, and how far.
# fmt: off
_KEEP: Mapping[Template, _Keep] = MappingProxyType({
    Template.LATEST_PUSHED: _latest(_pushed),
    Template.LATEST_PULLED: _latest(_pulled),
    Template.LATEST_ACTIVE: _latest(_active),
    Template.PUSHED_SINCE:  _since(_pushed),
    Template.PULLED_SINCE:  _since(_pulled),
    Template.LAST_DAYS:     _after,
    Template.ALWAYS:        _all,
})
_HIGHEST_NUMBER: Mapping[Template, int] = MappingProxyType({
    Template.LATEST_PUSHED: LATEST,
    Template.LATEST_PULLED: LATEST,
    Template.LATEST_ACTIVE: LATEST,
    Template.PUSHED_SINCE:  DAYS,
    Template.PULLED_SINCE:  DAYS,
    Template.LAST_DAYS:     DAYS,
})
# fmt: on


class DuplicateRuleError(ValueError):
    """Two rules of a policy that are the same."""


def parse(given: Mapping[str, Any]) -> Policy:
    """Return the policy that a client sent; raise ValueError, or DuplicateRuleError. The schedule is not read."""
    if given.get("algorithm") not in (None, "", "or"):
        raise ValueError('the algorithm of a retention policy must be "or"')
    rules = given.get("rules") or []
    if not isinstance(rules, list) or len(rules) > MOST_RULES:
        raise ValueError(f"the rules of a retention policy are a list of at most {MOST_RULES}")
    parsed = tuple(map(_rule, rules))
    _check_different(parsed)
    return Policy(_project_id(given.get("scope")), parsed, _cron(given.get("trigger")))


def _check_different(rules: Sequence[Rule]) -> None:
    seen: dict[Rule, int] = {}
    for place, rule in enumerate(rules):
        first = seen.setdefault(replace(rule, id=0), place)
        if first != place:
            raise DuplicateRuleError(f"rules {first + 1} and {place + 1} are the same: leave one of them out")


def _project_id(scope: object) -> int:
    named = scope if isinstance(scope, dict) else {}
    if named.get("level") != "project" or not _is_number(named.get("ref"), 1, _HIGHEST):
        raise ValueError('the scope of a retention policy must be {"level": "project", "ref": <the project\'s id>}')
    return int(named["ref"])


def _cron(trigger: object) -> str:
    if trigger is None:
        return ""
    if not isinstance(trigger, dict) or trigger.get("kind") not in (None, "", SCHEDULE):
        raise ValueError(f'the trigger of a retention policy must be {{"kind": "{SCHEDULE}", "settings": ...}}')
    settings = trigger.get("settings") or {}
    cron = settings.get("cron") if isinstance(settings, dict) else None
    if trigger.get("kind") == SCHEDULE and not isinstance(cron, str):
        raise ValueError('the settings of the trigger need a cron, such as "0 0 0 * * *", or "" for none')
    return cron.strip() if isinstance(cron, str) else ""


def _rule(given: object) -> Rule:
    if not isinstance(given, dict):
        raise ValueError("a rule of a retention policy must be an object")  # noqa: TRY004 - as promised
    if given.get("action") not in (None, "", "retain"):
        raise ValueError('the action of a rule of a retention policy must be "retain"')
    template = given.get("template")
    if template not in tuple(Template):
        raise ValueError(f"the template of a rule must be one of {', '.join(Template)}")
    tags, repositories = selectors.parse_scope(given, _MOST_SELECTORS)
    return Rule(
        template=Template(template),
        number=_number(Template(template), given.get("params")),
        tags=tags,
        repositories=repositories,
        disabled=given.get("disabled") is True,
        id=_whole(given, "id"),
        priority=_whole(given, "priority"),
    )


def _number(template: Template, params: object) -> int:
    if template not in _HIGHEST_NUMBER:
        return 0
    highest = _HIGHEST_NUMBER[template]
    named = params if isinstance(params, dict) else {}
    if not _is_number(named.get(template), 0, highest):
        raise ValueError(f'the params of a rule {template} must be {{"{template}": <a number from 0 to {highest}>}}')
    return int(named[template])


def _whole(given: Mapping[str, Any], name: str) -> int:
    value = given.get(name)
    if value is None:
        return 0
    if not _is_number(value, 0, _HIGHEST):
        raise ValueError(f"the {name} of a rule must be a number from 0 to {_HIGHEST}")
    return int(value)


def _is_number(value: Any, lowest: int, highest: int) -> bool:
    """Tell whether a JSON value is a whole number in bounds; 5.0 is one to whoever writes JSON, and true is not."""
    whole = isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1
    return bool(whole and lowest <= value <= highest)


def written(policy: Policy, number: int) -> dict[str, Any]:
    """Return a policy as clients read it."""
    return {
        "id": number,
        "algorithm": "or",
        "rules": [written_rule(rule) for rule in policy.rules],
        "trigger": {"kind": SCHEDULE, "settings": {"cron": policy.cron}},
        "scope": {"level": "project", "ref": policy.project_id},
    }


def written_rule(rule: Rule) -> dict[str, Any]:
    """Return a rule as clients and records write it."""
    return {
        "id": rule.id,
        "priority": rule.priority,
        "disabled": rule.disabled,
        "action": "retain",
        "template": str(rule.template),
        "params": {str(rule.template): rule.number} if rule.template in _HIGHEST_NUMBER else {},
        **selectors.written_scope(rule.tags, rule.repositories),
    }
