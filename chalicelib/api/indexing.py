"""Telling the artifact index what a request did in S3, and counting pulls.

Invariant: nothing here fails a request. S3 has committed already, and `jobs.reindex` repairs what the index missed.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace

from chalicelib.oci.digests import Digest
from chalicelib.oci.manifests import Manifest
from chalicelib.oci.names import Repository, Tag
from chalicelib.services import Services
from chalicelib.store.directory import audit, projects
from chalicelib.store.directory.audit import Event
from chalicelib.store.index import events

log = logging.getLogger(__name__)


def pushed(
    services: Services, repository: Repository, manifest: Manifest, digest: Digest, tags: Iterable[Tag]
) -> None:
    """Tell of a manifest that was stored, with the tags that name it now."""
    named = tuple(tags)
    _tell(
        services,
        repository,
        lambda project_id: events.pushed(services.index, project_id, repository, manifest, digest, named),
    )


def deleted(services: Services, repository: Repository, reference: Tag | Digest) -> None:
    """Tell of a tag, or of a manifest with its tags, that was deleted."""

    def tell(project_id: int) -> None:
        if isinstance(reference, Tag):
            events.untagged(services.index, project_id, repository, reference)
        else:
            events.deleted(services.index, project_id, repository, reference)

    _tell(services, repository, tell)


def retagged(services: Services, repository: Repository, tag: Tag, digest: Digest) -> None:
    """Tell of a tag that names another manifest now."""
    _tell(
        services,
        repository,
        lambda project_id: events.retagged(services.index, project_id, repository, {tag.name: str(digest)}),
    )


def audited(services: Services, actor: str, operation: str, repository: Repository, reference: Tag | Digest) -> None:
    """Write what somebody did to an artifact into the audit log."""
    mark = ":" if isinstance(reference, Tag) else "@"
    event = Event(actor, f"{repository}{mark}{reference}", "artifact", operation)
    _tell(
        services,
        repository,
        lambda project_id: audit.log(services.directory, [replace(event, project_id=project_id)]),
    )


def _tell(services: Services, repository: Repository, tell: Callable[[int], None]) -> None:
    try:
        project_id = project_of(services, repository)
        if project_id is not None:
            tell(project_id)
    except Exception:
        log.exception("the index missed a change of %s: run reindex", repository)


def project_of(services: Services, repository: Repository) -> int | None:
    """Return the id of the project that a repository is in, or None where there is none."""
    project = projects.find(services.directory, repository.name.partition("/")[0])
    return project.id if project else None
