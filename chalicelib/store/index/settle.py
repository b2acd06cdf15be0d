"""Making records agree with S3: one function for manifests, one for tags, one for what is listed.

How they race and still end right: a function reads the records, changes them to what it believes S3 has, on the
condition that they are as they were read, and then looks at S3 again. Where S3 says something else by now, it goes
on with that. Whoever changes S3 calls these functions afterwards, so the last one to write a record saw S3 as it
stayed. A refused change is begun anew with what is there by then; doing one twice changes nothing.

Invariant: an artifact that a tag's record names has a record, and is not removed before its tags are.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.manifests import Manifest
from chalicelib.oci.names import Repository, Tag
from chalicelib.store import manifests
from chalicelib.store.index import Index, artifacts, descriptions, kinds, labels
from chalicelib.store.index.artifacts import Artifact
from chalicelib.store.index.attempts import in_same
from chalicelib.store.index.descriptions import Description
from chalicelib.store.index.repositories import RepositoryRecord
from chalicelib.store.table import (
    ABSENT,
    PRESENT,
    Add,
    BusyError,
    Change,
    Check,
    Delete,
    If,
    Key,
    Put,
    Record,
    batches,
    every,
)

_RACED = "others changed the artifact or the tag meanwhile"
# Seven changes at most for each tag, and one for the repository; two for each child.
_TAGS_TOGETHER = 14
_CHILDREN_TOGETHER = 40
_ROUNDS = 20


def manifest(
    index: Index, home: RepositoryRecord, digest: Digest, known: Manifest | None = None, pushed: str = ""
) -> None:
    """Make the record of a manifest that was pushed, or is found in S3; `known` is the manifest if it is at hand.

    Nothing is done where there is a record, and where S3 has no manifest. Whoever calls this looks afterwards whether
    S3 has the manifest still: by `checked`, or because a tag that `tags` settled names it.
    """
    if index.table.get(artifacts.key(home, str(digest))):
        return
    found = known or descriptions.read(index.content, home.repository, digest)
    if found is None:
        return
    described = descriptions.describe(index.content, home.repository, digest, found, deep=False)
    document = {**described.document, "id": index.new_id(), "pushed": pushed or index.time(), "labels": []}
    _relate(index, home, str(digest), described)
    in_same(index, home, _make, document)
    # Somebody who removed the record of an earlier push may have taken the relations along.
    _relate(index, home, str(digest), described)
    for child in _child_digests(described.children):
        listing(index, home, child)


def _make(index: Index, home: RepositoryRecord, document: Mapping[str, Any]) -> None:
    key = artifacts.key(home, document["digest"])
    if index.table.get(key):
        return
    changes = [Put(key, document, ABSENT, _RACED), *_own_accessory(home, document)]
    counted = {"manifests": 1, "bytes": document["bytes"]}
    if not document["subject"] and not artifacts.has_parents(index, home, document["digest"]):
        changes.append(Put(artifacts.order_key(home, document), {}))
        counted["artifacts"] = 1
    index.table.commit(*changes, home.counting(**counted))


def renewed(index: Index, home: RepositoryRecord, digest: Digest, pushed: str) -> None:
    """Make a record as S3 has the manifest, made at `pushed`, or correct the one that is there."""
    if index.table.get(artifacts.key(home, str(digest))) is None:
        manifest(index, home, digest, pushed=pushed)
        checked(index, home, digest)
    found = descriptions.read(index.content, home.repository, digest)
    if found is None:
        return checked(index, home, digest)
    described = descriptions.describe(index.content, home.repository, digest, found)
    in_same(index, home, _correct, described)
    _relate(index, home, str(digest), described)
    for child in _child_digests(described.children):
        listing(index, home, child)
    return listing(index, home, str(digest))


def _correct(index: Index, home: RepositoryRecord, described: Description) -> None:
    found = artifacts.find(index, home, described.document["digest"])
    if found is None:
        return
    document = {**found.document, **described.document}
    if document == found.document:
        return
    old, new = _own_accessory(home, found.document), _own_accessory(home, document)
    index.table.commit(
        Put(found.record.key, document, If(etag=found.record.etag), _RACED),
        *new,
        *(Delete(put.key) for put in old if put.key not in {other.key for other in new}),
        home.counting(bytes=document["bytes"] - found.document["bytes"]),
    )


def _own_accessory(home: RepositoryRecord, document: Mapping[str, Any]) -> tuple[Put, ...]:
    if not document["subject"]:
        return ()
    key = Key(home.partition("accessories"), f"{document['subject']}/{document['digest']}")
    return (Put(key, _accessory(document, document["id"], document["accessory"], document["pushed"])),)


def _accessory(document: Mapping[str, Any], number: int, kind: str, created: str) -> dict[str, Any]:
    kept = {name: document[name] for name in ("digest", "size")}
    return {**kept, "id": number, "type": kind, "created": created}


def _relate(index: Index, home: RepositoryRecord, digest: str, described: Description) -> None:
    """Write an index's children where they are not written: before its own record, which leads to them."""
    if not described.children or artifacts.children(index, home, digest) == described.children:
        return
    for batch in batches(enumerate(described.children), _CHILDREN_TOGETHER):
        in_same(index, home, _relate_some, digest, batch)


