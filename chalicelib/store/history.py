"""What a tag named before, and the way back to it.

Invariants:
* The states are the versions of the tag's object, so there is nothing that a push has to write for them. Versions in
  a row that name the same manifest are one state: a push that was repeated changed nothing.
* An undo is a push of the bytes that the version carries. Whatever a push refuses, or a crash leaves, holds for it.
* An undo never deletes: it goes to the manifest that the tag named last before the one that it names now. A second
  one therefore goes forth again; further back leads the version of a state.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import groupby

from chalicelib.oci import manifests as oci
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.manifests import Manifest
from chalicelib.oci.names import Repository, Tag
from chalicelib.store import layout, manifests
from chalicelib.store.content import Content
from chalicelib.store.objects import Object, Version

# Each version is a request.
LONGEST = 51
_EVER = datetime.min.replace(tzinfo=UTC)
Put = Callable[[Repository, Manifest, Digest, Iterable[Tag]], None]


@dataclass(frozen=True, slots=True)
class TagState:
    """What a tag named since `time`: a manifest of `size` bytes, or none where it was `deleted`.

    `version` names the state to `undo`.
    """

    digest: Digest | None
    time: datetime
    size: int
    deleted: bool
    current: bool
    version: str


@dataclass(frozen=True, slots=True)
class _Named:
    """A version, and the digest of the manifest that it carries."""

    version: Version
    digest: Digest | None


def history(content: Content, repository: Repository, tag: Tag, since: datetime = _EVER) -> tuple[TagState, ...]:
    """Return the states of a tag that S3 still has, of its last `LONGEST` versions since a moment, the newest first.

    Raise MANIFEST_UNKNOWN where there are none.
    """
    # S3 knows no part of a second.
    begun = since.replace(microsecond=0)
    every = content.objects.versions(layout.tag(repository, tag))
    versions = [version for version in every if version.modified >= begun][:LONGEST]
    found = content.together(partial(_named, content, layout.tag(repository, tag)), versions)
    states = tuple(_states(named for named in found if named))
    if not states:
        raise _unknown(tag, f"{repository} has no tag {tag}, and had none of late")
    return states


def _named(content: Content, key: str, version: Version) -> _Named | None:
    """Return what a version names, or None where it has expired since the listing."""
    if version.deleted:
        return _Named(version, None)
    found = content.objects.get(key, version.id)
    return _Named(version, Digest.parse(found.head.metadata[manifests.DIGEST])) if found else None


def _states(found: Iterable[_Named]) -> Iterable[TagState]:
    for digest, group in groupby(found, key=lambda named: named.digest):
        versions = [named.version for named in group]
        newest, first = versions[0], versions[-1]
        yield TagState(digest, first.modified, newest.size, newest.deleted, newest.latest, newest.id)


def undo(
    content: Content,
    repository: Repository,
    tag: Tag,
    version: str = "",
    since: datetime = _EVER,
    put: Put | None = None,
) -> Digest:
    """Let a tag name again what it named before, or in the state of a version; return the digest.

    Raise MANIFEST_UNKNOWN where there is no such state, or what its manifest refers to is gone; and as `put` does,
    which is `manifests.put` unless it is given.
    """
    state = _target(history(content, repository, tag, since), tag, version)
    if state.current and state.digest:
        return state.digest
    found = content.objects.get(layout.tag(repository, tag), state.version)
    if found is None or state.digest is None:
        raise _unknown(tag, f"what {tag} was in version {state.version} is no longer kept")
    _put(put or partial(manifests.put, content), repository, tag, state.digest, found)
    return state.digest


def _target(states: tuple[TagState, ...], tag: Tag, version: str) -> TagState:
    if version:
        found = [state for state in states if state.version == version and not state.deleted]
        why = f"{tag} has no version {version} that names a manifest: see its history"
    else:
        now = states[0].digest if states[0].current else None
        found = [state for state in states if state.digest not in (None, now)]
        why = f"{tag} named no other manifest before, or too long ago"
    if not found:
        raise _unknown(tag, why)
    return found[0]


def _put(
    put: Put,
    repository: Repository,
    tag: Tag,
    digest: Digest,
    found: Object,
) -> None:
    if not digest.matches(found.content):
        raise RegistryError(ErrorCode.UNKNOWN, f"the stored manifest {digest} is damaged: push it again")
    manifest = oci.parse(found.content, found.head.content_type)
    try:
        put(repository, manifest, digest, [tag])
    except RegistryError as error:
        if error.code is not ErrorCode.MANIFEST_BLOB_UNKNOWN:
            raise
        raise _unknown(tag, f"{digest} cannot come back: {repository} no longer holds what it refers to") from error


def _unknown(tag: Tag, why: str) -> RegistryError:
    return RegistryError(ErrorCode.MANIFEST_UNKNOWN, why, detail={"reference": str(tag)})
