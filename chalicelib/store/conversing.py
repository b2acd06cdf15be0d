"""Conversations with other registries, kept between requests: their connections and tokens cost more than they do.

Invariants:
* A conversation is had by one thread at a time; one that failed is not gone on with, but for what was missing.
* So many rest at most; a registry whose credential was changed is another one.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock

from chalicelib.store.remote import MissingError, Remote, Site, connect

# Clients wait for an answer, and for each piece of one.
_SECONDS = 15.0
_MOST_RESTING, _MOST_SITES = 8, 32


class Conversations:
    """The conversations of a process; an answer's beginning, and a piece of it, may take so many `seconds`."""

    def __init__(self, seconds: float = _SECONDS) -> None:
        self._seconds = seconds
        self._lock = Lock()
        self._most = _MOST_RESTING
        self._resting: OrderedDict[Site, list[Remote]] = OrderedDict()

    @contextmanager
    def having(self, site: Site, allowed: Sequence[str]) -> Iterator[Remote]:
        """Have a conversation with a registry; raise RemoteError."""
        remote = self._take(site) or connect(site, allowed, seconds=self._seconds)
        try:
            yield remote
        except MissingError:
            self._rest(site, remote)
            raise
        except BaseException:
            remote.close()
            raise
        self._rest(site, remote)

    def close(self) -> None:
        """End those that rest, and those under way when they would rest."""
        with self._lock:
            self._most = 0
            resting = [each for some in self._resting.values() for each in some]
            self._resting.clear()
        for each in resting:
            each.close()

    def _take(self, site: Site) -> Remote | None:
        with self._lock:
            resting = self._resting.get(site)
            return resting.pop() if resting else None

    def _rest(self, site: Site, remote: Remote) -> None:
        surplus: list[Remote] = []
        with self._lock:
            resting = self._resting.setdefault(site, [])
            self._resting.move_to_end(site)
            if len(resting) < self._most:
                resting.append(remote)
            else:
                surplus.append(remote)
            while len(self._resting) > _MOST_SITES:
                surplus += self._resting.popitem(last=False)[1]
        for each in surplus:
            each.close()
