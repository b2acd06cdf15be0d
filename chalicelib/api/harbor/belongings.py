"""An artifact with what belongs to it: deleting and copying it as one.

What belongs to an artifact: its accessories, and the children of an index that have no tag and no other index.

Invariants:
* An artifact that an index needs is not deleted. Accessories go before their subject and children after their index,
  so that who is interrupted leaves nothing that lacks a part, and finds the rest by doing it again.
* Copying moves no data: the target holds the same blobs. A copy's parts are in place before it, its tags come last.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial

from chalicelib.api import indexing
from chalicelib.api.harbor.artifact_views import Located
from chalicelib.api.harbor.errors import HarborCode, HarborError, not_found
from chalicelib.oci import manifests as oci
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.manifests import Manifest
from chalicelib.oci.names import Repository, Tag
from chalicelib.services import Services
from chalicelib.store import blobs, manifests
from chalicelib.store.content import Content
from chalicelib.store.index import artifacts

_DEEPEST = 8


def delete(services: Services, located: Located) -> None:
    """Delete an artifact with what belongs to it; raise PRECONDITION where an index needs it."""
    if artifacts.has_parents(services.index, located.home, located.artifact.digest):
        message = f"{located.artifact.digest} is part of an index: delete that one first"
        raise HarborError(HarborCode.PRECONDITION, message)
    _delete(services, located, set())


def _delete(services: Services, located: Located, seen: set[str]) -> None:
    """Delete without asking who needs it; `seen` are those that are being deleted: references may go in a circle."""
    index, home, digest = services.index, located.home, located.artifact.digest
    if digest in seen:
        return
    seen.add(digest)
    children = [child["digest"] for child in artifacts.children(index, home, digest)]
    for accessory in artifacts.accessories(index, home, digest).entries:
        _delete_known(services, located, accessory.digest, seen)
    try:
        manifests.delete(services.content, home.repository, located.digest)
    except RegistryError as error:
        if error.code is not ErrorCode.MANIFEST_UNKNOWN:
            raise
    indexing.deleted(services, home.project_id, home.repository, located.digest)
    for child in dict.fromkeys(children):
        found = artifacts.find(index, home, child)
        if found and not found.tags and not artifacts.has_parents(index, home, child):
            _delete(services, replace(located, artifact=found), seen)


def _delete_known(services: Services, located: Located, digest: str, seen: set[str]) -> None:
    found = artifacts.find(services.index, located.home, digest)
    if found and not artifacts.has_parents(services.index, located.home, digest):
        _delete(services, replace(located, artifact=found), seen)


@dataclass(frozen=True, slots=True)
class _Copy:
    """From where to where, and its project; `done` are the digests that were taken care of."""

    services: Services
    source: Repository
    project_id: int
    target: Repository
    done: set[Digest]


def copy(services: Services, source: Located, project_id: int, target: Repository) -> None:
    """Copy an artifact with its tags, children and accessories into a repository of a project.

    Raise NOT_FOUND where a part is gone.
    """
    under_way = _Copy(services, source.home.repository, project_id, target, set())
    _copy(under_way, source, _DEEPEST)


def _copy(under_way: _Copy, source: Located, depth: int) -> None:
    index, home = under_way.services.index, source.home
    names = [tag.name for tag in artifacts.tags(index, home, source.artifact.digest).entries]
    _copy_manifest(under_way, source.digest, map(Tag, names), depth)
    for accessory in artifacts.accessories(index, home, source.artifact.digest).entries:
        found = artifacts.find(index, home, accessory.digest)
        if found and depth and Digest.parse(accessory.digest) not in under_way.done:
            _copy(under_way, Located(home, found), depth - 1)


def _copy_manifest(under_way: _Copy, digest: Digest, tags: Iterable[Tag], depth: int) -> None:
    services, source, target = under_way.services, under_way.source, under_way.target
    under_way.done.add(digest)
    try:
        stored = manifests.get(services.content, source, digest)
    except RegistryError as error:
        raise translated_missing(error, source, digest) from error
    manifest = oci.parse(stored.content, stored.media_type)
    if depth:
        _copy_children(under_way, manifest, depth - 1)
    _hold(services.content, source, target, manifest)
    names = tuple(tags)
    manifests.put(services.content, target, manifest, digest, names)
    indexing.pushed(services, under_way.project_id, target, manifest, digest, names)


def _copy_children(under_way: _Copy, manifest: Manifest, depth: int) -> None:
    """Copy those children of an index that the source has."""
    for child in dict.fromkeys(descriptor.digest for descriptor in manifest.manifests):
        if child in under_way.done:
            continue
        try:
            _copy_manifest(under_way, child, (), depth)
        except HarborError as error:
            if error.code is not HarborCode.NOT_FOUND:
                raise


def translated_missing(error: RegistryError, source: Repository, digest: Digest) -> Exception:
    """Return what to raise where a manifest could not be read."""
    return not_found(f"artifact {source}@{digest}") if error.code is ErrorCode.MANIFEST_UNKNOWN else error


def _hold(content: Content, source: Repository, target: Repository, manifest: Manifest) -> None:
    """Let the target hold the blobs of a manifest."""
    needed = tuple(dict.fromkeys(blob.digest for blob in manifest.blobs if not blob.held_elsewhere))
    held = content.together(partial(_mount, content, source, target), needed)
    missing = next((digest for digest, there in zip(needed, held, strict=True) if not there), None)
    if missing:
        raise not_found(f"blob {missing} of {source}")


def _mount(content: Content, source: Repository, target: Repository, digest: Digest) -> bool:
    return blobs.mount(content, target, digest, source)
