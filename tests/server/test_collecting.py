"""Ten writers beside a collector that never rests, with a grace period of seconds: nothing acknowledged goes.

In the end all is deleted, and the bucket is empty of content. `ROADSTEAD_SOAK_SECONDS` makes it longer.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event

import orjson
import pytest

from chalicelib.oci.names import Repository
from chalicelib.store import layout
from tests.engines import Engine, s3_client, seaweedfs
from tests.server.running import BUCKET, Server, over, started
from tests.server.writers import REPOSITORIES, Writer

GRACE = 8
WRITERS = 10
SECONDS = float(os.environ.get("ROADSTEAD_SOAK_SECONDS", "60"))
_PROJECT = REPOSITORIES[0].partition("/")[0]
_JSON = {"Content-Type": "application/json"}


@pytest.fixture
def own_engine() -> Iterator[Engine]:
    """Serve S3 to this test alone: in the end it looks for everything that is left."""
    with seaweedfs() as running:
        yield running


@contextmanager
def _registry(engine: Engine, folder: Path) -> Iterator[Server]:
    with closing(s3_client(engine)) as s3:
        s3.create_bucket(Bucket=BUCKET)
    with started(["serve"], folder, over(engine) | {"ROADSTEAD_GC_GRACE_SECONDS": str(GRACE)}) as server:
        made = server.ask(
            "POST", "/api/v2.0/projects", server.admin | _JSON, orjson.dumps({"project_name": _PROJECT})
        )
        assert made.status == 201, made
        yield server


def _collect(server: Server, *, untagged: bool) -> dict[str, int]:
    """Run a collection to its end and return its report."""
    wanted = {"schedule": {"type": "Manual"}, "parameters": {"delete_untagged": untagged}}
    begun = server.ask("POST", "/api/v2.0/system/gc/schedule", server.admin | _JSON, orjson.dumps(wanted))
    assert begun.status == 201, begun
    while True:
        shown = server.ask("GET", begun.header("location")).json()
        if shown["job_status"] == "Success":
            report: dict[str, int] = orjson.loads(shown["job_parameters"])
            return report
        assert shown["job_status"] == "Running", shown
        time.sleep(0.05)


def _collect_until(server: Server, ended: Event) -> Counter[str]:
    """Collect again and again, every other time with what has no tag."""
    total: Counter[str] = Counter()
    while not ended.is_set():
        report = _collect(server, untagged=bool(total["runs"] % 2))
        total.update({name: value for name, value in report.items() if type(value) is int}, runs=1)
    return total


@pytest.mark.soak
def test_nothing_acknowledged_goes_and_in_the_end_everything_does(own_engine: Engine, tmp_path: Path) -> None:
    with _registry(own_engine, tmp_path) as server:
        ended = Event()
        writers = [Writer(server, f"w{number}", GRACE / 2, random.Random(number)) for number in range(WRITERS)]
        with ThreadPoolExecutor(WRITERS + 1) as threads:
            collecting = threads.submit(_collect_until, server, ended)
            until = time.monotonic() + SECONDS
            writing = [threads.submit(writer.write, until) for writer in writers]
            try:
                for each in writing:
                    each.result()
            finally:
                ended.set()
            collected = collecting.result()
        print(collected, sum((Counter(writer.done) for writer in writers), Counter[str]()))

        assert collected["released_links"] > 0
        assert collected["purged_manifests"] > 0
        _delete_all(server, {place for writer in writers for place in writer.digests})
        for _ in range(2):
            time.sleep(GRACE + 2)
            _collect(server, untagged=True)
        assert _left(own_engine) == []


def _delete_all(server: Server, digests: set[tuple[str, str]]) -> None:
    """Delete every manifest; those in an index can be deleted once that is gone."""
    while digests:
        answers = {place: server.ask("DELETE", f"/v2/{place[0]}/manifests/{place[1]}").status for place in digests}
        assert set(answers.values()) <= {202, 404, 412}, answers
        assert set(answers.values()) & {202, 404}
        digests = {place for place, status in answers.items() if status == 412}


def _left(engine: Engine) -> list[str]:
    """Return the keys of bytes, of what leads to them, and of manifests."""
    prefixes = [layout.DATA, layout.BLOBS]
    for name in REPOSITORIES:
        repository = Repository(name)
        prefixes += [layout.manifests(repository), layout.links(repository), layout.tags(repository)]
    with closing(s3_client(engine)) as s3:
        listed = [s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", []) for prefix in prefixes]
    return [found["Key"] for some in listed for found in some]
