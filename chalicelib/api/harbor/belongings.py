"""An artifact with what belongs to it, its accessories and the children of an index: copying it as one.

`store.cascade` deletes it as one.

Invariants:
* Copying moves no data: the target holds the same blobs. A copy's parts are in place before it, its tags come last.
* Where a tag would be written over that is immutable in the target, nothing is copied. One that names the very same
  there already hinders no copy, as in Harbor: who copies again gets the same answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from chalicelib.api.harbor.artifact_views import Located
from chalicelib.api.harbor.errors import HarborCode, HarborError, not_found
from chalicelib.changes import charging, fixed, indexing
from chalicelib.changes.charging import Account
from chalicelib.oci import manifests as oci
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.manifests import Manifest
from chalicelib.oci.names import Repository, Tag
from chalicelib.services import Services
from chalicelib.store import blobs, layout, manifests
from chalicelib.store.content import Content
from chalicelib.store.directory.projects import Project
from chalicelib.store.index import Index, artifacts

_DEEPEST = 8


@dataclass(frozen=True, slots=True)
class _Copy:
    """From where to where, and whose project is charged; `done` are the digests that were taken care of."""

    services: Services
    source: Repository
    charged: Account
    target: Repository
    done: set[Digest]


def copy(services: Services, source: Located, project: Project, target: Repository) -> tuple[Tag, ...]:
    """Copy an artifact with its tags, which are returned, children and accessories into a repository of a project.

    Raise NOT_FOUND where a part is gone, PRECONDITION where a tag is immutable in the target and names something
    else, and DENIED where it does not fit into the project's quota.
    """
    charged = charging.account(services, project, target)
    under_way = _Copy(services, source.home.repository, charged, target, set())
    names = _tags(services.index, source)
    moving = _moving(under_way, source.digest, names)
    manifests.check_free(services.content, target, fixed.among(project, target, moving))
    _copy(under_way, source, moving, _DEEPEST)
    return names


def _moving(under_way: _Copy, digest: Digest, tags: Sequence[Tag]) -> tuple[Tag, ...]:
    """Return the tags but for those that are immutable and name the manifest in the target already: they stay."""
    content, target = under_way.services.content, under_way.target
    still = tuple(fixed.among(under_way.charged.project, target, tags))
    heads = content.together(content.objects.head, [layout.tag(target, tag) for tag in still])
    there = {tag for tag, head in zip(still, heads, strict=True) if head and manifests.is_naming(head, digest)}
    return tuple(tag for tag in tags if tag not in there)


def _tags(index: Index, source: Located) -> tuple[Tag, ...]:
    return tuple(Tag(tag.name) for tag in artifacts.tags(index, source.home, source.artifact.digest).entries)


def _copy(under_way: _Copy, source: Located, tags: Sequence[Tag], depth: int) -> None:
    index, home = under_way.services.index, source.home
    _copy_manifest(under_way, source.digest, tags, depth)
    for accessory in artifacts.accessories(index, home, source.artifact.digest).entries:
        found = artifacts.find(index, home, accessory.digest)
        if found and depth and Digest.parse(accessory.digest) not in under_way.done:
            attached = Located(home, found)
            tags = _moving(under_way, attached.digest, _tags(index, attached))
            _copy(under_way, attached, tags, depth - 1)


def _copy_manifest(under_way: _Copy, digest: Digest, tags: Sequence[Tag], depth: int) -> None:
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
    restored = partial(indexing.restored, services, under_way.charged.project.id, target)
    charging.put_manifest(under_way.charged, target, manifest, digest, tags, restored)
    indexing.pushed(services, under_way.charged.project.id, target, manifest, digest, tags)


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
