"""Roles and permissions: the whole matrix as one golden text, and what follows from it."""

from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from chalicelib.policy import rbac, robots
from chalicelib.policy.rbac import Permission, Role

MATRIX = Path(__file__).with_name("matrix.txt")
LETTERS = {"create": "C", "read": "R", "update": "U", "delete": "D", "list": "L"}
PROJECT_COLUMNS = {
    "projectAdmin": rbac.OF_ROLE[Role.PROJECT_ADMIN],
    "maintainer": rbac.OF_ROLE[Role.MAINTAINER],
    "developer": rbac.OF_ROLE[Role.DEVELOPER],
    "guest": rbac.OF_ROLE[Role.GUEST],
    "limitedGuest": rbac.OF_ROLE[Role.LIMITED_GUEST],
    "anyone": rbac.ANYONE,
    "robot may hold": frozenset(robots.PROJECT_CATALOGUE),
}
SYSTEM_COLUMNS = {"administrator": rbac.SYSTEM, "robot may hold": frozenset(robots.SYSTEM_CATALOGUE)}

roles = st.frozensets(st.sampled_from(Role))


def cell(permissions: frozenset[Permission], resource: str) -> str:
    """Return what a column says of a resource, in the letters and words of Harbor's documentation."""
    actions = {permission.action for permission in permissions if permission.resource == resource}
    letters = "".join(letter for action, letter in LETTERS.items() if action in actions)
    return " ".join(filter(None, [letters, *sorted(actions - set(LETTERS))])) or "-"


def printed(title: str, columns: dict[str, frozenset[Permission]]) -> list[str]:
    resources = sorted({permission.resource for column in columns.values() for permission in column})
    rows = [[title, *columns]]
    rows += [[resource, *(cell(column, resource) for column in columns.values())] for resource in resources]
    rows += [["permissions", *(str(len(column)) for column in columns.values())]]
    return ["".join(f"{text:<20}" for text in row).rstrip() for row in rows]


def test_the_whole_matrix() -> None:
    lines = [*printed("in a project", PROJECT_COLUMNS), "", *printed("in the system", SYSTEM_COLUMNS)]

    assert lines == MATRIX.read_text().splitlines()


def test_each_role_may_do_what_the_next_weaker_one_may() -> None:
    ladder = [rbac.OF_ROLE[role] for role in rbac.STRENGTH]

    assert all(weaker < stronger for stronger, weaker in pairwise(ladder))
    assert ladder[-2] > rbac.ANYONE


@given(roles, roles)
def test_roles_add_up_and_never_take_anything_away(some: frozenset[Role], more: frozenset[Role]) -> None:
    both = rbac.of_roles(some | more)

    assert both == rbac.of_roles(some) | rbac.of_roles(more)
    assert both <= rbac.PROJECT


def test_without_a_role_there_is_nothing() -> None:
    assert rbac.of_roles([]) == frozenset()
    assert rbac.strongest([]) is None


@given(roles.filter(bool))
def test_the_strongest_role_may_do_what_all_of_them_may(some: frozenset[Role]) -> None:
    strongest = rbac.strongest(some)

    assert strongest is not None
    assert strongest in some
    assert rbac.OF_ROLE[strongest] == rbac.of_roles(some)


def test_an_administrator_lacks_nothing_that_a_robot_account_could_hold() -> None:
    assert set(robots.PROJECT_CATALOGUE) < rbac.PROJECT
    assert set(robots.SYSTEM_CATALOGUE) < rbac.SYSTEM


def test_the_catalogue_of_robot_accounts_and_the_roles_differ_in_seven_permissions() -> None:
    """GET /permissions is what clients offer and the API accepts, so of the two the catalogue wins."""
    catalogue, administrator = set(robots.PROJECT_CATALOGUE), rbac.OF_ROLE[Role.PROJECT_ADMIN]

    assert {str(permission) for permission in catalogue - administrator} == {"metadata:list"}
    assert {str(permission) for permission in administrator - catalogue} == {
        "configuration:read",
        "configuration:update",
        "export-cve:list",
        "repository:create",
        "robot:update",
        "tag-retention:operate",
    }


def test_the_gates_of_unscanned_content_are_open_to_nobody() -> None:
    everything = rbac.PROJECT | rbac.SYSTEM | {*robots.PROJECT_CATALOGUE, *robots.SYSTEM_CATALOGUE}

    assert not [str(permission) for permission in everything if permission.action == "scanner-pull"]


def test_roles_have_the_numbers_that_clients_send() -> None:
    assert {int(role): role.name for role in Role} == {
        1: "PROJECT_ADMIN",
        2: "DEVELOPER",
        3: "GUEST",
        4: "MAINTAINER",
        5: "LIMITED_GUEST",
    }


def test_a_permission_reads_as_harbor_writes_it() -> None:
    assert str(Permission("artifact", "delete")) == "artifact:delete"
