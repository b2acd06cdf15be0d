"""Retention: Harbor's documented examples, its corners, and 5 000 random policies against an obvious reference."""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pytest

from chalicelib.policy import retention
from chalicelib.policy.retention import DAYS, LATEST, Action, Candidate, DuplicateRuleError, Rule, Template, decide
from chalicelib.policy.selectors import Decoration, Selector

NOW = 1_800_000_000
DAY = 86_400
TAGGED_ALONE = '{"untagged":false}'


def artifact(digest: str, *tags: str, pushed: float = 0, pulled: float | None = None) -> Candidate:
    """Return an artifact that was pushed and pulled so many days ago."""
    created = int(NOW - pushed * DAY)
    return Candidate(digest, tags, created, 0 if pulled is None else int(NOW - pulled * DAY), created)


def rule(template: Template, number: int = 0, tags: str = "**", extras: str = "", repositories: str = "**") -> Rule:
    return Rule(
        template=template,
        number=number,
        tags=(Selector(Decoration.MATCHES, tags, extras),),
        repositories=(Selector(Decoration.REPOSITORY_MATCHES, repositories),),
    )


def kept(rules: Sequence[Rule], candidates: Iterable[Candidate], repository: str = "app") -> list[str]:
    verdicts = decide(rules, repository, candidates, NOW)
    return [verdict.candidate.digest for verdict in verdicts if verdict.action is Action.RETAIN]


# Harbor's documentation, "Create Tag Retention Rules".
BUSY = [artifact(f"a{n}", f"t{n}", pulled=n / 20) for n in range(100)] + [artifact(f"u{n}", pulled=1) for n in (1, 2)]
QUIET = [*(artifact(f"b{n}", f"t{n}", pulled=40 + n) for n in range(6)), artifact("u", pulled=40)]
PULLED_10 = rule(Template.LATEST_PULLED, 10, extras=TAGGED_ALONE)
PULLED_WEEK = rule(Template.PULLED_SINCE, 7, extras=TAGGED_ALONE)


def test_the_ten_pulled_last_are_counted_in_each_repository() -> None:
    assert kept([PULLED_10], BUSY) == [f"a{n}" for n in range(10)]
    assert kept([PULLED_10], QUIET) == [f"b{n}" for n in range(6)]


def test_what_was_pulled_in_a_week_may_be_everything_or_nothing() -> None:
    assert kept([PULLED_WEEK], BUSY) == [f"a{n}" for n in range(100)]
    assert kept([PULLED_WEEK], QUIET) == []


def test_the_untagged_stay_where_the_rule_means_them() -> None:
    assert len(kept([rule(Template.PULLED_SINCE, 7)], BUSY)) == 102


def test_two_rules_keep_what_either_keeps() -> None:
    assert len(kept([PULLED_WEEK, PULLED_10], BUSY)) == 100
    assert len(kept([PULLED_WEEK, PULLED_10], QUIET)) == 6


def test_rules_by_the_beginning_and_the_end_of_tags_keep_eight_of_twelve() -> None:
    releases = ("2.1", "2.2", "3.1", "4.4")
    twelve = [
        artifact(tag, tag) for release in releases for tag in (f"{release}-r-{x}" for x in ("prod", "rc", "release"))
    ]

    rules = [rule(Template.LATEST_PUSHED, 10, "2*"), rule(Template.LATEST_PUSHED, 10, "*-prod")]

    assert [d for d in kept(rules, twelve) if d[0] != "2"] == ["3.1-r-prod", "4.4-r-prod"]
    assert len(kept(rules, twelve)) == 8


def test_an_artifact_stays_with_all_its_tags_for_the_sake_of_one() -> None:
    one = artifact("one", "harbor-1.8", "harbor-release", "harbor-nightly", "other")

    assert kept([rule(Template.LATEST_PUSHED, 1, "harbor-r*")], [one]) == ["one"]


def test_what_no_rule_selects_goes_too() -> None:
    """Harbor has no rule that says what to delete; people expect this to keep `latest`."""
    found = [artifact("1", "latest"), artifact("2", "v1", pushed=1), artifact("3", "v2", pushed=2)]

    assert kept([rule(Template.LATEST_PUSHED, 1, "v*")], found) == ["2"]


