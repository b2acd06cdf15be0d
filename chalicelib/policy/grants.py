"""What a request may do once its rights are known: the principal, the actions on each resource, the scopes of tokens.

Apart from `access`, which decides rights: a pull comes with a grant in its token, and needs no table of roles.

Invariant: a resource is written `repository:<name>`, or is the catalog.

Specification: the scope grammar of Docker's token authentication, `type:name:action,action`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chalicelib.policy.robots import RobotPermission

CATALOG = "registry:catalog"
_NOTHING: frozenset["Action"] = frozenset()


class Action(StrEnum):
    """What can be done to a resource; the values are those of token scopes."""

    PULL = "pull"
    PUSH = "push"
    DELETE = "delete"
    LIST = "*"


class Kind(StrEnum):
    """What kind of principal makes a request."""

    ANONYMOUS = "anonymous"
    USER = "user"
    ROBOT = "robot"


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever makes a request.

    Of a robot account: its permissions, the project where it belongs (0: the system), and when it expires in seconds
    since 1970 (0: never).
    """

    name: str
    administrator: bool = False
    kind: Kind = Kind.USER
    id: int = 0
    permissions: "tuple[RobotPermission, ...]" = ()
    project_id: int = 0
    expires: int = 0


ANONYMOUS = Principal("", kind=Kind.ANONYMOUS)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a request may do: the principal and, for each resource, the actions.

    `issued` is when a token with it was made, in seconds since 1970, or 0 where rights were asked just now.
    `anywhere` tells that the token was asked without a scope: what its holder may do is asked at each use.
    `proxied` are those of the resources whose projects are caches of another registry.
    """

    principal: Principal = ANONYMOUS
    access: Mapping[str, frozenset[Action]] = field(default_factory=dict)
    issued: int = field(default=0, compare=False)
    anywhere: bool = False
    proxied: frozenset[str] = frozenset()

    def allows(self, resource: str, action: Action) -> bool:
        """Tell whether the request may do `action` to `resource`."""
        return action in self.access.get(resource, _NOTHING)


def project_of(resource: str) -> str:
    """Return the project in which a repository, written `repository:<name>`, is, or "" where it is in none."""
    project, slash, _ = resource.partition(":")[2].partition("/")
    return project if slash else ""


def long_name(resource: str) -> str:
    """Return what Docker Hub calls a repository whose name is short, such as `alpine`, or "" for any other."""
    project, slash, name = resource.partition("/")
    return f"{project}/library/{name}" if slash and "/" not in name else ""


def resources(scopes: Iterable[str]) -> tuple[str, ...]:
    """Return the resources that scopes name; a scope that is not one names nothing.

    Clients repeat the parameter, or put several scopes into one with spaces between.
    """
    named = (scope.rpartition(":")[0] for value in scopes for scope in value.split())
    return tuple(dict.fromkeys(resource for resource in named if _is_resource(resource)))


def _is_resource(text: str) -> bool:
    kind, _, name = text.partition(":")
    return bool(name) and (kind == "repository" or text == CATALOG)


def scope(resource: str, action: Action) -> str:
    """Return the scope to ask for in order to do `action`; who pushes or deletes also looks at what is there."""
    return f"{resource}:{action}" if action in (Action.PULL, Action.LIST) else f"{resource}:{Action.PULL},{action}"
