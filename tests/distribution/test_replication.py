"""Replication between real servers: ours and ours, ours and docker-registry; events, deletions, kills."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.distribution.counting import relaying
from tests.distribution.peers import PEERS, MissingError, docker_registry
from tests.distribution.servers import (
    CREDENTIAL,
    ask,
    connect,
    ended,
    let_lease_end,
    logs,
    made,
    ours,
    push,
    put,
    run,
    until,
)
from tests.engines import Engine
from tests.server.pushing import MiB, content, digest, image, pulled, push_blob
from tests.server.running import Server
from tests.server.wire import connected

pytestmark = pytest.mark.soak
LARGE = 500 * MiB
INDEX = "application/vnd.oci.image.index.v1+json"


def tags(server: Server, repository: str) -> set[str]:
    answer = server.ask("GET", f"/v2/{repository}/tags/list")
    return set(answer.json()["tags"]) if answer.status == 200 else set()


def test_what_is_pushed_and_deleted_here_is_there_within_seconds(two: tuple[Server, Server]) -> None:
    here, there = two
    registry = connect(here, "there", there.url, CREDENTIAL, "docker-registry")
    policy = {
        "name": "events",
        "dest_registry": {"id": registry},
        "filters": [{"type": "tag", "value": "v*"}],
        "trigger": {"type": "event_based"},
        "replicate_deletion": True,
        "enabled": True,
    }
    made(here, "/replication/policies", policy)

    begun = time.monotonic()
    push(here, "library/app", "v1", content("layer", 3 * MiB))
    push(here, "library/app", "dev", content("layer", 3 * MiB))
    until(lambda: tags(there, "library/app") == {"v1"})
    took = time.monotonic() - begun

    assert [len(each) for each in pulled(there, "library/app", "v1")][-1] == 3 * MiB
    assert ask(here, "DELETE", "/projects/library/repositories/app/artifacts/v1/tags/v1").status == 200
    until(lambda: tags(there, "library/app") == set())
    print(f"an event was at the other registry after {took:.1f} s")


def test_a_policy_brings_indexes_and_signatures_and_only_what_it_wants(two: tuple[Server, Server]) -> None:
    here, there = two
    child = push(there, "library/app", "child", b"one")
    entry = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": child, "size": 1}
    index = put(there, "library/app", "v1", {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}, INDEX)
    empty = b"{}"
    push_blob(there, "library/app", empty)
    signature = {
        **json.loads(image(empty, [empty])),
        "artifactType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "subject": {"mediaType": INDEX, "digest": index, "size": 1},
    }
    signed = put(there, "library/app", "", signature, signature["mediaType"])
    push(there, "library/other", "v1", b"two")
    registry = connect(here, "there", there.url, CREDENTIAL)
    policy = {
        "name": "pull",
        "src_registry": {"id": registry},
        "dest_namespace": "mirror",
        "filters": [{"type": "name", "value": "library/app"}, {"type": "tag", "value": "v*"}],
        "enabled": True,
    }

    found = run(here, made(here, "/replication/policies", policy))

    assert (found["status"], found["total"]) == ("Succeed", 1)
    assert tags(here, "mirror/app") == {"v1"}
    listed = here.ask("GET", f"/v2/mirror/app/referrers/{index}").json()["manifests"]
    assert [each["digest"] for each in listed] == [signed]
    assert here.ask("GET", f"/v2/mirror/app/manifests/{child}").status == 200
    assert ask(here, "GET", "/projects/mirror").json()["metadata"]["public"] == "false"


@pytest.fixture(params=PEERS)
def other(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A registry of another make: which, and its address."""
    try:
        with PEERS[request.param](tmp_path) as url:
            yield request.param, url
    except MissingError as error:
        pytest.skip(str(error))


