"""Roles and permissions: which role may do what in a project, and what there is to be permitted at all.

Invariants:
* `PROJECT_TABLE` is the only place that says what a role may do; a role that is held adds permissions, never takes.
* `PROJECT` and `SYSTEM` have every permission that somebody can hold in a project or in the system, those of robot
  accounts too, so an administrator lacks none of them.
* `repository:scanner-pull`, which passes by the gates of vulnerable and unsigned content, is nobody's.

Specification: the roles of Harbor 2.16.
"""

from collections.abc import Iterable, Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import NamedTuple


class Role(IntEnum):
    """A member's role in a project; the numbers are Harbor's ids and no order."""

    PROJECT_ADMIN = 1
    DEVELOPER = 2
    GUEST = 3
    MAINTAINER = 4
    LIMITED_GUEST = 5


class Permission(NamedTuple):
    """Something that can be done to a kind of thing, such as `artifact:delete`."""

    resource: str
    action: str

    def __str__(self) -> str:
        return f"{self.resource}:{self.action}"


# From the strongest: each has what the next one has, which a test proves of the table.
STRENGTH = (Role.PROJECT_ADMIN, Role.MAINTAINER, Role.DEVELOPER, Role.GUEST, Role.LIMITED_GUEST)

_LETTERS = {"C": "create", "R": "read", "U": "update", "D": "delete", "L": "list"}

# A cell is letters (create, read, update, delete, list) and words. "anyone" holds on a public project.
# fmt: off
PROJECT_TABLE: tuple[tuple[str, str, str, str, str, str, str], ...] = (
    # resource             projectAdmin       maintainer         developer        guest      limitedGuest  anyone
    ("project",             "RUD",             "R",               "R",             "R",       "R",       "R"),
    ("member",              "CRUDL",           "RL",              "RL",            "RL",      "",        ""),
    ("metadata",            "CRUD",            "R",               "",              "",        "",        ""),
    ("log",                 "L",               "",                "",              "",        "",        ""),
    ("label",               "CRUDL",           "CRUDL",           "RL",            "RL",      "",        "RL"),
    ("quota",               "R",               "R",               "R",             "R",       "R",       ""),
    ("repository",          "CRUDL pull push", "CRUDL pull push", "CRUL pull push", "RL pull", "RL pull", "L pull"),
    ("tag-retention",       "CRUDL operate",   "CRUDL operate",   "CRUDL operate", "",        "",        ""),
    ("immutable-tag",       "CUDL",            "CUDL",            "",              "",        "",        ""),
    ("configuration",       "RU",              "R",               "R",             "R",       "R",       ""),
    ("robot",               "CRUDL",           "RL",              "RL",            "RL",      "",        ""),
    ("notification-policy", "CRUDL",           "RL",              "",              "",        "",        ""),
    ("scan",                "CR stop",         "CR stop",         "R",             "R",       "R",       "R"),
    ("sbom",                "CR stop",         "CR stop",         "R",             "R",       "R",       ""),
    ("scanner",             "CR",              "R",               "R",             "R",       "R",       "R"),
    ("artifact",            "CRDL",            "CRDL",            "CRL",           "RL",      "RL",      "RL"),
    ("artifact-addition",   "R",               "R",               "R",             "R",       "R",       "R"),
    ("tag",                 "CDL",             "CDL",             "CL",            "L",       "L",       "L"),
    ("accessory",           "L",               "L",               "L",             "L",       "L",       "L"),
    ("artifact-label",      "CD",              "CD",              "CD",            "",        "",        ""),
    ("preheat-policy",      "CRUDL",           "",                "",              "",        "",        ""),
    ("export-cve",          "CRL",             "CRL",             "CRL",           "",        "",        ""),
)

# An administrator may do anything; this is what there is.
SYSTEM_TABLE: tuple[tuple[str, str], ...] = (
    # resource              administrator
    ("catalog",              "R"),
    ("audit-log",            "L"),
    ("purge-audit",          "CRUL stop"),
    ("project",              "CRUDL"),
    ("user",                 "CRUDL"),
    ("user-group",           "CRUDL"),
    ("ldap-user",            "CL"),
    ("robot",                "CRUDL"),
    ("label",                "CRUDL"),
    ("quota",                "RUL"),
    ("registry",             "CRUDL"),
    ("replication",          "CRUDL"),
    ("replication-policy",   "CRUDL"),
    ("replication-adapter",  "L"),
    ("distribution",         "CRUDL"),
    ("preheat-instance",     "CRUDL"),
    ("scanner",              "CRUDL"),
    ("scan-all",             "CRUDL stop"),
    ("security-hub",         "RL"),
    ("garbage-collection",   "CRUDL stop"),
    ("jobservice-monitor",   "RL stop"),
    ("system-volumes",       "R"),
    ("configuration",        "RU"),
)
# fmt: on


def _permissions(cells: Iterable[tuple[str, str]]) -> frozenset[Permission]:
    """Return what resources with their cells mean."""
    return frozenset(
        Permission(resource, action)
        for resource, cell in cells
        for word in cell.split()
        for action in ([_LETTERS[letter] for letter in word] if word.isupper() else [word])
    )


def _column(number: int) -> frozenset[Permission]:
    return _permissions((row[0], row[number]) for row in PROJECT_TABLE)


OF_ROLE: Mapping[Role, frozenset[Permission]] = MappingProxyType(
    {role: _column(number) for number, role in enumerate(STRENGTH, start=1)}
)
ANYONE = _column(len(STRENGTH) + 1)
SYSTEM = _permissions(SYSTEM_TABLE)

# The one permission that robot accounts can hold in a project and members cannot.
_ROBOTS_ALONE = Permission("metadata", "list")
PROJECT = frozenset({_ROBOTS_ALONE}).union(ANYONE, *OF_ROLE.values())


def of_roles(roles: Iterable[Role]) -> frozenset[Permission]:
    """Return what somebody with all of these roles may do in a project."""
    return frozenset().union(*(OF_ROLE[role] for role in roles))


def strongest(roles: Iterable[Role]) -> Role | None:
    """Return the role with the most permissions, or None where there is none."""
    return min(roles, key=STRENGTH.index, default=None)
