"""A registry of ours and another one beside it, with a policy between them, for tests of replication."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any

import orjson

from chalicelib.jobs import engine, replicate
from chalicelib.jobs.engine import LEASE_SECONDS
from chalicelib.jobs.steps import Outcome, TaskRun
from chalicelib.jobs.table import JOBS
from chalicelib.oci.digests import Digest
from chalicelib.oci.manifests import OCI_INDEX, OCI_MANIFEST
from chalicelib.policy import replication as rules
from chalicelib.policy.jobs import Kind, Trigger
from chalicelib.services import Services
from chalicelib.store import executions, remote
from chalicelib.store.directory import registries, replication
from chalicelib.store.directory.registries import NewRegistry
from chalicelib.store.executions import New, Task
from chalicelib.store.sealed import seal
from tests.api.artifacts import CONFIG_TYPE, LAYER_TYPE, Registry
from tests.store.remote.fake import ACCESS_KEY, FakeRegistry

HERE = ("127.0.0.0/8",)
Json = dict[str, Any]


def pulling(**changes: object) -> Json:
    """Return a policy that brings everything here, as clients send it."""
    return {"name": "in", "src_registry": {}, "enabled": True, **changes}


def pushing(**changes: object) -> Json:
    """Return a policy that brings everything to the other registry."""
    return {"name": "out", "dest_registry": {}, "enabled": True, **changes}


@dataclass
class World:
    """Two registries: ours (`ours`) and another one (`there`), and a policy."""

    there: FakeRegistry
    sent: Json
    ours: Registry = field(default_factory=Registry)
    make: str = "docker-registry"
    number: int = field(init=False)
    execution: int = 0
    # How long the other registry may take to answer.
    seconds: float = 10.0

    def __post_init__(self) -> None:
        new = NewRegistry("there", self.make, self.there.url)
        registry = registries.create(self.services.directory, new, registries.HEALTHY)
        side = "src_registry" if "src_registry" in self.sent else "dest_registry"
        self.sent = {**self.sent, side: {"id": registry}}
        self.number = replication.create(self.services.directory, rules.parse(self.sent), "admin")

    @property
    def services(self) -> Services:
        return self.ours.client.services

    def log_in(self, secret: str) -> None:
        """Change the secret for the other registry."""
        directory, keys = self.services.directory, self.services.settings.signing_keys
        stored = registries.named(directory, "there")
        assert stored is not None
        become = NewRegistry("there", self.make, self.there.url, "basic", ACCESS_KEY, seal(keys, secret))
        registries.update(directory, stored, become, registries.HEALTHY)

    def change(self, **changes: object) -> None:
        """Change the policy."""
        stored = replication.by_id(self.services.directory, self.number)
        assert stored is not None
        replication.update(self.services.directory, stored, rules.parse({**self.sent, **changes}))

    def pass_by(self, seconds: float) -> None:
        self.ours.client.clock.advance(timedelta(seconds=seconds))

    def start(self, **parameters: object) -> None:
        self.pass_by(1)
        new = New(Kind.REPLICATION, self.number, Trigger.MANUAL, parameters, "admin")
        self.execution = executions.begin(self.services.directory, new)

    def tasks(self) -> list[Task]:
        return list(executions.tasks(self.services.directory, self.execution))

    def of(self, repository: str) -> Task:
        return next(task for task in self.tasks() if task.parameters.get("repository") == repository)

    def log(self, repository: str) -> str:
        return executions.log(self.services.directory, self.of(repository).id) or ""

    def _step(self, services: Services, run: TaskRun) -> Outcome:
        return replicate.step(services, run, partial(remote.connect, allowed=HERE, seconds=self.seconds))

    def work(self, more_time: Callable[[], bool] = lambda: True, before: Callable[[], object] = lambda: None) -> None:
        """Let workers that have `more_time` do every task until nothing is left; `before` is called before each."""
        for _ in range(60):
            active = [task for task in self.tasks() if task.active]
            if not active:
                return
            for task in active:
                before()
                engine.work(self.services, task.id, more_time, {**JOBS, Kind.REPLICATION: self._step})
            self.pass_by(LEASE_SECONDS + 1)
        raise AssertionError("the execution does not end")

    def run(self, **parameters: object) -> None:
        self.start(**parameters)
        self.work()

    def tags(self, repository: str) -> set[str]:
        """Return the tags that we have."""
        prefix = f"repositories/{repository}/_tags/"
        return {key.removeprefix(prefix) for key in self.ours.client.objects.keys(prefix)}

    def has(self, repository: str, reference: str) -> bool:
        return self.ours.pull(repository, reference) == 200

    def restarted(self) -> None:
        """Forget what only the process knew."""
        fresh = replace(self.services, hashes=type(self.services.hashes)())
        self.ours.client.services = fresh


def add_image(there: FakeRegistry, repository: str, tag: str, *layers: bytes, **fields: object) -> str:
    """Let the other registry have an image and return its digest."""
    config = orjson.dumps({"architecture": "arm64", "os": "linux", "name": f"{repository}:{tag}"})
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _blob(there, repository, config, CONFIG_TYPE),
        "layers": [_blob(there, repository, layer, LAYER_TYPE) for layer in layers or (b"layer",)],
        **fields,
    }
    return there.add_manifest(repository, orjson.dumps(document), OCI_MANIFEST, tag)


def _blob(there: FakeRegistry, repository: str, content: bytes, media_type: str) -> Json:
    there.add_blob(repository, content)
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content)}


def add_index(there: FakeRegistry, repository: str, tag: str, *children: str) -> str:
    """Let the other registry have an index of what it has, and return its digest."""
    entries = [{"mediaType": OCI_MANIFEST, "digest": child, "size": 1} for child in children]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    return there.add_manifest(repository, orjson.dumps(document), OCI_INDEX, tag)


def subject(digest: str) -> Json:
    return {"subject": {"mediaType": OCI_MANIFEST, "digest": digest, "size": 1}}
