"""Makes what counts as used agree with S3: after a crash, after a failure of the table, after an older version.

Invariants:
* It goes on beside pushes and deletes: it says what it finds to the functions that those call, which look again.
* A step reads a page; it may be done twice, and cut off anywhere.
* What is under way is left alone: uploads and reservations that are younger than `AGE`.

A project is gone through in two stages: the manifests that S3 has in each repository that the catalog lists, beside
the records of what they hold; then all records of holders and of what is counted, which need each other.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from functools import partial
from itertools import groupby
from typing import Any

from chalicelib.jobs.steps import Again, Done, Outcome, TaskRun
from chalicelib.oci.digests import Digest
from chalicelib.oci.names import Repository
from chalicelib.services import Services
from chalicelib.store import blobs, layout
from chalicelib.store.directory import projects
from chalicelib.store.index import Index, descriptions
from chalicelib.store.table import Record, Slice, every
from chalicelib.store.usage import (
    BYTES,
    RESERVED,
    SHARDS,
    UPLOAD,
    counting,
    holder,
    parsed_holder,
    partition,
    settling,
    taken,
)
from chalicelib.store.usage.counting import Holder

AGE = timedelta(hours=1)
_PAGE = 200
_RECORDS = 500


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where the job is: in which project and repository, or in which shard, after what; and what it repaired."""

    project_id: int
    project: str
    repository: str = ""
    shard: int = -1
    after: str = ""
    repaired: int = 0

    def document(self) -> dict[str, Any]:
        """Return the cursor as JSON has it; `Cursor(**document)` is the way back."""
        return asdict(self)


def step(services: Services, task: TaskRun) -> Outcome:
    """Go on while there is time; raise OSError or RegistryError where a store does not answer."""
    cursor = Cursor(**task.cursor) if task.cursor else next_project(services, "", 0)
    repaired = cursor.repaired if cursor else 0
    while cursor:
        at, cursor = cursor, advance(services, cursor)
        repaired = cursor.repaired if cursor else at.repaired
        if at.shard == SHARDS:
            task.log(f"{at.project} uses {counting.used(services.index, at.project_id)} bytes")
        if cursor and (task.stopping() or not task.more_time()):
            return Again(cursor.document(), {"repaired": repaired})
    return Done({"repaired": repaired})


def next_project(services: Services, after: str, repaired: int) -> Cursor | None:
    """Return where the project begins that follows another one, or None."""
    page = projects.page(services.directory, Slice(after=after, limit=1))
    return Cursor(page.entries[0].id, page.entries[0].name, repaired=repaired) if page.entries else None


def advance(services: Services, cursor: Cursor) -> Cursor | None:
    """Do one page; return where the next one is, or None at the end of everything."""
    if cursor.shard == SHARDS:
        return next_project(services, cursor.project, cursor.repaired)
    index = services.index
    if cursor.shard >= 0:
        return _in_shard(index, cursor)
    if cursor.repository:
        return _in_repository(index, cursor)
    return _next_repository(index, cursor, "")


def _next_repository(index: Index, cursor: Cursor, after: str) -> Cursor:
    """Return where the repository begins that the catalog lists after another one, or where the shards do."""
    prefix = f"{layout.CATALOG}{cursor.project}!"
    last = layout.catalog(Repository(after)) if after else ""
    listed = index.content.objects.list(prefix, after=last, limit=1).entries
    if not listed:
        return replace(cursor, repository="", after="", shard=0)
    return replace(cursor, repository=layout.catalog_name(listed[0].key), after="")


def _in_repository(index: Index, cursor: Cursor) -> Cursor:
    """Compare a page of a repository's manifests with the records of what they hold."""
    repository = Repository(cursor.repository)
    prefix = layout.manifests(repository)
    page = index.content.objects.list(prefix, after=prefix + cursor.after.replace(":", "/"), limit=_PAGE)
    stored = {layout.manifest_digest(repository, entry.key): entry.size for entry in page.entries}
    last = next(reversed(stored)) if page.more else ""
    known = dict(_taken(index, cursor, repository, last))
    # A manifest that was condemned has another size than it had.
    differing = [digest for digest in {**stored, **known} if stored.get(digest) != known.get(digest)]
    repaired = cursor.repaired + sum(
        settling.settle(index, cursor.project_id, repository, Digest.parse(digest)) for digest in differing
    )
    if not last:
        return _next_repository(index, replace(cursor, repaired=repaired), cursor.repository)
    return replace(cursor, after=last, repaired=repaired)


