"""Who may do what: how principals stand to a project, and what that lets them do there and in the registry.

Invariants:
* Rights are decided here, from the tables of `rbac` and `robots`, and nowhere else: the token service writes them
  into tokens, and every endpoint asks for one permission.
* A grant follows from rights, not from what was asked: it lists the repositories that were named and, of each, all
  that the principal may do. One without rights is listed with nothing, whether it exists or not, so that a client
  which comes with the grant need not ask for a better one; for anonymous, who can log in, it is left out.
* In a cache of another registry the right to a short name is one to the long name too, to which Docker Hub's clients
  are redirected with the token that they have.
* To an administrator a project that does not exist is like any other: what is done there fails by its name.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from chalicelib.policy import rbac, robots
from chalicelib.policy.grants import CATALOG, Action, Grant, Kind, Principal, long_name, project_of
from chalicelib.policy.rbac import Permission, Role

READ_CATALOG = Permission("catalog", "read")


# The permission in a project that stands behind each action on one of its repositories.
NEEDED: Mapping[Action, Permission] = MappingProxyType(
    {
        Action.PULL: Permission("repository", "pull"),
        Action.PUSH: Permission("repository", "push"),
        Action.DELETE: Permission("artifact", "delete"),
    }
)


_NOTHING: frozenset[Action] = frozenset()


@dataclass(frozen=True, slots=True)
class Standing:
    """A project as a principal meets it: its name, whether it is public, and the roles held there.

    One that is `proxied` is a cache of another registry.
    """

    project: str
    public: bool
    roles: frozenset[Role] = frozenset()
    proxied: bool = False


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


def grant(principal: Principal, resources: Iterable[str], standings: Mapping[str, Standing]) -> Grant:
    """Return what the principal may do to each of the resources, given the projects of theirs that exist, by name."""
    named = tuple(resources)
    caches = {name for name, standing in standings.items() if standing.proxied}
    proxied = [resource for resource in named if project_of(resource) in caches]
    proxied += filter(None, map(long_name, proxied))
    allowed = {resource: _rights(principal, resource, standings) for resource in (*named, *proxied)}
    known = principal.kind is not Kind.ANONYMOUS
    access = {resource: rights for resource, rights in allowed.items() if rights or known}
    return Grant(principal, access, proxied=frozenset(proxied) & access.keys())


def _rights(principal: Principal, resource: str, standings: Mapping[str, Standing]) -> frozenset[Action]:
    if resource == CATALOG:
        return frozenset({Action.LIST}) if READ_CATALOG in in_system(principal) else _NOTHING
    standing = standings.get(project_of(resource))
    if standing is None:
        return frozenset(NEEDED) if principal.administrator and project_of(resource) else _NOTHING
    return actions(in_project(principal, standing))
