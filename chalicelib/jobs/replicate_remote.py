"""Another registry as the one or the other end of a copy.

Invariants:
* What comes from there is tags: what has none, and cosign's and the referrers' own tags, are no items. The latter go
  with what they belong to.
* A blob is sent in chunks where the registry takes them, and goes on where it was after a crash; else in one request.

Specification: OCI Distribution 1.1, "Pushing blobs".
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from chalicelib.jobs.replicate_ends import JSON, CopyError, GoneError, Item, Piece, Stream
from chalicelib.oci import manifests as oci
from chalicelib.oci.digests import Digest
from chalicelib.oci.manifests import Descriptor, Manifest
from chalicelib.policy import replication
from chalicelib.policy.replication import Candidate, FilterKind, Policy, Resource
from chalicelib.store.index import kinds
from chalicelib.store.remote import MissingError, OffsetError, Remote

_CHUNK = 16 << 20
_MOST_MOUNTS, _MOST_ANEW, _MOST_BESIDE = 2, 3, 3
# Tags that say what they belong to: the referrers' fallback, and cosign's older ones.
_BELONGING = re.compile(r"sha256-[0-9a-f]{64}(?:\.(?:sig|att|sbom))?", re.ASCII)
_SUFFIXES = ("sig", "att", "sbom")


@dataclass(frozen=True)
class RemoteSource:
    """A repository of another registry, as a policy sees it."""

    remote: Remote
    policy: Policy
    repository: str
    thorough: bool = False

    @cached_property
    def _tags(self) -> tuple[str, ...]:
        try:
            return tuple(sorted(self.remote.tags(self.repository)))
        except MissingError:
            return ()

    def items(self, after: str) -> Iterator[Item]:
        """Yield the tags that the policy wants, in the order of their names."""
        for tag in self._tags:
            if tag > after and not _BELONGING.fullmatch(tag) and replication.takes_tag(self.policy.filters, tag):
                yield Item(tag, "", (tag,))

    def is_wanted(self, item: Item) -> bool:
        """Tell whether the policy wants what a tag names: that takes a request, where it wants images alone."""
        asked = [each for each in self.policy.filters if each.kind is FilterKind.RESOURCE]
        if all(each.values != (Resource.IMAGE,) for each in asked):
            return True
        found = Candidate("", item.tags, type=kinds.artifact_type(self.manifest(item.tags[0])))
        return replication.chosen(asked, found) is not None

    def is_named(self, tag: str, digest: str) -> bool:  # noqa: ARG002 - as an end has it
        """Tell nothing that would take a request: the next execution brings what a tag names by now."""
        return True

    def accessories(self, digest: str) -> Iterator[Item]:
        """Yield what refers to an artifact, and what cosign's tags attach to it."""
        seen = set[str]()
        for descriptor in self.remote.referrers(self.repository, digest):
            seen.add(descriptor["digest"])
            yield Item("", descriptor["digest"], ())
        known = frozenset(self._tags)
        for suffix in _SUFFIXES:
            tag = f"{digest.replace(':', '-', 1)}.{suffix}"
            if tag in known and (named := self.digest_of(tag)) not in seen:
                yield Item("", named, (tag,))

    def manifest(self, digest: str) -> Manifest:
        """Return a manifest; raise GoneError."""
        try:
            found = self.remote.get_manifest(self.repository, digest)
        except MissingError as error:
            raise GoneError(digest) from error
        return oci.parse(found.content, found.media_type)

    def digest_of(self, tag: str) -> str:
        """Return what a tag names; raise GoneError."""
        found = self.remote.head_manifest(self.repository, tag)
        if found is None:
            raise GoneError(tag)
        return found.digest

    def blob(self, digest: Digest, start: int) -> AbstractContextManager[Stream]:
        """Return a blob's bytes from `start` on; raise CopyError."""
        try:
            return self.remote.read_blob(self.repository, str(digest), start)
        except MissingError as error:
            raise CopyError(f"the source lacks the blob {digest}, which a manifest of it needs") from error

    def elsewhere(self, digest: Digest) -> tuple[str, ...]:  # noqa: ARG002 - as an end has it
        """Return nothing: what comes here is mounted by what is known here."""
        return ()


