"""The retention job: interrupted anywhere it ends as if it had not been, and what is pushed beside it stays."""

from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from chalicelib.jobs import engine
from chalicelib.jobs.engine import LEASE_SECONDS
from chalicelib.policy import retention as rules
from chalicelib.policy.jobs import Kind, Status, Trigger
from chalicelib.services import Services
from chalicelib.store import executions, schedules
from chalicelib.store.directory import retention
from chalicelib.store.executions import New, Task
from chalicelib.store.index import repositories
from tests.api.artifacts import Registry
from tests.api.test_retentions import policy, rule
from tests.store import faults
from tests.store.faults import Fault

APP = "library/app"
Json = dict[str, Any]


@dataclass
class World:
    """A registry with a policy that keeps the two images pushed last, of the repositories that a test fills."""

    registry: Registry = field(default_factory=Registry)
    sent: Json = field(default_factory=lambda: policy(rule(number=2)))
    number: int = field(init=False)
    execution: int = 0

    def __post_init__(self) -> None:
        self.number = retention.create(self.services.directory, rules.parse(self.sent))

    @property
    def services(self) -> Services:
        return self.registry.client.services

    def pass_by(self, **step: float) -> None:
        self.registry.client.clock.advance(timedelta(**step))

    def images(self, *tags: str, repository: str = APP) -> None:
        for tag in tags:
            self.registry.image(repository, tag, f"{repository} {tag}")
            self.pass_by(days=1)

    def start(self, **parameters: object) -> None:
        self.pass_by(seconds=1)
        new = New(Kind.RETENTION, self.number, Trigger.MANUAL, parameters, "admin")
        self.execution = executions.begin(self.services.directory, new)

    def tasks(self) -> list[Task]:
        return list(executions.tasks(self.services.directory, self.execution))

    def of(self, repository: str) -> Task:
        return next(task for task in self.tasks() if task.parameters.get("repository") == repository)

    def work(self, looks: int = 1000) -> None:
        """Let every task that is not done be worked at until nothing is left, a lease apart.

        A worker finds that its time is over when it has looked so often.
        """
        for _ in range(100):
            active = [task for task in self.tasks() if task.active]
            if not active:
                return
            for task in active:
                engine.work(self.services, task.id, partial(next, iter([True] * looks), False))
            self.pass_by(seconds=LEASE_SECONDS + 1)
        pytest.fail("the execution does not end")

    def tags(self, repository: str = APP) -> set[str]:
        prefix = f"repositories/{repository}/_tags/"
        return {key.removeprefix(prefix) for key in self.registry.client.objects.keys(prefix)}


def test_without_time_it_goes_on_step_by_step_to_the_same_end() -> None:
    world = World()
    world.images("1", "2", "3", "4")
    world.start()

    world.work(looks=2)

    assert world.tags() == {"3", "4"}
    assert world.of("app").extra_attrs == {"total": 4, "retained": 2}


def test_a_worker_that_is_killed_at_any_request_to_the_bucket_leaves_the_rest_to_the_next() -> None:
    for number in range(1, 100):
        world = World()
        world.images("1", "2", "3", "4")
        world.start()
        struck = _killed_at(world, number)

        world.work()

        assert world.tags() == {"3", "4"}, number
        assert world.of("app").status is Status.SUCCESS
        assert world.of("app").extra_attrs == {"total": 4, "retained": 2}, number
        if not struck:
            assert number > 10
            return
    pytest.fail("it never ended")


def _killed_at(world: World, number: int) -> bool:
    """Work until the request of this number, and vanish; tell whether there was such a request."""
    objects, fault = world.registry.client.objects, Fault(faults.Kind.KILLED_BEFORE, number)
    with fault.on(objects):
        for _ in range(3):
            for task in world.tasks():
                engine.work(world.services, task.id)
    objects.before = lambda _operation, _key: None
    world.pass_by(seconds=LEASE_SECONDS + 1)
    return fault.struck


def test_a_tag_that_was_pushed_since_the_decision_keeps_its_artifact() -> None:
    world = World()
    world.images("1", "2", "3", "4")
    world.start()
    objects, once = world.registry.client.objects, iter([True])

    def before(operation: str, key: str) -> None:  # noqa: ARG001 - a hook has these parameters
        if operation == "delete_if" and next(once, False):
            # The newest goes first; the oldest gets a tag before its turn.
            world.registry.image(APP, "rescued", f"{APP} 1")

    objects.before = before
    world.work()

    assert world.tags() == {"1", "rescued", "3", "4"}
    assert world.of("app").extra_attrs == {"total": 4, "retained": 3}
    assert "a tag that is immutable, or was pushed since" in (
        executions.log(world.services.directory, world.of("app").id) or ""
    )


def test_a_task_for_each_repository_however_many() -> None:
    world = World(sent=policy(rule(number=1, repositories="r*")))
    home = world.services
    for number in range(45):
        world.registry.image(f"library/r{number}", "v1", "same")
    world.registry.image("library/other", "v1", "same")
    assert len(repositories.all_of(home.index, 1)) == 46
    world.start(dry_run=True)

    world.work(looks=2)

    named = {task.parameters["repository"] for task in world.tasks() if "repository" in task.parameters}
    assert named == {f"r{number}" for number in range(45)}
    assert len(world.tasks()) == 46
    found = executions.get(world.services.directory, world.execution)
    assert found
    assert found.status is Status.SUCCESS


def test_for_a_policy_that_is_gone_nothing_is_done_and_no_schedule_left() -> None:
    world = World()
    world.images("1", "2", "3")
    world.start()
    directory = world.services.directory
    schedules.set(directory, Kind.RETENTION, world.number, "0 0 * * * *", {})
    stored = retention.by_id(directory, world.number)
    assert stored
    retention.delete(directory, stored)

    world.work()

    assert world.tags() == {"1", "2", "3"}
    assert schedules.get(directory, Kind.RETENTION, world.number) is None


def test_a_repository_that_is_gone_meanwhile_is_no_failure() -> None:
    world = World()
    world.images("1", "2", "3")
    world.start()
    engine.work(world.services, world.tasks()[0].id)
    world.registry.api("DELETE", "/projects/library/repositories/app")

    world.work()

    assert world.of("app").status is Status.SUCCESS
    assert world.of("app").extra_attrs == {"total": 0, "retained": 0}


def test_the_rules_of_a_project_are_about_the_whole_name_of_a_repository_below_it() -> None:
    deep = "library/team/apps/web"
    world = World()
    world.images("1", "2", "3", "4", repository=deep)
    world.images("1", "2", "3", repository="library/web")
    fixed = {
        "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": "1"}],
        "scope_selectors": {
            "repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "team/**"}]
        },
    }
    assert world.registry.api("POST", "/projects/library/immutabletagrules", fixed).status == 201
    world.start()

    world.work()

    assert world.tags(deep) == {"1", "3", "4"}
    assert world.tags("library/web") == {"2", "3"}


def test_the_deletions_are_in_the_audit_log() -> None:
    world = World()
    world.images("1", "2", "3")
    world.start()
    world.work()

    logs = world.registry.get("/auditlog-exts?q=username=retention")

    assert [(entry["operation"], entry["resource_type"]) for entry in logs] == [("delete", "artifact")]
