"""A cache in front of docker-registry: many clients at once, an end in the middle, and pulls while it is gone."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from chalicelib.oci.manifests import OCI_MANIFEST
from chalicelib.store.remote import Site
from chalicelib.store.remote import connect as conversation
from tests.distribution.counting import Relay, relaying
from tests.distribution.peers import MissingError, docker_registry
from tests.distribution.servers import ask, connect, ours, until
from tests.engines import Engine
from tests.server.running import Server
from tests.store.remote.fake import digest_of

MiB = 1 << 20
CONFIG = b'{"os":"linux","architecture":"arm64"}'
CLIENTS = 50


@dataclass
class Cache:
    """A server of ours whose project `hub` is a cache of another registry, behind a relay that counts."""

    server: Server
    url: str
    relay: Relay
    there: ExitStack

    def push(self, name: str, *layers: bytes) -> int:
        """Push an image to the other registry and return how many bytes its blobs have."""
        described = [
            {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest_of(each), "size": len(each)}
            for each in (CONFIG, *layers)
        ]
        document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described[0], "layers": described[1:]}
        with conversation(Site(self.url), ("127.0.0.1",)) as there:
            for blob in (CONFIG, *layers):
                location = there.begin_upload(name)
                there.put_blob(location, digest_of(blob), len(blob), [blob])
            there.put_manifest(name, "latest", OCI_MANIFEST, json.dumps(document).encode())
        self.relay.forget()
        return sum(map(len, (CONFIG, *layers)))

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"{self.server.url}/v2/hub/{path}", timeout=120) as answer:
            content: bytes = answer.read()
            return content

    def pull(self, name: str) -> int:
        """Pull an image as a client does, checking it; return how many bytes its blobs have."""
        document = json.loads(self.get(f"{name}/manifests/latest"))
        pulled = 0
        for each in (document["config"], *document["layers"]):
            content = self.get(f"{name}/blobs/{each['digest']}")
            assert f"sha256:{hashlib.sha256(content).hexdigest()}" == each["digest"]
            pulled += len(content)
        return pulled

    def tags(self, name: str) -> list[str]:
        answer = self.server.ask("GET", f"/v2/hub/{name}/tags/list", {})
        found: list[str] = answer.json()["tags"] if answer.status == 200 else []
        return found


@pytest.fixture
def cache(engine: Engine, tmp_path: Path) -> Iterator[Cache]:
    name = tmp_path.name.replace("_", "-")[:40].strip("-")
    with ExitStack() as there:
        url = begun(there, tmp_path)
        with relaying(address_of(url)) as relay, ours(engine, f"cache-{name}", tmp_path / "ours") as server:
            number = connect(server, "there", relay.url)
            project = {"project_name": "hub", "registry_id": number, "metadata": {"public": "true"}}
            answer = ask(server, "POST", "/projects", project)
            assert answer.status == 201, answer.body
            yield Cache(server, url, relay, there)
            # What keeps the relay's connections open ends first.
            there.close()


def begun(there: ExitStack, folder: Path) -> str:
    """Begin the other registry, with what it had, and return its address."""
    (folder / "there").mkdir(exist_ok=True)
    try:
        return there.enter_context(docker_registry(folder / "there"))
    except MissingError as error:
        pytest.skip(str(error))


def address_of(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 0


def test_fifty_clients_pull_one_cold_image_and_each_blob_is_sent_once(cache: Cache) -> None:
    size = cache.push("app/cold", *(os.urandom(6 * MiB) for _ in range(3)))

    with ThreadPoolExecutor(CLIENTS) as clients:
        pulled = list(clients.map(lambda _: cache.pull("app/cold"), range(CLIENTS)))

    assert pulled == [size] * CLIENTS
    assert size <= cache.relay.down < size * 1.1


@pytest.mark.soak
def test_what_was_pulled_is_pulled_while_the_other_registry_is_gone(cache: Cache) -> None:
    size = cache.push("app/kept", os.urandom(3 * MiB))
    assert cache.pull("app/kept") == size
    until(lambda: cache.tags("app/kept") == ["latest"])
    cache.there.close()
    # What it said last is believed for three seconds.
    time.sleep(3.1)

    with urllib.request.urlopen(f"{cache.server.url}/v2/hub/app/kept/manifests/latest", timeout=60) as answer:
        assert answer.headers["Warning"].startswith("110 ")
    assert cache.pull("app/kept") == size


@pytest.mark.soak
def test_where_the_other_registry_ends_in_the_middle_nothing_wrong_is_kept_and_the_next_pull_is_whole(
    cache: Cache, tmp_path: Path
) -> None:
    layer = os.urandom(24 * MiB)
    size = cache.push("app/cut", layer)
    ask(cache.server, "PUT", "/projects/hub", {"metadata": {"proxy_speed_kb": "8192"}})
    time.sleep(5.1)
    path = f"/v2/hub/app/cut/blobs/{digest_of(layer)}"
    with closing(http.client.HTTPConnection(*cache.server.address, timeout=60)) as client:
        client.request("GET", path)
        answer = client.getresponse()
        assert answer.read(MiB) == layer[:MiB]
        cache.there.close()

        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            assert len(answer.read()) < len(layer) - MiB
    assert cache.server.ask("HEAD", path, {}).status == 503

    registry = ask(cache.server, "GET", "/registries").json()[0]["id"]
    changed = ask(cache.server, "PUT", f"/registries/{registry}", {"url": begun(cache.there, tmp_path)})
    assert changed.status == 200, changed.body
    # Whose cache a project is is known for so long.
    time.sleep(5.1)
    assert cache.pull("app/cut") == size


@pytest.mark.soak
def test_a_fetch_goes_on_when_its_client_went_away(cache: Cache) -> None:
    layer = os.urandom(24 * MiB)
    cache.push("app/left", layer)
    path = f"/v2/hub/app/left/blobs/{digest_of(layer)}"
    with closing(http.client.HTTPConnection(*cache.server.address, timeout=60)) as client:
        client.request("GET", path)
        assert client.getresponse().read(1000) == layer[:1000]

    def kept() -> bool:
        return cache.server.ask("GET", path, {}).status == 307

    until(kept)
    assert cache.relay.down < len(layer) * 1.1


@pytest.mark.soak
@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
def test_skopeo_copies_an_image_out_of_a_cold_cache_and_out_of_a_warm_one(cache: Cache, tmp_path: Path) -> None:
    layers = [os.urandom(2 * MiB) for _ in range(4)]
    size = cache.push("app/skopeo", *layers)
    source = f"docker://{cache.server.url.removeprefix('http://')}/hub/app/skopeo:latest"

    for name in ("cold", "warm"):
        command = ["skopeo", "copy", "--quiet", "--src-tls-verify=false", "--insecure-policy", source]
        subprocess.run([*command, f"dir:{tmp_path / name}"], check=True, timeout=120)
        assert {(tmp_path / name / digest_of(each).partition(":")[2]).read_bytes() for each in layers} == set(layers)
    assert cache.relay.down < size * 1.1
