"""Upload sessions: the transition table, ranges and parts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.uploads import (
    FIRST_PART,
    LARGEST_BLOB,
    MAX_PART,
    MAX_PARTS,
    MIN_PART,
    Event,
    State,
    check_chunk,
    part_size,
    received_range,
    step,
)

WHERE = {"Range": "0-9"}

# fmt: off
GOLDEN = """
            STATUS      CHUNK       FINISH      CANCEL
OPEN        OPEN        RECEIVING   DONE        CANCELLED
RECEIVING   RECEIVING   RECEIVING   DONE        CANCELLED
DONE        -           -           DONE        -
CANCELLED   -           -           -           -
"""
# fmt: on


def _after(state: State, event: Event) -> str:
    try:
        return step(state, event).name
    except RegistryError as error:
        return "-" if error.code is ErrorCode.BLOB_UPLOAD_UNKNOWN else error.code.name


def test_the_transition_table() -> None:
    header = " " * 12 + "".join(f"{event.name:<12}" for event in Event)
    rows = [f"{state.name:<12}" + "".join(f"{_after(state, event):<12}" for event in Event) for state in State]

    assert [row.rstrip() for row in (header, *rows)] == GOLDEN.strip("\n").splitlines()


@pytest.mark.parametrize(
    ("received", "content_range", "length", "stated"),
    [(0, "", None, None), (0, "", 7, 7), (10, "10-19", None, 10), (10, "10-19", 10, 10), (0, "bytes 0-0", 1, 1)],
)
def test_a_chunk_that_follows_is_taken(received: int, content_range: str, length: int | None, stated: int) -> None:
    assert check_chunk(received, content_range, length, WHERE) == stated


@pytest.mark.parametrize("content_range", ["0-9", "11-20", "9-9", "10-9"])
def test_a_chunk_out_of_order_is_416_and_says_where_to_go_on(content_range: str) -> None:
    with pytest.raises(RegistryError, match="begins at byte 10") as refused:
        check_chunk(10, content_range, None, WHERE)

    assert (refused.value.status, refused.value.headers) == (416, WHERE)


@pytest.mark.parametrize("content_range", ["10", "-", "a-b", "10-", "10-19/20", "0x1-2", "1" * 30 + "-2", "10–19"])
def test_a_range_that_is_none_is_400(content_range: str) -> None:
    with pytest.raises(RegistryError, match="Content-Range looks like") as refused:
        check_chunk(10, content_range, None, WHERE)

    assert refused.value.status == 400


def test_a_range_and_a_length_that_disagree_are_refused() -> None:
    with pytest.raises(RegistryError, match="SIZE_INVALID"):
        check_chunk(0, "0-9", 11, WHERE)


@pytest.mark.parametrize(("received", "text"), [(0, "0-0"), (1, "0-0"), (2, "0-1"), (1024, "0-1023")])
def test_the_range_names_the_last_byte(received: int, text: str) -> None:
    assert received_range(received) == text


@given(st.integers(1, MAX_PARTS - 1))
def test_parts_are_of_sizes_that_s3_takes_and_never_shrink(number: int) -> None:
    assert MIN_PART <= part_size(number) <= part_size(number + 1) <= MAX_PART


def test_ten_thousand_parts_reach_the_largest_blob_and_small_layers_stay_in_memory() -> None:
    assert sum(part_size(number) for number in range(1, MAX_PARTS + 1)) == LARGEST_BLOB
    assert LARGEST_BLOB > 44 * 2**40
    assert all(part_size(number) == FIRST_PART for number in range(1, 501))
