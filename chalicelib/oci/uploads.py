"""Blob uploads as a protocol: states, ranges and parts, without any I/O.

Invariants:
* What an upload may do next is the table `TRANSITIONS`; whatever is not in it ends in BLOB_UPLOAD_UNKNOWN.
* Chunks are contiguous from 0. A chunk that does not begin where the last one ended is refused with status 416
  and the range that was received.
* Part sizes grow with the part number, so that 10 000 parts reach `LARGEST_BLOB` while small layers need little
  memory.

Specification: OCI Distribution 1.1, "Pushing blobs" (end-4 to end-6, end-13, end-14); limits: S3 multipart uploads.
"""

import re
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

from chalicelib.oci.errors import ErrorCode, RegistryError


class State(Enum):
    """Where an upload session stands."""

    OPEN = "open"
    RECEIVING = "receiving"
    DONE = "done"
    CANCELLED = "cancelled"


class Event(Enum):
    """What a client does to an upload session."""

    STATUS = "GET"
    CHUNK = "PATCH"
    FINISH = "PUT"
    CANCEL = "DELETE"


# fmt: off
TRANSITIONS: Mapping[tuple[State, Event], State] = MappingProxyType({
    (State.OPEN,      Event.STATUS): State.OPEN,
    (State.OPEN,      Event.CHUNK):  State.RECEIVING,
    (State.OPEN,      Event.FINISH): State.DONE,
    (State.OPEN,      Event.CANCEL): State.CANCELLED,
    (State.RECEIVING, Event.STATUS): State.RECEIVING,
    (State.RECEIVING, Event.CHUNK):  State.RECEIVING,
    (State.RECEIVING, Event.FINISH): State.DONE,
    (State.RECEIVING, Event.CANCEL): State.CANCELLED,
    # The answer to the first PUT may have been lost; the client repeats it and must get the same answer.
    (State.DONE,      Event.FINISH): State.DONE,
})
# fmt: on


def step(state: State, event: Event) -> State:
    """Return the state after `event`; raise BLOB_UPLOAD_UNKNOWN where the session is over."""
    after = TRANSITIONS.get((state, event))
    if after is None:
        raise RegistryError(ErrorCode.BLOB_UPLOAD_UNKNOWN)
    return after


# The first chunk's range MUST begin with 0. It MUST match ^[0-9]+-[0-9]+$
_RANGE = re.compile(r"([0-9]{1,18})-([0-9]{1,18})", re.ASCII)


def check_chunk(received: int, content_range: str, length: int | None, headers: Mapping[str, str]) -> int | None:
    """Return how many bytes the chunk must have (None: not stated); raise where it cannot follow.

    `received` bytes are there already; `content_range` is the header or "", `length` the Content-Length or None.
    `headers` tell the client where the upload stands; they go with a refusal of status 416.
    """
    if not content_range:
        return length
    match = _RANGE.fullmatch(content_range.removeprefix("bytes "))
    if not match:
        raise RegistryError(ErrorCode.BLOB_UPLOAD_INVALID, "Content-Range looks like 0-1023: first and last byte")
    first, last = int(match[1]), int(match[2])
    if first != received or last < first:
        raise RegistryError(
            ErrorCode.BLOB_UPLOAD_INVALID, f"the next chunk begins at byte {received}", status=416, headers=headers
        )
    stated = last - first + 1
    if length is not None and length != stated:
        raise RegistryError(ErrorCode.SIZE_INVALID, f"Content-Range means {stated} bytes, Content-Length {length}")
    return stated


def received_range(received: int) -> str:
    """Return the `Range` header of an upload; nothing received is `0-0`, which all known clients expect."""
    return f"0-{max(received - 1, 0)}"


MiB = 1 << 20
MIN_PART = 5 * MiB
MAX_PARTS = 10_000
FIRST_PART = 16 * MiB
MAX_PART = 5 * 1024 * MiB
_STEADY_PARTS = 500
_DOUBLING_EVERY = 50


def part_size(number: int) -> int:
    """Return the bytes of part `number` (from 1): 16 MiB up to part 500, then doubling every 50 to 5 GiB.

    An upload of unknown length thus reaches `LARGEST_BLOB`; layers below 8 GB never leave memory.
    """
    if number <= _STEADY_PARTS:
        return FIRST_PART
    doublings = (number - 1 - _STEADY_PARTS) // _DOUBLING_EVERY + 1
    return min(FIRST_PART << min(doublings, _DOUBLINGS), MAX_PART)


# From 16 MiB, nine doublings pass 5 GiB.
_DOUBLINGS = 9
_GROWING = sum(_DOUBLING_EVERY * min(FIRST_PART << n, MAX_PART) for n in range(1, _DOUBLINGS))
LARGEST_BLOB = (
    _STEADY_PARTS * FIRST_PART
    + _GROWING
    + (MAX_PARTS - _STEADY_PARTS - _DOUBLING_EVERY * (_DOUBLINGS - 1)) * MAX_PART
)
