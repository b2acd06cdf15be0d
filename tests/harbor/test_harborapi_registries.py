"""What harborapi does with other registries on the real server."""

from __future__ import annotations

import pytest
from harborapi.exceptions import BadRequest, Conflict, NotFound
from harborapi.models import Registry, RegistryCredential, RegistryPing, RegistryUpdate

from tests.harbor.telling import Harbor, identifier, scenario
from tests.store.remote.fake import ACCESS_KEY, ACCESS_SECRET, faking


@scenario
async def test_a_registry_from_its_creation_to_its_deletion(harbor: Harbor) -> None:
    client = harbor.client
    assert "docker-hub" in await client.get_registry_adapters()
    assert (await client.get_registry_providers()).root["docker-hub"].endpoint_pattern
    with faking(auth="bearer") as other:
        credential = RegistryCredential(type="basic", access_key=ACCESS_KEY, access_secret=ACCESS_SECRET)
        theirs = Registry(name="theirs", type="docker-registry", url=other.url, credential=credential, insecure=False)
        number = identifier(await client.create_registry(theirs))
        with pytest.raises(Conflict):
            await client.create_registry(theirs)
        with pytest.raises(BadRequest):
            await client.create_registry(theirs.model_copy(update={"name": "x", "url": "http://169.254.169.254"}))

        found = await client.get_registry(number)
        assert (found.name, found.status, found.url) == ("theirs", "healthy", other.url)
        assert found.credential
        assert (found.credential.access_key, found.credential.access_secret) == (ACCESS_KEY, "*****")
        assert [each.id for each in await client.get_registries(name="heir")] == [number]
        assert (await client.get_registry_info(number)).type == "docker-registry"

        await client.check_registry_status(RegistryPing(id=number))
        with pytest.raises(BadRequest):
            await client.check_registry_status(RegistryPing(id=number, access_secret="wrong"))
        await client.update_registry(number, RegistryUpdate(description="the other one"))
        assert (await client.get_registry(number)).description == "the other one"
        await client.delete_registry(number)
        with pytest.raises(NotFound):
            await client.get_registry(number)
