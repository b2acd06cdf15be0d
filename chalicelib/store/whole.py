"""Whether all is here that a pull of a manifest needs: what another region sends arrives in no order.

Invariant: this reads, and nothing else. Bytes are asked for by the key that the link names, and not read.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from chalicelib.oci import manifests as oci
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.manifests import Manifest
from chalicelib.oci.names import Repository
from chalicelib.store import blobs, manifests
from chalicelib.store.content import Content

_DEEPEST = 3


@dataclass(frozen=True, slots=True)
class Missing:
    """What has not arrived: blobs, and manifests below an index, which may be missing for good (a sparse index)."""

    blobs: frozenset[Digest] = frozenset()
    manifests: frozenset[Digest] = frozenset()

    def __bool__(self) -> bool:
        """Tell whether anything is missing."""
        return bool(self.blobs or self.manifests)


def missing(content: Content, repository: Repository, manifest: Manifest) -> Missing:
    """Return what a pull of a manifest, and of all below it, would not find; raise UNAVAILABLE."""
    level: tuple[Manifest, ...] = (manifest,)
    lost, absent, seen = set[Digest](), set[Digest](), set[Digest]()
    for _ in range(_DEEPEST):
        needed = {blob.digest for each in level for blob in each.blobs if not blob.held_elsewhere} - seen
        children = {child.digest for each in level for child in each.manifests} - seen
        seen |= needed | children
        lost |= _without(needed, content.together(partial(_has_bytes, content, repository), needed))
        found = content.together(partial(_read, content, repository), children)
        absent |= _without(children, found)
        level = tuple(child for child in found if child)
    return Missing(frozenset(lost), frozenset(absent))


def _without(asked: Iterable[Digest], found: Iterable[object]) -> set[Digest]:
    return {digest for digest, there in zip(asked, found, strict=True) if not there}


def _has_bytes(content: Content, repository: Repository, digest: Digest) -> bool:
    blob = blobs.find(content, repository, digest)
    return blob is not None and content.objects.head(blob.key) is not None


def _read(content: Content, repository: Repository, digest: Digest) -> Manifest | None:
    """Return a manifest that can be pulled, or None."""
    try:
        found = manifests.get(content, repository, digest)
        return oci.parse(found.content, found.media_type)
    except RegistryError as error:
        if error.code is ErrorCode.UNAVAILABLE:
            raise
        return None
