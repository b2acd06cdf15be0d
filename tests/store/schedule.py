"""Actions that go on one S3 request at a time, in an order that a test chooses: races, reproduced.

* Each action has its own way to the bucket (`MemoryObjects.beside`) and does its requests one after another (its
  pool is `Inline`). It stops before each of them until it is chosen.
* Between two choices nothing else runs, so the same choices give the same run.
"""

import queue
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Generic, NamedTuple, TypeVar

from tests.memory import MemoryObjects

T = TypeVar("T")
_SECONDS = 30


class Waiting(NamedTuple):
    """An action that waits for its turn: which one, and the request that it is about to do."""

    number: int
    operation: str
    key: str


# Which of the actions that wait goes on: an index.
Choose = Callable[[Sequence[Waiting]], int]


class Action(NamedTuple, Generic[T]):
    """What is done, and the way to the bucket that it goes."""

    objects: MemoryObjects
    do: Callable[[], T]


def interleave(actions: Sequence[Action[T]], choose: Choose) -> list[T | BaseException]:
    """Run the actions together and return what each returned or raised."""
    results: dict[int, T | BaseException] = {}
    stops: queue.SimpleQueue[Waiting] = queue.SimpleQueue()
    turns = [threading.Semaphore(0) for _ in actions]

    def stop(number: int, operation: str, key: str) -> None:
        stops.put(Waiting(number, operation, key))
        assert turns[number].acquire(timeout=_SECONDS)

    def run(number: int) -> None:
        try:
            results[number] = actions[number].do()
        except BaseException as error:  # noqa: BLE001 - the caller looks at it
            results[number] = error
        stops.put(Waiting(number, "", ""))

    for number, action in enumerate(actions):
        action.objects.before = lambda operation, key, number=number: stop(number, operation, key)  # type: ignore[misc]
    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(len(actions))]
    waiting: list[Waiting] = []
    for number, thread in enumerate(threads):
        thread.start()
        _until_stopped(stops, number, results, waiting)
    while waiting:
        chosen = waiting.pop(choose(waiting)).number
        turns[chosen].release()
        _until_stopped(stops, chosen, results, waiting)
    return [results[number] for number in range(len(actions))]


def _until_stopped(
    stops: "queue.SimpleQueue[Waiting]", number: int, results: dict[int, T | BaseException], waiting: list[Waiting]
) -> None:
    stopped = stops.get(timeout=_SECONDS)
    assert stopped.number == number
    if number not in results:
        waiting.append(stopped)
        waiting.sort()


def by_chance(seed: int) -> Choose:
    """Return choices by chance, the same ones for the same seed."""
    source = random.Random(seed)
    return lambda waiting: source.randrange(len(waiting))


def every_order(run: Callable[[Choose], None]) -> int:
    """Call `run` for the orders that its choices allow; return how many there were.

    Of orders that differ only in which of two independent requests came first, one is run: no store, and no client,
    could tell them apart (sleep sets, as model checkers keep them).
    """
    return _walk(run, _Walk(_Node))


def every_order_with(switches: int, run: Callable[[Choose], None]) -> int:
    """Call `run` for the orders in which an action that could go on gives way to another at most so many times.

    For long races: of those that are known from other systems nearly all show with two switches. Of two orders that
    differ only in whether an action did a request before it gave way or when it went on again, the first alone is run
    where the request is independent of all that was done meanwhile.
    """
    return _walk(run, _Walk(partial(_Bounded, switches)))


def _walk(run: Callable[[Choose], None], walk: "_Walk") -> int:
    runs = 0
    while True:
        walk.begin()
        run(walk)
        runs += walk.new
        if not walk.advance():
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

    def __call__(self, waiting: Sequence[Waiting]) -> int:
        if len(waiting) == 1:
            return 0
        if self._ahead:
            self._ahead -= 1
            return 0
        self.happened = True
        return 1


def some_orders(run: Callable[[Choose], None], runs: int) -> None:
    """Call `run` with choices by chance, the same ones every time: for races with too many orders to try all."""
    for seed in range(runs):
        run(by_chance(seed))


_READS = frozenset({"get", "head", "versions", "list", "read"})
_OF_ONE_KEY = frozenset({"get", "head", "versions", "read", "put", "delete_if"})


