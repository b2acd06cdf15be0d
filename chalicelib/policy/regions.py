"""Regions of one registry: what a region can be, and when it takes writes.

Invariants:
* A region is the primary, a copy of it (`REPLICA`), or a primary in whose place another one was promoted (`FENCED`):
  that one serves pulls as a copy does, until it is brought back.
* Each promotion has a greater epoch than all before. A region takes writes where its own bucket and the table's fence
  name it under one epoch; where no promotion ever was, there is no fence.
* After a promotion nothing is written for `OPENS`: longer than anybody believes an older answer, and clocks differ.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import Enum, StrEnum
from typing import Any

OPENS = timedelta(seconds=15)
# For how long what was read of a state, or of the fence, is believed.
BELIEVED = timedelta(seconds=3)


class Role(StrEnum):
    """What a region is."""

    PRIMARY = "primary"
    REPLICA = "replica"
    FENCED = "fenced"


@dataclass(frozen=True, slots=True)
class State:
    """What a region is since `since` (RFC 3339, "" for ever), under which epoch, and which region is the primary.

    `whole` says that it never was a copy: all that is linked in its bucket is there.
    """

    role: Role
    epoch: int
    primary: str
    since: str = ""
    whole: bool = False

    def document(self) -> dict[str, Any]:
        """Return what is stored; `parse` is the way back."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Fence:
    """The last promotion that a table knows of."""

    epoch: int
    primary: str


class Standing(Enum):
    """Whether a region takes writes, or why not."""

    OPEN = "takes writes"
    OPENING = "was just promoted"
    COPY = "is a copy"
    FENCED = "another region was promoted"
    UNKNOWN = "the table knows nothing of its promotion"


def parse(document: Mapping[str, Any]) -> State:
    """Return the state that a document is; raise ValueError, KeyError or TypeError where it is none."""
    return State(**{**document, "role": Role(document["role"])})


def beginning(name: str, *, replica: bool) -> State:
    """Return what a region of this name is before anybody says otherwise."""
    if replica:
        return State(Role.REPLICA, 1, "")
    return State(Role.PRIMARY, 1, name, whole=True)


def standing(state: State, fence: Fence | None, name: str, now: datetime) -> Standing:
    """Return whether a region takes writes now."""
    if state.role is not Role.PRIMARY:
        return Standing.FENCED if state.role is Role.FENCED else Standing.COPY
    if fence and fence.epoch >= state.epoch and fence.primary != name:
        return Standing.FENCED
    if (fence or Fence(1, name)) != Fence(state.epoch, name):
        return Standing.UNKNOWN
    if state.since and now < datetime.fromisoformat(state.since) + OPENS:
        return Standing.OPENING
    return Standing.OPEN


def promotion(state: State, fence: Fence | None, name: str) -> Fence:
    """Return the fence of a promotion of this region; that of one which was begun and not ended stays."""
    if fence and fence.primary == name and fence.epoch > state.epoch:
        return fence
    return Fence(max(state.epoch, fence.epoch if fence else 0) + 1, name)


def promoted(fence: Fence, moment: datetime) -> State:
    """Return what a region is that was promoted."""
    return State(Role.PRIMARY, fence.epoch, fence.primary, moment.isoformat())


def behind(fence: Fence, role: Role, moment: datetime) -> State:
    """Return what a region is once another one was promoted: fenced, or a copy of that."""
    return State(role, fence.epoch, fence.primary, moment.isoformat())


def demoted(state: State, moment: datetime) -> State:
    """Return what a primary is that makes room for another one."""
    return State(Role.REPLICA, state.epoch, "", moment.isoformat())
