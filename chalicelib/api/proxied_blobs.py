"""Blobs of caches of other registries that are not here yet: given to clients while they come.

A server streams what comes, to all who want it. API Gateway takes no streams: its function leads clients to where the
other registry itself leads for the blob, while a job fetches it; or to the relay, by a path with a signature of its
own; or, without a relay that reaches other registries, waits for the job.

Invariants:
* Only what the repository of the other registry has is given: it is asked for under that repository's name.
* What the relay's path opens is one blob of one repository, for a quarter of an hour.
"""

import re
import time
from dataclasses import dataclass

from chalicelib.api import auth, registry, sources
from chalicelib.api.endpoints import Call
from chalicelib.api.http import Response
from chalicelib.api.proxying import moved_to_long_name
from chalicelib.changes import caching
from chalicelib.changes.caching import Upstream
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.policy import proxies
from chalicelib.store import blobs
from chalicelib.store.fetching import Reader
from chalicelib.store.objects import OCTETS
from chalicelib.store.remote import RemoteError
from chalicelib.store.sources import Wish

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.ASCII)
# A function's answer is wanted within 29 seconds, what it asked the other registry before included.
_WAIT_SECONDS, _LOOK_SECONDS = 24.0, 0.5


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a blob: from `start` up to `end`."""

    start: int
    end: int
    size: int

    @property
    def headers(self) -> dict[str, str]:
        """Return what an answer with this part says of it."""
        about = {"Content-Type": OCTETS, "Accept-Ranges": "bytes", "Content-Length": str(self.end - self.start)}
        if self.is_whole:
            return about
        return {**about, "Content-Range": f"bytes {self.start}-{self.end - 1}/{self.size}"}

    @property
    def is_whole(self) -> bool:
        """Tell whether the part is all."""
        return (self.start, self.end) == (0, self.size)


def span(text: str, size: int) -> Span:
    """Return the part that a Range header means, the whole for one that cannot be read; raise SIZE_INVALID (416)."""
    match = _RANGE.fullmatch(text)
    if match is None or match[1] == match[2] == "":
        return Span(0, size, size)
    first, last = match[1], match[2]
    start = int(first) if first else max(size - int(last), 0)
    end = min(int(last) + 1, size) if first and last else size
    if first and last and int(last) < start:
        return Span(0, size, size)
    if start >= size:
        headers = {"Content-Range": f"bytes */{size}"}
        raise RegistryError(ErrorCode.SIZE_INVALID, "the range lies beyond the end", status=416, headers=headers)
    return Span(start, end, size)


def get(call: Call) -> Response:
    """Return a blob of a cache: from here, or while it comes."""
    digest, until = Digest.parse(call.argument), time.monotonic() + _WAIT_SECONDS
    if blob := blobs.find(call.services.content, call.repository, digest):
        return registry.blob_answer(sources.own(call.services), blob, digest)
    if moved := moved_to_long_name(call):
        return moved
    source, wish = _wanted(call)
    if call.request.streams:
        return _streamed(call, source, wish)
    if location := _elsewhere(call, source, wish):
        return Response(307, {"Location": location, "Docker-Content-Digest": str(wish.digest)})
    if call.services.settings.relay:
        return _to_the_relay(call, wish)
    return _awaited(call, source, wish, until)


def head(call: Call) -> Response:
    """Say how large a blob is that is not here yet."""
    if moved := moved_to_long_name(call):
        return moved
    source, wish = _wanted(call)
    if call.request.redirect_head and call.services.settings.relay:
        return _to_the_relay(call, wish)
    return _sized(call, source, wish)


def get_fetched(call: Call) -> Response:
    """Return a blob by the address that `_to_the_relay` made."""
    digest = _signed(call)
    blob = blobs.find(call.services.content, call.repository, digest)
    if blob is None:
        return _streamed(call, *_wanted_of_the_relay(call))
    return registry.blob_answer(sources.own(call.services), blob, digest)


def head_fetched(call: Call) -> Response:
    """Say how large a blob is, by the address that `_to_the_relay` made."""
    digest = _signed(call)
    blob = blobs.find(call.services.content, call.repository, digest)
    if blob is None:
        return _sized(call, *_wanted_of_the_relay(call))
    return registry.blob_head_answer(call, sources.own(call.services), blob, digest)


def _signed(call: Call) -> Digest:
    digest = Digest.parse(call.argument)
    auth.check_fetch(call.services, call.request, call.repository, digest)
    return digest


def _wanted_of_the_relay(call: Call) -> tuple[Upstream, Wish]:
    if not call.request.streams:
        raise RegistryError(
            ErrorCode.UNAVAILABLE, "this address is answered by the relay", headers={"Retry-After": "5"}
        )
    return _wanted(call)


def _wanted(call: Call) -> tuple[Upstream, Wish]:
    """Return whose cache this is, and the blob; raise BLOB_UNKNOWN where it is none, or UNAVAILABLE, or DENIED."""
    digest = Digest.parse(call.argument)
    source = caching.upstream(call.services, call.repository)
    if source is None:
        raise RegistryError(ErrorCode.BLOB_UNKNOWN, detail={"digest": str(digest)})
    caching.check_admitted(source, call.repository)
    return source, Wish(call.repository, digest)


def _streamed(call: Call, source: Upstream, wish: Wish) -> Response:
    fetch = caching.fetch_blob(call.services, source, wish)
    try:
        if fetch.started() and fetch.size is not None:
            ranged = "" if "if-range" in call.request.headers else call.request.headers.get("range", "")
            part = span(ranged, fetch.size)
            headers = {**part.headers, "Docker-Content-Digest": str(wish.digest)}
            return Response(200 if part.is_whole else 206, headers, stream=Reader(fetch, part.start, part.end))
        blob = blobs.require(call.services.content, *wish)
    except BaseException:
        fetch.leave()
        raise
    fetch.leave()
    return registry.blob_answer(sources.own(call.services), blob, wish.digest)


def _sized(call: Call, source: Upstream, wish: Wish) -> Response:
    try:
        with caching.connected(call.services, source) as remote:
            size = remote.blob_size(proxies.name_there(wish.repository), str(wish.digest))
    except RemoteError as error:
        raise caching.refusal(source, error, ErrorCode.BLOB_UNKNOWN) from error
    if size is None:
        raise RegistryError(ErrorCode.BLOB_UNKNOWN, detail={"digest": str(wish.digest)})
    return Response(200, {**Span(0, size, size).headers, "Docker-Content-Digest": str(wish.digest)})


def _to_the_relay(call: Call, wish: Wish) -> Response:
    path = registry.FETCHED.replace("<name>", wish.repository.name).replace("<digest>", str(wish.digest))
    location = f"{path}?{auth.fetch_query(call.services, *wish)}"
    return Response(307, {"Location": location, "Docker-Content-Digest": str(wish.digest)})


def _elsewhere(call: Call, source: Upstream, wish: Wish) -> str | None:
    """Return where the other registry leads for a blob, None where it gives the bytes itself; a job keeps it, too."""
    caching.begin_filling(call.services, source, wish.repository, 0)
    try:
        with caching.connected(call.services, source) as remote:
            return remote.blob_location(proxies.name_there(wish.repository), str(wish.digest))
    except RemoteError as error:
        raise caching.refusal(source, error, ErrorCode.BLOB_UNKNOWN) from error


def _awaited(call: Call, source: Upstream, wish: Wish, until: float) -> Response:
    """Return the redirection to a blob once a job fetched it; raise UNAVAILABLE where that takes longer."""
    while time.monotonic() < until:
        if blob := blobs.find(call.services.content, *wish):
            return registry.blob_answer(sources.own(call.services), blob, wish.digest)
        time.sleep(_LOOK_SECONDS)
    words = f"the blob is being fetched of the registry {source.name}: pull again in a moment"
    raise RegistryError(ErrorCode.UNAVAILABLE, words, headers={"Retry-After": "10"})
