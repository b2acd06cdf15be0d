"""The generated client walks through the same parts of the API: other requests, other parsers, the same answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.harbor.generated import Generated, Refused, identifier, location
from tests.harbor.pushed import push_chart, push_image, push_signature
from tests.server.running import Server

USER_PASSWORD = "Sailors-2-Shore"
GUEST, MAINTAINER = 3, 4


@pytest.fixture(scope="module")
def of(server: Server) -> Iterator[Generated]:
    client = Generated(server)
    yield client
    client.close()


@pytest.fixture
def account(server: Server) -> Iterator[Callable[[str, str], Generated]]:
    made: list[Generated] = []

    def client(name: str, secret: str) -> Generated:
        made.append(Generated(server, name, secret))
        return made[-1]

    yield client
    for each in made:
        each.close()


def refusal(call: Callable[..., Any], *arguments: Any, **more: Any) -> int:
    with pytest.raises(Refused) as raised:
        call(*arguments, **more)
    return int(raised.value.status)


def new_project(of: Generated, name: str, **metadata: str) -> int:
    project = {"project_name": name, "metadata": {"public": "false", **metadata}}
    return identifier(of.Project.create_project_with_http_info(project))


def new_user(of: Generated, name: str) -> int:
    user = {"username": name, "email": f"{name}@sea.test", "realname": name, "password": USER_PASSWORD}
    return identifier(of.User.create_user_with_http_info(user))


def test_the_system_tells_about_itself(of: Generated) -> None:
    assert of.Ping.get_ping() == "Pong"
    assert of.Health.get_health().status == "healthy"
    assert of.Systeminfo.get_system_info().harbor_version
    assert len(of.Systeminfo.get_volumes().storage) == 1
    assert {each.resource for each in of.Permissions.get_permissions().project} >= {"repository", "artifact", "tag"}
    assert refusal(of.Systeminfo.get_cert) == 404


def test_a_project_from_its_creation_to_its_deletion(of: Generated) -> None:
    number = new_project(of, "g-first")

    assert refusal(of.Project.create_project, {"project_name": "g-first"}) == 409
    assert refusal(of.Project.create_project, {"project_name": "Not A Name"}) == 400
    assert of.Project.get_project("g-first").project_id == number
    assert of.Project.get_project(str(number)).name == "g-first"
    assert refusal(of.Project.get_project, str(number), x_is_resource_name=True) == 404
    assert [each.name for each in of.Project.list_projects(q="name=~g-fir")] == ["g-first"]
    assert of.Project.head_project_with_http_info("g-first")[1] == 200
    assert of.Project.get_project_summary("g-first").quota.hard == {"storage": -1}
    assert of.Project.get_project_deletable(str(number)).deletable
    of.Project.update_project("g-first", {"metadata": {"public": "true"}})
    assert of.Project.get_project("g-first").metadata.public == "true"
    of.Project.delete_project("g-first")
    assert refusal(of.Project.head_project, "g-first") == 404


def test_metadata_one_by_one(of: Generated) -> None:
    new_project(of, "g-metadata")
    of.ProjectMetadata.add_project_metadatas("g-metadata", metadata={"severity": "high"})

    assert of.ProjectMetadata.list_project_metadatas("g-metadata")["severity"] == "high"
    of.ProjectMetadata.update_project_metadata("g-metadata", "severity", metadata={"severity": "low"})
    assert of.ProjectMetadata.get_project_metadata("g-metadata", "severity") == {"severity": "low"}
    of.ProjectMetadata.delete_project_metadata("g-metadata", "severity")
    assert refusal(of.ProjectMetadata.get_project_metadata, "g-metadata", "severity") == 404


def test_a_user_from_creation_to_deletion(of: Generated, account: Callable[[str, str], Generated]) -> None:
    number = new_user(of, "g-starbuck")
    theirs = account("g-starbuck", USER_PASSWORD)

    assert theirs.User.get_current_user_info().user_id == number
    assert refusal(theirs.User.list_users) == 403
    assert refusal(of.User.create_user, {"username": "g-weak", "email": "w@sea.test", "password": "short"}) == 400
    changed = {"old_password": USER_PASSWORD, "new_password": "Sailors-3-Shore"}
    theirs.User.update_user_password(number, changed)
    assert refusal(theirs.User.get_current_user_info) == 401
    of.User.update_user_profile(number, {"realname": "First Mate", "email": "mate@sea.test", "comment": ""})
    assert of.User.get_user(number).realname == "First Mate"
    of.User.set_user_sys_admin(number, {"sysadmin_flag": True})
    assert "g-starbuck" in {user.username for user in account("g-starbuck", "Sailors-3-Shore").User.list_users()}
    assert [user.user_id for user in of.User.search_users("g-starb")] == [number]
    of.User.delete_user(number)
    assert refusal(of.User.get_user, number) == 404


def test_members_and_what_their_roles_allow(of: Generated, account: Callable[[str, str], Generated]) -> None:
    new_project(of, "g-crew")
    user = new_user(of, "g-queequeg")
    theirs = account("g-queequeg", USER_PASSWORD)
    assert refusal(theirs.Repository.list_repositories, "g-crew") == 403

    wanted = {"role_id": GUEST, "member_user": {"user_id": user}}
    member = identifier(of.Member.create_project_member_with_http_info("g-crew", project_member=wanted))
    assert refusal(of.Member.create_project_member, "g-crew", project_member=wanted) == 409
    assert theirs.Repository.list_repositories("g-crew") == []
    assert of.Member.get_project_member("g-crew", member).entity_id == user
    of.Member.update_project_member("g-crew", member, role={"role_id": MAINTAINER})
    roles = {each.entity_name: each.role_id for each in of.Member.list_project_members("g-crew")}
    assert roles == {"admin": 1, "g-queequeg": MAINTAINER}
    of.Member.delete_project_member("g-crew", member)
    assert refusal(theirs.Repository.list_repositories, "g-crew") == 403


def test_a_robot_works_until_it_is_disabled(of: Generated, account: Callable[[str, str], Generated]) -> None:
    number = new_project(of, "g-robots")
    access = [{"resource": "repository", "action": "pull"}, {"resource": "artifact", "action": "list"}]
    permission = {"kind": "project", "namespace": "g-robots", "access": access}
    wanted = {"name": "ci", "level": "project", "duration": 30, "permissions": [permission]}
    made = of.Robot.create_robot(wanted)
    assert made.name == "robot$g-robots+ci"
    assert refusal(of.Robot.create_robot, wanted | {"name": "Not+Allowed"}) == 400

    theirs = account(made.name, made.secret)
    assert refusal(theirs.Project.delete_project, "g-robots") == 403
    (found,) = of.Robot.list_robot(q=f"Level=project,ProjectID={number}")
    assert (found.id, found.duration) == (made.id, 30)
    assert {each.resource for each in found.permissions[0].access} == {"repository", "artifact"}
    assert of.Robot.refresh_sec(made.id, {"secret": "Given-2-Robots"}).secret in (None, "")
    theirs = account(made.name, "Given-2-Robots")
    assert refusal(theirs.Project.delete_project, "g-robots") == 403
    of.Robot.update_robot(made.id, found.to_dict() | {"disable": True, "creation_time": None, "update_time": None})
    assert refusal(theirs.Project.delete_project, "g-robots") == 401
    of.Robot.delete_robot(made.id)
    assert refusal(of.Robot.get_robot_by_id, made.id) == 404


def test_labels(of: Generated) -> None:
    label = identifier(of.Label.create_label_with_http_info({"name": "g-label", "scope": "g", "color": "#0000ff"}))

    of.Label.update_label(label, {"name": "g-renamed", "scope": "g", "description": "a name"})
    assert of.Label.get_label_by_id(label).name == "g-renamed"
    assert [each.id for each in of.Label.list_labels(scope="g", name="g-renamed")] == [label]
    of.Label.delete_label(label)
    assert refusal(of.Label.get_label_by_id, label) == 404


def test_groups_quotas_and_settings(of: Generated) -> None:
    wanted = {"group_name": "g-group", "group_type": 1, "ldap_group_dn": "cn=g,dc=sea"}
    group = identifier(of.Usergroup.create_user_group_with_http_info(usergroup=wanted))
    assert of.Usergroup.get_user_group(group).ldap_group_dn == "cn=g,dc=sea"
    assert [each.id for each in of.Usergroup.search_user_groups("g-gro")] == [group]
    of.Usergroup.update_user_group(group, usergroup={"group_name": "g-renamed"})
    assert "g-renamed" in {each.group_name for each in of.Usergroup.list_user_groups()}
    of.Usergroup.delete_user_group(group)

    project = new_project(of, "g-quota")
    (quota,) = of.Quota.list_quotas(reference="project", reference_id=str(project))
    of.Quota.update_quota(quota.id, {"hard": {"storage": 1 << 30}})
    assert of.Quota.get_quota(quota.id).hard == {"storage": 1 << 30}

    of.Configure.update_configurations({"banner_message": "", "robot_token_duration": 60})
    assert of.Configure.get_configurations().robot_token_duration.value == 60
    of.Configure.update_configurations({"robot_token_duration": 30})
    assert refusal(of.Configure.update_configurations, {"token_expiration": "soon"}) == 400


def test_artifacts_tags_and_labels(of: Generated, server: Server) -> None:
    new_project(of, "g-shelf")
    digest = push_image(server, "g-shelf/team/app", "v1")
    push_image(server, "g-shelf/team/app", "v2", "other")
    there = ("g-shelf", "team/app")

    assert {each.digest for each in of.Artifact.list_artifacts(*there, q="tags=*")} >= {digest}
    of.Artifact.create_tag(*there, "v1", {"name": "stable"})
    assert {tag.name for tag in of.Artifact.list_tags(*there, digest)} == {"v1", "stable"}
    of.Artifact.delete_tag(*there, "v1", "stable")
    label = identifier(of.Label.create_label_with_http_info({"name": "g-shown", "scope": "g"}))
    of.Artifact.add_label(*there, "v1", {"id": label})
    assert [each.name for each in of.Artifact.get_artifact(*there, "v1", with_label=True).labels] == ["g-shown"]
    of.Artifact.remove_label(*there, "v1", label)
    assert "COPY layer /" in of.Artifact.get_addition(*there, "v1", "build_history")
    of.Artifact.delete_artifact(*there, "v1")
    assert refusal(of.Artifact.get_artifact, *there, digest) == 404

    of.Repository.update_repository(*there, {"description": "of the team"})
    assert of.Repository.get_repository(*there).description == "of the team"
    assert [each.name for each in of.Repository.list_repositories("g-shelf")] == ["g-shelf/team/app"]
    of.Repository.delete_repository(*there)
    assert of.Repository.list_repositories("g-shelf") == []


def test_copies_accessories_charts_and_search(of: Generated, server: Server) -> None:
    for name in ("g-origin", "g-target"):
        new_project(of, name)
    digest = push_image(server, "g-origin/app", "v1")
    signature = push_signature(server, "g-origin/app", digest)
    push_chart(server, "g-origin/shop", "0.1.0")

    copied = of.Artifact.copy_artifact_with_http_info("g-target", "deep/app", f"g-origin/app@{digest}")
    assert location(copied).endswith(digest)
    assert of.Artifact.get_artifact("g-target", "deep/app", digest).type == "IMAGE"
    assert [each.digest for each in of.Artifact.list_accessories("g-origin", "app", "v1")] == [signature]
    assert of.Artifact.get_addition("g-origin", "shop", "0.1.0", "values.yaml") == "replicas: 3\n"
    found = of.Search.search("g-origin")
    assert {each.repository_name for each in found.repository} == {"g-origin/app", "g-origin/shop"}
    assert of.Statistic.get_statistic().total_repo_count >= 3
    listed = of.Project.list_artifacts_of_project("g-origin", with_tag=True)
    assert {tag.name for each in listed for tag in each.tags or []} == {"v1", "0.1.0"}
    logged = {(each.operation, each.resource_type) for each in of.Project.get_logs("g-origin")}
    assert {("create", "project"), ("create", "artifact")} <= logged
    assert of.Auditlog.list_audit_logs(q="operation=create", sort="-op_time")
