"""The stage: one S3 service, one delaying proxy before it, and both registries behind that, for the whole run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import inf

from bench.peers import PEERS, Peer
from bench.report import progress
from tests.engines import Engine, s3_client, seaweedfs
from tests.engines.ledger import Exchange
from tests.engines.proxy_process import RemoteProxy, proxy_process

DELAY_SECONDS = 0.015
_QUIET_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Stage:
    """What every measurement gets."""

    engine: Engine
    proxy: RemoteProxy
    peers: Mapping[str, Peer]

    @contextmanager
    def undelayed(self) -> Iterator[None]:
        """Make S3 as quick as it is, to prepare a measurement."""
        self.proxy.set_delay(0.0)
        try:
            yield
        finally:
            self.proxy.set_delay(DELAY_SECONDS)

    @contextmanager
    def fresh(self, name: str) -> Iterator[Peer]:
        """Start one more of a registry, over the same bucket, that has done nothing yet."""
        with PEERS[name](self.engine, self.proxy.endpoint, self.peers[name].bucket) as peer:
            yield peer

    def settled(self, peer: Peer) -> tuple[Exchange, ...]:
        """Return what the peer asked of S3 since the last reset, with what it still did after its answer."""
        before: tuple[Exchange, ...] | None = None
        while True:
            now = tuple(exchange for exchange in self.proxy.snapshot() if exchange.bucket == peer.bucket)
            if now == before and all(exchange.ended < inf for exchange in now):
                return now
            before = now
            time.sleep(_QUIET_SECONDS)


@contextmanager
def stage() -> Iterator[Stage]:
    """Set it up, and clear it whatever happens."""
    with ExitStack() as stack:
        engine = stack.enter_context(seaweedfs())
        proxy = stack.enter_context(proxy_process(engine.endpoint, delay=DELAY_SECONDS))
        s3 = s3_client(engine)
        peers = {}
        for name, start in PEERS.items():
            bucket = f"bench-{name}"
            s3.create_bucket(Bucket=bucket)
            peers[name] = stack.enter_context(start(engine, proxy.endpoint, bucket))
            progress(f"{name} is up")
        yield Stage(engine, proxy, peers)
