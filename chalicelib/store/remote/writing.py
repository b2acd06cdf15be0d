"""What is written to another registry: blobs in chunks or whole, manifests, and what is deleted.

Invariants:
* An upload can be gone on with from another process: all of it is in its location, and where it stands is asked.
* What was written has the digest that we say, as far as the registry tells it.
* Locations of uploads may be on other hosts, which get no credential.

Specification: OCI Distribution 1.1, "Pushing" (end-4 to end-7, end-11, end-13), "Content Management" (end-9).
"""

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import quote, urlencode, urlsplit

from chalicelib.oci import manifests
from chalicelib.oci.digests import CANONICAL, HEX_LENGTH, Digest
from chalicelib.oci.errors import RegistryError
from chalicelib.store.remote import listing
from chalicelib.store.remote.conversation import Access, Asking, Conversation
from chalicelib.store.remote.errors import (
    DeniedError,
    LimitedError,
    MissingError,
    OffsetError,
    RemoteError,
    UntrueError,
)
from chalicelib.store.remote.reading import Fetched
from chalicelib.store.remote.wire import Opened, Request, Streamed

_DONE = (200, 201, 202, 204)
_CREATED, _ACCEPTED, _BEYOND = 201, 202, 416
_UPLOAD = re.compile(r"/v2/(.+)/blobs/uploads/")
_RANGE = re.compile(r"(?:bytes[= ])?0-([0-9]{1,18})", re.ASCII)
_BYTES = "application/octet-stream"


def mount(talk: Conversation, repository: str, digest: str, source: str) -> bool:
    """Tell whether a repository now has a blob of another one; raise RemoteError where nobody said."""
    query = urlencode({"mount": digest, "from": source})
    access = Access.to(repository, "pull,push", f"repository:{source}:pull")
    request = Request("POST", f"{talk.address(repository, 'blobs', 'uploads')}/?{query}", content=b"")
    try:
        answer = talk.tell(Asking(request, "does not mount a blob", access, (_CREATED, _ACCEPTED)))
    except (DeniedError, MissingError):
        return False
    if answer.status == _ACCEPTED and "location" in answer.headers:
        cancel(talk, talk.led(request.url, answer))
    return answer.status == _CREATED


def begin(talk: Conversation, repository: str) -> tuple[str, int]:
    """Return where a new upload goes, and the fewest bytes that the registry wants in a chunk; raise RemoteError."""
    request = Request("POST", f"{talk.address(repository, 'blobs', 'uploads')}/", content=b"")
    talk.uploading = Access.to(repository, "pull,push")
    answer = talk.tell(Asking(request, "takes no upload", talk.uploading, (_ACCEPTED,)))
    least = answer.headers.get("oci-chunk-min-length", "")
    return _next(talk, request.url, answer), int(least[:12]) if least.isdecimal() else 0


def send(talk: Conversation, location: str, chunk: bytes, offset: int) -> str:
    """Send a chunk and return where the upload goes on; raise OffsetError where it does not fit, and RemoteError."""
    last = offset + len(chunk) - 1
    headers = {"Content-Type": _BYTES, "Content-Range": f"{offset}-{last}"}
    request = Request("PATCH", location, headers, chunk)
    answer = talk.tell(Asking(request, "took no chunk", _access(talk, location), (*_DONE, _BEYOND)))
    received = _RANGE.fullmatch(answer.headers.get("range", ""))
    if answer.status == _BEYOND or (received and int(received[1]) != last):
        raise OffsetError(f"{talk.place} has another part of the upload than was sent", answer.status)
    return _next(talk, location, answer)


def uploaded(talk: Conversation, location: str) -> tuple[int, str]:
    """Return how many bytes an upload has, and where it goes on; raise MissingError where it is gone, RemoteError."""
    try:
        answer = talk.tell(Asking(Request("GET", location), "tells of no upload", _access(talk, location), _DONE))
    except (DeniedError, LimitedError, MissingError):
        raise
    except RemoteError as error:
        if not error.status or error.status >= 500:  # noqa: PLR2004 - another try may help
            raise
        raise MissingError(f"{talk.place} does not go on with the upload", error.status) from error
    received = _RANGE.fullmatch(answer.headers.get("range", ""))
    # Nothing is `0-0` too, for want of another word: one byte is sent again then, which is refused at worst.
    last = int(received[1]) if received else 0
    return (last + 1 if last else 0), _next(talk, location, answer)