def test_registries_of_other_makes_are_copied_to_and_from(
    engine: Engine, tmp_path: Path, other: tuple[str, str]
) -> None:
    make, url = other
    with ours(engine, f"with-{make}", tmp_path / "here") as here:
        image_digest = push(here, "library/app", "v1", content("layer", 40 * MiB), b"small")
        registry = connect(here, make, url)
        out = {"name": "out", "dest_registry": {"id": registry}, "enabled": True, "dest_namespace": "from/us"}
        back = {"name": "in", "src_registry": {"id": registry}, "enabled": True, "dest_namespace": "back"}

        assert run(here, made(here, "/replication/policies", out))["status"] == "Succeed"
        found = run(here, made(here, "/replication/policies", back))

        assert found["status"] == "Succeed", logs(here, found["id"])
        answer = here.ask("GET", "/v2/back/app/manifests/v1")
        assert answer.header("docker-content-digest") == image_digest
        assert len(list(pulled(here, "back/app", "v1"))) == 4


def test_a_pull_of_half_a_gigabyte_survives_a_kill_and_takes_little_more(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    layer = os.urandom(MiB) * (LARGE // MiB)
    with docker_registry(tmp_path) as url, relaying(_address(url)) as relay:
        _fill(_address(url), "library/large", layer)
        with ours(engine, "pulled", folder) as here:
            registry = connect(here, "docker", relay.url)
            policy = {"name": "in", "src_registry": {"id": registry}, "enabled": True}
            number = made(here, "/replication/policies", policy)
            relay.forget()
            execution = made(here, "/replication/executions", {"policy_id": number})
            relay.passed(LARGE // 2)
            [task] = ask(here, "GET", f"/replication/executions/{execution}/tasks").json()
            here.end(signal.SIGKILL)
        let_lease_end(folder, task["id"])
        with ours(engine, "pulled", folder) as here:
            found = ended(here, execution)
            assert found["status"] == "Succeed", logs(here, execution)
            assert "goes on at byte" in logs(here, execution)
            assert [len(each) for each in pulled(here, "library/large", "v1")][-1] == LARGE
        print(f"{relay.down / LARGE:.2f} times the blob came from docker-registry")
        assert LARGE <= relay.down < 1.4 * LARGE


def test_a_push_of_a_large_blob_survives_a_kill_and_takes_little_more(engine: Engine, tmp_path: Path) -> None:
    folder, size = tmp_path / "here", LARGE // 2
    layer = os.urandom(MiB) * (size // MiB)
    with ours(engine, "receiving", tmp_path / "there") as there, relaying(there.address) as relay:
        with ours(engine, "sending", folder) as here:
            push(here, "library/large", "v1", layer)
            registry = connect(here, "there", relay.url, CREDENTIAL)
            policy = {"name": "out", "dest_registry": {"id": registry}, "enabled": True}
            number = made(here, "/replication/policies", policy)
            relay.forget()
            execution = made(here, "/replication/executions", {"policy_id": number})
            relay.passed(size // 2)
            [task] = ask(here, "GET", f"/replication/executions/{execution}/tasks").json()
            here.end(signal.SIGKILL)
        let_lease_end(folder, task["id"])
        with ours(engine, "sending", folder) as here:
            found = ended(here, execution)
            assert found["status"] == "Succeed", logs(here, execution)
        assert [len(each) for each in pulled(there, "library/large", "v1")][-1] == size
        print(f"{relay.up / size:.2f} times the blob went to the other registry")
        assert size <= relay.up < 1.4 * size


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 0


def _fill(address: tuple[str, int], repository: str, layer: bytes) -> None:
    """Push an image to docker-registry."""
    config = b'{"architecture": "arm64", "os": "linux"}'
    for blob in (config, layer):
        with connected(address) as wire:
            location = wire.ask("POST", f"/v2/{repository}/blobs/uploads/", {"Content-Length": "0"}).header(
                "location"
            )
            path = location.removeprefix("http://{}:{}".format(*address))
            sized = {"Content-Length": str(len(blob)), "Content-Type": "application/octet-stream"}
            assert wire.ask("PUT", f"{path}&digest={digest(blob)}", sized, blob).status == 201
    manifest = image(config, [layer])
    headers = {"Content-Length": str(len(manifest)), "Content-Type": "application/vnd.oci.image.manifest.v1+json"}
    with connected(address) as wire:
        assert wire.ask("PUT", f"/v2/{repository}/manifests/v1", headers, manifest).status == 201
