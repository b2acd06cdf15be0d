"""Actions that go on one S3 request at a time, in an order that a test chooses: races, reproduced.

* Each action has its own way to the bucket (`MemoryObjects.beside`) and does its requests one after another (its
  pool is `Inline`). It stops before each of them until it is chosen.
* Between two choices nothing else runs, so the same choices give the same run.
"""

import queue
import random
import threading
from collections.abc import Callable, Sequence
from itertools import count
from typing import Generic, NamedTuple, TypeVar

from tests.memory import MemoryObjects

T = TypeVar("T")
_SECONDS = 30

# Which of so many actions that wait goes on: an index.
Choose = Callable[[int], int]


class Action(NamedTuple, Generic[T]):
    """What is done, and the way to the bucket that it goes."""

    objects: MemoryObjects
    do: Callable[[], T]


def interleave(actions: Sequence[Action[T]], choose: Choose) -> list[T | BaseException]:
    """Run the actions together and return what each returned or raised."""
    results: dict[int, T | BaseException] = {}
    stops: queue.SimpleQueue[int] = queue.SimpleQueue()
    turns = [threading.Semaphore(0) for _ in actions]

    def stop(number: int) -> None:
        stops.put(number)
        assert turns[number].acquire(timeout=_SECONDS)

    def run(number: int) -> None:
        try:
            results[number] = actions[number].do()
        except BaseException as error:  # noqa: BLE001 - the caller looks at it
            results[number] = error
        stops.put(number)

    for number, action in enumerate(actions):
        action.objects.before = lambda operation, key, number=number: stop(number)  # type: ignore[misc]  # noqa: ARG005
    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(len(actions))]
    waiting: list[int] = []
    for number, thread in enumerate(threads):
        thread.start()
        _until_stopped(stops, number, results, waiting)
    while waiting:
        chosen = waiting.pop(choose(len(waiting)))
        turns[chosen].release()
        _until_stopped(stops, chosen, results, waiting)
    return [results[number] for number in range(len(actions))]


def _until_stopped(
    stops: "queue.SimpleQueue[int]", number: int, results: dict[int, T | BaseException], waiting: list[int]
) -> None:
    assert stops.get(timeout=_SECONDS) == number
    if number not in results:
        waiting.append(number)
        waiting.sort()


def every_order(run: Callable[[Choose], None]) -> int:
    """Call `run` once for every order that its choices allow; return how many there were."""
    path: list[int] = []
    runs = 0
    while True:
        walk = _Walk(tuple(path))
        run(walk)
        runs += 1
        path = walk.next_path()
        if not path:
            return runs


def every_insertion(run: Callable[[Choose], None]) -> int:
    """Let the second action run as a whole before each request of the first; return how many runs that took."""
    for runs in count(1):
        inserted = _Insertion(runs - 1)
        run(inserted)
        if not inserted.happened:
            return runs
    raise AssertionError


class _Insertion:
    """Chooses the first of two actions so many times, then the second until it has ended."""

    def __init__(self, ahead: int) -> None:
        self._ahead = ahead
        self.happened = False

    def __call__(self, waiting: int) -> int:
        if waiting == 1:
            return 0
        if self._ahead:
            self._ahead -= 1
            return 0
        self.happened = True
        return 1


def some_orders(run: Callable[[Choose], None], runs: int) -> None:
    """Call `run` with choices by chance, the same ones every time: for races with too many orders to try all."""
    for seed in range(runs):
        run(random.Random(seed).randrange)


class _Walk:
    """One way through the tree of choices: the given first ones, then always the first."""

    def __init__(self, given: tuple[int, ...]) -> None:
        self._given = given
        self._made: list[tuple[int, int]] = []

    def __call__(self, count: int) -> int:
        position = len(self._made)
        index = self._given[position] if position < len(self._given) else 0
        self._made.append((index, count))
        return index

    def next_path(self) -> list[int]:
        """Return the choices that begin the next way, or nothing after the last."""
        made = self._made
        while made and made[-1][0] + 1 == made[-1][1]:
            made = made[:-1]
        return [index for index, _ in made[:-1]] + [made[-1][0] + 1] if made else []
