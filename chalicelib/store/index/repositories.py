"""Repositories as the index knows them: one record each, counted for each project.

Invariants:
* A repository's record is made by its first push and goes with `removal`; artifacts that go leave it.
* The catalog in the bucket lists what has a record: whoever makes the record sees to it.
"""

from dataclasses import dataclass

from chalicelib.oci.names import Repository
from chalicelib.oci.pages import Page
from chalicelib.store import layout
from chalicelib.store.index import Index
from chalicelib.store.table import (
    ABSENT,
    ANYHOW,
    Add,
    Change,
    Check,
    Delete,
    If,
    Key,
    Put,
    Record,
    RefusedError,
    Slice,
    every,
)

CHANGED = "the repository was changed or deleted meanwhile: look at it again"
_HELD = "the project holds repositories"
_REPOSITORIES = "repositories"


@dataclass(frozen=True, slots=True)
class RepositoryRecord:
    """A repository; times are RFC 3339 texts.

    `manifests` counts everything that was pushed, `artifacts` what lists show, `bytes` what the manifests refer to.
    """

    project_id: int
    repository: Repository
    id: int
    description: str
    created: str
    updated: str
    manifests: int
    artifacts: int
    bytes: int
    pulls: int
    record: Record

    def partition(self, kind: str) -> str:
        """Return where this repository has its records of a kind."""
        return f"{kind}/{self.project_id}/{self.repository}/{self.id}"

    def unchanged(self) -> Check:
        """Return the condition that this is still the repository that a change is meant for."""
        return Check(self.record.key, If(etag=self.record.etag), CHANGED)

    def counting(self, **amounts: int) -> Change:
        """Return the change of counters, under the same condition."""
        return Add(self.record.key, amounts, If(etag=self.record.etag), CHANGED)


def find(index: Index, project_id: int, repository: Repository) -> RepositoryRecord | None:
    """Return the repository, or None."""
    record = index.table.get(_key(project_id, repository))
    return _from_record(project_id, record) if record else None


def ensure(index: Index, project_id: int, repository: Repository, created: str = "") -> RepositoryRecord:
    """Return the repository, made now where the index lacks it; raise RefusedError where others make it too."""
    found = find(index, project_id, repository)
    if found:
        return found
    time = created or index.time()
    document = {"id": index.new_id(), "name": repository.name, "description": "", "created": time, "updated": time}
    _list_in_catalog(index, repository)
    index.table.commit(
        Put(_key(project_id, repository), document, ABSENT, CHANGED),
        Add(_project(project_id), {_REPOSITORIES: 1}, ANYHOW),
    )
    made = find(index, project_id, repository)
    if made is None:
        raise RefusedError([CHANGED])
    return made


def _list_in_catalog(index: Index, repository: Repository) -> None:
    """Enter a repository that was just removed, and is pushed to again, into the catalog anew."""
    key = layout.catalog(repository)
    if index.content.objects.head(key) is None:
        index.content.objects.put(key, b"")


def page(index: Index, project_id: int, wanted: Slice) -> Page[RepositoryRecord]:
    """Return a part of the repositories of a project, in the order of their names, compared part by part."""
    found = index.table.query(_partition(project_id), wanted)
    return Page(tuple(_from_record(project_id, record) for record in found.entries), found.more)


def all_of(index: Index, project_id: int) -> tuple[RepositoryRecord, ...]:
    """Return all repositories of a project, in the order of their names."""
    return tuple(_from_record(project_id, record) for record in every(index.table, _partition(project_id)))


def count(index: Index, project_id: int) -> int:
    """Return how many repositories a project has."""
    found = index.table.get(_project(project_id))
    return found.counters.get(_REPOSITORIES, 0) if found else 0


def none_in(index: Index, project_id: int) -> Check:  # noqa: ARG001 - called as its neighbours are
    """Return the condition that a project holds no repository."""
    return Check(_project(project_id), If(at_most={_REPOSITORIES: 0}), _HELD)


def describe(index: Index, home: RepositoryRecord, description: str) -> None:
    """Change the description; raise RefusedError where the repository changed meanwhile."""
    document = {**home.record.document, "description": description, "updated": index.time()}
    index.table.commit(Put(home.record.key, document, If(etag=home.record.etag), CHANGED))


def forget(index: Index, home: RepositoryRecord) -> None:
    """Remove the record, and so everything below it from sight; raise RefusedError where it changed meanwhile."""
    index.table.commit(
        Delete(home.record.key, If(etag=home.record.etag), CHANGED),
        Add(_project(home.project_id), {_REPOSITORIES: -1}, ANYHOW),
    )


def pulled(index: Index, home: RepositoryRecord, pulls: int) -> None:
    """Count pulls, in haste."""
    index.table.add(home.record.key, {"pulls": pulls})


def sort_key(repository: Repository) -> str:
    """Return what a project's repositories are ordered by: the catalog's spelling of the name."""
    return layout.catalog(repository).removeprefix(layout.CATALOG)


def _partition(project_id: int) -> str:
    return f"{_REPOSITORIES}/{project_id}"


def _key(project_id: int, repository: Repository) -> Key:
    return Key(_partition(project_id), sort_key(repository))


def _project(project_id: int) -> Key:
    return Key(f"indexed/{project_id}", _REPOSITORIES)


def _from_record(project_id: int, record: Record) -> RepositoryRecord:
    document, counters = record.document, record.counters
    return RepositoryRecord(
        project_id=project_id,
        repository=Repository(document["name"]),
        id=document["id"],
        description=document["description"],
        created=document["created"],
        updated=document["updated"],
        manifests=counters.get("manifests", 0),
        artifacts=counters.get("artifacts", 0),
        bytes=counters.get("bytes", 0),
        pulls=counters.get("pulls", 0),
        record=record,
    )
