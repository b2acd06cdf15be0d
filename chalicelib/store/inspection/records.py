"""Comparing what the index of artifacts has of a repository with what the bucket has; the index is told by `reindex`.

What is young is left alone: the index hears of a push and of a deletion after they are done.
"""

from collections.abc import Iterator
from datetime import datetime

from chalicelib.oci.digests import Digest
from chalicelib.oci.names import Tag
from chalicelib.store import layout
from chalicelib.store.index import Index, artifacts, repositories, settle
from chalicelib.store.index.repositories import RepositoryRecord
from chalicelib.store.inspection import is_young
from chalicelib.store.inspection.contents import Contents
from chalicelib.store.table import every


def differing(index: Index, project_id: int, contents: Contents, before: datetime) -> Iterator[str]:
    """Yield the digests and tags of which the index has something else than the bucket, or the repository's name."""
    home = repositories.find(index, project_id, contents.repository)
    if home is None:
        oldest = contents.oldest
        if oldest and oldest.modified < before and not repositories.find(index, project_id, contents.repository):
            yield contents.name
        return
    known = {record.key.sort for record in every(index.table, home.partition("artifacts"))}
    for digest in sorted((known ^ contents.manifests) - contents.damaged):
        if _manifest_differs(index, home, Digest.parse(digest), before):
            yield digest
    named = dict(artifacts.tag_names(index, home))
    for tag in sorted((named.keys() | contents.tags.keys()) - contents.damaged):
        if named.get(tag) != contents.tags.get(tag) and _tag_differs(index, home, Tag(tag), before):
            yield tag


def _manifest_differs(index: Index, home: RepositoryRecord, digest: Digest, before: datetime) -> bool:
    """Tell whether a manifest is old, and the index lacks it; or is not there, and the index has it."""
    if is_young(index.content, layout.manifest(home.repository, digest), before):
        return False
    there = settle.in_s3(index, home.repository, digest)
    return there != (artifacts.find(index, home, str(digest)) is not None)


def _tag_differs(index: Index, home: RepositoryRecord, tag: Tag, before: datetime) -> bool:
    if is_young(index.content, layout.tag(home.repository, tag), before):
        return False
    named = settle.named(index, home.repository, tag)
    found = artifacts.find_tag(index, home, tag.name)
    return named != (found.digest if found else "")
