"""What harborapi does with immutable tags and retention on the real server, whose jobs run beside."""

from __future__ import annotations

import asyncio

import pytest
from harborapi import HarborAsyncClient
from harborapi.exceptions import BadRequest, Conflict, NotFound, PreconditionFailed
from harborapi.models import (
    ImmutableRule,
    ImmutableSelector,
    RetentionExecution,
    RetentionPolicy,
    RetentionPolicyScope,
    RetentionRule,
    RetentionRuleTrigger,
    RetentionSelector,
)

from tests.harbor.pushed import push_image
from tests.harbor.telling import Harbor, identifier, new_project, scenario

_SECONDS = 60


def immutable(tags: str, repositories: str = "**") -> ImmutableRule:
    return ImmutableRule(
        action="immutable",
        template="immutable_template",
        tag_selectors=[ImmutableSelector(kind="doublestar", decoration="matches", pattern=tags)],
        scope_selectors={
            "repository": [ImmutableSelector(kind="doublestar", decoration="repoMatches", pattern=repositories)],
        },
    )


def keeping(project: int, number: int, tags: str = "**") -> RetentionPolicy:
    rule = RetentionRule(
        action="retain",
        template="latestPushedK",
        params={"latestPushedK": number},
        tag_selectors=[RetentionSelector(kind="doublestar", decoration="matches", pattern=tags)],
        scope_selectors={
            "repository": [RetentionSelector(kind="doublestar", decoration="repoMatches", pattern="**")],
        },
    )
    return RetentionPolicy(
        algorithm="or",
        rules=[rule],
        trigger=RetentionRuleTrigger(kind="Schedule", settings={"cron": "0 0 3 * * *"}, references={}),
        scope=RetentionPolicyScope(level="project", ref=project),
    )


@scenario
async def test_immutable_tags_from_the_rule_to_its_end(harbor: Harbor) -> None:
    client = harbor.client
    project = await new_project(client, "fixed")
    first = await asyncio.to_thread(push_image, harbor.server, "fixed/app", "v1", "one")
    number = identifier(await client.create_project_immutable_tag_rule(project, immutable("v*")))
    with pytest.raises(Conflict):
        await client.create_project_immutable_tag_rule(project, immutable("v*"))

    (rule,) = await client.get_project_immutable_tag_rules("fixed")
    assert (rule.id, rule.disabled) == (number, False)
    (tag,) = await client.get_artifact_tags("fixed", "app", first, with_immutable_status=True)
    assert tag.immutable
    with pytest.raises(PreconditionFailed):
        await client.delete_artifact_tag("fixed", "app", first, "v1")
    with pytest.raises(PreconditionFailed):
        await client.delete_artifact("fixed", "app", first)
    with pytest.raises(PreconditionFailed):
        await client.delete_repository("fixed", "app")

    await client.enable_project_immutable_tagrule(project, number, enabled=False)
    (rule,) = await client.get_project_immutable_tag_rules("fixed")
    assert rule.disabled
    assert rule.tag_selectors
    await client.update_project_immutable_tag_rule(
        project, number, rule.model_copy(update={"disabled": False, "tag_selectors": immutable("x*").tag_selectors})
    )
    await client.delete_artifact_tag("fixed", "app", first, "v1")
    await client.delete_project_immutable_tag_rule(project, number)
    with pytest.raises(NotFound):
        await client.delete_project_immutable_tag_rule(project, number)
    assert await client.get_project_immutable_tag_rules(project) == []


@scenario
async def test_retention_from_the_policy_to_its_runs(harbor: Harbor) -> None:
    client = harbor.client
    project = await new_project(client, "kept")
    for name in ("one", "two", "three"):
        await asyncio.to_thread(push_image, harbor.server, "kept/team/app", f"v-{name}", name)
    templates = (await client.get_retention_metadata()).templates or []
    assert "latestPushedK" in {template.rule_template for template in templates}
    with pytest.raises(NotFound):
        await client.get_project_retention_id(project)

    number = identifier(await client.create_retention_policy(keeping(project, 2)))
    with pytest.raises(BadRequest):
        await client.create_retention_policy(keeping(project, 2))
    assert await client.get_project_retention_id(project) == number
    policy = await client.get_retention_policy(number)
    assert policy.rules
    assert policy.rules[0].params == {"latestPushedK": 2}
    await client.update_retention_policy(number, keeping(project, 1))

    dry = await run(client, number, dry_run=True)
    (task,) = await client.get_retention_tasks(number, dry)
    assert (task.repository, task.status, task.total, task.retained) == ("team/app", "Success", 3, 1)
    assert task.id
    text = await client.get_retention_execution_task_log(number, dry, task.id)
    assert text.count("| DEL |") == 2
    assert len(await client.get_artifacts("kept", "team/app")) == 3

    await run(client, number, dry_run=False)
    (artifact,) = await client.get_artifacts("kept", "team/app")
    assert [tag.name for tag in artifact.tags or []] == ["v-three"]

    assert [each.dry_run for each in await client.get_retention_executions(number)] == [False, True]
    await client.delete_retention_policy(number)
    with pytest.raises(NotFound):
        await client.get_retention_policy(number)


async def run(client: HarborAsyncClient, number: int, *, dry_run: bool) -> int:
    """Run a policy, wait until that has ended well, and return its id."""
    begun = identifier(await client.start_retention_execution(number, dry_run=dry_run))

    async def ended() -> RetentionExecution:
        while True:
            found = next(each for each in await client.get_retention_executions(number) if each.id == begun)
            if found.status != "Running":
                return found
            await asyncio.sleep(0.1)

    assert (await asyncio.wait_for(ended(), _SECONDS)).status == "Success"
    return begun
