"""What harborapi does with projects, people and robots on the real server."""

from __future__ import annotations

import asyncio

import pytest
from harborapi.exceptions import Conflict, Forbidden, NotFound, Unauthorized
from harborapi.models import (
    Access,
    ProjectMetadata,
    ProjectReq,
    RobotCreate,
    RobotPermission,
    UserProfile,
)

from tests.harbor.pushed import Account, push_image
from tests.harbor.telling import USER_PASSWORD, Harbor, asking, identifier, new_project, new_user, scenario

MAINTAINER, GUEST = 4, 3


@scenario
async def test_the_system_tells_about_itself(harbor: Harbor) -> None:
    client = harbor.client
    assert await client.ping() == "Pong"
    assert (await client.health_check()).status == "healthy"
    assert (await client.get_system_info()).auth_mode == "db_auth"
    assert (await client.get_system_volume_info()).storage is not None
    assert (await client.get_permissions()).system

    assert (harbor.server.ask("GET", "/api/version").json())["version"] == "v2.0"


@scenario
async def test_a_project_from_its_creation_to_its_deletion(harbor: Harbor) -> None:
    client = harbor.client
    number = await new_project(client, "first-harbour")
    with pytest.raises(Conflict):
        await new_project(client, "first-harbour")

    found = await client.get_project("first-harbour")
    assert (found.project_id, found.name, found.owner_name) == (number, "first-harbour", "admin")
    assert found.metadata
    assert found.metadata.public == "false"
    assert await client.get_project(number) == found
    assert await client.project_exists("first-harbour")
    assert [each.name for each in await client.get_projects(name="first-harbour")] == ["first-harbour"]
    assert [each.name for each in await client.get_projects(query="name=~first-harb")] == ["first-harbour"]

    await client.update_project(number, ProjectReq(metadata=ProjectMetadata(public="true")))
    assert [each.name for each in await client.get_projects(name="first-harbour", public=True)] == ["first-harbour"]
    summary = await client.get_project_summary(number)
    assert (summary.repo_count, summary.project_admin_count) == (0, 1)
    assert (await client.get_project_deletable(number)).deletable

    await client.delete_project(number)
    with pytest.raises(NotFound):
        await client.get_project("first-harbour")
    assert not await client.project_exists("first-harbour")


@scenario
async def test_metadata_one_by_one(harbor: Harbor) -> None:
    client = harbor.client
    number = await new_project(client, "metadata")

    await client.set_project_metadata(number, ProjectMetadata(auto_scan="true"))
    assert await client.get_project_metadata_entry(number, "auto_scan") == {"auto_scan": "true"}
    await client.update_project_metadata_entry(number, "auto_scan", {"auto_scan": "false"})
    assert (await client.get_project_metadata("metadata")).auto_scan == "false"
    await client.delete_project_metadata_entry(number, "auto_scan")
    assert (await client.get_project_metadata(number)).auto_scan is None


@scenario
async def test_a_user_from_creation_to_deletion(harbor: Harbor) -> None:
    client = harbor.client
    number = await new_user(client, "ahab")
    with pytest.raises(Conflict):
        await new_user(client, "ahab")

    found = await client.get_user_by_username("ahab")
    assert (found.user_id, found.email, found.sysadmin_flag) == (number, "ahab@sea.test", False)
    assert [each.username for each in await client.search_users_by_username("aha")] == ["ahab"]
    assert "ahab" in {each.username for each in await client.get_users()}
    await client.update_user(number, UserProfile(email="captain@sea.test", realname="Captain Ahab"))
    assert (await client.get_user(number)).realname == "Captain Ahab"
    await client.set_user_admin(number, is_admin=True)
    assert (await client.get_user(number)).sysadmin_flag
    await client.set_user_password(number, "Sailors-3-Shore")

    async with asking(harbor.server, "ahab", "Sailors-3-Shore") as theirs:
        assert (await theirs.get_current_user()).username == "ahab"
        assert await theirs.get_current_user_permissions("/project/1", relative=True)
        await client.delete_user(number)
        with pytest.raises(Unauthorized):
            await theirs.get_current_user()


