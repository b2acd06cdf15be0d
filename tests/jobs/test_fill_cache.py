"""What completes a cache of another registry: beside another one and the collector, whole or not at all."""

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from chalicelib.jobs import fill_cache
from chalicelib.jobs.steps import Again, Done, Outcome, TaskRun
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import RegistryError
from chalicelib.oci.names import Repository, Tag
from chalicelib.policy import replication as rules
from chalicelib.policy.jobs import Kind, Trigger
from chalicelib.policy.webhook_payloads import Happened
from chalicelib.policy.webhooks import EventType, Notify, Policy, Target
from chalicelib.services import Services
from chalicelib.store import blobs, cached, executions, holds, layout, manifests
from chalicelib.store.blobs import Blob
from chalicelib.store.content import GRACE
from chalicelib.store.directory import members, projects, registries, replication, webhooks
from chalicelib.store.directory.members import Kind as Member
from chalicelib.store.directory.members import Who
from chalicelib.store.directory.projects import NewProject
from chalicelib.store.directory.registries import NewRegistry
from chalicelib.store.directory.users import ADMINISTRATOR, ADMINISTRATOR_ID
from chalicelib.store.notifications import HAPPENED
from tests.jobs.collecting import collect
from tests.memory import Clock, Inline, MemoryObjects, services_over
from tests.store.client import image, index
from tests.store.faults import Fault, every_fault
from tests.store.schedule import Action, Choose, every_order_with, interleave

HUB, TAG = Repository("hub/app"), Tag("v1")
CONFIG, LAYER = b"{}", b"layer"
IMAGE = image(CONFIG, [LAYER])
LONG = GRACE + timedelta(seconds=1)