def _taken(index: Index, cursor: Cursor, repository: Repository, last: str) -> Iterator[tuple[str, int]]:
    """Yield the manifests up to `last` whose records are there, each with its size, or -1 if some are missing."""
    after = f"{cursor.after}0" if cursor.after else ""
    records = every(index.table, taken(cursor.project_id, repository), after=after, limit=_RECORDS)
    for digest, group in groupby(records, key=lambda record: record.key.sort.partition("/")[0]):
        if last and digest > last:
            return
        parts = tuple(group)
        yield digest, parts[0].document["size"] if settling.is_whole(parts) else -1


def _in_shard(index: Index, cursor: Cursor) -> Cursor:
    """Look through a page of a shard's records."""
    where = partition(cursor.project_id, cursor.shard)
    page = index.table.query(where, Slice(after=cursor.after or BYTES, limit=_RECORDS))
    repaired = cursor.repaired
    for digest, group in groupby(page.entries, key=lambda record: parsed_holder(record.key.sort)[0]):
        repaired += _check_digest(index, cursor, digest, tuple(group))
    if page.more:
        return replace(cursor, after=page.entries[-1].key.sort, repaired=repaired)
    return replace(cursor, shard=cursor.shard + 1, after="", repaired=repaired)


def _check_digest(index: Index, cursor: Cursor, digest: str, records: Sequence[Record]) -> int:
    """Let a digest be counted exactly if somebody holds it; return how many holders turned out to be none.

    A page may have only some of its records: what is called here looks at all of them.
    """
    holders = [record for record in records if record.key.sort != digest]
    gone = sum(_is_gone(index, cursor, digest, record) for record in holders)
    if gone < len(holders) == len(records):
        homes = [Repository(parsed_holder(record.key.sort)[1]) for record in holders]
        counting.count(index, cursor.project_id, [digest], partial(_size, index, homes))
    if gone == len(holders) or len(holders) == len(records):
        # Of what was counted just now the holder may be gone since.
        counting.free(index, cursor.project_id, [digest])
    return gone


def _is_gone(index: Index, cursor: Cursor, digest: str, record: Record) -> bool:
    """Tell whether somebody who is said to hold a digest does not, and was made to hold it no longer."""
    _, name, who = parsed_holder(record.key.sort)
    repository, held = Repository(name), Digest.parse(digest)
    if who == UPLOAD or who.startswith(RESERVED):
        is_young = record.document["since"] >= (index.now() - AGE).timestamp()
        if is_young or (who == UPLOAD and _waits(index, cursor, repository, held)):
            return False
        counting.give_up(index, Holder(cursor.project_id, repository, who), [digest])
        return True
    # The first stage has seen the manifests of all repositories that the catalog lists.
    if index.content.objects.head(layout.catalog(repository)):
        return False
    return settling.settle(index, cursor.project_id, repository, Digest.parse(who))


def _waits(index: Index, cursor: Cursor, repository: Repository, digest: Digest) -> bool:
    """Tell whether a blob that was uploaded is still there, and no manifest of its repository names it."""
    if blobs.find(index.content, repository, digest) is None:
        return False
    by_manifests = holder(cursor.project_id, str(digest), repository, "sha")
    return not index.table.query(by_manifests.partition, Slice(by_manifests.sort, limit=1)).entries


def _size(index: Index, homes: Iterable[Repository], digest: str) -> int | None:
    """Return the size of a digest that one of the repositories holds, as a manifest or as a blob, or None."""
    for repository in homes:
        manifest = descriptions.read(index.content, repository, Digest.parse(digest))
        if manifest:
            return len(manifest.content)
        size = settling.blob_size(index, repository, Digest.parse(digest))
        if size is not None:
            return size
    return None
