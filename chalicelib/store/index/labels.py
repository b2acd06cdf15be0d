"""Which labels an artifact carries: their ids, in its record.

Invariant: of two that change an artifact's labels at once, neither undoes what the other did.
"""

from chalicelib.store.index import Index, artifacts
from chalicelib.store.index.attempts import in_same
from chalicelib.store.index.repositories import RepositoryRecord
from chalicelib.store.table import If, Put

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
    index.table.commit(change, home.unchanged())
    return True
