"""The ledger: which S3 requests were made, when, and how many of them one after another."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from math import inf

from tests.engines.operations import Operation


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer; `status` is 0 and `ended` infinite until the answer is whole."""

    number: int
    operation: str
    bucket: str
    key: str
    presigned: bool
    started: float
    ended: float = inf
    status: int = 0


class Ledger:
    """The exchanges since the last reset; written by the proxy, read from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._exchanges: dict[int, Exchange] = {}
        self._first = 0

    def open(self, operation: Operation) -> Exchange:
        """Note a request on its arrival."""
        with self._lock:
            number = self._first + len(self._exchanges) + 1
            exchange = Exchange(number, *operation, started=time.monotonic())
            self._exchanges[number] = exchange
            return exchange

    def close(self, exchange: Exchange, status: int) -> None:
        """Note its answer, unless it was forgotten in between."""
        with self._lock, suppress(KeyError):
            self._exchanges[exchange.number] = replace(
                self._exchanges[exchange.number], status=status, ended=time.monotonic()
            )

    def position(self, exchange: Exchange) -> int:
        """Return its place since the last reset, from 1."""
        return exchange.number - self._first

    def snapshot(self) -> tuple[Exchange, ...]:
        """Return all in order of arrival."""
        with self._lock:
            return tuple(self._exchanges.values())

    def reset(self) -> None:
        """Forget all; numbers go on, so that a late answer closes nothing of the new time."""
        with self._lock:
            self._first += len(self._exchanges)
            self._exchanges.clear()


def counts(exchanges: Iterable[Exchange]) -> dict[str, int]:
    """Return how often each operation was asked, by name."""
    return dict(sorted(Counter(exchange.operation for exchange in exchanges).items()))


def round_trips(exchanges: Iterable[Exchange]) -> int:
    """Return the length of the longest chain of exchanges that each began after the one before had ended."""
    chain, free = 0, -inf
    for exchange in sorted(exchanges, key=lambda exchange: exchange.ended):
        if exchange.started >= free:
            chain, free = chain + 1, exchange.ended
    return chain
