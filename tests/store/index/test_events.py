"""What the index shows after pushes, moved tags and deletes: what S3 has, under Harbor's rules of what is listed."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import count

from chalicelib.oci.digests import Digest
from chalicelib.oci.names import Tag
from chalicelib.store import layout, manifests
from chalicelib.store.index import artifacts, events, removal, repositories
from tests.store.index.world import CONFIG_TYPE, HOME, PROJECT, World, descriptor, digest_of, image, index_of


def test_a_push_shows_the_image_its_tag_and_its_repository() -> None:
    world = World()

    digest = world.push(image("one"), "v1", "latest")

    assert world.shown() == world.expected()
    assert world.listed() == [str(digest)]
    found = world.artifact(digest).document
    assert (found["type"], found["media_type"]) == ("IMAGE", CONFIG_TYPE)
    assert world.attributes(digest) == {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["one"]}}
    assert repositories.count(world.index, PROJECT) == 1
    assert world.home().bytes == found["bytes"] == found["size"]


def test_pushing_again_changes_no_id_and_no_time() -> None:
    world = World()
    digest = world.push(image("one"), "v1")
    before = world.artifact(digest), artifacts.find_tag(world.index, world.home(), "v1")

    world.clock.advance(timedelta(hours=1))
    world.push(image("one"), "v1")

    assert (world.artifact(digest), artifacts.find_tag(world.index, world.home(), "v1")) == before


def test_a_tag_that_moves_keeps_its_id_and_leaves_the_older_image_listed() -> None:
    world = World()
    old = world.push(image("old"), "latest")
    before = artifacts.find_tag(world.index, world.home(), "latest")
    world.clock.advance(timedelta(hours=1))

    new = world.push(image("new"), "latest")

    after = artifacts.find_tag(world.index, world.home(), "latest")
    assert before
    assert after
    assert (after.id, after.digest) == (before.id, str(new))
    assert after.pushed > before.pushed
    assert world.listed() == [str(new), str(old)]
    assert world.shown() == world.expected()


def test_the_children_of_an_index_are_listed_only_with_a_tag_of_their_own() -> None:
    world = World()
    arm, intel = image("arm"), image("intel")
    world.push(arm)
    world.push(intel, "intel")

    together = world.push(index_of(arm, intel), "v1")

    assert sorted(world.listed()) == sorted([str(together), str(digest_of(intel))])
    world.untag("intel")
    assert world.listed() == [str(together)]
    size = sum(world.artifact(digest_of(child)).document["size"] for child in (arm, intel))
    assert world.artifact(together).document["size"] == size + world.artifact(together).document["bytes"]
    assert world.shown() == world.expected()

    world.delete(together)

    assert sorted(world.listed()) == sorted(map(str, (digest_of(arm), digest_of(intel))))
    assert world.shown() == world.expected()


def test_a_child_that_is_pushed_after_its_index_is_not_listed() -> None:
    world = World()
    here, later = image("here"), image("later")
    world.push(here)
    together = world.push(index_of(here, later), "v1")

    world.push(later)

    assert world.listed() == [str(together)]
    assert artifacts.parents(world.index, world.home(), str(digest_of(later))) == (str(together),)


def test_an_index_of_many_children_is_written_in_steps() -> None:
    world = World()
    children = [image(f"child {number}") for number in range(130)]
    for child in children:
        world.push(child)

    together = world.push(index_of(*children), "all")

    assert world.listed() == [str(together)]
    assert world.shown() == world.expected()
    world.delete(together)
    assert world.home().artifacts == len(children)
    assert world.shown() == world.expected()


def test_a_signature_is_an_accessory_of_its_subject_and_not_listed() -> None:
    world = World()
    signed = world.push(image("signed"), "v1")
    kind = "application/vnd.dev.cosign.artifact.sig.v1+json"

    signature = world.push(image("signature", subject=signed, artifactType=kind), "a-tag-changes-nothing")

    assert world.listed() == [str(signed)]
    accessory = artifacts.accessories(world.index, world.home(), str(signed)).entries[0]
    assert (accessory.type, accessory.digest) == ("signature.cosign", str(signature))
    assert accessory.id == world.artifact(signature).id
    world.delete(signature)
    assert artifacts.accessories(world.index, world.home(), str(signed)).entries == ()
    assert world.shown() == world.expected()


def test_the_tag_of_a_cosign_signature_makes_an_accessory_and_its_end_unmakes_it() -> None:
    world = World()
    signed = world.push(image("signed"), "v1")
    tag = f"sha256-{signed.hex}.sig"

    old = world.push(image("old signature"), tag)
    assert world.listed() == [str(signed)]
    new = world.push(image("new signature"), tag)

    assert sorted(world.listed()) == sorted([str(signed), str(old)])
    assert world.shown() == world.expected()
    world.untag(tag)
    assert sorted(world.listed()) == sorted(map(str, (signed, old, new)))
    assert world.shown() == world.expected()


def test_a_deleted_manifest_takes_its_tags_along() -> None:
    world = World()
    digest = world.push(image("one"), *(f"v{number}" for number in range(40)))
    other = world.push(image("other"), "other")

    world.delete(digest)

    assert world.listed() == [str(other)]
    assert world.shown() == world.expected()


def test_telling_of_a_delete_asks_s3_for_each_tag_once_whatever_was_left_behind() -> None:
    world = World()
    digest = world.push(image("one"), *(f"v{number:03}" for number in range(100)))
    manifests.delete(world.index.content, HOME, digest)
    world.objects.asked.clear()

    events.deleted(world.index, PROJECT, HOME, digest)

    # Each tag after its record went, and the manifest before and after.
    assert len(world.objects.asked) == 100 + 2


def test_who_reports_late_finds_out_what_s3_has_by_now() -> None:
    world = World()
    first, second = image("first"), image("second")
    world.store(first, "latest")
    world.store(second, "latest")

    world.push(second, "latest")
    events.retagged(world.index, PROJECT, HOME, {"latest": str(digest_of(first))})
    events.untagged(world.index, PROJECT, HOME, Tag("latest"))
    events.deleted(world.index, PROJECT, HOME, digest_of(second))
    events.found(world.index, PROJECT, HOME, digest_of(first))
    events.found(world.index, PROJECT, HOME, Digest.of(b"never pushed"))

    assert world.shown() == world.expected()


def test_a_delete_of_what_is_pushed_again_at_once_leaves_it_in_the_index() -> None:
    world = World()
    digest = world.push(image("one"), "v1")
    manifests.delete(world.index.content, HOME, digest)
    world.store(image("one"), "v2")

    events.deleted(world.index, PROJECT, HOME, digest)
    events.retagged(world.index, PROJECT, HOME, {"v1": "", "v2": str(digest)})

    assert world.shown() == world.expected()


def test_a_removed_repository_is_gone_everywhere_and_one_made_anew_is_empty() -> None:
    world = World()
    for number in range(3):
        world.push(image(f"image {number}"), f"v{number}")
    old = world.home()

    removal.remove(world.index, PROJECT, HOME)

    assert repositories.find(world.index, PROJECT, HOME) is None
    assert repositories.count(world.index, PROJECT) == 0
    assert world.objects.keys("catalog/") == ()
    assert world.objects.keys(layout.manifests(HOME)) == world.objects.keys(layout.tags(HOME)) == ()
    world.push(image("image 1"), "v1")
    assert world.home().id != old.id
    assert world.home().pulls == 0
    assert world.shown() == world.expected()


def test_what_is_pushed_while_its_repository_is_removed_is_in_the_catalog_and_in_the_index() -> None:
    world = World()
    world.push(image("old"), "v1")

    def push_now(operation: str, key: str) -> None:
        if operation == "delete" and key.startswith("catalog/"):
            world.objects.before = lambda _operation, _key: None
            world.push(image("new"), "v2")

    world.objects.before = push_now
    removal.remove(world.index, PROJECT, HOME)

    assert world.shown() == world.expected()
    assert artifacts.find_tag(world.index, world.home(), "v2")
    assert world.objects.keys("catalog/") == ("catalog/library!app",)


def test_a_tag_that_is_pushed_anew_while_its_repository_is_removed_has_its_manifest() -> None:
    for number in count():
        world = World()
        world.push(image("old"), "v1")
        requests = iter(range(number, -1, -1))

        def push(_operation: str, _key: str, world: World = world, left: Iterator[int] = requests) -> None:
            if next(left, None) == 0:
                world.push(image("old"), "v2")

        world.objects.before = push
        removal.remove(world.index, PROJECT, HOME)
        if next(requests, None) is not None:
            break

        tagged = world.objects.head(layout.tag(HOME, Tag("v2"))) is not None
        stored = manifests.is_stored(world.index.content, HOME, digest_of(image("old")))
        assert tagged <= stored
    assert number > 5


def test_what_clients_write_at_length_does_not_overflow_a_record() -> None:
    world = World()
    config = {"architecture": "amd64", "config": {"Env": ["x" * 500_000], "Cmd": ["short"]}}
    annotations = {f"name {number}": "y" * 1000 for number in range(1000)}

    digest = world.push(image("long", config=config, annotations=annotations), "v1")

    found = world.artifact(digest).document
    assert world.attributes(digest)["architecture"] == "amd64"
    assert 10 < len(found["annotations"]) < 60


def test_a_config_that_is_no_json_costs_only_its_attributes() -> None:
    world = World()
    document = image("odd")
    document["config"] = descriptor(b"no json", CONFIG_TYPE) | {"data_of_test": "no json"}

    digest = world.push(document, "v1")

    assert world.attributes(digest) == {"config": {}}


def test_what_a_config_says_is_read_once_when_somebody_looks() -> None:
    world = World()
    digest = world.push(image("one"), "v1")
    assert world.artifact(digest).document["extra_attrs"] is None

    first = world.attributes(digest)

    assert world.artifact(digest).document["extra_attrs"] == first
    world.objects.asked.clear()
    assert world.attributes(digest) == first
    assert world.objects.asked == []
