"""The states of jobs: the whole table as a golden text, and what follows from it."""

from hypothesis import given
from hypothesis import strategies as st

from chalicelib.policy.jobs import ACTIVE, MOST_TRIES, TRANSITIONS, Event, Status, after, pause, together

GOLDEN = """\
           take     save     wait       fail       give_up  stop     finish   retry
Pending    Running  -        -          -          -        Stopped  -        -
Scheduled  Running  -        -          -          -        Stopped  -        -
Running    Running  Running  Scheduled  Scheduled  Error    Stopped  Success  -
Stopped    -        -        -          -          -        -        -        -
Error      -        -        -          -          -        -        -        Pending
Success    -        -        -          -          -        -        -        -
"""


def test_what_becomes_of_a_task_is_what_the_table_says() -> None:
    rows = [["", *(event.name.lower() for event in Event)]]
    rows += [[status, *(after(status, event) or "-" for event in Event)] for status in Status]
    widths = [max(map(len, column)) + 2 for column in zip(*rows, strict=True)]
    text = "".join(
        "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n" for row in rows
    )

    assert text == GOLDEN


def test_active_is_what_can_still_be_stopped() -> None:
    assert {status for status in Status if after(status, Event.STOP)} == ACTIVE


def test_every_state_is_reached() -> None:
    reached = {Status.PENDING} | {status for row in TRANSITIONS.values() for status in row.values()}

    assert reached == set(Status)


@given(st.dictionaries(st.sampled_from(Status), st.integers(0, 3)))
def test_an_execution_runs_until_its_last_task_has_ended_and_fails_with_any(numbers: dict[Status, int]) -> None:
    present = {status for status, number in numbers.items() if number}
    status = together(numbers)

    assert status not in ACTIVE - {Status.RUNNING}
    assert (status is Status.RUNNING) == bool(present & ACTIVE)
    assert status is not Status.SUCCESS or present <= {Status.SUCCESS}
    assert status is Status.ERROR or Status.ERROR not in present or present & ACTIVE


def test_each_failure_is_followed_by_a_longer_rest_up_to_a_quarter_of_an_hour() -> None:
    assert [pause(failures) for failures in range(1, MOST_TRIES + 1)] == [10, 30, 90, 270, 810, 900]