def test_a_repository_that_no_rule_looks_at_is_left_alone() -> None:
    rules = [rule(Template.LATEST_PUSHED, 0, repositories="team/**")]

    assert not retention.is_touched(rules, "app")
    assert kept(rules, QUIET) == [candidate.digest for candidate in QUIET]
    assert kept(rules, QUIET, "team/app") == []


def test_rules_that_are_off_look_at_nothing() -> None:
    off = Rule(Template.LATEST_PUSHED, 0, PULLED_10.tags, PULLED_10.repositories, disabled=True)

    assert not retention.is_touched([off], "app")
    assert len(kept([off], QUIET)) == 7


def test_an_immutable_tag_keeps_its_artifact_and_is_reported() -> None:
    found = [artifact("1", "v1", "x"), artifact("2", "x2"), artifact("3", "v3", pulled=1)]
    rules = [rule(Template.PULLED_SINCE, 7)]

    verdicts = decide(rules, "app", found, NOW, lambda tag: tag.startswith("v"))

    assert [verdict.action for verdict in verdicts] == [Action.IMMUTABLE, Action.DELETE, Action.RETAIN]
    assert [verdict.kept_by for verdict in verdicts] == [(), (), (1,)]


@pytest.mark.parametrize(
    ("template", "number", "digests"),
    [
        (Template.LATEST_PUSHED, 2, ["new", "mid"]),
        (Template.LATEST_PULLED, 2, ["mid", "old"]),
        (Template.LATEST_ACTIVE, 2, ["new", "old"]),
        (Template.LATEST_PULLED, 3, ["new", "mid", "old"]),
        (Template.LATEST_PUSHED, 0, []),
        (Template.PUSHED_SINCE, 5, ["new", "mid"]),
        (Template.LAST_DAYS, 5, ["new"]),
        (Template.PULLED_SINCE, 4, ["mid", "old"]),
        (Template.PULLED_SINCE, DAYS, ["mid", "old"]),
        (Template.PUSHED_SINCE, DAYS, ["new", "mid", "old"]),
        (Template.ALWAYS, 0, ["new", "mid", "old"]),
    ],
)
def test_each_template_keeps_its_own(template: Template, number: int, digests: list[str]) -> None:
    """The day that is exactly so long ago belongs to those of `PUSHED_SINCE`, and not to `LAST_DAYS`."""
    found = [artifact("new", "a", pushed=1), artifact("mid", "b", pushed=5, pulled=3), artifact("old", pushed=9)]
    found[2] = artifact("old", "c", pushed=9, pulled=2)
    if template is Template.LATEST_ACTIVE:
        found[1] = artifact("mid", "b", pushed=5, pulled=3)

    assert kept([rule(template, number)], found) == digests


def test_of_equally_old_ones_it_does_not_depend_on_the_order_of_a_list_which_stay() -> None:
    found = [artifact(digest, digest) for digest in "abcdef"]

    assert kept([rule(Template.LATEST_PULLED, 2)], found) == ["e", "f"]
    assert sorted(kept([rule(Template.LATEST_PULLED, 2)], found[::-1])) == ["e", "f"]


def test_of_two_that_were_pushed_in_one_second_the_later_is_the_newer() -> None:
    found = [Candidate("b", ("1",), NOW + 0.1, 0, NOW + 0.1), Candidate("a", ("2",), NOW + 0.2, 0, NOW + 0.2)]

    assert kept([rule(Template.LATEST_PUSHED, 1)], found) == ["a"]


# An obvious, slow reference. It has its own idea of patterns, and of everything else.
PATTERNS: Mapping[str, Callable[[str], bool]] = {
    "**": lambda _text: True,
    "v*": lambda text: text[:1] == "v",
    "{latest,stable}": lambda text: text in ("latest", "stable"),
    "?1": lambda text: len(text) == 2 and text[1] == "1",
    "[a-m]*": lambda text: "a" <= text[:1] <= "m",
}
REPOSITORIES: Mapping[str, Callable[[str], bool]] = {
    "**": lambda _name: True,
    "app": lambda name: name == "app",
    "team/**": lambda name: name.startswith("team/"),
    "*": lambda name: "/" not in name,
}
TAGS = ("v1", "v2", "x1", "latest", "stable", "beta", "zeta")
EXTRAS = ("", '{"untagged":true}', '{"untagged":false}')


