"""The secrets of webhooks follow the key that signs, while people change their policies."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from chalicelib.jobs import engine, reseal
from chalicelib.jobs.steps import Again, Done, Outcome, TaskRun
from chalicelib.policy import webhooks as policy
from chalicelib.policy.jobs import NO_VENDOR, Kind, Trigger
from chalicelib.policy.webhooks import EventType, Notify, Policy, Target
from chalicelib.services import Services
from chalicelib.store import executions, sealed
from chalicelib.store.directory import projects, registries, webhooks
from chalicelib.store.directory.registries import NewRegistry
from chalicelib.store.executions import New
from chalicelib.store.job_logs import read
from chalicelib.store.sealed import SealError
from tests.api.asking import make_projects
from tests.memory import Clock, MemoryObjects, services_over

OLD, NEW, GONE = (letter * 32 for letter in (b"o", b"n", b"g"))
NAMES = ("one", "three", "two")
SECRETS = {"Bearer a", "Bearer b", "k3y"}


@dataclass
class World:
    """A registry with a policy in two of its projects, whose secrets a key has sealed."""

    clock: Clock = field(default_factory=Clock)
    services: Services = field(init=False)

    def __post_init__(self) -> None:
        self.services = services_over(MemoryObjects(self.clock), self.clock)
        make_projects(self.services, NAMES)
        self.sign_with(OLD)

    def sign_with(self, key: bytes, *others: bytes) -> None:
        settings = replace(self.services.settings, signing_key=key, other_keys=others)
        self.services = replace(self.services, settings=settings)

    def project(self, name: str) -> int:
        found = projects.find(self.services.directory, name)
        assert found
        return found.id

    def add(self, project: str, **fields: Any) -> int:
        targets = tuple(Target(Notify.HTTP, "https://a.example", each) for each in ("Bearer a", "Bearer b", ""))
        made = replace(Policy("ci", targets, (EventType.PUSHED,), signing_secret="k3y"), **fields)
        keys = self.services.settings.signing_keys
        hidden = policy.with_secrets(made, lambda secret: sealed.seal(keys, secret))
        return webhooks.create(self.services.directory, self.project(project), hidden, "admin")

    def secrets(self, name: str, key: bytes) -> set[str]:
        """Return the secrets of a project's policies that a key opens."""
        found = set[str]()

        def opened(secret: str) -> str:
            try:
                found.add(sealed.unseal([key], secret))
            except SealError:
                return ""
            return secret

        for stored in webhooks.all_of(self.services.directory, self.project(name)):
            policy.with_secrets(stored.policy, opened)
        return found

    def step(self, cursor: Mapping[str, Any] | None = None, more: Callable[[], bool] = lambda: True) -> Outcome:
        task = TaskRun(
            1, 1, NO_VENDOR, Trigger.SCHEDULE, {}, cursor or {}, self.services.directory, more, lambda: False
        )
        return reseal.step(self.services, task, size=1)


@pytest.fixture
def world() -> World:
    return World()


def test_after_a_pass_the_key_before_can_go(world: World) -> None:
    world.add("one")
    world.add("two", enabled=False)
    world.sign_with(NEW, OLD)

    assert world.step() == Done({"sealed": 2, "lost": 0})

    for name in ("one", "two"):
        assert world.secrets(name, NEW) == SECRETS
        assert world.secrets(name, OLD) == set()
    assert world.step() == Done({"sealed": 0, "lost": 0})


def test_nothing_is_renewed_before_the_new_key_signs(world: World) -> None:
    world.add("one")
    for keys in ((OLD,), (OLD, NEW)):
        world.sign_with(*keys)
        assert world.step() == Done({"sealed": 0, "lost": 0})
        assert world.secrets("one", OLD) == SECRETS


def test_what_no_key_opens_stays_and_is_told(world: World) -> None:
    number = world.add("one")
    world.sign_with(NEW)
    world.add("one", name="other")
    before = webhooks.by_id(world.services.directory, number)
    world.sign_with(GONE, NEW)

    assert world.step() == Done({"sealed": 1, "lost": 3})
    assert webhooks.by_id(world.services.directory, number) == before
    assert "one: set the secrets of its webhooks again" in read(world.services.directory, 1)


def test_a_pass_goes_on_where_it_was_cut_off(world: World) -> None:
    for name in NAMES:
        world.add(name)
    world.sign_with(NEW, OLD)
    cursor: Mapping[str, Any] | None = None
    steps = 0
    while isinstance(outcome := world.step(cursor, lambda: False), Again):
        cursor, steps = outcome.cursor, steps + 1

    assert (outcome.report, steps) == ({"sealed": 3, "lost": 0}, 3)
    assert all(world.secrets(name, NEW) == SECRETS for name in NAMES)


def test_who_changes_a_policy_meanwhile_wins_and_who_deletes_the_project_too(world: World) -> None:
    number = world.add("one")
    directory, project = world.services.directory, world.project("one")
    world.sign_with(NEW, OLD)
    stored = webhooks.by_id(directory, number)
    assert stored
    changed = replace(stored.policy, signing_secret=sealed.seal([NEW], "other"))
    once = iter([True])

    def become(secret: str) -> str:
        if next(once, False):
            webhooks.change(directory, stored, changed)
        return sealed.renewed([NEW, OLD], secret)

    assert webhooks.renew(directory, project, become) == 1
    assert world.secrets("one", NEW) == {"Bearer a", "Bearer b", "other"}


def test_the_registry_does_it_every_hour(world: World) -> None:
    world.add("one")
    world.sign_with(NEW, OLD)
    executions.begin(world.services.directory, New(Kind.SECRETS, NO_VENDOR, Trigger.MANUAL, {}))
    [task] = executions.active(world.services.directory)

    engine.work(world.services, task.id)

    found = executions.get(world.services.directory, task.execution_id)
    assert found
    assert found.extra_attrs["sealed"] == 1


def test_the_secrets_of_other_registries_follow_the_key(world: World) -> None:
    directory = world.services.directory
    for name, key in (("hub", OLD), ("lost", GONE), ("open", None)):
        secret = sealed.seal([key], "s3cret") if key else ""
        registries.create(directory, NewRegistry(name, "docker-registry", "https://a.example", secret=secret), "")
    world.sign_with(NEW, OLD)

    assert world.step() == Done({"sealed": 1, "lost": 1})
    found = registries.named(directory, "hub")
    assert found
    assert sealed.unseal([NEW], found.secret) == "s3cret"
