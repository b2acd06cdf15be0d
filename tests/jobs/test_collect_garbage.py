"""What the collector takes and what it leaves; that nothing depends on when it comes, or on where it is cut off."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from chalicelib.config import Settings
from chalicelib.jobs.steps import Done
from chalicelib.oci.digests import Digest
from chalicelib.oci.names import Repository, Tag
from chalicelib.store import layout, manifests, remains
from chalicelib.store.condemned import Doom
from chalicelib.store.content import GRACE
from chalicelib.store.garbage import repository as within
from chalicelib.store.garbage import unlinked
from chalicelib.store.garbage.needs import Known, Needs
from chalicelib.store.garbage.repository import Plan
from chalicelib.store.garbage.seen import Seen
from chalicelib.store.history import EVER
from tests.jobs.collecting import collect, step
from tests.memory import Clock, Inline, MemoryObjects, services_over
from tests.store.client import Client, Document, image, index
from tests.store.faults import Fault, every_fault
from tests.store.schedule import Action, Choose, every_order_with, interleave

CONFIG, LAYER, OTHER = b"{}", b"layer", b"other layer"
ONE = image(CONFIG, [LAYER])
TWO = image(CONFIG, [OTHER])
BOTH = index([ONE, TWO])
APP = "library/app"
LONG = GRACE + timedelta(seconds=1)


@dataclass
class Registry:
    """A bucket, its clock, and a process."""

    clock: Clock
    bucket: MemoryObjects
    client: Client

    @classmethod
    def empty(cls) -> "Registry":
        clock = Clock()
        bucket = MemoryObjects(clock)
        return cls(clock, bucket, Client.of(bucket, clock))

    def process(self) -> Client:
        return Client.of(self.bucket, self.clock)

    def push(self, document: Document, reference: str = "v1", repository: str = APP) -> None:
        for blob in (CONFIG, LAYER if document is ONE else OTHER):
            self.client.push_blob(repository, blob)
        self.client.push_manifest(repository, reference, document)

    def wait(self, time: timedelta = LONG) -> None:
        self.clock.advance(time)

    def delete(self, reference: object, repository: str = APP) -> None:
        assert self.client.ask("DELETE", f"/v2/{repository}/manifests/{reference}").status == 202

    def pulled(self, document: Document, reference: object = "v1", repository: str = APP) -> bool:
        """Tell whether a manifest can be pulled with all its blobs; a part of it is a failure."""
        answer = self.client.manifest(repository, reference)
        if answer.status == 404:
            return False
        assert answer.body == document.content
        blobs = {CONFIG, LAYER if document is ONE else OTHER}
        assert {self.client.blob(repository, Digest.of(blob)) for blob in blobs} == blobs
        return True

    def bytes_left(self) -> int:
        return len(self.bucket.keys(layout.DATA))


@pytest.fixture
def registry() -> Registry:
    return Registry.empty()


def test_what_is_in_use_stays_however_often_it_is_collected(registry: Registry) -> None:
    registry.push(ONE)
    registry.wait()

    reports = [collect(registry.client.services, delete_untagged=True) for _ in range(3)]

    assert all(report["purged_blobs"] == report["released_links"] == 0 for report in reports)
    assert registry.pulled(ONE)


def test_a_deleted_image_goes_with_its_bytes_after_the_grace_period(registry: Registry) -> None:
    registry.push(ONE)
    registry.push(TWO, "v2")
    registry.wait()
    registry.delete(ONE.digest)

    soon = collect(registry.client.services)
    registry.wait()
    later = collect(registry.client.services)

    assert soon["purged_manifests"] == soon["purged_blobs"] == 0
    assert (later["purged_manifests"], later["purged_blobs"], later["freed_space"]) == (1, 1, len(LAYER))
    assert registry.pulled(TWO, "v2")
    assert registry.bucket.keys(layout.manifests(Repository(APP))) == (layout.manifest(Repository(APP), TWO.digest),)
    assert registry.bucket.keys(layout.COLLECTOR) == registry.bucket.keys(layout.NEEDS)


def test_a_shorter_grace_period_is_kept_by_pushes_and_by_the_collector() -> None:
    registry = Registry.empty()
    settings = Settings.from_env({"ROADSTEAD_GC_GRACE_SECONDS": "10"})
    short = services_over(registry.bucket, registry.clock, pool=Inline(), settings=settings)
    client = replace(registry.client, services=replace(registry.client.services, content=short.content))
    client.push_blob(APP, LAYER)

    registry.wait(timedelta(seconds=6))
    asked = client.ask("HEAD", f"/v2/{APP}/blobs/{Digest.of(LAYER)}").status
    registry.wait(timedelta(seconds=6))
    soon = collect(short)["released_links"]
    registry.wait(timedelta(seconds=6))
    later = collect(short)["released_links"]

    assert (asked, soon, later) == (200, 0, 1)


def test_a_dry_run_says_what_would_go_and_leaves_it(registry: Registry) -> None:
    registry.push(ONE)
    registry.delete(ONE.digest)
    registry.wait()
    before = registry.bucket.keys()

    said = collect(registry.client.services, dry_run=True)

    assert registry.bucket.keys() == before
    assert said == collect(registry.client.services)
    assert said["purged_blobs"] == 2
    assert registry.bytes_left() == 0


def test_bytes_stay_while_any_repository_holds_them(registry: Registry) -> None:
    registry.push(ONE)
    registry.push(ONE, repository="a/b/c")
    registry.delete(ONE.digest)
    registry.wait()

    report = collect(registry.client.services)

    assert (report["released_links"], report["purged_blobs"]) == (2, 0)
    assert registry.pulled(ONE, repository="a/b/c")
    assert not registry.pulled(ONE)


def test_a_blob_that_no_manifest_named_goes_and_its_project_has_the_space_again(registry: Registry) -> None:
    registry.client.push_blob(APP, LAYER)
    services = registry.client.services
    registry.wait()

    assert collect(services)["freed_space"] == len(LAYER)
    assert registry.bytes_left() == 0


def test_repositories_below_others_are_found(registry: Registry) -> None:
    for name in ("library/a", "library/a/b", "library/a-b", "library/a.b", "a/b", "library/a0"):
        registry.client.push_blob(name, LAYER)
    registry.wait()

    assert collect(registry.client.services)["released_links"] == 6


def test_an_untagged_manifest_goes_where_that_is_asked_for_in_two_runs(registry: Registry) -> None:
    registry.push(ONE, str(ONE.digest))
    registry.push(TWO, "v2")
    registry.wait()

    left = collect(registry.client.services)
    first = collect(registry.client.services, delete_untagged=True)
    still = registry.pulled(ONE, ONE.digest)
    registry.wait()
    second = collect(registry.client.services)

    assert left["retired_manifests"] == 0
    assert (first["retired_manifests"], first["purged_manifests"]) == (1, 0)
    assert still
    assert (second["purged_manifests"], second["purged_blobs"]) == (1, 1)
    assert not registry.pulled(ONE, ONE.digest)
    assert registry.pulled(TWO, "v2")


def test_a_tag_that_moved_can_be_undone_though_untagged_manifests_are_collected(registry: Registry) -> None:
    registry.push(ONE)
    registry.push(TWO)
    registry.wait()

    assert collect(registry.client.services, delete_untagged=True)["retired_manifests"] == 0
    registry.wait(timedelta(days=31))
    assert collect(registry.client.services, delete_untagged=True)["retired_manifests"] == 1


def test_children_of_an_index_stay_and_go_with_it(registry: Registry) -> None:
    for document in (ONE, TWO):
        registry.push(document, str(document.digest))
    registry.client.push_manifest(APP, "both", BOTH)
    registry.wait()
    services = registry.client.services

    assert collect(services, delete_untagged=True)["retired_manifests"] == 0
    manifests.delete(services.content, Repository(APP), BOTH.digest)
    for _ in range(2):
        registry.wait()
        collect(services, delete_untagged=True)
    registry.wait()
    collect(services)

    assert registry.bytes_left() == 0


def test_signatures_of_what_is_there_are_not_untagged(registry: Registry) -> None:
    signature = image(CONFIG, subject=ONE, artifactType="application/x-signature")
    registry.push(ONE)
    registry.client.push_manifest(APP, signature.digest, signature)
    registry.wait()

    assert collect(registry.client.services, delete_untagged=True)["retired_manifests"] == 0


def test_an_index_pushed_after_its_child_was_retired_keeps_it(registry: Registry) -> None:
    registry.push(ONE, str(ONE.digest))
    manifests.delete(registry.client.services.content, Repository(APP), ONE.digest, why=Doom.RETIRED)
    registry.wait(GRACE / 2)
    registry.client.push_manifest(APP, "one", index([ONE]))
    for _ in range(2):
        registry.wait()
        collect(registry.client.services, delete_untagged=True)

    assert registry.pulled(ONE, ONE.digest)


def test_a_retired_manifest_that_a_pusher_was_told_of_stays_for_the_index_that_names_it(registry: Registry) -> None:
    for document in (ONE, TWO):
        registry.push(document, str(document.digest))
    manifests.delete(registry.client.services.content, Repository(APP), ONE.digest, why=Doom.RETIRED)
    registry.wait()

    assert registry.client.manifest(APP, ONE.digest, "HEAD").status == 200
    collect(registry.client.services)
    registry.client.push_manifest(APP, "both", BOTH)
    for _ in range(2):
        registry.wait()
        collect(registry.client.services)

    assert registry.pulled(ONE, ONE.digest)


def test_a_damaged_manifest_keeps_every_blob_of_its_repository(registry: Registry) -> None:
    registry.push(ONE)
    registry.push(TWO, "v2", "library/other")
    registry.client.push_blob("library/other", LAYER)
    registry.bucket.damage(layout.manifest(Repository(APP), ONE.digest), b"{}")
    registry.wait()

    report = collect(registry.client.services)

    assert (report["released_links"], report["purged_blobs"]) == (1, 0)
    assert registry.client.blob(APP, Digest.of(LAYER)) == LAYER


def test_the_children_of_a_damaged_index_stay(registry: Registry) -> None:
    for document in (ONE, TWO):
        registry.push(document, str(document.digest))
    registry.client.push_manifest(APP, "both", BOTH)
    registry.bucket.damage(layout.manifest(Repository(APP), BOTH.digest), b"{}")

    for _ in range(3):
        registry.wait()
        collect(registry.client.services, delete_untagged=True)

    assert registry.pulled(ONE, ONE.digest)
    assert registry.pulled(TWO, TWO.digest)


def test_what_an_execution_that_was_stopped_remembered_goes_with_the_next(registry: Registry) -> None:
    registry.push(ONE)
    step(registry.client.services, 10_000, {})

    collect(registry.client.services)

    assert registry.bucket.keys(layout.COLLECTOR) == registry.bucket.keys(layout.NEEDS)


def test_what_was_mounted_behind_the_collector_outlives_the_project_that_it_came_from(registry: Registry) -> None:
    registry.push(ONE, repository="b/app")
    registry.client.push_blob(APP, OTHER)
    registry.wait()
    services = registry.client.services
    # The collector has seen all repositories but the old one.
    linked = Seen("1")
    begun = Plan(registry.clock() - GRACE, EVER)
    within.collect(services.content, Repository(APP), linked, Seen("1"), begun)

    for blob in (CONFIG, LAYER):
        url = f"/v2/{APP}/blobs/uploads/?mount={Digest.of(blob)}&from=b/app"
        assert registry.client.ask("POST", url).status == 201
    registry.client.push_manifest(APP, "v1", ONE)
    remains.remove(services.content, "b")
    dying, _ = unlinked.find(services.content, linked, begun.before, "")
    unlinked.bury(services.content, dying)

    assert registry.pulled(ONE)


# What a run knows of manifests from the one before.


def _manifests_read(registry: Registry, **parameters: bool) -> int:
    """Collect, and tell how many manifests were read for that."""
    asked = registry.client.objects.asked
    asked.clear()
    collect(registry.client.services, **parameters)
    return sum(each.operation == "get" and "/_manifests/" in each.key for each in asked)


def test_a_manifest_is_read_once_and_again_where_it_is_not_the_same_object(registry: Registry) -> None:
    registry.push(ONE)
    first, second = _manifests_read(registry), _manifests_read(registry)
    registry.push(TWO, "v2")
    new = _manifests_read(registry)
    registry.delete(ONE.digest)
    condemned = _manifests_read(registry)
    registry.push(ONE)
    pushed_again = _manifests_read(registry)

    assert (first, second, new, condemned, pushed_again) == (1, 0, 1, 1, 1)


def test_what_is_known_keeps_blobs_children_and_signatures_as_what_is_read_does(registry: Registry) -> None:
    signature = image(CONFIG, subject=ONE, artifactType="application/x-signature")
    for document in (ONE, TWO):
        registry.push(document, str(document.digest))
    registry.client.push_manifest(APP, "both", BOTH)
    registry.client.push_manifest(APP, signature.digest, signature)
    collect(registry.client.services)
    registry.wait()

    assert _manifests_read(registry, delete_untagged=True) == 0
    assert registry.pulled(ONE, ONE.digest)
    assert registry.pulled(TWO, TWO.digest)
    assert registry.client.manifest(APP, signature.digest).status == 200


@pytest.mark.parametrize(
    "change", [b"", b"{}", lambda content: content[:-1], lambda content: content[:40] + b"0" * 9]
)
def test_records_that_are_damaged_are_as_good_as_none(
    registry: Registry, change: bytes | Callable[[bytes], bytes]
) -> None:
    registry.push(ONE)
    collect(registry.client.services)
    registry.wait()
    (key,) = registry.bucket.keys(layout.NEEDS)
    found = registry.bucket.get(key)
    assert found
    registry.bucket.put(key, change if isinstance(change, bytes) else change(found.content))

    assert _manifests_read(registry) == 1
    assert registry.pulled(ONE)
    assert _manifests_read(registry) == 0


def test_what_does_not_fit_is_read_each_time(registry: Registry) -> None:
    content, home, small = registry.client.services.content, Repository(APP), 500
    known = Known({}, small)
    for document in (ONE, TWO):
        known.add(document.digest, '"tag"', Needs((Digest.of(LAYER).hex, Digest.of(CONFIG).hex)))
    known.write(content, home)

    again = Known.read(content, home)
    assert [again.get(document.digest, '"tag"') is not None for document in (ONE, TWO)] == [True, False]


def test_what_is_known_of_a_repository_that_is_gone_is_dropped(registry: Registry) -> None:
    registry.push(ONE)
    registry.push(TWO, repository="library/other")
    collect(registry.client.services)
    registry.delete(ONE.digest)
    for _ in range(3):
        registry.wait()
        collect(registry.client.services)

    assert registry.bucket.keys(layout.NEEDS) == (layout.needs(Repository("library/other")),)


def test_a_collection_is_one_listing_a_thousand_and_then_what_there_is_to_do(registry: Registry) -> None:
    """The budget, 1 500 requests for 20 repositories of 50 images with 10 % garbage, by what makes it up."""
    repositories, each, garbage, blobs = 3, 20, 2, 3
    images = {}
    for place in ((f"library/r{number}", f"v{tag}") for number in range(repositories) for tag in range(each)):
        contents = [f"{place} {number}".encode() for number in range(blobs)]
        for blob in contents:
            registry.client.push_blob(place[0], blob)
        images[place] = image(contents[0], contents[1:])
        registry.client.push_manifest(*place, images[place])
    collect(registry.client.services)
    for (repository, tag), document in images.items():
        if tag in [f"v{number}" for number in range(garbage)]:
            registry.delete(document.digest, repository)
    registry.wait()
    ways = (registry.client.objects.asked, registry.client.indexing.asked)
    for asked in ways:
        asked.clear()

    report = collect(registry.client.services)

    # Its manifest read, its tag looked at, both dropped; each blob's link, entry, and entry read.
    an_image = 3 + 3 * blobs
    # The repository, its manifests, tags, hints and links, and links again; what is known of it, read and written.
    a_repository = 1 + 5 + 2
    # What was left behind; no other repository, entries, what is known of others; the filter and what dies, written,
    # read, dropped; bytes.
    once = 1 + 3 + 6 + 1
    assert report["purged_blobs"] == repositories * garbage * blobs
    assert sum(map(len, ways)) == repositories * (garbage * an_image + a_repository) + once
    assert 20 * (5 * an_image + a_repository) + once + 2 <= 1500


def test_a_manifest_that_only_its_tag_keeps_comes_back_with_its_blobs(registry: Registry) -> None:
    registry.push(ONE)
    registry.bucket.delete(layout.manifest(Repository(APP), ONE.digest))
    registry.wait()

    dry = collect(registry.client.services, dry_run=True)
    report = collect(registry.client.services)

    assert dry["released_links"] == report["released_links"] == 0
    assert registry.pulled(ONE)
    assert registry.bucket.head(layout.manifest(Repository(APP), ONE.digest))


def test_a_tag_that_does_not_say_what_it_names_keeps_every_blob_of_its_repository(registry: Registry) -> None:
    registry.push(ONE)
    registry.client.push_blob(APP, OTHER)
    registry.bucket.put(layout.tag(Repository(APP), Tag("damaged")), TWO.content, content_type=TWO.media_type)
    registry.wait()

    assert collect(registry.client.services)["released_links"] == 0
    registry.bucket.delete(layout.tag(Repository(APP), Tag("damaged")))
    assert collect(registry.client.services)["released_links"] == 1


def test_what_is_cut_off_anywhere_and_begun_again_leaves_no_garbage_and_takes_nothing_else() -> None:
    def scenario(fault: Fault) -> None:
        registry = Registry.empty()
        registry.push(ONE)
        registry.push(TWO, "v2")
        registry.push(ONE, repository="library/other")
        registry.delete(ONE.digest)
        registry.wait()
        cut = registry.process()
        cursor: Mapping[str, Any] = {}
        try:
            with fault.on(cut.objects):
                while not isinstance(outcome := step(cut.services, 1, cursor), Done):
                    cursor = outcome.cursor
        except BaseException:  # noqa: BLE001 - the end of the process, or S3's
            while not isinstance(outcome := step(registry.client.services, 1, cursor), Done):
                cursor = outcome.cursor

        assert registry.pulled(TWO, "v2")
        assert registry.pulled(ONE, repository="library/other")
        collect(registry.client.services)
        registry.delete(TWO.digest)
        registry.delete(ONE.digest, "library/other")
        registry.wait()
        collect(registry.client.services)
        assert registry.bytes_left() == 0
        assert registry.bucket.keys(layout.BLOBS) == ()

    assert every_fault(scenario) > 60


# The race: who pushes while the collector comes, in every order of their requests.

Push = Callable[[Client], bool]


def _blob(client: Client, content: bytes) -> None:
    """Do as clients do: ask whether a blob is there, and push it only if it is not."""
    if client.ask("HEAD", f"/v2/{APP}/blobs/{Digest.of(content)}").status != 200:
        client.push_blob(APP, content)


def _asking(client: Client) -> bool:
    for blob in (CONFIG, LAYER):
        _blob(client, blob)
    return client.put_manifest(APP, "v1", ONE).status == 201


def _mounting(client: Client) -> bool:
    for blob in (CONFIG, LAYER):
        url = f"/v2/{APP}/blobs/uploads/?mount={Digest.of(blob)}&from=library/source"
        if client.ask("POST", url).status != 201:
            client.push_blob(APP, blob)
    return client.put_manifest(APP, "v1", ONE).status == 201


def _uploading(client: Client) -> bool:
    for blob in (CONFIG, LAYER):
        client.push_blob(APP, blob)
    return client.put_manifest(APP, "v1", ONE).status == 201


def _blobs_long_ago(registry: Registry, repository: str) -> None:
    for blob in (CONFIG, LAYER):
        registry.client.push_blob(repository, blob)
    registry.wait()


def _image_deleted_long_ago(registry: Registry, repository: str) -> None:
    registry.push(ONE, repository=repository)
    registry.delete(ONE.digest, repository)
    registry.wait()


def _image_retired_long_ago(registry: Registry, repository: str) -> None:
    registry.push(ONE, repository=repository)
    manifests.delete(registry.client.services.content, Repository(repository), ONE.digest, why=Doom.RETIRED)
    registry.wait()


def _image_untagged_long_ago(registry: Registry, repository: str) -> None:
    registry.push(ONE, str(ONE.digest), repository)
    registry.wait()


def _no_links_any_more(registry: Registry, repository: str) -> None:
    _blobs_long_ago(registry, repository)
    for blob in (CONFIG, LAYER):
        assert registry.client.ask("DELETE", f"/v2/{repository}/blobs/{Digest.of(blob)}").status == 202
    registry.wait()


def _known_image_deleted_long_ago(registry: Registry, repository: str) -> None:
    registry.push(ONE, repository=repository)
    collect(registry.client.services)
    registry.delete(ONE.digest, repository)
    registry.wait()


def _known_image_untagged_long_ago(registry: Registry, repository: str) -> None:
    registry.push(ONE, str(ONE.digest), repository)
    collect(registry.client.services)
    registry.wait()


BEGINNINGS = (
    _blobs_long_ago,
    _image_deleted_long_ago,
    _image_retired_long_ago,
    _image_untagged_long_ago,
    _no_links_any_more,
    _known_image_deleted_long_ago,
    _known_image_untagged_long_ago,
)
PUSHES: Mapping[Push, str] = {_asking: APP, _uploading: APP, _mounting: "library/source"}


def _race(beginning: Callable[[Registry, str], None], push: Push) -> Callable[[Choose], None]:
    def run(choose: Choose) -> None:
        registry = Registry.empty()
        beginning(registry, PUSHES[push])
        pusher, collector = registry.process(), registry.process()

        pushed, _ = interleave(
            [
                Action(pusher.objects, lambda: push(pusher)),
                Action(collector.objects, lambda: bool(collect(collector.services, delete_untagged=True))),
            ],
            choose,
        )

        assert pushed is True, pushed
        for _ in range(2):
            assert registry.pulled(ONE)
            registry.wait()
            collect(registry.client.services, delete_untagged=True)
        assert registry.pulled(ONE)
        _nothing_is_left(registry)

    return run


def _nothing_is_left(registry: Registry) -> None:
    registry.delete(ONE.digest)
    for _ in range(2):
        registry.wait()
        collect(registry.client.services)
    assert registry.bytes_left() == 0


BESIDE = pytest.mark.parametrize(
    ("beginning", "push"),
    [
        pytest.param(beginning, push, id=f"{beginning.__name__.strip('_')}-{push.__name__.strip('_')}")
        for beginning in BEGINNINGS
        for push in PUSHES
    ],
)


@BESIDE
def test_a_push_beside_the_collector_can_be_pulled_for_good(
    beginning: Callable[[Registry, str], None], push: Push
) -> None:
    assert every_order_with(1, _race(beginning, push)) >= 20


@pytest.mark.soak
@BESIDE
def test_a_push_beside_the_collector_can_be_pulled_for_good_in_more_orders(
    beginning: Callable[[Registry, str], None], push: Push
) -> None:
    assert every_order_with(2, _race(beginning, push)) >= 150


def _an_index_beside(other: Callable[[Registry, Client], object]) -> Callable[[Choose], None]:
    """An index of ONE and TWO, which are in an older index that goes meanwhile; afterwards it is whole."""

    def run(choose: Choose) -> None:
        registry = Registry.empty()
        for document in (ONE, TWO):
            registry.push(document, str(document.digest))
        older = index([TWO, ONE])
        registry.client.push_manifest(APP, "older", older)
        registry.wait()
        pusher, remover = registry.process(), registry.process()

        pushed, removed = interleave(
            [
                Action(pusher.objects, lambda: pusher.put_manifest(APP, "both", BOTH).status),
                Action(remover.objects, lambda: other(registry, remover)),
            ],
            choose,
        )

        assert pushed == 201
        assert not isinstance(removed, BaseException), removed
        for _ in range(3):
            assert registry.client.manifest(APP, "both").body == BOTH.content
            assert registry.pulled(ONE, ONE.digest)
            assert registry.pulled(TWO, TWO.digest)
            registry.wait()
            collect(registry.client.services, delete_untagged=True)

    return run


def _delete_the_older(_: Registry, client: Client) -> object:
    status = client.ask("DELETE", f"/v2/{APP}/manifests/{index([TWO, ONE]).digest}").status
    assert status == 202
    return status


def _collect_untagged(_: Registry, client: Client) -> object:
    return collect(client.services, delete_untagged=True)


@pytest.mark.parametrize("other", [_delete_the_older, _collect_untagged], ids=["deletion", "collector"])
def test_an_index_that_is_acknowledged_has_its_children_whatever_goes_meanwhile(
    other: Callable[[Registry, Client], object],
) -> None:
    assert every_order_with(1, _an_index_beside(other)) >= 10
