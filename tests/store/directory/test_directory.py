"""The directory as its users see it: names, ids, members, and what two writers of one thing get."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from chalicelib.policy.audit import Event
from chalicelib.policy.rbac import Permission, Role
from chalicelib.policy.robots import Level, RobotPermission
from chalicelib.store.directory import (
    Directory,
    audit,
    configuration,
    foundation,
    groups,
    labels,
    members,
    projects,
    robots,
    sessions,
    users,
)
from chalicelib.store.directory.audit import ALL, Span
from chalicelib.store.directory.members import Kind, Membership, Who
from chalicelib.store.directory.projects import NewProject, Project, Reservation
from chalicelib.store.directory.robots import NewRobot, Robot
from chalicelib.store.directory.users import EMAIL_TAKEN, NewUser
from chalicelib.store.table import ABSENT, Check, Key, RefusedError, Slice
from tests.memory import Clock
from tests.store.index.tables import CountingTable

EMPTY = Check(Key("nowhere", "nothing"), ABSENT, "it is empty")
ALICE = Who(Kind.USER, 7, "alice")
NOW = Reservation("user/7", 60)
BOB = Who(Kind.USER, 9, "bob")


def make_project(directory: Directory, name: str = "web", *, public: bool = False) -> Project:
    new = NewProject(name, ALICE.id, ALICE.name, {"public": str(public).lower()}, {})
    projects.create(directory, new, members.founding(ALICE))
    found = projects.find(directory, name)
    assert found is not None
    return found


def make_robot(directory: Directory, project: Project, name: str = "ci") -> Robot:
    permission = RobotPermission(
        Level.PROJECT, project.name, frozenset({Permission("repository", "pull")}), frozenset()
    )
    new = NewRobot(name, project.id, "", "hash", False, 30, -1, (permission,), {project.name: project.id}, "local", 1)
    return robots.create(directory, new, project.entry.record.key)


def test_a_project_is_found_by_name_and_by_id(directory: Directory) -> None:
    project = make_project(directory)

    assert projects.by_id(directory, project.id) == project
    assert projects.find(directory, "Web") is None
    assert projects.count(directory) == 1


def test_who_makes_a_project_is_its_administrator(directory: Directory) -> None:
    project = make_project(directory)

    assert members.roles(directory, project.id, [ALICE.key]) == {Role.PROJECT_ADMIN}
    assert [member.who for member in members.every(directory, project.id)] == [ALICE]
    found = tuple(members.memberships(directory, ALICE.key))
    assert found == (Membership(project.id, "web", Role.PROJECT_ADMIN),)


def test_a_name_is_taken_once(directory: Directory) -> None:
    make_project(directory)

    with pytest.raises(RefusedError, match="exists already"):
        make_project(directory)

    assert projects.count(directory) == 1


@pytest.mark.parametrize("kind", ["project", "user", "label", "robot", "member"])
def test_of_many_who_make_one_thing_at_once_one_wins(directory: Directory, kind: str) -> None:
    project = make_project(directory, "first")
    if kind == "member":
        users.create(directory, NewUser(BOB.name, "hash"), fixed_id=BOB.id)

    def make(number: int) -> bool:
        try:
            if kind == "project":
                make_project(directory, "web")
            elif kind == "user":
                users.create(directory, NewUser("Bob" if number % 2 else "bob", "hash"))
            elif kind == "label":
                labels.create(directory, project.id, "good", "", "")
            elif kind == "robot":
                make_robot(directory, project)
            else:
                members.add(directory, project.id, project.entry.record.key, BOB, Role.GUEST)
        except RefusedError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(make, range(16)))

    assert won.count(True) == 1
    counts = {
        "project": projects.count(directory) - 1,
        "user": users.count(directory),
        "label": labels.count(directory, project.id),
        "robot": robots.count(directory, project.id),
        "member": len(members.every(directory, project.id)) - 1,
    }
    assert counts[kind] == 1


def test_of_two_who_change_a_project_the_second_is_told(directory: Directory) -> None:
    project = make_project(directory)
    projects.update(directory, replace(project, metadata={"public": "true"}))

    with pytest.raises(RefusedError, match="changed or deleted meanwhile"):
        projects.update(directory, replace(project, storage_limit=5))

    assert [found.name for found in projects.public(directory)] == ["web"]


def test_public_projects_are_listed_for_everybody_and_private_ones_not(directory: Directory) -> None:
    make_project(directory, "open", public=True)
    shut = make_project(directory, "shut", public=True)
    projects.update(directory, replace(shut, metadata={"public": "false"}))

    assert [project.name for project in projects.public(directory)] == ["open"]


def test_a_project_made_anew_under_an_old_name_begins_empty(directory: Directory) -> None:
    old = make_project(directory, public=True)
    make_robot(directory, old)
    labels.create(directory, old.id, "good", "", "")
    projects.delete(directory, old, EMPTY, NOW)

    assert projects.find(directory, "web") is None
    assert projects.public(directory) == ()
    new = make_project(directory)

    assert new.id != old.id
    assert robots.find(directory, new.id, "ci") is None
    assert labels.every(directory, new.id) == ()


def test_nothing_is_added_to_a_project_that_was_deleted(directory: Directory) -> None:
    project = make_project(directory)
    projects.delete(directory, project, EMPTY, NOW)

    with pytest.raises(RefusedError, match="does not exist any more"):
        make_robot(directory, project)
    with pytest.raises(RefusedError, match="does not exist any more"):
        members.add(directory, project.id, project.entry.record.key, BOB, Role.GUEST)


def test_users_are_one_whatever_the_case_of_their_names(directory: Directory) -> None:
    users.create(directory, NewUser("Zoë", "hash", email="zoe@example.org"))

    found = users.find(directory, "ZOË")

    assert found is not None
    assert found.name == "Zoë"
    with pytest.raises(RefusedError):
        users.create(directory, NewUser("zoë", "hash"))


def test_no_two_users_share_an_address(directory: Directory) -> None:
    users.create(directory, NewUser("a", "hash", email="a@example.org"))
    users.create(directory, NewUser("b", "hash", email="b@example.org"))
    b = users.find(directory, "b")
    assert b is not None

    with pytest.raises(RefusedError, match=EMAIL_TAKEN):
        users.create(directory, NewUser("c", "hash", email="A@example.org"))
    with pytest.raises(RefusedError, match=EMAIL_TAKEN):
        users.update(directory, replace(b, email="a@example.org"))
    users.update(directory, replace(b, email=""))
    users.create(directory, NewUser("c", "hash", email="b@example.org"))


def test_a_deleted_user_is_no_member_any_more(directory: Directory) -> None:
    project = make_project(directory)
    user = users.create(directory, NewUser("bob", "hash"))
    who = Who(Kind.USER, user.id, user.name)
    members.add(directory, project.id, project.entry.record.key, who, Role.DEVELOPER)
    found = users.find(directory, "bob")
    assert found is not None

    users.delete(directory, found)
    members.forget(directory, who.key)

    assert members.roles(directory, project.id, [who.key]) == frozenset()
    assert users.by_id(directory, user.id) is None


def test_roles_of_a_user_and_of_groups_add_up(directory: Directory) -> None:
    project = make_project(directory)
    group = groups.create(directory, "team", 3, "")
    who = Who(Kind.GROUP, group.id, group.name)
    member = members.add(directory, project.id, project.entry.record.key, who, Role.GUEST)

    assert members.roles(directory, project.id, [ALICE.key, who.key]) == {Role.PROJECT_ADMIN, Role.GUEST}
    found = members.find(directory, project.id, member.id)
    assert found is not None
    members.set_role(directory, found, Role.MAINTAINER)
    assert members.roles(directory, project.id, [who.key]) == {Role.MAINTAINER}
    assert members.find(directory, project.id + 1, member.id) is None


def test_a_robot_s_permissions_are_read_as_they_were_written(directory: Directory) -> None:
    project = make_project(directory)
    robot = make_robot(directory, project)

    found = robots.by_id(directory, robot.id)

    assert found is not None
    assert found.permissions == robot.permissions
    assert robots.find(directory, project.id, "ci") == found
    robots.delete(directory, found)
    assert robots.by_id(directory, robot.id) is None


def test_a_label_keeps_its_id_under_another_name(directory: Directory) -> None:
    label = labels.create(directory, 0, "good", "", "#00FF00")
    labels.create(directory, 0, "bad", "", "#FF0000")
    found = labels.by_id(directory, label.id)
    assert found is not None

    with pytest.raises(RefusedError, match="exists already"):
        labels.update(directory, replace(found, name="bad"))
    labels.update(directory, replace(found, name="better"))

    renamed = labels.by_id(directory, label.id)
    assert renamed is not None
    assert renamed.name == "better"
    assert [each.name for each in labels.every(directory, 0)] == ["bad", "better"]
    assert labels.count(directory, 0) == 2


def test_two_administrators_who_change_different_settings_both_succeed(directory: Directory) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: configuration.change(directory, {f"key{number}": number}), range(4)))

    assert configuration.read(directory) == {f"key{number}": number for number in range(4)}


def test_a_setting_is_in_force_in_other_processes_within_seconds(directory: Directory, clock: Clock) -> None:
    other = Directory(directory.table, clock)
    assert configuration.recent(other) == {}

    configuration.change(directory, {"read_only": True})

    assert configuration.recent(directory) == configuration.read(directory) == {"read_only": True}
    clock.advance(timedelta(seconds=configuration.SECONDS - 1))
    assert configuration.recent(other) == {}
    clock.advance(timedelta(seconds=1))
    assert configuration.recent(other) == {"read_only": True}


def test_what_is_asked_often_reads_the_settings_once_in_seconds(directory: Directory, clock: Clock) -> None:
    table = CountingTable(directory.table)
    busy = Directory(table, clock)
    for _ in range(3):
        for _ in range(100):
            configuration.recent(busy)
        clock.advance(timedelta(seconds=configuration.SECONDS))
    # A clock that was set back makes no copy good for longer.
    clock.advance(timedelta(days=-1))
    configuration.recent(busy)

    assert table.calls == {"get": 4}


def test_events_are_listed_latest_first_for_the_project_and_for_all(directory: Directory, clock: Clock) -> None:
    for number in range(3):
        clock.advance(timedelta(seconds=1))
        audit.log(directory, Event("alice", f"web/{number}", "artifact", "create", project_id=5))
    audit.log(directory, Event("admin", "bob", "user", "create"))

    mine = audit.page(directory, 5, Slice(backwards=True, limit=2))

    assert len(mine.entries) == 2
    assert mine.more
    assert (audit.count(directory, 5), audit.count(directory, ALL)) == (3, 4)
    latest = audit.latest(directory, [ALL], Span(), 2, lambda read, asked: tuple(map(read, asked)))
    found = audit.search(latest, lambda logged: logged.event.username == "alice")
    assert [logged.event.resource for logged in found] == ["web/2", "web/1", "web/0"]


def test_a_session_ends_at_its_time_or_when_told(directory: Directory, clock: Clock) -> None:
    secret = sessions.begin(directory, 7, "print", 60)
    other = sessions.begin(directory, 7, "print", 3600)

    assert sessions.find(directory, secret) is not None
    sessions.end(directory, other)
    assert sessions.find(directory, other) is None
    assert sessions.find(directory, "guess") is None
    clock.advance(timedelta(minutes=2))
    assert sessions.find(directory, secret) is None


def test_the_foundation_is_laid_once_and_what_was_deleted_stays_away(directory: Directory) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: foundation.lay(directory), range(8)))
    library = projects.find(directory, "library")
    assert library is not None
    assert library.public
    assert users.find(directory, "admin") is not None
    assert (projects.count(directory), users.count(directory)) == (1, 1)

    projects.delete(directory, library, EMPTY, NOW)
    foundation.lay(directory)

    assert projects.find(directory, "library") is None


def test_a_project_that_was_deleted_leaves_nobody_a_member(directory: Directory) -> None:
    project = make_project(directory)
    people = [Who(Kind.USER, number, f"user{number}") for number in range(100, 170)]
    for who in people:
        users.create(directory, NewUser(who.name, "hash"), fixed_id=who.id)
        members.add(directory, project.id, project.entry.record.key, who, Role.GUEST)

    projects.delete(directory, project, EMPTY, NOW)
    members.clear(directory, project.id)
    members.clear(directory, project.id)

    assert members.every(directory, project.id) == ()
    for who in (ALICE, *people):
        assert tuple(members.memberships(directory, who.key)) == ()


def test_somebody_who_was_deleted_becomes_no_member(directory: Directory) -> None:
    project = make_project(directory)

    with pytest.raises(RefusedError, match="user or group does not exist any more"):
        members.add(directory, project.id, project.entry.record.key, BOB, Role.GUEST)
