"""What pushes and deletes mean for what is used: said before S3 has a thing, and settled by what S3 says afterwards.

How they race and still end right: a push takes before it writes to S3, and looks afterwards whether its records are
there still (`kept`); whoever deletes gives up after S3 has deleted, and then looks at S3 again (`settle`). So the
last one of them to write records saw S3 as it stayed.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from chalicelib.oci.digests import Digest
from chalicelib.oci.manifests import Manifest
from chalicelib.oci.names import Repository
from chalicelib.store import blobs, layout, manifests
from chalicelib.store.ahead import Ahead
from chalicelib.store.index import Index, artifacts, descriptions, events, repositories
from chalicelib.store.index.settle import in_s3
from chalicelib.store.table import (
    PRESENT,
    BusyError,
    Change,
    Check,
    Delete,
    Put,
    Record,
    RefusedError,
    batches,
    every,
)
from chalicelib.store.usage import PART, UPLOAD, counting, taken, taken_part
from chalicelib.store.usage.counting import Holder

_GONE = "somebody deleted the manifest meanwhile"
_ROUNDS = 20
_TOGETHER = 200


@dataclass(frozen=True, slots=True)
class Pushed:
    """A manifest that is, or is to be, in a repository."""

    project_id: int
    repository: Repository
    digest: Digest
    manifest: Manifest

    @property
    def holder(self) -> Holder:
        """Return what holds on its behalf."""
        return Holder(self.project_id, self.repository, str(self.digest))

    def held(self) -> tuple[str, ...]:
        """Return the digests that it holds, its own first."""
        blobs_here = (str(blob.digest) for blob in self.manifest.blobs if not blob.held_elsewhere)
        return tuple(dict.fromkeys((str(self.digest), *blobs_here)))


def uploaded(index: Index, project_id: int, repository: Repository, digest: Digest, size: int) -> None:
    """Say that a repository is about to hold a blob that was uploaded or mounted; raise BusyError."""
    by = Holder(project_id, repository, UPLOAD)
    counting.take(index, by, [str(digest)], lambda _digest: size)


def released(index: Index, project_id: int, repository: Repository, digest: Digest) -> None:
    """Say that a repository's link to a blob was deleted; raise BusyError. What manifests name stays counted."""
    counting.give_up(index, Holder(project_id, repository, UPLOAD), [str(digest)])
    _count_if_linked(index, project_id, repository, digest)


def all_released(index: Index, project_id: int, repository: Repository, digests: Iterable[Digest]) -> None:
    """Say that many links of a repository were deleted, looking by listings whether one is there again."""
    by, ordered = Holder(project_id, repository, UPLOAD), sorted(digests, key=str)
    for part in batches(map(str, ordered), PART):
        counting.give_up(index, by, part)
    links = Ahead(index.content, layout.links(repository))
    for digest in ordered:
        found = links.below(layout.link(repository, digest))
        if found.keys or found.more:
            _count_if_linked(index, project_id, repository, digest)


def _count_if_linked(index: Index, project_id: int, repository: Repository, digest: Digest) -> None:
    blob = blobs.find(index.content, repository, digest)
    if blob:
        uploaded(index, project_id, repository, digest, blob.size)


def take(index: Index, pushed: Pushed) -> None:
    """Say that a manifest is about to be stored; raise BusyError."""
    _each_part(pushed, partial(_take_part, index, pushed))


def _take_part(index: Index, pushed: Pushed, part: Sequence[str], record: Change) -> None:
    counting.take(index, pushed.holder, part, size_of(index, pushed), [record])


class Reserved(NamedTuple):
    """What was taken for a request that may yet be refused: by whom, and how many bytes were not counted before."""

    by: Holder
    added: int


def reserve(index: Index, pushed: Pushed) -> Reserved:
    """Do the same for a request that may yet be refused: `confirm` or `refuse` follows."""
    by = counting.reservation(pushed.project_id, pushed.repository)
    parts = batches(pushed.held(), PART)
    return Reserved(by, sum(counting.take(index, by, part, size_of(index, pushed)) for part in parts))


def confirm(index: Index, pushed: Pushed, by: Holder) -> None:
    """Say that a manifest is about to be stored, for which room was reserved."""

    def confirm_part(part: Sequence[str], record: Change) -> None:
        counting.replace_holder(index, by, pushed.holder, part, [record])

    _each_part(pushed, confirm_part)


def refuse(index: Index, pushed: Pushed, by: Holder) -> None:
    """Give back what was reserved; raise BusyError."""
    for part in batches(pushed.held(), PART):
        counting.give_up(index, by, part)


