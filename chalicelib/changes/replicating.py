"""Telling replication policies what a request changed here, after it is in S3 and in the index.

Invariant: where no policy was ever to be begun by events, which the settings say that a change reads anyway, it costs
nothing; and it fails nothing (`store.replicating`).
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from chalicelib.oci.digests import Digest
from chalicelib.oci.manifests import Manifest
from chalicelib.oci.names import Repository, Tag
from chalicelib.services import Services
from chalicelib.store.directory import configuration
from chalicelib.store.directory.configuration import REPLICATION_EVENTS

if TYPE_CHECKING:
    from chalicelib.policy.replication import Candidate

log = logging.getLogger(__name__)


def pushed(
    services: Services, by: str, repository: Repository, manifest: Manifest, digest: Digest, tags: Iterable[Tag]
) -> None:
    """Tell of a manifest that was pushed; one without tags that belongs to nothing waits for what it is a part of."""
    names = tuple(tag.name for tag in tags)
    subject = "" if names or not manifest.subject else str(manifest.subject.digest)
    if names or subject:
        _tell(services, by, repository, partial(_pushed, str(digest), names), subject=subject)


def came_alone(services: Services, by: str, repository: Repository, digest: Digest) -> None:
    """Tell of a manifest without tags that nothing will come after which leads to it."""
    _tell(services, by, repository, partial(_pushed, str(digest), ()))


def tagged(services: Services, by: str, repository: Repository, digest: Digest, tags: Iterable[Tag]) -> None:
    """Tell of tags that name what was there."""
    names = tuple(tag.name for tag in tags)
    _tell(services, by, repository, partial(_pushed, str(digest), names))


def deleted(services: Services, by: str, repository: Repository, gone: "Candidate | None", *, whole: bool) -> None:
    """Tell of what is gone, as `going` knew it: an artifact as a `whole`, or a tag."""
    if gone:
        _tell(services, by, repository, lambda: gone, deleted=True, whole=whole)


def going(services: Services, project_id: int, repository: Repository, reference: Tag | Digest) -> "Candidate | None":
    """Return what is about to be deleted as policies see it, with the tags that go; None where nobody will ask."""
    if not _is_wanted(services):
        return None
    try:
        return _candidate(services, project_id, repository, reference)
    except Exception:
        # It must not stand in the way of the deletion.
        log.exception("no replication policy will hear that %s of %s is deleted", reference, repository)
        return None


def _candidate(services: Services, project_id: int, repository: Repository, reference: Tag | Digest) -> "Candidate":
    from chalicelib.policy.replication import Candidate  # noqa: PLC0415 - as below
    from chalicelib.store import candidates  # noqa: PLC0415 - as below
    from chalicelib.store.index import artifacts, repositories  # noqa: PLC0415 - as below

    names: tuple[str, ...] = (reference.name,) if isinstance(reference, Tag) else ()
    digest = "" if names else str(reference)
    home = repositories.find(services.index, project_id, repository)
    if home is None:
        return Candidate(digest, names)
    if names:
        tag = artifacts.find_tag(services.index, home, names[0])
        digest = tag.digest if tag else ""
    else:
        names = tuple(tag.name for tag in artifacts.tags(services.index, home, digest).entries)
    found = artifacts.find(services.index, home, digest) if digest else None
    return candidates.of(found, names, candidates.Names(services.directory)) if found else Candidate(digest, names)


def contents_of(services: Services, project_id: int, repository: Repository) -> "tuple[Candidate, ...]":
    """Return the artifacts of a repository that is about to be deleted, as far as anybody will ask for them."""
    if not _is_wanted(services):
        return ()
    from chalicelib.store import candidates  # noqa: PLC0415 - as below
    from chalicelib.store.index import repositories  # noqa: PLC0415 - as below

    home = repositories.find(services.index, project_id, repository)
    return tuple(each for _, each in candidates.listed(services.index, services.directory, home)) if home else ()


def emptied(services: Services, by: str, repository: Repository, contents: "Sequence[Candidate]") -> None:
    """Tell of a repository that was deleted with all that it had."""
    if contents:
        from chalicelib.store import replicating  # noqa: PLC0415 - as below

        replicating.emptied(services.directory, repository.name, contents, by)


def _pushed(digest: str, tags: tuple[str, ...]) -> "Candidate":
    from chalicelib.policy.replication import Candidate  # noqa: PLC0415 - as below

    return Candidate(digest, tags)


def _is_wanted(services: Services) -> bool:
    try:
        return bool(configuration.recent(services.directory).get(REPLICATION_EVENTS, False))
    except Exception:
        # Nor in that of what was done already.
        log.exception("nobody knows whether a replication policy wants to know of a change")
        return False


def _tell(services: Services, by: str, repository: Repository, what: "Callable[[], Candidate]", **about: Any) -> None:
    if not _is_wanted(services):
        return
    from chalicelib.store import replicating  # noqa: PLC0415 - few changes have anybody to tell

    replicating.begin(services.directory, [replicating.Change(repository.name, what(), **about)], by)
