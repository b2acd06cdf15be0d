"""Makes the artifact index agree with S3: after a loss, after a hook that failed, or from nothing.

Invariants:
* It goes on beside pushes and deletes, and may be interrupted and repeated at any point: it says what S3 has to the
  same functions that pushes call, which look at S3 again before they remove anything.
* Ids, push times, descriptions, labels and pulls of what is still there stay.
* A step reads one page of S3 and returns where the next one begins; no step depends on the size of a repository.

A repository is gone through in three phases: its manifests and its tags, each in the order of S3's listing beside
that of the records, then relations of indexes that have no record any more.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import takewhile
from typing import Any, TypeVar

from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import RegistryError
from chalicelib.oci.names import Repository, Tag
from chalicelib.services import Services
from chalicelib.store import layout, manifests
from chalicelib.store.directory import projects
from chalicelib.store.index import Index, artifacts, removal, repositories, settle, written
from chalicelib.store.index.attempts import in_any, in_known
from chalicelib.store.index.repositories import RepositoryRecord
from chalicelib.store.objects import Entry
from chalicelib.store.table import Key, Put, Slice, every

log = logging.getLogger(__name__)

T = TypeVar("T")

_PAGE = 200
_SIDE_BY_SIDE = 8
_PROGRESS = Key("jobs/", "reindex")


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where the job is: in which project (by id) and repository, in which phase of it, after which entry."""

    project_id: int = 0
    project: str = ""
    repository: str = ""
    phase: int = 0
    after: str = ""

    def document(self) -> dict[str, Any]:
        """Return the cursor as JSON has it; `Cursor(**document)` is the way back."""
        return asdict(self)


def go_on(services: Services, more_time: Callable[[], bool]) -> bool:
    """Go through everything while there is `more_time`, from where the last call ended; tell whether it is done.

    A function on Lambda has a quarter of an hour: a large registry takes several of them.
    """
    if not services.keeps_table():
        return False
    table = services.index.table
    found = table.get(_PROGRESS)
    cursor = Cursor(**found.document) if found and found.document else begin(services)
    with ThreadPoolExecutor(_SIDE_BY_SIDE, thread_name_prefix="reindex") as pool:
        while cursor and more_time():
            cursor = _step_or_skip(services, pool, cursor, "", "")
    table.commit(Put(_PROGRESS, cursor.document() if cursor else {}))
    return cursor is None


def run(
    services: Services, project: str = "", repository: str = "", progress: Callable[[Cursor], None] = lambda _: None
) -> int:
    """Go through one repository, a project, or with neither through everything; return how many steps it took.

    `progress` is told where each step begins. A repository in which something is wrong is named in the log, and left.
    Raise LookupError where there is no such project, or another region is the primary, whose bucket the index is of;
    OSError or RegistryError where a store does not answer.
    """
    if not services.keeps_table():
        raise LookupError("another region is the primary: the index is made from the bucket there")
    with ThreadPoolExecutor(_SIDE_BY_SIDE, thread_name_prefix="reindex") as pool:
        cursor = begin(services, project, repository)
        steps = 0
        while cursor:
            progress(cursor)
            cursor = _step_or_skip(services, pool, cursor, project, repository)
            steps += 1
        return steps


def read_in(index: Index, cursor: Cursor) -> None:
    """Go through the repository that a cursor is at the beginning of; raise whatever is wrong in it."""
    with ThreadPoolExecutor(_SIDE_BY_SIDE, thread_name_prefix="reindex") as pool:
        while cursor.phase < PHASES:
            cursor = within(index, pool, cursor)


def _step_or_skip(services: Services, pool: Executor, cursor: Cursor, project: str, repository: str) -> Cursor | None:
    try:
        return step(services, pool, cursor, project, repository)
    except (OSError, RegistryError):
        raise
    except Exception:
        # Damage can raise anything: the other repositories are gone through all the same.
        log.exception("repository %s could not be gone through", cursor.repository)
        return step(services, pool, replace(cursor, phase=PHASES), project, repository)


def begin(services: Services, project: str = "", repository: str = "") -> Cursor | None:
    """Return where a run begins, None where there is nothing to do; raise LookupError."""
    if not project:
        return _next_project(services, "")
    found = projects.find(services.directory, project)
    if found is None:
        raise LookupError(f"there is no project {project}")
    return Cursor(found.id, project, repository)


def step(
    services: Services, pool: Executor, cursor: Cursor, project: str = "", repository: str = ""
) -> Cursor | None:
    """Do one step; return the cursor of the next one, or None at the end of what was asked for."""
    unfinished = cursor.repository and cursor.phase < PHASES
    after = within(services.index, pool, cursor) if unfinished else cursor
    if after.repository and after.phase < PHASES:
        return after
    if repository:
        return None
    following = _next_repository(services.index, cursor)
    if following:
        return replace(cursor, repository=following, phase=0, after="")
    return None if project else _next_project(services, cursor.project)


def _next_project(services: Services, after: str) -> Cursor | None:
    page = projects.page(services.directory, Slice(after=after, limit=1))
    return Cursor(page.entries[0].id, page.entries[0].name) if page.entries else None


