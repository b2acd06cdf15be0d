"""Replication: copies what a policy selects to or from another registry, one task for each repository.

The first task of an execution lists what there is and adds a task for each repository; an execution that an event
begins has one task alone, for what the event is about.

Invariants:
* A policy and its registry hold as they are when a step begins. Where one is gone or disabled, nothing is done.
* What another registry cannot take now (too many requests, no answer) is tried again when it says, else after pauses
  that grow; after `_MOST_TROUBLES` of them without a byte the task fails.
* A task that copied all but some artifacts has failed, and its log and report name them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from chalicelib.changes import logins
from chalicelib.jobs import replicate_local, replicate_tell
from chalicelib.jobs.replicate_copy import Copier, NotDoneError, Progress
from chalicelib.jobs.replicate_ends import GoneError, Item, Pace, Source, Target, may_pass
from chalicelib.jobs.replicate_local import LocalSource, LocalTarget
from chalicelib.jobs.replicate_remote import RemoteSource, RemoteTarget
from chalicelib.jobs.steps import Again, Done, Failed, Outcome, TaskRun
from chalicelib.oci.errors import RegistryError
from chalicelib.oci.names import Repository
from chalicelib.policy import adapters, replication
from chalicelib.policy.jobs import ACTIVE, Kind, pause
from chalicelib.policy.replication import Policy
from chalicelib.services import Services
from chalicelib.store import executions, remote, schedules
from chalicelib.store.directory import projects, registries
from chalicelib.store.directory import replication as policies
from chalicelib.store.directory.registries import Registry
from chalicelib.store.directory.replication import Stored
from chalicelib.store.index import repositories
from chalicelib.store.remote import LoginError, MissingError, Remote, RemoteError, Site
from chalicelib.store.replicating import (
    COPY,
    DELETION,
    DIGESTS,
    ITEMS,
    NAMED,
    NAMES,
    ONLY,
    OPERATION,
    REPOSITORY,
    SUBJECT,
    TAGS,
    TO,
)
from chalicelib.store.sealed import SealError

Connect = Callable[[Site], AbstractContextManager[Remote]]

_MOST_TROUBLES = 8
_LONGEST_WAIT = 3600
_TOGETHER = 20
_MOST_SAID, _MOST_FAILED = 3, 1000
_AGAIN = "it is here again"
# Harbor's words, by which tools tell these executions from others.
_SKIPPED = "Execution skipped: active replication still in progress."
_NOTHING = "no resources need to be replicated"


class _StaysError(Exception):
    """Something is not deleted; the text says why."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a step works with."""

    services: Services
    run: TaskRun
    stored: Stored
    registry: Registry
    remote: Remote

    @property
    def policy(self) -> Policy:
        """Return the policy."""
        return self.stored.policy

    def destination(self, repository: str) -> str:
        """Return where a repository goes; raise ValueError where its name does not fit there."""
        if self.policy.pulls:
            return replication.destination(self.policy, repository, fewest=2).name
        adapter = adapters.find(self.registry.type)
        bounds = {"most": adapter.most_parts} if adapter.most_parts else {}
        return replication.destination(self.policy, repository, adapter.fewest_parts, **bounds).name


def step(services: Services, run: TaskRun, connect: Connect | None = None) -> Outcome:
    """Do a step of the task that lists, or of one for a repository; raise LostError or OSError."""
    stored = policies.by_id(run.directory, run.vendor_id)
    registry = registries.find(run.directory, stored.policy.registry) if stored else None
    if stored is None or registry is None:
        run.log("the policy or its registry was deleted: there is nothing to do")
        schedules.remove(run.directory, Kind.REPLICATION, run.vendor_id)
        return Done()
    if not stored.policy.enabled:
        run.log("the policy is disabled: there is nothing to do")
        return Done()
    try:
        site = registries.site(services.settings, registry)
    except SealError as error:
        return Failed(str(error))
    with connect(site) if connect else remote.connect(site, services.settings.private_targets) as conversation:
        work = Work(services, run, stored, registry, conversation)
        try:
            with logins.tried(services, site):
                return _TASKS[run.parameters.get(OPERATION, "")](work)
        except (OSError, RegistryError) as error:
            if not may_pass(error):
                return Failed(str(error))
            return _patiently(run, run.cursor, error)


