"""The registries that are compared: how each is started over an S3 service, and what it is called in the tables.

* Both get the same S3, the same kind of bucket and the same delay; neither a cache nor TLS.
* This project's has its directory in a file, and in it the project that all repositories of the benchmark are in.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sysconfig
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.engines import Engine
from tests.engines.process import HOST, free_ports, running, wait_ready

PASSWORD = "benchmark-password"
PROJECT = "bench"


class MissingProgramError(RuntimeError):
    """A program that the benchmark needs is not installed; the message says which."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A running registry."""

    name: str
    host: str
    port: int
    pid: int
    bucket: str
    credentials: tuple[str, str] | None = None


Start = Callable[[Engine, str, str], AbstractContextManager[Peer]]


def program(name: str) -> str:
    """Return the path of a program: of this project's environment, or of the system."""
    beside = Path(sysconfig.get_path("scripts")) / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise MissingProgramError(f"{name} is not installed: apt-get install docker-registry skopeo wrk")
    return found


@contextmanager
def docker_registry(engine: Engine, endpoint: str, bucket: str) -> Iterator[Peer]:
    """Start docker-registry 2.8.2, as Debian has it."""
    (port,) = free_ports(1)
    with _docker_registry_command("serve", engine, endpoint, bucket, port) as command:
        yield from _started("docker-registry", command, _inherited(), port, bucket, None)


def collect_docker_registry(engine: Engine, endpoint: str, bucket: str) -> None:
    """Collect its garbage, and wait for the end."""
    with _docker_registry_command("garbage-collect", engine, endpoint, bucket, 0) as command:
        subprocess.run(command, env=_inherited(), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextmanager
def _docker_registry_command(name: str, engine: Engine, endpoint: str, bucket: str, port: int) -> Iterator[list[str]]:
    with tempfile.TemporaryDirectory(prefix="docker-registry-") as folder:
        # JSON is YAML.
        config = Path(folder) / "config.yml"
        config.write_text(json.dumps(_docker_registry_config(engine, endpoint, bucket, port)))
        yield [program("docker-registry"), name, str(config)]


def _docker_registry_config(engine: Engine, endpoint: str, bucket: str, port: int) -> dict[str, object]:
    return {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "http": {"addr": f"{HOST}:{port}", "secret": "benchmark"},
        "health": {"storagedriver": {"enabled": False}},
        "storage": {
            "delete": {"enabled": True},
            "redirect": {"disable": False},
            "maintenance": {"uploadpurging": {"enabled": False}},
            "s3": {
                "accesskey": engine.access_key,
                "secretkey": engine.secret_key,
                "region": engine.region,
                "regionendpoint": endpoint,
                "forcepathstyle": True,
                "secure": False,
                "v4auth": True,
                "bucket": bucket,
            },
        },
    }


@contextmanager
def roadstead(engine: Engine, endpoint: str, bucket: str, **variables: str) -> Iterator[Peer]:
    """Start this project's server, with settings."""
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="roadstead-") as folder:
        environment = {
            **_inherited(),
            **engine.environment(),
            "AWS_ENDPOINT_URL_S3": endpoint,
            "ROADSTEAD_BUCKET": bucket,
            "ROADSTEAD_TABLE": f"file:{folder}/directory.sqlite",
            "ROADSTEAD_ADMIN_PASSWORD": PASSWORD,
            "PORT": str(port),
            "DATA": folder,
            **variables,
        }
        command = [program("roadstead"), "serve", "--host", HOST]
        for peer in _started("roadstead", command, environment, port, bucket, ("admin", PASSWORD)):
            _make_project(port)
            yield peer


def _make_project(port: int) -> None:
    basic = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
    asked = urllib.request.Request(
        f"http://{HOST}:{port}/api/v2.0/projects",
        json.dumps({"project_name": PROJECT}).encode(),
        {"Authorization": f"Basic {basic}", "Content-Type": "application/json"},
    )
    urllib.request.urlopen(asked, timeout=30).close()


def _inherited() -> dict[str, str]:
    # docker-registry panics where AWS_CA_BUNDLE is set; no other AWS setting of the user belongs here either.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "ROADSTEAD_"))}
    return {**kept, "NO_PROXY": HOST, "no_proxy": HOST}


def _started(
    name: str,
    command: list[str],
    environment: Mapping[str, str],
    port: int,
    bucket: str,
    credentials: tuple[str, str] | None,
) -> Iterator[Peer]:
    with tempfile.TemporaryDirectory(prefix=f"{name}-output-") as folder:
        directory = Path(folder)
        with running(command, environment=environment, directory=directory) as process:
            wait_ready(lambda: answers(port), process, directory)
            yield Peer(name, HOST, port, process.pid, bucket, credentials)


def answers(port: int) -> None:
    """Raise OSError where no registry answers at a port of this machine yet."""
    try:
        urllib.request.urlopen(f"http://{HOST}:{port}/v2/", timeout=5).close()
    except urllib.error.HTTPError as error:
        with error:
            if error.code != 401:
                raise


PEERS: Mapping[str, Start] = {"docker-registry": docker_registry, "roadstead": roadstead}
