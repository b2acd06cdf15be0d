"""What harborapi does with webhooks on the real server, which tells a real receiver on this machine."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson
import pytest
from harborapi.exceptions import BadRequest, Conflict, NotFound
from harborapi.models import WebhookPolicy, WebhookTargetObject

from tests.harbor.pushed import push_image
from tests.harbor.telling import Harbor, identifier, new_project, scenario
from tests.store.receiver import Receiver, receiving

_SECONDS = 60


def telling(address: str, name: str = "ci", **fields: Any) -> WebhookPolicy:
    target = WebhookTargetObject(type="http", address=address, auth_header="Bearer x")
    made: dict[str, Any] = {"name": name, "event_types": ["PUSH_ARTIFACT"], "targets": [target], "enabled": True}
    return WebhookPolicy(**{**made, **fields})


def _wait(receiver: Receiver, number: int) -> None:
    end = time.monotonic() + _SECONDS
    while len(receiver.taken) < number and time.monotonic() < end:
        time.sleep(0.02)


async def told(receiver: Receiver, number: int) -> list[dict[str, Any]]:
    """Return what the receiver was told, as soon as it is so many."""
    await asyncio.to_thread(_wait, receiver, number)
    return [orjson.loads(taken.content) for taken in receiver.taken]


@scenario
async def test_webhooks_from_the_policy_to_what_was_told(harbor: Harbor) -> None:
    client = harbor.client
    project = await new_project(client, "hooked")
    supported = await client.get_webhook_supported_events("hooked")
    assert "PUSH_ARTIFACT" in str(supported.event_type)
    with receiving() as receiver:
        address = f"http://127.0.0.1:{receiver.port}/"
        number = identifier(await client.create_webhook_policy("hooked", telling(address)))
        with pytest.raises(Conflict):
            await client.create_webhook_policy("hooked", telling(address))
        with pytest.raises(BadRequest):
            await client.create_webhook_policy("hooked", telling("http://169.254.169.254/", "sly"))
        digest = await asyncio.to_thread(push_image, harbor.server, "hooked/app", "v1", "one")

        (payload,) = await told(receiver, 1)
        assert payload["event_data"]["resources"][0]["digest"] == digest
        assert payload["event_data"]["resources"][0]["resource_url"].endswith("/hooked/app:v1")
        assert receiver.taken[0].headers["authorization"] == "Bearer x"

        (policy,) = await client.get_webhook_policies("hooked")
        assert (policy.id, policy.project_id, policy.creator) == (number, project, "admin")
        (job,) = await client.get_webhook_jobs("hooked", number)
        assert (job.event_type, job.notify_type) == ("PUSH_ARTIFACT", "http")
        (trigger,) = await client.get_webhook_policy_last_trigger("hooked")
        assert trigger.last_trigger_time

        await client.update_webhook_policy("hooked", number, telling(address, event_types=["DELETE_ARTIFACT"]))
        await asyncio.to_thread(push_image, harbor.server, "hooked/app", "v2", "two")
        await client.delete_artifact("hooked", "app", digest)
        assert [each["type"] for each in await told(receiver, 2)] == ["PUSH_ARTIFACT", "DELETE_ARTIFACT"]
    await client.delete_webhook_policy("hooked", number)
    with pytest.raises(NotFound):
        await client.get_webhook_policy("hooked", number)
