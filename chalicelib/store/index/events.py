"""What happened in S3, told to the index: the functions that are called after a push, a delete, a removal.

Invariants:
* They are called after the change of S3 was answered. Their failure costs the index its accuracy until the next
  `jobs.reindex`, and nobody a push or a pull: callers log it and go on.
* Each is a row of small changes that can be done again; where the repository was deleted meanwhile, all of it is.
"""

from collections.abc import Iterable, Mapping

from chalicelib.oci.digests import Digest
from chalicelib.oci.manifests import Manifest
from chalicelib.oci.names import Repository, Tag
from chalicelib.store.index import Index, settle
from chalicelib.store.index.attempts import in_any, in_known
from chalicelib.store.index.repositories import RepositoryRecord


def pushed(
    index: Index, project_id: int, repository: Repository, manifest: Manifest, digest: Digest, tags: Iterable[Tag]
) -> None:
    """Tell of a manifest that was stored, with the tags that name it now; raise BusyError or OSError."""
    named = {tag.name: str(digest) for tag in tags}

    def step(home: RepositoryRecord) -> None:
        settle.manifest(index, home, digest, manifest)
        # A tag that S3 has carries its manifest.
        if str(digest) not in settle.tags(index, home, named):
            settle.checked(index, home, digest)

    in_any(index, project_id, repository, step)


def retagged(index: Index, project_id: int, repository: Repository, named: Mapping[str, str]) -> None:
    """Tell of tags that name other digests now, or none ("" as the digest); raise as `pushed`."""
    in_any(index, project_id, repository, lambda home: _settle_tags(index, home, named))


def found(index: Index, project_id: int, repository: Repository, digest: Digest) -> None:
    """Tell of a manifest that S3 turns out to have; raise as `pushed`."""

    def step(home: RepositoryRecord) -> None:
        settle.manifest(index, home, digest)
        settle.checked(index, home, digest)

    in_any(index, project_id, repository, step)


def untagged(index: Index, project_id: int, repository: Repository, tag: Tag) -> None:
    """Tell of a tag that was deleted; raise as `pushed`."""
    in_known(index, project_id, repository, lambda home: _settle_tags(index, home, {tag.name: ""}))


def deleted(index: Index, project_id: int, repository: Repository, digest: Digest) -> None:
    """Tell of a manifest that was deleted, with the tags that named it; raise as `pushed`."""
    in_known(index, project_id, repository, lambda home: settle.gone(index, home, digest))


def _settle_tags(index: Index, home: RepositoryRecord, named: Mapping[str, str]) -> None:
    settle.tags(index, home, named)