def _next_repository(index: Index, cursor: Cursor) -> str:
    """Return the name of the next repository that the bucket or the index has, or ""."""
    prefix = f"{layout.CATALOG}{cursor.project}!"
    current = repositories.sort_key(Repository(cursor.repository)) if cursor.repository else ""
    after = layout.CATALOG + current if current else ""
    in_bucket = index.content.objects.list(prefix, after=after, limit=1).entries
    in_index = repositories.page(index, cursor.project_id, Slice(after=current, limit=1)).entries
    keys = [entry.key for entry in in_bucket] + [layout.catalog(found.repository) for found in in_index]
    return layout.catalog_name(min(keys)) if keys else ""


def within(index: Index, pool: Executor, cursor: Cursor) -> Cursor:
    """Do one step in a repository; the phase `PHASES` is the end of it."""
    repository = Repository(cursor.repository)
    if cursor.phase == 0 and not cursor.after and not _is_there(index, repository):
        in_known(index, cursor.project_id, repository, partial(removal.forget, index))
        return replace(cursor, phase=PHASES)
    after: list[str] = []

    def attempt(home: RepositoryRecord) -> None:
        after[:] = [_PHASES[cursor.phase](index, home, pool, cursor.after)]

    in_any(index, cursor.project_id, repository, attempt, _created(index, repository))
    return replace(cursor, phase=cursor.phase + (not after[0]), after=after[0])


def _is_there(index: Index, repository: Repository) -> bool:
    """Tell whether the bucket has the repository; one that only the catalog lacks is entered again."""
    if index.content.objects.head(layout.catalog(repository)):
        return True
    tagged = index.content.objects.list(layout.tags(repository), limit=1).entries
    if not tagged and not any(manifests.stored(index.content, repository)):
        return False
    index.content.objects.put(layout.catalog(repository), b"")
    return True


def _created(index: Index, repository: Repository) -> str:
    """Return since when the bucket lists the repository, or ""."""
    page = index.content.objects.list(layout.catalog(repository), limit=1)
    return next((written(entry.modified) for entry in page.entries if entry.key == layout.catalog(repository)), "")


def _manifests(index: Index, home: RepositoryRecord, pool: Executor, after: str) -> str:
    """Settle a page of manifests; return the last one's digest, or "" at the end."""
    prefix = layout.manifests(home.repository)
    page = index.content.objects.list(prefix, after=prefix + after.replace(":", "/"), limit=_PAGE)
    found = {layout.manifest_digest(home.repository, entry.key): entry for entry in page.entries}
    last = next(reversed(found)) if page.more else ""

    def renew(digest: str, entry: Entry) -> None:
        settle.renewed(index, home, Digest.parse(digest), written(entry.modified))

    _together(pool, [partial(renew, digest, entry) for digest, entry in found.items()])
    stale = (digest for digest in _records(index, home.partition("artifacts"), after, last) if digest not in found)
    for digest in stale:
        settle.checked(index, home, Digest.parse(digest))
    return last


def _tags(index: Index, home: RepositoryRecord, pool: Executor, after: str) -> str:
    """Settle a page of tags; return the last one, or "" at the end."""
    prefix = layout.tags(home.repository)
    page = index.content.objects.list(prefix, after=prefix + after, limit=_PAGE)
    found = {entry.key.removeprefix(prefix): entry for entry in page.entries}
    last = next(reversed(found)) if page.more else ""
    heads = _together(pool, [partial(settle.named, index, home.repository, Tag(name)) for name in found])
    believed = dict(zip(found, heads, strict=True))
    # What only the index has is looked for in S3, too: it may have been pushed since the listing.
    believed |= {
        name: settle.named(index, home.repository, Tag(name))
        for name in _records(index, home.partition("tags"), after, last)
        if name not in found
    }
    settle.tags(index, home, believed, {name: written(entry.modified) for name, entry in found.items()})
    return last


def _relations(index: Index, home: RepositoryRecord, pool: Executor, after: str) -> str:  # noqa: ARG001 - a phase
    """Remove a page of relations of indexes without records; return the last one, or "" at the end."""
    page = index.table.query(home.partition("children"), Slice(after=after, limit=_PAGE))
    for digest in dict.fromkeys(record.key.sort.partition("/")[0] for record in page.entries):
        if artifacts.find(index, home, digest) is None:
            settle.unrelate(index, home, digest)
    return page.entries[-1].key.sort if page.more else ""


_PHASES: tuple[Callable[[Index, RepositoryRecord, Executor, str], str], ...] = (_manifests, _tags, _relations)
PHASES = len(_PHASES)


def _records(index: Index, partition: str, after: str, last: str) -> Iterator[str]:
    """Return the sort keys of a partition's records after one and up to another ("" for the end)."""
    names = (record.key.sort for record in every(index.table, partition, after=after, limit=_PAGE))
    return takewhile(lambda name: not last or name <= last, names)


def _together(pool: Executor, actions: Iterable[Callable[[], T]]) -> list[T]:
    """Do actions side by side; return their results in order, or raise the first failure when all are done."""
    under_way = [pool.submit(action) for action in actions]
    wait(under_way)
    return [future.result() for future in under_way]
