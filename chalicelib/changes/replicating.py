"""Telling replication policies what a request changed here, after it is in S3 and in the index.

Invariant: where no policy was ever to be begun by events, which the settings say that a change reads anyway, it costs
nothing; and it fails nothing (`store.replicating`).
"""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from chalicelib.oci.digests import Digest
from chalicelib.oci.manifests import Manifest
from chalicelib.oci.names import Repository, Tag
from chalicelib.services import Services
from chalicelib.store.directory import configuration
from chalicelib.store.directory.configuration import REPLICATION_EVENTS

log = logging.getLogger(__name__)


def pushed(
    services: Services, by: str, repository: Repository, manifest: Manifest, digest: Digest, tags: Iterable[Tag]
) -> None:
    """Tell of a manifest that was pushed; one without tags that belongs to nothing waits for what it is a part of."""
    names = tuple(tag.name for tag in tags)
    subject = "" if names or not manifest.subject else str(manifest.subject.digest)
    if names or subject:
        _tell(services, by, repository, str(digest), tags=names, subject=subject)


def tagged(services: Services, by: str, repository: Repository, digest: Digest, tags: Iterable[Tag]) -> None:
    """Tell of tags that name what was there."""
    _tell(services, by, repository, str(digest), tags=tuple(tag.name for tag in tags))


def untagged(services: Services, by: str, repository: Repository, tag: Tag) -> None:
    """Tell of a tag that was deleted."""
    _tell(services, by, repository, "", tags=(tag.name,), deleted=True)


def deleted(services: Services, by: str, repository: Repository, digest: Digest, tags: Iterable[str]) -> None:
    """Tell of an artifact that was deleted, with the tags that it had."""
    _tell(services, by, repository, str(digest), tags=tuple(tags), deleted=True, whole=True)


def contents_of(services: Services, project_id: int, repository: Repository) -> Mapping[str, tuple[str, ...]]:
    """Return the artifacts of a repository that is about to be deleted, as far as anybody will ask for them."""
    if not _is_wanted(services):
        return {}
    from chalicelib.store.index import artifacts, repositories  # noqa: PLC0415 - as below

    home = repositories.find(services.index, project_id, repository)
    found = {each.digest: list[str]() for each in artifacts.scan(services.index, home)} if home else {}
    for name, digest in artifacts.tag_names(services.index, home) if home else ():
        found.setdefault(digest, []).append(name)
    return {digest: tuple(tags) for digest, tags in found.items()}


def emptied(services: Services, by: str, repository: Repository, contents: Mapping[str, tuple[str, ...]]) -> None:
    """Tell of a repository that was deleted with all that it had."""
    if contents:
        from chalicelib.store import replicating  # noqa: PLC0415 - as below

        replicating.emptied(services.directory, repository.name, contents, by)


def tags_of(services: Services, project_id: int, repository: Repository, digest: Digest) -> tuple[str, ...]:
    """Return the tags of what is about to be deleted, as far as anybody will ask for them."""
    if not _is_wanted(services):
        return ()
    from chalicelib.store.index import artifacts, repositories  # noqa: PLC0415 - as below

    home = repositories.find(services.index, project_id, repository)
    return tuple(tag.name for tag in artifacts.tags(services.index, home, str(digest)).entries) if home else ()


def _is_wanted(services: Services) -> bool:
    try:
        return bool(configuration.recent(services.directory).get(REPLICATION_EVENTS, False))
    except Exception:
        log.exception("nobody knows whether a replication policy wants to know of a change")
        return False


def _tell(services: Services, by: str, repository: Repository, digest: str, **about: Any) -> None:
    if not _is_wanted(services):
        return
    from chalicelib.store import replicating  # noqa: PLC0415 - few changes have anybody to tell

    replicating.begin(services.directory, [replicating.Change(repository.name, digest, **about)], by)
