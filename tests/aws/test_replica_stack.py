"""Two regions as whole stacks on emulated AWS, by the README's commands: pulls in the second, and what arrives there.

The emulator copies at once: order and delay are simulated in tests/regions and tests/jobs/test_arrived.py.
"""

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from chalicelib.oci.manifests import OCI_MANIFEST
from tests.api.artifacts import CONFIG_TYPE, LAYER_TYPE
from tests.aws.cloud import ROOT, environment
from tests.aws.test_replica import NAME, OTHER, password, replicating
from tests.engines.engine import Engine, client
from tests.engines.ministack import ministack

pytestmark = pytest.mark.aws
COPY, OWN = f"{NAME}-copy", f"{NAME}-own"
OCTETS = "application/octet-stream"
SECONDS = 60


@dataclass(frozen=True, slots=True)
class Region:
    """A stack of the registry in a region of the emulated account."""

    engine: Engine
    outputs: dict[str, str]

    @property
    def api(self) -> str:
        return f"{self.engine.endpoint}/_aws/execute-api/{self.outputs['ApiId']}"

    def ask(
        self, method: str, path: str, content: bytes = b"", kind: str = "application/octet-stream"
    ) -> httpx.Response:
        scope = {"scope": "repository:library/app:pull,push,delete"}
        given = httpx.get(
            f"{self.api}/service/token", params=scope, auth=("admin", password(self.engine)), timeout=60
        )
        headers = {"Authorization": f"Bearer {given.raise_for_status().json()['token']}"}
        headers |= {"content-type": kind} if content else {}
        return httpx.request(method, f"{self.api}{path}", content=content, headers=headers, timeout=60)

    def harbor(self, path: str) -> Any:
        asked = httpx.get(f"{self.api}/api/v2.0{path}", auth=("admin", password(self.engine)), timeout=60)
        return asked.json()

    def push(self, tag: str) -> bytes:
        """Push an image that shares nothing with others; return its manifest."""
        blobs = [json.dumps({"os": "linux", "config": {"Cmd": [tag]}}).encode(), f"the layer of {tag}".encode()]
        described = []
        for blob, kind in zip(blobs, (CONFIG_TYPE, LAYER_TYPE), strict=True):
            digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
            begun = self.ask("POST", "/v2/library/app/blobs/uploads/")
            assert begun.status_code == 202, begun.text
            done = self.ask("PUT", f"{begun.headers['location']}&digest={digest}", blob)
            assert done.status_code == 201, done.text
            described.append({"mediaType": kind, "digest": digest, "size": len(blob)})
        whole = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described[0], "layers": described[1:]}
        manifest = json.dumps(whole).encode()
        pushed = self.ask("PUT", f"/v2/library/app/manifests/{tag}", manifest, OCI_MANIFEST)
        assert pushed.status_code == 201, pushed.text
        return manifest


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, Path]]:
    with ministack() as engine:
        for region, bucket in ((engine.region, "code"), (OTHER, "code-there")):
            place: Any = (
                {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
            )
            client(replace(engine, region=region), "s3").create_bucket(Bucket=bucket, **place)
        yield engine, tmp_path_factory.mktemp("package")


@pytest.fixture(scope="module")
def infra(account: tuple[Engine, Path]) -> Callable[..., dict[str, str]]:
    def run(engine: Engine, *words: str) -> dict[str, str]:
        command = [sys.executable, "-m", "tests.aws.shimmed_infra", *words]
        own = environment(engine) | {"PACKAGE": str(account[1])}
        done = subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        lines = [line.strip() for line in done.stdout.splitlines() if line.startswith("  ") and ": " in line]
        return dict(line.split(": ", 1) for line in lines)

    return run


@pytest.fixture(scope="module")
def first(account: tuple[Engine, Path], infra: Callable[..., dict[str, str]]) -> Region:
    engine, _ = account
    return Region(engine, infra(engine, "stack", NAME, "--code-bucket", "code"))


@pytest.fixture(scope="module")
def copy(first: Region, infra: Callable[..., dict[str, str]]) -> Region:
    here, there = first.engine, replace(first.engine, region=OTHER)
    words = ("--code-bucket", "code-there", "--replica-of", f"{here.region}:{NAME}")
    made = Region(there, infra(there, "stack", COPY, *words))
    infra(here, "stack", NAME, "--code-bucket", "code", "--replica", f"{OTHER}:{COPY}")
    infra(here, "replicate", NAME, OTHER)
    replicating(here, first.outputs["BucketName"], made.outputs["BucketArn"])
    return made


def test_what_is_pushed_in_one_region_is_pulled_by_the_other_s_api(first: Region, copy: Region) -> None:
    manifest = first.push("v1")

    found = copy.ask("GET", "/v2/library/app/manifests/v1")
    layer = json.loads(manifest)["layers"][0]["digest"]
    blob = copy.ask("GET", f"/v2/library/app/blobs/{layer}")

    assert found.content == manifest
    assert blob.status_code == 307
    assert copy.outputs["BucketName"] in blob.headers["location"]
    assert httpx.get(blob.headers["location"]).status_code == 200


def test_bytes_that_have_not_come_are_had_from_the_first_region(first: Region, copy: Region) -> None:
    manifest = first.push("late")
    s3 = client(copy.engine, "s3")
    for each in s3.list_objects_v2(Bucket=copy.outputs["BucketName"], Prefix="data/")["Contents"]:
        s3.delete_object(Bucket=copy.outputs["BucketName"], Key=each["Key"])
    time.sleep(1)

    layer = json.loads(manifest)["layers"][0]["digest"]
    blob = copy.ask("GET", f"/v2/library/app/blobs/{layer}")

    assert blob.status_code == 307
    assert first.outputs["BucketName"] in blob.headers["location"]
    assert httpx.get(blob.headers["location"]).status_code == 200


def test_a_push_to_the_copy_is_refused_with_where_to_go(first: Region, copy: Region) -> None:
    refused = copy.ask("POST", "/v2/library/app/blobs/uploads/")

    assert refused.status_code == 403
    assert first.outputs["RegistryUrl"] in refused.json()["errors"][0]["message"]


def test_the_second_stack_over_the_first_one_s_table_reads_no_events(copy: Region) -> None:
    queues = client(copy.engine, "sqs").list_queues().get("QueueUrls", ())

    assert not [each for each in queues if "Arrivals" in each]


def test_what_arrives_is_in_the_index_of_a_table_of_its_own(
    first: Region, copy: Region, infra: Callable[..., dict[str, str]]
) -> None:
    words = ("--code-bucket", "code-there", "--replica-of", f"{first.engine.region}:{NAME}", "--own-table")
    own = Region(copy.engine, infra(copy.engine, "stack", OWN, *words))
    replicating(first.engine, first.outputs["BucketName"], own.outputs["BucketArn"])
    # Its projects are its own; `library` is made for the first who asks.
    assert [each["name"] for each in own.harbor("/projects")] == ["library"]

    digest = f"sha256:{hashlib.sha256(first.push('arrived')).hexdigest()}"

    deadline, shown = time.monotonic() + SECONDS, list[Any]()
    while time.monotonic() < deadline and not shown:
        time.sleep(2)
        found = own.harbor("/projects/library/repositories/app/artifacts")
        shown = found if isinstance(found, list) else []
    assert [(each["digest"], [tag["name"] for tag in each["tags"]]) for each in shown] == [(digest, ["arrived"])]
