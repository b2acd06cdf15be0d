"""Retention policies over Harbor's API: made, changed, run dry and for good, by whoever may."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import orjson
import pytest

from chalicelib.api.http import Response
from chalicelib.jobs import engine
from chalicelib.oci.digests import Digest
from chalicelib.oci.names import Repository
from chalicelib.policy.jobs import Kind
from chalicelib.policy.rbac import Permission
from chalicelib.store import executions, layout, schedules
from chalicelib.store.index import pulls
from chalicelib.store.job_records import DUE
from chalicelib.store.pulls import Pulled
from chalicelib.store.table import Slice
from tests.api.artifacts import Registry
from tests.api.asking import basic
from tests.api.principals import PRIVATE, ROLES, World, as_user

Json = dict[str, Any]


def rule(template: str = "latestPushedK", number: int = 1, tags: str = "**", repositories: str = "**") -> Json:
    """Return a rule as terraform's provider and harborapi send it."""
    return {
        "disabled": False,
        "action": "retain",
        "template": template,
        "params": {} if template == "always" else {template: number},
        "tag_selectors": [
            {"kind": "doublestar", "decoration": "matches", "pattern": tags, "extras": '{"untagged":false}'}
        ],
        "scope_selectors": {
            "repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": repositories}]
        },
    }


def policy(*rules: Json, project: int = 1, cron: str = "") -> Json:
    return {
        "algorithm": "or",
        "rules": list(rules),
        "trigger": {"kind": "Schedule", "settings": {"cron": cron}},
        "scope": {"level": "project", "ref": project},
    }


def shown(sent: Json, number: int) -> Json:
    """Return how a policy comes back that was sent like this and has no schedule."""
    return {**sent, "id": number, "rules": [{"id": 0, "priority": 0, **each} for each in sent["rules"]]}


def scheduled(sent: Json, number: int, at: str) -> Json:
    """Return how a policy comes back that runs next at a time."""
    settings = {**sent["trigger"]["settings"], "next_scheduled_time": at}
    return {**shown(sent, number), "trigger": {**sent["trigger"], "settings": settings}}


@dataclass
class Keeper:
    """A registry with artifacts in `library`, whose jobs a test does."""

    registry: Registry = field(default_factory=Registry)

    def api(self, method: str, path: str, body: object = None, who: Mapping[str, str] | None = None) -> Response:
        return self.registry.api(method, path, body, who)

    def get(self, path: str) -> Any:
        return self.registry.get(path)

    def create(self, sent: Json) -> int:
        answer = self.api("POST", "/retentions", sent)
        assert answer.status == 201, answer.body
        return int(answer.headers["Location"].rpartition("/")[2])

    def later(self, **step: float) -> None:
        self.registry.client.clock.advance(timedelta(**step))

    def images(self, repository: str, *tags: str) -> None:
        """Push an image for each tag, a day apart, so that the last is the newest."""
        for tag in tags:
            self.registry.image(repository, tag, f"{repository} {tag}")
            self.later(days=1)

    def run(self, number: int, *, dry_run: bool = False) -> tuple[int, dict[str, Json]]:
        """Run a policy until all is done; return the execution and its tasks by repository."""
        self.later(seconds=1)
        answer = self.api("POST", f"/retentions/{number}/executions", {"dry_run": dry_run})
        assert answer.status == 201, answer.body
        execution = int(answer.headers["Location"].rpartition("/")[2])
        self.work(execution)
        tasks = self.get(f"/retentions/{number}/executions/{execution}/tasks")
        return execution, {task["repository"]: task for task in tasks}

    def work(self, execution: int) -> None:
        services = self.registry.client.services
        for _ in range(3):
            for task in executions.tasks(services.directory, execution):
                engine.work(services, task.id)

    def tags(self, repository: str) -> list[str]:
        project, _, name = repository.partition("/")
        found = self.get(f"/projects/{project}/repositories/{name}/artifacts?page_size=100")
        return sorted(tag["name"] for artifact in found for tag in artifact.get("tags") or [])

    def log(self, number: int, execution: int, task: Json) -> str:
        answer = self.api("GET", f"/retentions/{number}/executions/{execution}/tasks/{task['id']}")
        assert answer.headers["Content-Type"].startswith("text/plain")
        return answer.body.decode()


