"""Artifacts as replication policies look at them: with their tags, the names of their labels, and their type."""

from collections.abc import Iterator

from chalicelib.policy.replication import Candidate
from chalicelib.store.directory import Directory, labels
from chalicelib.store.index import Index, artifacts
from chalicelib.store.index.artifacts import Artifact
from chalicelib.store.index.repositories import RepositoryRecord


class Names(dict[int, str]):
    """The names of labels by their ids, each looked up once; of one that is gone, ""."""

    def __init__(self, directory: Directory) -> None:
        super().__init__()
        self._directory = directory

    def __missing__(self, number: int) -> str:
        label = labels.by_id(self._directory, number)
        self[number] = label.name if label else ""
        return self[number]


def of(artifact: Artifact, tags: tuple[str, ...], names: Names) -> Candidate:
    """Return an artifact with those tags."""
    named = frozenset(names[number] for number in artifact.labels)
    return Candidate(artifact.digest, tags, named, artifact.document["type"])


def listed(
    index: Index, directory: Directory, home: RepositoryRecord, after: str = ""
) -> Iterator[tuple[str, Candidate]]:
    """Yield the artifacts that lists show of a repository, the newest first, each with its key in that order."""
    tags: dict[str, list[str]] = {}
    for tag in artifacts.every_tag(index, home):
        tags.setdefault(tag.digest, []).append(tag.name)
    names = Names(directory)
    for artifact in artifacts.scan(index, home, after=after):
        key = artifacts.order_key(home, artifact.document).sort
        yield key, of(artifact, tuple(tags.get(artifact.digest, ())), names)
