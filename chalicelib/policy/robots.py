"""Robot accounts: what they can be permitted, what permissions come to, their names and how long they live.

Invariants:
* The catalogues say what a robot account can hold, and nothing outside them counts, however it came to be stored.
  Where they differ from the table of roles the catalogues win: no robot account may change secrets of others
  (`robot:update`), whatever a project's administrator may.
* What is denied wins over what is allowed, wherever either stands.
* `*` means every project, also those made later; only who holds something there can give it away there.
* A full name begins with the prefix, which no user's name can begin with (`policy.people`, `policy.configuration`).

Specification: GET /permissions and the robot accounts of Harbor 2.16.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from chalicelib.policy.rbac import Permission

SYSTEM_NAMESPACE = "/"
EVERY_PROJECT = "*"

NEVER = -1
LONGEST_DURATION = 2**31 - 1
_DAY = 24 * 60 * 60

LONGEST_NAME = 255
# In characters; and so much that a robot account fits into a record, whatever it is given.
LONGEST_DESCRIPTION = 1024
MOST_NAMESPACES, MOST_PERMISSIONS = 100, 5000
_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*", re.ASCII)


class Level(StrEnum):
    """Where a robot account or a permission of one belongs."""

    SYSTEM = "system"
    PROJECT = "project"


@dataclass(frozen=True, slots=True)
class RobotPermission:
    """What a robot account may do in one namespace: `/` (the system), `*` (every project) or a project's name."""

    kind: Level
    namespace: str
    access: frozenset[Permission]
    denied: frozenset[Permission] = frozenset()


def _catalogue(*rows: tuple[str, str]) -> tuple[Permission, ...]:
    return tuple(Permission(resource, action) for resource, actions in rows for action in actions.split())


# The order is that of the answer to GET /permissions.
# fmt: off
SYSTEM_CATALOGUE = _catalogue(
    ("audit-log",           "list"),
    ("preheat-instance",    "read create delete list update"),
    ("project",             "list create"),
    ("replication-policy",  "read create delete list update"),
    ("replication",         "read create list"),
    ("replication-adapter", "list"),
    ("registry",            "read create delete list update"),
    ("scan-all",            "read update stop create"),
    ("system-volumes",      "read"),
    ("garbage-collection",  "read create list update stop"),
    ("purge-audit",         "read create list update stop"),
    ("jobservice-monitor",  "list stop"),
    ("scanner",             "read create delete list update"),
    ("label",               "read create delete update"),
    ("security-hub",        "read list"),
    ("catalog",             "read"),
    ("quota",               "read list update"),
    ("robot",               "create read list delete"),
    ("user",                "create read update list delete"),
    ("ldap-user",           "create list"),
    ("user-group",          "create read update list delete"),
)
PROJECT_CATALOGUE = _catalogue(
    ("log",                 "list"),
    ("project",             "read delete update"),
    ("metadata",            "read create delete list update"),
    ("repository",          "read update delete list pull push"),
    ("artifact",            "read create list delete"),
    ("scan",                "create read stop"),
    ("sbom",                "create stop read"),
    ("tag",                 "create list delete"),
    ("accessory",           "list"),
    ("artifact-addition",   "read"),
    ("artifact-label",      "create delete"),
    ("scanner",             "create read"),
    ("preheat-policy",      "read create delete list update"),
    ("immutable-tag",       "create delete list update"),
    ("notification-policy", "read create delete list update"),
    ("tag-retention",       "read create delete list update"),
    ("label",               "read create delete list update"),
    ("quota",               "read"),
    ("robot",               "create read list delete"),
    ("export-cve",          "create read"),
    ("member",              "create read update list delete"),
)
# fmt: on
_CATALOGUES = {Level.SYSTEM: frozenset(SYSTEM_CATALOGUE), Level.PROJECT: frozenset(PROJECT_CATALOGUE)}


def check(level: Level, permissions: Iterable[RobotPermission], project: str) -> None:
    """Raise ValueError where a robot account cannot have these permissions; `project` is where one of that level is.

    Whether the projects that are named exist is not known here.
    """
    entries = tuple(permissions)
    if not entries:
        raise ValueError("a robot account needs at least one permission")
    _check_size(entries)
    if level is Level.PROJECT:
        _check_of_project(entries, project)
    for entry in entries:
        _check_entry(entry)