def rows(text: str) -> list[list[str]]:
    """Return the cells of the table in a log, but its head."""
    lines = [line.partition("| ")[2].removesuffix(" |") for line in text.splitlines() if line.endswith("|")]
    return [line.split(" | ") for line in lines][1:]


@pytest.fixture
def keeper() -> Keeper:
    return Keeper()


# Policies


def test_a_policy_is_made_read_changed_and_deleted_as_terraform_does_it(keeper: Keeper) -> None:
    sent = policy(rule(), rule("always", tags="latest"), cron="0 0 3 * * *")
    number = keeper.create(sent)

    found = keeper.get(f"/retentions/{number}")
    assert found == scheduled(sent, number, "2026-03-02T03:00:00.000Z")
    # Who changes what he has read sends all of it back.
    assert keeper.api("PUT", f"/retentions/{number}", found).status == 200
    assert keeper.get(f"/retentions/{number}") == found
    assert keeper.get("/projects/library")["metadata"]["retention_id"] == str(number)
    changed = policy(rule("nDaysSinceLastPull", 7), cron="0 0 * * * *")
    assert keeper.api("PUT", f"/retentions/{number}", changed).status == 200
    assert keeper.get(f"/retentions/{number}") == scheduled(changed, number, "2026-03-01T13:00:00.000Z")
    unscheduled = policy(rule(), cron="")
    assert keeper.api("PUT", f"/retentions/{number}", unscheduled).status == 200
    assert keeper.get(f"/retentions/{number}") == shown(unscheduled, number)
    assert keeper.api("DELETE", f"/retentions/{number}").status == 200
    assert "retention_id" not in keeper.get("/projects/library")["metadata"]
    assert keeper.api("GET", f"/retentions/{number}").status == 404
    assert keeper.create(sent) != number


def test_who_takes_its_id_out_of_the_metadata_deletes_the_policy_with_its_schedule(keeper: Keeper) -> None:
    directory = keeper.registry.client.services.directory
    number = keeper.create(policy(rule(), cron="0 0 3 * * *"))
    named = "/projects/library/metadatas/retention_id"
    assert keeper.get(named) == {"retention_id": str(number)}

    assert keeper.api("DELETE", named).status == 200

    assert keeper.api("GET", f"/retentions/{number}").status == 404
    assert schedules.get(directory, Kind.RETENTION, number) is None
    assert keeper.api("DELETE", named).status == 404
    assert keeper.get("/auditlog-exts?q=resource_type=tag-retention,operation=delete")
    # There is place for another one.
    assert keeper.create(policy(rule())) != number


def test_who_may_change_the_metadata_and_no_policy_does_not_take_it_away(keeper: Keeper) -> None:
    number = keeper.create(policy(rule()))
    access = [{"resource": "metadata", "action": action} for action in ("read", "delete")]
    permission = {"kind": "project", "namespace": "library", "access": access}
    robot = {"name": "ci", "level": "project", "duration": 1, "permissions": [permission]}
    made = orjson.loads(keeper.api("POST", "/robots", robot).body)

    answer = keeper.api("DELETE", "/projects/library/metadatas/retention_id", who=basic(made["name"], made["secret"]))

    assert answer.status == 403
    assert keeper.get("/projects/library")["metadata"]["retention_id"] == str(number)


def test_the_schedule_is_that_of_the_policy(keeper: Keeper) -> None:
    directory = keeper.registry.client.services.directory

    def cron(number: int) -> str:
        found = schedules.get(directory, Kind.RETENTION, number)
        return found.cron if found else ""

    number = keeper.create(policy(rule(), cron="0 0 3 * * *"))
    assert cron(number) == "0 0 3 * * *"
    keeper.api("PUT", f"/retentions/{number}", policy(rule(), cron="0 30 * * * *"))
    assert cron(number) == "0 30 * * * *"
    keeper.api("PUT", f"/retentions/{number}", policy(rule()))
    assert cron(number) == ""
    keeper.api("PUT", f"/retentions/{number}", policy(rule(), cron="0 30 * * * *"))
    keeper.api("DELETE", f"/retentions/{number}")
    assert cron(number) == ""


def test_a_project_has_one_policy(keeper: Keeper) -> None:
    number = keeper.create(policy(rule()))

    answer = keeper.api("POST", "/retentions", policy(rule()))

    assert answer.status == 400
    assert f"has the retention policy {number} already".encode() in answer.body