@scenario
async def test_members_and_what_their_roles_allow(harbor: Harbor) -> None:
    client = harbor.client
    await new_project(client, "crew")
    await new_user(client, "ishmael")
    async with asking(harbor.server, "ishmael", USER_PASSWORD) as theirs:
        with pytest.raises(Forbidden):
            await theirs.get_project("crew")
        member = identifier(await client.add_project_member_user("crew", "ishmael", GUEST))
        assert (await theirs.get_project("crew")).current_user_role_id == GUEST
        with pytest.raises(Forbidden):
            await theirs.update_project("crew", ProjectReq(metadata=ProjectMetadata(public="true")))
    with pytest.raises(Conflict):
        await client.add_project_member_user("crew", "ishmael", GUEST)
    found = await client.get_project_member("crew", member)
    assert (found.entity_name, found.entity_type, found.role_id) == ("ishmael", "u", GUEST)

    await client.update_project_member_role("crew", member, MAINTAINER)
    named = await client.get_project_members("crew", entity_name="ishm")
    assert [(each.entity_name, each.role_name) for each in named] == [("ishmael", "maintainer")]
    assert {each.entity_name for each in await client.get_project_members("crew")} == {"admin", "ishmael"}
    await client.remove_project_member("crew", member)
    with pytest.raises(NotFound):
        await client.get_project_member("crew", member)


def _robot(level: str, namespace: str, kind: str, *pairs: tuple[str, str]) -> RobotCreate:
    access = [Access(resource=resource, action=action) for resource, action in pairs]
    permission = RobotPermission(kind=kind, namespace=namespace, access=access)
    return RobotCreate(name=f"bot-{level}", level=level, duration=-1, permissions=[permission])


@scenario
async def test_a_robot_of_the_system_and_a_new_secret(harbor: Harbor) -> None:
    client = harbor.client
    made = await client.create_robot(_robot("system", "/", "system", ("project", "list"), ("user", "list")))
    assert (made.name, made.expires_at) == ("robot$bot-system", -1)
    assert made.id
    assert made.secret
    async with asking(harbor.server, "robot$bot-system", made.secret) as theirs:
        assert "library" in {each.name for each in await theirs.get_projects()}
        with pytest.raises(Forbidden):
            await theirs.get_usergroups()
        renewed = await client.refresh_robot_secret(made.id, "")
        assert renewed.secret
        with pytest.raises(Unauthorized):
            await theirs.get_users()
    async with asking(harbor.server, "robot$bot-system", renewed.secret) as again:
        assert await again.get_users()

    found = await client.get_robot(made.id)
    assert (found.level, found.editable, found.disable) == ("system", True, False)
    found.disable = True
    await client.update_robot(made.id, found)
    assert (await client.get_robot(made.id)).disable
    assert [each.name for each in await client.get_robots()] == ["robot$bot-system"]
    await client.delete_robot(made.id)
    with pytest.raises(NotFound):
        await client.get_robot(made.id)


@scenario
async def test_a_robot_of_a_project_pushes(harbor: Harbor) -> None:
    client = harbor.client
    number = await new_project(client, "dock")
    allowed = [("repository", "pull"), ("repository", "push"), ("artifact", "read")]
    made = await client.create_robot(_robot("project", "dock", "project", *allowed))
    assert made.name == "robot$dock+bot-project"
    assert made.secret
    robots = await client.get_robots(query=f"Level=project,ProjectID={number}")
    assert [each.name for each in robots] == [made.name]
    assert robots[0].permissions
    assert robots[0].permissions[0].namespace == "dock"

    robot = Account.of(harbor.server, made.name, made.secret)
    digest = await asyncio.to_thread(push_image, robot, "dock/by-robot", "v1")
    async with asking(harbor.server, made.name, made.secret) as theirs:
        assert (await theirs.get_artifact("dock", "by-robot", "v1")).digest == digest
        with pytest.raises(Forbidden):
            await theirs.delete_artifact("dock", "by-robot", "v1")