def _reference_selects(selector: Selector, tags: Sequence[str]) -> bool:
    if not tags:
        flag = {"": None, EXTRAS[1]: True, EXTRAS[2]: False}[selector.extras]
        if selector.decoration is Decoration.MATCHES:
            return True if flag is None else flag
        return True if flag is None else not flag
    for tag in tags:
        matched = PATTERNS[selector.pattern](tag)
        if selector.decoration is Decoration.MATCHES and matched:
            return True
        if selector.decoration is Decoration.EXCLUDES and not matched:
            return True
    return False


def _reference_looks(looking: Rule, repository: str) -> bool:
    if looking.disabled:
        return False
    selector = looking.repositories[0]
    matched = REPOSITORIES[selector.pattern](repository)
    return matched if selector.decoration is Decoration.REPOSITORY_MATCHES else not matched


def _reference_keeps(rule: Rule, selected: Sequence[Candidate], one: Candidate) -> bool:
    """Tell whether a rule keeps one of the artifacts that it selected, by counting who is before it."""
    edge = NOW - rule.number * DAY
    times: Mapping[Template, Callable[[Candidate], float]] = {
        Template.LATEST_PUSHED: lambda c: c.pushed,
        Template.LATEST_PULLED: lambda c: c.pulled or -1,
        Template.LATEST_ACTIVE: lambda c: max(c.pushed, c.pulled),
    }
    if rule.template in times:
        time = times[rule.template]
        before = [
            other
            for other in selected
            if time(other) > time(one)
            or (time(other) == time(one) and other.pushed > one.pushed)
            or (time(other) == time(one) and other.pushed == one.pushed and other.digest > one.digest)
        ]
        return len(before) < rule.number
    return {
        Template.PUSHED_SINCE: one.pushed >= edge,
        Template.PULLED_SINCE: one.pulled != 0 and one.pulled >= edge,
        Template.LAST_DAYS: one.pushed > edge,
        Template.ALWAYS: True,
    }[rule.template]


def _reference(rules: Sequence[Rule], repository: str, found: Sequence[Candidate], fixed: set[str]) -> list[Action]:
    looking = [one for one in rules if _reference_looks(one, repository)]
    actions = []
    for one in found:
        stays = not looking
        for looked in looking:
            selected = [other for other in found if _reference_selects(looked.tags[0], other.tags)]
            if one in selected and _reference_keeps(looked, selected, one):
                stays = True
        if stays:
            actions.append(Action.RETAIN)
        elif set(one.tags) & fixed:
            actions.append(Action.IMMUTABLE)
        else:
            actions.append(Action.DELETE)
    return actions


def _random_rule(dice: random.Random) -> Rule:
    tags = dice.choice((Decoration.MATCHES, Decoration.EXCLUDES))
    repositories = dice.choice((Decoration.REPOSITORY_MATCHES, Decoration.REPOSITORY_EXCLUDES))
    return Rule(
        template=dice.choice(list(Template)),
        number=dice.choice((0, 1, 2, 3, 7, 30)),
        tags=(Selector(tags, dice.choice(list(PATTERNS)), dice.choice(EXTRAS)),),
        repositories=(Selector(repositories, dice.choice(list(REPOSITORIES))),),
        disabled=dice.random() < 0.1,
    )


def _random_artifact(dice: random.Random, number: int) -> Candidate:
    tags = tuple(dice.sample(TAGS, dice.choice((0, 0, 1, 1, 2, 3))))
    # Whole days, so that many are of the same age, and some lie on an edge.
    return artifact(f"d{number}", *tags, pushed=dice.randint(0, 32), pulled=dice.choice((None, dice.randint(0, 32))))


