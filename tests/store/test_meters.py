"""What a process counts: nothing is lost, whoever counts at once, and what is remembered is found out once."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count
from threading import Barrier

from hypothesis import given
from hypothesis import strategies as st

from chalicelib.store.meters import BOUNDS, Operation, Remembered, RequestMeter
from tests.memory import Clock

PULL = Operation("GET", "v2_manifest")


def test_requests_of_many_threads_are_all_counted() -> None:
    meter = RequestMeter()

    def request(number: int) -> None:
        meter.begin()
        meter.answered(PULL, 200 if number % 2 else 404, 0.25, received=1, sent=2)
        meter.end()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(request, range(1000)))

    found = meter.read()
    assert found.under_way == 0
    assert found.answers == {(PULL, 200): 500, (PULL, 404): 500}
    assert (found.received, found.sent) == ({PULL: 1000}, {PULL: 2000})
    assert found.times[PULL].seconds == 250
    assert sum(found.times[PULL].counts) == 1000


def test_what_was_read_does_not_change_any_more() -> None:
    meter = RequestMeter()
    before = meter.read()

    meter.answered(PULL, 200, 0.1, received=0, sent=0)

    assert before.answers == {}


@given(st.lists(st.floats(min_value=0, max_value=1000)))
def test_each_time_is_below_its_bound_and_above_the_one_before(seconds: list[float]) -> None:
    meter = RequestMeter()
    for each in (0.0, *seconds):
        meter.answered(PULL, 200, each, received=0, sent=0)

    lower = (-1.0, *BOUNDS)
    upper = (*BOUNDS, float("inf"))
    assert meter.read().times[PULL].counts == tuple(
        sum(low < each <= high for each in (0.0, *seconds)) for low, high in zip(lower, upper, strict=True)
    )


def test_of_those_who_ask_at_once_one_finds_out() -> None:
    remembered, clock, found, together = Remembered[int](timedelta(seconds=5)), Clock(), count(), Barrier(4)

    def ask(_: int) -> int:
        together.wait(10)
        return remembered.get(clock(), lambda: next(found))

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(ask, range(4))) == [0] * 4
    assert next(found) == 1


def test_what_is_remembered_is_found_anew_after_its_time_or_where_the_clock_went_back() -> None:
    remembered, clock, found = Remembered[int](timedelta(seconds=5)), Clock(), iter(range(10))
    seen = []

    for step in (0, 4.9, 0.1, -1):
        clock.advance(timedelta(seconds=step))
        seen.append(remembered.get(clock(), lambda: next(found)))

    assert seen == [0, 0, 1, 2]


def test_a_failure_is_not_remembered() -> None:
    remembered, clock, turns = Remembered[int](timedelta(seconds=5)), Clock(), iter((OSError(), 3))

    def find() -> int:
        turn = next(turns)
        if isinstance(turn, OSError):
            raise turn
        return turn

    try:
        remembered.get(clock(), find)
    except OSError:
        assert remembered.get(clock(), find) == 3
