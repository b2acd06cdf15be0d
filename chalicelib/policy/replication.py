"""Replication policies as data: what is copied between this registry and another one, where to, and when.

Invariants:
* One side of a policy is this registry (0), the other one a registry that was registered.
* An empty pattern, and no filter at all, take everything; of several filters each must take what is copied.
* An artifact is copied with those of its tags that all filters of tags take; one without tags is taken where they
  take the empty tag. What belongs to an artifact (`chalicelib.jobs.copying`) goes with it and is not asked.

Specification: the replication of Harbor 2.16. Its filter `resource` takes artifacts of every type, whatever its
value; here `image` takes images alone.
"""

import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from chalicelib.oci.errors import RegistryError
from chalicelib.oci.names import MAX_NAME, Repository
from chalicelib.policy import cron as crons
from chalicelib.policy import selectors, sent

MOST_FILTERS, MOST_LABELS = 20, 50
FLATTEN = -1
_MOST_REPLACED = 127
_LONGEST_NAME, _LONGEST_TEXT, _LONGEST_LABEL = 256, 1024, 255
_HIGHEST_SPEED = 2**31 - 1
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
IMAGE = "IMAGE"
HARBOR = "harbor"
# Patterns in which nothing but alternatives is special, and those that begin so up to their first slash.
_WRITTEN_OUT = re.compile(r"(?:[a-z0-9._/-]|\{[a-z0-9._/,-]+\})+")
_FIRST_PART = re.compile(r"((?:[a-z0-9._-]|\{[a-z0-9._,-]+\})+)/")
_GROUP = re.compile(r"\{([^{}]*)\}")
_MOST_NAMED = 1000


class Trigger(StrEnum):
    """What begins an execution, by Harbor's words."""

    MANUAL = "manual"
    SCHEDULED = "scheduled"
    EVENT_BASED = "event_based"


class FilterKind(StrEnum):
    """What a filter looks at."""

    NAME = "name"
    TAG = "tag"
    LABEL = "label"
    RESOURCE = "resource"


class Decoration(StrEnum):
    """Whether a filter takes what it matches, or the rest."""

    MATCHES = "matches"
    EXCLUDES = "excludes"


class Resource(StrEnum):
    """What a filter of resources takes."""

    IMAGE = "image"
    ARTIFACT = "artifact"


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter; `values` are one pattern or resource, or the labels of which all are wanted."""

    kind: FilterKind
    values: tuple[str, ...]
    decoration: Decoration | None = None

    @property
    def excludes(self) -> bool:
        """Tell whether what does not match is wanted."""
        return self.decoration is Decoration.EXCLUDES


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy; `source` and `destination` are ids of registries, 0 this one. `speed` is in KB/s, 0 without limit."""

    name: str
    source: int
    destination: int
    description: str = ""
    namespace: str = ""
    replaced: int = FLATTEN
    filters: tuple[Filter, ...] = ()
    trigger: Trigger = Trigger.MANUAL
    cron: str = ""
    deletion: bool = False
    override: bool = False
    enabled: bool = False
    speed: int = 0
    by_chunk: bool = False
    single: bool = False

    @property
    def pulls(self) -> bool:
        """Tell whether content comes here."""
        return self.destination == 0

    @property
    def registry(self) -> int:
        """Return the id of the other registry."""
        return self.source or self.destination


@dataclass(frozen=True, slots=True)
class Candidate:
    """An artifact that may be copied: its tags, the names of its labels, its type as the index has it."""

    digest: str
    tags: tuple[str, ...] = ()
    labels: frozenset[str] = frozenset()
    type: str = IMAGE


def takes_repository(filters: Iterable[Filter], repository: str) -> bool:
    """Tell whether something in a repository, by its full name, may be copied."""
    return all(_takes(each, repository) for each in filters if each.kind is FilterKind.NAME)


def named(filters: Iterable[Filter]) -> tuple[str, ...] | None:
    """Return the repositories that filters name one by one, as `library/{a,b}`; None where one has to list them."""
    written = (pattern for pattern in _names(filters) if _WRITTEN_OUT.fullmatch(pattern))
    return next(filter(None, map(_alternatives, written)), None)


def namespaces(filters: Iterable[Filter]) -> tuple[str, ...]:
    """Return the first parts of all names that filters take, as `{a,b}/**` says them; () where that is not said."""
    begun = (match[1] for pattern in _names(filters) if (match := _FIRST_PART.match(pattern)))
    return next(filter(None, map(_alternatives, begun)), ())


def _names(filters: Iterable[Filter]) -> Iterable[str]:
    return (each.values[0] for each in filters if each.kind is FilterKind.NAME)


def _alternatives(pattern: str) -> tuple[str, ...]:
    """Return what a pattern stands for in which nothing but `{a,b}` is special, () where that is too much."""
    pieces = [part.split(",") if place % 2 else [part] for place, part in enumerate(_GROUP.split(pattern))]
    if math.prod(map(len, pieces)) > _MOST_NAMED:
        return ()
    return tuple(dict.fromkeys(map("".join, itertools.product(*pieces))))


