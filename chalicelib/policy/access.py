"""Who may do what: principals, how they stand to a project, and the grants of tokens.

Invariants:
* Rights are decided here, from the tables of `rbac` and `robots`, and nowhere else: the token service writes them
  into tokens, and every endpoint asks for one permission.
* A grant follows from rights, not from what was asked: it lists the repositories that were named and, of each, all
  that the principal may do. One without rights is listed with nothing, whether it exists or not, so that a client
  which comes with the grant need not ask for a better one; for anonymous, who can log in, it is left out.
* To an administrator a project that does not exist is like any other: what is done there fails by its name.

Specification: the scope grammar of Docker's token authentication, `type:name:action,action`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from chalicelib.policy import rbac, robots
from chalicelib.policy.rbac import Permission, Role
from chalicelib.policy.robots import RobotPermission

CATALOG = "registry:catalog"
READ_CATALOG = Permission("catalog", "read")


class Action(StrEnum):
    """What can be done to a resource; the values are those of token scopes."""

    PULL = "pull"
    PUSH = "push"
    DELETE = "delete"
    LIST = "*"


# The permission in a project that stands behind each action on one of its repositories.
NEEDED: Mapping[Action, Permission] = MappingProxyType(
    {
        Action.PULL: Permission("repository", "pull"),
        Action.PUSH: Permission("repository", "push"),
        Action.DELETE: Permission("artifact", "delete"),
    }
)


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
    permissions: tuple[RobotPermission, ...] = ()
    project_id: int = 0
    expires: int = 0


ANONYMOUS = Principal("", kind=Kind.ANONYMOUS)
_NOTHING: frozenset[Action] = frozenset()


@dataclass(frozen=True, slots=True)
class Standing:
    """A project as a principal meets it: its name, whether it is public, and the roles held there."""

    project: str
    public: bool
    roles: frozenset[Role] = frozenset()


def in_project(principal: Principal, standing: Standing) -> frozenset[Permission]:
    """Return what a principal may do in a project that exists."""
    if principal.administrator:
        return rbac.PROJECT
    everybody = rbac.ANYONE if standing.public else frozenset()
    if principal.kind is Kind.ROBOT:
        return robots.in_project(principal.permissions, standing.project) | everybody
    return rbac.of_roles(standing.roles) | everybody


def in_system(principal: Principal) -> frozenset[Permission]:
    """Return what a principal may do to the registry as a whole."""
    if principal.administrator:
        return rbac.SYSTEM | frozenset(robots.SYSTEM_CATALOGUE)
    if principal.kind is Kind.ROBOT:
        return robots.in_system(principal.permissions)
    return frozenset()


def actions(permissions: frozenset[Permission]) -> frozenset[Action]:
    """Return what permissions in a project let somebody do to its repositories."""
    return frozenset(action for action, needed in NEEDED.items() if needed in permissions)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a request may do: the principal and, for each resource, the actions.

    `issued` is when a token with it was made, in seconds since 1970, or 0 where rights were asked just now.
    """

    principal: Principal = ANONYMOUS
    access: Mapping[str, frozenset[Action]] = field(default_factory=dict)
    issued: int = field(default=0, compare=False)

    def allows(self, resource: str, action: Action) -> bool:
        """Tell whether the request may do `action` to `resource`."""
        return action in self.access.get(resource, _NOTHING)


def grant(principal: Principal, resources: Iterable[str], standings: Mapping[str, Standing]) -> Grant:
    """Return what the principal may do to each of the resources, given the projects of theirs that exist, by name."""
    allowed = {resource: _rights(principal, resource, standings) for resource in resources}
    known = principal.kind is not Kind.ANONYMOUS
    return Grant(principal, {resource: rights for resource, rights in allowed.items() if rights or known})


def _rights(principal: Principal, resource: str, standings: Mapping[str, Standing]) -> frozenset[Action]:
    if resource == CATALOG:
        return frozenset({Action.LIST}) if READ_CATALOG in in_system(principal) else _NOTHING
    standing = standings.get(project_of(resource))
    if standing is None:
        return frozenset(NEEDED) if principal.administrator and project_of(resource) else _NOTHING
    return actions(in_project(principal, standing))


def project_of(resource: str) -> str:
    """Return the project in which a repository, written `repository:<name>`, is, or "" where it is in none."""
    project, slash, _ = resource.partition(":")[2].partition("/")
    return project if slash else ""


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
