"""Another region on emulated AWS, by the README's commands: it has pushes, deletes, the directory and the secrets.

The emulator copies at once and looks at no rights of the role: order, delay and rights are not proven by this.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import requests

from infra.package import only
from tests.aws.cloud import ROOT, environment
from tests.engines.engine import Engine, client
from tests.engines.ministack import ministack
from tests.engines.process import HOST, free_ports, running, wait_ready

pytestmark = pytest.mark.aws
OTHER = "eu-west-3"
NAME = "registry"
COPIED = ("data/", "blobs/", "repositories/", "catalog/")


@dataclass(frozen=True, slots=True)
class Regions:
    """An account with the storage of a registry in one region, and its replica in another."""

    here: Engine
    there: Engine
    bucket: str
    copy: str
    table: str

    def keys(self, engine: Engine, bucket: str) -> set[str]:
        pages = client(engine, "s3").get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return {each["Key"] for page in pages for each in page.get("Contents", ())}


def infra(engine: Engine, *words: str) -> dict[str, str]:
    """Run a command; return the outputs that it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "infra", *words],
        cwd=ROOT, env=environment(engine), capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(line.strip().split(": ", 1) for line in done.stdout.splitlines() if line.startswith("  "))


@pytest.fixture(scope="module")
def regions() -> Iterator[Regions]:
    with ministack() as here:
        there = replace(here, region=OTHER)
        first = infra(here, "stack", NAME, "--storage-only")
        infra(here, "secrets", f"/{NAME}")
        table = first["TableName"]
        other = infra(there, "stack", f"{NAME}-copy", "--replica-only", "--parameter", f"TableName={table}")
        infra(here, "stack", NAME, "--storage-only", "--parameter", f"ReplicaBucketArn={other['BucketArn']}")
        replicating(here, first["BucketName"], other["BucketArn"])
        infra(here, "replicate", NAME, OTHER)
        yield Regions(here, there, first["BucketName"], other["BucketName"], other["TableName"])


def replicating(engine: Engine, bucket: str, replica: str) -> None:
    """Give the bucket the template's rules, which the emulator's CloudFormation passes over."""
    cloudformation = client(engine, "cloudformation")
    [role] = [
        each["PhysicalResourceId"]
        for each in cloudformation.describe_stack_resources(StackName=NAME)["StackResources"]
        if each["LogicalResourceId"] == "ReplicationRole"
    ]
    given = only("storage")["Resources"]["Bucket"]["Properties"]["ReplicationConfiguration"]["Fn::If"][1]["Rules"]
    rules = [
        {"ID" if key == "Id" else key: value for key, value in rule.items()}
        | {"Destination": rule["Destination"] | {"Bucket": replica}}
        for rule in given
    ]
    wanted = {"Role": client(engine, "iam").get_role(RoleName=role)["Role"]["Arn"], "Rules": rules}
    client(engine, "s3").put_bucket_replication(Bucket=bucket, ReplicationConfiguration=wanted)


@contextmanager
def registry(engine: Engine, bucket: str, table: str) -> Iterator[str]:
    """Run the registry over a region's storage; yield its address."""
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory() as folder:
        settings = environment(engine) | {
            "ROADSTEAD_BUCKET": bucket,
            "ROADSTEAD_TABLE": table,
            "ROADSTEAD_SIGNING_KEY": f"ssm:/{NAME}/signing-key",
            "ROADSTEAD_ADMIN_PASSWORD": f"ssm:/{NAME}/admin-password",
            "HOST": HOST,
            "PORT": str(port),
            "DATA": str(Path(folder) / "relay"),
        }
        address = f"http://{HOST}:{port}"
        command = [sys.executable, "-m", "chalicelib.cli.main", "serve"]
        with running(command, environment=settings, directory=Path(folder)) as process:
            wait_ready(lambda: requests.get(f"{address}/v2/", timeout=5), process, Path(folder))
            yield address


def password(engine: Engine) -> str:
    found = client(engine, "ssm").get_parameter(Name=f"/{NAME}/admin-password", WithDecryption=True)
    return str(found["Parameter"]["Value"])


