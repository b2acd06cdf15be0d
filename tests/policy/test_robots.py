"""Robot accounts: which permissions are accepted, what they come to, and who may give them away."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.policy import people, robots
from chalicelib.policy.configuration import DEFAULTS
from chalicelib.policy.rbac import Permission
from chalicelib.policy.robots import Level, RobotPermission

PULL, PUSH, LIST = (
    Permission("repository", "pull"),
    Permission("repository", "push"),
    Permission("repository", "list"),
)
CREATE_PROJECT, READ_CATALOG = Permission("project", "create"), Permission("catalog", "read")
SCANNER_PULL = Permission("repository", "scanner-pull")
NAMESPACES = ("*", "web", "db")


def in_project(namespace: str, *access: Permission, denied: tuple[Permission, ...] = ()) -> RobotPermission:
    return RobotPermission(Level.PROJECT, namespace, frozenset(access), frozenset(denied))


def in_system(*access: Permission, denied: tuple[Permission, ...] = ()) -> RobotPermission:
    return RobotPermission(Level.SYSTEM, "/", frozenset(access), frozenset(denied))


def sets(*permissions: Permission) -> st.SearchStrategy[frozenset[Permission]]:
    return st.frozensets(st.sampled_from(permissions))


# Few permissions and projects, so that entries overlap; one permission is in no catalogue.
project_entries = st.builds(
    RobotPermission,
    st.just(Level.PROJECT),
    st.sampled_from(NAMESPACES),
    sets(PULL, PUSH, SCANNER_PULL),
    sets(PULL, PUSH),
)
system_entries = st.builds(
    RobotPermission,
    st.just(Level.SYSTEM),
    st.just("/"),
    sets(CREATE_PROJECT, READ_CATALOG, SCANNER_PULL),
    sets(CREATE_PROJECT),
)
holdings = st.lists(project_entries | system_entries, max_size=4).map(tuple)


@pytest.mark.parametrize(
    ("level", "project", "permissions"),
    [
        (Level.PROJECT, "web", [in_project("web", PULL, PUSH)]),
        (Level.PROJECT, "web", [in_project("web", PULL, PUSH, denied=(LIST,))]),
        (Level.PROJECT, "web", [in_project("web", *robots.PROJECT_CATALOGUE)]),
        (Level.SYSTEM, "", [in_system(*robots.SYSTEM_CATALOGUE)]),
        (Level.SYSTEM, "", [in_project("*", PULL)]),
        (Level.SYSTEM, "", [in_system(READ_CATALOG), in_project("*", PULL), in_project("web", PUSH)]),
    ],
)  # fmt: skip
def test_permissions_of_the_catalogue_are_accepted(
    level: Level, project: str, permissions: list[RobotPermission]
) -> None:
    robots.check(level, permissions, project)


@pytest.mark.parametrize(
    ("level", "permissions", "message"),
    [
        (Level.SYSTEM, [], "at least one permission"),
        (Level.PROJECT, [], "at least one permission"),
        (Level.SYSTEM, [in_project("web")], "permission of namespace web is empty"),
        (Level.SYSTEM, [in_project("web", PULL), in_system()], "permission of namespace / is empty"),
        (Level.SYSTEM, [in_project("web", CREATE_PROJECT)], "bad request permission: project:create"),
        (Level.SYSTEM, [in_system(PULL)], "bad request permission: repository:pull"),
        (Level.SYSTEM, [in_project("web", SCANNER_PULL)], "bad request permission: repository:scanner-pull"),
        (Level.SYSTEM, [in_project("web", Permission("*", "*"))], r"bad request permission: \*:\*"),
        (Level.SYSTEM, [in_project("web", Permission("robot", "update"))], "bad request permission: robot:update"),
        (Level.SYSTEM, [in_project("web", PULL, denied=(SCANNER_PULL,))], "repository:scanner-pull"),
        (Level.SYSTEM, [in_project("/", PULL)], "namespace"),
        (Level.SYSTEM, [in_project("", PULL)], "namespace"),
        (Level.SYSTEM, [RobotPermission(Level.SYSTEM, "web", frozenset({READ_CATALOG}))], "namespace"),
        (Level.SYSTEM, [RobotPermission(Level.SYSTEM, "*", frozenset({READ_CATALOG}))], "namespace"),
        (Level.PROJECT, [in_project("web", PULL), in_project("web", PUSH)], "as one entry"),
        (Level.PROJECT, [in_project("db", PULL)], "namespace web"),
        (Level.PROJECT, [in_project("*", PULL)], "namespace web"),
        (Level.PROJECT, [in_system(READ_CATALOG)], "namespace web"),
    ],
)  # fmt: skip
def test_other_permissions_are_refused_with_the_reason(
    level: Level, permissions: list[RobotPermission], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        robots.check(level, permissions, "web")


def test_a_star_covers_every_project_and_a_name_its_own() -> None:
    permissions = [in_project("*", PULL), in_project("web", PUSH), in_system(READ_CATALOG)]

    assert robots.in_project(permissions, "web") == {PULL, PUSH}
    assert robots.in_project(permissions, "db") == {PULL}
    assert robots.in_system(permissions) == {READ_CATALOG}


def test_what_is_denied_wins_wherever_it_stands() -> None:
    everywhere = [in_project("*", PULL, PUSH), in_project("web", LIST, denied=(PUSH,))]
    nowhere = [in_project("*", denied=(PUSH,)), in_project("web", PULL, PUSH)]

    assert robots.in_project(everywhere, "web") == {PULL, LIST}
    assert robots.in_project(everywhere, "db") == {PULL, PUSH}
    assert robots.in_project(nowhere, "web") == {PULL}
    assert robots.in_system([in_system(READ_CATALOG, denied=(READ_CATALOG,))]) == frozenset()


@given(holdings, st.sampled_from(NAMESPACES))
def test_nothing_outside_the_catalogues_is_ever_allowed(holding: tuple[RobotPermission, ...], project: str) -> None:
    assert robots.in_project(holding, project) <= set(robots.PROJECT_CATALOGUE)
    assert robots.in_system(holding) <= set(robots.SYSTEM_CATALOGUE)


@pytest.mark.parametrize(
    ("held", "wanted", "covered"),
    [
        ([in_project("web", PULL, PUSH)], [in_project("web", PULL)], True),
        ([in_project("web", PULL)], [in_project("web", PULL, PUSH)], False),
        ([in_project("web", PULL)], [in_project("db", PULL)], False),
        ([in_project("*", PULL)], [in_project("db", PULL)], True),
        ([in_project("*", PULL)], [in_project("*", PULL)], True),
        ([in_project("web", PULL), in_project("db", PULL)], [in_project("*", PULL)], False),
        ([in_project("*", PULL), in_project("db", PULL, denied=(PULL,))], [in_project("*", PULL)], False),
        ([in_project("web", PULL, denied=(PULL,))], [in_project("web", PULL)], False),
        ([in_project("web", PULL)], [in_project("web", PULL, PUSH, denied=(PUSH,))], True),
        ([in_system(READ_CATALOG)], [in_system(READ_CATALOG)], True),
        ([in_system(READ_CATALOG)], [in_system(READ_CATALOG, CREATE_PROJECT)], False),
        ([in_system(READ_CATALOG)], [in_project("web", PULL)], False),
        ([in_system(READ_CATALOG), in_project("web", PULL)], [], True),
    ],
)  # fmt: skip
def test_a_robot_account_gives_away_only_what_it_has(
    held: list[RobotPermission], wanted: list[RobotPermission], covered: bool
) -> None:
    assert robots.covers(held, wanted) is covered


@given(holdings)
def test_everybody_covers_what_is_the_same(holding: tuple[RobotPermission, ...]) -> None:
    assert robots.covers(holding, holding)


@given(holdings, holdings, holdings)
def test_who_covers_somebody_covers_what_they_cover(
    first: tuple[RobotPermission, ...], second: tuple[RobotPermission, ...], third: tuple[RobotPermission, ...]
) -> None:
    if robots.covers(first, second) and robots.covers(second, third):
        assert robots.covers(first, third)


@given(holdings, holdings)
def test_who_is_covered_can_do_nothing_more_in_any_project(
    held: tuple[RobotPermission, ...], wanted: tuple[RobotPermission, ...]
) -> None:
    more = robots.in_system(wanted) - robots.in_system(held)
    for project in ("web", "db", "made-later"):
        more |= robots.in_project(wanted, project) - robots.in_project(held, project)

    assert robots.covers(held, wanted) is not bool(more)


def test_full_names_of_the_system_and_of_projects() -> None:
    assert robots.full_name("robot$", Level.SYSTEM, "", "ci") == "robot$ci"
    assert robots.full_name("robot$", Level.PROJECT, "web", "ci") == "robot$web+ci"


def test_no_name_is_both_a_robot_account_s_and_a_user_s() -> None:
    with pytest.raises(ValueError, match="none of the characters"):
        people.check_user_name(robots.full_name(DEFAULTS["robot_name_prefix"], Level.SYSTEM, "", "ci"))


@pytest.mark.parametrize("name", ["a", "0", "ci", "a.b-c_d", "a" * 255])
def test_a_name_of_the_grammar_is_accepted(name: str) -> None:
    assert robots.check_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "A", "a+b", "web+ci", "robot$a", "-a", "a-", "a--b", "a b", "ä", "a\n", "a" * 256]
)
def test_any_other_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name of a robot account"):
        robots.check_name(name)


def test_a_robot_account_lives_whole_days_or_for_ever() -> None:
    assert robots.expires_at(1_000, 1) == 1_000 + 86_400
    assert robots.expires_at(0, robots.LONGEST_DURATION) == robots.LONGEST_DURATION * 86_400
    assert robots.expires_at(1_000, -1) == -1


@pytest.mark.parametrize("days", [0, -2, robots.LONGEST_DURATION + 1])
def test_other_durations_are_refused(days: int) -> None:
    with pytest.raises(ValueError, match="duration"):
        robots.expires_at(0, days)
