"""What a process measured of its own requests, and what it read a moment ago: in memory, for any number of threads.

Invariants:
* Only a server counts requests: a function's instances come and go, and CloudWatch counts theirs.
* What is remembered is bounded by what labels can be: whoever counts has made sure of that.
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

# Seconds: a redirect takes milliseconds, the upload of a layer minutes.
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)


class Operation(NamedTuple):
    """What was asked for."""

    method: str
    name: str


@dataclass(frozen=True, slots=True)
class Times:
    """How many requests took up to each of `BOUNDS`, or longer (the last), and all their seconds."""

    counts: tuple[int, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What was counted until now: `answers` by operation and status, bytes of bodies by operation."""

    under_way: int = 0
    answers: Mapping[tuple[Operation, int], int] = field(default_factory=dict)
    times: Mapping[Operation, Times] = field(default_factory=dict)
    received: Mapping[Operation, int] = field(default_factory=dict)
    sent: Mapping[Operation, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Sums:
    """What is counted of one operation; it changes in place, for a server counts thousands a second."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    seconds: float = 0.0
    received: int = 0
    sent: int = 0


class RequestMeter:
    """Counts requests; each that begins must end."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._under_way = 0
        self._answers: dict[tuple[Operation, int], int] = {}
        self._sums: dict[Operation, _Sums] = {}

    def begin(self) -> None:
        """Count a request that is under way."""
        with self._lock:
            self._under_way += 1

    def end(self) -> None:
        """Count one less, answered or not."""
        with self._lock:
            self._under_way -= 1

    def answered(self, operation: Operation, status: int, seconds: float, *, received: int, sent: int) -> None:
        """Count an answer: how long it took, and the bytes of its bodies."""
        with self._lock:
            self._answers[operation, status] = self._answers.get((operation, status), 0) + 1
            sums = self._sums.get(operation)
            if sums is None:
                sums = self._sums[operation] = _Sums()
            sums.counts[bisect_left(BOUNDS, seconds)] += 1
            sums.seconds += seconds
            sums.received += received
            sums.sent += sent

    def read(self) -> Measured:
        """Return what was counted until now."""
        with self._lock:
            return Measured(
                self._under_way,
                dict(self._answers),
                {operation: Times(tuple(each.counts), each.seconds) for operation, each in self._sums.items()},
                {operation: each.received for operation, each in self._sums.items()},
                {operation: each.sent for operation, each in self._sums.items()},
            )


class Remembered(Generic[T]):
    """Something that takes a while to find out, and is good for a while: of those who ask at once, one finds out."""

    def __init__(self, lasting: timedelta) -> None:
        self._lasting = lasting
        self._lock = Lock()
        self._found: tuple[datetime, T] | None = None

    def get(self, now: datetime, find: Callable[[], T]) -> T:
        """Return what was found of late, or find it now."""
        with self._lock:
            if self._found is None or not self._found[0] <= now < self._found[0] + self._lasting:
                self._found = (now, find())
            return self._found[1]

    def forget(self) -> None:
        """Find it anew when it is asked for next."""
        with self._lock:
            self._found = None
