"""What refers to a manifest: one object for each descriptor, written and deleted by `store.manifests`.

Where a crash or a race left one too few or too many, `settle` makes it agree with the manifest.

Specification: OCI Distribution 1.1, end-12.
"""

from contextlib import suppress
from dataclasses import dataclass

import orjson

from chalicelib.oci import manifests as oci
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.manifests import MAX_MANIFEST, Manifest
from chalicelib.oci.names import Repository
from chalicelib.oci.pages import LARGEST
from chalicelib.store import layout, manifests
from chalicelib.store.blobs import JSON
from chalicelib.store.content import Content
from chalicelib.store.objects import ConditionFailedError, Object

# A client reads a page of referrers as one manifest.
_PAGE_BYTES = MAX_MANIFEST
_ATTEMPTS = 5


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


def is_listed(content: Content, repository: Repository, manifest: Manifest, digest: Digest) -> bool:
    """Tell whether a manifest with a subject is listed among the referrers of that, as it should be."""
    if manifest.subject is None:
        return False
    return _says(content.objects.get(layout.referrer(repository, manifest.subject.digest, digest)), manifest, digest)


def _says(found: Object | None, manifest: Manifest, digest: Digest) -> bool:
    try:
        return found is not None and orjson.loads(found.content) == manifest.referrer(digest)
    except orjson.JSONDecodeError:
        return False


def is_wanted(content: Content, repository: Repository, subject: Digest, digest: Digest) -> bool:
    """Tell whether a manifest is there and refers to `subject`, or is damaged, so that nobody knows."""
    try:
        return _referring(content, repository, subject, digest) is not None
    except RegistryError as error:
        if error.code is ErrorCode.UNAVAILABLE:
            raise
        return True


def _referring(content: Content, repository: Repository, subject: Digest, digest: Digest) -> Manifest | None:
    """Return a manifest that refers to `subject`, or None; raise RegistryError where it is damaged."""
    try:
        stored = manifests.get(content, repository, digest)
    except RegistryError as error:
        if error.code is ErrorCode.MANIFEST_UNKNOWN:
            return None
        raise
    manifest = oci.parse(stored.content, stored.media_type)
    refers = manifest.subject is not None and manifest.subject.digest == subject
    return manifest if refers and not stored.retired else None


def settle(content: Content, repository: Repository, subject: Digest, digest: Digest) -> bool:
    """Make what is listed agree with the manifest; tell whether it does now.

    Who pushes writes the manifest before its entry, who deletes takes the entry first: after each change the
    manifest is looked at once more, so the last one to change an entry saw the manifest as it stayed.
    """
    key = layout.referrer(repository, subject, digest)
    for _ in range(_ATTEMPTS):
        try:
            manifest = _referring(content, repository, subject, digest)
        except RegistryError as error:
            if error.code is ErrorCode.UNAVAILABLE:
                raise
            return False
        found = content.objects.get(key)
        if _says(found, manifest, digest) if manifest else found is None:
            return True
        with suppress(ConditionFailedError):
            if manifest:
                content.objects.put(key, orjson.dumps(manifest.referrer(digest)), content_type=JSON)
            elif found:
                content.objects.delete_if(key, found.head.etag)
    return False
