"""Random histories of two regions, with copies that arrive in any order, late, twice or never.

Whatever a copy answers is right: bytes that hash to their digest, a tag as the primary once had it, 404 where the
primary says so, and 503 where nobody can know. Once everything has arrived it answers as the primary does. After a
promotion the other region goes on with what had arrived: nothing of that is lost, and what is pushed is whole.
"""

import os
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from chalicelib.oci import manifests
from chalicelib.oci.digests import Digest
from chalicelib.oci.names import Repository, Tag
from chalicelib.policy.regions import OPENS
from chalicelib.store import layout, promotions
from chalicelib.store.condemned import readable
from tests.jobs.collecting import collect
from tests.regions.world import NOWHERE, Side, World
from tests.store.client import Document, image, index

REPOSITORIES = ("library/a", "library/a/b")
TAGS = ("t", "u")
CONTENTS = (b"{}", b"one", b"two")
_IMAGES = (image(CONTENTS[0], [CONTENTS[1]]), image(CONTENTS[0], CONTENTS[1:]), image(CONTENTS[2]))
DOCUMENTS = (*_IMAGES, index(_IMAGES[:2]), index(_IMAGES[1:], subject=_IMAGES[0]))
# Longer than bytes that were seen are taken to be here.
_STEP = timedelta(minutes=6)

repositories, tags, documents = st.sampled_from(REPOSITORIES), st.sampled_from(TAGS), st.sampled_from(DOCUMENTS)
numbers = st.integers(0, 1 << 16)
Place = tuple[str, str]


def parsed(document: Document) -> manifests.Manifest:
    return manifests.parse(document.content, document.media_type)


def blobs_of(document: Document) -> list[Digest]:
    return [blob.digest for blob in parsed(document).blobs]


BY_DIGEST = {document.digest: document for document in DOCUMENTS}
BYTES = {Digest.of(content): content for content in CONTENTS}


