"""Scenarios told to harborapi, a public client with strict models: every answer is parsed and held to the facts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
from harborapi import HarborAsyncClient
from harborapi.models import ProjectMetadata, ProjectReq, UserCreationReq

from tests.harbor.schema import check
from tests.server.running import PASSWORD, Server

USER_PASSWORD = "Sailors-2-Shore"


@dataclass(frozen=True, slots=True)
class Harbor:
    """The administrator's client and the server that it asks."""

    client: HarborAsyncClient
    server: Server


Told = Callable[[Harbor], Awaitable[None]]


async def _checked(response: httpx.Response) -> None:
    await response.aread()
    request = response.request
    check(request.method, request.url.raw_path.decode(), response.status_code, response.headers, response.content)


@asynccontextmanager
async def asking(server: Server, name: str = "admin", secret: str = PASSWORD) -> AsyncIterator[HarborAsyncClient]:
    """Yield a client with these credentials."""
    client = HarborAsyncClient(f"{server.url}/api/v2.0", name, secret, retry=None)
    client.client.event_hooks = {"response": [_checked]}
    try:
        yield client
    finally:
        await client.client.aclose()


def scenario(told: Told) -> Callable[[Server], None]:
    """Return a test that tells a scenario to the administrator's client."""

    def test(server: Server) -> None:
        asyncio.run(_told(told, server))

    test.__name__ = getattr(told, "__name__", "test")
    return test


async def _told(told: Told, server: Server) -> None:
    async with asking(server) as client:
        await told(Harbor(client, server))


def identifier(location: str) -> int:
    """Return the id at the end of a Location."""
    return int(location.rpartition("/")[2])


async def new_project(client: HarborAsyncClient, name: str, *, public: bool = False) -> int:
    """Create a project and return its id."""
    metadata = ProjectMetadata(public=str(public).lower())
    location = await client.create_project(ProjectReq(project_name=name, metadata=metadata))
    # This client asks for the name in the Location.
    assert location == f"/api/v2.0/projects/{name}"
    found = (await client.get_project(name)).project_id
    assert found
    return found


async def new_user(client: HarborAsyncClient, name: str) -> int:
    """Create a user with `USER_PASSWORD` and return the id."""
    request = UserCreationReq(username=name, email=f"{name}@sea.test", realname=name.title(), password=USER_PASSWORD)
    return identifier(await client.create_user(request))