def _relate_some(
    index: Index, home: RepositoryRecord, digest: str, children: Iterable[tuple[int, Mapping[str, Any]]]
) -> None:
    changes: dict[Key, Put] = {}
    for position, child in children:
        key = Key(home.partition("children"), f"{digest}/{position:05}")
        parent = _parent_key(home, child["digest"], digest)
        changes |= {key: Put(key, child), parent: Put(parent, {})}
    index.table.commit(*changes.values(), home.unchanged())


def _parent_key(home: RepositoryRecord, child: str, digest: str) -> Key:
    return Key(home.partition("parents"), f"{child}/{digest}")


def _child_digests(children: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(child["digest"] for child in children))


def checked(index: Index, home: RepositoryRecord, digest: Digest) -> None:
    """Remove the record of a manifest again where S3 has it no longer, and list it as it should be."""
    if not in_s3(index, home.repository, digest):
        gone(index, home, digest)
    listing(index, home, str(digest))


def in_s3(index: Index, repository: Repository, digest: Digest) -> bool:
    """Tell whether the repository has a manifest, by itself or through a tag. What was retired can only be pulled."""
    stored = manifests.is_stored(index.content, repository, digest)
    return stored or manifests.is_tagged(index.content, repository, digest)


def named(index: Index, repository: Repository, tag: Tag) -> str:
    """Return the digest that a tag names in S3, or "" where there is none or the object does not say."""
    try:
        return str(manifests.head(index.content, repository, tag).digest)
    except RegistryError as error:
        if error.code in {ErrorCode.MANIFEST_UNKNOWN, ErrorCode.UNKNOWN}:
            return ""
        raise


def gone(index: Index, home: RepositoryRecord, digest: Digest) -> None:
    """Remove the record of a manifest that was deleted, its tags first; one that S3 has again, or by a tag, stays.

    Asks S3 for the manifest and for the tags that the index knows. Hints which tags once named it, of which there may
    be thousands, are left alone: a tag that the index does not know makes the record anew when it is told.
    """
    for _ in range(_ROUNDS):
        if index.table.get(artifacts.key(home, str(digest))) is None or _is_stored(index, home, digest):
            return
        tags(index, home, {tag.name: "" for tag in artifacts.tags(index, home, str(digest)).entries})
        if not in_same(index, home, _remove, str(digest)):
            return
        unrelate(index, home, str(digest))
        # A push that came in between saw the record, and left it as it was.
        if not _is_stored(index, home, digest):
            return
        manifest(index, home, digest)
    raise BusyError


def _is_stored(index: Index, home: RepositoryRecord, digest: Digest) -> bool:
    return manifests.is_stored(index.content, home.repository, digest)


