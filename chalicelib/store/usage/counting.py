"""Holders of digests, and the sums: taken, given up, counted once.

Invariants: those of the package. Everything here may be done twice, and cut off anywhere.
"""

import secrets
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from chalicelib.oci.names import Repository
from chalicelib.store import layout
from chalicelib.store.index import Index
from chalicelib.store.index.attempts import anew
from chalicelib.store.table import (
    ABSENT,
    ANYHOW,
    Add,
    Change,
    Delete,
    If,
    Key,
    Put,
    Record,
    RefusedError,
    Slice,
    batches,
    every,
)
from chalicelib.store.usage import (
    BYTES,
    PART,
    RESERVED,
    SHARDS,
    UPLOAD,
    counted,
    counter,
    holder,
    parsed_holder,
    partition,
    shard,
)

# Finds the true size of a digest, or None where nothing is known of it.
SizeOf = Callable[[str], int | None]
_COUNTED = "the digest is counted already"
_RACED = "others changed the digest meanwhile"
_TOGETHER = 90


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds: a manifest, an upload or a reservation (`who`), in a repository of a project."""

    project_id: int
    repository: Repository
    who: str

    def key(self, digest: str) -> Key:
        """Return where it is said that this one holds a digest."""
        return holder(self.project_id, digest, self.repository, self.who)


def reservation(project_id: int, repository: Repository) -> Holder:
    """Return a holder that nobody else is, for as long as a request has not decided."""
    return Holder(project_id, repository, RESERVED + secrets.token_hex(8))


def used(index: Index, project_id: int) -> int:
    """Return the bytes that a project uses."""
    found = index.table.get_many(counter(project_id, number) for number in range(SHARDS))
    return sum(record.counters.get(BYTES, 0) for record in found.values())


def is_counted(index: Index, project_id: int, digest: str) -> bool:
    """Tell whether a digest is counted in a project."""
    return index.table.get(counted(project_id, digest)) is not None


def take(
    index: Index,
    by: Holder,
    digests: Sequence[str],
    size_of: SizeOf,
    also: Iterable[Change] = (),
) -> int:
    """Let somebody hold up to `PART` digests, with other changes in the same commit; raise BusyError.

    The first of the digests is tried as one that is new to the project, which saves a look. Return the bytes that
    were not counted before.
    """
    first, size = digests[0], size_of(digests[0])
    since = {"since": int(index.now().timestamp())}
    holders: list[Change] = [Put(by.key(digest), since) for digest in digests]
    holders += also
    if size is not None:
        try:
            index.table.commit(*holders, *_counting(by.project_id, {first: size}))
        except RefusedError:
            index.table.commit(*holders)
        else:
            return size + count(index, by.project_id, digests[1:], size_of)
    else:
        index.table.commit(*holders)
    return count(index, by.project_id, digests, size_of)


def count(index: Index, project_id: int, digests: Sequence[str], size_of: SizeOf) -> int:
    """Let digests that somebody holds be counted, those of which the size is known; raise BusyError.

    Return the bytes that were not counted before.
    """
    added: list[int] = []
    if digests:
        anew(partial(_count, index, project_id, digests, size_of, added))
    return sum(added)


def _count(index: Index, project_id: int, digests: Sequence[str], size_of: SizeOf, added: list[int]) -> None:
    found = index.table.get_many(counted(project_id, digest) for digest in digests)
    for record in found.values():
        if "leaving" in record.document:
            _stay(index, record)
    sizes = {digest: size_of(digest) for digest in digests if counted(project_id, digest) not in found}
    known = {digest: size for digest, size in sizes.items() if size is not None}
    for group in _by_shard(known):
        sizes_together = {digest: known[digest] for digest in group}
        index.table.commit(*_counting(project_id, sizes_together))
        added.append(sum(sizes_together.values()))


def _stay(index: Index, record: Record) -> None:
    document = {name: value for name, value in record.document.items() if name != "leaving"}
    index.table.commit(Put(record.key, document, If(etag=record.etag), _RACED))


def _counting(project_id: int, sizes: Mapping[str, int]) -> Iterator[Change]:
    """Yield the changes that count digests of one shard, which nobody has counted."""
    for digest, size in sizes.items():
        yield Put(counted(project_id, digest), {"size": size}, ABSENT, _COUNTED)
    yield Add(counter(project_id, shard(next(iter(sizes)))), {BYTES: sum(sizes.values())}, ANYHOW)


def _by_shard(digests: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Yield groups of digests that can be counted, or freed, in one commit."""
    shards: dict[int, list[str]] = defaultdict(list)
    for digest in digests:
        shards[shard(digest)].append(digest)
    for members in shards.values():
        yield from batches(members, _TOGETHER)


