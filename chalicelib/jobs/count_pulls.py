"""Counts the pulls of functions and tells the audit log: their log lines come here, so that no pull waits for that.

Invariants:
* The lines of one repository in one delivery are counted once: a mark of theirs is written first. A delivery that
  fails is repeated by Lambda, and goes on with the repositories that it did not reach.
* A line that is none of ours is passed over. What a delivery can make this do is bounded, however it unpacks.
* The time of a pull is the log's, but never in the future.

Specification: CloudWatch Logs' subscription events for Lambda (base64 of gzip of JSON).
"""

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from chalicelib.jobs import pulled
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import RegistryError
from chalicelib.oci.names import Repository, Tag
from chalicelib.policy.audit import LONGEST_NAME
from chalicelib.services import Services
from chalicelib.store.pulls import PullCounter, Pulled
from chalicelib.store.table import ABSENT, Delete, Key, Put, RefusedError

MOST_BYTES = 32 << 20
# A delivery is repeated within hours; after that nobody asks for its mark.
_MARK_SECONDS = 2 * 24 * 3600
_MARKS = "jobs/count_pulls"
_GZIP = 16 + zlib.MAX_WBITS
_DATA = "DATA_MESSAGE"


@dataclass(frozen=True, slots=True)
class Pull:
    """A pull that a log line tells of, and the line's own id."""

    id: str
    pulled: Pulled
    moment: datetime


def run(services: Services, event: Mapping[str, Any]) -> int:
    """Count the pulls in a delivery of log lines and return how many they were; raise OSError or BusyError."""
    counted = 0
    for group in _by_repository(read(event)).values():
        counted += _count_once(services, group)
    return counted


def read(event: Mapping[str, Any]) -> Iterator[Pull]:
    """Yield the pulls in a delivery, in the order of its lines; raise ValueError where it is none."""
    delivered = json.loads(_unpacked(event["awslogs"]["data"]))
    if delivered["messageType"] != _DATA:
        return
    for line in delivered["logEvents"]:
        with suppress(ValueError, KeyError, TypeError, AttributeError, OverflowError, RegistryError):
            yield _pull(line)


def _unpacked(data: str) -> bytes:
    try:
        unpacking = zlib.decompressobj(_GZIP)
        content = unpacking.decompress(base64.b64decode(data), MOST_BYTES)
    except zlib.error as error:
        raise ValueError("the log lines are not packed as CloudWatch packs them") from error
    if not unpacking.eof:
        raise ValueError(f"the log lines are not whole, or more than {MOST_BYTES} bytes")
    return content


def _pull(line: Mapping[str, Any]) -> Pull:
    told = json.loads(line["message"])
    tag = told.get("tag", "")
    found = Pulled(
        Repository.parse(told["repository"]),
        str(Digest.parse(told["pulled"])),
        Tag.parse(tag).name if tag else "",
        told.get("by", "").encode(errors="replace").decode()[:LONGEST_NAME],
    )
    return Pull(line["id"], found, datetime.fromtimestamp(line["timestamp"] / 1000, UTC))


def _by_repository(found: Iterable[Pull]) -> Mapping[Repository, list[Pull]]:
    groups: dict[Repository, list[Pull]] = {}
    for pull in found:
        groups.setdefault(pull.pulled.repository, []).append(pull)
    return groups


def _count_once(services: Services, group: list[Pull]) -> int:
    """Count the pulls of one repository, unless that was done for these very lines; return how many they were."""
    mark = Key(_MARKS, _name(group))
    now = services.now()
    try:
        expires = int((now + timedelta(seconds=_MARK_SECONDS)).timestamp())
        services.index.table.commit(Put(mark, {}, ABSENT, "these lines are counted already", expires))
    except RefusedError:
        return 0
    counter = PullCounter()
    for pull in sorted(group, key=lambda pull: pull.moment):
        counter.count(pull.pulled, min(pull.moment, now))
    try:
        pulled.tell(services, counter.take(), mark.sort)
    except Exception:
        # The next delivery may try; what was written of it already counts twice then.
        services.index.table.commit(Delete(mark))
        raise
    return len(group)


def _name(group: Iterable[Pull]) -> str:
    """Return a name of these lines: CloudWatch gives each an id of its own, and keeps it in a repetition."""
    return hashlib.sha256("\n".join(sorted(pull.id for pull in group)).encode()).hexdigest()