def _remove(index: Index, home: RepositoryRecord, digest: str) -> bool:
    """Tell whether the record of an artifact could be removed: one that has tags could not."""
    found = artifacts.find(index, home, digest)
    if found is None or found.tags:
        return found is None
    order = artifacts.order_key(home, found.document)
    listed = index.table.get(order) is not None
    index.table.commit(
        Delete(found.record.key, If(etag=found.record.etag, at_most={"tags": 0}), _RACED),
        Delete(order, PRESENT, _RACED) if listed else Check(order, ABSENT, _RACED),
        *(Delete(put.key) for put in _own_accessory(home, found.document)),
        *labels.gone(home, found),
        home.counting(manifests=-1, bytes=-found.document["bytes"], artifacts=-int(listed)),
    )
    return True


def unrelate(index: Index, home: RepositoryRecord, digest: str) -> None:
    """Remove the relations of an index that has no record to its children, which may be listed now."""
    records = tuple(every(index.table, home.partition("children"), f"{digest}/"))
    for batch in batches(records, _CHILDREN_TOGETHER):
        in_same(index, home, _unrelate, digest, batch)
    for child in _child_digests([record.document for record in records]):
        listing(index, home, child)


def _unrelate(index: Index, home: RepositoryRecord, digest: str, records: Iterable[Record]) -> None:
    key = artifacts.key(home, digest)
    if index.table.get(key):
        return
    parents = {_parent_key(home, record.document["digest"], digest) for record in records}
    removed = (*(record.key for record in records), *parents)
    index.table.commit(*map(Delete, removed), Check(key, ABSENT, _RACED), home.unchanged())


def listing(index: Index, home: RepositoryRecord, digest: str) -> None:
    """List an artifact where it should be listed, and only there; looks again after each change."""
    while in_same(index, home, _list, digest):
        pass


def _list(index: Index, home: RepositoryRecord, digest: str) -> bool:
    """Tell whether something had to be changed."""
    found = artifacts.find(index, home, digest)
    if found is None:
        return False
    key = artifacts.order_key(home, found.document)
    listed = index.table.get(key) is not None
    if listed == _should_be_listed(index, home, found):
        return False
    change = Delete(key, PRESENT, _RACED) if listed else Put(key, {}, ABSENT, _RACED)
    same = Check(found.record.key, If(etag=found.record.etag), _RACED)
    index.table.commit(change, same, home.counting(artifacts=-1 if listed else 1))
    return True


def _should_be_listed(index: Index, home: RepositoryRecord, found: Artifact) -> bool:
    if found.is_accessory:
        return False
    return found.tags > 0 or not artifacts.has_parents(index, home, found.digest)


def tags(
    index: Index, home: RepositoryRecord, believed: Mapping[str, str], pushed: Mapping[str, str] | None = None
) -> set[str]:
    """Let tags' records name the digests that they are believed to name in S3 ("" for none), then what S3 says.

    `pushed` has the times of tags that are found in S3; others were pushed now. Return the digests of which S3 said
    that a tag names them.
    """
    times, seen = pushed or {}, set[str]()
    for batch in batches(believed.items(), _TAGS_TOGETHER):
        touched = set[str]()
        wanted = dict(batch)
        while wanted:
            moves = in_same(index, home, _move, wanted, times)
            touched |= {digest for move in moves for digest in (move.before, move.after) if digest}
            now = _now(index, home, moves)
            seen |= set(now.values())
            wanted = {move.tag: now[move.tag] for move in moves if now[move.tag] != move.after}
        for digest in touched:
            listing(index, home, digest)
    return seen


@dataclass(frozen=True, slots=True)
class _Move:
    """A tag's record that is to name another digest than it does ("" for none)."""

    tag: str
    record: Record | None
    before: str
    after: str
    target: Artifact | None = None


@dataclass(slots=True)
class _Changes:
    """Changes that are made together, and what they add to counters of artifacts."""

    made: list[Change] = field(default_factory=list)
    counted: dict[str, dict[str, int]] = field(default_factory=dict)

    def count(self, digest: str, move: _Move, amount: int) -> None:
        amounts = self.counted.setdefault(digest, {"tags": 0, "attached": 0})
        amounts["tags"] += amount
        amounts["attached"] += amount * (kinds.attached(move.tag) is not None)


