"""The queue of jobs on AWS: SQS, from which Lambda feeds its workers.

Invariants:
* boto3 is imported at the first message.
* A message that cannot be sent is an OSError after a few seconds, and where it took that long the next ones are for a
  while at once: whoever started a job does not wait for a queue.
"""

import time
from functools import cached_property
from typing import TYPE_CHECKING

from chalicelib.store.queue import LONGEST_DELAY
from chalicelib.store.signing import Credentials

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

# As many as app.py lets Lambda run at once.
WORKERS = 10
_CONNECT_SECONDS, _READ_SECONDS, _ATTEMPTS = 2, 3, 2
_LONG_SECONDS, _REST_SECONDS = 1.0, 10.0


class SqsQueue:
    """A queue by its name; `endpoint` is "" for AWS, `credentials` None where boto3's own chain finds them."""

    def __init__(self, name: str, region: str, endpoint: str, credentials: Credentials | None) -> None:
        self.workers = WORKERS
        self._name, self._region, self._endpoint, self._credentials = name, region, endpoint, credentials
        self._rests_until = 0.0

    def send(self, task_id: int, delay: int = 0) -> None:
        """Have a worker look at a task, after up to `LONGEST_DELAY` seconds; raise OSError."""
        self.post(str(task_id), delay)

    def post(self, message: str, delay: int = 0) -> None:
        """Send any message, to be read after up to `LONGEST_DELAY` seconds; raise OSError."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - loaded with boto3, not before

        begun = time.monotonic()
        if begun < self._rests_until:
            raise OSError(f"the queue {self._name} took no message a moment ago")
        seconds = max(0, min(delay, LONGEST_DELAY))
        try:
            self._sqs.send_message(QueueUrl=self._url, MessageBody=message, DelaySeconds=seconds)
        except (BotoCoreError, ClientError) as error:
            ended = time.monotonic()
            self._rests_until = ended + _REST_SECONDS if ended - begun > _LONG_SECONDS else 0.0
            raise OSError(f"the queue {self._name} takes no message: {error}") from error

    @cached_property
    def _url(self) -> str:
        return self._sqs.get_queue_url(QueueName=self._name)["QueueUrl"]

    @cached_property
    def _sqs(self) -> "SQSClient":
        from botocore.config import Config  # noqa: PLC0415 - comes with boto3

        from chalicelib.store.client import session  # noqa: PLC0415 - boto3 takes half a second to import

        return session(self._region, self._credentials).client(
            "sqs",
            endpoint_url=self._endpoint or None,
            config=Config(
                connect_timeout=_CONNECT_SECONDS,
                read_timeout=_READ_SECONDS,
                retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
            ),
        )
