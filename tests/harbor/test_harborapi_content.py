"""What harborapi does with labels, repositories, artifacts, quotas and the system's settings on the real server."""

from __future__ import annotations

import asyncio

import pytest
from harborapi.exceptions import Conflict, NotFound, PreconditionFailed
from harborapi.models import Configurations, Label, QuotaUpdateReq, Repository, ResourceList, Tag, UserGroup

from tests.harbor.pushed import push_chart, push_image, push_signature
from tests.harbor.telling import Harbor, identifier, new_project, scenario

LDAP = 1


@scenario
async def test_labels_of_everybody_and_of_a_project(harbor: Harbor) -> None:
    client = harbor.client
    project = await new_project(client, "labelled")
    everybody = identifier(await client.create_label(Label(name="stable", color="#00ff00", scope="g")))
    theirs = identifier(await client.create_label(Label(name="beta", scope="p", project_id=project)))
    with pytest.raises(Conflict):
        await client.create_label(Label(name="stable", scope="g"))

    assert [each.id for each in await client.get_labels(scope="g", name="stable")] == [everybody]
    assert [each.id for each in await client.get_labels(scope="p", project_id=project)] == [theirs]
    changed = await client.get_label(theirs)
    changed.description = "not yet"
    await client.update_label(theirs, changed)
    assert (await client.get_label(theirs)).description == "not yet"
    await client.delete_label(theirs)
    with pytest.raises(NotFound):
        await client.get_label(theirs)


@scenario
async def test_a_list_of_several_pages_is_read_to_its_end(harbor: Harbor) -> None:
    client = harbor.client
    project = await new_project(client, "pages")
    for number in range(7):
        await client.create_label(Label(name=f"label-{number}", scope="p", project_id=project))

    found = await client.get_labels(scope="p", project_id=project, page_size=3, sort="-name")

    assert [each.name for each in found] == [f"label-{number}" for number in reversed(range(7))]


@scenario
async def test_a_repository_and_its_artifacts(harbor: Harbor) -> None:
    client = harbor.client
    await new_project(client, "shelf")
    digest = await asyncio.to_thread(push_image, harbor.server, "shelf/team/app", "v1")

    repository = await client.get_repository("shelf", "team/app")
    assert (repository.name, repository.artifact_count) == ("shelf/team/app", 1)
    await client.update_repository("shelf", "team/app", Repository(description="what the team ships"))
    assert (await client.get_repository("shelf", "team/app")).description == "what the team ships"
    assert [each.name for each in await client.get_repositories("shelf")] == ["shelf/team/app"]
    assert "shelf/team/app" in {each.name for each in await client.get_repositories()}

    (artifact,) = await client.get_artifacts("shelf", "team/app", with_label=True)
    assert (artifact.digest, artifact.type) == (digest, "IMAGE")
    assert [tag.name for tag in artifact.tags or []] == ["v1"]
    assert artifact.extra_attrs
    assert (artifact.extra_attrs.root or {})["architecture"] == "amd64"
    assert artifact.size
    assert artifact.size > 3000
    assert (await client.get_artifact("shelf", "team/app", "v1")).id == artifact.id
    assert [each.digest for each in await client.get_project_artifacts("shelf")] == [digest]
    history = await client.get_artifact_build_history("shelf", "team/app", "v1")
    assert [entry.created_by for entry in history] == ["COPY layer /", "CMD sh"]

    with pytest.raises(PreconditionFailed):
        await client.delete_project("shelf")
    assert not (await client.get_project_deletable("shelf")).deletable
    await client.delete_repository("shelf", "team/app")
    with pytest.raises(NotFound):
        await client.get_repository("shelf", "team/app")
    await client.delete_project("shelf")


@scenario
async def test_tags_come_and_go_and_an_artifact_with_them(harbor: Harbor) -> None:
    client = harbor.client
    await new_project(client, "tagged")
    first = await asyncio.to_thread(push_image, harbor.server, "tagged/app", "v1", "one")
    second = await asyncio.to_thread(push_image, harbor.server, "tagged/app", "v2", "two")

    await client.create_artifact_tag("tagged", "app", first, Tag(name="stable"))
    with pytest.raises(Conflict):
        await client.create_artifact_tag("tagged", "app", second, Tag(name="stable"))
    tags = await client.get_artifact_tags("tagged", "app", first, with_immutable_status=True)
    assert {tag.name for tag in tags} == {"v1", "stable"}
    assert harbor.server.ask("GET", "/v2/tagged/app/manifests/stable").header("docker-content-digest") == first
    await client.delete_artifact_tag("tagged", "app", first, "v1")
    assert [tag.name for tag in await client.get_artifact_tags("tagged", "app", "stable")] == ["stable"]
    assert harbor.server.ask("GET", "/v2/tagged/app/manifests/v1").status == 404

    found = await client.get_artifacts("tagged", "app", query="tags=stable")
    assert [each.digest for each in found] == [first]
    await client.delete_artifact("tagged", "app", "v2")
    with pytest.raises(NotFound):
        await client.get_artifact("tagged", "app", second)
    assert harbor.server.ask("GET", f"/v2/tagged/app/manifests/{second}").status == 404


