"""What arrives in another region's bucket is shown, counted and told there, whatever comes when and how often."""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chalicelib.jobs import arrived
from chalicelib.oci.digests import Digest
from chalicelib.oci.names import Repository
from chalicelib.policy.jobs import Kind
from chalicelib.policy.webhooks import EventType, Notify, Policy, Target
from chalicelib.services import Services
from chalicelib.store import condemned, executions, layout, manifests
from chalicelib.store.directory import projects, webhooks
from chalicelib.store.index import repositories
from chalicelib.store.notifications import HAPPENED
from chalicelib.store.usage import counting
from tests.api.artifacts import Registry
from tests.api.asking import basic
from tests.jobs.test_reindex import services_of
from tests.memory import Inline
from tests.store.index.world import HOME, PROJECT, World, image

COPIED = (layout.DATA, layout.BLOBS, layout.REPOSITORIES, layout.CATALOG)
CREATED = json.loads((Path(__file__).parent.parent / "events" / "s3_created.json").read_text())
REMOVED = json.loads((Path(__file__).parent.parent / "events" / "s3_removed.json").read_text())
HOOK = Policy(
    "ci", (Target(Notify.HTTP, "https://hooks.example.com"),), (EventType.PUSHED, EventType.DELETED)
)  # fmt: skip
Change = tuple[str, str]


@dataclass
class Regions:
    """A registry, and another region's bucket with a table of its own: nothing is there but what a test copies."""

    first: Registry = field(default_factory=Registry)
    second: World = field(default_factory=World)
    copied: int = 0
    # Messages that wait to be looked at again.
    waiting: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        # In one order, so that a failure can be had again.
        client = self.first.client
        content = replace(client.services.content, pool=Inline())
        client.services = replace(
            client.services, content=content, index=replace(client.services.index, content=content)
        )
        self.second.clock.moment = self.first.client.clock.moment
        self.services: Services = services_of(self.second)
        self.hook = webhooks.create(self.services.directory, PROJECT, HOOK, "admin")

    def image(self, tag: str, name: str) -> Digest:
        return Digest.parse(self.first.image(HOME.name, tag, name))

    def delete(self, reference: str) -> None:
        self.first.client.headers = basic()
        assert self.first.client.ask("DELETE", f"/v2/{HOME}/manifests/{reference}").status == 202

    def changes(self) -> list[Change]:
        """Return what changed in the first bucket since the last call, of what is copied."""
        journal = self.first.client.objects.journal
        new, self.copied = journal[self.copied :], len(journal)
        return [(key, version) for key, version in new if key.startswith(COPIED)]

    def copy(self, changes: Iterable[Change]) -> None:
        for key, version in changes:
            self.first.client.objects.copy_to(self.second.objects, key, version)

    def tell(self, changes: Iterable[Change]) -> None:
        """Deliver the events of changes, in this order."""
        for key, version in changes:
            if key.startswith(layout.REPOSITORIES):
                self.run(event(key, version))

    def run(self, message: str) -> None:
        arrived.run(self.services, message, lambda again, _delay: self.waiting.append(again))

    def look_again(self) -> None:
        """Look at what waits until nothing does."""
        while self.waiting:
            self.run(self.waiting.pop(0))

    def arrive(self) -> None:
        """Have everything arrive in its order."""
        changes = self.changes()
        self.copy(changes)
        self.tell(changes)

    def told(self) -> list[tuple[str, str]]:
        """Return what webhooks of the second region are told, in no order."""
        found = executions.page(self.services.directory, Kind.WEBHOOK, self.hook).entries
        told = [each.parameters[HAPPENED] for each in found]
        return sorted((each["type"], each["reference"]) for each in told)

    def used(self) -> int:
        return counting.used(self.second.index, PROJECT)

    def held(self) -> int:
        """Return the bytes that manifests of the second bucket hold, from S3 alone."""
        sizes: dict[str, int] = {}
        shown = self.second.expected() if self.is_there() else {"known": {}}
        for digest, known in shown["known"].items():
            found = manifests.get(self.second.index.content, HOME, Digest.parse(digest))
            parsed = json.loads(found.content)
            sizes[digest] = len(found.content)
            for blob in (parsed.get("config"), *parsed.get("layers", ())):
                sizes |= {blob["digest"]: blob["size"]} if blob else {}
            assert known
        return sum(sizes.values())

    def is_there(self) -> bool:
        return bool(self.second.objects.keys(layout.manifests(HOME)))

    def check(self) -> None:
        """Check that the second region shows and counts what its bucket has."""
        if repositories.find(self.second.index, PROJECT, HOME):
            assert self.second.shown() == self.second.expected()
        else:
            assert not any(manifests.stored(self.second.index.content, HOME))
        assert self.used() == self.held()