def _patiently(run: TaskRun, cursor: Mapping[str, Any], error: Exception) -> Outcome:
    """Leave a task for as long as the other side says, or until it failed too often."""
    troubles = cursor.get("troubles", 0) + 1
    if troubles > _MOST_TROUBLES:
        return Failed(str(error), _report(cursor))
    asked = error.retry_after if isinstance(error, RemoteError) else None
    seconds = min(_LONGEST_WAIT, max(1, asked if asked is not None else pause(troubles)))
    run.log(f"{error}; it is tried again in {seconds} seconds")
    return Again({**cursor, "troubles": troubles}, _report(cursor), after=seconds)


def _plan(work: Work) -> Outcome:
    """Add a task for each repository that the policy takes."""
    run, cursor = work.run, work.run.cursor
    if not cursor and work.policy.single and _runs_beside(run):
        run.log("another execution of the policy is under way, and it has one at a time: nothing is done")
        return Failed(_SKIPPED)
    after, failed, some = cursor.get("after", ""), list(cursor.get("failed", ())), cursor.get("some", False)
    found: dict[str, dict[str, Any]] = {}
    for name, count in _repositories(work, after):
        after = name
        try:
            found[name] = {REPOSITORY: name, TO: work.destination(name), OPERATION: COPY, ITEMS: count()}
        except ValueError as error:
            run.log(f"ERR {error}")
            failed.append(str(error))
        if len(found) == _TOGETHER or run.stopping() or not run.more_time():
            some = _spawn(run, found) or some
            return Again({"after": after, "failed": failed[:_MOST_FAILED], "some": some})
    some = _spawn(run, found) or some
    if failed:
        return Failed(f"{len(failed)} repositories have no name at the destination: {'; '.join(failed[:_MOST_SAID])}")
    return Done() if some else Done({"status_text": _NOTHING})


def _runs_beside(run: TaskRun) -> bool:
    page = executions.page(run.directory, Kind.REPLICATION, run.vendor_id)
    return any(each.status in ACTIVE and each.id < run.execution_id for each in page.entries)


def _spawn(run: TaskRun, found: Mapping[str, Mapping[str, Any]]) -> bool:
    """Add tasks for what was found, where there is something in it; tell whether there is."""
    wanted = {name: parameters for name, parameters in found.items() if parameters[ITEMS]}
    if wanted:
        run.spawn(wanted)
        run.log("\n".join(f"found {replication.text(name, each[ITEMS])}" for name, each in wanted.items()))
    return bool(wanted)


def _repositories(work: Work, after: str) -> Iterator[tuple[str, Callable[[], int]]]:
    """Yield the names of what is to be copied that follow `after`, each with a count of what is in it."""
    if work.policy.pulls:
        return _of_registry(work, after)
    return _of_projects(work, after)


def _of_registry(work: Work, after: str) -> Iterator[tuple[str, Callable[[], int]]]:
    filters = work.policy.filters
    names = replication.named(filters)
    listed = work.remote.repositories(replication.namespaces(filters)) if names is None else names
    for name in sorted(each for each in listed if replication.takes_repository(filters, each)):
        if name > after:
            yield name, partial(_count, RemoteSource(work.remote, work.policy, name))


def _of_projects(work: Work, after: str) -> Iterator[tuple[str, Callable[[], int]]]:
    services = work.services
    for project in projects.every(services.directory):
        if project.name < after.partition("/")[0]:
            continue
        homes = {home.repository.name: home for home in repositories.all_of(services.index, project.id)}
        for name, home in sorted(homes.items()):
            is_left = (project.name, name) > (after.partition("/")[0], after)
            if is_left and replication.takes_repository(work.policy.filters, name):
                yield name, partial(_count, LocalSource(services, work.policy, home))


def _count(source: Source) -> int:
    return sum(max(1, len(item.tags)) for item in source.items(""))


def _copy(work: Work) -> Outcome:
    """Copy what is wanted of a repository, as far as the time goes."""
    run, parameters = work.run, work.run.parameters
    name, target_name = parameters[REPOSITORY], parameters[TO]
    source = _source(work, name)
    if source is None:
        run.log(f"the repository {name} was deleted: there is nothing to do")
        return Done()
    if isinstance(source, LocalSource) and not run.cursor and not run.dry_run:
        project = projects.by_id(run.directory, source.home.project_id)
        work.remote.prepare(target_name, public=project is not None and project.public)
    progress = Progress.of(run.cursor)
    pace = Pace(work.policy.speed * 1024)
    target = _target(work, target_name)
    copier = Copier(run, work.policy, source, target, name, target_name, progress, pace)
    try:
        copier.go_on(_only(source, parameters))
    except NotDoneError:
        return Again(progress.document(), _report(progress.document()))
    except (OSError, RegistryError) as error:
        if not may_pass(error):
            _tell(work, Failed(str(error)), progress)
            raise
        outcome = _patiently(run, progress.document(), error)
    else:
        outcome = _ended(progress)
    if not isinstance(outcome, Again):
        _tell(work, outcome, progress)
    return outcome


