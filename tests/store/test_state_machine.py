"""Random histories of several writers against a simple model: the rules that never break.

The model is three dictionaries. Every step is a request to one of three processes over one bucket; a step may be cut
off at any S3 request (the process then starts anew), in which case either the old state or the new one must be there.
"""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from chalicelib.api.http import Response
from chalicelib.jobs import abandoned_uploads
from chalicelib.oci import manifests
from chalicelib.oci.digests import Digest
from tests.memory import Clock, MemoryObjects
from tests.store.client import Client, Document, image, index, location
from tests.store.faults import Fault, Kind

REPOSITORIES = ("library/a", "library/a/b")
TAGS = ("latest", "v1")
CONTENTS = (b"", b"{}", b"one", b"two", bytes(5 << 20) + b"large")

BY_DIGEST = {Digest.of(content): content for content in CONTENTS}

repositories = st.sampled_from(REPOSITORIES)
tags = st.sampled_from(TAGS)
# By number: hypothesis prints what it draws, and five megabytes are not worth reading.
contents = st.integers(0, len(CONTENTS) - 1).map(CONTENTS.__getitem__)
processes = st.integers(0, 2)
# Where a step is cut off: at the how manieth request, and whether S3 did it. Most steps are not.
faults = st.one_of(
    st.none(),
    st.none(),
    st.builds(Fault, st.sampled_from([Kind.KILLED_BEFORE, Kind.KILLED_AFTER, Kind.FAILED_AFTER]), st.integers(1, 12)),
)


