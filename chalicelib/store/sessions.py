"""Upload sessions: the state that any instance can go on from.

A session's state is one object: a line of JSON, then the bytes that are too few for a part of their own. It is
written at the end of each request, and within long ones after every few parts, so that after a crash the status is
true and the upload can go on from there. A session without a state object has received nothing.

Invariant: state moves by compare-and-set: of two requests on one session, one goes on and the other is refused.
"""

from dataclasses import dataclass, field, replace

import orjson

from chalicelib.oci import uploads as oci
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.uploads import Event, State
from chalicelib.store import layout
from chalicelib.store.content import Content
from chalicelib.store.objects import ConditionFailedError


@dataclass(frozen=True, slots=True)
class Session:
    """An upload session as its state object tells it; `etag` is "" where there is none yet."""

    id: str
    state: State = State.OPEN
    size: int = 0
    multipart: str = ""
    etags: tuple[str, ...] = ()
    tail: bytes = field(default=b"", repr=False)
    digest: str = ""
    etag: str = ""

    def encode(self) -> bytes:
        """Return the state object's bytes."""
        header = {
            "state": self.state.value,
            "size": self.size,
            "multipart": self.multipart,
            "etags": self.etags,
            "digest": self.digest,
        }
        return orjson.dumps(header) + b"\n" + self.tail


def _decode(upload_id: str, content: bytes, etag: str) -> Session:
    header, _, tail = content.partition(b"\n")
    fields = orjson.loads(header)
    return Session(
        id=upload_id,
        state=State(fields["state"]),
        size=fields["size"],
        multipart=fields["multipart"],
        etags=tuple(fields["etags"]),
        tail=tail,
        digest=fields["digest"],
        etag=etag,
    )


def load(content: Content, upload_id: str, event: Event) -> Session:
    """Return the session that `event` happens to; raise BLOB_UPLOAD_UNKNOWN where it is over."""
    found = content.objects.get(layout.upload(upload_id))
    session = Session(upload_id) if found is None else _decode(upload_id, found.content, found.head.etag)
    # An upload in a single PUT leaves no state behind, only its bytes. PATCH and PUT need not look for them: their
    # own write fails where they exist.
    if found is None and event in (Event.STATUS, Event.CANCEL) and content.objects.head(layout.data(upload_id)):
        session = replace(session, state=State.DONE)
    oci.step(session.state, event)
    return session


def cancel(content: Content, session: Session) -> None:
    """End a session and drop what it received."""
    if session.multipart:
        content.objects.abort(layout.data(session.id), session.multipart)
    save(content, Session(session.id, State.CANCELLED, etag=session.etag))


def save(content: Content, session: Session) -> Session:
    """Write the state if it is still the one that was read; return it with its new entity tag."""
    key = layout.upload(session.id)
    try:
        etag = content.objects.put(key, session.encode(), if_absent=not session.etag, if_match=session.etag)
    except ConditionFailedError as error:
        found = content.objects.get(key)
        # Equal where S3's answer to the first attempt was lost and botocore repeated the request.
        if found is None or found.content != session.encode():
            raise RegistryError(
                ErrorCode.BLOB_UPLOAD_INVALID,
                "another request goes on with this upload: ask for its status",
                status=416,
            ) from error
        etag = found.head.etag
    return replace(session, etag=etag)
