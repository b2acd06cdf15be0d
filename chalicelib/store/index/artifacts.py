"""Artifacts, their tags, children, parents and accessories as the index has them: everything that is read.

Absent members of answers are this module's callers' business; times are RFC 3339 texts, "" for never.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from chalicelib.oci.pages import Page
from chalicelib.store.index import Index, written
from chalicelib.store.index.repositories import RepositoryRecord
from chalicelib.store.table import Key, Record, Slice, every

_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_SCANNED = 200


@dataclass(frozen=True, slots=True)
class Artifact:
    """A manifest that was pushed; `document` is as `descriptions` makes it, with `labels`."""

    id: int
    digest: str
    pushed: str
    pulled: str
    tags: int
    attached: int
    document: Mapping[str, Any]
    record: Record

    @property
    def labels(self) -> tuple[int, ...]:
        """Return the ids of its labels."""
        return tuple(self.document["labels"])

    @property
    def is_accessory(self) -> bool:
        """Tell whether it belongs to another artifact, by what it says or by a tag."""
        return bool(self.document["subject"]) or self.attached > 0


@dataclass(frozen=True, slots=True)
class TagRecord:
    """A tag."""

    name: str
    id: int
    digest: str
    pushed: str
    pulled: str


@dataclass(frozen=True, slots=True)
class Accessory:
    """What belongs to an artifact, the subject: of which type, and since when."""

    id: int
    digest: str
    subject: str
    type: str
    size: int
    created: str


def key(home: RepositoryRecord, digest: str) -> Key:
    """Return where an artifact is."""
    return Key(home.partition("artifacts"), digest)


def order_key(home: RepositoryRecord, document: Mapping[str, Any]) -> Key:
    """Return where it is said that an artifact is listed."""
    return Key(home.partition("order"), f"{document['pushed']}/{document['digest']}")


def tag_key(home: RepositoryRecord, tag: str) -> Key:
    """Return where a tag is."""
    return Key(home.partition("tags"), tag)


def tagged_key(home: RepositoryRecord, digest: str, tag: str) -> Key:
    """Return where it is said that a tag names an artifact."""
    return Key(home.partition("tagged"), f"{digest}/{tag}")


def find(index: Index, home: RepositoryRecord, digest: str) -> Artifact | None:
    """Return the artifact, or None."""
    record = index.table.get(key(home, digest))
    return from_record(record) if record else None


def find_many(index: Index, home: RepositoryRecord, digests: Sequence[str]) -> Mapping[str, Artifact]:
    """Return those of the artifacts that exist, by digest."""
    found = index.table.get_many([key(home, digest) for digest in dict.fromkeys(digests)])
    return {record.key.sort: from_record(record) for record in found.values()}


def from_record(record: Record) -> Artifact:
    """Return an artifact as it was stored."""
    document, counters = record.document, record.counters
    return Artifact(
        id=document["id"],
        digest=document["digest"],
        pushed=document["pushed"],
        pulled=from_seconds(counters.get("pulled", 0)),
        tags=counters.get("tags", 0),
        attached=counters.get("attached", 0),
        document=document,
        record=record,
    )


def find_tag(index: Index, home: RepositoryRecord, tag: str) -> TagRecord | None:
    """Return the tag, or None."""
    record = index.table.get(tag_key(home, tag))
    if record is None:
        return None
    beside = index.table.get(tagged_key(home, record.document["digest"], tag))
    return _tag(tag, record.document["digest"], beside or record)


def tags(index: Index, home: RepositoryRecord, digest: str, wanted: Slice | None = None) -> Page[TagRecord]:
    """Return a part of the tags that name an artifact, in the order of their names; all of them by default."""
    prefix = f"{digest}/"
    page = _part(index, home.partition("tagged"), prefix, wanted)
    found = (_tag(record.key.sort.removeprefix(prefix), digest, record) for record in page.entries)
    return Page(tuple(found), page.more)


def every_tag(index: Index, home: RepositoryRecord) -> Iterator[TagRecord]:
    """Yield every tag of a repository; reads them in pages, those of one artifact together."""
    for record in every(index.table, home.partition("tagged")):
        digest, _, name = record.key.sort.partition("/")
        yield _tag(name, digest, record)


def tag_names(index: Index, home: RepositoryRecord) -> Iterator[tuple[str, str]]:
    """Yield every tag of a repository with the digest that it names."""
    for record in every(index.table, home.partition("tags")):
        yield record.key.sort, record.document["digest"]


def accessories(index: Index, home: RepositoryRecord, subject: str, wanted: Slice | None = None) -> Page[Accessory]:
    """Return a part of the accessories of an artifact, in the order of their digests; all of them by default."""
    page = _part(index, home.partition("accessories"), f"{subject}/", wanted)
    return Page(tuple(_accessory(subject, record.document) for record in page.entries), page.more)


def children(index: Index, home: RepositoryRecord, digest: str) -> tuple[Mapping[str, Any], ...]:
    """Return the children of an index in their order: {digest, platform, annotations, urls}."""
    return tuple(record.document for record in every(index.table, home.partition("children"), f"{digest}/"))


def parents(index: Index, home: RepositoryRecord, digest: str) -> tuple[str, ...]:
    """Return the digests of the indexes that an artifact is part of."""
    prefix = f"{digest}/"
    return tuple(
        record.key.sort.removeprefix(prefix) for record in every(index.table, home.partition("parents"), prefix)
    )


def has_parents(index: Index, home: RepositoryRecord, digest: str) -> bool:
    """Tell whether an artifact is part of an index."""
    return bool(index.table.query(home.partition("parents"), Slice(f"{digest}/", limit=1)).entries)


def newest(index: Index, home: RepositoryRecord, skip: int, limit: int) -> tuple[Artifact, ...]:
    """Return a part of what is listed, newest first, in a number of requests that does not depend on `skip`."""
    listed = home.artifacts
    if skip <= listed // 2:
        return _page(index, home, Slice(skip=skip, limit=limit, backwards=True))
    # Nearer to the other end.
    rest = listed - skip - limit
    wanted = Slice(skip=max(rest, 0), limit=limit + min(rest, 0))
    return _page(index, home, wanted)[::-1] if wanted.limit > 0 else ()


def oldest(index: Index, home: RepositoryRecord, skip: int, limit: int) -> tuple[Artifact, ...]:
    """Return a part of what is listed, oldest first."""
    return newest(index, home, max(home.artifacts - skip - limit, 0), min(limit, max(home.artifacts - skip, 0)))[::-1]


def scan(
    index: Index, home: RepositoryRecord, wanted: Callable[[str], bool] = lambda _digest: True, after: str = ""
) -> Iterator[Artifact]:
    """Yield what is listed, newest first, of the digests that are `wanted`; reads it in pages.

    It begins after the artifact whose `order_key` sorts by `after`, where that is not "".
    """
    while True:
        asked = Slice(after=after, limit=_SCANNED, backwards=True)
        page = index.table.query(home.partition("order"), asked)
        digests = [digest for record in page.entries if wanted(digest := _digest(record))]
        found = find_many(index, home, digests)
        yield from (found[digest] for digest in digests if digest in found)
        if not page.more:
            return
        after = page.entries[-1].key.sort


def is_listed(index: Index, home: RepositoryRecord, artifact: Artifact) -> bool:
    """Tell whether lists show an artifact."""
    return index.table.get(order_key(home, artifact.document)) is not None


def seconds(moment: datetime) -> int:
    """Return a moment as counters hold it: seconds since 2026."""
    return max(int((moment - _EPOCH).total_seconds()), 1)


def from_seconds(number: int) -> str:
    """Return a moment that a counter holds, or ""."""
    return written(datetime.fromtimestamp(_EPOCH.timestamp() + number, UTC)) if number else ""


def _page(index: Index, home: RepositoryRecord, wanted: Slice) -> tuple[Artifact, ...]:
    page = index.table.query(home.partition("order"), wanted)
    digests = [_digest(record) for record in page.entries]
    found = find_many(index, home, digests)
    return tuple(found[digest] for digest in digests if digest in found)


def _digest(record: Record) -> str:
    return record.key.sort.partition("/")[2]


def _part(index: Index, partition: str, prefix: str, wanted: Slice | None) -> Page[Record]:
    if wanted is None:
        return Page(tuple(every(index.table, partition, prefix)), more=False)
    return index.table.query(partition, Slice(prefix, limit=wanted.limit, skip=wanted.skip))


def _tag(name: str, digest: str, record: Record) -> TagRecord:
    pulled = from_seconds(record.counters.get("pulled", 0))
    return TagRecord(name, record.document["id"], digest, record.document["pushed"], pulled)


def _accessory(subject: str, document: Mapping[str, Any]) -> Accessory:
    return Accessory(
        document["id"], document["digest"], subject, document["type"], document["size"], document["created"]
    )
