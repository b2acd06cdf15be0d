"""A region is lost under load: what had arrived in the other one is there, and what had not is named.

`ROADSTEAD_SOAK_SECONDS` makes the load last longer.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest

from chalicelib.policy.regions import OPENS
from tests.engines import Engine, s3_client, seaweedfs
from tests.server.pushing import content, digest, image, pulled, push_blob, push_manifest
from tests.server.regional import Gate, Replicator, gate, listed
from tests.server.running import BUCKET, PASSWORD, ROOT, Server, environment, over, started, table_of
from tests.server.wire import Answer, ClosedError

SECONDS = min(float(os.environ.get("ROADSTEAD_SOAK_SECONDS", "10")), 600)
REPOSITORY = "library/app"
WRITERS = 3
_CONFIG = content("the config of all", 500)


@dataclass
class Writer:
    """Pushes images of its own until the server is gone, and keeps what was acknowledged."""

    server: Server
    name: str
    acknowledged: dict[str, tuple[bytes, bytes]] = field(default_factory=dict)

    def write(self, until: float) -> None:
        with suppress(OSError, ClosedError, AssertionError):
            for number in range(1_000_000):
                if time.monotonic() > until:
                    return
                self.push(f"{self.name}x{number}")

    def push(self, tag: str) -> None:
        layer = content(f"layer {tag}", 30_000)
        if self.server.ask("HEAD", f"/v2/{REPOSITORY}/blobs/{digest(_CONFIG)}").status != 200:
            push_blob(self.server, REPOSITORY, _CONFIG)
        push_blob(self.server, REPOSITORY, layer)
        manifest = image(_CONFIG, [layer])
        push_manifest(self.server, REPOSITORY, tag, manifest)
        self.acknowledged[tag] = (manifest, layer)


@dataclass
class Regions:
    """Two S3 services, one table, and the way from each region to the other's bucket."""

    engines: Mapping[str, Engine]
    gates: Mapping[str, Gate]
    folder: Path

    def settings(self, name: str, other: str, *, replica: bool) -> dict[str, str]:
        return {
            **over(self.engines[name]),
            "ROADSTEAD_TABLE": table_of(self.folder),
            "ROADSTEAD_REGION_NAME": name,
            "ROADSTEAD_REGION_ROLE": "replica" if replica else "primary",
            "ROADSTEAD_PEER_BUCKET": BUCKET,
            "ROADSTEAD_PEER_URL": f"https://{other}.example.org",
            "ROADSTEAD_PEER_S3_ENDPOINT": self.gates[other].endpoint,
        }

    @contextmanager
    def serving(self, name: str, other: str, *, replica: bool = False) -> Iterator[Server]:
        with started(["serve"], self.folder / name, self.settings(name, other, replica=replica)) as server:
            yield server


@pytest.fixture
def regions(tmp_path: Path) -> Iterator[Regions]:
    with ExitStack() as stack:
        engines = {name: stack.enter_context(seaweedfs()) for name in ("frankfurt", "paris")}
        for engine in engines.values():
            with closing(s3_client(engine)) as s3:
                s3.create_bucket(Bucket=BUCKET)
        gates = {name: stack.enter_context(gate(engine.endpoint)) for name, engine in engines.items()}
        yield Regions(engines, gates, tmp_path)