def event(key: str, version: str, kind: Any = CREATED) -> str:
    [record] = kind["Records"]
    changed = {**record["s3"]["object"], "key": quote_plus(key, safe="/"), "versionId": version}
    return json.dumps({"Records": [{**record, "s3": {**record["s3"], "object": changed}}]})


def test_a_push_is_shown_counted_and_told_in_the_other_region() -> None:
    regions = Regions()
    digest = regions.image("v1", "one")

    regions.arrive()

    regions.check()
    assert regions.second.shown()["tags"] == {"v1": str(digest)}
    assert regions.used() == counting.used(regions.first.client.services.index, library(regions.first)) > 0
    assert regions.told() == [("PUSH_ARTIFACT", "v1")]


def library(registry: Registry) -> int:
    found = projects.find(registry.client.services.directory, "library")
    assert found
    return found.id


def test_what_was_told_says_what_and_where_and_not_who() -> None:
    regions = Regions()
    digest = regions.image("v1", "one")
    regions.arrive()

    [found] = executions.page(regions.services.directory, Kind.WEBHOOK, regions.hook).entries

    told = found.parameters[HAPPENED]
    assert (told["repository"], told["digest"], told["operator"]) == (HOME.name, str(digest), "s3-replication")


def test_events_that_come_twice_and_backwards_change_nothing() -> None:
    regions = Regions()
    regions.image("v1", "one")
    regions.image("v2", "two")
    changes = regions.changes()
    regions.copy(changes)

    regions.tell([*reversed(changes), *changes])

    regions.check()
    assert regions.told() == [("PUSH_ARTIFACT", "v1"), ("PUSH_ARTIFACT", "v2")]


def test_a_tag_before_its_layers_waits_for_them() -> None:
    regions = Regions()
    regions.image("v1", "one")
    changes = regions.changes()
    layers = [change for change in changes if change[0].startswith(layout.DATA)]
    rest = [change for change in changes if change not in layers]
    regions.copy(rest)
    regions.tell(rest)

    assert len(regions.waiting) == 2  # The manifest and the tag.
    assert repositories.find(regions.second.index, PROJECT, HOME) is None
    assert regions.told() == []

    regions.copy(layers)
    regions.look_again()

    regions.check()
    assert regions.told() == [("PUSH_ARTIFACT", "v1")]


def test_a_tag_before_its_manifest_waits_for_it() -> None:
    regions = Regions()
    regions.image("v1", "one")
    changes = regions.changes()
    late = [change for change in changes if layout.is_manifest(change[0]) or "/_tagged/" in change[0]]
    rest = [change for change in changes if change not in late]
    regions.copy(rest)
    regions.tell(rest)
    assert (len(regions.waiting), regions.told()) == (1, [])

    regions.copy(late)
    regions.look_again()

    regions.check()
    assert (list(regions.second.shown()["tags"]), regions.told()) == (["v1"], [("PUSH_ARTIFACT", "v1")])


def test_what_never_becomes_whole_is_shown_in_the_end_and_not_told() -> None:
    regions = Regions()
    regions.image("v1", "one")
    rest = [change for change in regions.changes() if not change[0].startswith(layout.DATA)]
    regions.copy(rest)
    regions.tell(rest)

    regions.look_again()

    assert list(regions.second.shown()["tags"]) == ["v1"]
    assert regions.told() == []


