"""Condemned objects: on their way out, and still there for whoever finds that they are needed.

S3 can make one thing depend on another only within one object: it deletes what still has an entity tag. The bytes of
a manifest never change, so the tag of one that was pushed again is that of the old one, and a delete could not tell
them apart. A manifest is therefore condemned before it is deleted: written over, if it is still what was read, by its
bytes behind a mark that no other has (docs/decisions/014).

Invariants:
* What somebody `DELETED` is there for nobody. What was `RETIRED` by a job is in no list, but can be pulled by its
  digest until the collector comes, and built upon: who does so brings it back.
* What is written over it, by a push that knows nothing of this, is live: a delete that still waits then fails.
* Restoring and condemning anew depend on the very mark that was seen, so of two that meet one begins again.
"""

import secrets
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum

from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.store.content import Content
from chalicelib.store.objects import ConditionFailedError, Head, Object

CONDEMNED = "condemned"
_ATTEMPTS = 20
_MARK = 32


class Doom(StrEnum):
    """Why an object is condemned."""

    DELETED = "deleted"
    RETIRED = "retired"


def doom(head: Head) -> Doom | None:
    """Return why an object is condemned, or None for one that is not."""
    return Doom(head.metadata[CONDEMNED]) if CONDEMNED in head.metadata else None


def is_live(head: Head | None) -> bool:
    """Tell whether an object is there and not condemned."""
    return head is not None and doom(head) is None


def readable(head: Head | None) -> Head | None:
    """Return what is known of what an object was, where it can be read still, else None."""
    if head is None or doom(head) is Doom.DELETED:
        return None
    return head if doom(head) is None else head._replace(size=head.size - _MARK)


def original(found: Object) -> bytes:
    """Return the bytes that an object has, or had before it was condemned."""
    return found.content if doom(found.head) is None else found.content[_MARK:]


def condemn(content: Content, key: str, what: Object, etag: str, why: Doom) -> None:
    """Condemn an object whose bytes are `what`; `etag` is what it had, or "" if it was not seen.

    One that is not there, or condemned already, is condemned anew: whoever wants to restore it looks again.
    """
    for _ in range(_ATTEMPTS):
        with suppress(ConditionFailedError):
            _put_marked(content, key, what, etag, why)
            return
        found = content.objects.head(key)
        etag = found.etag if found else ""
    raise _contended()


def renew(content: Content, key: str) -> None:
    """Let an object that was retired stay for another grace period, if it is there still and as it was found."""
    found = content.objects.get(key)
    if found is not None and is_retired(found.head):
        with suppress(ConditionFailedError):
            _put_marked(content, key, found, found.head.etag, Doom.RETIRED)


def _put_marked(content: Content, key: str, what: Object, etag: str, why: Doom) -> None:
    """Write an object's bytes behind a mark that no other has, over `etag` or nothing; raise ConditionFailedError."""
    content.objects.put(
        key,
        secrets.token_hex(_MARK // 2).encode() + original(what),
        content_type=what.head.content_type,
        metadata={CONDEMNED: why},
        if_absent=not etag,
        if_match=etag,
    )


def is_retired(head: Head | None) -> bool:
    """Tell whether an object was retired."""
    return head is not None and doom(head) is Doom.RETIRED


def restore(
    content: Content, key: str, what: bytes, content_type: str, wanted: Callable[[Head | None], bool]
) -> bool:
    """Bring an object back that is not live, while it is `wanted` as it is; tell whether that was done."""
    for _ in range(_ATTEMPTS):
        found = content.objects.head(key)
        # In this order: who does not want it any more has condemned it before, so the write below fails.
        if is_live(found) or not wanted(found):
            return False
        with suppress(ConditionFailedError):
            content.objects.put(
                key, what, content_type=content_type, if_absent=found is None, if_match=found.etag if found else ""
            )
            return True
    raise _contended()


def _contended() -> RegistryError:
    return RegistryError(ErrorCode.UNAVAILABLE, headers={"Retry-After": "1"})