def _tell(work: Work, outcome: Outcome, progress: Progress) -> None:
    replicate_tell.tell(work.services, work.run, work.stored, work.registry, outcome, progress)


def _only(source: Source, parameters: Mapping[str, Any]) -> Iterable[Item] | None:
    """Return what an event was about, as far as the policy wants it; None where all is meant."""
    if ONLY not in parameters or not isinstance(source, LocalSource):
        return None
    return source.narrowed(map(Item.of, parameters[ONLY]), parameters.get(SUBJECT, ""))


def _source(work: Work, name: str) -> Source | None:
    if work.policy.pulls:
        return RemoteSource(work.remote, work.policy, name)
    home = replicate_local.home_of(work.services, name)
    return LocalSource(work.services, work.policy, home) if home else None


def _target(work: Work, name: str) -> Target:
    if work.policy.pulls:
        return LocalTarget(work.services, Repository(name))

    def renamed(repository: str) -> str:
        try:
            return work.destination(repository)
        except ValueError:
            return ""

    return RemoteTarget(work.remote, name, renamed)


def _ended(progress: Progress) -> Outcome:
    report = _report(progress.document())
    if progress.failures:
        return Failed(f"{progress.failures} of the artifacts were not copied: the log says why", report)
    return Done(report)


def _report(cursor: Mapping[str, Any]) -> dict[str, Any]:
    names = {"items": "copied", "skipped": "skipped", "failures": "failed", "bytes": "bytes"}
    return {shown: cursor[name] for name, shown in names.items() if name in cursor}


def _delete(work: Work) -> Outcome:
    """Delete at the destination what was deleted here, and is not here again."""
    run, parameters = work.run, work.run.parameters
    name, progress = parameters[TO], Progress()
    if work.policy.pulls or not work.policy.deletion:
        run.log("the policy deletes nothing at its destination any more: there is nothing to do")
        return Done()
    for what, delete in _deletions(work, parameters):
        try:
            delete()
        except _StaysError as error:
            run.log(f"{name}{what} is left alone: {error}")
        except (MissingError, GoneError):
            run.log(f"{name}{what} is not there: there is nothing to delete")
        except RemoteError as error:
            if may_pass(error) or isinstance(error, LoginError):
                raise
            run.log(f"ERR {name}{what}: {error}")
            progress.failures += 1
            progress.failed.append(f"{parameters[REPOSITORY]}{what}")
        else:
            run.log(f"deleted {name}{what}")
            progress.items += 1
            progress.copied.append(f"{parameters[REPOSITORY]}{what}")
    outcome = _ended(progress)
    _tell(work, outcome, progress)
    return outcome


def _deletions(work: Work, parameters: Mapping[str, Any]) -> Iterable[tuple[str, Callable[[], None]]]:
    for each in parameters.get(TAGS, ()):
        yield f":{each}", partial(_delete_tag, work, each, parameters.get(NAMED, ""))
    for each in parameters.get(DIGESTS, ()):
        yield f"@{each}", partial(_delete_manifest, work, each)


def _delete_tag(work: Work, tag: str, named: str) -> None:
    """Delete a tag that named something here, or "" where nobody knew what."""
    parameters, name = work.run.parameters, work.run.parameters[TO]
    if LocalTarget(work.services, Repository(parameters[REPOSITORY])).named(tag):
        raise _StaysError(_AGAIN)
    if named and not work.policy.override and _target(work, name).named(tag) not in ("", named):
        raise _StaysError("it names something else than it did here, and the policy does not override")
    work.remote.delete_tag(name, tag)


def _delete_manifest(work: Work, digest: str) -> None:
    parameters = work.run.parameters
    if LocalTarget(work.services, Repository(parameters[REPOSITORY])).has(digest):
        raise _StaysError(_AGAIN)
    names = parameters.get(NAMES, {}).get(digest)
    if not names:
        work.remote.delete_manifest(parameters[TO], digest)
        return
    for tag in names:
        # The rest goes all the same.
        with suppress(MissingError, _StaysError):
            _delete_tag(work, tag, digest)


_TASKS: Mapping[str, Callable[[Work], Outcome]] = {"": _plan, COPY: _copy, DELETION: _delete}
