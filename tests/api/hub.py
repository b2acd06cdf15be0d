"""A cache without a socket of its own, of a registry that has one on this machine."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import orjson

from chalicelib.api.http import Response
from chalicelib.jobs import engine
from chalicelib.oci.digests import Digest
from chalicelib.oci.manifests import OCI_INDEX, OCI_MANIFEST
from chalicelib.oci.names import Repository
from chalicelib.store import blobs, executions
from chalicelib.store.directory import members, projects, registries
from chalicelib.store.directory.members import Kind, Who
from chalicelib.store.directory.projects import NewProject, Project
from chalicelib.store.directory.registries import NewRegistry
from chalicelib.store.directory.users import ADMINISTRATOR, ADMINISTRATOR_ID
from chalicelib.store.sealed import seal
from tests.api.asking import Client
from tests.memory import located
from tests.store.remote.fake import ACCESS_KEY, ACCESS_SECRET, FakeRegistry, faking

CONFIG, LAYER = b'{"architecture":"amd64","os":"linux"}', b"layer" * 50_000
REPOSITORY = Repository("hub/library/alpine")
NAME = "library/alpine"


@dataclass
class Hub:
    """The registry `there`, and a client of ours, in which the project `hub` is its cache."""

    client: Client
    there: FakeRegistry
    make: str = "docker-registry"
    registry: int = 0

    def __post_init__(self) -> None:
        settings = replace(self.client.services.settings, private_targets=("127.0.0.0/8",))
        self.client.services = replace(self.client.services, settings=settings)
        directory = self.client.services.directory
        sealed = seal(settings.signing_keys, ACCESS_SECRET)
        there = NewRegistry("there", self.make, self.there.url, "basic", ACCESS_KEY, sealed)
        self.registry = registries.create(directory, there, registries.HEALTHY)
        owner = Who(Kind.USER, ADMINISTRATOR_ID, ADMINISTRATOR)
        new = NewProject("hub", owner.id, owner.name, {"public": "true"}, {}, registry_id=self.registry)
        projects.create(directory, new, members.founding(owner))
        # Everybody may pull: a password would have to be hashed each time.
        self.client.headers = {}

    @property
    def project(self) -> Project:
        found = projects.find(self.client.services.directory, "hub")
        assert found
        return found

    def know(self, **metadata: str) -> None:
        """Change the project's metadata, and let the process know at once."""
        project = self.project
        changed = replace(project, metadata={**project.metadata, **metadata})
        projects.update(self.client.services.directory, changed)
        self.client.services.shared.forget(("upstream", "hub"))

    def log_in(self, secret: str) -> None:
        """Change the secret for the other registry, and let the process know at once."""
        services = self.client.services
        stored = registries.find(services.directory, self.registry)
        assert stored
        sealed = seal(services.settings.signing_keys, secret)
        become = NewRegistry(stored.name, stored.type, stored.url, "basic", ACCESS_KEY, sealed)
        registries.update(services.directory, stored, become, registries.HEALTHY)
        services.shared.forget(("upstream", "hub"))

    def image(self, tag: str = "latest", layers: tuple[bytes, ...] = (LAYER,), name: str = NAME) -> str:
        """Push an image to the other registry and return its digest."""
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": self.descriptor(CONFIG, "application/vnd.oci.image.config.v1+json", name),
            "layers": [self.descriptor(each, "application/vnd.oci.image.layer.v1.tar", name) for each in layers],
        }
        return self.there.add_manifest(name, orjson.dumps(document), OCI_MANIFEST, tag)

    def descriptor(self, content: bytes, media_type: str, name: str = NAME) -> dict[str, Any]:
        return {"mediaType": media_type, "digest": self.there.add_blob(name, content), "size": len(content)}

    def index(self, *children: str, tag: str = "multi") -> str:
        """Push an index of manifests and return its digest."""
        listed = [
            {"mediaType": OCI_MANIFEST, "digest": child, "size": len(self.there.manifests[NAME, child][1])}
            for child in children
        ]
        document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed}
        return self.there.add_manifest(NAME, orjson.dumps(document), OCI_INDEX, tag)

    def manifest(self, reference: str, method: str = "GET") -> Response:
        return self.client.ask(method, f"/v2/{REPOSITORY}/manifests/{reference}")

    def blob(self, digest: str, method: str = "GET", part: str = "") -> Response:
        target = f"/v2/{REPOSITORY}/blobs/{digest}"
        return self.client.ask(method, target, range=part) if part else self.client.ask(method, target)

    def bytes_of(self, answer: Response) -> bytes:
        """Return what a client gets of an answer that is a blob: by a redirection or a stream."""
        if answer.status == 307:
            found = self.client.objects.get(located(answer.headers["Location"]))
            return found.content if found else b""
        return b"".join(pieces(answer))

    def pull(self, reference: str = "latest") -> Mapping[str, bytes]:
        """Pull an image as a client does and return its blobs."""
        answer = self.manifest(reference)
        assert answer.status == 200, answer.body
        document = orjson.loads(answer.body)
        digests = [each["digest"] for each in (document["config"], *document["layers"])]
        return {digest: self.bytes_of(self.blob(digest)) for digest in digests}

    def settle(self, *, ends: bool = True) -> None:
        """Do all jobs to their end, or some steps of them."""
        services = self.client.services
        for _ in range(20):
            tasks = executions.active(services.directory)
            if not tasks:
                return
            for task in tasks:
                engine.work(services, task.id)
            self.client.clock.advance(timedelta(seconds=12))
        assert not ends, [(task.kind, task.status, task.error) for task in tasks]

    def holds(self, digest: str) -> bool:
        return blobs.find(self.client.services.content, REPOSITORY, Digest.parse(digest)) is not None

    def asked(self, method: str, part: str) -> int:
        """Return how often the other registry was asked for something, and gave it."""
        return sum(each.method == method and part in each.target for each in self.there.asked)


def pieces(answer: Response) -> Iterator[bytes]:
    assert answer.stream
    try:
        while (piece := answer.stream.read()) is not None:
            yield piece
    finally:
        answer.stream.close()


@contextmanager
def hub(make: str = "docker-registry") -> Iterator[Hub]:
    with faking() as there:
        made = Hub(Client(), there, make)
        yield made
        made.client.services.conversations.close()
