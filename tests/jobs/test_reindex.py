"""The job that makes the index agree with S3: what it finds, corrects, removes and leaves as it is."""

from dataclasses import replace
from datetime import timedelta

import pytest

from chalicelib.jobs import reindex
from chalicelib.jobs.reindex import Cursor
from chalicelib.oci.digests import Digest
from chalicelib.oci.names import Repository, Tag
from chalicelib.services import Services
from chalicelib.store import layout, manifests
from chalicelib.store.directory import Directory, projects
from chalicelib.store.directory.projects import NewProject
from chalicelib.store.index import artifacts, labels, pulls, repositories, written
from chalicelib.store.pulls import Pulled, Pulls
from chalicelib.store.table import If, Key, Put
from tests.memory import START, Inline, services_over
from tests.store.index.world import HOME, PROJECT, World, digest_of, image, index_of

OTHER = Repository("library/other")
SIGNED = image("signed")
IMAGES = (SIGNED, image("two"), image("sig", subject=digest_of(SIGNED)))
TOGETHER = index_of(*IMAGES[:2])


def services_of(world: World) -> Services:
    """Return services over the world's bucket and table, in which the project `library` has the world's id."""
    services = services_over(world.objects, world.clock, pool=Inline())
    whole = replace(services, directory=Directory(world.table, world.clock), index=world.index)
    if projects.find(whole.directory, "library") is None:
        new = NewProject("library", 1, "admin", {"public": "true"}, {})
        projects.create(whole.directory, new, lambda _number, _name: (), fixed_id=PROJECT)
    return whole


def stored() -> World:
    """Return a bucket with two repositories that no index knows."""
    world = World()
    for number, document in enumerate((*IMAGES, TOGETHER)):
        world.store(document, *([f"v{number}"] if number % 2 else []))
    world.store(image("elsewhere"), "v1", repository=OTHER)
    return world


def test_an_index_is_made_from_nothing_with_the_times_that_s3_has() -> None:
    world = stored()
    world.clock.advance(timedelta(days=3))

    reindex.run(services_of(world))

    assert world.shown() == world.expected()
    assert world.shown(OTHER) == world.expected(OTHER)
    assert repositories.count(world.index, PROJECT) == 2
    found = artifacts.find_tag(world.index, world.home(), "v1")
    assert found
    assert found.pushed == world.artifact(digest_of(TOGETHER)).pushed == world.home().created == written(START)


def test_one_step_reads_one_page_and_a_run_may_stop_after_any() -> None:
    world = World()
    for number in range(450):
        world.store(image(f"image {number}"), f"v{number:03}")
    services = services_of(world)
    cursor = reindex.begin(services)
    cursors = []
    while cursor:
        cursors.append(cursor.document())
        # Another process goes on with what was kept of the cursor.
        world.objects.asked.clear()
        cursor = reindex.step(services_of(world), Inline(), Cursor(**cursors[-1]))
        listings = [asked for asked in world.objects.asked if asked.operation == "list"]
        assert len(listings) <= 4

    assert [entry["phase"] for entry in cursors] == [0, 0, 0, 0, 1, 1, 1, 2]
    assert world.shown() == world.expected()


def test_what_is_right_stays_with_its_ids_and_all_that_people_added() -> None:
    world = World()
    digest = world.push(IMAGES[0], "v1")
    world.attributes(digest)
    home = world.home()
    repositories.describe(world.index, home, "words")
    assert labels.add(world.index, world.home(), str(digest), 5)
    pulled = {Pulled(HOME, str(digest), "v1"): Pulls(3, START + timedelta(hours=1))}
    pulls.flush(world.index, pulled, lambda _repository: PROJECT)
    before = world.home(), world.artifact(digest), artifacts.find_tag(world.index, world.home(), "v1")
    world.clock.advance(timedelta(days=1))

    reindex.run(services_of(world), "library", HOME.name)

    assert (world.home(), world.artifact(digest), artifacts.find_tag(world.index, world.home(), "v1")) == before
    assert before[0].pulls == 3
    assert before[1].labels == (5,)