def _moves(index: Index, home: RepositoryRecord, wanted: Mapping[str, str]) -> tuple[_Move, ...]:
    """Return which tags' records name something else; what they are to name has a record, or they name nothing."""
    keys = {tag: artifacts.tag_key(home, tag) for tag in wanted}
    records = index.table.get_many(keys.values())
    found = {tag: (records[key].document["digest"] if key in records else "") for tag, key in keys.items()}
    differing = {tag: digest for tag, digest in wanted.items() if found[tag] != digest}
    targets = _targets(index, home, {digest for digest in differing.values() if digest})
    moves = (
        _Move(tag, records.get(keys[tag]), found[tag], digest if digest in targets else "", targets.get(digest))
        for tag, digest in differing.items()
    )
    return tuple(move for move in moves if move.before != move.after)


def _targets(index: Index, home: RepositoryRecord, digests: set[str]) -> Mapping[str, Artifact]:
    """Return the artifacts that tags are to name, made from S3 where they have no record."""
    found = artifacts.find_many(index, home, tuple(digests))
    missing = digests - set(found)
    if not missing:
        return found
    for digest in missing:
        manifest(index, home, Digest.parse(digest))
        checked(index, home, Digest.parse(digest))
    return artifacts.find_many(index, home, tuple(digests))


def _move(
    index: Index, home: RepositoryRecord, wanted: Mapping[str, str], times: Mapping[str, str]
) -> tuple[_Move, ...]:
    """Let tags' records name what is wanted; return which of them did not."""
    moves = _moves(index, home, wanted)
    changes = _Changes()
    for move in moves:
        _leave(home, changes, move)
        _enter(home, changes, move, index.new_id(), times.get(move.tag) or index.time())
    if not changes.made:
        return ()
    counting = (
        Add(artifacts.key(home, digest), amounts, PRESENT, _RACED) for digest, amounts in changes.counted.items()
    )
    index.table.commit(*changes.made, *counting, home.unchanged())
    return moves


def _leave(home: RepositoryRecord, changes: _Changes, move: _Move) -> None:
    """Take a tag away from what it names."""
    if not move.before or move.record is None:
        return
    changes.made.append(Delete(artifacts.tagged_key(home, move.before, move.tag)))
    changes.count(move.before, move, -1)
    relation = kinds.attached(move.tag)
    if relation:
        changes.made.append(Delete(_attached_key(home, relation.subject, move.before, move.tag)))
    if not move.after:
        changes.made.append(Delete(move.record.key, If(etag=move.record.etag), _RACED))


def _enter(home: RepositoryRecord, changes: _Changes, move: _Move, number: int, pushed: str) -> None:
    """Let a tag name something."""
    if move.target is None:
        return
    if move.record:
        number = move.record.document["id"]
    beside = {"id": number, "pushed": pushed}
    condition = If(etag=move.record.etag) if move.record else ABSENT
    changes.made.append(Put(artifacts.tag_key(home, move.tag), {**beside, "digest": move.after}, condition, _RACED))
    changes.made.append(Put(artifacts.tagged_key(home, move.after, move.tag), beside))
    changes.count(move.after, move, 1)
    relation = kinds.attached(move.tag)
    if relation:
        key = _attached_key(home, relation.subject, move.after, move.tag)
        changes.made.append(Put(key, _accessory(move.target.document, number, relation.type, pushed)))


def _attached_key(home: RepositoryRecord, subject: str, digest: str, tag: str) -> Key:
    return Key(home.partition("accessories"), f"{subject}/{digest}/{tag}")


def _now(index: Index, home: RepositoryRecord, moves: Iterable[_Move]) -> dict[str, str]:
    """Return what S3 says by now of the tags that were moved."""
    names = [move.tag for move in moves]
    heads = index.content.together(partial(named, index, home.repository), map(Tag, names))
    return dict(zip(names, heads, strict=True))
