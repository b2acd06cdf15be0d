"""Collects garbage while pushes go on: condemned manifests, links that no manifest needs, bytes without links.

Invariants:
* It deletes nothing that was written within the grace period (`Content.grace`), and nothing that is not still what it
  saw (`store.garbage`). Whoever was told within half of that period that a blob is there can finish a push.
* All repositories are gone through before the first bytes go: what any of them holds is in the filter by then.
* What a step found to be without links is written down before it is deleted, so no crash leaves bytes behind.
* What is remembered from step to step is an object with a name of its own, which the cursor has: a worker whose lease
  ran out, and who writes late, changes nothing that its successor reads.
* What is deleted from a repository is told to the index and to the sums of what is used, as a client's deletion is.

A step is a repository, some pages of the index of bytes, or the deletion of what was found there.
"""

import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

from chalicelib.jobs.steps import Again, Done, Outcome, TaskRun
from chalicelib.oci.names import Repository
from chalicelib.services import Services
from chalicelib.store import layout, listings
from chalicelib.store.blobs import Blob
from chalicelib.store.directory import projects
from chalicelib.store.garbage import needs, unlinked
from chalicelib.store.garbage import repository as within
from chalicelib.store.garbage.repository import Plan
from chalicelib.store.garbage.seen import Seen
from chalicelib.store.history import Reach
from chalicelib.store.usage import settling

_REPOSITORIES, _BYTES, _BURY, _DONE = "repositories", "bytes", "bury", ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an execution is, and what it did: in its cursor from step to step."""

    begun: str
    phase: str = _REPOSITORIES
    repository: str = ""
    after: str = ""
    linked: str = ""
    dying: str = ""
    manifests: int = 0
    retired: int = 0
    links: int = 0
    blobs: int = 0
    freed: int = 0

    def report(self) -> Mapping[str, Any]:
        """Return the counts under Harbor's names, and what Harbor does not count."""
        return {
            "purged_manifests": self.manifests,
            "purged_blobs": self.blobs,
            "freed_space": self.freed,
            "released_links": self.links,
            "retired_manifests": self.retired,
        }


def step(services: Services, task: TaskRun) -> Outcome:
    """Go on for as long as there is time; raise OSError or RegistryError."""
    if not task.cursor:
        # An execution that was stopped, or given up, has left what it remembered.
        _forget(services, layout.COLLECTOR)
    progress = Progress(**task.cursor) if task.cursor else Progress(services.now().isoformat())
    progress = _PHASES[progress.phase](services, task, progress)
    if progress.phase:
        return Again(asdict(progress), progress.report())
    _forget(services, layout.collector(task.execution_id, ""))
    if not task.dry_run:
        needs.drop_old(services.content, _plan(services, task, progress).before)
    task.log(_told(task, progress))
    return Done(progress.report())


def _forget(services: Services, prefix: str) -> None:
    for page in listings.pages(services.content.objects, prefix):
        keys = [entry.key for entry in page if not entry.key.startswith(layout.NEEDS)]
        services.content.objects.delete(*keys)
        if len(keys) < len(page):
            # What is known of repositories comes behind all executions.
            return


def _told(task: TaskRun, progress: Progress) -> str:
    would = "would delete" if task.dry_run else "deleted"
    return (
        f"{would} {progress.manifests} manifests, {progress.links} links of repositories to blobs, and"
        f" {progress.blobs} blobs of {progress.freed} bytes; {progress.retired} manifests without a tag"
        f" {'would be' if task.dry_run else 'were'} retired"
    )


def _plan(services: Services, task: TaskRun, progress: Progress) -> Plan:
    begun = datetime.fromisoformat(progress.begun)
    return Plan(
        before=begun - services.content.grace,
        reach=Reach(ended=begun - services.settings.history_window),
        untagged=bool(task.parameters.get("delete_untagged", False)),
        dry=task.dry_run,
    )


def _repositories(services: Services, task: TaskRun, progress: Progress) -> Progress:
    """Go through repositories while there is time; what they hold is in the filter, which is stored at the end."""
    linked = _linked(services, task, progress) if progress.linked else Seen(_salt(task))
    plan = _plan(services, task, progress)
    while name := within.after(services.content, progress.repository):
        found = within.collect(services.content, Repository(name), linked, Seen(_salt(task)), plan)
        _tell(services, task, Repository(name), found)
        progress = replace(
            progress,
            repository=name,
            manifests=progress.manifests + found.manifests,
            retired=progress.retired + len(found.retired),
            links=progress.links + len(found.released),
        )
        if not task.more_time() or task.stopping():
            break
    else:
        progress = replace(progress, phase=_BYTES)
    return replace(progress, linked=_remember(services, task, linked.packed()))


def _tell(services: Services, task: TaskRun, repository: Repository, found: within.Outcome) -> None:
    if found.damaged:
        names = ", ".join(map(str, found.damaged))
        task.log(
            f"{repository}: no more was deleted, since these manifests are damaged: {names}; push or delete them"
        )
    if found.manifests or found.retired or found.released:
        task.log(
            f"{repository}: {found.manifests} manifests deleted, {len(found.retired)} retired,"
            f" {len(found.released)} blobs released"
        )
    if task.dry_run or not (found.retired or found.released):
        return
    project = projects.find(services.directory, repository.name.partition("/")[0])
    if project is None:
        return
    for digest in found.retired:
        settling.deleted(services.index, project.id, repository, digest)
    settling.all_released(services.index, project.id, repository, found.released)


def _bytes(services: Services, task: TaskRun, progress: Progress) -> Progress:
    """Look for bytes that nothing links to, and write down what is found."""
    linked = _linked(services, task, progress)
    dying, after = unlinked.find(services.content, linked, _plan(services, task, progress).before, progress.after)
    if task.dry_run:
        progress = _counted(progress, [each.blob for each in dying])
        return replace(progress, phase=_BYTES if after else _DONE, after=after)
    return replace(progress, phase=_BURY, after=after, dying=_remember(services, task, unlinked.pack(dying)))


def _bury(services: Services, task: TaskRun, progress: Progress) -> Progress:
    """Delete what was written down; after a crash some of it is gone already."""
    found = services.content.objects.get(layout.collector(task.execution_id, progress.dying))
    dying = unlinked.unpack(found.content) if found else ()
    progress = _counted(progress, unlinked.bury(services.content, dying))
    return replace(progress, phase=_BYTES if progress.after else _DONE)


def _counted(progress: Progress, blobs: Collection[Blob]) -> Progress:
    return replace(
        progress, blobs=progress.blobs + len(blobs), freed=progress.freed + sum(blob.size for blob in blobs)
    )


def _remember(services: Services, task: TaskRun, packed: bytes) -> str:
    """Store something for the next step and return its name."""
    name = secrets.token_hex(16)
    services.content.objects.put(layout.collector(task.execution_id, name), packed)
    return name


def _linked(services: Services, task: TaskRun, progress: Progress) -> Seen:
    """Return what the repositories hold, as the last step stored it."""
    found = services.content.objects.get(layout.collector(task.execution_id, progress.linked))
    if found is None:
        raise LookupError("what the repositories hold was lost: start the collection again")
    return Seen.unpacked(_salt(task), found.content)


def _salt(task: TaskRun) -> str:
    return str(task.execution_id)


_PHASES: Mapping[str, Callable[[Services, TaskRun, Progress], Progress]] = MappingProxyType(
    {_REPOSITORIES: _repositories, _BYTES: _bytes, _BURY: _bury}
)
