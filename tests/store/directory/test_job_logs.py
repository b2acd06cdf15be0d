"""The logs of tasks: what was written, in order; of one that is longer than an answer may be, its end."""

from hypothesis import example, given
from hypothesis import strategies as st

from chalicelib.store import job_logs
from chalicelib.store.directory import Directory
from chalicelib.store.sqlite import SqliteTable
from tests.memory import Clock
from tests.store.index.tables import CountingTable

TASK = 7


def counted() -> tuple[Directory, CountingTable]:
    clock = Clock()
    table = CountingTable(SqliteTable(":memory:", lambda: clock().timestamp()))
    return Directory(table, clock), table


@example(["ä" * 10, "b"], 21)
@example(["ä" * 10, "b"], 20)
@given(st.lists(st.text(min_size=1, max_size=8), max_size=6), st.integers(1, 40))
def test_of_a_log_that_is_too_long_the_last_pieces_are_read_and_it_says_so(pieces: list[str], most: int) -> None:
    directory, _ = counted()
    for piece in pieces:
        job_logs.append(directory, TASK, piece)
    job_logs.append(directory, TASK + 1, "another task's")

    fitting = next(
        pieces[start:]
        for start in range(len(pieces) + 1)
        if sum(len(each.encode()) for each in pieces[start:]) <= most
    )
    cut = len(fitting) < len(pieces)
    assert job_logs.read(directory, TASK, most) == job_logs.LEFT_OUT * cut + "".join(fitting)


def test_no_log_is_longer_than_a_lambda_function_may_answer_nor_all_of_it_read_for_that() -> None:
    directory, table = counted()
    for _ in range(200):
        job_logs.append(directory, TASK, "x" * (job_logs.LONGEST_PIECE - 1) + "\n")
    job_logs.append(directory, TASK, "done\n")
    before = table.brought

    found = job_logs.read(directory, TASK)

    # A body is base64 in the function's answer, which has at most 6 MiB with its headers.
    assert 3_900_000 < len(found) < 6 * 2**20 * 3 / 4 - 10_000
    assert found.startswith(job_logs.LEFT_OUT)
    assert found.endswith("x\ndone\n")
    assert table.brought - before < 150
