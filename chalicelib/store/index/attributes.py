"""What an artifact's config says: read when somebody looks first, and kept for who looks next.

Invariant: a push does not wait for it, and what was read once is not read again while the record stays.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from chalicelib.store.index import Index, descriptions
from chalicelib.store.index.artifacts import Artifact
from chalicelib.store.index.repositories import RepositoryRecord
from chalicelib.store.table import BusyError, If, Put, RefusedError

_CHANGED = "the artifact changed meanwhile"


def of(index: Index, home: RepositoryRecord, found: Artifact) -> Mapping[str, Any]:
    """Return what an artifact's config says; raise OSError where S3 does not answer."""
    attributes = descriptions.attributes(index.content, home.repository, found.document)
    if found.document["extra_attrs"] is None:
        document = {**found.document, "extra_attrs": attributes}
        with suppress(RefusedError, BusyError, OSError):
            index.table.commit(Put(found.record.key, document, If(etag=found.record.etag), _CHANGED))
    return attributes
