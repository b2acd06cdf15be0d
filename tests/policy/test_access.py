"""Who may do what: how principals stand to projects, and how scopes become grants."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.policy import rbac
from chalicelib.policy.access import NEEDED, Standing, grant, in_project, in_system
from chalicelib.policy.grants import ANONYMOUS, CATALOG, Action, Grant, Kind, Principal, project_of, resources, scope
from chalicelib.policy.rbac import Permission, Role
from chalicelib.policy.robots import Level, RobotPermission

ADMIN = Principal("admin", administrator=True, id=1)
ALICE = Principal("alice", id=7)
REPOSITORY = "repository:web/nginx"


def robot(namespace: str, *actions: str) -> Principal:
    access = frozenset(Permission("repository", action) for action in actions)
    kind = Level.SYSTEM if namespace == "/" else Level.PROJECT
    return Principal(
        "robot$ci", kind=Kind.ROBOT, id=9, permissions=(RobotPermission(kind, namespace, access, frozenset()),)
    )


def granted(principal: Principal, *roles: Role, public: bool = False) -> str:
    standings = {"web": Standing("web", public, frozenset(roles))}
    actions = grant(principal, [REPOSITORY], standings).access.get(REPOSITORY, frozenset())
    return " ".join(sorted(actions)) or "-"


# fmt: off
_GRANTED = [
    (ADMIN,                   (),                    "delete pull push", "delete pull push"),
    (ALICE,                   (Role.PROJECT_ADMIN,), "delete pull push", "delete pull push"),
    (ALICE,                   (Role.MAINTAINER,),    "delete pull push", "delete pull push"),
    (ALICE,                   (Role.DEVELOPER,),     "pull push",        "pull push"),
    (ALICE,                   (Role.GUEST,),         "pull",             "pull"),
    (ALICE,                   (Role.LIMITED_GUEST,), "pull",             "pull"),
    (ALICE,                   (),                    "-",                "pull"),
    (ANONYMOUS,               (),                    "-",                "pull"),
    (robot("web", "push"),    (),                    "push",             "pull push"),
    (robot("*", "pull"),      (),                    "pull",             "pull"),
    (robot("other", "pull"),  (),                    "-",                "pull"),
    (robot("/", "pull"),      (),                    "-",                "pull"),
]
# fmt: on


@pytest.mark.parametrize(("principal", "roles", "private", "public"), _GRANTED)
def test_what_a_token_grants(principal: Principal, roles: tuple[Role, ...], private: str, public: str) -> None:
    assert granted(principal, *roles) == private
    assert granted(principal, *roles, public=True) == public


def test_a_project_that_does_not_exist_grants_what_one_without_rights_does() -> None:
    private = {"web": Standing("web", public=False)}

    assert grant(ALICE, [REPOSITORY], {}).access == grant(ALICE, [REPOSITORY], private).access == {REPOSITORY: set()}
    assert grant(ANONYMOUS, [REPOSITORY], {}).access == grant(ANONYMOUS, [REPOSITORY], private).access == {}


def test_an_administrator_learns_by_name_that_a_project_is_missing() -> None:
    assert grant(ADMIN, [REPOSITORY], {}).allows(REPOSITORY, Action.PUSH)
    assert not grant(ADMIN, ["repository:plain"], {}).allows("repository:plain", Action.PUSH)


def test_the_catalog_is_for_administrators_and_robots_that_may_read_it() -> None:
    permission = RobotPermission(Level.SYSTEM, "/", frozenset({Permission("catalog", "read")}), frozenset())
    reader = Principal("robot$reader", kind=Kind.ROBOT, permissions=(permission,))

    assert grant(ADMIN, [CATALOG], {}).allows(CATALOG, Action.LIST)
    assert grant(reader, [CATALOG], {}).allows(CATALOG, Action.LIST)
    for principal in (ALICE, ANONYMOUS, robot("*", "pull")):
        assert not grant(principal, [CATALOG], {}).allows(CATALOG, Action.LIST)


@given(st.frozensets(st.sampled_from(Role)), st.booleans())
def test_roles_only_add_and_an_administrator_has_the_most(roles: frozenset[Role], public: bool) -> None:
    held = in_project(ALICE, Standing("web", public, roles))

    assert held >= in_project(ALICE, Standing("web", public))
    assert held <= in_project(ADMIN, Standing("web", public))


def test_users_have_nothing_in_the_system() -> None:
    assert in_system(ALICE) == in_system(ANONYMOUS) == frozenset()
    assert in_system(ADMIN) >= rbac.SYSTEM


def test_every_action_of_a_token_stands_for_a_permission_that_there_is() -> None:
    assert set(NEEDED.values()) <= rbac.PROJECT


@pytest.mark.parametrize(
    ("resource", "project"),
    [(REPOSITORY, "web"), ("repository:web/a/b", "web"), ("repository:nginx", ""), ("repository:/x", "")],
)
def test_a_repository_is_in_the_project_that_its_name_begins_with(resource: str, project: str) -> None:
    assert project_of(resource) == project


@pytest.mark.parametrize(
    ("scopes", "named"),
    [
        (["repository:a/b:pull"], ("repository:a/b",)),
        (["repository:a:pull", "repository:b:pull,push"], ("repository:a", "repository:b")),
        (["repository:a:pull repository:b:pull"], ("repository:a", "repository:b")),
        (["repository:a:pull", "repository:a:pull,push"], ("repository:a",)),
        (["repository:host:5000/a:pull"], ("repository:host:5000/a",)),
        (["registry:catalog:*"], (CATALOG,)),
        (["registry:other:*", "", "x", "repository::pull", "user:a:pull"], ()),
    ],
)
def test_scopes_name_resources_however_clients_write_them(scopes: list[str], named: tuple[str, ...]) -> None:
    assert resources(scopes) == named


@pytest.mark.parametrize(
    ("resource", "action", "text"),
    [
        (REPOSITORY, Action.PULL, "repository:web/nginx:pull"),
        (REPOSITORY, Action.PUSH, "repository:web/nginx:pull,push"),
        (REPOSITORY, Action.DELETE, "repository:web/nginx:pull,delete"),
        (CATALOG, Action.LIST, "registry:catalog:*"),
    ],
)
def test_a_challenge_asks_for_what_the_action_needs(resource: str, action: Action, text: str) -> None:
    assert scope(resource, action) == text


def test_a_grant_marks_what_is_in_a_cache_and_covers_the_long_names_of_docker_hub() -> None:
    resources = ["repository:hub/alpine", "repository:hub/a/b", "repository:web/app"]
    standings = {"hub": Standing("hub", public=True, proxied=True), "web": Standing("web", public=True)}

    granted = grant(ANONYMOUS, resources, standings)

    assert granted.proxied == {"repository:hub/alpine", "repository:hub/library/alpine", "repository:hub/a/b"}
    assert granted.access.keys() == {*resources, "repository:hub/library/alpine"}


def test_a_grant_marks_nothing_that_anonymous_may_not_see() -> None:
    granted = grant(ANONYMOUS, ["repository:hub/alpine"], {"hub": Standing("hub", public=False, proxied=True)})

    assert granted == Grant(ANONYMOUS, {})
