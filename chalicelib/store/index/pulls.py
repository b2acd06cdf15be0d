"""Writing into the index what `store.pulls` remembered, now and then, beside the path of a pull.

Invariant: the time of the last pull only moves on, whichever process is late.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime

from chalicelib.oci.names import Repository
from chalicelib.store.index import Index, artifacts, repositories
from chalicelib.store.index.repositories import RepositoryRecord
from chalicelib.store.pulls import Pulled, Pulls
from chalicelib.store.table import Add, BusyError, If, Key, RefusedError

_PULLED = "pulled"
_LATER = "somebody else wrote a later pull"


def flush(
    index: Index,
    pulls: Mapping[Pulled, Pulls],
    project_id: Callable[[Repository], int | None],
    *,
    numbers: bool = True,
    times: bool = True,
) -> None:
    """Write pulls into the index: a repository's number, an artifact's and a tag's time. What is gone is left out.

    `project_id` tells which project a repository is in now, None where that is gone. Raise OSError.
    """
    if not (numbers or times):
        return
    groups: dict[Repository, list[Pulled]] = {}
    for pulled in pulls:
        groups.setdefault(pulled.repository, []).append(pulled)
    for repository, group in groups.items():
        number = project_id(repository)
        home = repositories.find(index, number, repository) if number is not None else None
        if home:
            if numbers:
                repositories.pulled(index, home, sum(pulls[pulled].count for pulled in group))
            if times:
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