def signed_in(engine: Engine, address: str) -> requests.Session:
    """Return a session with a token for the repository of these tests."""
    asked = {"service": address.removeprefix("http://"), "scope": "repository:fleet/boat:pull,push,delete"}
    given = requests.get(f"{address}/service/token", asked, auth=("admin", password(engine)), timeout=10)
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {given.json()['token']}"
    return session


def push(session: requests.Session, address: str, tag: str) -> bytes:
    """Push an image of one blob; return the blob's bytes."""
    blob = f"the layer of {tag}".encode()
    digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
    base = f"{address}/v2/fleet/boat"
    begun = session.post(f"{base}/blobs/uploads/", timeout=10)
    place = begun.headers["Location"]
    place = place if place.startswith("http") else address + place
    put = session.put(place, blob, params={"digest": digest}, timeout=10)
    assert put.status_code == 201, put.text
    described: Mapping[str, Any] = {
        "mediaType": "application/vnd.oci.empty.v1+json",
        "digest": digest,
        "size": len(blob),
    }
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = {"schemaVersion": 2, "mediaType": kind, "config": described, "layers": [described]}
    done = session.put(
        f"{base}/manifests/{tag}", data=json.dumps(manifest), headers={"Content-Type": kind}, timeout=10
    )
    assert done.status_code == 201, done.text
    return blob


def test_what_is_pushed_here_is_pulled_there_after_a_promotion(regions: Regions) -> None:
    with registry(regions.here, regions.bucket, regions.table) as address:
        made = requests.post(f"{address}/api/v2.0/projects", json={"project_name": "fleet"},
                             auth=("admin", password(regions.here)), timeout=10)  # fmt: skip
        assert made.status_code == 201, made.text
        blob = push(signed_in(regions.here, address), address, "first")

    with registry(regions.there, regions.copy, regions.table) as address:
        session = signed_in(regions.there, address)
        manifest = session.get(f"{address}/v2/fleet/boat/manifests/first", timeout=10).json()
        pulled = session.get(f"{address}/v2/fleet/boat/blobs/{manifest['layers'][0]['digest']}", timeout=10)
        assert pulled.content == blob
        push(session, address, "after-the-promotion")


def test_chalice_deploy_there_would_take_the_replica(regions: Regions) -> None:
    command = [sys.executable, "-m", "infra", "configure", f"{NAME}-copy", "--secrets", f"/{NAME}", "--check"]

    said = subprocess.run(
        command, cwd=ROOT, env=environment(regions.there), capture_output=True, text=True, check=False
    ).stdout

    assert regions.copy in said
    assert regions.table in said


def test_nothing_is_missing_there_but_uploads(regions: Regions) -> None:
    client(regions.here, "s3").put_object(Bucket=regions.bucket, Key="uploads/begun", Body=b"state")

    here, there = regions.keys(regions.here, regions.bucket), regions.keys(regions.there, regions.copy)

    assert {key for key in here if key.startswith(COPIED)} <= there
    assert {key.partition("/")[0] + "/" for key in here - there} == {"uploads/"}


def test_a_delete_here_is_one_there(regions: Regions) -> None:
    s3 = client(regions.here, "s3")
    s3.put_object(Bucket=regions.bucket, Key="repositories/gone", Body=b"x")
    assert "repositories/gone" in regions.keys(regions.there, regions.copy)

    s3.delete_object(Bucket=regions.bucket, Key="repositories/gone")

    assert "repositories/gone" not in regions.keys(regions.there, regions.copy)


def test_the_table_there_is_guarded_and_all_may_be_run_again(regions: Regions) -> None:
    infra(regions.here, "replicate", NAME, OTHER)
    dynamodb = client(regions.there, "dynamodb")

    assert dynamodb.describe_table(TableName=regions.table)["Table"]["DeletionProtectionEnabled"]
    backups = dynamodb.describe_continuous_backups(TableName=regions.table)["ContinuousBackupsDescription"]
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    assert password(regions.there) == password(regions.here)
