"""What the registry promises, without S3: operations, and the world that each of them leads to.

* An operation does one thing to the registry (`run`) and to a world (`apply`): the two must agree.
* `steps` are the worlds in which a crash may leave it: the old one, those on the way, the new one.
* The documents refer to each other and to the contents below, which makes few of them meet often.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import orjson

from chalicelib.oci import manifests
from chalicelib.oci.digests import Digest
from tests.store.client import Client, Document, image, index, location

REPOSITORIES = ("library/a", "library/a/b")
TAGS = ("t", "u")
CONTENTS = (b"{}", b"one", b"two")
_ONE = image(CONTENTS[0], [CONTENTS[1]])
_TWO = image(CONTENTS[0], [CONTENTS[1], CONTENTS[2]])
DOCUMENTS = (
    _ONE,
    _TWO,
    image(CONTENTS[0], subject=_ONE, artifactType="application/x-signature"),
    index([_ONE, _TWO], subject=_ONE),
)
SUBJECT = _ONE.digest
_PARSED = {document: manifests.parse(document.content, document.media_type) for document in DOCUMENTS}


def _names(document: Document) -> frozenset[Digest]:
    return frozenset(each.digest for each in _PARSED[document].blobs)


def _children(document: Document) -> frozenset[Digest]:
    return frozenset(each.digest for each in _PARSED[document].manifests)


def refers(document: Document) -> bool:
    """Tell whether it has a subject."""
    return _PARSED[document].subject is not None


@dataclass(frozen=True, slots=True)
class World:
    """All that clients can see: who holds which blob, which manifests, tags and referrers there are."""

    indexed: frozenset[Digest] = frozenset()
    blobs: frozenset[tuple[str, Digest]] = frozenset()
    manifests: frozenset[tuple[str, Digest]] = frozenset()
    referrers: frozenset[tuple[str, Digest]] = frozenset()
    tags: frozenset[tuple[str, str, Digest]] = frozenset()

    def tag(self, repository: str, name: str, digest: Digest | None) -> "World":
        """Return the world in which the tag names something else, or nothing."""
        others = frozenset(tag for tag in self.tags if tag[:2] != (repository, name))
        return replace(self, tags=others if digest is None else others | {(repository, name, digest)})


class Operation(ABC):
    """One thing that a client does; `run` returns the status of its last request."""

    @abstractmethod
    def run(self, client: Client) -> int:
        """Do it."""

    @abstractmethod
    def steps(self, world: World) -> tuple[list[World], int]:
        """Return the worlds from the old one to the new one, and the status."""

    def apply(self, world: World) -> tuple[World, int]:
        """Return the new world and the status."""
        worlds, status = self.steps(world)
        return worlds[-1], status


def _post(client: Client, repository: str, content: bytes) -> int:
    return client.ask("POST", f"/v2/{repository}/blobs/uploads/?digest={Digest.of(content)}", content).status


def _post_and_put(client: Client, repository: str, content: bytes) -> int:
    return client.finish(client.begin(repository), Digest.of(content), content).status


def _patch_and_put(client: Client, repository: str, content: bytes) -> int:
    answer = client.patch(client.begin(repository), content[:2])
    if answer.status != 202:
        return answer.status
    answer = client.patch(location(answer), content[2:])
    return client.finish(location(answer), Digest.of(content)).status if answer.status == 202 else answer.status


WAYS: tuple[Callable[[Client, str, bytes], int], ...] = (_post, _post_and_put, _patch_and_put)


@dataclass(frozen=True)
class PushBlob(Operation):
    """A blob is pushed in one of three ways."""

    repository: str
    content: bytes
    way: int

    def run(self, client: Client) -> int:
        """Do it."""
        return WAYS[self.way](client, self.repository, self.content)

    def steps(self, world: World) -> tuple[list[World], int]:
        """Pass through the index."""
        digest = Digest.of(self.content)
        indexed = replace(world, indexed=world.indexed | {digest})
        return [world, indexed, replace(indexed, blobs=world.blobs | {(self.repository, digest)})], 201


@dataclass(frozen=True)
class Mount(Operation):
    """A blob is mounted from a repository, or from anywhere."""

    repository: str
    content: bytes
    source: str

    def run(self, client: Client) -> int:
        """Do it."""
        source = f"&from={self.source}" if self.source else ""
        url = f"/v2/{self.repository}/blobs/uploads/?mount={Digest.of(self.content)}{source}"
        return client.ask("POST", url).status

    def steps(self, world: World) -> tuple[list[World], int]:
        """Do nothing where there is no such blob."""
        digest = Digest.of(self.content)
        found = (self.source, digest) in world.blobs if self.source else digest in world.indexed
        if not found:
            return [world], 202
        return [world, replace(world, blobs=world.blobs | {(self.repository, digest)})], 201


@dataclass(frozen=True)
class DeleteBlob(Operation):
    """A repository gives up a blob."""

    repository: str
    content: bytes

    def run(self, client: Client) -> int:
        """Do it."""
        return client.ask("DELETE", f"/v2/{self.repository}/blobs/{Digest.of(self.content)}").status

    def steps(self, world: World) -> tuple[list[World], int]:
        """Leave the bytes to others."""
        key = (self.repository, Digest.of(self.content))
        return [world, replace(world, blobs=world.blobs - {key})], 202 if key in world.blobs else 404


@dataclass(frozen=True)
class PutManifest(Operation):
    """A manifest is pushed, by digest where the tag is ""."""

    repository: str
    document: Document = field(repr=False)
    tag: str

    def run(self, client: Client) -> int:
        """Do it."""
        return client.put_manifest(self.repository, self.tag or self.document.digest, self.document).status

    def steps(self, world: World) -> tuple[list[World], int]:
        """Write the manifest, its place among the referrers, and then the tag."""
        if self._missing(world):
            return [world], 404
        key = (self.repository, self.document.digest)
        worlds = [world, replace(world, manifests=world.manifests | {key})]
        if refers(self.document):
            worlds.append(replace(worlds[-1], referrers=world.referrers | {key}))
        if self.tag:
            worlds.append(worlds[-1].tag(self.repository, self.tag, self.document.digest))
        return worlds, 201

    def _missing(self, world: World) -> bool:
        blobs = any((self.repository, digest) not in world.blobs for digest in _names(self.document))
        children = _children(self.document)
        none_here = not any((self.repository, digest) in world.manifests for digest in children)
        return blobs or (bool(children) and none_here)


@dataclass(frozen=True)
class DeleteManifest(Operation):
    """A manifest is deleted, with all its tags; what else goes with it is a row of such deletes (`store.cascade`)."""

    repository: str
    document: Document = field(repr=False)

    def run(self, client: Client) -> int:
        """Do it."""
        return client.delete_alone(self.repository, self.document.digest).status

    def steps(self, world: World) -> tuple[list[World], int]:
        """Delete tags in any order, then the place among the referrers, then the manifest."""
        key = (self.repository, self.document.digest)
        if key not in world.manifests:
            return [world], 404
        named = [tag for tag in world.tags if (tag[0], tag[2]) == key]
        worlds = [world, *(replace(world, tags=world.tags - {tag}) for tag in named)]
        worlds.append(replace(world, tags=world.tags - set(named)))
        worlds.append(replace(worlds[-1], referrers=world.referrers - {key}))
        worlds.append(replace(worlds[-1], manifests=world.manifests - {key}))
        return worlds, 202


@dataclass(frozen=True)
class DeleteTag(Operation):
    """A tag is deleted."""

    repository: str
    tag: str

    def run(self, client: Client) -> int:
        """Do it."""
        return client.ask("DELETE", f"/v2/{self.repository}/manifests/{self.tag}").status

    def steps(self, world: World) -> tuple[list[World], int]:
        """Leave the manifest."""
        new = world.tag(self.repository, self.tag, None)
        return [world, new], 202 if new != world else 404


def observe(reader: Client) -> World:
    """Return the world as a client sees it; what is read must be what its name says."""
    return World(
        indexed=frozenset(Digest(*key.split("/")[1:]) for key in reader.objects.keys("blobs/")),
        blobs=frozenset(_blobs(reader)),
        manifests=frozenset(_manifests(reader)),
        referrers=frozenset(
            (repository, Digest.parse(text))
            for repository in REPOSITORIES
            for text in reader.referrers(repository, SUBJECT)
        ),
        tags=frozenset(_tags(reader)),
    )


def _blobs(reader: Client) -> Iterator[tuple[str, Digest]]:
    for repository in REPOSITORIES:
        for content in CONTENTS:
            found = reader.blob(repository, Digest.of(content))
            assert found in (None, content)
            if found is not None:
                yield repository, Digest.of(content)


def _manifests(reader: Client) -> Iterator[tuple[str, Digest]]:
    for repository in REPOSITORIES:
        for document in DOCUMENTS:
            if _pulled(reader, repository, document.digest) == document.digest:
                yield repository, document.digest


def _tags(reader: Client) -> Iterator[tuple[str, str, Digest]]:
    for repository in REPOSITORIES:
        listed = reader.tags(repository)
        for tag in TAGS:
            digest = _pulled(reader, repository, tag)
            assert (digest is not None) == (tag in listed)
            if digest is not None:
                yield repository, tag, digest


def _pulled(reader: Client, repository: str, reference: object) -> Digest | None:
    answer = reader.manifest(repository, reference)
    if answer.status == 404:
        return None
    assert answer.status == 200, answer
    digest = Digest.of(answer.body)
    assert answer.headers["Docker-Content-Digest"] == str(digest)
    assert orjson.loads(answer.body)["mediaType"] == answer.headers["Content-Type"]
    return digest