def _independent(one: Waiting, two: Waiting) -> bool:
    """Tell whether two requests do the same in either order. What is not known to do so does not."""
    if {one.operation, two.operation} <= _READS:
        return True
    if {one.operation, two.operation} <= _OF_ONE_KEY:
        return one.key != two.key
    listing, other = (one, two) if one.operation == "list" else (two, one)
    return listing.operation == "list" and other.operation in _OF_ONE_KEY and not other.key.startswith(listing.key)


@dataclass
class _Node:
    """A choice: what waited, what is asleep since an equal order was run, and what was chosen so far."""

    waiting: tuple[Waiting, ...]
    asleep: frozenset[int] = frozenset()
    chosen: list[int] = field(default_factory=list)

    def next(self) -> int | None:
        """Return the number of the next action to choose, or None after the last."""
        return next((w.number for w in self.waiting if w.number not in self.asleep | set(self.chosen)), None)

    def below(self, waiting: tuple[Waiting, ...]) -> "_Node":
        """Return the choice that follows the last choice here."""
        return _Node(waiting, self._asleep_below())

    def _asleep_below(self) -> frozenset[int]:
        """Return what is asleep after the last choice: what could as well have been done before it."""
        requests = {waiting.number: waiting for waiting in self.waiting}
        now = requests[self.chosen[-1]]
        before = self.asleep | set(self.chosen[:-1])
        return frozenset(number for number in before if _independent(requests[number], now))


@dataclass
class _Bounded:
    """A choice: what waited, who went on last, how often anybody may still give way, and what was chosen so far.

    `meanwhile` has, of each action that began, what others have done since its last request.
    """

    switches: int
    waiting: tuple[Waiting, ...]
    last: int | None = None
    meanwhile: Mapping[int, tuple[Waiting, ...]] = field(default_factory=dict)
    chosen: list[int] = field(default_factory=list)

    def next(self) -> int | None:
        """Return the number of the next action to choose, or None after the last: first who went on last."""
        numbers = [waiting.number for waiting in self.waiting]
        if self.last in numbers:
            others = (each.number for each in self.waiting if self.switches and self._is_unlike(each))
            numbers = [self.last, *others]
        return next((number for number in numbers if number not in self.chosen), None)

    def _is_unlike(self, request: Waiting) -> bool:
        """Tell whether it matters that another action does this now: that it did not before it gave way."""
        if request.number == self.last:
            return False
        meanwhile = self.meanwhile.get(request.number)
        return meanwhile is None or not all(_independent(request, each) for each in meanwhile)

    def below(self, waiting: tuple[Waiting, ...]) -> "_Bounded":
        """Return the choice that follows the last choice here."""
        now = self.chosen[-1]
        gave_way = self.last is not None and now != self.last and self.last in {each.number for each in self.waiting}
        request = next(each for each in self.waiting if each.number == now)
        meanwhile = {number: (*done, request) for number, done in self.meanwhile.items()} | {now: ()}
        return _Bounded(self.switches - gave_way, waiting, now, meanwhile)


class _Walk:
    """A walk through the tree of choices, one way at a time."""

    def __init__(self, begin: Callable[[tuple[Waiting, ...]], "_Node | _Bounded"]) -> None:
        self._begin = begin
        self._nodes: list[_Node | _Bounded] = []
        self._depth = 0
        # Whether the way is unlike all before. One that turns out not to be is gone to its end, since it has begun.
        self.new = True

    def begin(self) -> None:
        """Begin another way: where the last one was left."""
        self._depth = 0
        self.new = True

    def __call__(self, waiting: Sequence[Waiting]) -> int:
        if not self.new:
            return 0
        if self._depth == len(self._nodes):
            make = self._nodes[-1].below if self._nodes else self._begin
            node = make(tuple(waiting))
            first = node.next()
            if first is None:
                self.new = False
                return 0
            node.chosen.append(first)
            self._nodes.append(node)
        node = self._nodes[self._depth]
        self._depth += 1
        return [w.number for w in waiting].index(node.chosen[-1])

    def advance(self) -> bool:
        """Go on to the next way; tell whether there is one."""
        while self._nodes:
            following = self._nodes[-1].next()
            if following is not None:
                self._nodes[-1].chosen.append(following)
                return True
            self._nodes.pop()
        return False
