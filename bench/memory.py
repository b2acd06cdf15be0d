"""Memory: what one large upload takes a registry above idle, in a single chunked PATCH as docker sends it."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator

from bench import processes
from bench.peers import PROJECT
from bench.registry import Registry
from bench.report import Row, Table, Verdict, progress
from bench.stage import Stage

MIB = 1024 * 1024
BUDGET = 64 * MIB
_REPOSITORY = f"{PROJECT}/memory"


class Stream:
    """Bytes that are made as they are sent, and their digest."""

    def __init__(self, size: int) -> None:
        self._hash = hashlib.sha256()
        self._blocks = size // MIB
        self._block = bytearray(secrets.token_bytes(MIB))

    def __iter__(self) -> Iterator[bytes]:
        for number in range(self._blocks):
            self._block[:8] = number.to_bytes(8)
            self._hash.update(self._block)
            yield bytes(self._block)

    @property
    def digest(self) -> str:
        """Return the digest of what was sent."""
        return f"sha256:{self._hash.hexdigest()}"


def measure(stage: Stage, *, size: int) -> Table:
    """Compare the growth of both registries."""
    theirs, ours = (_grown(stage, name, size) for name in stage.peers)
    verdict = Verdict.KEPT if ours <= BUDGET else Verdict.SLOW
    row = Row("peak above idle", _mib(theirs), _mib(ours), f"<= {_mib(BUDGET)}", verdict)
    return Table(f"memory, {size // MIB} MiB uploaded in one chunked PATCH", [row])


def _grown(stage: Stage, name: str, size: int) -> int:
    with stage.fresh(name) as peer, Registry(peer, _REPOSITORY) as registry:
        # The first upload ever brings code and connections in, which stay.
        registry.push_blob(_REPOSITORY, secrets.token_bytes(1_000))
        idle = processes.resident(peer.pid)
        processes.reset_peak(peer.pid)
        content = Stream(size)
        location = registry.patch_upload(registry.start_upload(_REPOSITORY), content)
        registry.finish_upload(location, content.digest)
        grown = processes.peak(peer.pid) - idle
    progress(f"{name}: {_mib(idle)} idle, {_mib(grown)} more for {_mib(size)}")
    return grown


def _mib(size: int) -> str:
    return f"{size / MIB:.1f} MiB"
