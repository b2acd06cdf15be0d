"""What becomes of caches and copies of another registry that fails, in every way: two tables in docs/operations.md.

* A cache gives what it keeps, refuses the rest in time and in words, and keeps nothing that is not what it should be.
* A copy is tried again; whatever becomes of it, a tag at its destination leads to a whole image, and nothing is lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from types import MappingProxyType

import orjson
import pytest
from _pytest.mark import ParameterSet

from chalicelib.api.http import Response
from chalicelib.jobs import engine
from chalicelib.oci.digests import Digest
from chalicelib.store import executions
from chalicelib.store.conversing import Conversations
from tests.api.hub import Hub, hub
from tests.engines.faults import Fault
from tests.failures import table
from tests.failures.upstream import PATIENCE, fail
from tests.failures.world import GATEWAY_SECONDS
from tests.jobs.replicating import World, add_image, pulling, pushing
from tests.memory import located
from tests.store.remote.fake import FakeRegistry, digest_of, faking

LAYER, APP = b"a layer that begins to come" * 10_000, "library/app"
_LONG = timedelta(seconds=61)


def _tag(tag: str, method: str = "GET") -> Callable[[Hub], Response]:
    return lambda cache: cache.manifest(tag, method)


# fmt: off
WANTED: Mapping[str, Callable[[Hub], Response]] = MappingProxyType({
    "tag that is kept":      _tag("kept"),
    "tag that moved":        _tag("moved"),
    "tag that is not kept":  _tag("cold"),
    "blob that is not kept": lambda cache: cache.blob(digest_of(LAYER)),
    "HEAD of what is not":   _tag("cold", "HEAD"),
})
# fmt: on
CACHES: table.Row = ("another registry", *WANTED, "where it passes")
COPIES: table.Row = (
    "another registry",
    "copied from there, as long as it lasts",
    "where it passes",
    "copied to there, as long as it lasts",
    "and where it passes",
)


def marked(*long: Fault) -> list[ParameterSet]:
    """Return all faults, of which some take long, or are much like others."""
    return [pytest.param(fault, marks=pytest.mark.soak if fault in long else ()) for fault in Fault]


@contextmanager
def begun(fault: Fault) -> Iterator[Hub]:
    """Have a cache of a registry, of which some is kept, some has moved since, and some is on its way."""
    with hub() as cache:
        if fault is Fault.SILENT:
            cache.client.services = replace(cache.client.services, conversations=Conversations(PATIENCE))
        for tag in ("kept", "moved"):
            cache.image(tag, (tag.encode(),))
            cache.pull(tag)
        cache.settle()
        cache.image("moved", (b"another",))
        cache.image("cold", (b"cold",))
        cache.image("begun", (LAYER,))
        cache.manifest("begun")
        cache.client.clock.advance(_LONG)
        yield cache


def became(cache: Hub, name: str, *, silent: bool = False) -> str:
    """Want something of a cache and return what came of it, checked."""
    cache.there.asked.clear()
    began = time.monotonic()
    answer = WANTED[name](cache)
    assert time.monotonic() - began < GATEWAY_SECONDS
    # Each silence takes half the time that API Gateway waits.
    assert not silent or len(cache.there.asked) <= 1
    if answer.status >= 400:
        [error] = orjson.loads(answer.body)["errors"]
        assert len(error["message"].split()) > 5
        assert "there" in error["message"]
        assert "Retry-After" in answer.headers
        return str(answer.status)
    try:
        content = answer.body or (cache.bytes_of(answer) if "blob" in name else b"")
    except OSError:
        return "breaks off"
    digest = answer.headers["Docker-Content-Digest"]
    assert Digest.parse(digest).matches(content) or "HEAD" in name
    if "Warning" in answer.headers:
        return "as it was"
    assert digest in (digest_of(LAYER), *cache.there.tags.values())
    return "works"


def check_kept(cache: Hub) -> None:
    """Check that all that is kept is the other registry's, byte by byte."""
    objects = cache.client.objects
    true = {digest_of(b"kept"), *(digest for _, digest in (*cache.there.blobs, *cache.there.manifests))}
    for key in (*objects.keys("data/"), *objects.keys("repositories/")):
        if key.startswith("data/") or {"_cached", "_manifests", "_tags"} & set(key.split("/")):
            found = objects.get(key)
            assert found
            assert digest_of(found.content) in true, key


def over(cache: Hub) -> None:
    """End the failure, and check that everything works, and that all of it can be kept."""
    cache.there.replaced.clear()
    cache.client.clock.advance(_LONG)
    for name in WANTED:
        assert became(cache, name) == "works", name
    for tag in ("kept", "moved", "cold", "begun"):
        cache.pull(tag)
    cache.settle()
    check_kept(cache)
    assert cache.holds(digest_of(LAYER))
    assert not cache.client.objects.keys("repositories/hub/library/alpine/_cached")