def test_what_others_change_of_the_project_is_no_hindrance(keeper: Keeper) -> None:
    number = keeper.create(policy(rule()))

    keeper.api("PUT", "/projects/library", {"metadata": {"auto_scan": "true", "retention_id": "5"}})

    assert keeper.get("/projects/library")["metadata"]["retention_id"] == str(number)


@pytest.mark.parametrize(
    ("sent", "status", "words"),
    [
        (policy(*[rule(number=n) for n in range(16)]), 400, b"at most 15"),
        (policy(rule(), rule()), 409, b"rules 1 and 2 are the same"),
        (policy(rule("mostLoved")), 400, b"the template of a rule"),
        (policy(rule(number=-1)), 400, b"latestPushedK"),
        (policy(rule(tags="[")), 400, b"the pattern ["),
        (policy(rule(), cron="* * *"), 400, b"six fields"),
        (policy(rule(), project=999_999), 400, b"there is no project"),
        ({**policy(rule()), "scope": {"level": "system", "ref": 1}}, 400, b"scope"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(keeper: Keeper, sent: Json, status: int, words: bytes) -> None:
    answer = keeper.api("POST", "/retentions", sent)

    assert (answer.status, words in answer.body) == (status, True), answer.body


def test_a_policy_does_not_move_to_another_project(keeper: Keeper) -> None:
    number = keeper.create(policy(rule()))
    other = keeper.get("/projects/one")["project_id"]

    assert keeper.api("PUT", f"/retentions/{number}", policy(rule(), project=other)).status == 404


def test_a_project_takes_its_policy_along(keeper: Keeper) -> None:
    keeper.api("POST", "/projects", {"project_name": "brief"})
    number = keeper.create(policy(rule(), project=keeper.get("/projects/brief")["project_id"], cron="0 0 3 * * *"))

    assert keeper.api("DELETE", "/projects/brief").status == 200

    assert keeper.api("GET", f"/retentions/{number}").status == 404
    assert schedules.get(keeper.registry.client.services.directory, Kind.RETENTION, number) is None


def test_everybody_who_is_logged_in_sees_of_what_rules_are_made(keeper: Keeper) -> None:
    found = keeper.get("/retentions/metadatas")

    assert [entry["rule_template"] for entry in found["templates"]] == [
        "latestPushedK",
        "latestPulledN",
        "nDaysSinceLastPush",
        "nDaysSinceLastPull",
        "always",
    ]
    assert found["tag_selectors"][0]["decorations"] == ["matches", "excludes"]
    assert keeper.api("GET", "/retentions/metadatas", who={}).status == 401


# Runs


def test_a_dry_run_says_what_a_run_does(keeper: Keeper) -> None:
    keeper.images("library/app", "v1", "v2", "v3")
    keeper.images("library/team/web", "v1", "v2")
    keeper.images("library/other", "v1", "v2")
    number = keeper.create(policy(rule(), rule("always", tags="v1", repositories="team/**")))
    keeper.api("PUT", f"/retentions/{number}", policy(rule(repositories="{app,team/*}")))

    execution, dry = keeper.run(number, dry_run=True)

    assert {name: (task["total"], task["retained"]) for name, task in dry.items()} == {
        "app": (3, 1),
        "team/web": (2, 1),
    }
    assert keeper.tags("library/app") == ["v1", "v2", "v3"]
    text = keeper.log(number, execution, dry["app"])
    assert [(row[1], row[7], row[8]) for row in rows(text)] == [
        ("v3", "RETAIN", "rule 1"),
        ("v2", "DEL", ""),
        ("v1", "DEL", ""),
    ]

    _, real = keeper.run(number)

    assert {name: (task["total"], task["retained"], task["status"]) for name, task in real.items()} == {
        "app": (3, 1, "Success"),
        "team/web": (2, 1, "Success"),
    }
    assert keeper.tags("library/app") == ["v3"]
    assert keeper.get("/projects/library/repositories/other")["artifact_count"] == 2
    assert keeper.registry.pull("library/app", "v3") == 200
    assert keeper.registry.pull("library/app", "v1") == 404


def test_runs_are_listed_the_latest_first(keeper: Keeper) -> None:
    keeper.images("library/app", "v1")
    number = keeper.create(policy(rule()))
    first, _ = keeper.run(number, dry_run=True)
    second, _ = keeper.run(number)

    listed = keeper.get(f"/retentions/{number}/executions")

    assert [(run["id"], run["dry_run"], run["status"], run["trigger"]) for run in listed] == [
        (second, False, "Success", "MANUAL"),
        (first, True, "Success", "MANUAL"),
    ]
    assert {run["policy_id"] for run in listed} == {number}


def test_an_immutable_tag_stays_and_is_reported(keeper: Keeper) -> None:
    keeper.images("library/app", "v1", "dev", "v2")
    selectors = {name: rule(tags="v1")[name] for name in ("tag_selectors", "scope_selectors")}
    assert keeper.api("POST", "/projects/library/immutabletagrules", selectors).status == 201
    number = keeper.create(policy(rule()))

    execution, tasks = keeper.run(number)

    assert keeper.tags("library/app") == ["v1", "v2"]
    assert (tasks["app"]["total"], tasks["app"]["retained"]) == (3, 2)
    found = {row[1]: row[7] for row in rows(keeper.log(number, execution, tasks["app"]))}
    assert found == {"v2": "RETAIN", "dev": "DEL", "v1": "IMMUTABLE"}


def test_an_artifact_goes_with_its_signature_and_what_an_index_needs_stays(keeper: Keeper) -> None:
    signed = keeper.registry.image("library/app", "old", "signed")
    signature = keeper.registry.sign("library/app", signed)
    key = layout.referrer(Repository("library/app"), Digest.parse(signed), Digest.parse(signature))
    assert keeper.registry.client.objects.keys(key)
    child = keeper.registry.image("library/app", "child", "child")
    keeper.later(days=1)
    keeper.registry.index("library/app", "multi", child)
    number = keeper.create(policy(rule()))

    execution, tasks = keeper.run(number)

    assert keeper.tags("library/app") == ["child", "multi"]
    assert not keeper.registry.client.objects.keys(key)
    text = keeper.log(number, execution, tasks["app"])
    assert f"ERR {child} stays" in text
    assert (tasks["app"]["total"], tasks["app"]["retained"]) == (3, 2)


def test_an_index_that_is_pushed_meanwhile_brings_its_parts_back(keeper: Keeper) -> None:
    """A client pushes the parts first, without tags: to a rule they look like anything that may go."""
    keeper.images("library/app", "v1")
    parts = [keeper.registry.image("library/app", "", name) for name in ("arm64", "amd64")]
    keeper.later(seconds=1)
    keeper.images("library/app", "v2")
    number = keeper.create(policy(rule()))
    _, tasks = keeper.run(number)
    assert (tasks["app"]["total"], tasks["app"]["retained"]) == (4, 1)
    assert keeper.tags("library/app") == ["v2"]

    digest = keeper.registry.index("library/app", "multi", *parts)

    shown = keeper.get("/projects/library/repositories/app/artifacts/multi")
    assert [reference["child_digest"] for reference in shown["references"]] == parts
    for reference in (digest, *parts):
        assert keeper.registry.pull("library/app", reference) == 200
        assert keeper.get(f"/projects/library/repositories/app/artifacts/{reference}")["digest"] == reference
    keeper.run(number)
    assert keeper.tags("library/app") == ["multi"]
    assert [keeper.registry.pull("library/app", part) for part in parts] == [200, 200]


def test_the_time_of_a_pull_counts(keeper: Keeper) -> None:
    keeper.images("library/app", "v1", "v2")
    keeper.later(days=30)
    services = keeper.registry.client.services
    digest = keeper.get("/projects/library/repositories/app/artifacts/v1")["digest"]
    services.pulls.count(Pulled(Repository("library/app"), digest, "v1"), services.now())
    pulls.flush(services.index, services.pulls.take(), lambda _: 1)
    number = keeper.create(policy(rule("nDaysSinceLastPull", 7)))

    keeper.run(number)

    assert keeper.tags("library/app") == ["v1"]


def test_a_run_can_be_stopped_and_nothing_else_done_with_it(keeper: Keeper) -> None:
    keeper.images("library/app", "v1", "v2")
    number = keeper.create(policy(rule()))
    answer = keeper.api("POST", f"/retentions/{number}/executions", {"dry_run": False})
    execution = int(answer.headers["Location"].rpartition("/")[2])
    path = f"/retentions/{number}/executions/{execution}"

    assert keeper.api("PATCH", path, {"action": "hurry"}).status == 400
    assert keeper.api("PATCH", path, {"action": "stop"}).status == 200
    keeper.work(execution)

    assert keeper.get(f"/retentions/{number}/executions")[0]["status"] == "Stopped"
    assert keeper.tags("library/app") == ["v1", "v2"]


def test_one_run_at_a_time(keeper: Keeper) -> None:
    number = keeper.create(policy(rule()))
    keeper.api("POST", f"/retentions/{number}/executions", {"dry_run": False})

    answer = keeper.api("POST", f"/retentions/{number}/executions", {"dry_run": True})

    assert answer.status == 409
    assert b"running already" in answer.body


def test_runs_and_tasks_of_others_are_not_there(keeper: Keeper) -> None:
    keeper.images("library/app", "v1")
    one = keeper.create(policy(rule()))
    other = keeper.create(policy(rule(), project=keeper.get("/projects/one")["project_id"]))
    execution, tasks = keeper.run(one)
    task = tasks["app"]["id"]

    for path in (
        f"/retentions/{other}/executions/{execution}/tasks",
        f"/retentions/{other}/executions/{execution}/tasks/{task}",
        f"/retentions/{one}/executions/{execution}/tasks/{execution}",
        f"/retentions/{one}/executions/5/tasks",
    ):
        assert keeper.api("GET", path).status == 404, path
    assert keeper.api("PATCH", f"/retentions/{other}/executions/{execution}", {"action": "stop"}).status == 404


def test_a_schedule_runs_the_policy(keeper: Keeper) -> None:
    keeper.images("library/app", "v1", "v2")
    number = keeper.create(policy(rule(), cron="0 0 * * * *"))
    services = keeper.registry.client.services
    keeper.later(hours=2)

    for record in services.directory.table.query(DUE, Slice()).entries:
        if "schedule" in record.document:
            schedules.follow(services.directory, record.document["schedule"])
    run = keeper.get(f"/retentions/{number}/executions")[0]
    keeper.work(run["id"])

    assert (run["trigger"], run["dry_run"]) == ("SCHEDULE", False)
    assert keeper.tags("library/app") == ["v2"]


# Rights


def test_each_role_may_do_what_the_table_says_in_its_project_alone() -> None:
    world = World()
    project = orjson.loads(world.api("GET", f"/projects/{PRIVATE}").body)["project_id"]
    sent = policy(rule(), project=project)
    number = int(world.api("POST", "/retentions", sent).headers["Location"].rpartition("/")[2])
    runs = f"/retentions/{number}/executions"

    may = {"projectAdmin", "maintainer", "developer"}
    for name in ROLES:
        for method, path, body in (
            ("GET", f"/retentions/{number}", None),
            ("PUT", f"/retentions/{number}", sent),
            ("GET", runs, None),
            ("POST", "/retentions", sent),
            ("PATCH", f"{runs}/5", {"action": "stop"}),
            ("GET", f"{runs}/5/tasks", None),
            ("GET", f"{runs}/5/tasks/5", None),
        ):
            status = world.api(method, path, body, who=as_user(name)).status
            assert (status != 403) == (name in may), (name, method, path)
            assert world.api(method, path, body, who={}).status == 401
        missing = world.api("GET", "/retentions/999999", who=as_user(name))
        assert missing.status == 403
    assert world.api("GET", "/retentions/999999").status == 404


def test_a_robot_account_may_do_what_it_was_permitted() -> None:
    world = World()
    project = orjson.loads(world.api("GET", f"/projects/{PRIVATE}").body)["project_id"]
    number = int(
        world.api("POST", "/retentions", policy(rule(), project=project)).headers["Location"].rpartition("/")[2]
    )
    reader = world.robot("reader", PRIVATE, [Permission("tag-retention", "read")], "project")
    runner = world.robot("runner", PRIVATE, [Permission("tag-retention", "update")], "project")
    runs = f"/retentions/{number}/executions"

    assert world.api("GET", f"/retentions/{number}", who=reader).status == 200
    assert world.api("POST", runs, {"dry_run": True}, who=reader).status == 403
    assert world.api("GET", f"/retentions/{number}", who=runner).status == 403
    assert world.api("POST", runs, {"dry_run": True}, who=runner).status == 201