def command(server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `roadstead region` as the administrator of a server."""
    home = server.folder / "home"
    variables = environment(XDG_CONFIG_HOME=str(home), NO_PROXY="*", ROADSTEAD_SERVER=server.url)
    if not home.exists():
        login = [sys.executable, "-m", "chalicelib.cli.main", "login", server.url, "-u", "admin", "--password-stdin"]
        subprocess.run(login, cwd=ROOT, env=variables, input=PASSWORD, text=True, check=True, capture_output=True)
    asked = [sys.executable, "-m", "chalicelib.cli.main", "region", *arguments]
    return subprocess.run(asked, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)


def named(server: Server) -> set[str]:
    """Return the tags, and the digests, that the region names as in arrears."""
    shown = command(server, "arrears", "--json")
    assert shown.returncode == 0, shown.stderr
    found = json.loads(shown.stdout)
    return {each["reference"] for each in found} | {tag for each in found for tag in each["tags"]}


def is_whole(server: Server, tag: str, pushed: tuple[bytes, bytes]) -> bool:
    """Tell whether an image can be pulled, whole; what cannot must be refused in words."""
    with suppress(AssertionError):
        return tuple(pulled(server, REPOSITORY, tag)) == (pushed[0], _CONFIG, pushed[1])
    return False


@pytest.mark.soak
def test_what_had_arrived_outlives_its_region_and_what_had_not_is_named(regions: Regions) -> None:
    with regions.serving("paris", "frankfurt", replica=True) as paris:
        with regions.serving("frankfurt", "paris") as frankfurt:
            writers = [Writer(frankfurt, f"w{number}") for number in range(WRITERS)]
            copies = Replicator(regions.engines["frankfurt"], regions.engines["paris"], BUCKET, 2.0, random.Random(7))
            copying = threading.Thread(target=copies.run)
            copying.start()
            with ThreadPoolExecutor(WRITERS) as threads:
                until = time.monotonic() + SECONDS + 30
                writing = [threads.submit(writer.write, until) for writer in writers]
                _pull_while_it_is_written(paris, writers, SECONDS)
                refused = _push_refused(paris)
                # The region goes, with pushes under way.
                frankfurt.end(signal.SIGKILL)
                regions.gates["frankfurt"].shut()
                copies.cut()
                for each in writing:
                    each.result()
            copying.join()
        acknowledged = {tag: pushed for writer in writers for tag, pushed in writer.acknowledged.items()}
        arrived = _arrived(regions.engines["paris"], acknowledged)
        told = named(paris)
        before = {tag for tag in acknowledged if is_whole(paris, tag, acknowledged[tag])}

        promoted = command(paris, "promote", "--yes", "--no-check")
        assert promoted.returncode == 0, promoted.stderr
        time.sleep(OPENS.total_seconds() + 1)

        # Nothing is lost that had arrived, and nothing is served that is not whole.
        after = {tag for tag in acknowledged if is_whole(paris, tag, acknowledged[tag])}
        assert refused.status == 403
        assert arrived <= before & after
        assert arrived
        fresh = Writer(paris, "fresh")
        for number in range(20):
            fresh.push(f"freshx{number}")
        lost = acknowledged.keys() - after
        for tag in sorted(lost)[:3]:
            fresh.push(tag)
        assert all(is_whole(paris, tag, pushed) for tag, pushed in fresh.acknowledged.items())

        # The old primary comes back: it takes nothing, and names what it alone has.
        regions.gates["frankfurt"].open()
        with regions.serving("frankfurt", "paris") as back:
            late = _push_refused(back)
            told |= named(back)
            unnamed = {tag for tag in lost if tag not in told and tag not in fresh.acknowledged}
            rejoined = command(back, "rejoin", "--yes")
            states = [json.loads(command(each, "status", "--json").stdout) for each in (paris, back)]
            assert is_whole(back, "freshx0", fresh.acknowledged["freshx0"])
        print(
            f"{len(acknowledged)} acknowledged, {len(arrived)} had arrived, {len(lost)} lost, {len(unnamed)} unnamed"
        )

        assert late.status == 403
        assert unnamed == set()
        assert rejoined.returncode == 0, rejoined.stderr
        assert [(each["role"], each["epoch"], each["primary"]) for each in states] == [
            ("primary", 2, "paris"),
            ("replica", 2, "paris"),
        ]


def _pull_while_it_is_written(paris: Server, writers: list[Writer], seconds: float) -> None:
    """Pull in the copy whatever was acknowledged just now: from its bucket or the other one, it is whole."""
    until, chance, done = time.monotonic() + seconds, random.Random(1), 0
    while time.monotonic() < until:
        known = {tag: pushed for writer in writers for tag, pushed in dict(writer.acknowledged).items()}
        if not known:
            time.sleep(0.05)
            continue
        tag = chance.choice(sorted(known))
        assert is_whole(paris, tag, known[tag]), tag
        done += 1
    assert done


def _push_refused(server: Server) -> Answer:
    return server.ask("POST", f"/v2/{REPOSITORY}/blobs/uploads/")


def _arrived(engine: Engine, acknowledged: Mapping[str, tuple[bytes, bytes]]) -> set[str]:
    """Return the tags of which everything is in a bucket: tag, links and bytes."""
    with closing(s3_client(engine)) as s3:
        keys = {key for key, _ in listed(s3, BUCKET)}

        def is_here(blob: bytes) -> bool:
            link = f"repositories/{REPOSITORY}/_blobs/sha256/{digest(blob).removeprefix('sha256:')}"
            if link not in keys:
                return False
            found = s3.get_object(Bucket=BUCKET, Key=link)["Body"].read()
            return orjson.loads(found)["key"] in keys

        return {
            tag
            for tag, (_, layer) in acknowledged.items()
            if f"repositories/{REPOSITORY}/_tags/{tag}" in keys and is_here(layer) and is_here(_CONFIG)
        }
