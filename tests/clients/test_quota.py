"""Prove, for each client, that a push beyond a quota ends at once, in the registry's words, and is not repeated."""

import json
import re
import secrets
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from .bench import Bench
from .clients import CLIENTS, Client
from .desk import Desk, small_cargo, small_image
from .images import MIB, Image
from .principals import Account, World
from .proxy import UPLOAD, Record
from .registry import Registry

pytestmark = pytest.mark.clients

NAMES = ("docker", "podman", "ctr", "oras", "skopeo", "crane")
TOOLS = [client for client in CLIENTS if client.name in NAMES]
# It prints of no answer more than its status.
SILENT = ("ctr",)
WORDS = r"(?i)denied|403 Forbidden"
REASON = r"uses [\d.]+ \w+ of its storage quota|will exceed the configured upper limit of"


@pytest.fixture(scope="module", params=TOOLS, ids=lambda client: client.name)
def desk(
    request: pytest.FixtureRequest, registry: Registry, run_id: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Desk]:
    client: Client = request.param
    assert client.program.is_file(), f"{client.name} is not installed: run tests/clients/install.sh"
    home, world = tmp_path_factory.mktemp(client.name), World(registry, run_id)
    bench = Bench(client.name, home, registry, small_cargo(home), run_id, client.daemon)
    with bench.stack:
        made = Desk(client, bench, world)
        made.seat(Account(registry.user, registry.password))
        yield made
    shutil.rmtree(home, ignore_errors=True)


def limited(desk: Desk, limit: int) -> str:
    """Make a project that may store so much."""
    name = f"{desk.world.run_id}-{desk.client.name}-{secrets.token_hex(2)}"
    desk.world.api("POST", "/projects", {"project_name": name, "storage_limit": limit})
    return name


def refused(desk: Desk, image: Image, project: str) -> Record:
    """Push what must be refused; return what was asked of the registry."""
    target = desk.reference(project)
    with desk.bench.recording() as seen:
        said = desk.push(image, target)

    assert said.refused
    assert re.search(WORDS, said.words), said.words
    assert desk.client.name in SILENT or re.search(REASON, said.words), said.words
    assert not desk.world.registry.has_manifest(target.repository, target.tag)
    return seen[0]


def uploads(record: Record, method: str, status: int) -> int:
    return sum(
        each.method == method and each.status == status and bool(UPLOAD.match(each.target))
        for each in record.exchanges
    )


def test_a_full_project_refuses_before_anything_is_sent(desk: Desk) -> None:
    project = limited(desk, 100_000)
    first, second = desk.image(), desk.image()
    assert not desk.push(first, desk.reference(project)).refused
    (quota,) = [each for each in _quotas(desk) if each["ref"]["name"] == project]
    desk.world.api("PUT", f"/quotas/{quota['id']}", {"hard": {"storage": quota["used"]["storage"]}})

    record = refused(desk, second, project)

    assert record.blob_bytes == 0, record
    # A layer and a config, each once.
    assert 1 <= uploads(record, "POST", 403) <= 2, record


def test_a_layer_that_does_not_fit_is_sent_once_at_most(desk: Desk) -> None:
    layout = desk.bench.home / "images" / f"large-{secrets.token_hex(4)}"
    image = small_image(layout, secrets.token_hex(MIB))
    project = limited(desk, MIB)

    record = refused(desk, image, project)

    assert record.blob_bytes < 2 * image.layers[0].size, record
    assert uploads(record, "POST", 202) <= 2, record


def _quotas(desk: Desk) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(desk.world.ask("GET", "/api/v2.0/quotas?page_size=100"))
    return found
