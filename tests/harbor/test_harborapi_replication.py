"""What harborapi does with replication on the real server, to and from another registry."""

from __future__ import annotations

import asyncio

import pytest
from harborapi import HarborAsyncClient
from harborapi.exceptions import BadRequest, Conflict, HarborAPIException, NotFound
from harborapi.models import (
    Registry,
    ReplicationExecution,
    ReplicationFilter,
    ReplicationPolicy,
    ReplicationTrigger,
    ReplicationTriggerSettings,
)

from tests.harbor.pushed import push_image
from tests.harbor.telling import Harbor, identifier, new_project, scenario
from tests.store.remote.fake import FakeRegistry, faking

_SECONDS = 60


def pushing(registry: int) -> ReplicationPolicy:
    return ReplicationPolicy(
        name="to-theirs",
        dest_registry=Registry(id=registry),
        dest_namespace="mirror",
        dest_namespace_replace_count=1,
        trigger=ReplicationTrigger(type="scheduled", trigger_settings=ReplicationTriggerSettings(cron="0 0 2 * * *")),
        filters=[
            ReplicationFilter(type="name", value="copied/**"),
            ReplicationFilter(type="tag", value="*-dev", decoration="excludes"),
        ],
        enabled=True,
        override=True,
        speed=-1,
    )


async def registered(client: HarborAsyncClient, other: FakeRegistry) -> int:
    theirs = Registry(name="to-copy-to", type="docker-registry", url=other.url, insecure=False)
    return identifier(await client.create_registry(theirs))


async def ended(client: HarborAsyncClient, number: int) -> ReplicationExecution:
    """Return an execution when it has ended."""
    for _ in range(_SECONDS * 10):
        found = await client.get_replication(number)
        if found.status != "InProgress":
            return found
        await asyncio.sleep(0.1)
    raise TimeoutError


@scenario
async def test_replication_from_the_policy_to_what_it_copied(harbor: Harbor) -> None:
    client = harbor.client
    await new_project(client, "copied")
    for tag in ("v1", "v1-dev"):
        await asyncio.to_thread(push_image, harbor.server, "copied/app", tag, tag)
    with faking() as other:
        registry = await registered(client, other)
        number = identifier(await client.create_replication_policy(pushing(registry)))
        with pytest.raises(Conflict):
            await client.create_replication_policy(pushing(registry))
        with pytest.raises(BadRequest):
            await client.create_replication_policy(pushing(registry + 1))

        policy = await client.get_replication_policy(number)
        assert policy.src_registry
        assert policy.dest_registry
        assert (policy.src_registry.name, policy.dest_registry.name, policy.speed) == ("Local", "to-copy-to", 0)
        assert [each.value for each in policy.filters or []] == ["copied/**", "*-dev"]
        await client.update_replication_policy(number, pushing(registry).model_copy(update={"description": "ours"}))
        assert [each.description for each in await client.get_replication_policies(name="to-the")] == ["ours"]

        execution = await ended(client, identifier(await client.start_replication(number)))
        assert (execution.status, execution.trigger, execution.total, execution.succeed) == (
            "Succeed",
            "manual",
            1,
            1,
        )
        assert set(other.tags) == {("mirror/app", "v1")}
        assert execution.id
        (task,) = await client.get_replication_tasks(execution.id)
        assert (task.src_resource, task.dst_resource, task.operation, task.status) == (
            "copied/app [1 item(s) in total]",
            "mirror/app [1 item(s) in total]",
            "copy",
            "Succeed",
        )
        assert task.id
        assert "copied copied/app:v1" in await client.get_replication_task_log(execution.id, task.id)
        assert [each.id for each in await client.get_replications(policy_id=number)] == [execution.id]
        await client.stop_replication(execution.id)

        with pytest.raises(HarborAPIException, match="412"):
            await client.delete_registry(registry)
        await client.delete_replication_policy(number)
        with pytest.raises(NotFound):
            await client.get_replication_policy(number)
        await client.delete_registry(registry)
