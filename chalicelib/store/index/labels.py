"""Which labels an artifact carries: their ids, in its record; and which artifacts carry a label, beside it.

Invariants:
* Of two that change an artifact's labels at once, neither undoes what the other did.
* Whatever carries a label is below the label in `labelled`. What is there too may have lost it, or be gone: the
  artifact's own record decides.
"""

from collections.abc import Iterable, Iterator

from chalicelib.store.index import Index, artifacts
from chalicelib.store.index.artifacts import Artifact
from chalicelib.store.index.attempts import in_same
from chalicelib.store.index.repositories import RepositoryRecord
from chalicelib.store.table import Change, Delete, If, Key, Put, batches, every

_TOGETHER = 100
# An artifact with more labels leaves some of the records behind, which mean nothing then.
_REMOVED_TOGETHER = 50
_CHANGED = "the artifact was changed or deleted meanwhile"


def add(index: Index, home: RepositoryRecord, digest: str, label: int) -> bool:
    """Let an artifact carry a label; tell whether it did not. Raise LookupError where there is no such artifact."""
    return in_same(index, home, _change, digest, label, carried=True)


def remove(index: Index, home: RepositoryRecord, digest: str, label: int) -> bool:
    """Take a label off an artifact; tell whether it was there. Raise LookupError as `add`."""
    return in_same(index, home, _change, digest, label, carried=False)


def _change(index: Index, home: RepositoryRecord, digest: str, label: int, *, carried: bool) -> bool:
    found = artifacts.find(index, home, digest)
    if found is None:
        raise LookupError(digest)
    if (label in found.labels) == carried:
        return False
    labels = [*found.labels, label] if carried else [other for other in found.labels if other != label]
    change = Put(found.record.key, {**found.document, "labels": labels}, If(etag=found.record.etag), _CHANGED)
    key = _key(home, label, digest)
    index.table.commit(change, Put(key, {}) if carried else Delete(key), home.unchanged())
    return True


def carrying(index: Index, home: RepositoryRecord, wanted: frozenset[int]) -> tuple[Artifact, ...]:
    """Return the listed artifacts that carry all of some labels, at least one, the newest first."""
    first = min(wanted)
    prefix, found = f"{first}/", list[Artifact]()
    names = (record.key.sort.removeprefix(prefix) for record in every(index.table, _partition(home), prefix))
    for digests in batches(names, _TOGETHER):
        some = artifacts.find_many(index, home, digests).values()
        found += _listed(index, home, [artifact for artifact in some if wanted <= set(artifact.labels)])
    return tuple(sorted(found, key=lambda artifact: (artifact.pushed, artifact.digest), reverse=True))


def _listed(index: Index, home: RepositoryRecord, found: Iterable[Artifact]) -> Iterator[Artifact]:
    keys = {artifacts.order_key(home, artifact.document): artifact for artifact in found}
    yield from (keys[key] for key in index.table.get_many(keys))


def gone(home: RepositoryRecord, artifact: Artifact) -> tuple[Change, ...]:
    """Return what takes an artifact that is removed from below its labels."""
    return tuple(Delete(_key(home, label, artifact.digest)) for label in artifact.labels[:_REMOVED_TOGETHER])


def _partition(home: RepositoryRecord) -> str:
    return home.partition("labelled")


def _key(home: RepositoryRecord, label: int, digest: str) -> Key:
    return Key(_partition(home), f"{label}/{digest}")