def replace_holder(
    index: Index, old: Holder, new: Holder, digests: Sequence[str], also: Iterable[Change] = ()
) -> None:
    """Let up to `PART` digests be held by another holder instead, with other changes in the same commit."""
    since = {"since": int(index.now().timestamp())}
    index.table.commit(
        *(Put(new.key(digest), since) for digest in digests),
        *(Delete(old.key(digest)) for digest in digests),
        *also,
    )


def give_up(index: Index, by: Holder, digests: Sequence[str], also: Iterable[Change] = ()) -> None:
    """Let somebody hold up to `PART` digests no longer; free those that nobody holds now; raise BusyError."""
    index.table.commit(*(Delete(by.key(digest)) for digest in digests), *also)
    free(index, by.project_id, digests)


def free(index: Index, project_id: int, digests: Iterable[str]) -> None:
    """Let digests that nobody holds be counted no longer; raise BusyError."""
    for batch in batches(dict.fromkeys(digests), PART):
        left = list(batch)
        anew(partial(_free, index, project_id, left))


def _free(index: Index, project_id: int, left: list[str]) -> None:
    """Free what nobody holds; `left` keeps what is still to do; raise RefusedError where others are in the way."""
    left[:] = _unheld(index, project_id, left)
    marked = _marked(index, project_id, left) if left else {}
    for group in _by_shard(_unheld(index, project_id, list(marked))):
        records = [marked[digest] for digest in group]
        freed = sum(record.document["size"] for record in records)
        index.table.commit(
            *(Delete(record.key, If(etag=record.etag), _RACED) for record in records),
            Add(counter(project_id, shard(group[0])), {BYTES: -freed}, ANYHOW),
        )


def _marked(index: Index, project_id: int, digests: Sequence[str]) -> dict[str, Record]:
    """Mark digests as leaving and return their records, by which it shows whether somebody came meanwhile."""
    keys = [counted(project_id, digest) for digest in digests]
    found = index.table.get_many(keys)
    if not found:
        return {}
    token = secrets.token_hex(8)
    index.table.commit(
        *(
            Put(key, {**record.document, "leaving": token}, If(etag=record.etag), _RACED)
            for key, record in found.items()
        )
    )
    again = index.table.get_many(found)
    return {key.sort: record for key, record in again.items() if record.document.get("leaving") == token}


def _unheld(index: Index, project_id: int, digests: Sequence[str]) -> list[str]:
    """Return which of the digests nobody holds."""
    look = partial(_is_held, index, project_id)
    # One needs no pool, and whoever calls may be in it.
    held = index.content.together(look, digests) if len(digests) > 1 else tuple(map(look, digests))
    return [digest for digest, by_somebody in zip(digests, held, strict=True) if not by_somebody]


def _is_held(index: Index, project_id: int, digest: str) -> bool:
    wanted = Slice(f"{digest}/", limit=1)
    return bool(index.table.query(partition(project_id, shard(digest)), wanted).entries)


def forget(index: Index, project_id: int) -> None:
    """Delete what is counted in a project that is no more, and who held it."""
    index.content.together(partial(_forget, index, project_id), range(SHARDS))


def _forget(index: Index, project_id: int, number: int) -> None:
    for batch in batches(every(index.table, partition(project_id, number)), _TOGETHER):
        index.table.commit(*(Delete(record.key) for record in batch))


def manifests_holding(index: Index, project_id: int, repository: Repository, digest: str) -> tuple[str, ...]:
    """Return which manifests of a repository hold a digest, some of them where they are very many."""
    wanted = Slice(f"{digest}/{layout.flat(repository)}/")
    found = index.table.query(partition(project_id, shard(digest)), wanted).entries
    holders = (parsed_holder(record.key.sort)[2] for record in found)
    return tuple(who for who in holders if who != UPLOAD and not who.startswith(RESERVED))


def repositories_holding(index: Index, project_id: int, digest: str) -> tuple[str, ...]:
    """Return the names of repositories of a project that hold a digest, some of them where they are very many."""
    found = index.table.query(partition(project_id, shard(digest)), Slice(f"{digest}/")).entries
    return tuple(dict.fromkeys(parsed_holder(record.key.sort)[1] for record in found))


def settled(index: Index, project_id: int, digest: str) -> bool:
    """Tell whether somebody holds a digest for good, so that holding it too adds nothing."""
    holders = every(index.table, partition(project_id, shard(digest)), f"{digest}/")
    return any(not parsed_holder(record.key.sort)[2].startswith(RESERVED) for record in holders)
