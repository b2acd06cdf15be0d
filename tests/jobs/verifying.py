"""A registry to damage, and the verification run over it as the engine does, step by step, without an engine."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any

import orjson

from chalicelib.jobs import verify
from chalicelib.jobs.steps import Done, Failed, TaskRun
from chalicelib.oci.digests import Digest
from chalicelib.oci.names import Repository, Tag
from chalicelib.policy.jobs import Trigger
from chalicelib.services import Services
from chalicelib.store import layout, manifests
from chalicelib.store.condemned import Doom
from chalicelib.store.directory import projects
from chalicelib.store.job_logs import read
from chalicelib.store.objects import NO_METADATA
from chalicelib.store.usage import settling
from tests.memory import Clock, MemoryObjects
from tests.store.client import Client, Document, image, index

CONFIG, LAYER, OTHER, LONE = b"{}", b"layer", b"other layer", b"of no image"
ONE = image(CONFIG, [LAYER])
TWO = image(CONFIG, [OTHER])
BOTH = index([ONE, TWO])
SPARSE = index([ONE, image(b"elsewhere")])
SIGNATURE = image(CONFIG, subject=ONE, artifactType="application/x-signature")
APP = Repository("library/app")
BESIDE = Repository("library/app/0beside")
FAR = Repository("a/far")
LONG = timedelta(hours=26)
BLOBS = {ONE.digest: {CONFIG, LAYER}, TWO.digest: {CONFIG, OTHER}, SIGNATURE.digest: {CONFIG}}
_executions = count(1)


def task_of(
    services: Services, number: int, cursor: Mapping[str, Any], more: Callable[[], bool], **parameters: object
) -> TaskRun:
    return TaskRun(number, number, -1, Trigger.MANUAL, parameters, cursor, services.directory, more, lambda: False)


def look(services: Services, *, hurried: bool = True, **parameters: Any) -> Mapping[str, Any]:
    """Verify and return the report; who is hurried does as little as possible in each step."""
    number = next(_executions)
    cursor: Mapping[str, Any] = {}
    while True:
        outcome = verify.step(services, task_of(services, number, cursor, lambda: not hurried, **parameters))
        assert not isinstance(outcome, Failed)
        if isinstance(outcome, Done):
            return {**outcome.report, "log": read(services.directory, number)}
        cursor = outcome.cursor


def kinds(services: Services, **parameters: Any) -> Mapping[str, int]:
    """Verify all bytes and return what is found, by its kind."""
    found: Mapping[str, int] = look(services, **{"sample": 100, **parameters})["found"]
    return found


@dataclass
class Registry:
    """A registry with something of every kind in it, all of it long ago."""

    clock: Clock = field(default_factory=Clock)
    bucket: MemoryObjects = field(init=False)
    client: Client = field(init=False)

    def __post_init__(self) -> None:
        self.bucket = MemoryObjects(self.clock)
        self.client = Client.of(self.bucket, self.clock)
        client = self.client
        for repository in (APP, BESIDE, FAR):
            for blob in (CONFIG, LAYER, OTHER):
                client.push_blob(repository.name, blob)
        client.push_blob(APP.name, LONE)
        for tag in ("v1", "v2", "same"):
            client.push_manifest(APP.name, tag, ONE)
        client.push_manifest(APP.name, "v2", TWO)
        client.push_manifest(APP.name, "both", BOTH)
        client.push_manifest(APP.name, SIGNATURE.digest, SIGNATURE)
        client.push_manifest(BESIDE.name, ONE.digest, ONE)
        client.push_manifest(BESIDE.name, "sparse", SPARSE)
        for tag in ("v1", "gone"):
            client.push_manifest(FAR.name, tag, ONE)
        client.ask("DELETE", f"/v2/{FAR}/manifests/gone")
        client.push_manifest(FAR.name, "v2", TWO)
        client.ask("DELETE", f"/v2/{FAR}/manifests/{TWO.digest}")
        client.begin(FAR.name)
        client.push_manifest(FAR.name, SIGNATURE.digest, SIGNATURE)
        self.clock.advance(LONG)

    @property
    def services(self) -> Services:
        return self.client.services

    def retire(self) -> None:
        manifests.delete(self.services.content, FAR, SIGNATURE.digest, why=Doom.RETIRED)
        project = projects.find(self.services.directory, "a")
        assert project
        settling.deleted(self.services.index, project.id, FAR, SIGNATURE.digest)

    def link(self, blob: bytes, repository: Repository = APP) -> str:
        return layout.link(repository, Digest.of(blob))

    def data(self, blob: bytes) -> str:
        """Return the key at which the index has a blob's bytes."""
        found = self.bucket.get(layout.blob(Digest.of(blob)))
        assert found
        return str(orjson.loads(found.content)["key"])

    def lose(self, *keys: str) -> None:
        for key in keys:
            self.bucket.delete(key)

    def strip(self, repository: Repository, tag: str) -> None:
        """Take from a tag what it names."""
        key = layout.tag(repository, Tag(tag))
        found = self.bucket.get(key)
        assert found
        self.bucket.put(key, found.content, content_type=found.head.content_type, metadata=NO_METADATA)
        self.clock.advance(LONG)

    def pulls(self, document: Document, reference: object, repository: Repository = APP) -> bool:
        """Tell whether an image can be pulled whole."""
        if self.client.manifest(repository.name, reference).body != document.content:
            return False
        wanted = BLOBS[document.digest]
        try:
            return {self.client.blob(repository.name, Digest.of(blob)) for blob in wanted} == wanted
        except (LookupError, AssertionError):
            # The bytes are gone, or what leads to them says nothing.
            return False
