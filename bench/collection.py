"""Garbage collection: the same images, a tenth of them deleted, collected by each registry with its own means.

* docker-registry's must not serve pushes meanwhile (stop-the-world: read-only or not running); ours serves them.
* Ours is counted as one that collects daily: a run before knows the manifests. The very first run is shown as well.
* Every image has a config and two layers that no other has, and a tag.
"""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from bench.peers import PROJECT, Peer, collect_docker_registry, docker_registry, roadstead
from bench.registry import Registry, digest_of, image
from bench.report import Row, Table, Verdict, progress
from bench.stage import Stage
from tests.engines import s3_client
from tests.engines.ledger import counts

_GRACE_SECONDS = 2
_GARBAGE = 10
_TIME_BUDGET = 1 / 20
_PUSHERS = 4

Images = Mapping[str, list[str]]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many images there are, in how many repositories, and how many requests ours may make."""

    repositories: int
    each: int
    budget: int

    @property
    def images(self) -> int:
        """Return the number of all images."""
        return self.repositories * self.each


FULL = Sizes(20, 50, 1500)
QUICK = Sizes(2, 40, 130)


@dataclass(frozen=True, slots=True)
class Run:
    """What a collection took."""

    requests: int
    seconds: float


def measure(stage: Stage, sizes: Sizes) -> Table:
    """Collect on both registries."""
    with _theirs(stage) as peer:
        _emptied_by_a_tenth(stage, peer, sizes)
        theirs = _run(stage, peer, lambda: collect_docker_registry(stage.engine, stage.proxy.endpoint, peer.bucket))
    with _ours(stage) as peer:
        images = _pushed(stage, peer, sizes)
        time.sleep(_GRACE_SECONDS + 1)
        first = _run(stage, peer, lambda: _collect(peer))
        _delete(stage, peer, images)
        time.sleep(_GRACE_SECONDS + 1)
        ours = _run(stage, peer, lambda: _collect(peer))
    return _table(sizes, theirs, ours, first)


def _table(sizes: Sizes, theirs: Run, ours: Run, first: Run) -> Table:
    kept = Verdict.KEPT if ours.requests <= sizes.budget else Verdict.BROKEN
    ratio = ours.seconds / theirs.seconds
    in_time = Verdict.KEPT if ratio <= _TIME_BUDGET else Verdict.SLOW
    took = f"{ratio:.3f} of theirs, <= {_TIME_BUDGET}"
    rows = [
        Row("S3 requests", str(theirs.requests), str(ours.requests), str(sizes.budget), kept),
        Row("time", f"{theirs.seconds:.1f} s", f"{ours.seconds:.1f} s", took, in_time),
        Row("S3 requests of the first run", "", str(first.requests), "", Verdict.NONE),
        Row("time of the first run", "", f"{first.seconds:.1f} s", "", Verdict.NONE),
    ]
    notes = (
        "(docker-registry's stops the world: no push may go on meanwhile; ours goes on beside pushes)",
        "(the first run reads every manifest and finds no garbage; the one above is the next day's)",
    )
    title = f"Garbage collection, {sizes.images} images in {sizes.repositories} repositories, {_GARBAGE} % garbage"
    return Table(title, rows, notes)


@contextmanager
def _theirs(stage: Stage) -> Iterator[Peer]:
    bucket = _bucket(stage)
    with docker_registry(stage.engine, stage.proxy.endpoint, bucket) as peer:
        yield peer


@contextmanager
def _ours(stage: Stage) -> Iterator[Peer]:
    bucket = _bucket(stage)
    with roadstead(
        stage.engine, stage.proxy.endpoint, bucket, ROADSTEAD_GC_GRACE_SECONDS=str(_GRACE_SECONDS)
    ) as peer:
        yield peer


def _bucket(stage: Stage) -> str:
    name = f"bench-collection-{secrets.token_hex(4)}"
    s3_client(stage.engine).create_bucket(Bucket=name)
    return name


def _run(stage: Stage, peer: Peer, collect: Callable[[], None]) -> Run:
    stage.settled(peer)
    stage.proxy.reset()
    began = time.monotonic()
    collect()
    seconds = time.monotonic() - began
    exchanges = stage.settled(peer)
    progress(f"{peer.name}: collection: {seconds:.1f} s, {len(exchanges)}: {counts(exchanges)}")
    return Run(len(exchanges), seconds)


def _emptied_by_a_tenth(stage: Stage, peer: Peer, sizes: Sizes) -> None:
    _delete(stage, peer, _pushed(stage, peer, sizes))


def _pushed(stage: Stage, peer: Peer, sizes: Sizes) -> Images:
    """Push all images and return the digests of each repository."""
    progress(f"{peer.name}: pushing {sizes.images} images")
    names = [f"{PROJECT}/collected-{number}" for number in range(sizes.repositories)]

    def push(name: str) -> list[str]:
        with Registry(peer, name) as registry:
            return [_push(registry, name, f"v{number}") for number in range(sizes.each)]

    with stage.undelayed(), ThreadPoolExecutor(_PUSHERS) as threads:
        return dict(zip(names, threads.map(push, names), strict=True))


def _push(registry: Registry, name: str, tag: str) -> str:
    config, *layers = (registry.push_blob(name, secrets.token_bytes(1_000)) for _ in range(3))
    manifest = image(config, layers)
    registry.put_manifest(name, tag, manifest)
    return digest_of(manifest)


def _delete(stage: Stage, peer: Peer, images: Images) -> None:
    """Delete a tenth of the images by digest."""
    with stage.undelayed():
        for name, digests in images.items():
            with Registry(peer, name) as registry:
                for digest in digests[::_GARBAGE]:
                    registry.call("DELETE", f"/v2/{name}/manifests/{digest}", expect={202})


def _collect(peer: Peer) -> None:
    """Start a collection through the API, and wait for its end."""
    assert peer.credentials
    basic = base64.b64encode(":".join(peer.credentials).encode()).decode()
    headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/json"}
    with Registry(peer) as registry:
        path = "/api/v2.0/system/gc/schedule"
        body = json.dumps({"schedule": {"type": "Manual"}}).encode()
        begun = registry.call("POST", path, body=body, headers=headers, expect={201}).headers["Location"]
        while (status := _status(registry, begun, headers)) != "Success":
            assert status in {"Pending", "Running"}, status
            time.sleep(0.05)


def _status(registry: Registry, path: str, headers: Mapping[str, str]) -> str:
    found: str = json.loads(registry.call("GET", path, headers=headers, expect={200}).body)["job_status"]
    return found
