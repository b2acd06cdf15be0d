"""What a service can do instead of answering: the faults of a proxy, and in which words AWS fails."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from tests.engines.ledger import Exchange

SLOW_SECONDS = 0.5


class Fault(Enum):
    """A way to fail; the value is what the table in docs/operations.md calls it."""

    SLOW = "is slow"
    BROKEN = "answers 500"
    BUSY = "answers 503"
    SILENT = "does not answer"
    RESET = "breaks the connection"
    WRONG = "answers with wrong data"


# Which fault a request meets; it is asked once for each.
Choose = Callable[[Exchange], Fault | None]


class Words(NamedTuple):
    """An answer that is an error."""

    status: int
    content_type: str
    content: bytes


_XML = "<?xml version='1.0' encoding='UTF-8'?><Error><Code>{0}</Code><Message>{0}</Message></Error>"
_WORDS = {
    ("S3", Fault.BROKEN): (500, "InternalError"),
    ("S3", Fault.BUSY): (503, "SlowDown"),
    ("DynamoDB", Fault.BROKEN): (500, "com.amazonaws.dynamodb.v20120810#InternalServerError"),
    ("DynamoDB", Fault.BUSY): (400, "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"),
    ("SQS", Fault.BROKEN): (500, "com.amazonaws.sqs#InternalError"),
    ("SQS", Fault.BUSY): (403, "com.amazonaws.sqs#RequestThrottled"),
}


def words(service: str, fault: Fault) -> Words:
    """Return what a service says when it fails so."""
    status, code = _WORDS[service, fault]
    if service == "S3":
        return Words(status, "application/xml", _XML.format(code).encode())
    return Words(status, "application/x-amz-json-1.0", b'{"__type": "%b", "message": "no"}' % code.encode())


def wrong(content: bytes) -> bytes:
    """Return other bytes of the same length."""
    return bytes(byte ^ 0x55 for byte in content)
