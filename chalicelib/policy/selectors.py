r"""Selectors: which repositories and which artifacts a rule of retention or immutability is about.

A pattern is a doublestar, as Harbor takes it:

```
*        any characters of one part of a name (parts are separated by `/`)
**       where it is a whole part: any number of parts; at the end at least one
?        one character
[a-z]    one of these characters; [^a-z] none of them
{a,b/*}  one of several patterns
\        takes a special character as it is
```

Invariants:
* Matching takes time in proportion to the length of the pattern, whatever the pattern: the places in the text that a
  pattern can have come to are the bits of one number, and no place is looked at twice.
* A pattern that was parsed matches or does not; it never fails later.
* An artifact that has tags is selected by them alone; only one that has none is selected by `untagged`.

Specification: doublestar 1.3.4, which Harbor uses. That one misses matches where a `*` stands before a `{` that may
be empty, and fails on some `{a/b,c}`; both are taken as they are meant here. Right after a `}`, `**` is `*`.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache, reduce
from typing import Any

KIND = "doublestar"
LONGEST_PATTERN = 1024
LONGEST_EXTRAS = 256
_DEEPEST = 16
_SLASH, _ESCAPE = "/", "\\"
_SPECIAL = re.compile(r"[*?\[{\\]")


class Decoration(StrEnum):
    """What a selector does with what its pattern matches."""

    MATCHES = "matches"
    EXCLUDES = "excludes"
    REPOSITORY_MATCHES = "repoMatches"
    REPOSITORY_EXCLUDES = "repoExcludes"


OF_TAGS = (Decoration.MATCHES, Decoration.EXCLUDES)
OF_REPOSITORIES = (Decoration.REPOSITORY_MATCHES, Decoration.REPOSITORY_EXCLUDES)


@dataclass(frozen=True, slots=True)
class Selector:
    """A pattern, what it is for, and `extras`: a JSON object that may say whether the untagged are meant."""

    decoration: Decoration
    pattern: str
    extras: str = ""


def parse(given: object, decorations: tuple[Decoration, ...]) -> Selector:
    """Return the selector that a client sent; raise ValueError."""
    if not isinstance(given, dict):
        raise ValueError("a selector must be an object with kind, decoration and pattern")  # noqa: TRY004 - as promised
    kind, decoration = given.get("kind", KIND), given.get("decoration")
    pattern, extras = given.get("pattern"), given.get("extras") or ""
    if kind != KIND:
        raise ValueError(f"the kind of a selector must be {KIND}")
    if decoration not in decorations:
        raise ValueError(f"the decoration of a selector must be {' or '.join(decorations)} here")
    if not isinstance(pattern, str) or not pattern or not pattern.isprintable():
        raise ValueError("a selector needs a pattern of printable characters, such as ** for everything")
    if not isinstance(extras, str) or len(extras.encode()) > LONGEST_EXTRAS or not extras.isprintable():
        raise ValueError(
            f'the extras of a selector must be a short text, such as {{"untagged":true}} ({LONGEST_EXTRAS})'
        )
    matcher(pattern)
    return Selector(Decoration(decoration), pattern, extras)


def parse_scope(given: Mapping[str, Any], most: int) -> tuple[tuple[Selector, ...], tuple[Selector, ...]]:
    """Return the selectors of tags and of repositories of a rule that a client sent; raise ValueError."""
    scopes = given.get("scope_selectors")
    if not isinstance(scopes, dict) or not set(scopes) <= {"repository"}:
        raise ValueError('scope_selectors must be an object with "repository" alone: a list of selectors')
    tags = _parse_list(given.get("tag_selectors"), "tag_selectors", OF_TAGS, most)
    return tags, _parse_list(scopes.get("repository"), "scope_selectors.repository", OF_REPOSITORIES, most)


def _parse_list(given: object, name: str, decorations: tuple[Decoration, ...], most: int) -> tuple[Selector, ...]:
    if not isinstance(given, list) or not 1 <= len(given) <= most:
        raise ValueError(f"{name} must be a list of {'one selector' if most == 1 else f'1 to {most} selectors'}")
    return tuple(parse(selector, decorations) for selector in given)


def written_scope(tags: Iterable[Selector], repositories: Iterable[Selector]) -> dict[str, Any]:
    """Return the selectors of a rule as clients and records write them."""
    return {
        "tag_selectors": [written(selector) for selector in tags],
        "scope_selectors": {"repository": [written(selector) for selector in repositories]},
    }


def written(selector: Selector) -> dict[str, Any]:
    """Return a selector as clients and records write it."""
    shown = {"kind": KIND, "decoration": str(selector.decoration), "pattern": selector.pattern}
    return {**shown, "extras": selector.extras} if selector.extras else shown


def selects_repository(selector: Selector, name: str) -> bool:
    """Tell whether a repository, named without its project, is selected."""
    return matcher(selector.pattern)(name) == (selector.decoration is Decoration.REPOSITORY_MATCHES)


def selects(selector: Selector, tags: Iterable[str]) -> bool:
    """Tell whether an artifact with these tags is selected: one of them suffices."""
    names = tuple(tags)
    wanted = selector.decoration is Decoration.MATCHES
    if not names:
        return _untagged(selector) == wanted
    matches = matcher(selector.pattern)
    return any(matches(name) == wanted for name in names)


def _untagged(selector: Selector) -> bool:
    """Return the flag of the extras: for `matches` whether the untagged are selected, for `excludes` the opposite."""
    default = selector.decoration is Decoration.MATCHES
    if not selector.extras:
        return default
    try:
        extras = json.loads(selector.extras)
    except ValueError:
        return default
    if not isinstance(extras, dict | None):
        return default
    flag = extras.get("untagged") if extras else None
    return default if not isinstance(flag, bool | None) else bool(flag)


@dataclass(frozen=True, slots=True)
class _Text:
    """A text: at which places each character stands, where a part goes on, where one begins; places are bits."""

    length: int
    characters: Mapping[str, int]
    inside: int
    starts: int


# From the places that the pattern has come to, to those that it comes to.
_Step = Callable[[_Text, int], int]


@lru_cache(maxsize=1024)
def matcher(pattern: str) -> Callable[[str], bool]:
    """Return the test whether a pattern matches the whole of a text; raise ValueError where it is none."""
    # In bytes: rules are stored in one record with others.
    if len(pattern.encode()) > LONGEST_PATTERN:
        raise ValueError(f"a pattern has at most {LONGEST_PATTERN} bytes")
    steps = _steps(pattern, first=True, last=True, depth=0)
    if pattern == "**":
        return lambda _text: True
    # Most patterns begin, or are, as they are written; most texts are told apart by that alone.
    plain = _SPECIAL.split(pattern, maxsplit=1)[0]
    if plain == pattern:
        return pattern.__eq__

    def matches(text: str) -> bool:
        if not text.startswith(plain):
            return False
        read = _read(text)
        return bool(_after(steps, read, 1) >> read.length & 1)

    return matches


def _read(text: str) -> _Text:
    characters: dict[str, int] = {}
    for place, character in enumerate(text):
        characters[character] = characters.get(character, 0) | 1 << place
    slashes = characters.get(_SLASH, 0)
    return _Text(len(text), characters, ((1 << len(text)) - 1) & ~slashes, slashes << 1 | 1)


def _after(steps: Iterable[_Step], text: _Text, places: int) -> int:
    return reduce(lambda reached, step: step(text, reached), steps, places)


def _steps(pattern: str, *, first: bool, last: bool, depth: int) -> tuple[_Step, ...]:
    """Return what a pattern does, `first` and `last` where nothing stands before and after it."""
    steps, place = [], 0
    while place < len(pattern):
        character = pattern[place]
        if character == "*":
            step, place = _stars(pattern, place, first=first, last=last)
        elif character == "{":
            group, place = _group(pattern, place)
            step = _either(group, last=last and place == len(pattern), depth=depth)
        elif character == "[":
            step, place = _class(pattern, place)
        else:
            step, place = _one(pattern, place)
        steps.append(step)
        first = pattern[place - 1] == _SLASH
    return tuple(steps)


def _stars(pattern: str, place: int, *, first: bool, last: bool) -> tuple[_Step, int]:
    end = place + len(pattern[place:]) - len(pattern[place:].lstrip("*"))
    if first and end - place == len("**"):
        if pattern[end : end + 1] == _SLASH:
            return _any_parts, end + 1
        if last and end == len(pattern):
            return _the_rest, end
    return _star, end


def _star(text: _Text, places: int) -> int:
    # The carry of the addition runs from a place through the rest of its part (G. Myers, JACM 46, 1999).
    return (((places & text.inside) + text.inside) ^ text.inside) | places


def _any_parts(text: _Text, places: int) -> int:
    return text.starts & -(places & -places) if places else 0


def _the_rest(text: _Text, places: int) -> int:
    return 1 << text.length if places else 0


def _any_character(text: _Text, places: int) -> int:
    return (places & text.inside) << 1


def _one(pattern: str, place: int) -> tuple[_Step, int]:
    """Return the step over one character, which may be escaped."""
    if pattern[place] == "?":
        return _any_character, place + 1
    if pattern[place] == _ESCAPE:
        place += 1
    if place == len(pattern):
        raise ValueError(f"the pattern {pattern} ends in a backslash: write two, or a character after it")
    wanted = pattern[place]
    return lambda text, places: (places & text.characters.get(wanted, 0)) << 1, place + 1


def _class(pattern: str, place: int) -> tuple[_Step, int]:
    """Return the step over a character of a class, such as `[a-z]`."""
    characters, escaped, place = [], [], place + 1
    while pattern[place : place + 1] not in ("", "]"):
        escaped.append(pattern[place] == _ESCAPE)
        place += escaped[-1]
        characters.append(pattern[place : place + 1])
        place += 1
    if place >= len(pattern) or not characters:
        raise ValueError(
            f"the pattern {pattern} has a [ without characters and ] after it: write \\[ for the bracket"
        )
    negated = characters[0] == "^" and not escaped[0]
    ranges = _ranges(pattern, characters[negated:], escaped[negated:])

    def step(text: _Text, places: int) -> int:
        found = 0
        for character, where in text.characters.items():
            if any(low <= character <= high for low, high in ranges) != negated:
                found |= where
        return (places & found & text.inside) << 1

    return step, place + 1


def _ranges(pattern: str, characters: list[str], escaped: list[bool]) -> tuple[tuple[str, str], ...]:
    """Return the ranges of a class; a dash that is not escaped stands between two characters."""
    dashes = [character == "-" and not quoted for character, quoted in zip(characters, escaped, strict=True)]
    ranges, place = [], 0
    while place < len(characters):
        wide = dashes[place + 1 : place + 2] == [True]
        end = place + 2 * wide
        if dashes[place] or end >= len(characters) or dashes[end]:
            raise ValueError(f"the pattern {pattern} has a - in [] that stands between no two characters: write \\-")
        ranges.append((characters[place], characters[end]))
        place = end + 1
    return tuple(ranges)


def _group(pattern: str, place: int) -> tuple[list[str], int]:
    """Return the alternatives of a group, each with the slash that follows the group, and where it ends."""
    options, start, depth, end = [], place + 1, 0, place
    while end < len(pattern):
        character = pattern[end]
        depth += (character == "{") - (character == "}")
        if not depth or (character == "," and depth == 1):
            options.append(pattern[start:end])
            start = end + 1
        if not depth:
            follows = pattern[end + 1 : end + 2] == _SLASH
            return [option + _SLASH * follows for option in options], end + 1 + follows
        end += 1 + (character == _ESCAPE)
    raise ValueError(f"the pattern {pattern} has a {{ without its }}: write \\{{ for the bracket")


def _either(options: list[str], *, last: bool, depth: int) -> _Step:
    if depth == _DEEPEST:
        raise ValueError(f"a pattern has at most {_DEEPEST} {{}} within each other")
    ways = [_steps(option, first=False, last=last, depth=depth + 1) for option in options]
    return lambda text, places: reduce(lambda reached, way: reached | _after(way, text, places), ways, 0)
