"""Verifies what is stored, and repairs what can be repaired: everything, a project, or one repository.

Parameters: `repair` (False: tell only), `sample` (of how many per cent of the blobs the bytes are read; of the others
it is asked whether they are there), `project` and `repository` to look at nothing else.

Invariants:
* What is wrong is a table (`policy.damage`); how it is found and repaired is `store.inspection`'s business.
* Bytes are looked at after all repositories, and only where all are looked at: what any of them leads to is known.
* A step may be done twice and cut off anywhere: what it found counts once its cursor is saved, and what it remembers
  has a name of its own, which the cursor has.

A repository's links come first, a part at a time, then everything else of it. A step goes on while there is time.
"""

import logging
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any

from chalicelib.jobs import quota_reconcile, reindex
from chalicelib.jobs.steps import Again, Done, Outcome, TaskRun
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.names import Repository
from chalicelib.policy import damage
from chalicelib.policy.damage import Damage
from chalicelib.services import Services
from chalicelib.store import layout, listings
from chalicelib.store.directory import projects
from chalicelib.store.garbage.repository import after as repository_after
from chalicelib.store.garbage.seen import Seen
from chalicelib.store.inspection import Found, Inspection, contents, links, records, unused

log_ = logging.getLogger(__name__)

# What is younger may be a push, a deletion or an upload under way.
YOUNG = timedelta(minutes=15)
SAMPLE = 1
_LINKS, _ENTRIES, _BYTES, _USAGE, _DONE = "links", "entries", "bytes", "usage", ""
# So many blobs that cannot be pulled are remembered of a repository, to name the images that they are part of.
_MOST_BAD = 500


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an execution is, and what it found: in its cursor from step to step."""

    begun: str
    phase: str = _LINKS
    repository: str = ""
    after: str = ""
    bad: tuple[str, ...] = ()
    seen: str = ""
    repositories: int = 0
    manifests: int = 0
    blobs: int = 0
    found: Mapping[str, int] = field(default_factory=dict)
    repaired: Mapping[str, int] = field(default_factory=dict)
    usage: Mapping[str, Any] = field(default_factory=dict)

    def report(self) -> Mapping[str, Any]:
        """Return the counts: what was looked at, what was found by its kind, what is bad and was not repaired."""
        return {
            "repositories": self.repositories,
            "manifests": self.manifests,
            "blobs": self.blobs,
            "found": dict(self.found),
            "repaired": dict(self.repaired),
            "left": damage.left(self.found, self.repaired),
        }


@dataclass(frozen=True, slots=True)
class _Run:
    """A step of an execution: what it works with."""

    services: Services
    task: TaskRun
    inspection: Inspection

    @property
    def project(self) -> str:
        """Return the only project that is looked at, or ""."""
        return str(self.task.parameters.get("project") or "")

    @property
    def only(self) -> str:
        """Return the name of the only repository that is looked at, or ""."""
        name = str(self.task.parameters.get("repository") or "")
        return f"{self.project}/{name}" if name else ""

    def goes_on(self) -> bool:
        """Tell whether there is time for more."""
        return self.task.more_time() and not self.task.stopping()


def step(services: Services, task: TaskRun) -> Outcome:
    """Go on for as long as there is time; raise OSError or RegistryError where a store does not answer."""
    progress = _resumed(task) or Progress(services.now().isoformat())
    seen = _seen(services, task, progress)
    with _telling(task) as told:
        run = _Run(services, task, _inspection(services, task, seen, progress, told))
        while progress.phase:
            progress = _PHASES[progress.phase](run, progress)
            if not run.goes_on():
                break
    progress = _counted(progress, told)
    if progress.phase:
        progress = replace(progress, seen=_remembered(services, task, seen))
        return Again(asdict(progress), progress.report())
    for page in listings.pages(services.content.objects, layout.collector(task.execution_id, "")):
        services.content.objects.delete(*(entry.key for entry in page))
    task.log(_summary(progress))
    return Done(progress.report())


def _resumed(task: TaskRun) -> Progress | None:
    return Progress(**{**task.cursor, "bad": tuple(task.cursor["bad"])}) if task.cursor else None


@contextmanager
def _telling(task: TaskRun) -> Iterator[list[Found]]:
    """Give a list for what is found, which is logged however the step ends: a repair is not done twice."""
    told: list[Found] = []
    try:
        yield told
    finally:
        if told:
            task.log(
                "\n".join(damage.line(each.damage, each.where, each.what, repaired=each.repaired) for each in told)
            )


def _inspection(services: Services, task: TaskRun, seen: Seen, progress: Progress, told: list[Found]) -> Inspection:
    return Inspection(
        services.content,
        seen,
        datetime.fromisoformat(progress.begun) - min(YOUNG, services.content.grace),
        repair=bool(task.parameters.get("repair", False)),
        sample=int(task.parameters.get("sample", SAMPLE)),
        salt=str(task.execution_id),
        tell=told.append,
    )


def _seen(services: Services, task: TaskRun, progress: Progress) -> Seen:
    if not progress.seen:
        return Seen(str(task.execution_id))
    found = services.content.objects.get(layout.collector(task.execution_id, progress.seen))
    if found is None:
        raise LookupError("what was looked at was lost: start the verification again")
    return Seen.unpacked(str(task.execution_id), found.content)


def _remembered(services: Services, task: TaskRun, seen: Seen) -> str:
    name = secrets.token_hex(16)
    services.content.objects.put(layout.collector(task.execution_id, name), seen.packed())
    return name


def _counted(progress: Progress, told: list[Found]) -> Progress:
    found = Counter(progress.found) + Counter(each.damage.value for each in told)
    repaired = Counter(progress.repaired) + Counter(each.damage.value for each in told if each.repaired)
    return replace(progress, found=dict(found), repaired=dict(repaired))


def _summary(progress: Progress) -> str:
    report = progress.report()
    kinds = ", ".join(f"{name} {number}" for name, number in sorted(progress.found.items())) or "nothing wrong"
    return (
        f"looked at {progress.repositories} repositories, {progress.manifests} manifests and {progress.blobs} blobs:"
        f" {kinds}; {sum(progress.repaired.values())} repaired, {report['left']} left to be done"
    )


# Repositories


def _links(run: _Run, progress: Progress) -> Progress:
    """Look at a part of a repository's links, or at the rest of it after the last of them."""
    name = progress.repository or _following(run, "")
    if not name:
        return replace(progress, phase=_DONE if run.project else _ENTRIES)
    page = links.page(run.inspection, Repository(name), progress.after)
    bad = (*progress.bad, *page.bad)[:_MOST_BAD]
    progress = replace(progress, repository=name, after=page.after, bad=bad, blobs=progress.blobs + page.blobs)
    if page.after:
        return progress
    looked_at = contents.look(run.inspection, Repository(name), bad)
    _records(run, looked_at)
    progress = replace(
        progress,
        bad=(),
        repositories=progress.repositories + 1,
        manifests=progress.manifests + len(looked_at.manifests),
        repository=_following(run, name),
    )
    after_all = _USAGE if run.project else _ENTRIES
    return progress if progress.repository else replace(progress, phase=after_all)


