"""Orders that are left out of a race show nothing that those that are run do not show."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.memory import Clock, MemoryObjects
from tests.store.schedule import Action, Choose, Waiting, every_order, every_order_with, interleave

KEYS = ("a", "a/b", "b")


class Request(NamedTuple):
    """A request of a program that does the same ones whatever they bring."""

    operation: str
    key: str


Program = tuple[Request, ...]
programs = st.lists(
    st.builds(Request, st.sampled_from(["get", "put", "list", "delete"]), st.sampled_from(KEYS)),
    min_size=1,
    max_size=3,
).map(tuple)
Outcome = tuple[object, ...]


def outcome(several: Sequence[Program], choose: Choose) -> Outcome:
    """Run programs together; return what each saw, and what is in the bucket afterwards."""
    bucket = MemoryObjects(Clock())
    bucket.put("a/b", b"before")
    ways = [bucket.beside() for _ in several]
    seen = interleave(
        [
            Action(way, partial(_do, way, number, each))
            for number, (way, each) in enumerate(zip(ways, several, strict=True))
        ],
        choose,
    )
    return (*seen, *(_content(bucket, key) for key in KEYS))


def _do(way: MemoryObjects, number: int, program: Program) -> tuple[object, ...]:
    return tuple(_one(way, b"%d.%d" % (number, place), each) for place, each in enumerate(program))


def _one(way: MemoryObjects, content: bytes, request: Request) -> object:
    match request.operation:
        case "get":
            return _content(way, request.key)
        case "put":
            way.put(request.key, content)
        case "delete":
            way.delete(request.key)
        case "list":
            return tuple(entry.key for entry in way.list(request.key).entries)
    return None


def _content(way: MemoryObjects, key: str) -> bytes | None:
    found = way.get(key)
    return found.content if found else None


def merged(left: Sequence[int], last: int = -1) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Yield all orders of so many requests of each action, with the number of times that one gave way."""
    if not any(left):
        yield 0, ()
    for number in (each for each, rest in enumerate(left) if rest):
        rest = [amount - (each == number) for each, amount in enumerate(left)]
        gave_way = last not in (-1, number) and left[last] > 0
        for switches, order in merged(rest, number):
            yield switches + gave_way, (number, *order)


def following(order: Sequence[int]) -> Choose:
    """Return choices that follow an order."""
    left = iter(order)

    def choose(waiting: Sequence[Waiting]) -> int:
        return [each.number for each in waiting].index(next(left))

    return choose


def shown(several: Sequence[Program], walk: Callable[[Callable[[Choose], None]], int]) -> set[Outcome]:
    found = set[Outcome]()
    walk(lambda choose: found.add(outcome(several, choose)))
    return found


@settings(max_examples=60, deadline=None)
@given(st.lists(programs, min_size=2, max_size=3), st.integers(0, 2))
def test_what_few_switches_can_show_is_shown(several: list[Program], switches: int) -> None:
    orders = [order for gave_way, order in merged([len(each) for each in several]) if gave_way <= switches]

    assert shown(several, partial(every_order_with, switches)) == {
        outcome(several, following(order)) for order in orders
    }


@settings(max_examples=30, deadline=None)
@given(st.lists(programs, min_size=2, max_size=2))
def test_what_any_order_can_show_is_shown(several: list[Program]) -> None:
    orders = [order for _, order in merged([len(each) for each in several])]

    assert shown(several, every_order) == {outcome(several, following(order)) for order in orders}
