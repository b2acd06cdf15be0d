"""Whatever is done and wherever it is cut off, what counts as used becomes what S3 has, to the byte."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import orjson
import pytest

from chalicelib.jobs import quota_reconcile
from chalicelib.jobs.steps import Again, Done, TaskRun
from chalicelib.oci import manifests as oci
from chalicelib.oci.digests import Digest
from chalicelib.oci.names import Repository, Tag
from chalicelib.oci.pages import Page, PageRequest
from chalicelib.policy.jobs import Trigger
from chalicelib.services import Services
from chalicelib.store import blobs, layout, listings, manifests
from chalicelib.store.directory import projects
from chalicelib.store.index import descriptions
from chalicelib.store.table import Change, Delete, Key, Record, Slice, Table, every
from chalicelib.store.usage import SHARDS, UPLOAD, counting, parsed_holder, partition, settling, taken
from tests.api.asking import Client
from tests.memory import Inline
from tests.store.faults import KilledError

BLOBS = tuple(bytes([number]) * size for number, size in enumerate((2, 30, 100, 400, 1000, 3000)))
REPOSITORIES = ("library/a", "library/b", "one/c")
TAGS = ("v1", "v2")
LIMITED = "one"
Json = dict[str, Any]


def document(config: int, *layers: int, foreign: bool = False) -> Json:
    def descriptor(number: int) -> Json:
        blob = BLOBS[number]
        return {"mediaType": "application/x", "digest": str(Digest.of(blob)), "size": len(blob)}

    elsewhere = [{**descriptor(5), "urls": ["https://elsewhere.test"]}] if foreign else []
    return {
        "schemaVersion": 2,
        "mediaType": oci.OCI_MANIFEST,
        "config": descriptor(config),
        "layers": [descriptor(number) for number in layers] + elsewhere,
    }


def index_of(*children: Json) -> Json:
    entries = [
        {"mediaType": each["mediaType"], "digest": str(Digest.of(orjson.dumps(each))), "size": 1} for each in children
    ]
    return {"schemaVersion": 2, "mediaType": oci.OCI_INDEX, "manifests": entries}


IMAGES = (document(0, 1), document(0, 2, 3), document(1, 3, 4), document(2, foreign=True), document(3, 3))
DOCUMENTS = (*IMAGES, index_of(IMAGES[0], IMAGES[1]))


class Killer:
    """Ends the process at a request to S3 or the table that a test chooses, before or after it is done."""

    def __init__(self) -> None:
        self.left, self.before = -1, True

    def arm(self, left: int, *, before: bool) -> None:
        self.left, self.before = left, before

    @property
    def dead(self) -> bool:
        return self.left == 0

    def ask(self) -> None:
        """Begin a request; a process that was killed never does one again."""
        if self.left > 0:
            self.left -= 1
            if self.left > 0 or not self.before:
                return
        if self.left == 0:
            raise KilledError

    def done(self) -> None:
        if self.left == 0:
            raise KilledError


class MortalTable:
    """A table whose process may end at any call."""

    def __init__(self, table: Table, killer: Killer) -> None:
        self._table, self._killer = table, killer

    def _call(self, deed: Callable[[], Any]) -> Any:
        self._killer.ask()
        result = deed()
        self._killer.done()
        return result

    def get(self, key: Key) -> Record | None:
        found: Record | None = self._call(lambda: self._table.get(key))
        return found

    def get_many(self, keys: Iterable[Key]) -> Mapping[Key, Record]:
        found: Mapping[Key, Record] = self._call(lambda: self._table.get_many(keys))
        return found

    def query(self, partition: str, wanted: Slice) -> Page[Record]:
        found: Page[Record] = self._call(lambda: self._table.query(partition, wanted))
        return found

    def commit(self, *changes: Change) -> None:
        self._call(lambda: self._table.commit(*changes))

    def add(self, key: Key, amounts: Mapping[str, int]) -> None:
        self._call(lambda: self._table.add(key, amounts))


@dataclass
class World:
    """A registry, what was uploaded and not named by a manifest since, and whether something was cut off."""

    chance: random.Random
    client: Client = field(default_factory=lambda: Client(projects=("library", LIMITED)))
    killer: Killer = field(default_factory=Killer)
    waiting: set[tuple[str, str]] = field(default_factory=set)
    limit: int = -1
    over: bool = False
    cut_off: int = 0
    refused: int = 0

    def __post_init__(self) -> None:
        self.sound = self.client.services
        content = replace(self.sound.content, pool=Inline())
        table = MortalTable(self.sound.index.table, self.killer)
        index = replace(self.sound.index, table=table, content=content)
        directory = replace(self.sound.directory, table=table)
        self.client.services = replace(self.sound, content=content, index=index, directory=directory)
        self.client.objects.before = lambda _operation, _key: self.killer.ask()
        self.client.objects.after = lambda _operation, _key: self.killer.done()

    def ask(self, method: str, target: str, body: bytes = b"", **headers: str) -> int:
        answer = self.client.ask(method, target, body, **headers)
        assert answer.status < 500, answer
        self.refused += answer.status == 403
        return answer.status

    def put(self, repository: str, reference: str, content: Json) -> int:
        return self.ask(
            "PUT", f"/v2/{repository}/manifests/{reference}", orjson.dumps(content), content_type=content["mediaType"]
        )

    # What somebody may do; each is chosen with the same chance.

    def upload(self) -> None:
        repository, blob = self.chance.choice(REPOSITORIES), self.chance.choice(BLOBS)
        digest = Digest.of(blob)
        if self.chance.random() < 0.5:
            status = self.ask("POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", blob)
        else:
            begun = self.client.ask("POST", f"/v2/{repository}/blobs/uploads/")
            if begun.status == 403:
                self.refused += 1
                return
            chunk = self.client.ask("PATCH", begun.headers["Location"], blob)
            if chunk.status == 403:
                self.refused += 1
                return
            status = self.ask("PUT", f"{chunk.headers['Location']}&digest={digest}")
        if status == 201:
            self.waiting.add((repository, str(digest)))

    def mount(self) -> None:
        source, target = self.chance.sample(REPOSITORIES, 2)
        digest = Digest.of(self.chance.choice(BLOBS))
        if self.ask("POST", f"/v2/{target}/blobs/uploads/?mount={digest}&from={source}") == 201:
            self.waiting.add((target, str(digest)))

    def push(self) -> None:
        repository, content = self.chance.choice(REPOSITORIES), self.chance.choice(DOCUMENTS)
        digest = str(Digest.of(orjson.dumps(content)))
        if self.put(repository, self.chance.choice((*TAGS, digest)), content) == 201:
            self.named(repository, content)

    def named(self, repository: str, content: Json) -> None:
        blobs_of = [content.get("config"), *content.get("layers", ())]
        self.waiting -= {(repository, blob["digest"]) for blob in blobs_of if blob and "urls" not in blob}

    def delete(self) -> None:
        repository, content = self.chance.choice(REPOSITORIES), self.chance.choice(DOCUMENTS)
        reference = self.chance.choice((str(Digest.of(orjson.dumps(content))), *TAGS[:1]))
        self.ask("DELETE", f"/v2/{repository}/manifests/{reference}")

    def delete_artifact(self) -> None:
        project, name = self.chance.choice(REPOSITORIES).split("/")
        reference = self.chance.choice(TAGS)
        self.ask("DELETE", f"/api/v2.0/projects/{project}/repositories/{name}/artifacts/{reference}")

    def delete_blob(self) -> None:
        repository, digest = self.chance.choice(REPOSITORIES), str(Digest.of(self.chance.choice(BLOBS)))
        if self.ask("DELETE", f"/v2/{repository}/blobs/{digest}") == 202:
            self.waiting.discard((repository, digest))

    def delete_repository(self) -> None:
        project, name = self.chance.choice(REPOSITORIES).split("/")
        self.ask("DELETE", f"/api/v2.0/projects/{project}/repositories/{name}")

    def copy(self) -> None:
        source, target = self.chance.sample(REPOSITORIES, 2)
        project, name = target.split("/")
        place = f"/api/v2.0/projects/{project}/repositories/{name}/artifacts"
        before = self.stored(target)
        answer = self.client.ask("POST", f"{place}?from={source}:{self.chance.choice(TAGS)}")
        self.refused += answer.status == 403
        if answer.status == 201:
            self.named_by_all(target, Digest.parse(answer.headers["Location"].rpartition("/")[2]))
        for digest in self.stored(target) - before:
            self.named_in(target, digest)

    def undo(self) -> None:
        repository, tag = self.chance.choice(REPOSITORIES), self.chance.choice(TAGS)
        project, name = repository.split("/")
        before = self.stored(repository)
        answer = self.client.ask(
            "POST", f"/api/v2.0/projects/{project}/repositories/{name}/tags/{tag}/undo", b"{}",
            content_type="application/json",
        )  # fmt: skip
        if answer.status == 200:
            self.named_in(repository, Digest.parse(orjson.loads(answer.body)["digest"]))
        for digest in self.stored(repository) - before:
            self.named_in(repository, digest)

    def named_by_all(self, repository: str, digest: Digest) -> None:
        """Note that a manifest was pushed, with those of its children that are there."""
        manifest = descriptions.read(self.client.services.content, Repository(repository), digest)
        assert manifest
        for each in {digest, *(child.digest for child in manifest.manifests)} & self.stored(repository):
            self.named_in(repository, each)

    def named_in(self, repository: str, digest: Digest) -> None:
        manifest = descriptions.read(self.client.services.content, Repository(repository), digest)
        assert manifest
        self.named(repository, orjson.loads(manifest.content))

    def set_limit(self) -> None:
        number = self.project(LIMITED).id
        self.limit = self.chance.choice((-1, 500, 900, 1500, 4000))
        body = orjson.dumps({"hard": {"storage": self.limit}})
        assert self.ask("PUT", f"/api/v2.0/quotas/{number}", body, content_type="application/json") == 200
        self.over = 0 <= self.limit < self.used(LIMITED)

    def do_something(self) -> None:
        deeds = (
            *(self.upload, self.upload, self.push, self.push, self.push, self.mount, self.copy, self.undo),
            *(self.delete, self.delete, self.delete_artifact, self.delete_blob, self.delete_repository),
        )
        self.chance.choice(deeds)()

    def die_at_something(self) -> bool:
        """Do something, cut off at some request; tell whether that came to pass."""
        self.killer.arm(self.chance.randrange(1, 40), before=self.chance.random() < 0.5)
        try:
            self.do_something()
        except KilledError:
            return True
        finally:
            died = self.killer.dead
            self.killer.arm(-1, before=True)
        return died

    # What there is.

    def project(self, name: str) -> projects.Project:
        found = projects.find(self.sound.directory, name)
        assert found
        return found

    def used(self, project: str) -> int:
        return counting.used(self.sound.index, self.project(project).id)

    def stored(self, repository: str) -> set[Digest]:
        """Return the manifests that the repository has, by themselves or by a tag."""
        content, home = self.client.services.content, Repository(repository)
        if content.objects.head(layout.catalog(home)) is None:
            return set(manifests.stored(content, home))
        names = listings.tags(content, home, PageRequest()).entries
        return set(manifests.stored(content, home)) | {
            manifests.head(content, home, Tag(name)).digest for name in names
        }

    def held(self, project: str, waiting: Iterable[tuple[str, str]]) -> int:
        """Return the sum of what S3 has in a project, and of what waits, the slow and obvious way."""
        content = self.client.services.content
        sizes: dict[str, int] = {}
        for repository in (each for each in REPOSITORIES if each.startswith(f"{project}/")):
            for digest in self.stored(repository):
                manifest = descriptions.read(content, Repository(repository), digest)
                assert manifest
                sizes[str(digest)] = len(manifest.content)
                sizes |= {str(blob.digest): blob.size for blob in manifest.blobs if not blob.held_elsewhere}
        known = {str(Digest.of(blob)): len(blob) for blob in BLOBS}
        return sum((sizes | {d: known[d] for home, d in waiting if home.startswith(f"{project}/")}).values())

    def uploads(self) -> set[tuple[str, str]]:
        """Return what is recorded as uploaded, where the blob is there and no manifest names it."""
        found = set()
        for name in ("library", LIMITED):
            for number in range(SHARDS):
                for record in every(self.sound.index.table, partition(self.project(name).id, number)):
                    digest, home, who = parsed_holder(record.key.sort)
                    if who == UPLOAD and self._waits(home, digest):
                        found.add((home, digest))
        return found

    def _waits(self, repository: str, digest: str) -> bool:
        content, home = self.client.services.content, Repository(repository)
        if blobs.find(content, home, Digest.parse(digest)) is None:
            return False
        there = (descriptions.read(content, home, each) for each in self.stored(repository))
        names = (blob for each in there if each for blob in each.blobs if not blob.held_elsewhere)
        return not any(str(blob.digest) == digest for blob in names)

    def reconcile(self) -> int:
        """Let time go by, reconcile, and return how much was repaired."""
        self.client.clock.advance(timedelta(hours=2))
        cursor = quota_reconcile.next_project(self.client.services, "", 0)
        while cursor:
            last, cursor = cursor, quota_reconcile.advance(self.client.services, cursor)
        return last.repaired

    def check(self) -> None:
        for name in ("library", LIMITED):
            assert self.used(name) == self.held(name, self.waiting)
        assert self.over or self.limit < 0 or self.used(LIMITED) <= self.limit

    def check_after_a_crash(self) -> None:
        for name in ("library", LIMITED):
            assert self.used(name) >= self.held(name, ())
        self.reconcile()
        self.waiting = self.uploads()
        self.check()


def run(seed: int, operations: int) -> World:
    world = World(random.Random(seed))
    for number in range(operations):
        if number % 25 == 0:
            world.set_limit()
        if world.chance.random() < 0.1 and world.die_at_something():
            world.cut_off += 1
            world.check_after_a_crash()
        else:
            world.do_something()
            world.over = world.over and world.used(LIMITED) > world.limit
            world.check()
    return world


@pytest.mark.parametrize("seed", range(2))
def test_what_is_used_is_exact_after_every_operation_and_after_every_crash(seed: int) -> None:
    world = run(seed, 200)

    assert world.cut_off > 3
    assert world.refused > 2


@pytest.mark.soak
def test_what_is_used_is_exact_after_10_000_operations_with_crashes() -> None:
    worlds = [run(seed, 1000) for seed in range(100, 110)]

    assert sum(world.cut_off for world in worlds) > 300


def task(services: Services, cursor: Mapping[str, Any], pages: int = 10**9) -> TaskRun:
    left = iter(range(pages))
    return TaskRun(
        1, 2, -1, Trigger.SCHEDULE, {}, cursor, services.directory,
        lambda: next(left, None) is not None, lambda: False,
    )  # fmt: skip


@pytest.fixture
def older() -> World:
    """Give a registry whose content was pushed before anything was counted."""
    world = World(random.Random(1))
    for repository in REPOSITORIES:
        for blob in BLOBS:
            assert world.ask("POST", f"/v2/{repository}/blobs/uploads/?digest={Digest.of(blob)}", blob) == 201
        for number, content in enumerate(DOCUMENTS):
            assert world.put(repository, f"t{number}", content) == 201
    for name in ("library", LIMITED):
        counting.forget(world.sound.index, world.project(name).id)
        assert world.used(name) == 0
    for repository in REPOSITORIES:
        where = taken(world.project(repository.split("/")[0]).id, Repository(repository))
        for record in every(world.sound.index.table, where):
            world.sound.index.table.commit(Delete(record.key))
    return world


def test_content_that_is_older_than_the_counting_is_counted(older: World) -> None:
    outcome = quota_reconcile.step(older.sound, task(older.sound, {}))

    assert outcome == Done({"repaired": len(REPOSITORIES) * len(DOCUMENTS)})
    older.check()
    assert quota_reconcile.step(older.sound, task(older.sound, {})) == Done({"repaired": 0})


def test_it_goes_on_where_the_time_was_over(older: World) -> None:
    outcome, steps = quota_reconcile.step(older.sound, task(older.sound, {}, pages=0)), 1
    while isinstance(outcome, Again):
        # As the engine has it: through JSON.
        cursor = orjson.loads(orjson.dumps(outcome.cursor))
        outcome, steps = quota_reconcile.step(older.sound, task(older.sound, cursor, pages=0)), steps + 1

    assert steps > 2 * SHARDS
    assert outcome == Done({"repaired": len(REPOSITORIES) * len(DOCUMENTS)})
    older.check()


def test_holders_in_a_repository_that_is_gone_are_dropped(older: World) -> None:
    quota_reconcile.step(older.sound, task(older.sound, {}))
    older.client.objects.delete(*older.client.objects.keys("repositories/library/"))
    older.client.objects.delete(*older.client.objects.keys("catalog/library!"))

    older.reconcile()

    assert older.used("library") == 0
    older.check()


def test_manifests_that_went_untold_are_freed(older: World) -> None:
    quota_reconcile.step(older.sound, task(older.sound, {}))
    for content in DOCUMENTS[2:]:
        digest = Digest.of(orjson.dumps(content))
        manifests.delete(older.sound.content, Repository("library/a"), digest)
        manifests.delete(older.sound.content, Repository("library/b"), digest)
    before = older.used("library")

    assert older.reconcile() == 2 * len(DOCUMENTS[2:])

    assert older.used("library") < before
    older.check()


def test_an_upload_under_way_is_left_alone(older: World) -> None:
    digest = Digest.of(b"new")
    settling.uploaded(older.sound.index, older.project("library").id, Repository("library/a"), digest, 3)
    before = older.used("library")
    quota_reconcile.step(older.sound, task(older.sound, {}))
    counted = older.used("library")
    assert counted > before

    older.reconcile()

    assert older.used("library") == counted - 3