def test_an_index_of_which_a_child_never_comes_is_told_in_the_end() -> None:
    regions = Regions()
    here = regions.image("", "here")
    regions.first.index(HOME.name, "both", str(here), str(Digest.of(b"elsewhere")))
    regions.arrive()
    assert regions.told() == []

    regions.look_again()

    regions.check()
    assert regions.told() == [("PUSH_ARTIFACT", "both")]


def test_a_tag_that_moved_twice_is_told_twice_and_names_the_last() -> None:
    regions = Regions()
    regions.image("v1", "one")
    last = regions.image("v1", "two")
    changes = regions.changes()
    regions.copy(changes)

    regions.tell(reversed(changes))

    regions.check()
    assert regions.second.shown()["tags"] == {"v1": str(last)}
    assert regions.told() == [("PUSH_ARTIFACT", "v1")] * 2


def test_an_event_that_comes_late_says_where_to_look_and_not_what_is_there() -> None:
    regions = Regions()
    regions.image("v1", "one")
    pushed = regions.changes()
    regions.copy(pushed)
    regions.tell(pushed)
    regions.delete("v1")
    # The event of the deletion is lost; that of the push comes again.
    regions.copy(regions.changes())

    regions.tell(pushed)

    assert regions.second.shown()["tags"] == {}
    regions.check()


def test_an_event_of_long_ago_makes_no_repository_anew() -> None:
    regions = Regions()
    digest = regions.image("v1", "one")
    pushed = regions.changes()
    regions.delete(str(digest))
    regions.copy([*pushed, *regions.changes()])
    regions.second.objects.delete(layout.catalog(HOME))

    regions.tell(pushed)

    assert repositories.find(regions.second.index, PROJECT, HOME) is None
    assert regions.second.objects.keys(layout.CATALOG) == ()


def test_a_deleted_tag_goes_and_its_manifest_stays() -> None:
    regions = Regions()
    digest = regions.image("v1", "one")
    regions.arrive()

    regions.delete("v1")
    regions.arrive()

    regions.check()
    assert (regions.second.shown()["tags"], list(regions.second.shown()["known"])) == ({}, [str(digest)])
    assert regions.told() == [("PUSH_ARTIFACT", "v1")]


@pytest.mark.parametrize("backwards", [False, True])
def test_a_deleted_manifest_goes_with_its_tags_and_is_told(backwards: bool) -> None:
    regions = Regions()
    digest = regions.image("v1", "one")
    regions.image("v2", "two")
    regions.arrive()

    regions.delete(str(digest))
    changes = regions.changes()
    # Markers of deletions come late: the manifest is gone while its tag is there.
    for change in reversed(changes) if backwards else changes:
        regions.copy([change])
        regions.tell([change])
        regions.tell([change])

    regions.check()
    assert list(regions.second.shown()["tags"]) == ["v2"]
    assert regions.told() == [("DELETE_ARTIFACT", str(digest)), ("PUSH_ARTIFACT", "v1"), ("PUSH_ARTIFACT", "v2")]


def test_what_a_job_retired_goes_and_is_not_told() -> None:
    regions = Regions()
    digest = regions.image("", "one")
    regions.arrive()
    key, content = layout.manifest(HOME, digest), regions.first.client.services.content
    found = content.objects.get(key)
    assert found
    condemned.condemn(content, key, found, found.head.etag, condemned.Doom.RETIRED)

    regions.arrive()

    regions.check()
    assert regions.second.shown()["known"] == {}
    assert regions.told() == []


def test_a_deletion_of_what_nobody_saw_here_is_not_told() -> None:
    regions = Regions()
    digest = regions.image("v1", "one")
    pushed = regions.changes()
    regions.delete(str(digest))
    deleted = regions.changes()
    regions.copy([*pushed, *deleted])

    regions.tell(deleted)

    assert regions.told() == []


def test_events_of_what_this_region_did_itself_are_not_told() -> None:
    regions = Regions()
    regions.second.push(image("own"), "v9")
    key = layout.tags(HOME) + "v9"
    [version] = [each.id for each in regions.second.objects.versions(key)]

    regions.run(event(key, version))

    regions.look_again()
    assert regions.second.shown() == regions.second.expected()
    assert regions.told() == []


