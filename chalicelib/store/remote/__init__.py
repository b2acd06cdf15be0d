"""A client of other registries, of any make that speaks the distribution specification.

    with connect(Site("https://registry.example.com"), allowed=settings.private_targets) as remote:
        fetched = remote.get_manifest("library/nginx", "latest")

Invariants:
* Only hosts that may be reached are spoken to (`store.reach`), in redirections and token services too.
* Nothing is tried again but a refusal with 401, with a fresh token: when and whether to try is the caller's decision,
  and a `RemoteError` says what it needs for that.
* What comes is bounded in size and time; manifests are checked against their digest here, blobs by their readers.
* Nothing here is imported by a pull of what is held here.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from chalicelib.store.reach import Resolve, resolve
from chalicelib.store.remote import listing, makes, reading, writing
from chalicelib.store.remote.conversation import Asking, Conversation
from chalicelib.store.remote.errors import (
    DeniedError,
    DownError,
    LimitedError,
    LoginError,
    MissingError,
    OffsetError,
    RemoteError,
    UntrueError,
)
from chalicelib.store.remote.reading import Blob, Described, Fetched
from chalicelib.store.remote.sites import Site, TokenKind
from chalicelib.store.remote.wire import READ_SECONDS, Request

__all__ = [
    "Blob",
    "DeniedError",
    "Described",
    "DownError",
    "Fetched",
    "LimitedError",
    "LoginError",
    "MissingError",
    "OffsetError",
    "Remote",
    "RemoteError",
    "Site",
    "TokenKind",
    "UntrueError",
    "connect",
]


def connect(
    site: Site, allowed: Iterable[str] = (), look_up: Resolve = resolve, seconds: float = READ_SECONDS
) -> "Remote":
    """Return a conversation with a registry, which `with` ends; `allowed` may be reached though not public.

    An answer's beginning, and a piece of it, may take so many `seconds`.

    Raise RemoteError where the site's address or certificate is none. Nothing is sent before something is asked,
    except that ECR is asked for a password.
    """
    return Remote(Conversation(site, allowed, look_up, seconds))


class Remote:
    """One conversation with another registry; not for several threads. Every method may raise RemoteError."""

    def __init__(self, talk: Conversation) -> None:
        self._talk = talk
        self._moved: dict[str, str] = {}
        # The fewest bytes that the registry wanted in a chunk when an upload was begun last.
        self.least_chunk = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the conversation."""
        self._talk.wire.close()

    @property
    def takes_chunks(self) -> bool:
        """Whether a blob may be sent in several requests: `put_blob` sends it in one."""
        return self._talk.adapter.chunks

    def ping(self) -> None:
        """Return where there is a registry that takes our credential, or wants one and we have none."""
        # A token that was had before says nothing about the credential.
        self._talk.authority.forget()
        try:
            self._talk.tell(Asking(Request("GET", f"{self._talk.site.url}/v2/"), "is no registry that takes us"))
        except DeniedError:
            if self._talk.authority.basic:
                raise

    def head_manifest(self, repository: str, reference: str) -> Described | None:
        """Return what a reference names, or None."""
        return reading.head_manifest(self._talk, repository, reference)

    def get_manifest(self, repository: str, reference: str) -> Fetched:
        """Return the manifest that a reference names, checked; raise MissingError, UntrueError."""
        return reading.get_manifest(self._talk, repository, reference)

    def blob_size(self, repository: str, digest: str) -> int | None:
        """Return the size of a blob, or None where the repository has none."""
        return reading.blob_size(self._talk, repository, digest)

    def blob_location(self, repository: str, digest: str) -> str | None:
        """Return the URL elsewhere that a registry leads to for a blob, or None where it gives the bytes itself."""
        return reading.blob_location(self._talk, repository, digest)

    def read_blob(self, repository: str, digest: str, start: int = 0) -> Blob:
        """Return a blob's bytes from `start` on, to be closed by `with`; nothing is checked."""
        return reading.read_blob(self._talk, repository, digest, start)

    def prepare(self, repository: str, *, public: bool = False) -> None:
        """Make the project or repository that must exist before a push, where the make of the registry wants one."""
        makes.prepare(self._talk, repository, public=public)

    def mount(self, repository: str, digest: str, source: str) -> bool:
        """Tell whether a repository now has a blob that another one of the registry has."""
        return writing.mount(self._talk, repository, digest, source)

    def begin_upload(self, repository: str) -> str:
        """Return the location of a new upload."""
        location, self.least_chunk = writing.begin(self._talk, repository)
        return location

    def send(self, location: str, chunk: bytes, offset: int) -> str:
        """Send a chunk and return the location of the next; raise OffsetError where it does not follow."""
        return writing.send(self._talk, self._moved.pop(location, location), chunk, offset)

    def uploaded(self, location: str) -> int:
        """Return how many bytes an upload has; raise MissingError where it must be begun anew."""
        offset, self._moved[location] = writing.uploaded(self._talk, self._moved.get(location, location))
        return offset

    def finish(self, location: str, digest: str) -> None:
        """Make a blob of what was uploaded."""
        writing.finish(self._talk, self._moved.pop(location, location), digest)

    def put_blob(self, location: str, digest: str, size: int, pieces: Iterable[bytes]) -> None:
        """Send a whole blob in one request as it comes; raise what `pieces` raises."""
        writing.put_blob(self._talk, location, digest, size, pieces)

    def cancel(self, location: str) -> None:
        """Give an upload up."""
        writing.cancel(self._talk, self._moved.pop(location, location))

    def put_manifest(self, repository: str, reference: str, media_type: str, content: bytes) -> None:
        """Write a manifest under a tag or its digest."""
        writing.put_manifest(self._talk, repository, reference, media_type, content)

    def delete_manifest(self, repository: str, digest: str) -> None:
        """Delete a manifest and its tags; raise MissingError."""
        makes.delete_manifest(self._talk, repository, digest)

    def delete_tag(self, repository: str, tag: str) -> None:
        """Delete a tag and leave its manifest; raise MissingError."""
        makes.delete_tag(self._talk, repository, tag)

    def tags(self, repository: str) -> Iterator[str]:
        """Yield the tags of a repository; raise MissingError where there is none."""
        return listing.tags(self._talk, repository)

    def repositories(self, namespaces: Collection[str] = ()) -> Iterator[str]:
        """Yield the repositories that we may see, of some projects or namespaces where these are said."""
        return makes.repositories(self._talk, namespaces)

    def referrers(self, repository: str, digest: str) -> list[Mapping[str, Any]]:
        """Return the descriptors of what refers to a manifest."""
        return listing.referrers(self._talk, repository, digest)