def _following(run: _Run, name: str) -> str:
    """Return the name of the repository to look at after another one, or ""."""
    if run.only:
        return "" if name else run.only
    if run.project and not name:
        below = layout.of_project(run.project)[0]
        first = run.services.content.objects.list(below, limit=1).entries
        return layout.repository_name(first[0].key) if first else ""
    found = repository_after(run.services.content, name)
    return found if not run.project or found.startswith(f"{run.project}/") else ""


def _records(run: _Run, looked_at: contents.Contents) -> None:
    """Compare a repository with the index, and read it in again where that is to be repaired."""
    services, inspection = run.services, run.inspection
    project = projects.find(services.directory, looked_at.name.partition("/")[0])
    if project is None:
        return
    wrong = tuple(records.differing(services.index, project.id, looked_at, inspection.before))
    mend = partial(_read_in, services, reindex.Cursor(project.id, project.name, looked_at.name))
    for position, each in enumerate(wrong):
        # Reading the repository in once repairs all of them.
        inspection.found(Damage.RECORD_WRONG, looked_at.name, (each,), (lambda: True) if position else mend)


def _read_in(services: Services, cursor: reindex.Cursor) -> bool:
    try:
        reindex.read_in(services.index, cursor)
    except Exception as error:
        # Damage can raise anything, and must not end the verification.
        if not _is_of_damage(error):
            raise
        log_.exception("repository %s could not be read in", cursor.repository)
        return False
    return True


def _is_of_damage(error: Exception) -> bool:
    """Tell whether an error comes of what is stored: all else passes, and the step is done again."""
    if isinstance(error, RegistryError):
        return error.code is ErrorCode.UNKNOWN
    return not isinstance(error, OSError)


# Bytes


def _entries(run: _Run, progress: Progress) -> Progress:
    after = unused.entries(run.inspection, progress.after)
    return replace(progress, phase=_ENTRIES if after else _BYTES, after=after)


def _bytes(run: _Run, progress: Progress) -> Progress:
    after = unused.data(run.inspection, progress.after)
    return replace(progress, phase=_BYTES if after else _USAGE, after=after)


# What counts as used


def _usage(run: _Run, progress: Progress) -> Progress:
    """Count a part of what is used anew; where nothing is to be repaired, nobody can tell without doing it."""
    if not run.inspection.repair:
        return replace(progress, phase=_DONE)
    cursor = quota_reconcile.Cursor(**progress.usage) if progress.usage else _first(run)
    following = _counted_anew(run, cursor) if cursor else None
    if following is None or (run.project and following.project != run.project):
        return replace(progress, phase=_DONE, usage={})
    return replace(progress, usage=following.document())


def _counted_anew(run: _Run, cursor: quota_reconcile.Cursor) -> quota_reconcile.Cursor | None:
    """Count a part anew and tell of what was wrong; return what follows. Of what cannot be read nobody can tell."""
    try:
        following = quota_reconcile.advance(run.services, cursor)
    except Exception as error:
        # As above.
        if not _is_of_damage(error):
            raise
        log_.exception("what the project %s uses could not be counted", cursor.project)
        run.task.log(f"{cursor.project}: what it uses cannot be counted while the damages above are left")
        return quota_reconcile.next_project(run.services, cursor.project, cursor.repaired)
    for _ in range(following.repaired - cursor.repaired if following else 0):
        run.inspection.found(Damage.USAGE_WRONG, cursor.project, (), lambda: True)
    return following


def _first(run: _Run) -> quota_reconcile.Cursor | None:
    if not run.project:
        return quota_reconcile.next_project(run.services, "", 0)
    project = projects.find(run.services.directory, run.project)
    return quota_reconcile.Cursor(project.id, project.name) if project else None


_PHASES: Mapping[str, Callable[[_Run, Progress], Progress]] = MappingProxyType(
    {_LINKS: _links, _ENTRIES: _entries, _BYTES: _bytes, _USAGE: _usage}
)
