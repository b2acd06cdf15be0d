"""Removing a whole repository: its manifests and tags in S3, then its records.

Invariants:
* Tags go first, manifests next, the catalog's entry and the record last: whoever is interrupted does it again.
* The blobs that the repository holds stay held: letting them go is the collector's business, which knows whether a
  push still needs them. The hints which tags named what stay as well.
* What is pushed meanwhile, and stays, is in the index and in the catalog afterwards. A tag that was pushed behind the
  listing of tags may have lost its manifest to that of manifests: it is brought back, as `store.manifests` does.
"""

from functools import partial

from chalicelib.oci import manifests as oci
from chalicelib.oci.names import Repository, Tag
from chalicelib.store import layout, manifests
from chalicelib.store.content import Content
from chalicelib.store.index import Index, events, repositories, settle
from chalicelib.store.index.attempts import in_known
from chalicelib.store.index.repositories import RepositoryRecord
from chalicelib.store.table import LARGEST_COMMIT, Delete, batches, every

_KINDS = ("order", "tags", "tagged", "children", "parents", "accessories", "labelled", "artifacts")


def remove(index: Index, project_id: int, repository: Repository) -> None:
    """Remove a repository with everything in it; raise BusyError or OSError, where doing it again helps."""
    for prefix in (layout.tags(repository), layout.manifests(repository), layout.all_referrers(repository)):
        _empty(index, prefix)
    for tag in index.content.objects.list(layout.tags(repository)).entries:
        _bring_back(index.content, repository, tag.key)
    index.content.objects.delete(layout.catalog(repository))
    in_known(index, project_id, repository, partial(forget, index))


def forget(index: Index, home: RepositoryRecord) -> None:
    """Remove the records of a repository that S3 has no longer; raise as `remove`, or RefusedError."""
    repositories.forget(index, home)
    _restore(index, home.project_id, home.repository)
    _purge(index, home)


def _empty(index: Index, prefix: str) -> None:
    """Delete what is below a prefix."""
    while True:
        page = index.content.objects.list(prefix)
        index.content.objects.delete(*(entry.key for entry in page.entries))
        if not page.more:
            return


def _restore(index: Index, project_id: int, repository: Repository) -> None:
    """Take in what was pushed since the listings: its pusher may have written into the records that are gone."""
    for tag in index.content.objects.list(layout.tags(repository)).entries:
        name = Tag(tag.key.removeprefix(layout.tags(repository)))
        events.retagged(index, project_id, repository, {name.name: settle.named(index, repository, name)})
    for digest in manifests.stored(index.content, repository):
        events.found(index, project_id, repository, digest)


def _bring_back(content: Content, repository: Repository, key: str) -> None:
    """Bring back the manifest that a tag carries, where it is not there by itself."""
    found = content.objects.get(key)
    if found is not None:
        digest = manifests.digest_of(found.head)
        manifests.confirm(content, repository, oci.parse(found.content, found.head.content_type), digest)


def _purge(index: Index, home: RepositoryRecord) -> None:
    """Delete the records that nothing leads to any more."""
    for kind in _KINDS:
        for batch in batches(every(index.table, home.partition(kind)), LARGEST_COMMIT):
            index.table.commit(*(Delete(record.key) for record in batch))