class Regions(RuleBasedStateMachine):
    """The world, and what the primary had: of each tag all that it ever named."""

    pushed: Bundle[tuple[str, Document]] = Bundle("pushed")

    @initialize()
    def start(self) -> None:
        self.world = World()
        self.writer = self.world.first
        self.history: dict[Place, list[Document | None]] = {}

    @property
    def copy(self) -> Side:
        return self.world.second

    @property
    def is_promoted(self) -> bool:
        return self.writer is self.world.second

    # What clients do where writes are taken.

    def _push(self, repository: str, document: Document, reference: object) -> None:
        """Push as clients do, children first: what is there already is not sent."""
        for child in parsed(document).manifests:
            self._push(repository, BY_DIGEST[child.digest], child.digest)
        for digest in blobs_of(document):
            if self.writer.client.ask("HEAD", f"/v2/{repository}/blobs/{digest}").status != 200:
                self.writer.client.push_blob(repository, BYTES[digest])
        self.writer.client.push_manifest(repository, reference, document)

    @rule(target=pushed, repository=repositories, tag=tags, document=documents)
    def push(self, repository: str, tag: str, document: Document) -> tuple[str, Document]:
        self._push(repository, document, tag)
        self.history.setdefault((repository, tag), []).append(document)
        self._note()
        self.check_pull(self.writer, repository, tag, document)
        return repository, document

    @rule(repository=repositories, document=documents, tag=tags)
    def tag_what_is_there(self, repository: str, document: Document, tag: str) -> None:
        """Put a manifest without sending anything: it is refused, or whole."""
        if self.writer.client.put_manifest(repository, tag, document).status == 201:
            self.history.setdefault((repository, tag), []).append(document)
            self._note()
            if not parsed(document).manifests:
                self.check_pull(self.writer, repository, tag, document)

    @rule(repository=repositories, tag=tags)
    def delete_tag(self, repository: str, tag: str) -> None:
        self.writer.client.ask("DELETE", f"/v2/{repository}/manifests/{tag}")
        self._note()

    @rule(found=pushed)
    def delete_manifest(self, found: tuple[str, Document]) -> None:
        repository, document = found
        self.writer.client.delete_alone(repository, document.digest)
        self._note()

    @rule(untagged=st.booleans())
    def collect(self, untagged: bool) -> None:
        self.world.clock.advance(timedelta(hours=3))
        collect(self.writer.services, delete_untagged=untagged)
        self._note()

    def _note(self) -> None:
        """Write down what each tag names now, and let time go by."""
        self.world.copies.look()
        for repository in REPOSITORIES:
            for tag in TAGS:
                now = self._named(repository, tag)
                self.history.setdefault((repository, tag), [None]).append(now)
        self.world.clock.advance(_STEP)

    def _named(self, repository: str, tag: str) -> Document | None:
        found = self.writer.bucket.beside().get(layout.tag(Repository(repository), Tag(tag)))
        return Document(found.content, found.head.content_type) if found else None

    # What goes from bucket to bucket.

    @rule(which=numbers)
    def deliver(self, which: int) -> None:
        self.world.copies.deliver(which)

    @rule(which=st.lists(numbers, min_size=5, max_size=30))
    def deliver_some(self, which: list[int]) -> None:
        for number in which:
            self.world.copies.deliver(number)

    @rule(which=numbers)
    def deliver_again(self, which: int) -> None:
        self.world.copies.deliver_again(which)

    @precondition(lambda self: not self.is_promoted)
    @rule()
    def everything_arrives(self) -> None:
        self.world.copies.deliver_all()
        for repository in REPOSITORIES:
            for tag in TAGS:
                now = self._named(repository, tag)
                answer = self.copy.client.manifest(repository, tag)
                assert answer.body == now.content if now else answer.status in (404, 503)
            assert self.copy.client.tags(repository) == self.writer.client.tags(repository)

    @rule(is_open=st.booleans())
    def the_primary_goes_or_comes(self, is_open: bool) -> None:
        self.copy.way.is_open = is_open
        self.world.clock.advance(_STEP)

    @rule()
    def a_process_begins_anew(self) -> None:
        self.copy.restart()

    # The other region takes over.

    @precondition(lambda self: not self.is_promoted)
    @rule(planned=st.booleans())
    def promote(self, planned: bool) -> None:
        kept = {place: self._arrived(*place) for place in self.history}
        if planned:
            promotions.demote(self.world.first.region)
        promotions.promote(self.copy.region, self.copy.services.index.table, force=not planned)
        self.world.copies.cut()
        self.world.clock.advance(OPENS)
        self.writer = self.world.second
        assert self.world.first.client.ask("POST", "/v2/library/a/blobs/uploads/").status == 403
        for (repository, tag), document in kept.items():
            if document:
                self.check_pull(self.copy, repository, tag, document)

    def _arrived(self, repository: str, tag: str) -> Document | None:
        """Return what a tag of the copy names, if it and all that it needs is in the copy's bucket."""
        found = self.copy.bucket.beside().get(layout.tag(Repository(repository), Tag(tag)))
        if found is None:
            return None
        document = Document(found.content, found.head.content_type)
        return document if self._is_whole(repository, document) else None

    def _is_whole(self, repository: str, document: Document) -> bool:
        bucket, name = self.copy.bucket.beside(), Repository(repository)
        for digest in blobs_of(document):
            link = bucket.get(layout.link(name, digest))
            if link is None or not any(key.encode() in link.content for key in bucket.keys(layout.DATA)):
                return False
        for child in parsed(document).manifests:
            head = readable(bucket.head(layout.manifest(name, child.digest)))
            if head is None or not self._is_whole(repository, BY_DIGEST[child.digest]):
                return False
        return True

    # What must hold whoever is asked.

    def check_pull(self, side: Side, repository: str, reference: object, document: Document) -> None:
        """Pull something whole."""
        answer = side.client.manifest(repository, reference)
        assert (answer.status, answer.body) == (200, document.content), (side.name, repository, reference, answer)
        for digest in blobs_of(document):
            assert side.pull_blob(repository, digest) == BYTES[digest]
        for child in parsed(document).manifests:
            self.check_pull(side, repository, child.digest, BY_DIGEST[child.digest])

    @invariant()
    def a_copy_answers_what_is_right(self) -> None:
        if self.is_promoted:
            return
        for repository in REPOSITORIES:
            for tag in TAGS:
                self._check_copy(repository, tag)
            for document in DOCUMENTS:
                self._check_copy(repository, document.digest)
            for digest in BYTES:
                self._check_blob(repository, digest)

    def _check_copy(self, repository: str, reference: object) -> None:
        answer = self.copy.client.manifest(repository, reference)
        if answer.status == 200:
            found = Document(answer.body, answer.headers["Content-Type"])
            assert answer.headers["Docker-Content-Digest"] == str(found.digest)
            if isinstance(reference, Digest):
                assert found.digest == reference
            else:
                assert found in self.history[repository, str(reference)]
        else:
            self._check_refusal(answer.status, f"/v2/{repository}/manifests/{reference}")

    def _check_blob(self, repository: str, digest: Digest) -> None:
        if self.copy.pull_blob(repository, digest) == NOWHERE:
            self._look_anew(repository, digest)
        found = self.copy.pull_blob(repository, digest)
        if isinstance(found, int):
            self._check_refusal(found, f"/v2/{repository}/blobs/{digest}")
        head = self.copy.client.ask("HEAD", f"/v2/{repository}/blobs/{digest}").status
        assert head == (found if isinstance(found, int) else 200)

    def _look_anew(self, repository: str, digest: Digest) -> None:
        """Begin a process that saw nothing: what one saw it takes to be here for minutes."""
        self.copy.restart()
        assert self.copy.pull_blob(repository, digest) != NOWHERE

    def _check_refusal(self, status: int, path: str) -> None:
        """A copy does not know something while the primary is away; else it says what the primary says."""
        assert status == (404 if self.copy.way.is_open else 503)
        if status == 404:
            assert self.writer.client.ask("GET", path).status == 404, path

    @invariant()
    def after_a_promotion_what_a_tag_names_is_whole_if_it_was_pushed_since(self) -> None:
        if not self.is_promoted:
            return
        for repository in REPOSITORIES:
            for digest, content in BYTES.items():
                assert self.copy.pull_blob(repository, digest) in (content, 404)

    def teardown(self) -> None:
        """In the end nothing that a copy did has changed its bucket, and processes learn what they are."""
        if hasattr(self, "world") and not self.is_promoted:
            writes = ("put", "delete", "delete_if", "complete", "begin")
            assert not [each for each in self.copy.client.objects.asked if each.operation in writes]


_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
TestRegions = Regions.TestCase
TestRegions.settings = settings(
    max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=_QUIET, database=None
)


@pytest.mark.soak
def test_many_histories() -> None:
    """`ROADSTEAD_HISTORIES` says how many."""
    histories = int(os.environ.get("ROADSTEAD_HISTORIES", "120"))
    run_state_machine_as_test(Regions, settings=settings(TestRegions.settings, max_examples=histories))