def of_cache(fault: Fault, name: str, *, passes: bool) -> str:
    with begun(fault) as cache:
        fail(cache.there, fault, passes=passes)
        found = became(cache, name, silent=fault is Fault.SILENT)
        # The job that completes what was begun meets the failure too.
        cache.client.clock.advance(timedelta(seconds=12))
        for task in executions.active(cache.client.services.directory):
            engine.work(cache.client.services, task.id)
        check_kept(cache)
        over(cache)
    return found


def seen(lasting: Mapping[str, str], passing: Mapping[str, str]) -> str:
    """Return what the table says of a failure that passes."""
    others = [f"{name}: {found}" for name, found in passing.items() if found != "works"]
    return "the same" if others and passing == lasting else ", ".join(others) or "not seen"


@pytest.mark.parametrize("fault", marked(Fault.SLOW, Fault.BUSY))
def test_what_becomes_of_a_cache_is_what_the_table_says(fault: Fault) -> None:
    lasting = {name: of_cache(fault, name, passes=False) for name in WANTED}
    passing = {name: of_cache(fault, name, passes=True) for name in WANTED}

    assert (fault.value, *lasting.values(), seen(lasting, passing)) in table.of_document(CACHES)


@dataclass
class Copying:
    """A policy one way or the other between two registries that have an image each, copied; and two that are not."""

    there: FakeRegistry
    pulls: bool
    fault: Fault

    def __post_init__(self) -> None:
        self.world = World(self.there, pulling() if self.pulls else pushing())
        self.add("v0")
        self.world.run()
        assert self.found() == {"v0"}
        for tag in ("v1", "v2"):
            self.add(tag)
        if self.fault is Fault.SILENT:
            self.world.seconds = PATIENCE

    def add(self, tag: str) -> None:
        """Push an image to where the copies come from."""
        if self.pulls:
            add_image(self.there, APP, tag, tag.encode())
        else:
            self.world.ours.image(APP, tag, tag)

    def found(self) -> set[str]:
        """Return the tags at the destination, each of which leads to a whole image."""
        if not self.pulls:
            self.check_there()
            return {tag for _, tag in self.there.tags}
        tags = self.world.tags(APP)
        for tag in tags:
            self.check_here(tag)
        return tags

    def check_there(self) -> None:
        for digest in self.there.tags.values():
            _, content = self.there.manifests[APP, digest]
            assert digest_of(content) == digest
            for blob in _needed(content):
                assert digest_of(self.there.blobs[APP, blob]) == blob

    def check_here(self, tag: str) -> None:
        client = self.world.ours.client
        manifest = client.ask("GET", f"/v2/{APP}/manifests/{tag}")
        assert digest_of(manifest.body) == manifest.headers["Docker-Content-Digest"]
        for blob in _needed(manifest.body):
            found = client.ask("GET", f"/v2/{APP}/blobs/{blob}")
            stored = client.objects.get(located(found.headers["Location"]))
            assert stored
            assert digest_of(stored.content) == blob

    def become(self, *, passes: bool) -> str:
        """Replicate while the other registry fails and return how that ends; then once more, when it does not."""
        fail(self.there, self.fault, passes=passes)
        self.world.run()
        self.there.replaced.clear()
        ended = self.ended()
        assert self.found() >= {"v0"}
        assert not ended.startswith("Succeed") or self.found() == {"v0", "v1", "v2"}
        self.world.run()
        assert self.found() == {"v0", "v1", "v2"}
        assert self.ended() == "Succeed after 1 try"
        return ended

    def ended(self) -> str:
        """Return how the last execution ended, as clients see it."""
        execution = self.world.ours.get(f"/replication/executions/{self.world.execution}")
        tasks = self.world.tasks()
        for task in tasks:
            assert not task.error or len(task.error.split()) > 3
        logs = [executions.log(self.world.services.directory, task.id) or "" for task in tasks]
        tries = 1 + sum(log.count("it is tried again in") for log in logs)
        return f"{execution['status']} after {tries} {'try' if tries == 1 else 'tries'}"


def _needed(manifest: bytes) -> list[str]:
    document = orjson.loads(manifest)
    return [each["digest"] for each in (document["config"], *document["layers"])]


@pytest.mark.parametrize("fault", marked(Fault.SLOW, Fault.BUSY, Fault.SILENT))
def test_what_becomes_of_a_replication_is_what_the_table_says(fault: Fault) -> None:
    found = []
    for pulls in (True, False):
        for passes in (False, True):
            with faking() as there:
                found.append(Copying(there, pulls, fault).become(passes=passes))

    assert (fault.value, *found) in table.of_document(COPIES)


@pytest.mark.parametrize("head", [CACHES, COPIES])
def test_the_tables_have_every_failure_once(head: table.Row) -> None:
    assert [row[0] for row in table.of_document(head)] == [fault.value for fault in Fault]
