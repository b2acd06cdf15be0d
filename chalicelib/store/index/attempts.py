"""Doing again what others were quicker with.

Invariant: a step reads what it needs itself, so that a refused one can begin anew with what is there by then.
"""

import random
import time
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from chalicelib.oci.names import Repository
from chalicelib.store.index import Index, repositories
from chalicelib.store.index.repositories import RepositoryRecord
from chalicelib.store.table import BusyError, RefusedError

P = ParamSpec("P")
T = TypeVar("T")

_ATTEMPTS = 20
_PAUSE = 0.005


class RepositoryGoneError(Exception):
    """The repository that a step was meant for was deleted; there may be another one of its name."""


_ELSEWHERE = (RepositoryGoneError, RefusedError)


def anew(step: Callable[[], T], caught: tuple[type[Exception], ...] = (RefusedError, BusyError)) -> T:
    """Return what a step returns, begun anew where it raises one of `caught`; raise BusyError if it always does."""
    for attempt in range(_ATTEMPTS):
        try:
            return step()
        except caught:
            time.sleep(random.uniform(0, _PAUSE * attempt))  # noqa: S311 - it only spreads those who wait
    raise BusyError


def in_any(
    index: Index, project_id: int, repository: Repository, step: Callable[[RepositoryRecord], None], created: str = ""
) -> None:
    """Do a step in the repository, which is made where there is none; all of it again where it was deleted."""
    anew(lambda: step(repositories.ensure(index, project_id, repository, created)), _ELSEWHERE)


def in_known(index: Index, project_id: int, repository: Repository, step: Callable[[RepositoryRecord], None]) -> None:
    """Do the same in a repository that the index knows; nothing where it knows none."""

    def attempt() -> None:
        home = repositories.find(index, project_id, repository)
        if home:
            step(home)

    anew(attempt, _ELSEWHERE)


def in_same(
    index: Index,
    home: RepositoryRecord,
    step: Callable[Concatenate[Index, RepositoryRecord, P], T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Return what a step returns in this very repository, as it is by then; raise RepositoryGoneError."""
    current = [home]

    def attempt() -> T:
        try:
            return step(index, current[0], *args, **kwargs)
        except RefusedError:
            current[0] = _again(index, home)
            raise

    return anew(attempt)


def _again(index: Index, home: RepositoryRecord) -> RepositoryRecord:
    found = repositories.find(index, home.project_id, home.repository)
    if found is None or found.id != home.id:
        raise RepositoryGoneError
    return found