@dataclass(frozen=True)
class RemoteTarget:
    """A repository of another registry that a copy goes into; `renamed` tells where a repository here goes there."""

    remote: Remote
    repository: str
    renamed: Callable[[str], str]

    @property
    def chunk(self) -> int:
        """The most bytes that are sent at once; 0 where a blob goes in one request."""
        return max(_CHUNK, self.remote.least_chunk) if self.remote.takes_chunks else 0

    def named(self, tag: str) -> str:
        """Return the digest that a tag names, or ""."""
        found = self.remote.head_manifest(self.repository, tag)
        return found.digest if found else ""

    def has(self, digest: str) -> bool:
        """Tell whether a manifest is there."""
        return self.remote.head_manifest(self.repository, digest) is not None

    def hold(self, blob: Descriptor, elsewhere: Callable[[], Iterable[str]]) -> bool:
        """Tell whether a blob is there now, be it by a mount from where another copy went."""
        digest = str(blob.digest)
        if self.remote.blob_size(self.repository, digest) is not None:
            return True
        places = (place for place in map(self.renamed, elsewhere()) if place and place != self.repository)
        return any(self._mounted(digest, place) for place in islice(places, _MOST_MOUNTS))

    def _mounted(self, digest: str, place: str) -> bool:
        try:
            return self.remote.mount(self.repository, digest, place)
        except MissingError:
            return False

    def begin(self, blob: Descriptor) -> JSON:  # noqa: ARG002 - as an end has it
        """Begin an upload."""
        return {"location": self.remote.begin_upload(self.repository), "offset": 0}

    def resumed(self, upload: JSON) -> JSON | None:
        """Return an upload of an earlier worker as it is now, or None where it is over."""
        if not self.remote.takes_chunks:
            return None
        try:
            return {**upload, "offset": self.remote.uploaded(upload["location"])}
        except MissingError:
            return None

    def received(self, upload: JSON) -> int:
        """Return how many bytes an upload has."""
        return int(upload["offset"])

    def send(self, upload: JSON, piece: Piece, blob: Descriptor) -> JSON:
        """Send a chunk, or all of it."""
        location, offset = upload["location"], self.received(upload)
        if not self.remote.takes_chunks:
            self.remote.put_blob(location, str(blob.digest), blob.size, _pieces(piece, blob.size))
            return {**upload, "offset": blob.size, "done": True}
        chunk = piece.whole(piece.left)
        if not chunk:
            return upload
        try:
            return {**upload, "location": self.remote.send(location, chunk, offset), "offset": offset + len(chunk)}
        except OffsetError:
            return self._beside(upload)
        except MissingError:
            return self._anew(upload)

    def _beside(self, upload: JSON) -> JSON:
        """Go on where the registry says, unless it says that of chunk after chunk."""
        offset = self.remote.uploaded(upload["location"])
        # Part of the chunk may have been taken.
        times = 0 if offset > self.received(upload) else upload.get("beside", 0) + 1
        if times > _MOST_BESIDE:
            raise CopyError("the destination takes no chunk at the place in the upload that it names")
        return {**upload, "offset": offset, "beside": times}

    def _anew(self, upload: JSON) -> JSON:
        """Begin an upload again that the registry forgot, unless it forgets each."""
        times = upload.get("anew", 0) + 1
        if times > _MOST_ANEW:
            raise CopyError("the destination forgets every upload before it is whole")
        return {**upload, "location": self.remote.begin_upload(self.repository), "offset": 0, "anew": times}

    def finish(self, upload: JSON, blob: Descriptor) -> None:
        """Make a blob of an upload: the registry verifies it."""
        if not upload.get("done"):
            self.remote.finish(upload["location"], str(blob.digest))

    def put(self, digest: str, manifest: Manifest, tags: tuple[str, ...], *, tell: bool) -> None:  # noqa: ARG002
        """Write a manifest and let tags name it."""
        for reference in tags or (digest,):
            self.remote.put_manifest(self.repository, reference, manifest.media_type, manifest.content)

    def refer(self, subject: str, manifests: Mapping[str, Manifest]) -> None:
        """See that what refers to a subject is found by it: a push sees to that, unless its worker was killed."""
        listed = {each["digest"] for each in self.remote.referrers(self.repository, subject)}
        for digest, manifest in manifests.items():
            if digest not in listed:
                self.remote.put_manifest(self.repository, digest, manifest.media_type, manifest.content)


def _pieces(piece: Piece, size: int) -> Iterator[bytes]:
    """Yield a blob whole, however long that takes."""
    while size and (found := piece.read(size)):
        yield found
        size -= len(found)
