"""Projects that are caches of other registries, as clients meet them."""

import pytest

from chalicelib.store.directory import members, projects
from chalicelib.store.directory.members import Kind, Who
from chalicelib.store.directory.projects import NewProject
from chalicelib.store.directory.users import ADMINISTRATOR, ADMINISTRATOR_ID
from tests.api.asking import Client


@pytest.fixture
def hub(client: Client) -> Client:
    owner = Who(Kind.USER, ADMINISTRATOR_ID, ADMINISTRATOR)
    new = NewProject("hub", owner.id, owner.name, {"public": "true"}, {}, registry_id=7)
    projects.create(client.services.directory, new, members.founding(owner))
    return client


@pytest.mark.parametrize(
    ("method", "target"),
    [("POST", "/v2/hub/library/alpine/blobs/uploads/"), ("PUT", "/v2/hub/library/alpine/manifests/latest")],
)
def test_nothing_is_pushed_to_a_cache(hub: Client, method: str, target: str) -> None:
    answer = hub.ask(method, target, b"{}")

    assert answer.status == 403
    assert b"DENIED" in answer.body
    assert b"can not push artifact to a proxy project" in answer.body


def test_a_registry_is_in_use_while_a_project_is_its_cache(hub: Client) -> None:
    assert projects.uses_registry(hub.services.directory, 7)
    assert not projects.uses_registry(hub.services.directory, 8)
