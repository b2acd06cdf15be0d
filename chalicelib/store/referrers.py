"""What refers to a manifest: one object for each descriptor, written and deleted by `store.manifests`.

Specification: OCI Distribution 1.1, end-12.
"""

from dataclasses import dataclass

import orjson

from chalicelib.oci.digests import Digest
from chalicelib.oci.manifests import MAX_MANIFEST
from chalicelib.oci.names import Repository
from chalicelib.oci.pages import LARGEST
from chalicelib.store import layout
from chalicelib.store.content import Content

# A client reads a page of referrers as one manifest.
_PAGE_BYTES = MAX_MANIFEST


@dataclass(frozen=True, slots=True)
class Referrers:
    """A page of descriptors that refer to a manifest, and where the next one begins ("" at the end)."""

    descriptors: tuple[dict[str, object], ...]
    next: str


def referrers(content: Content, repository: Repository, subject: Digest, artifact_type: str, last: str) -> Referrers:
    """Return the manifests whose subject is `subject`, of one artifact type where it is not "" (end-12)."""
    prefix = layout.referrers(repository, subject)
    page = content.objects.list(prefix, after=prefix + last if last else "", limit=LARGEST)
    keys: list[str] = []
    room = _PAGE_BYTES
    for entry in page.entries:
        room -= entry.size
        if keys and room < 0:
            break
        keys.append(entry.key)
    more = page.more or len(keys) < len(page.entries)
    found = content.together(content.objects.get, keys)
    descriptors = (orjson.loads(descriptor.content) for descriptor in found if descriptor)
    return Referrers(
        tuple(d for d in descriptors if not artifact_type or d.get("artifactType") == artifact_type),
        next=keys[-1].removeprefix(prefix) if more else "",
    )
