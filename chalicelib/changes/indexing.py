"""Telling the artifact index, the sums of what is used, and the audit log what a request did.

Invariants:
* What is told after a change of S3 fails no request. S3 has committed already; `jobs.reindex` repairs what the
  index missed, and `jobs.quota_reconcile` what the sums did.
* A change of the table alone takes its audit entry along (`carrying`): it is there exactly if the change is.
* Every event is a line of the process's log too (`AUDIT`), in which CloudWatch finds it.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import asdict, replace
from functools import partial

from chalicelib.changes import AUDIT
from chalicelib.oci.digests import Digest
from chalicelib.oci.manifests import Manifest
from chalicelib.oci.names import Repository, Tag
from chalicelib.policy.audit import Event, Rules
from chalicelib.policy.webhook_payloads import Happened
from chalicelib.policy.webhooks import EventType
from chalicelib.services import Services
from chalicelib.store import notifications
from chalicelib.store.directory import audit, configuration, webhooks
from chalicelib.store.directory.projects import Project
from chalicelib.store.index import artifacts, events, repositories
from chalicelib.store.usage import settling

log = logging.getLogger(__name__)


def pushed(
    services: Services,
    project_id: int,
    repository: Repository,
    manifest: Manifest,
    digest: Digest,
    tags: Iterable[Tag],
) -> None:
    """Tell of a manifest that was stored, with the tags that name it now."""
    named = tuple(tags)
    with _best_effort(repository):
        settling.kept(services.index, settling.Pushed(project_id, repository, digest, manifest))
    with _best_effort(repository):
        events.pushed(services.index, project_id, repository, manifest, digest, named)


def restored(
    services: Services, project_id: int, repository: Repository, again: Iterable[tuple[Digest, Manifest]]
) -> None:
    """Tell of children of an index that were retired, and are in use again."""
    for digest, manifest in again:
        pushed(services, project_id, repository, manifest, digest, ())


def deleted(services: Services, project_id: int, repository: Repository, reference: Tag | Digest) -> None:
    """Tell of a tag, or of a manifest with its tags, that was deleted."""
    with _best_effort(repository):
        if isinstance(reference, Tag):
            events.untagged(services.index, project_id, repository, reference)
        else:
            settling.deleted(services.index, project_id, repository, reference)


def released(services: Services, project_id: int, repository: Repository, digest: Digest) -> None:
    """Tell of a blob that the repository holds no longer."""
    with _best_effort(repository):
        settling.released(services.index, project_id, repository, digest)


def emptied(services: Services, project_id: int, repository: Repository) -> None:
    """Tell of a repository of which every manifest was deleted, and the index knows it."""
    with _best_effort(repository):
        settling.repository_gone(services.index, project_id, repository)


def retagged(services: Services, project_id: int, repository: Repository, tag: Tag, digest: Digest) -> None:
    """Tell of a tag that names another manifest now."""
    with _best_effort(repository):
        events.retagged(services.index, project_id, repository, {tag.name: str(digest)})
    with _best_effort(repository):
        settling.settle(services.index, project_id, repository, digest)


def audited(services: Services, event: Event) -> None:
    """Write into the audit log."""
    try:
        audit.log(services.directory, event)
        tell(services, event)
    except Exception:
        # What is told of was done already: whoever did it is not told that it failed.
        log.exception("the audit log lacks %s", event)


def carrying(services: Services, event: Event) -> Services:
    """Return services of which the next change of the table writes the event too."""
    tables = (services.directory.table, services.index.table)
    directory, index = audit.carried(services.directory, tables, event, partial(tell, services, event))
    return replace(
        services,
        directory=replace(services.directory, table=directory),
        index=replace(services.index, table=index),
    )


def tell(services: Services, event: Event) -> None:
    """Write the line of an event that is in the audit log."""
    if Rules.of(configuration.recent(services.directory)).want(event.type):
        AUDIT.info(event.type, extra={"audit": asdict(event)})


def artifact_audited(
    services: Services, actor: str, operation: str, project_id: int, repository: Repository, reference: Tag | Digest
) -> None:
    """Write what somebody did to an artifact into the audit log."""
    mark = ":" if isinstance(reference, Tag) else "@"
    resource = f"{repository}{mark}{reference}"
    audited(services, Event(actor, resource, "artifact", operation, project_id=project_id))


def notified(services: Services, project: Project, events: Iterable[Happened]) -> AbstractContextManager[None]:
    """Tell webhooks beside what is done meanwhile; where the project has none that want to know, do nothing."""
    wanted = [happened for happened in events if webhooks.wanting(project, happened.type)]
    if not wanted:
        return nullcontext()
    return services.content.meanwhile(partial(notifications.tell, services.directory, project, wanted))


def last_tag(services: Services, project: Project, repository: Repository, digest: Digest) -> Tag | None:
    """Return the tag by which webhooks are told of an artifact that is about to be deleted: its latest, if any.

    Where nobody wants to know, nothing is read; where nobody can say, it is told by its digest.
    """
    if webhooks.wanting(project, EventType.DELETED):
        with suppress(OSError):
            home = repositories.find(services.index, project.id, repository)
            tags = artifacts.tags(services.index, home, str(digest)).entries if home else ()
            return Tag(max(tags, key=lambda tag: tag.pushed).name) if tags else None
    return None


@contextmanager
def _best_effort(repository: Repository) -> Iterator[None]:
    try:
        yield
    except Exception:
        # S3 has the change, which was acknowledged or will be.
        log.exception("the index or the quota missed a change of %s: a daily job repairs it", repository)