def test_five_thousand_random_policies_decide_as_the_reference() -> None:
    dice, met = random.Random(1), set[Action]()
    for _ in range(5000):
        rules = [_random_rule(dice) for _ in range(dice.randint(0, 5))]
        found = [_random_artifact(dice, number) for number in range(dice.randint(0, 12))]
        fixed = set(dice.sample(TAGS, dice.choice((0, 0, 1, 3))))
        repository = dice.choice(("app", "other", "team/app", "team/x/y"))

        actions = [verdict.action for verdict in decide(rules, repository, found, NOW, fixed.__contains__)]

        assert actions == _reference(rules, repository, found, fixed), (rules, repository, found)
        met |= set(actions)
    assert met == set(Action)


SELECTORS: dict[str, Any] = {
    "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": "**", "extras": TAGGED_ALONE}],
    "scope_selectors": {
        "repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "{a,b}/**"}],
    },
}
RULE: dict[str, Any] = {
    "id": 3,
    "priority": 1,
    "disabled": False,
    "action": "retain",
    "template": "latestPushedK",
    "params": {"latestPushedK": 10},
    **SELECTORS,
}
POLICY: dict[str, Any] = {
    "algorithm": "or",
    "rules": [RULE, {**RULE, "template": "always", "params": {}}],
    "trigger": {"kind": "Schedule", "settings": {"cron": "0 0 0 * * *"}},
    "scope": {"level": "project", "ref": 7},
}


def test_a_policy_is_written_as_it_was_read() -> None:
    assert retention.written(retention.parse(POLICY), 5) == {**POLICY, "id": 5}


def test_numbers_may_be_written_as_json_writes_them() -> None:
    parsed = retention.parse({**POLICY, "rules": [{**RULE, "params": {"latestPushedK": 10.0}}]})

    assert parsed.rules[0].number == 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"algorithm": "and"}, "algorithm"),
        ({"rules": {}}, None),
        ({"rules": "all"}, "list"),
        ({"rules": [{**RULE, "id": n, "priority": n} for n in range(16)]}, "at most 15"),
        ({"rules": [5]}, "object"),
        ({"rules": [{**RULE, "action": "delete"}]}, "retain"),
        ({"rules": [{**RULE, "template": "nothing"}]}, "latestPushedK, "),
        ({"rules": [{**RULE, "template": []}]}, "latestPushedK, "),
        ({"rules": [{**RULE, "params": {}}]}, "latestPushedK"),
        ({"rules": [{**RULE, "params": None}]}, "latestPushedK"),
        ({"rules": [{**RULE, "params": {"latestPushedK": LATEST + 1}}]}, str(LATEST)),
        ({"rules": [{**RULE, "params": {"latestPushedK": -1}}]}, "0 to"),
        ({"rules": [{**RULE, "params": {"latestPushedK": True}}]}, "0 to"),
        ({"rules": [{**RULE, "params": {"latestPushedK": 1.5}}]}, "0 to"),
        ({"rules": [{**RULE, "priority": "high"}]}, "priority"),
        ({"rules": [{**RULE, "tag_selectors": []}]}, "tag_selectors"),
        ({"rules": [{**RULE, "scope_selectors": {}}]}, "repository"),
        ({"rules": [{**RULE, "scope_selectors": {"project": []}}]}, "repository"),
        ({"scope": None}, "scope"),
        ({"scope": {"level": "system", "ref": 7}}, "scope"),
        ({"scope": {"level": "project", "ref": 0}}, "scope"),
        ({"trigger": {"kind": "Push"}}, "Schedule"),
        ({"trigger": {"kind": "Schedule", "settings": {}}}, "cron"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(change: dict[str, Any], message: str | None) -> None:
    if message is None:
        assert retention.parse({**POLICY, **change}).rules == ()
        return
    with pytest.raises(ValueError, match=message):
        retention.parse({**POLICY, **change})


def test_the_same_rule_twice_is_told_apart_from_other_mistakes() -> None:
    with pytest.raises(DuplicateRuleError, match="rules 1 and 3"):
        retention.parse({**POLICY, "rules": [RULE, {**RULE, "disabled": True}, {**RULE, "id": 9}]})


def test_without_a_trigger_a_policy_waits_for_somebody() -> None:
    assert retention.parse({**POLICY, "trigger": None}).cron == ""
    assert retention.parse({**POLICY, "trigger": {"kind": "Schedule", "settings": {"cron": ""}}}).cron == ""
