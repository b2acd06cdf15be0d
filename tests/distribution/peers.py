"""Registries of other makes on this machine: each is started empty and ends with its block."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from bench.peers import answers
from tests.engines.process import HOST, free_ports, running, wait_ready

CACHE = Path(os.environ.get("ROADSTEAD_CACHE", Path.home() / ".cache" / "roadstead"))
CRANE = CACHE / "clients" / "bin" / "crane"


class MissingError(RuntimeError):
    """The program is not installed."""


def _program(name: str, path: str | Path | None) -> str:
    if path is None or not Path(path).exists():
        raise MissingError(f"{name} is not installed: run tests/distribution/install.sh")
    return str(path)


@contextmanager
def docker_registry(folder: Path) -> Iterator[str]:
    """Run Debian's docker-registry, the reference implementation of its time; yield its address."""
    (port,) = free_ports(1)
    config = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "http": {"addr": f"{HOST}:{port}", "secret": "distribution"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
    }
    # JSON is YAML.
    (folder / "config.yml").write_text(json.dumps(config))
    command = [_program("docker-registry", shutil.which("docker-registry")), "serve", str(folder / "config.yml")]
    yield from _started(command, folder, port)


@contextmanager
def crane(folder: Path) -> Iterator[str]:
    """Run go-containerregistry's registry, which is in memory; yield its address."""
    (port,) = free_ports(1)
    command = [_program("crane", CRANE), "registry", "serve", "--address", f"{HOST}:{port}"]
    yield from _started(command, folder, port)


def _started(command: list[str], folder: Path, port: int) -> Iterator[str]:
    # docker-registry panics where AWS_CA_BUNDLE is set, and nothing of the user's belongs here.
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    with running(command, environment=environment, directory=folder) as process:
        wait_ready(lambda: answers(port), process, folder)
        yield f"http://{HOST}:{port}"


PEERS: Mapping[str, Callable[[Path], AbstractContextManager[str]]] = {
    "docker-registry": docker_registry,
    "crane": crane,
}
