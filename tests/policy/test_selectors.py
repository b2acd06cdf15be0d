"""Selectors: patterns against an obvious, slow matcher; decorations; the untagged."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.policy import selectors
from chalicelib.policy.selectors import LONGEST_PATTERN, OF_REPOSITORIES, OF_TAGS, Decoration, Selector, matcher

_BROKEN = "\0"


@pytest.mark.parametrize(
    ("pattern", "matched", "missed"),
    [
        ("**", ["", "a", "a/b", "v1.0-rc.1"], []),
        ("*", ["", "latest"], ["a/b"]),
        ("v*", ["v", "v1", "v1.2"], ["1v", "v/1"]),
        ("v1.?", ["v1.0", "v1.x"], ["v1.", "v1.10", "v1./"]),
        ("release-[0-9]*", ["release-1", "release-12"], ["release-", "release-x"]),
        ("[^a-c]x", ["dx", "-x"], ["ax", "x", "/x"]),
        (r"[\]\-]", ["]", "-"], ["\\", "a"]),
        ("[a^]", ["a", "^"], ["b"]),
        ("{v,r}[0-9]", ["v1", "r2"], ["1", "vr1"]),
        ("{latest,v{1,2}.*,}", ["latest", "v1.0", "v2.", ""], ["v3.0", "v1"]),
        ("team/**", ["team/a", "team/a/b"], ["team", "teams/a"]),
        ("**/app", ["app", "a/app", "a/b/app"], ["a/apps", "app/a"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["a/xb", "ab"]),
        ("a**", ["a", "abc"], ["a/b"]),
        ("a/{b/c,d}/e", ["a/b/c/e", "a/d/e"], ["a/b/e", "a/c/e"]),
        ("{a,b/**}/c", ["a/c", "b/c", "b/x/y/c"], ["c", "a/x/c"]),
        ("{a,b}/**", ["a/x", "b/x/y"], ["a", "c/x"]),
        (r"a\*", ["a*"], ["ab", "a"]),
        ("ä?", ["äö"], ["ä"]),
    ],
)
def test_a_pattern_matches_whole_names(pattern: str, matched: list[str], missed: list[str]) -> None:
    matches = matcher(pattern)

    assert [text for text in matched + missed if matches(text)] == matched


@pytest.mark.parametrize("pattern", ["[", "[]", "[a", "[-a]", "[a-]", "[a-b-c]", "{a", "{a,{b}", "a\\", "[a\\"])
def test_what_is_no_pattern_is_refused_with_what_to_write(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"the pattern .* write"):
        matcher(pattern)


def test_a_pattern_has_bounds() -> None:
    with pytest.raises(ValueError, match="at most"):
        matcher("a" * (LONGEST_PATTERN + 1))
    with pytest.raises(ValueError, match="within each other"):
        matcher("{" * 20 + "a" + "}" * 20)


def _expanded(pattern: str) -> Iterator[str]:
    """Yield a pattern without groups; a mark stands where a group broke a part: `**` is no whole one there."""
    start = pattern.find("{")
    if start < 0:
        yield pattern
        return
    options, depth, begun = list[str](), 0, start + 1
    for place in range(start, len(pattern)):
        depth += {"{": 1, "}": -1}.get(pattern[place], 0)
        if depth == 0 or (depth == 1 and pattern[place] == ","):
            options.append(pattern[begun:place])
            begun = place + 1
        if depth == 0:
            break
    rest = pattern[begun:]
    after = "" if rest[:1] in ("", "/") else _BROKEN
    for option in options:
        yield from _expanded(pattern[:start] + _BROKEN + option + after + rest)


def _slowly(pattern: str, text: str) -> bool:
    return any(_parts(plain.split("/"), text.split("/")) for plain in _expanded(pattern))


def _parts(patterns: list[str], parts: list[str]) -> bool:
    if not patterns:
        return not parts
    if patterns == ["**"]:
        return bool(parts)
    if patterns[0] == "**":
        return any(_parts(patterns[1:], parts[skipped:]) for skipped in range(len(parts)))
    return bool(parts) and _characters(patterns[0].replace(_BROKEN, ""), parts[0]) and _parts(patterns[1:], parts[1:])


def _characters(pattern: str, part: str) -> bool:
    if not pattern:
        return not part
    if pattern[0] == "*":
        return any(_characters(pattern[1:], part[skipped:]) for skipped in range(len(part) + 1))
    return bool(part) and pattern[0] in ("?", part[0]) and _characters(pattern[1:], part[1:])


_plain = st.lists(st.sampled_from(["a", "b", "/", "*", "**", "?", "/**/", "**/"]), max_size=5).map("".join)
_patterns = st.recursive(
    _plain,
    lambda inner: st.lists(
        st.one_of(inner, st.lists(inner, min_size=1, max_size=3).map(lambda options: "{" + ",".join(options) + "}")),
        max_size=3,
    ).map("".join),
    max_leaves=8,
)
_names = st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=4).map("/".join)


@settings(deadline=None)
@given(_patterns, _names)
def test_patterns_match_what_an_obvious_matcher_matches(pattern: str, name: str) -> None:
    assert matcher(pattern)(name) == _slowly(pattern, name)


@settings(deadline=None)
@given(st.text(st.sampled_from("ab-/*?[]{}^,\\"), max_size=40), _names)
def test_any_text_is_a_pattern_or_is_refused_at_once(pattern: str, name: str) -> None:
    try:
        matches = matcher(pattern)
    except ValueError:
        return

    assert matches(name) in (True, False)


def test_a_pattern_made_to_be_slow_is_not() -> None:
    """Each of these would keep a backtracking matcher busy for longer than the universe is old."""
    for pattern in ("*a" * 500 + "b", "{a,aa,aaa,*}" * 80 + "b", "?**" * 300 + "b", "**/" * 300 + "b"):
        assert not matcher(pattern)("a" * 255)
        assert not matcher(pattern)("a/" * 127 + "a")


@pytest.mark.parametrize(
    ("decoration", "pattern", "tags", "selected"),
    [
        (Decoration.MATCHES, "v*", ["v1"], True),
        (Decoration.MATCHES, "v*", ["latest", "v1"], True),
        (Decoration.MATCHES, "v*", ["latest"], False),
        (Decoration.EXCLUDES, "v*", ["latest"], True),
        (Decoration.EXCLUDES, "v*", ["latest", "v1"], True),
        (Decoration.EXCLUDES, "v*", ["v1", "v2"], False),
    ],
)
def test_one_tag_is_enough(decoration: Decoration, pattern: str, tags: list[str], selected: bool) -> None:
    assert selectors.selects(Selector(decoration, pattern), tags) is selected


@pytest.mark.parametrize(
    ("decoration", "extras", "selected"),
    [
        (Decoration.MATCHES, "", True),
        (Decoration.MATCHES, '{"untagged":true}', True),
        (Decoration.MATCHES, '{"untagged":false}', False),
        (Decoration.MATCHES, "{}", False),
        (Decoration.MATCHES, '{"untagged":"yes"}', True),
        (Decoration.MATCHES, "not JSON", True),
        (Decoration.EXCLUDES, "", True),
        (Decoration.EXCLUDES, '{"untagged":true}', False),
        (Decoration.EXCLUDES, '{"untagged":false}', True),
        (Decoration.EXCLUDES, "{}", True),
        (Decoration.EXCLUDES, "[1]", True),
        (Decoration.EXCLUDES, "true", True),
        (Decoration.MATCHES, "false", True),
        (Decoration.MATCHES, "null", False),
    ],
)
def test_the_untagged_go_by_the_extras(decoration: Decoration, extras: str, selected: bool) -> None:
    assert selectors.selects(Selector(decoration, "nothing", extras), []) is selected


def test_a_repository_is_selected_or_excluded_by_its_name_below_the_project() -> None:
    assert selectors.selects_repository(Selector(Decoration.REPOSITORY_MATCHES, "team/**"), "team/app")
    assert not selectors.selects_repository(Selector(Decoration.REPOSITORY_EXCLUDES, "team/**"), "team/app")
    assert selectors.selects_repository(Selector(Decoration.REPOSITORY_EXCLUDES, "team/**"), "app")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("**", "must be an object"),
        ({"kind": "label", "decoration": "matches", "pattern": "**"}, "kind"),
        ({"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}, "matches or excludes"),
        ({"kind": "doublestar", "decoration": "matches", "pattern": ""}, "needs a pattern"),
        ({"kind": "doublestar", "decoration": "matches", "pattern": 5}, "needs a pattern"),
        ({"kind": "doublestar", "decoration": "matches", "pattern": "[a"}, "write"),
        ({"kind": "doublestar", "decoration": "matches", "pattern": "a", "extras": {}}, None),
        ({"kind": "doublestar", "decoration": "matches", "pattern": "a", "extras": {"untagged": True}}, "extras"),
        ({"kind": "doublestar", "decoration": "matches", "pattern": "a", "extras": " " * 300}, "extras"),
    ],
)
def test_a_selector_that_makes_no_sense_is_refused(given: object, message: str | None) -> None:
    if message is None:
        assert selectors.parse(given, OF_TAGS) == Selector(Decoration.MATCHES, "a")
        return
    with pytest.raises(ValueError, match=message):
        selectors.parse(given, OF_TAGS)


def test_a_selector_is_written_as_it_was_read() -> None:
    sent = {"kind": "doublestar", "decoration": "repoExcludes", "pattern": "{a,b}/**", "extras": json.dumps({"x": 1})}

    assert selectors.written(selectors.parse(sent, OF_REPOSITORIES)) == sent
