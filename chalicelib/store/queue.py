"""What wakes workers: messages that are a task's id, and nothing else.

Invariants:
* The table is the truth: a message that is lost, doubled or late harms nothing. Whoever sends may ignore a failure,
  since what is due is looked for every minute (`jobs.engine.tick`).
"""

import heapq
import time
from threading import Condition
from typing import Protocol

LONGEST_DELAY = 900


class Queue(Protocol):
    """Where messages are sent to; so many `workers` take them at once, at most."""

    workers: int

    def send(self, task_id: int, delay: int = 0) -> None:
        """Have a worker look at a task, after up to `LONGEST_DELAY` seconds; raise OSError."""


class MemoryQueue:
    """The queue of one process, which its own workers take from; a task is in it once, with its earliest time."""

    def __init__(self, workers: int = 4) -> None:
        self.workers = workers
        self._changed = Condition()
        self._moments: dict[int, float] = {}
        self._order: list[tuple[float, int]] = []

    def send(self, task_id: int, delay: int = 0) -> None:
        """Have a worker look at a task after some seconds."""
        moment = time.monotonic() + delay
        with self._changed:
            if moment < self._moments.get(task_id, float("inf")):
                self._moments[task_id] = moment
                heapq.heappush(self._order, (moment, task_id))
                self._changed.notify()

    def take(self, seconds: float) -> int | None:
        """Return a task whose time has come, or None where none has within so many seconds."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while True:
                now = time.monotonic()
                self._drop_superseded()
                if self._order and self._order[0][0] <= now:
                    _, task_id = heapq.heappop(self._order)
                    del self._moments[task_id]
                    return task_id
                if now >= deadline:
                    return None
                first = self._order[0][0] if self._order else deadline
                self._changed.wait(min(first, deadline) - now)

    def _drop_superseded(self) -> None:
        """Drop entries of tasks that were asked for again at an earlier time, or are taken already."""
        while self._order and self._moments.get(self._order[0][1]) != self._order[0][0]:
            heapq.heappop(self._order)
