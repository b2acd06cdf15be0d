"""Counting pulls: in memory while they happen, in the index now and then, beside the path of a pull.

Invariants:
* A pull costs its request an addition in memory and never waits for the database; counts of a process that ends
  suddenly are lost.
* What is remembered between two flushes is bounded: of more, only what is pulled already is counted on.
* The time of the last pull only moves on, whichever process is late.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from threading import Lock

from chalicelib.oci.names import Repository
from chalicelib.store.index import Index, artifacts, repositories
from chalicelib.store.index.repositories import RepositoryRecord
from chalicelib.store.table import Add, BusyError, If, Key, RefusedError

MOST_REMEMBERED = 10_000
_PULLED = "pulled"
_LATER = "somebody else wrote a later pull"


@dataclass(frozen=True, slots=True)
class Pulled:
    """What was pulled: a digest, by a tag or "" by itself."""

    repository: Repository
    digest: str
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Pulls:
    """How often, and when last."""

    count: int
    last: datetime


class PullCounter:
    """Pulls that are not in the index yet; for any number of threads."""

    def __init__(self, most: int = MOST_REMEMBERED) -> None:
        self._most = most
        self._lock = Lock()
        self._pulls: dict[Pulled, Pulls] = {}

    def count(self, pulled: Pulled, now: datetime) -> None:
        """Remember a pull."""
        with self._lock:
            before = self._pulls.get(pulled)
            if before or len(self._pulls) < self._most:
                self._pulls[pulled] = Pulls(before.count + 1 if before else 1, now)

    def take(self) -> Mapping[Pulled, Pulls]:
        """Return what was remembered, and begin anew."""
        with self._lock:
            taken, self._pulls = self._pulls, {}
            return taken


def flush(index: Index, pulls: Mapping[Pulled, Pulls], project_id: Callable[[Repository], int | None]) -> None:
    """Write pulls into the index: a repository's number, an artifact's and a tag's time. What is gone is left out.

    `project_id` tells which project a repository is in now, None where that is gone. Raise OSError.
    """
    groups: dict[Repository, list[Pulled]] = {}
    for pulled in pulls:
        groups.setdefault(pulled.repository, []).append(pulled)
    for repository, group in groups.items():
        number = project_id(repository)
        home = repositories.find(index, number, repository) if number is not None else None
        if home:
            repositories.pulled(index, home, sum(pulls[pulled].count for pulled in group))
            _note_times(index, _latest(home, ((pulled, pulls[pulled].last) for pulled in group)))


def _latest(home: RepositoryRecord, group: Iterable[tuple[Pulled, datetime]]) -> Mapping[Key, int]:
    times: dict[Key, int] = {}
    for pulled, last in group:
        keys = [artifacts.key(home, pulled.digest)]
        if pulled.tag:
            keys.append(artifacts.tagged_key(home, pulled.digest, pulled.tag))
        for key in keys:
            times[key] = max(times.get(key, 0), artifacts.seconds(last))
    return times


def _note_times(index: Index, times: Mapping[Key, int]) -> None:
    for key, record in index.table.get_many(times).items():
        before = record.counters.get(_PULLED, 0)
        if before >= times[key]:
            continue
        # A compare-and-set: two processes that both added their difference would end in the future.
        same = If(exists=True, at_most={_PULLED: before}, at_least={_PULLED: before})
        with suppress(RefusedError, BusyError):
            index.table.commit(Add(key, {_PULLED: times[key] - before}, same, _LATER))