@scenario
async def test_a_copy_has_labels_of_its_own(harbor: Harbor) -> None:
    client = harbor.client
    for name in ("origin", "target"):
        await new_project(client, name)
    digest = await asyncio.to_thread(push_image, harbor.server, "origin/deep/app", "v1")
    label = await client.get_label(identifier(await client.create_label(Label(name="copied", scope="g"))))
    await client.add_artifact_label("origin", "deep/app", "v1", label)

    assert (await client.copy_artifact("target", "app", "origin/deep/app:v1")).endswith(digest)
    copied = await client.get_artifact("target", "app", digest, with_label=True)
    assert (copied.labels or [], [tag.name for tag in copied.tags or []]) == ([], ["v1"])
    origin = await client.get_artifact("origin", "deep/app", "v1", with_label=True)
    assert [each.name for each in origin.labels or []] == ["copied"]
    found = await client.get_artifacts("origin", "deep/app", query=f"labels=({label.id})")
    assert [each.digest for each in found] == [digest]
    assert label.id
    await client.delete_artifact_label("origin", "deep/app", "v1", label.id)
    assert not (await client.get_artifact("origin", "deep/app", "v1", with_label=True)).labels
    assert harbor.server.ask("GET", "/v2/target/app/manifests/v1").header("docker-content-digest") == digest


@scenario
async def test_a_signature_is_an_accessory_of_what_it_signs(harbor: Harbor) -> None:
    client = harbor.client
    await new_project(client, "signed")
    subject = await asyncio.to_thread(push_image, harbor.server, "signed/app", "v1")
    signature = await asyncio.to_thread(push_signature, harbor.server, "signed/app", subject)

    (accessory,) = await client.get_artifact_accessories("signed", "app", "v1")
    assert (accessory.digest, accessory.type) == (signature, "signature.cosign")
    (artifact,) = await client.get_artifacts("signed", "app", with_accessory=True)
    assert artifact.digest == subject
    assert [each.digest for each in artifact.accessories or []] == [signature]


@scenario
async def test_a_chart_shows_what_is_in_it(harbor: Harbor) -> None:
    client = harbor.client
    await new_project(client, "charts")
    await asyncio.to_thread(push_chart, harbor.server, "charts/shop", "0.1.0")

    chart = await client.get_artifact("charts", "shop", "0.1.0")
    assert chart.type == "CHART"
    assert chart.addition_links
    assert set(chart.addition_links.root or {}) >= {"values.yaml", "readme.md", "dependencies"}
    additions = "/projects/charts/repositories/shop/artifacts/0.1.0/additions"
    assert await client.get_text(f"{additions}/values.yaml") == "replicas: 3\n"
    assert await client.get_text(f"{additions}/readme.md") == "# A shop\n"
    assert "redis" in await client.get_text(f"{additions}/dependencies")


@scenario
async def test_search_finds_projects_and_repositories(harbor: Harbor) -> None:
    client = harbor.client
    await new_project(client, "needle", public=True)
    before = await client.get_statistics()
    await asyncio.to_thread(push_image, harbor.server, "needle/thread", "v1")

    found = await client.search("needle")
    assert [each.name for each in found.project or []] == ["needle"]
    assert [each.repository_name for each in found.repository or []] == ["needle/thread"]
    after = await client.get_statistics()
    assert before.public_repo_count is not None
    assert after.public_repo_count == before.public_repo_count + 1


@scenario
async def test_a_quota_counts_what_is_stored_and_its_limit_changes(harbor: Harbor) -> None:
    client = harbor.client
    project = await new_project(client, "small")
    await asyncio.to_thread(push_image, harbor.server, "small/app", "v1")

    (quota,) = await client.get_quotas(reference="project", reference_id=str(project))
    assert quota.id
    assert quota.hard
    assert quota.hard.root == {"storage": -1}
    assert quota.used
    assert (quota.used.root or {})["storage"] > 3000
    await client.update_quota(quota.id, QuotaUpdateReq(hard=ResourceList({"storage": 4000})))
    assert (await client.get_quota(quota.id)).hard == ResourceList({"storage": 4000})


@scenario
async def test_what_was_done_is_in_the_logs(harbor: Harbor) -> None:
    client = harbor.client
    await new_project(client, "logged")
    await asyncio.to_thread(push_image, harbor.server, "logged/app", "v1")
    await client.delete_artifact("logged", "app", "v1")

    logs = await client.get_project_logs("logged")
    done = {(each.resource_type, each.operation) for each in logs}
    assert {("project", "create"), ("artifact", "create"), ("artifact", "delete")} <= done
    assert {each.username for each in logs} == {"admin"}
    everything = await client.get_audit_logs(query="operation=create,resource_type=project")
    assert "logged" in {each.resource for each in everything}


@scenario
async def test_groups_of_people(harbor: Harbor) -> None:
    client = harbor.client
    request = UserGroup(group_name="deckhands", group_type=LDAP, ldap_group_dn="cn=deckhands,dc=sea")
    group = identifier(await client.create_usergroup(request))

    assert (await client.get_usergroup(group)).group_name == "deckhands"
    await client.update_usergroup(group, UserGroup(group_name="riggers"))
    assert [each.id for each in await client.search_usergroups("rigg")] == [group]
    assert group in {each.id for each in await client.get_usergroups()}
    await client.delete_usergroup(group)
    with pytest.raises(NotFound):
        await client.get_usergroup(group)


@scenario
async def test_settings_change_and_are_read_again(harbor: Harbor) -> None:
    client = harbor.client
    before = await client.get_config()
    assert before.robot_name_prefix
    assert before.robot_name_prefix.value == "robot$"

    await client.update_config(Configurations(token_expiration=45))
    after = await client.get_config()
    assert after.token_expiration
    assert (after.token_expiration.value, after.token_expiration.editable) == (45, True)
    await client.update_config(Configurations(token_expiration=30))
