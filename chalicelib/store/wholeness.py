"""Whether all that a manifest names is here: in a region that is a copy, or was one, what is named may not have come.

Invariant: what an index lacks of other manifests is no lack: it may have been pushed without them.
"""

from collections.abc import Iterable

from chalicelib.oci import manifests as oci
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import RegistryError
from chalicelib.oci.manifests import Manifest
from chalicelib.oci.names import Repository
from chalicelib.store import blobs, layout
from chalicelib.store.condemned import original, readable
from chalicelib.store.content import Content

_DEEPEST = 8


def lacking_below(
    content: Content, repository: Repository, children: Iterable[Digest], depth: int = _DEEPEST
) -> list[Digest]:
    """Return the blobs that manifests, as far as they are here, name and that cannot be pulled."""
    missing: list[Digest] = []
    for child in dict.fromkeys(children) if depth else ():
        found = content.objects.get(layout.manifest(repository, child))
        if found is None or readable(found.head) is None:
            continue
        manifest = parsed(original(found), found.head.content_type)
        if manifest is None:
            missing.append(child)
            continue
        named = [blob.digest for blob in manifest.blobs if not blob.held_elsewhere]
        missing += [digest for digest in named if blobs.find(content, repository, digest) is None]
        missing += lacking_below(content, repository, (each.digest for each in manifest.manifests), depth - 1)
    return missing


def parsed(content: bytes, media_type: str) -> Manifest | None:
    """Return the manifest that bytes are, or None where they are none."""
    try:
        return oci.parse(content, media_type)
    except RegistryError:
        return None