def _each_part(pushed: Pushed, do: Callable[[Sequence[str], Change], None]) -> None:
    """Go through the parts of what a manifest holds, each with its record; the first, by which `kept` looks, last."""
    parts = tuple(enumerate(batches(pushed.held(), PART)))
    for number, part in reversed(parts):
        key = taken_part(pushed.project_id, pushed.repository, pushed.digest, number)
        do(part, Put(key, {"digests": part, "parts": len(parts), "size": len(pushed.manifest.content)}))


def size_of(index: Index, pushed: Pushed) -> counting.SizeOf:
    """Return what finds the true size of a digest that a manifest holds: descriptors may say what they like."""

    def find(digest: str) -> int | None:
        if digest == str(pushed.digest):
            return len(pushed.manifest.content)
        return blob_size(index, pushed.repository, Digest.parse(digest))

    return find


def blob_size(index: Index, repository: Repository, digest: Digest) -> int | None:
    """Return the size of a blob that is stored, or None."""
    in_repository = blobs.find(index.content, repository, digest)
    found = in_repository or blobs.blob_of(index.content.objects.get(layout.blob(digest)))
    return found.size if found else None


def kept(index: Index, pushed: Pushed) -> None:
    """Say that a manifest was stored, and so holds what was uploaded for it; raise BusyError or OSError."""
    upload = Holder(pushed.project_id, pushed.repository, UPLOAD)
    there = Check(taken_part(pushed.project_id, pushed.repository, pushed.digest, 0), PRESENT, _GONE)
    for part in batches(pushed.held(), PART):
        uploads = [Delete(upload.key(digest)) for digest in part]
        try:
            index.table.commit(there, *uploads)
        except RefusedError:
            settle(index, pushed.project_id, pushed.repository, pushed.digest, pushed.manifest)
            counting.give_up(index, upload, part)


def settle(
    index: Index, project_id: int, repository: Repository, digest: Digest, known: Manifest | None = None
) -> bool:
    """Let a manifest hold what it names if S3 has it, and else nothing; raise BusyError or OSError.

    Tell whether anything was wrong.
    """
    for rounds in range(_ROUNDS):
        records = tuple(every(index.table, taken(project_id, repository), f"{digest}/"))
        there = in_s3(index, repository, digest)
        if there == is_whole(records) and (there or not records):
            return rounds > 0
        if not there:
            give_up(index, project_id, repository, records)
            continue
        manifest = known or descriptions.read(index.content, repository, digest)
        if manifest is None:
            return rounds > 0
        take(index, Pushed(project_id, repository, digest, manifest))
    raise BusyError


def deleted(index: Index, project_id: int, repository: Repository, digest: Digest) -> None:
    """Say that a manifest was deleted, and tell the index of artifacts too; raise BusyError or OSError.

    The index is told in between: it looks at S3, so if it knows the manifest afterwards, that was pushed again.
    """
    give_up(index, project_id, repository, tuple(every(index.table, taken(project_id, repository), f"{digest}/")))
    events.deleted(index, project_id, repository, digest)
    if _is_indexed(index, project_id, repository, digest):
        settle(index, project_id, repository, digest)


def _is_indexed(index: Index, project_id: int, repository: Repository, digest: Digest) -> bool:
    home = repositories.find(index, project_id, repository)
    return home is not None and artifacts.find(index, home, str(digest)) is not None


def is_whole(records: Sequence[Record]) -> bool:
    """Tell whether the records of what a manifest holds are all there."""
    return bool(records) and len(records) == records[0].document["parts"]


def give_up(index: Index, project_id: int, repository: Repository, records: Sequence[Record]) -> None:
    """Let manifests hold nothing of what records say that they held; raise BusyError."""
    if not records:
        return
    index.content.together(partial(_drop, index, project_id, repository), records)
    counting.free(index, project_id, (digest for record in records for digest in record.document["digests"]))


def _drop(index: Index, project_id: int, repository: Repository, record: Record) -> None:
    by = Holder(project_id, repository, _manifest_of(record))
    index.table.commit(*(Delete(by.key(digest)) for digest in record.document["digests"]), Delete(record.key))


def _manifest_of(record: Record) -> str:
    return record.key.sort.partition("/")[0]


def repository_gone(index: Index, project_id: int, repository: Repository) -> None:
    """Say that all manifests of a repository were deleted; raise BusyError or OSError. Its uploads stay counted."""
    stored = set(map(str, manifests.stored(index.content, repository)))
    for records in batches(every(index.table, taken(project_id, repository)), _TOGETHER):
        give_up(index, project_id, repository, [record for record in records if _manifest_of(record) not in stored])
    for digest in manifests.stored(index.content, repository):
        settle(index, project_id, repository, digest)