def takes_tag(filters: Iterable[Filter], tag: str) -> bool:
    """Tell whether every filter of tags takes a tag; "" is that of an artifact without any."""
    return all(_takes(each, tag) for each in filters if each.kind is FilterKind.TAG)


def chosen(filters: Iterable[Filter], candidate: Candidate) -> tuple[str, ...] | None:
    """Return the tags with which an artifact is copied, () where it has none; None where it is not wanted."""
    found = tuple(filters)
    if not all(_TAKES[each.kind](each, candidate) for each in found):
        return None
    tags = tuple(tag for tag in candidate.tags if takes_tag(found, tag))
    if tags or (not candidate.tags and takes_tag(found, "")):
        return tags
    return None


def _takes(wanted: Filter, name: str) -> bool:
    pattern = wanted.values[0]
    return not pattern or selectors.matcher(pattern)(name) != wanted.excludes


def _takes_labels(wanted: Filter, candidate: Candidate) -> bool:
    return not wanted.values or (candidate.labels.issuperset(wanted.values) != wanted.excludes)


def _takes_resource(wanted: Filter, candidate: Candidate) -> bool:
    return wanted.values != (Resource.IMAGE,) or candidate.type == IMAGE


def _takes_any(wanted: Filter, candidate: Candidate) -> bool:  # noqa: ARG001 - a row of the table below
    return True


# What each kind of filter says of an artifact as a whole: names and tags are looked at one by one.
_TAKES: Mapping[FilterKind, Callable[[Filter, Candidate], bool]] = {
    FilterKind.NAME: _takes_any,
    FilterKind.TAG: _takes_any,
    FilterKind.LABEL: _takes_labels,
    FilterKind.RESOURCE: _takes_resource,
}


def destination(policy: Policy, repository: str, fewest: int = 1, most: int = MAX_NAME) -> Repository:
    """Return where a repository is copied to; raise ValueError where its name does not fit there.

    The destination takes names of `fewest` to `most` parts.
    """
    parts = repository.split("/")
    if policy.namespace and policy.replaced >= len(parts):
        raise ValueError(
            f"{repository} has {len(parts) - 1} parts before its last one, and the policy replaces {policy.replaced}:"
            " lower dest_namespace_replace_count"
        )
    if policy.namespace:
        kept = parts[-1:] if policy.replaced == FLATTEN else parts[policy.replaced :]
        parts = [*policy.namespace.split("/"), *kept]
    name = "/".join(parts)
    if not fewest <= len(parts) <= most:
        wanted = f"exactly {most}" if fewest == most else f"at least {fewest}" if len(parts) < fewest else f"{most}"
        raise ValueError(f"{name} has {len(parts)} parts, and the destination takes {wanted}: change dest_namespace")
    try:
        return Repository.parse(name)
    except RegistryError as error:
        raise ValueError(f"the destination cannot have a repository {name}: {error.message}") from error


def resource(make: str) -> Resource:
    """Return what Harbor calls what comes from a registry of this make: it knows the artifacts of Harbor alone."""
    return Resource.ARTIFACT if make == HARBOR else Resource.IMAGE


def text(repository: str, items: int) -> str:
    """Return how Harbor writes what a task copies or deletes."""
    return f"{repository} [{items} item(s) in total]"


def parse(given: Mapping[str, Any]) -> Policy:
    """Return the policy that a client sent; raise ValueError."""
    name = sent.text(given, "name", _LONGEST_NAME).strip()
    if not name:
        raise ValueError("a replication policy needs a name")
    source, target = _registry(given, "src_registry"), _registry(given, "dest_registry")
    if bool(source) == bool(target):
        raise ValueError(
            "name one of src_registry and dest_registry by its id, and leave out the other: that is this registry"
        )
    trigger, cron = _trigger(given.get("trigger"))
    single = sent.flag(given, "single_active_replication")
    if single and trigger is Trigger.EVENT_BASED:
        raise ValueError("single_active_replication is not for policies that events begin: each event is told")
    # What clients change is the older word, the only one that Harbor reads: they send the other as they got it.
    deletion = sent.flag(given, "deletion", default=sent.flag(given, "replicate_deletion"))
    return Policy(
        name=name,
        source=source,
        destination=target,
        description=sent.text(given, "description", _LONGEST_TEXT),
        namespace=_namespace(given),
        replaced=max(
            FLATTEN, _number(given, "dest_namespace_replace_count", -_MOST_REPLACED, _MOST_REPLACED, FLATTEN)
        ),
        filters=_filters(given.get("filters"), local=not source),
        trigger=trigger,
        cron=cron,
        deletion=deletion,
        override=sent.flag(given, "override"),
        enabled=sent.flag(given, "enabled"),
        speed=max(0, _number(given, "speed", -_HIGHEST_SPEED, _HIGHEST_SPEED, 0)),
        by_chunk=sent.flag(given, "copy_by_chunk"),
        single=single,
    )


