"""Who may do what: principals, actions, scopes and grants.

Invariants:
* Rights are decided here and nowhere else; the token service writes them into tokens, and every endpoint asks for
  one action on one resource.
* A grant follows from rights, not from what was asked: it lists the resources that were named and, of each, what
  the principal may do. A resource without rights is left out, whether it exists or not.

There are two principals for now, the administrator and anonymous. Projects, members and robot accounts will add
rows to `rights`; nothing else has to change.

Specification: the scope grammar of Docker's token authentication, `type:name:action,action`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

CATALOG = "registry:catalog"


class Action(StrEnum):
    """What can be done to a resource; the values are those of token scopes."""

    PULL = "pull"
    PUSH = "push"
    DELETE = "delete"
    LIST = "*"


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever makes a request."""

    name: str
    administrator: bool = False


ANONYMOUS = Principal("")

_REPOSITORY_ACTIONS = frozenset({Action.PULL, Action.PUSH, Action.DELETE})
_NOTHING: frozenset[Action] = frozenset()


def rights(principal: Principal, resource: str, *, anonymous_pull: bool) -> frozenset[Action]:
    """Return what a principal may do to a resource, written `type:name`."""
    kind = resource.partition(":")[0]
    if principal.administrator:
        return frozenset({Action.LIST}) if resource == CATALOG else _REPOSITORY_ACTIONS
    return frozenset({Action.PULL}) if kind == "repository" and anonymous_pull else _NOTHING


@dataclass(frozen=True, slots=True)
class Grant:
    """What a request may do: the principal and, for each resource, the actions."""

    principal: Principal = ANONYMOUS
    access: Mapping[str, frozenset[Action]] = field(default_factory=dict)

    def allows(self, resource: str, action: Action) -> bool:
        """Tell whether the request may do `action` to `resource`."""
        return action in self.access.get(resource, _NOTHING)


def grant(principal: Principal, resources: Iterable[str], *, anonymous_pull: bool) -> Grant:
    """Return what the principal may do to each of the resources."""
    allowed = {resource: rights(principal, resource, anonymous_pull=anonymous_pull) for resource in resources}
    return Grant(principal, {resource: actions for resource, actions in allowed.items() if actions})


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
