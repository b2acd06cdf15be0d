"""What is read of another registry: manifests, blobs, and where they are.

Invariants:
* A manifest that is returned hashes to the digest that was asked for, or that the registry said it has.
* A blob's bytes are the reader's to check; a stream that ends early raises.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urlsplit

from chalicelib.oci import manifests
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import RegistryError
from chalicelib.store.remote.conversation import MOVED, Access, Asking, Conversation
from chalicelib.store.remote.errors import DeniedError, MissingError, RemoteError, UntrueError
from chalicelib.store.remote.wire import Opened, Request

ACCEPT = ", ".join((*manifests.KINDS, *manifests.SCHEMA_1))
_OK, _PARTIAL, _BEYOND = 200, 206, 416
_SKIPPED = 256 << 10
_MOST_DIGITS = 18


class Described(NamedTuple):
    """What a registry says of a manifest, without the manifest."""

    digest: str
    media_type: str
    size: int


class Fetched(NamedTuple):
    """A manifest that hashes to its digest."""

    content: bytes
    media_type: str
    digest: str


class Blob:
    """The bytes of a blob as they come; `size` is of the whole blob, None where the registry does not say."""

    def __init__(self, answer: Opened, size: int | None) -> None:
        self._answer, self.size = answer, size

    def read(self, most: int) -> bytes:
        """Return the next bytes, as many as wanted until the blob ends; raise DownError where it ends early."""
        return self._answer.read(most)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._answer.close()


def head_manifest(talk: Conversation, repository: str, reference: str) -> Described | None:
    """Return what a reference names, or None; raise RemoteError."""
    request = Request("HEAD", talk.address(repository, "manifests", reference), {"Accept": ACCEPT})
    try:
        answer = talk.tell(Asking(request, f"does not tell of {repository}", Access.to(repository, "pull")))
    except MissingError:
        return None
    digest = answer.headers.get("docker-content-digest", reference if ":" in reference else "")
    size = _size(answer.headers.get("content-length", ""))
    # Clients that are told no type by a HEAD do not know what to pull.
    if not (digest and size and _type(answer.headers)):
        return _described(get_manifest(talk, repository, reference))
    if ":" in reference and digest != reference:
        raise UntrueError(f"{talk.place} says that {reference} is {digest[:100]}")
    return Described(_digest(talk, digest), _type(answer.headers), size)


def _described(found: Fetched) -> Described:
    return Described(found.digest, found.media_type, len(found.content))


def get_manifest(talk: Conversation, repository: str, reference: str) -> Fetched:
    """Return what a reference names; raise RemoteError: UntrueError where it is not what was asked for."""
    request = Request("GET", talk.address(repository, "manifests", reference), {"Accept": ACCEPT})
    asking = Asking(request, f"does not give {repository}", Access.to(repository, "pull"))
    with talk.ask(asking) as answer:
        content = answer.content(manifests.MAX_MANIFEST)
    media_type = _type(answer.headers) or _stated(content)
    if media_type in manifests.SCHEMA_1:
        raise RemoteError(f"{talk.place} has {repository} as a schema 1 manifest, which is not supported")
    named = reference if ":" in reference else answer.headers.get("docker-content-digest", "")
    digest = Digest.parse(_digest(talk, named)) if named else Digest.of(content)
    if not digest.matches(content):
        raise UntrueError(f"{talk.place} sent a manifest that is not {digest}")
    return Fetched(content, media_type, str(digest))


def blob_size(talk: Conversation, repository: str, digest: str) -> int | None:
    """Return the size of a blob, or None where the repository has none; raise RemoteError."""
    request = Request("HEAD", talk.address(repository, "blobs", digest))
    access = Access.to(repository, "pull")
    with suppress(MissingError):
        # A signed address may be for GET alone: HEAD is denied there.
        with suppress(DeniedError):
            answer = talk.tell(Asking(request, "does not tell of a blob", access))
            if (size := _size(answer.headers.get("content-length", ""))) is not None:
                return size
        with read_blob(talk, repository, digest, 0) as blob:
            return blob.size
    return None


def blob_location(talk: Conversation, repository: str, digest: str) -> str | None:
    """Return where a registry leads for a blob, or None where it gives the bytes itself; raise RemoteError."""
    url = talk.address(repository, "blobs", digest)
    asking = Asking(Request("GET", url), "does not give a blob", Access.to(repository, "pull"), stay=True)
    with talk.ask(asking) as answer:
        if answer.status not in MOVED:
            return None
        answer.beginning()
        location = talk.led(url, answer)
    return None if talk.own(location) else location


def read_blob(talk: Conversation, repository: str, digest: str, start: int) -> Blob:
    """Return a blob's bytes from `start` on; raise RemoteError."""
    answer = _opened(talk, repository, digest, start)
    if answer.status == _BEYOND:
        # There are registries that know only ranges with an end: they give all of it.
        answer.close()
        answer = _opened(talk, repository, digest, 0)
    try:
        if answer.status == _PARTIAL:
            return Blob(answer, _whole(answer, start))
        size = answer.size
        _skip(answer, start)
    except BaseException:
        answer.close()
        raise
    return Blob(answer, size)


def _opened(talk: Conversation, repository: str, digest: str, start: int) -> Opened:
    headers = {"Range": f"bytes={start}-"} if start else {}
    request = Request("GET", talk.address(repository, "blobs", digest), headers)
    wanted = (_OK, _PARTIAL, _BEYOND) if start else (_OK,)
    return talk.ask(Asking(request, f"does not give the blob {digest}", Access.to(repository, "pull"), wanted))


def _skip(answer: Opened, start: int) -> None:
    """Read what was not asked for: the registry gives blobs from their beginning only."""
    left = start
    while left:
        piece = answer.read(min(left, _SKIPPED))
        if not piece:
            raise UntrueError("the blob is smaller than what was already had of it")
        left -= len(piece)


def _whole(answer: Opened, start: int) -> int | None:
    """Return the size of the whole blob, of which a part comes; raise UntrueError where it is another part."""
    unit, _, rest = answer.headers.get("content-range", "").partition(" ")
    span, _, size = rest.partition("/")
    if unit != "bytes" or span.partition("-")[0] != str(start):
        raise UntrueError("the registry sent another part of the blob than was asked for")
    return _size(size)


def _size(text: str) -> int | None:
    """Return a number of bytes, or None for what is none or more than there can be."""
    return int(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else None


def _digest(talk: Conversation, text: str) -> str:
    try:
        return str(Digest.parse(text))
    except RegistryError as error:
        raise UntrueError(f"{urlsplit(talk.site.url).hostname} names content by what is no digest") from error


def _type(headers: Mapping[str, str]) -> str:
    """Return the media type of an answer where it is one of manifests."""
    found = headers.get("content-type", "").partition(";")[0].strip().lower()
    return found if found in manifests.KINDS or found in manifests.SCHEMA_1 else ""


def _stated(content: bytes) -> str:
    """Return the media type that a manifest says of itself."""
    try:
        found = json.loads(content).get("mediaType", "")
    except (ValueError, AttributeError, RecursionError):
        return ""
    return found if isinstance(found, str) else ""