def _check_size(entries: tuple[RobotPermission, ...]) -> None:
    if len(entries) > MOST_NAMESPACES:
        raise ValueError(f"a robot account has permissions in at most {MOST_NAMESPACES} namespaces")
    if sum(len(entry.access) + len(entry.denied) for entry in entries) > MOST_PERMISSIONS:
        raise ValueError(f"a robot account has at most {MOST_PERMISSIONS} permissions")


def _check_of_project(entries: tuple[RobotPermission, ...], project: str) -> None:
    if [(entry.kind, entry.namespace) for entry in entries] != [(Level.PROJECT, project)]:
        raise ValueError(
            f"a robot account of a project has its permissions as one entry of kind project and namespace {project}"
        )


def _check_entry(entry: RobotPermission) -> None:
    named = entry.access | entry.denied
    if not named:
        raise ValueError(f"the permission of namespace {entry.namespace} is empty: name what is allowed in access")
    if (entry.kind is Level.SYSTEM) != (entry.namespace == SYSTEM_NAMESPACE) or not entry.namespace:
        raise ValueError("a permission of kind system has the namespace /, one of kind project a project's name or *")
    refused = sorted(named - _CATALOGUES[entry.kind])
    if refused:
        raise ValueError(f"bad request permission: {', '.join(map(str, refused))}")


def live(permissions: Iterable[RobotPermission], gone: Collection[str]) -> tuple[RobotPermission, ...]:
    """Return what holds of permissions; in projects that are gone, or made anew, that is what they deny."""
    held = (
        replace(entry, access=frozenset()) if entry.kind is Level.PROJECT and entry.namespace in gone else entry
        for entry in permissions
    )
    return tuple(entry for entry in held if entry.access or entry.denied)


def in_project(permissions: Iterable[RobotPermission], project: str) -> frozenset[Permission]:
    """Return what permissions allow in a project; of `*`, what they allow in each project that they do not name."""
    return _allowed(permissions, Level.PROJECT, {EVERY_PROJECT, project})


def in_system(permissions: Iterable[RobotPermission]) -> frozenset[Permission]:
    """Return what permissions allow in the system."""
    return _allowed(permissions, Level.SYSTEM, {SYSTEM_NAMESPACE})


def _allowed(permissions: Iterable[RobotPermission], kind: Level, namespaces: set[str]) -> frozenset[Permission]:
    entries = [entry for entry in permissions if entry.kind is kind and entry.namespace in namespaces]
    allowed = frozenset().union(*(entry.access for entry in entries))
    denied = frozenset().union(*(entry.denied for entry in entries))
    return (allowed & _CATALOGUES[kind]) - denied


def covers(creator: Iterable[RobotPermission], wanted: Iterable[RobotPermission]) -> bool:
    """Tell whether `wanted` allows nothing, in the system or in any project, that `creator` does not allow there."""
    held, asked = tuple(creator), tuple(wanted)
    if not in_system(asked) <= in_system(held):
        return False
    # Projects that neither names are alike, and `*` stands for them. Those that only the creator names matter too:
    # something may be denied there.
    projects = {EVERY_PROJECT, *(entry.namespace for entry in held + asked if entry.kind is Level.PROJECT)}
    return all(in_project(asked, project) <= in_project(held, project) for project in projects)


def check_name(name: str) -> str:
    """Return the name of a robot account, which is without prefix and project; raise ValueError."""
    if len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
        raise ValueError(
            f"the name of a robot account has 1 to {LONGEST_NAME} lower-case letters and digits, "
            "separated by single . _ or -"
        )
    return name


def check_description(text: str) -> str:
    """Return what a robot account is said to be for; raise ValueError."""
    if len(text) > LONGEST_DESCRIPTION:
        raise ValueError(f"the description of a robot account has at most {LONGEST_DESCRIPTION} characters")
    return text


def full_name(prefix: str, level: Level, project: str, name: str) -> str:
    """Return the name that a robot account logs in with: `robot$name`, or `robot$project+name`.

    Neither a name nor a project's can contain `+`, so no two robot accounts share a full name.
    """
    return f"{prefix}{project}+{name}" if level is Level.PROJECT else f"{prefix}{name}"


def expires_at(created: int, days: int) -> int:
    """Return when a robot account of this age limit expires, in seconds since 1970, or -1; raise ValueError."""
    if days == NEVER:
        return NEVER
    if not 1 <= days <= LONGEST_DURATION:
        raise ValueError(f"the duration of a robot account is 1 to {LONGEST_DURATION} days, or -1 for no end")
    return created + days * _DAY


def earlier(first: int, second: int) -> int:
    """Return the earlier of two ends, where -1 is none."""
    return min((end for end in (first, second) if end != NEVER), default=NEVER)