def test_a_wrong_record_is_corrected_and_keeps_its_id() -> None:
    world = World()
    digest = world.push(IMAGES[0], "v1")
    world.attributes(digest)
    found = world.artifact(digest)
    wrong = {**found.document, "type": "CHART", "size": 1, "bytes": 1, "subject": str(digest), "accessory": "x"}
    world.table.commit(Put(found.record.key, wrong, If(etag=found.record.etag)))

    reindex.run(services_of(world))

    assert world.artifact(digest).id == found.id
    assert world.artifact(digest).document == found.document


def test_what_s3_lost_leaves_the_index() -> None:
    world = World()
    for document in (*IMAGES, TOGETHER):
        world.push(document, "v1")
    content = world.index.content
    manifests.delete(content, HOME, digest_of(TOGETHER))
    manifests.delete(content, HOME, digest_of(IMAGES[2]))

    reindex.run(services_of(world))

    assert world.shown() == world.expected()
    assert artifacts.find_tag(world.index, world.home(), "v1") is None


def test_a_tag_that_was_pushed_after_the_listing_is_not_removed() -> None:
    world = World()
    digest = world.push(IMAGES[0], "a")
    world.push(IMAGES[1])

    def push_after_listing(operation: str, key: str) -> None:
        if operation == "list" and key == layout.tags(HOME):
            world.objects.after = lambda _operation, _key: None
            world.push(IMAGES[1], "zz")

    world.objects.after = push_after_listing
    reindex.run(services_of(world))

    assert world.shown() == world.expected()
    assert artifacts.find_tag(world.index, world.home(), "zz")
    assert world.artifact(digest).tags == 1


def test_a_repository_that_the_bucket_has_not_is_removed_and_one_the_catalog_lost_is_listed_again() -> None:
    world = World()
    world.push(IMAGES[0], "v1")
    world.push(IMAGES[0], "v1", repository=OTHER)
    content = world.index.content
    manifests.delete(content, OTHER, digest_of(IMAGES[0]))
    world.objects.delete(layout.catalog(OTHER), layout.catalog(HOME))

    reindex.run(services_of(world))

    assert [found.repository for found in repositories.all_of(world.index, PROJECT)] == [HOME]
    assert world.objects.keys(layout.CATALOG) == (layout.catalog(HOME),)
    assert world.shown() == world.expected()


def test_relations_of_an_index_without_a_record_go_and_its_children_are_listed() -> None:
    world = World()
    child = world.push(IMAGES[0])
    home = world.home()
    ghost = str(Digest.of(b"ghost"))
    world.table.commit(
        Put(Key(home.partition("children"), f"{ghost}/00000"), {"digest": str(child)}),
        Put(Key(home.partition("parents"), f"{child}/{ghost}"), {}),
    )

    reindex.run(services_of(world))

    assert artifacts.parents(world.index, world.home(), str(child)) == ()
    assert world.listed() == [str(child)]


def test_a_damaged_manifest_stops_nothing() -> None:
    world = stored()
    damaged = digest_of(IMAGES[1])
    world.objects.damage(layout.manifest(HOME, damaged), b"{}")
    world.objects.delete(layout.tag(HOME, Tag("v1")))

    reindex.run(services_of(world))

    assert str(damaged) not in world.listed()
    assert world.home().manifests == 3


def test_a_record_that_cannot_be_read_holds_up_its_repository_alone(caplog: pytest.LogCaptureFixture) -> None:
    world = stored()
    reindex.run(services_of(world))
    world.table.commit(Put(world.artifact(digest_of(SIGNED)).record.key, {"of": "another version"}))
    world.store(image("new"), "new", repository=OTHER)

    reindex.run(services_of(world))

    assert world.shown(OTHER) == world.expected(OTHER)
    assert "library/app" in caplog.text


def test_a_project_that_does_not_exist_is_named() -> None:
    with pytest.raises(LookupError, match="no project nowhere"):
        reindex.run(services_of(World()), "nowhere")


def test_a_function_with_little_time_goes_on_where_it_ended() -> None:
    world = World()
    for number in range(5):
        world.store(image(f"{number}"), "v1", repository=Repository(f"library/app{number}"))
    services = services_of(world)
    ended, calls = False, 0
    while not ended:
        ended = reindex.go_on(services, iter([True, True, False]).__next__)
        calls += 1

    assert calls > 2
    assert repositories.count(world.index, PROJECT) == 5
    assert not reindex.go_on(services, lambda: False)