def finish(talk: Conversation, location: str, digest: str) -> None:
    """Make a blob of what was uploaded; raise RemoteError."""
    request = Request("PUT", _finishing(location, digest), {"Content-Type": _BYTES}, b"")
    _check(talk, talk.tell(Asking(request, "took no blob", _access(talk, location), _DONE)), digest)


def put_blob(talk: Conversation, location: str, digest: str, size: int, pieces: Iterable[bytes]) -> None:
    """Send a blob in one request as it comes; raise RemoteError, and what the pieces raise.

    That is a PATCH and an empty PUT, as docker has always sent it: there are registries that know no other way.
    """
    request = Request("PATCH", location, {"Content-Type": _BYTES}, Streamed(pieces, size))
    answer = talk.tell(Asking(request, "took no blob", _access(talk, location), _DONE))
    finish(talk, _next(talk, location, answer), digest)


def cancel(talk: Conversation, location: str) -> None:
    """Give an upload up; where that fails, the registry forgets it in its own time."""
    with suppress(RemoteError):
        talk.tell(Asking(Request("DELETE", location), "cancels no upload", _access(talk, location), _DONE))


def put_manifest(talk: Conversation, repository: str, reference: str, media_type: str, content: bytes) -> None:
    """Write a manifest, and list it where clients look for what refers to its subject; raise RemoteError."""
    url = talk.address(repository, "manifests", reference)
    request = Request("PUT", url, {"Content-Type": media_type}, content)
    answer = talk.tell(
        Asking(request, f"took no manifest of {repository}", Access.to(repository, "pull,push"), _DONE)
    )
    algorithm = answer.headers.get("docker-content-digest", "").partition(":")[0]
    digest = Digest.of(content, algorithm if algorithm in HEX_LENGTH else CANONICAL)
    _check(talk, answer, str(digest))
    if "oci-subject" not in answer.headers:
        _list_under_subject(talk, repository, Fetched(content, media_type, str(digest)))


def _list_under_subject(talk: Conversation, repository: str, written: Fetched) -> None:
    """Add a manifest to the list under the fallback tag, which clients keep where a registry has no such list."""
    try:
        manifest = manifests.parse(written.content, written.media_type)
    except RegistryError:
        return
    if manifest.subject is None:
        return
    subject = str(manifest.subject.digest)
    listed = listing.tagged_referrers(talk, repository, subject)
    if any(each["digest"] == written.digest for each in listed):
        return
    entries = [*listed, manifest.referrer(Digest.parse(written.digest))]
    index = {"schemaVersion": 2, "mediaType": manifests.OCI_INDEX, "manifests": entries}
    content = json.dumps(index, separators=(",", ":")).encode()
    put_manifest(talk, repository, listing.fallback_tag(subject), manifests.OCI_INDEX, content)


def _check(talk: Conversation, answer: Opened, digest: str) -> None:
    told = answer.headers.get("docker-content-digest", digest)
    if told != digest:
        raise UntrueError(f"{talk.place} took {digest} for {told[:100]}")


def _next(talk: Conversation, url: str, answer: Opened) -> str:
    return talk.led(url, answer) if answer.headers.get("location") else url


def _finishing(location: str, digest: str) -> str:
    """Return an upload's location with the digest; what its query has stays as it is, signatures depend on it."""
    return f"{location}{'&' if urlsplit(location).query else '?'}digest={quote(digest, safe='')}"


def _access(talk: Conversation, location: str) -> Access:
    """Return what an upload needs, whose location may not say its repository."""
    match = _UPLOAD.search(urlsplit(location).path)
    return Access.to(match[1], "pull,push") if match else talk.uploading
