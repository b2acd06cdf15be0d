"""S3Objects keeps the contract over ministack and over SeaweedFS, but for what `CANNOT` lists.

SeaweedFS has no class with a versioned bucket: there it lists `a` behind `a!b` and `a-b`, which nothing here could
bear (docs/decisions/007).
"""

from collections.abc import Callable, Iterator
from datetime import datetime

import pytest

from chalicelib.oci.digests import Digest
from chalicelib.oci.manifests import parse
from chalicelib.oci.names import Repository, Tag
from chalicelib.store import blobs, history, layout, manifests
from chalicelib.store.ahead import Ahead
from chalicelib.store.content import Content
from chalicelib.store.garbage import repository as garbage
from chalicelib.store.objects import ObjectStore
from tests.engines import ENGINES, Engine
from tests.memory import Inline
from tests.store.client import image
from tests.store.contract import Contract, NowFromTheSystem, ObjectStoreContract, VersionsContract
from tests.store.s3 import make_bucket, s3_objects

REPOSITORY = Repository("a/b")
TAG = Tag("v1")
pytestmark = pytest.mark.engines


@pytest.fixture(scope="class")
def service(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with ENGINES[request.cls.engine]() as running:
        make_bucket(running, versioned=request.cls.versioned)
        yield running


@pytest.fixture(scope="class")
def objects(service: Engine) -> Iterator[ObjectStore]:
    with s3_objects(service) as opened:
        yield opened


@pytest.fixture(scope="class")
def other(service: Engine) -> Iterator[ObjectStore]:
    with s3_objects(service) as opened:
        yield opened


class Engines(NowFromTheSystem, Contract):
    versioned = False


class UndoContract(Contract):
    def test_an_undo_brings_back_what_was_there_and_a_tag_that_was_deleted(
        self, objects: ObjectStore, now: Callable[[], datetime]
    ) -> None:
        content = Content(objects, Inline(), now)
        one, two = (image(b"{}", annotations={"n": str(number)}) for number in (1, 2))
        blobs.hold(content, REPOSITORY, Digest.of(b"{}"), blobs.Blob("data/any", 2))
        for document in (one, two):
            manifests.put(content, REPOSITORY, parse(document.content, document.media_type), document.digest, [TAG])
        first = history.undo(content, REPOSITORY, TAG)
        manifests.delete_tag(content, REPOSITORY, TAG)
        manifests.delete(content, REPOSITORY, one.digest)

        second = history.undo(content, REPOSITORY, TAG)

        named = [state.digest for state in history.history(content, REPOSITORY, TAG)]
        assert first == second == one.digest
        assert named == [one.digest, None, one.digest, two.digest, one.digest]
        for reference in (TAG, one.digest):
            assert manifests.get(content, REPOSITORY, reference).content == one.content


class CollectorContract(Contract):
    def test_the_collector_finds_every_repository_and_every_hint(
        self, objects: ObjectStore, now: Callable[[], datetime]
    ) -> None:
        content = Content(objects, Inline(), now)
        names = {"c/a", "c/a-b", "c/a.b", "c/a/b", "c/a/0", "c/a/b-c/d", "c/a0", "c/a_b", "c/a--b/1", "c-d/a", "0/c"}
        digests = sorted((Digest.of(name.encode()) for name in names), key=str)
        for name in names:
            for digest in digests[::2]:
                objects.put(layout.tagged(Repository(name), digest) + "v1", b"")
                objects.put(layout.link(Repository(name), digest), b"")

        found = [*_repositories(content)]

        assert {name for name in found if name in names} == names
        assert len(found) == len(set(found))
        for name in names:
            hints = Ahead(content, layout.all_tagged(Repository(name)))
            links = Ahead(content, layout.links(Repository(name)))
            hinted = [digest for digest in digests if hints.below(layout.tagged(Repository(name), digest)).keys]
            linked = [digest for digest in digests if links.below(layout.link(Repository(name), digest)).keys]
            assert hinted == linked == digests[::2]


def _repositories(content: Content) -> Iterator[str]:
    name = ""
    while name := garbage.after(content, name):
        yield name


class TestMinistack(Engines, CollectorContract, VersionsContract, ObjectStoreContract):
    engine = "ministack"


class TestMinistackVersioned(Engines, UndoContract, VersionsContract, ObjectStoreContract):
    engine = "ministack"
    versioned = True


class TestSeaweedFS(Engines, CollectorContract, UndoContract, VersionsContract, ObjectStoreContract):
    engine = "seaweedfs"


class TestTagsInSeaweedFS(Engines, ObjectStoreContract):
    engine = "seaweedfs"
    folder = "_tags/"