def _registry(given: Mapping[str, Any], name: str) -> int:
    named = given.get(name)
    if named is None:
        return 0
    number = named.get("id") if isinstance(named, Mapping) else None
    if number is not None and (type(number) is not int or not 0 <= number <= _HIGHEST_SPEED):
        raise ValueError(f"{name} must be an object with the id of a registry")
    return number or 0


def _namespace(given: Mapping[str, Any]) -> str:
    namespace = sent.text(given, "dest_namespace", MAX_NAME).strip("/")
    try:
        return Repository.parse(namespace).name if namespace else ""
    except RegistryError as error:
        raise ValueError(f"dest_namespace: {error.message}") from error


def _trigger(given: object) -> tuple[Trigger, str]:
    if given is None:
        return Trigger.MANUAL, ""
    if not isinstance(given, Mapping):
        raise ValueError("trigger must be an object with a type")  # noqa: TRY004 - whoever sent it is told, like others
    trigger = sent.chosen(Trigger, given.get("type") or Trigger.MANUAL, "the type of the trigger")
    settings = given.get("trigger_settings") or {}
    cron = settings.get("cron") if isinstance(settings, Mapping) else None
    if trigger is not Trigger.SCHEDULED:
        return trigger, ""
    if not isinstance(cron, str) or not cron.strip():
        raise ValueError('a scheduled policy needs trigger_settings with a cron, such as "0 0 2 * * *"')
    expression = crons.parse(cron)
    if expression.split()[1] == "*":
        raise ValueError("a replication every minute is too often: * cannot be the minute of its cron expression")
    return trigger, expression


def _filters(given: object, *, local: bool) -> tuple[Filter, ...]:
    if given is None:
        return ()
    if not isinstance(given, list) or len(given) > MOST_FILTERS:
        raise ValueError(f"filters must be a list of at most {MOST_FILTERS}")
    filters = tuple(map(_filter, given))
    if not local and any(each.kind is FilterKind.LABEL and each.values for each in filters):
        raise ValueError("labels are known of this registry alone: a policy that pulls cannot filter by them")
    return filters


def _filter(given: object) -> Filter:
    if not isinstance(given, Mapping):
        raise ValueError("a filter must be an object")  # noqa: TRY004 - as above
    kind = sent.chosen(FilterKind, given.get("type"), "the type of a filter")
    written = given.get("decoration") or ""
    decoration = sent.chosen(Decoration, written, "the decoration of a filter") if written else None
    if decoration and kind not in (FilterKind.TAG, FilterKind.LABEL):
        raise ValueError(f"a filter of the type {kind} has no decoration: filters of tags and labels have")
    return Filter(kind, _values(kind, given.get("value")), decoration)


def _values(kind: FilterKind, value: object) -> tuple[str, ...]:
    if kind is FilterKind.LABEL:
        return _labels(value)
    if not isinstance(value, str) or _CONTROL.search(value):
        raise ValueError(f"the value of a filter of the type {kind} must be a text")
    if kind is FilterKind.RESOURCE:
        return (sent.chosen(Resource, value, "the value of a filter of resources"),)
    if value:
        selectors.matcher(value)
    return (value,)


def _labels(value: object) -> tuple[str, ...]:
    names = tuple(value) if isinstance(value, list) else None
    if names is None or len(names) > MOST_LABELS or not all(_is_label(name) for name in names):
        raise ValueError(f"the value of a filter of labels must be a list of at most {MOST_LABELS} names of labels")
    return names


def _is_label(name: object) -> bool:
    return isinstance(name, str) and bool(name) and len(name) <= _LONGEST_LABEL and not _CONTROL.search(name)


def _number(given: Mapping[str, Any], name: str, lowest: int, highest: int, default: int) -> int:
    value = given.get(name)
    if value is None:
        return default
    if type(value) is not int or not lowest <= value <= highest:
        raise ValueError(f"{name} must be a whole number from {lowest} to {highest}")
    return value


def written(policy: Policy) -> dict[str, Any]:
    """Return a policy as clients read it, but for its registries."""
    settings = {"trigger_settings": {"cron": policy.cron}} if policy.cron else {}
    return {
        "name": policy.name,
        "description": policy.description,
        "dest_namespace": policy.namespace,
        "dest_namespace_replace_count": policy.replaced,
        "filters": [_written_filter(each) for each in policy.filters],
        "trigger": {"type": policy.trigger, **settings},
        "replicate_deletion": policy.deletion,
        "deletion": policy.deletion,
        "override": policy.override,
        "enabled": policy.enabled,
        "speed": policy.speed,
        "copy_by_chunk": policy.by_chunk,
        "single_active_replication": policy.single,
    }


def _written_filter(each: Filter) -> dict[str, Any]:
    value: Sequence[str] | str = list(each.values) if each.kind is FilterKind.LABEL else each.values[0]
    shown = {"type": each.kind, "value": value}
    return {**shown, "decoration": each.decoration} if each.decoration else shown
