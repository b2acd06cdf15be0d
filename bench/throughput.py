"""Throughput: requests per second of the request that every pull begins with."""

from __future__ import annotations

import re
import secrets
import subprocess

from bench.peers import PROJECT, Peer, program
from bench.ratios import at_least, in_turn
from bench.registry import IMAGE, Registry, image
from bench.report import Table
from bench.stage import Stage

CLIENTS = 16
BUDGET = 3.0


class LoadError(RuntimeError):
    """wrk could not do its work, or got answers other than 2xx."""


def measure(stage: Stage, *, rounds: int, seconds: int) -> Table:
    """Compare GET manifest by tag."""
    repository = f"{PROJECT}/{secrets.token_hex(4)}"
    with stage.undelayed():
        for peer in stage.peers.values():
            _push(peer, repository)
    what = "GET manifest by tag"
    rates = in_turn(stage, rounds, f"{what}, requests/s", lambda peer: _rate(peer, repository, seconds))
    return Table(f"throughput, {CLIENTS} clients", [at_least(what, rates, "/s", BUDGET)])


def _push(peer: Peer, repository: str) -> None:
    with Registry(peer, repository) as registry:
        blobs = [registry.push_blob(repository, secrets.token_bytes(1_000)) for _ in range(6)]
        registry.put_manifest(repository, "latest", image(blobs[0], blobs[1:]))


def _rate(peer: Peer, repository: str, seconds: int) -> float:
    with Registry(peer, repository) as registry:
        headers = {**registry.authorization, "Accept": IMAGE}
    command = [
        program("wrk"),
        "--threads=1",
        f"--connections={CLIENTS}",
        f"--duration={seconds}",
        *(f"--header={name}: {value}" for name, value in headers.items()),
        f"http://{peer.host}:{peer.port}/v2/{repository}/manifests/latest",
    ]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate = re.search(r"Requests/sec:\s*([\d.]+)", output)
    if rate is None or "Non-2xx" in output or "Socket errors" in output:
        raise LoadError(f"{peer.name}: {output}")
    return float(rate[1])
