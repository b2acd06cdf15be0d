"""What a push may add to what its project stores, and what it is told where that is too much.

Invariants:
* What is accepted never exceeds the limit, however many push at once: room is taken first, then all that is taken is
  summed up, and whoever finds too much gives back and is refused. Two who would not fit together may both be refused.
* Only a project that has a limit pays for reading sums. Everything is counted in every project; where that fails, a
  push into one without a limit goes on, and `jobs.quota_reconcile` counts it.
* What is refused is refused with 403 DENIED, which clients show and do not try again, as early as it is known: at the
  beginning of an upload where the project is full, at the chunk that is too much, at the end, at the manifest.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

from chalicelib.changes import fixed
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.manifests import Manifest
from chalicelib.oci.names import Repository, Tag
from chalicelib.policy import quota
from chalicelib.policy.webhook_payloads import Happened
from chalicelib.policy.webhooks import EventType
from chalicelib.services import Services
from chalicelib.store import manifests, notifications
from chalicelib.store.content import Content
from chalicelib.store.directory import Directory, configuration, projects
from chalicelib.store.directory.projects import Project
from chalicelib.store.index import Index
from chalicelib.store.manifests import Beside
from chalicelib.store.uploads import Body
from chalicelib.store.usage import UPLOAD, counting, settling
from chalicelib.store.usage.counting import Holder
from chalicelib.store.usage.settling import Pushed

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Account:
    """A project that is charged; its limit is `quota.UNLIMITED` where it has none or quotas are switched off.

    Webhooks are told which repository it is charged for, and who caused it, where that is known.
    """

    index: Index
    content: Content
    project: Project
    limit: int
    directory: Directory | None = None
    repository: str = ""
    by: str = ""

    @property
    def bounded(self) -> bool:
        """Tell whether anything can be too much."""
        return self.limit != quota.UNLIMITED

    def used(self) -> int:
        """Return the bytes that the project uses."""
        return counting.used(self.index, self.project.id)


def account(services: Services, project: Project, repository: Repository, by: str = "") -> Account:
    """Return what is charged for a project when something is added to a repository of it."""
    limit = project.storage_limit
    if limit != quota.UNLIMITED and not configuration.recent(services.directory).get(
        "quota_per_project_enable", True
    ):
        limit = quota.UNLIMITED
    return Account(services.index, services.content, project, limit, services.directory, repository.name, by)


def account_of(services: Services, repository: Repository) -> Account:
    """Return what is charged for a repository's project; raise NAME_UNKNOWN where there is none any more."""
    name = repository.name.partition("/")[0]
    project = projects.find(services.directory, name)
    if project is None:
        raise RegistryError(ErrorCode.NAME_UNKNOWN, f"there is no project {name}: create it first")
    return account(services, project, repository)


def check_not_full(charged: Account) -> None:
    """Raise DENIED where nothing more fits."""
    if charged.bounded and (used := charged.used()) >= charged.limit:
        _refuse(charged, quota.full(used, charged.limit))


def check_room(charged: Account, digest: Digest, size: int) -> None:
    """Raise DENIED where a blob of at least so many bytes cannot fit: before they are taken."""
    if not charged.bounded or size <= 0:
        return
    used = charged.used()
    if used + size > charged.limit and not counting.is_counted(charged.index, charged.project.id, str(digest)):
        _refuse(charged, quota.exceeded(size, used, charged.limit))


class Measured:
    """A body that is read only as long as it fits: after `received` bytes that the upload has already."""

    def __init__(self, body: Body, charged: Account, received: int) -> None:
        self._body, self._charged, self._size = body, charged, received
        self._used = charged.used()

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, b"" at the end; raise BrokenBodyError, or DENIED where it is too much."""
        piece = self._body.read(size)
        self._size += len(piece)
        if self._used + self._size > self._charged.limit:
            _refuse(self._charged, quota.exceeded(self._size, self._used, self._charged.limit))
        return piece


def measured(charged: Account, body: Body, received: int) -> Body:
    """Return a body that raises DENIED when it is more than fits."""
    return Measured(body, charged, received) if charged.bounded else body


def blob(charged: Account, repository: Repository, digest: Digest, size: int) -> None:
    """Charge for a blob that a repository is about to hold; raise DENIED or BusyError."""
    index, project_id = charged.index, charged.project.id
    if not charged.bounded:
        with _best_effort(charged.project):
            settling.uploaded(index, project_id, repository, digest, size)
        return
    reserved, held = counting.reservation(project_id, repository), (str(digest),)
    added = counting.take(index, reserved, held, lambda _digest: size)
    _decide(charged, held, added, lambda: counting.give_up(index, reserved, held))
    counting.replace_holder(index, reserved, Holder(project_id, repository, UPLOAD), held)


def put_manifest(
    charged: Account,
    repository: Repository,
    manifest: Manifest,
    digest: Digest,
    tags: Iterable[Tag],
    beside: Beside = manifests.nothing,
) -> None:
    """Charge for a manifest and store it as the rules allow; raise DENIED, BusyError, and as `manifests.put` does.

    Whoever calls this tells `indexing` afterwards or, by `manifests.put`, `beside`.
    """
    index, pushed = charged.index, Pushed(charged.project.id, repository, digest, manifest)
    if charged.bounded:
        reserved = settling.reserve(index, pushed)
        _decide(charged, pushed.held(), reserved.added, partial(settling.refuse, index, pushed, reserved.by))
        settling.confirm(index, pushed, reserved.by)
    else:
        with _best_effort(charged.project):
            settling.take(index, pushed)
    names = tuple(tags)
    once = fixed.among(charged.project, repository, names)
    try:
        manifests.put(charged.content, repository, manifest, digest, names, beside, fixed=once)
    except Exception:
        with _best_effort(charged.project):
            settling.settle(index, pushed.project_id, repository, digest, manifest)
        raise


@contextmanager
def _best_effort(project: Project) -> Iterator[None]:
    try:
        yield
    except OSError:
        log.exception("what project %s uses is not counted right: a daily job repairs it", project.name)


def _decide(charged: Account, held: Sequence[str], added: int, give_back: Callable[[], None]) -> None:
    """Let what was reserved stand if there is room, or if it is stored in the project already; else raise DENIED."""
    used, limit = charged.used(), charged.limit
    settled = partial(counting.settled, charged.index, charged.project.id)
    if used > limit and not all(map(settled, held)):
        give_back()
        _refuse(charged, quota.exceeded(added, used - added, limit))
    if quota.warns(used - added, used, limit):
        _tell(charged, EventType.QUOTA_WARNING, quota.full(used, limit))


def _tell(charged: Account, kind: EventType, details: str) -> None:
    """Tell whoever wants to know: the log, and the project's webhooks."""
    log.warning("%s of project %s: %s", kind, charged.project.name, details)
    if charged.directory:
        moment = int(charged.directory.now().timestamp())
        more = {"custom_attributes": {"Details": details}}
        happened = Happened(kind, moment, charged.by, charged.repository, more=more)
        notifications.tell(charged.directory, charged.project, [happened])


def _refuse(charged: Account, reason: str) -> NoReturn:
    _tell(charged, EventType.QUOTA_EXCEEDED, reason)
    raise RegistryError(ErrorCode.DENIED, reason)