def test_what_is_old_is_shown_and_not_told() -> None:
    regions = Regions()
    regions.image("v1", "one")
    regions.second.clock.advance(timedelta(days=2))

    regions.arrive()

    regions.check()
    assert regions.told() == []


def test_a_message_that_fails_holds_up_no_other() -> None:
    regions = Regions()
    regions.image("v1", "one")
    changes = regions.changes()
    regions.copy(changes)
    key, version = next(change for change in changes if layout.is_tag(change[0]))
    bodies = ("no event", event(key, version))

    with pytest.raises(ValueError, match="Expecting value"):
        arrived.take(regions.services, {"Records": [{"body": body, "eventSourceARN": "arn:q"} for body in bodies]})

    assert list(regions.second.shown()["tags"]) == ["v1"]


def test_what_belongs_to_no_project_of_this_region_is_passed_over() -> None:
    regions = Regions()
    regions.first.image("one/app", "v1", "elsewhere")

    regions.arrive()

    assert repositories.find(regions.second.index, PROJECT, Repository("one/app")) is None
    assert (regions.waiting, regions.told()) == ([], [])


def test_a_name_that_is_no_tag_or_manifest_of_ours_is_passed_over() -> None:
    regions = Regions()
    for key in ("repositories/library/app/_tagged/sha256/0/v1", "repositories/x", "data/1", "catalog/library!app"):
        regions.run(event(key, "1", REMOVED))

    assert (regions.waiting, regions.told()) == ([], [])


Deed = Callable[[Regions], None]


def _push(name: str, tag: str) -> Deed:
    return lambda regions: void(regions.image(tag, name))


def void(_result: object) -> None:
    """Drop a result."""


def _index(tag: str, *names: str) -> Deed:
    def deed(regions: Regions) -> None:
        children = [str(regions.image("", name)) for name in names]
        regions.first.index(HOME.name, tag, *children)

    return deed


def _delete(reference: str) -> Deed:
    def deed(regions: Regions) -> None:
        regions.first.client.headers = basic()
        found = reference
        if not reference.startswith("v"):
            shown = regions.first.client.ask("HEAD", f"/v2/{HOME}/manifests/v1")
            found = shown.headers.get("Docker-Content-Digest", "v1")
        answer = regions.first.client.ask("DELETE", f"/v2/{HOME}/manifests/{found}")
        assert answer.status in (202, 404, 412), answer.body  # A child of an index may not go before it.

    return deed


DEEDS = st.sampled_from(
    [
        *(_push(name, tag) for name in ("one", "two") for tag in ("v1", "v2", "")),
        _index("v3", "one", "two"),
        _delete("v1"),
        _delete("v2"),
        _delete("v3"),
        _delete("what v1 names"),
    ]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(DEEDS, min_size=1, max_size=7), st.integers())
def test_any_history_arrives_in_any_order_any_number_of_times(deeds: list[Deed], seed: int) -> None:
    """S3 keeps the order of one key, and of nothing else; events keep none, and each comes once or twice."""
    regions, chance = Regions(), random.Random(seed)
    for deed in deeds:
        deed(regions)
    pushes = Counter(key for key, _ in regions.first.client.objects.journal if layout.is_tag(key))
    by_key: dict[str, list[Change]] = {}
    for change in regions.changes():
        by_key.setdefault(change[0], []).append(change)
    untold: list[Change] = []
    while by_key:
        key = chance.choice(list(by_key))
        regions.copy(by_key[key][:1])
        untold += by_key[key][:1] * chance.randint(1, 2)
        by_key = {name: rest for name, each in by_key.items() if (rest := each[1:] if name == key else each)}
        while untold and chance.random() < 0.5:
            regions.tell([untold.pop(chance.randrange(len(untold)))])
    regions.tell(untold)
    regions.look_again()

    regions.check()
    told = Counter(reference for kind, reference in regions.told() if kind == "PUSH_ARTIFACT")
    assert all(told[tag] <= pushes[layout.tags(HOME) + tag] for tag in told)
    for tag in regions.second.shown()["tags"] if repositories.find(regions.second.index, PROJECT, HOME) else ():
        assert told[tag] >= 1
