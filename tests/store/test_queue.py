"""What wakes workers: the queue of one process, and SQS."""

from collections.abc import Iterator
from threading import Thread

import pytest

from chalicelib.config import Settings
from chalicelib.services import build
from chalicelib.store.queue import LONGEST_DELAY, MemoryQueue
from chalicelib.store.sqs import SqsQueue
from tests.engines.engine import Engine, client
from tests.engines.ministack import ministack
from tests.engines.moto_server import moto


def test_a_task_is_taken_once_at_its_earliest_time() -> None:
    queue = MemoryQueue()
    for delay in (60, 0, 5):
        queue.send(7, delay)
    queue.send(8, 60)

    assert queue.take(0) == 7
    assert queue.take(0) is None


def test_a_task_may_be_sent_again_once_it_was_taken() -> None:
    queue = MemoryQueue()
    for _ in range(2):
        queue.send(7)
        assert queue.take(0) == 7


def test_one_that_waits_is_woken_by_what_is_sent() -> None:
    queue, taken = MemoryQueue(), list[int | None]()
    waiting = Thread(target=lambda: taken.append(queue.take(30)))
    waiting.start()
    queue.send(7)
    waiting.join(10)

    assert taken == [7]


def test_who_waits_in_vain_comes_back() -> None:
    queue = MemoryQueue()
    queue.send(7, 60)

    # Had it waited for what was sent, it would have that.
    assert queue.take(0.01) is None


@pytest.fixture(scope="module", params=[moto, pytest.param(ministack, marks=pytest.mark.engines)])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with request.param() as running:
        yield running


def variables(engine: Engine, name: str) -> dict[str, str]:
    return {
        "AWS_REGION": engine.region,
        "AWS_ENDPOINT_URL": engine.endpoint,
        "AWS_ACCESS_KEY_ID": engine.access_key,
        "AWS_SECRET_ACCESS_KEY": engine.secret_key,
        "ROADSTEAD_SIGNING_KEY": "5e" * 32,
        "ROADSTEAD_QUEUE": name,
    }


def test_a_message_on_sqs_is_the_task_s_id(engine: Engine) -> None:
    sqs = client(engine, "sqs")
    url = sqs.create_queue(QueueName="jobs")["QueueUrl"]
    queue = build(Settings.from_env(variables(engine, "jobs"))).directory.queue
    assert isinstance(queue, SqsQueue)

    queue.send(7)
    queue.send(8, delay=LONGEST_DELAY + 1)

    received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1)["Messages"]
    assert [message["Body"] for message in received] == ["7"]
    sqs.close()


def test_a_queue_that_is_not_there_is_an_error_of_the_outside(engine: Engine) -> None:
    queue = build(Settings.from_env(variables(engine, "none"))).directory.queue

    with pytest.raises(OSError, match="the queue none"):
        queue.send(7)
