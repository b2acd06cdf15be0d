"""Copies: an image pushed and pulled by skopeo, new bytes and a new repository each time."""

from __future__ import annotations

import gzip
import hashlib
import json
import secrets
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from bench.peers import PROJECT, Peer, program
from bench.ratios import at_most, in_turn
from bench.registry import Blob, digest_of, image
from bench.report import Table
from bench.stage import Stage

MIB = 1024 * 1024
LAYERS = 10
LAYER_BYTES = 10 * MIB
PUSH_BUDGET = 0.6
PULL_BUDGET = 0.5


def measure(stage: Stage, *, rounds: int) -> Table:
    """Compare push, then pull of what was pushed last."""
    with tempfile.TemporaryDirectory(prefix="bench-copies-") as folder:
        directory = Path(folder)
        pushed: dict[str, str] = {}

        def push(peer: Peer) -> float:
            pushed[peer.name] = f"{PROJECT}/{secrets.token_hex(4)}"
            return _push(peer, pushed[peer.name], directory / "source")

        pushes = in_turn(stage, rounds, "push, s", push)
        pulls = in_turn(stage, rounds, "pull, s", lambda peer: _pull(peer, pushed[peer.name], directory / "target"))
    rows = [at_most("push", pushes, "s", PUSH_BUDGET), at_most("pull", pulls, "s", PULL_BUDGET)]
    return Table(f"skopeo copy, {LAYERS} layers of {LAYER_BYTES // MIB} MiB", rows)


def _push(peer: Peer, repository: str, source: Path) -> float:
    _write_image(source)
    return _copy(f"dir:{source}", _reference(peer, repository), *_options(peer, "dest"))


def _pull(peer: Peer, repository: str, target: Path) -> float:
    shutil.rmtree(target, ignore_errors=True)
    return _copy(_reference(peer, repository), f"dir:{target}", *_options(peer, "src"))


def _reference(peer: Peer, repository: str) -> str:
    return f"docker://{peer.host}:{peer.port}/{repository}:latest"


def _options(peer: Peer, side: str) -> list[str]:
    credentials = [] if peer.credentials is None else [f"--{side}-creds={':'.join(peer.credentials)}"]
    return [f"--{side}-tls-verify=false", *credentials]


def _copy(source: str, target: str, *options: str) -> float:
    command = [program("skopeo"), "--insecure-policy", "copy", "--quiet", *options, source, target]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
    return time.monotonic() - began


def _write_image(directory: Path) -> None:
    """Write an image of new bytes as skopeo's `dir:` has it; compressed in name only, so that no time goes there."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    (directory / "version").write_text("Directory Transport Version: 1.1\n")
    layers = [secrets.token_bytes(LAYER_BYTES) for _ in range(LAYERS)]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]},
    }
    manifest = image(
        _write_blob(directory, json.dumps(config).encode()),
        [_write_blob(directory, gzip.compress(layer, 0)) for layer in layers],
    )
    (directory / "manifest.json").write_bytes(manifest)


def _write_blob(directory: Path, content: bytes) -> Blob:
    (directory / hashlib.sha256(content).hexdigest()).write_bytes(content)
    return Blob.of(content)
