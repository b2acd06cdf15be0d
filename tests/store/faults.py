"""Faults at one S3 request of an operation: the end of the process, S3 out of reach, an answer lost and repeated.

`every_fault` runs a scenario with each kind of fault at its first request, its second, and so on to its last. Of
faults that nothing can tell from each other it runs one.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from itertools import count

from chalicelib.oci.errors import ErrorCode, RegistryError
from tests.memory import MemoryObjects


class Kind(Enum):
    """What goes wrong; the process lives on after the last three."""

    KILLED_BEFORE = "the process ends before the request"
    KILLED_AFTER = "the process ends after the request"
    FAILED_BEFORE = "S3 does not take the request"
    FAILED_AFTER = "S3 takes the request, and its answer never arrives"
    REPEATED = "S3's answer is lost and the request is repeated"


class KilledError(BaseException):
    """The process is no more: nothing catches this but the test."""


class Fault:
    """A fault at the request of this number, from 1."""

    def __init__(self, kind: Kind, number: int) -> None:
        self.kind = kind
        self.number = number
        self.struck = False
        # What was asked for where it happened.
        self.operation = ""
        self._seen = 0

    def __str__(self) -> str:
        return f"request {self.number}: {self.kind.value}"

    @contextmanager
    def on(self, objects: MemoryObjects) -> Iterator[None]:
        """Let it happen on this way to the bucket; a process that was killed never does a request again."""
        objects.before, objects.after, objects.repeat = self._before, self._after, self._repeat
        try:
            yield
        except KilledError:
            return

    def _before(self, operation: str, key: str) -> None:
        self._seen += 1
        if self._seen == self.number:
            self.operation = operation
        killed = self.kind in (Kind.KILLED_BEFORE, Kind.KILLED_AFTER)
        if killed and self.struck:
            raise KilledError(operation, key)
        if self.kind in (Kind.KILLED_BEFORE, Kind.FAILED_BEFORE) and self._here():
            raise KilledError(operation, key) if killed else _unavailable()

    def _after(self, operation: str, key: str) -> None:
        if self.kind is Kind.KILLED_AFTER and self._here():
            raise KilledError(operation, key)
        if self.kind is Kind.FAILED_AFTER and self._here():
            raise _unavailable()

    def _repeat(self, operation: str, key: str) -> bool:  # noqa: ARG002 - a rule has these parameters
        return self.kind is Kind.REPEATED and self._here()

    def _here(self) -> bool:
        here = self._seen == self.number
        self.struck |= here
        return here


def _unavailable() -> RegistryError:
    return RegistryError(ErrorCode.UNAVAILABLE, headers={"Retry-After": "5"})


def every_fault(scenario: Callable[[Fault], None]) -> int:
    """Call `scenario` with each fault that it can have; return how many there were.

    A request that only reads leaves S3 as it was: whether the process ends before or after it, or its answer is lost,
    is the same, and so is what its repetition brings.
    """
    operations = tuple(_operations(scenario))
    faults = len(operations)
    for kind in (kind for kind in Kind if kind is not Kind.KILLED_BEFORE):
        for number, operation in enumerate(operations, 1):
            fault = Fault(kind, number)
            like_another = kind in _LIKE_BEFORE and operation in _READS
            if not like_another:
                scenario(fault)
            # Nothing comes after a request that S3 refuses.
            faults += fault.struck or like_another
    return faults


def _operations(scenario: Callable[[Fault], None]) -> Iterator[str]:
    """Let the process end before each request; yield what those are."""
    for number in count(1):
        fault = Fault(Kind.KILLED_BEFORE, number)
        scenario(fault)
        if not fault.struck:
            return
        yield fault.operation


_READS = frozenset({"get", "head", "versions", "list"})
_LIKE_BEFORE = frozenset({Kind.KILLED_AFTER, Kind.FAILED_AFTER, Kind.REPEATED})
