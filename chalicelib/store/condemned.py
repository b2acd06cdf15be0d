"""Condemned objects: deleted for everybody, and still there for whoever finds that they are needed.

S3 can make one thing depend on another only within one object: it deletes what still has an entity tag. The bytes of
a manifest never change, so the tag of one that was pushed again is that of the old one, and a delete could not tell
them apart. An object is therefore condemned before it is deleted: written over, if it is still what was read, by its
bytes behind a mark that no other has.

Invariants:
* No reader takes a condemned object for what it was (`live`); its bytes can be had back (`restore`).
* What is written over it, by a push that knows nothing of this, is live: a delete that still waits then fails.
* Restoring and condemning anew depend on the very mark that was seen, so of two that meet one begins again.
"""

import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.store.content import Content
from chalicelib.store.objects import ConditionFailedError, Head, Object

CONDEMNED = "condemned"
_ATTEMPTS = 20
_MARK = 32

H = TypeVar("H", bound=Head)


def live(head: H | None) -> H | None:
    """Return what is known of an object that is there and is not condemned, else None."""
    return None if head is None or CONDEMNED in head.metadata else head


def what(found: Object) -> bytes:
    """Return the bytes of an object, condemned or not."""
    return found.content[_MARK:] if CONDEMNED in found.head.metadata else found.content


def condemn(content: Content, key: str, what: bytes, content_type: str, etag: str) -> None:
    """Let nobody see an object any more, whose bytes are `what`; `etag` is what it had, or "" if it was not seen.

    One that is not there, or condemned already, is condemned anew: whoever wants to restore it looks again.
    """
    mark = secrets.token_hex(_MARK // 2)
    metadata = {CONDEMNED: content.now().isoformat(timespec="seconds")}
    for _ in range(_ATTEMPTS):
        with suppress(ConditionFailedError):
            content.objects.put(
                key,
                mark.encode() + what,
                content_type=content_type,
                metadata=metadata,
                if_absent=not etag,
                if_match=etag,
            )
            return
        found = content.objects.head(key)
        etag = found.etag if found else ""
    raise _contended()


def restore(content: Content, key: str, what: bytes, content_type: str, wanted: Callable[[], bool]) -> bool:
    """Bring an object back that is not live, while it is `wanted`; tell whether that was done."""
    for _ in range(_ATTEMPTS):
        found = content.objects.head(key)
        # In this order: who does not want it any more has condemned it before, so the write below fails.
        if live(found) or not wanted():
            return False
        with suppress(ConditionFailedError):
            content.objects.put(
                key, what, content_type=content_type, if_absent=found is None, if_match=found.etag if found else ""
            )
            return True
    raise _contended()


def _contended() -> RegistryError:
    return RegistryError(ErrorCode.UNAVAILABLE, headers={"Retry-After": "1"})