class Registry(RuleBasedStateMachine):
    """The registry, its writers and the model."""

    documents: Bundle[Document] = Bundle("documents")
    pushed: Bundle[tuple[str, Document]] = Bundle("pushed")
    uploads: Bundle[tuple[str, str, bytes]] = Bundle("uploads")

    @initialize()
    def start(self) -> None:
        self.clock = Clock()
        self.bucket = MemoryObjects(self.clock)
        self.clients = [Client.of(self.bucket, self.clock) for _ in range(3)]
        self.reader = Client.of(self.bucket, self.clock)
        self.blobs: dict[tuple[str, Digest], bytes] = {}
        self.manifests: dict[tuple[str, Digest], Document] = {}
        self.tags: dict[tuple[str, str], Document] = {}

    def step(self, process: int, fault: Fault | None, do: Callable[[Client], Response]) -> int:
        """Return the status of a request, or 0 where the process was killed or S3 failed in it."""
        client, answers = self.clients[process], list[Response]()
        if fault is None:
            return do(client).status
        with fault.on(client.objects):
            answers.append(do(client))
        self.clients[process] = Client.of(self.bucket, self.clock)
        return 0 if not answers or answers[0].status == 503 else answers[0].status

    def holds(self, repository: str, digest: Digest) -> bool:
        return self.reader.ask("HEAD", f"/v2/{repository}/blobs/{digest}").status == 200

    # Blobs.

    @rule(
        process=processes,
        fault=faults,
        repository=repositories,
        content=contents,
        algorithm=st.sampled_from(["sha256", "sha512"]),
    )
    def push_in_one(self, process: int, fault: Fault | None, repository: str, content: bytes, algorithm: str) -> None:
        digest = Digest.of(content, algorithm)

        status = self.step(
            process, fault, lambda c: c.ask("POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", content)
        )

        assert status in (0, 201)
        if status == 201 or self.holds(repository, digest):
            self.blobs[repository, digest] = content

    @rule(process=processes, repository=repositories, content=contents, target=uploads)
    def begin(self, process: int, repository: str, content: bytes) -> tuple[str, str, bytes]:
        where = self.clients[process].begin(repository)
        return repository, location(self.clients[process].patch(where, content)), content

    @rule(process=processes, fault=faults, upload=consumes(uploads), more=contents, right=st.booleans())
    def finish(
        self, process: int, fault: Fault | None, upload: tuple[str, str, bytes], more: bytes, right: bool
    ) -> None:
        repository, where, content = upload
        whole = content + more
        digest = Digest.of(whole if right else whole + b"!")

        status = self.step(process, fault, lambda c: c.finish(where, digest, more))

        assert status in ((0, 201, 404) if right else (0, 400, 404))
        if status == 201 or (right and self.holds(repository, digest)):
            self.blobs[repository, digest] = whole

    @rule(upload=uploads, process=processes)
    def cancel(self, upload: tuple[str, str, bytes], process: int) -> None:
        assert self.clients[process].ask("DELETE", upload[1]).status in (204, 404)

    @rule(process=processes, fault=faults, repository=repositories, source=repositories, content=contents)
    def mount(self, process: int, fault: Fault | None, repository: str, source: str, content: bytes) -> None:
        digest = Digest.of(content)
        target = f"/v2/{repository}/blobs/uploads/?mount={digest}&from={source}"

        status = self.step(process, fault, lambda c: c.ask("POST", target))

        held = (source, digest) in self.blobs
        assert status in ((0, 201) if held else (0, 202))
        if status == 201 or (held and self.holds(repository, digest)):
            self.blobs[repository, digest] = content

    @rule(process=processes, repository=repositories, content=contents)
    def delete_blob(self, process: int, repository: str, content: bytes) -> None:
        digest = Digest.of(content)
        used = any(name == repository and str(digest).encode() in found.content
                   for (name, _), found in self.manifests.items())  # fmt: skip
        if used:
            return

        status = self.clients[process].ask("DELETE", f"/v2/{repository}/blobs/{digest}").status

        assert status == (202 if self.blobs.pop((repository, digest), None) is not None else 404)

    # Manifests.

    @rule(target=documents, config=contents, layers=st.lists(contents, max_size=3))
    def make_image(self, config: bytes, layers: list[bytes]) -> Document:
        return image(config, layers)

    @rule(target=documents, children=st.lists(documents, max_size=2), subject=st.one_of(st.none(), documents))
    def make_index(self, children: list[Document], subject: Document | None) -> Document:
        return index(children, subject=subject)

    @rule(repository=repositories, document=documents)
    def push_what_it_refers_to(self, repository: str, document: Document) -> None:
        for blob in manifests.parse(document.content, document.media_type).blobs:
            self.reader.push_blob(repository, BY_DIGEST[blob.digest])
            self.blobs[repository, blob.digest] = BY_DIGEST[blob.digest]

    @rule(
        target=pushed,
        process=processes,
        fault=faults,
        repository=repositories,
        tag=tags,
        document=documents,
        whole=st.booleans(),
    )
    def push(
        self, process: int, fault: Fault | None, repository: str, tag: str, document: Document, whole: bool
    ) -> tuple[str, Document]:
        if whole:
            self.push_what_it_refers_to(repository, document)
        before = self.tags.get((repository, tag))

        status = self.step(process, fault, lambda c: c.put_manifest(repository, tag, document))

        assert status in (0, 201, 404)
        found = self.pulled(repository, tag)
        if status == 201:
            assert found == document
        if status == 404:
            assert found == before
        assert found in (before, document)
        if found == document:
            self.tags[repository, tag] = document
        if self.pulled(repository, document.digest):
            self.manifests[repository, document.digest] = document
        return repository, document

    @rule(process=processes, repository=repositories, tag=tags)
    def delete_tag(self, process: int, repository: str, tag: str) -> None:
        status = self.clients[process].ask("DELETE", f"/v2/{repository}/manifests/{tag}").status

        assert status == (202 if self.tags.pop((repository, tag), None) else 404)

    @rule(process=processes, fault=faults, found=pushed)
    def delete_manifest(self, process: int, fault: Fault | None, found: tuple[str, Document]) -> None:
        repository, document = found
        status = self.step(process, fault, lambda c: c.delete_alone(repository, document.digest))
        if status == 0:
            # Half a delete is no delete: whoever asked repeats it.
            self.reader.delete_alone(repository, document.digest)

        there = self.manifests.pop((repository, document.digest), None)
        assert status in ((0, 202) if there else (0, 404))
        for key in [key for key, named in self.tags.items() if key[0] == repository and named == document]:
            del self.tags[key]

    # Time.

    @rule(hours=st.integers(1, 30))
    def wait(self, hours: int) -> None:
        self.clock.advance(abandoned_uploads.AGE * hours / 25)
        abandoned_uploads.run(self.reader.services)

    # What must hold after every step.

    def pulled(self, repository: str, reference: object) -> Document | None:
        answer = self.reader.manifest(repository, reference)
        if answer.status != 200:
            assert answer.status == 404
            return None
        found = Document(answer.body, answer.headers["Content-Type"])
        assert answer.headers["Docker-Content-Digest"] == str(found.digest)
        return found

    @invariant()
    def every_reference_names_what_the_model_says(self) -> None:
        for repository in REPOSITORIES:
            for tag in TAGS:
                assert self.pulled(repository, tag) == self.tags.get((repository, tag))
        for (repository, digest), document in self.manifests.items():
            assert self.pulled(repository, digest) == document

    @invariant()
    def a_blob_is_readable_where_it_is_held_and_hashes_to_its_name(self) -> None:
        for repository in REPOSITORIES:
            for content in CONTENTS[:-1]:
                digest = Digest.of(content)
                assert self.reader.blob(repository, digest) == self.blobs.get((repository, digest))
        for (repository, digest), content in self.blobs.items():
            assert self.holds(repository, digest)
            assert len(content) < (1 << 20) or self.reader.blob(repository, digest) == content

    @invariant()
    def an_image_that_can_be_pulled_has_all_its_blobs(self) -> None:
        for (repository, _), document in self.manifests.items():
            for blob in manifests.parse(document.content, document.media_type).blobs:
                assert self.holds(repository, blob.digest)

    @invariant()
    def listings_agree(self) -> None:
        for repository in REPOSITORIES:
            assert self.reader.tags(repository) == [tag for tag in TAGS if (repository, tag) in self.tags]


_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
TestRegistry = Registry.TestCase
TestRegistry.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=_QUIET, database=None
)


@pytest.mark.soak
def test_ten_thousand_steps() -> None:
    long = settings(TestRegistry.settings, max_examples=250, stateful_step_count=40)

    run_state_machine_as_test(Registry, settings=long)
