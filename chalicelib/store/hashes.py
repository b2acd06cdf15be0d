"""Hashes in progress, which one process carries between the requests of an upload session.

Invariant: a carried hash belongs to one state, not to a number of bytes: where another process moved the state, it is
lost, and whoever ends the upload reads the bytes back.
"""

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING

from chalicelib.oci.digests import Hasher, hasher

if TYPE_CHECKING:
    # A pull, which has no session, does not wait for it.
    from chalicelib.store.sessions import Session

_CARRIED_HASHES = 1024


class CarriedHashes:
    """Hashes in progress, kept between the requests of a session that reach the same process."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._hashes: OrderedDict[str, tuple[str, str, Hasher]] = OrderedDict()

    def keep(self, session: "Session", algorithm: str, progress: Hasher) -> None:
        """Remember the hash of all that the session received, as it was just saved."""
        with self._lock:
            self._hashes[session.id] = (session.etag, algorithm, progress)
            while len(self._hashes) > _CARRIED_HASHES:
                self._hashes.popitem(last=False)

    def take(self, session: "Session", algorithm: str) -> Hasher | None:
        """Return the hash of all that the session received, or None where it was lost."""
        with self._lock:
            etag, kept, progress = self._hashes.pop(session.id, ("", "", None))
        if not session.multipart:
            fresh = hasher(algorithm)
            fresh.update(session.tail)
            return fresh
        # Not the size but the state: another process may have begun the session again with other bytes.
        return progress if (etag, kept) == (session.etag, algorithm) else None