class World:
    """A bucket in which an image waits to be made an artifact: its blobs came long ago."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.bucket = MemoryObjects(self.clock)
        self.services = self.process()[1]
        directory, content = self.services.directory, self.services.content
        number = registries.create(directory, NewRegistry("there", "docker-registry", "http://there.test"), "healthy")
        new = NewProject("hub", ADMINISTRATOR_ID, ADMINISTRATOR, {"public": "true"}, {}, registry_id=number)
        projects.create(directory, new, members.founding(Who(Member.USER, ADMINISTRATOR_ID, ADMINISTRATOR)))
        for name, each in (("1", CONFIG), ("2", LAYER)):
            content.objects.put(layout.data(name), each)
            blob = blobs.register(content, Digest.of(each), Blob(layout.data(name), len(each)))
            blobs.hold(content, HUB, Digest.of(each), blob)
            # What goes meanwhile is fetched by somebody else: there is no network here.
            holds.take(directory, f"fetch/{HUB}@{Digest.of(each)}", 10**6)
        self.clock.advance(LONG)
        cached.keep(content, HUB, IMAGE.digest, IMAGE.media_type, IMAGE.content)
        cached.note(content, HUB, TAG, IMAGE.digest)

    def process(self) -> tuple[MemoryObjects, Services]:
        own = self.bucket.beside()
        return own, services_over(own, self.clock, pool=Inline())

    def look(self) -> bool:
        """Tell whether the image is listed, and then all of it is there; if not, it still waits or is gone."""
        content = self.services.content
        listed = content.objects.head(layout.tag(HUB, TAG)) is not None
        if listed:
            assert manifests.get(content, HUB, TAG).content == IMAGE.content
            for each in (CONFIG, LAYER):
                blob = blobs.require(content, HUB, Digest.of(each))
                assert b"".join(content.objects.read(blob.key)) == each
        else:
            assert cached.find(content, HUB, IMAGE.digest)
        return listed


def fill(services: Services) -> Outcome:
    task = TaskRun(
        1,
        1,
        1,
        Trigger.EVENT,
        {"repository": HUB.name, "patience": 0},
        {},
        services.directory,
        lambda: True,
        lambda: False,
    )
    return fill_cache.step(services, task)


def test_an_image_that_is_whole_becomes_an_artifact() -> None:
    world = World()

    assert isinstance(fill(world.services), Done)
    assert world.look()
    assert not world.bucket.keys(layout.all_cached(HUB))
    assert not world.bucket.keys(layout.all_noted(HUB))


def test_an_image_that_becomes_an_artifact_is_told_with_the_address_that_it_is_pulled_from() -> None:
    world = World()
    settings = replace(world.services.settings, public_url="https://registry.example.com:8443")
    services = replace(world.services, settings=settings)
    project = projects.find(services.directory, "hub")
    assert project
    target = Target(Notify.HTTP, "https://hooks.example.com")
    policy = webhooks.create(services.directory, project.id, Policy("ci", (target,), (EventType.PUSHED,)), "admin")

    assert isinstance(fill(services), Done)

    [told] = executions.page(services.directory, Kind.WEBHOOK, policy).entries
    happened = Happened.of(told.parameters[HAPPENED])
    assert (happened.host, happened.repository, happened.reference, happened.operator) == (
        "registry.example.com:8443",
        HUB.name,
        TAG.name,
        "harbor#proxy-cache-service",
    )


def mirror(world: World) -> int:
    """Return a policy that copies what changes to yet another registry."""
    directory = world.services.directory
    number = registries.create(directory, NewRegistry("mirror", "harbor", "http://mirror.test"), "healthy")
    sent = {"name": "out", "dest_registry": {"id": number}, "enabled": True, "trigger": {"type": "event_based"}}
    return replication.create(directory, rules.parse(sent), "admin")


def copied(world: World, policy: int) -> list[tuple[str, list[str]]]:
    """Return the digests that the policy was begun for, and their tags: the latest first."""
    directory = world.services.directory
    begun = executions.page(directory, Kind.REPLICATION, policy).entries
    tasks = [task for each in begun for task in executions.tasks(directory, each.id)]
    assert {task.parameters["repository"] for task in tasks} == {HUB.name}
    return [(item["digest"], item["tags"]) for task in tasks for item in task.parameters["only"]]


def test_an_image_that_becomes_an_artifact_is_replicated_by_whom_events_begin() -> None:
    world = World()
    policy = mirror(world)

    assert isinstance(fill(world.services), Done)

    assert copied(world, policy) == [(str(IMAGE.digest), [TAG.name])]


def test_parts_are_replicated_with_their_index_and_those_that_come_later_by_themselves() -> None:
    world = World()
    content, policy = world.services.content, mirror(world)
    later = image(CONFIG, [LAYER], annotations={"of": "another platform"})
    both = index([IMAGE, later])
    cached.forget(content, next(iter(cached.notes(content, HUB))))
    cached.keep(content, HUB, both.digest, both.media_type, both.content)
    cached.note(content, HUB, TAG, both.digest)

    assert isinstance(fill(world.services), Done)
    assert copied(world, policy) == [(str(both.digest), [TAG.name])]
    world.clock.advance(timedelta(seconds=1))
    cached.keep(content, HUB, later.digest, later.media_type, later.content)
    assert isinstance(fill(world.services), Done)

    assert copied(world, policy) == [(str(later.digest), []), (str(both.digest), [TAG.name])]


def test_what_is_missing_is_waited_for_while_somebody_fetches_it() -> None:
    world = World()
    world.services.content.objects.delete(layout.link(HUB, Digest.of(LAYER)))

    assert isinstance(fill(world.services), Again)
    assert not world.look()


def test_what_nobody_completed_for_a_week_is_dropped() -> None:
    world = World()
    world.services.content.objects.delete(layout.link(HUB, Digest.of(LAYER)))
    cached.note(world.services.content, HUB, Tag("looked-at"), Digest.of(b"never pulled"))
    world.clock.advance(timedelta(days=8))

    assert isinstance(fill(world.services), Done)
    assert not world.bucket.keys(layout.all_cached(HUB))
    assert not world.bucket.keys(layout.all_noted(HUB))


def _race(choose: Choose) -> None:
    world = World()
    one, two, other = world.process(), world.process(), world.process()

    interleave(
        [
            Action(one[0], lambda: fill(one[1])),
            Action(two[0], lambda: fill(two[1])),
            Action(other[0], lambda: collect(other[1])),
        ],
        choose,
    )

    for _ in range(2):
        listed = world.look()
        world.clock.advance(LONG)
        collect(world.services)
        if listed:
            assert world.look()


def test_two_who_complete_one_image_beside_the_collector_leave_it_whole_or_not_listed() -> None:
    assert every_order_with(1, _race) >= 30


@pytest.mark.soak
def test_two_who_complete_one_image_beside_the_collector_leave_it_whole_in_more_orders() -> None:
    assert every_order_with(2, _race) >= 500


def test_wherever_a_worker_fails_the_next_one_completes_the_image() -> None:
    def scenario(fault: Fault) -> None:
        world = World()
        objects, services = world.process()
        with fault.on(objects), suppress(RegistryError):
            fill(services)
        world.look()
        fill(world.services)

        assert world.look(), fault
        assert not world.bucket.keys(layout.all_cached(HUB)), fault

    assert every_fault(scenario) > 60
