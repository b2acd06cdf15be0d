"""Sessions of the portal: who holds the cookie, until when.

Invariants:
* Only the hash of a session's secret is stored; the secret is in the cookie alone.
* A session ends at logout, at its expiry, and when the user's password changes (`fingerprint`).
"""

import hashlib
import secrets
from contextlib import suppress
from dataclasses import dataclass

from chalicelib.store.directory import Directory
from chalicelib.store.table import PRESENT, Delete, Key, Put, RefusedError


@dataclass(frozen=True, slots=True)
class Session:
    """Whose session it is; `fingerprint` stands for the password by which it began, `expires` is in seconds."""

    user_id: int
    fingerprint: str
    expires: int


def begin(directory: Directory, user_id: int, fingerprint: str, seconds: int) -> str:
    """Begin a session and return its secret."""
    secret = secrets.token_urlsafe(32)
    expires = int(directory.now().timestamp()) + seconds
    document = {"user_id": user_id, "fingerprint": fingerprint}
    directory.table.commit(Put(_key(secret), document, expires=expires))
    return secret


def find(directory: Directory, secret: str) -> Session | None:
    """Return the session, or None where it ended."""
    found = directory.table.get(_key(secret))
    return Session(found.document["user_id"], found.document["fingerprint"], found.expires) if found else None


def prolong(directory: Directory, secret: str, session: Session, seconds: int) -> None:
    """Let the session last for `seconds` from now, unless it ended meanwhile."""
    expires = int(directory.now().timestamp()) + seconds
    document = {"user_id": session.user_id, "fingerprint": session.fingerprint}
    with suppress(RefusedError):
        directory.table.commit(Put(_key(secret), document, PRESENT, "the session goes on", expires))


def end(directory: Directory, secret: str) -> None:
    """End the session."""
    directory.table.commit(Delete(_key(secret)))


def _key(secret: str) -> Key:
    return Key("sessions/", hashlib.sha256(secret.encode()).hexdigest())
