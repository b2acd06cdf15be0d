"""Pulls that are not in the index and the audit log yet: in memory, so that a pull waits for nothing.

Invariants:
* Remembering a pull is an addition; counts of a process that ends suddenly are lost.
* What is remembered is bounded: of more, only what is pulled already is counted on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import NamedTuple

from chalicelib.oci.names import Repository

MOST_REMEMBERED = 10_000


class Pulled(NamedTuple):
    """What was pulled: a digest, by a tag or "" by itself; and by whom, "" for anonymous."""

    repository: Repository
    digest: str
    tag: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class Pulls:
    """How often, when last, and when first where that is another moment."""

    count: int
    last: datetime
    first: datetime | None = None

    @property
    def began(self) -> datetime:
        """Return when the first was."""
        return self.first or self.last


class PullCounter:
    """Pulls that were not told of yet; for any number of threads."""

    def __init__(self, most: int = MOST_REMEMBERED) -> None:
        self._most = most
        self._lock = Lock()
        self._pulls: dict[Pulled, Pulls] = {}

    def count(self, pulled: Pulled, now: datetime) -> None:
        """Remember a pull."""
        with self._lock:
            before = self._pulls.get(pulled)
            if before or len(self._pulls) < self._most:
                self._pulls[pulled] = Pulls(before.count + 1, now, before.began) if before else Pulls(1, now)

    def put_back(self, taken: Mapping[Pulled, Pulls]) -> None:
        """Remember again what could not be told."""
        with self._lock:
            for pulled, told in taken.items():
                since = self._pulls.get(pulled)
                if since:
                    self._pulls[pulled] = Pulls(told.count + since.count, since.last, told.began)
                elif len(self._pulls) < self._most:
                    self._pulls[pulled] = told

    def take(self) -> Mapping[Pulled, Pulls]:
        """Return what was remembered, and begin anew."""
        with self._lock:
            taken, self._pulls = self._pulls, {}
            return taken
