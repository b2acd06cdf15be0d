"""Webhooks over Harbor's API: policies made, changed and deleted, and what a real receiver gets of what happens."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import orjson
import pytest

from chalicelib.api.http import Response
from chalicelib.jobs import engine, pulled
from chalicelib.jobs.webhook import SIGNATURE, TIMESTAMP, signature
from chalicelib.oci.digests import Digest
from chalicelib.policy.jobs import Status
from chalicelib.policy.webhooks import HIDDEN, MOST_POLICIES, EventType
from chalicelib.store import executions
from chalicelib.store.directory import audit
from chalicelib.store.directory.audit import ALL
from chalicelib.store.table import Slice, every
from tests.api.artifacts import Registry
from tests.api.asking import Client
from tests.api.principals import PRIVATE, World, as_user
from tests.policy import consumers
from tests.policy.consumers import Image
from tests.store.index.tables import CountingTable
from tests.store.receiver import Receiver, receiving, with_status

Json = dict[str, Any]
HOOKS = "/projects/library/webhook"
POLICIES = f"{HOOKS}/policies"


def policy(address: str = "https://hooks.example.com/x", *events: str, **fields: Any) -> Json:
    target = {"type": "http", "address": address, "auth_header": "Bearer s3cret", "skip_cert_verify": False}
    return {
        "name": "ci",
        "description": "",
        "enabled": True,
        "event_types": list(events or ("PUSH_ARTIFACT",)),
        "targets": [{**target, "payload_format": "Default"}],
        **fields,
    }


@dataclass
class Hooked:
    """A registry whose jobs a test does, and a receiver on this machine, which it may reach."""

    receiver: Receiver
    registry: Registry = field(default_factory=Registry)

    def __post_init__(self) -> None:
        client = self.registry.client
        settings = replace(client.services.settings, private_targets=("127.0.0.1",))
        client.services = replace(client.services, settings=settings)

    @property
    def client(self) -> Client:
        return self.registry.client

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.receiver.port}/hook?x=1"

    def api(self, method: str, path: str, body: object = None, who: Mapping[str, str] | None = None) -> Response:
        return self.registry.api(method, path, body, who)

    def create(self, sent: Json) -> int:
        answer = self.api("POST", POLICIES, sent)
        assert answer.status == 201, answer.body
        return int(answer.headers["Location"].rpartition("/")[2])

    def work(self) -> None:
        """Do every task that waits, at its time."""
        for _ in range(10):
            self.client.clock.advance(timedelta(seconds=100))
            for task in executions.active(self.client.services.directory):
                engine.work(self.client.services, task.id)

    def told(self) -> list[Json]:
        self.work()
        return [orjson.loads(taken.content) for taken in self.receiver.taken]


@pytest.fixture
def hooked() -> Iterator[Hooked]:
    with receiving() as receiver:
        yield Hooked(receiver)


def test_what_can_be_asked_for_is_harbor_s(hooked: Hooked) -> None:
    events = hooked.registry.get(f"{HOOKS}/events")

    assert events["event_type"] == [
        "PUSH_ARTIFACT",
        "PULL_ARTIFACT",
        "DELETE_ARTIFACT",
        "QUOTA_EXCEED",
        "QUOTA_WARNING",
        "SCANNING_FAILED",
        "SCANNING_STOPPED",
        "SCANNING_COMPLETED",
        "REPLICATION",
        "TAG_RETENTION",
    ]
    assert events["notify_type"] == ["http", "slack"]
    assert events["payload_formats"] == [{"notify_type": "http", "formats": ["Default", "CloudEvents"]}]


def test_a_policy_is_made_shown_changed_and_deleted(hooked: Hooked) -> None:
    number = hooked.create(policy())
    shown = hooked.registry.get(f"{POLICIES}/{number}")
    assert {**policy(), "id": number, "project_id": 1, "creator": "admin"}.items() <= shown.items()

    changed = policy("https://other.example.com", "DELETE_ARTIFACT", name="other", enabled=False)
    assert hooked.api("PUT", f"{POLICIES}/{number}", changed).status == 200
    [listed] = hooked.registry.get(POLICIES)
    assert changed.items() <= listed.items()

    assert hooked.api("DELETE", f"{POLICIES}/{number}").status == 200
    assert hooked.registry.get(POLICIES) == []
    for method, body in (("GET", None), ("PUT", changed), ("DELETE", None)):
        assert hooked.api(method, f"{POLICIES}/{number}", body).status == 404
    assert hooked.api("GET", f"{POLICIES}/{number}/executions").status == 404
    logged = audit.page(hooked.client.services.directory, ALL, Slice()).entries
    about = [each.event.operation for each in logged if each.event.resource_type == "notification-policy"]
    assert sorted(about) == ["create", "delete", "update"]


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"name": " "}, "name"),
        ({"targets": []}, "targets"),
        ({"targets": [7]}, "target"),
        ({"event_types": []}, "event_types"),
        ({"event_types": ["PUSH"]}, "PUSH_ARTIFACT"),
        ({"enabled": "yes"}, "enabled"),
        ({"signing_secret": 7}, "signing_secret"),
        ({"targets": [{"type": "mail", "address": "https://a.example"}]}, "http, slack"),
        ({"targets": [{"type": "http", "address": "ftp://a.example"}]}, "http://"),
        ({"targets": [{"type": "http", "address": "https://u:p@a.example"}]}, "auth_header"),
        ({"targets": [{"type": "http", "address": "https://a.example:0"}]}, "http://"),
        ({"targets": [{"type": "http", "address": "https://a.example/\r\nX: y"}]}, "http://"),
        ({"targets": [{"type": "http", "address": "https://[::1"}]}, "URL"),
        ({"targets": [{"type": "http", "address": "https://a.example", "auth_header": "a\r\nb: c"}]}, "one line"),
        (
            {"targets": [{"type": "http", "address": "https://a.example", "payload_format": "XML"}]},
            "Default or CloudEvents",
        ),
        (
            {"targets": [{"type": "slack", "address": "https://a.example", "payload_format": "Default"}]},
            "left out",
        ),
        ({"targets": [{"type": "http", "address": "http://169.254.169.254/latest"}]}, "ROADSTEAD_PRIVATE_TARGETS"),
        ({"targets": [{"type": "http", "address": "http://[::ffff:10.0.0.1]/"}]}, "ROADSTEAD_PRIVATE_TARGETS"),
    ],
)
def test_what_makes_no_policy_is_refused_with_what_to_do(hooked: Hooked, wrong: Json, word: str) -> None:
    answer = hooked.api("POST", POLICIES, {**policy(), **wrong})

    assert answer.status == 400
    assert word in answer.body.decode()
    assert hooked.registry.get(POLICIES) == []


def test_names_are_different_and_policies_not_too_many(hooked: Hooked) -> None:
    hooked.create(policy())
    hooked.client.clock.advance(timedelta(seconds=1))
    second = hooked.create(policy(name="second"))
    assert [each["name"] for each in hooked.registry.get(POLICIES)] == ["second", "ci"]
    assert [each["policy_name"] for each in hooked.registry.get(f"{HOOKS}/lasttrigger")] == ["second", "ci"]
    assert hooked.api("POST", POLICIES, policy()).status == 409
    assert hooked.api("PUT", f"{POLICIES}/{second}", policy()).status == 409
    for number in range(MOST_POLICIES - 2):
        hooked.create(policy(name=f"more {number}"))
    assert hooked.api("POST", POLICIES, policy(name="too many")).status == 400


def test_a_policy_of_another_project_is_not_found(hooked: Hooked) -> None:
    number = hooked.create(policy())
    other = f"/projects/one/webhook/policies/{number}"

    assert hooked.api("GET", other).status == 404
    assert hooked.api("DELETE", other).status == 404
    assert hooked.api("GET", f"/projects/one/webhook/jobs?policy_id={number}").status == 404
    assert hooked.api("GET", f"{HOOKS}/jobs?policy_id={number + 1}").status == 404
    assert hooked.api("GET", f"{HOOKS}/jobs?policy_id=x").status == 400


def test_secrets_are_sealed_in_the_table_and_shown_to_those_who_may_change_them() -> None:
    world = World()
    path = f"/projects/{PRIVATE}/webhook/policies"
    sent = {**policy(), "signing_secret": "k3y"}
    assert world.api("POST", path, sent, who=as_user("projectAdmin")).status == 201

    shown = {
        who: orjson.loads(world.api("GET", path, who=as_user(who)).body)[0] for who in ("projectAdmin", "maintainer")
    }
    assert shown["projectAdmin"]["targets"][0]["auth_header"] == "Bearer s3cret"
    assert shown["maintainer"]["targets"][0]["auth_header"] == HIDDEN
    assert "k3y" not in str(shown)
    directory = world.client.services.directory
    stored = str(
        [record.document for record in every(directory.table, f"webhooks/{shown['maintainer']['project_id']}")]
    )
    assert "s3cret" not in stored
    assert "k3y" not in stored


def test_a_push_is_told_as_harbor_tells_it(hooked: Hooked) -> None:
    number = hooked.create(policy(hooked.address))
    digest = hooked.registry.image("library/team/app", "v1", "one")

    [told] = hooked.told()

    [taken] = hooked.receiver.taken
    assert taken.path == "/hook?x=1"
    assert taken.headers["authorization"] == "Bearer s3cret"
    assert taken.headers["content-type"] == "application/json"
    assert taken.headers["host"] == f"127.0.0.1:{hooked.receiver.port}"
    assert SIGNATURE.lower() not in taken.headers
    made = told["event_data"]["repository"].pop("date_created")
    assert made == told["occur_at"]
    assert told == {
        "type": "PUSH_ARTIFACT",
        "occur_at": made,
        "operator": "admin",
        "event_data": {
            "resources": [
                {"digest": digest, "tag": "v1", "resource_url": "registry.test/library/team/app:v1"},
            ],
            "repository": {
                "name": "team/app",
                "namespace": "library",
                "repo_full_name": "library/team/app",
                "repo_type": "public",
            },
        },
    }
    [execution] = hooked.registry.get(f"{POLICIES}/{number}/executions")
    assert (execution["vendor_type"], execution["status"]) == ("WEBHOOK", "Success")
    assert execution["extra_attrs"]["event_type"] == "PUSH_ARTIFACT"
    assert orjson.loads(execution["extra_attrs"]["payload"])["operator"] == "admin"


def test_what_is_told_is_taken_by_its_consumers(hooked: Hooked) -> None:
    targets = [
        {"type": "http", "address": f"{hooked.address}&default", "auth_header": "t0ken"},
        {"type": "http", "address": f"{hooked.address}&cloud", "payload_format": "CloudEvents"},
        {"type": "slack", "address": f"{hooked.address}&slack"},
    ]
    hooked.create(policy(targets=targets))
    hooked.registry.image("library/team/app", "v1", "one")
    hooked.work()

    taken = {each.path.rpartition("&")[2]: (each.headers, each.content) for each in hooked.receiver.taken}
    consumers.flux(*taken["default"], "t0ken")
    image = Image("registry.test/library/team/app", "v1")
    assert consumers.argo_cd(*taken["default"], "t0ken") == image
    assert consumers.image_updater(*taken["default"], "t0ken") == image
    assert consumers.kargo(*taken["default"], "t0ken") == [image]
    assert consumers.cloud_events(*taken["cloud"])["resources"][0]["tag"] == "v1"
    assert "library/team/app:v1" in str(consumers.slack(*taken["slack"]))


def test_what_was_told_is_found_with_its_tasks_logs_and_last_triggers(hooked: Hooked) -> None:
    number = hooked.create(policy(hooked.address, "PUSH_ARTIFACT", "PULL_ARTIFACT"))
    hooked.registry.image("library/app", "v1", "one")
    hooked.work()

    [execution] = hooked.registry.get(f"{POLICIES}/{number}/executions")
    tasks = f"{POLICIES}/{number}/executions/{execution['id']}/tasks"
    [task] = hooked.registry.get(tasks)
    assert (task["status"], task["run_count"]) == ("Success", 1)
    log = hooked.api("GET", f"{tasks}/{task['id']}/log")
    assert log.headers["Content-Type"].startswith("text/plain")
    assert b"taken with status 200" in log.body
    assert hooked.api("GET", f"{tasks}/1/log").status == 404
    triggers = {each["event_type"]: each for each in hooked.registry.get(f"{HOOKS}/lasttrigger")}
    assert triggers["PUSH_ARTIFACT"]["last_trigger_time"] == execution["start_time"]
    assert "last_trigger_time" not in triggers["PULL_ARTIFACT"]
    [job] = hooked.registry.get(f"{HOOKS}/jobs?policy_id={number}&status=Success")
    assert (job["policy_id"], job["event_type"], job["notify_type"]) == (number, "PUSH_ARTIFACT", "http")
    assert hooked.registry.get(f"{HOOKS}/jobs?policy_id={number}&status=Error") == []
    assert hooked.api("GET", f"{HOOKS}/jobs?policy_id={number}&status=odd").status == 400


def test_a_deletion_is_told_by_the_latest_tag_and_a_tag_s_is_not(hooked: Hooked) -> None:
    hooked.create(policy(hooked.address, "DELETE_ARTIFACT"))
    first, second, third = (hooked.registry.image("library/app", tag, tag) for tag in ("v1", "v2", "v3"))
    hooked.client.clock.advance(timedelta(seconds=1))
    assert hooked.registry.image("library/app", "again", "v2") == second
    assert hooked.client.ask("DELETE", "/v2/library/app/manifests/v1").status == 202
    gone = f"/v2/library/app/manifests/{first}", f"/v2/library/app/manifests/{second}"
    for path in gone:
        assert hooked.client.ask("DELETE", path).status == 202
        # Of one moment any could be the first to be told.
        hooked.client.clock.advance(timedelta(seconds=1))
    assert hooked.api("DELETE", "/projects/library/repositories/app/artifacts/v3").status == 200

    told = hooked.told()

    assert [each["type"] for each in told] == ["DELETE_ARTIFACT"] * 3
    assert [each["event_data"]["resources"] for each in told] == [
        [{"digest": first, "tag": first, "resource_url": f"registry.test/library/app@{first}"}],
        [{"digest": second, "tag": "again", "resource_url": "registry.test/library/app:again"}],
        [{"digest": third, "tag": "v3", "resource_url": "registry.test/library/app:v3"}],
    ]


def test_the_deletion_of_a_repository_is_told_once_with_what_went(hooked: Hooked) -> None:
    for event in ("DELETE_ARTIFACT", "PUSH_ARTIFACT"):
        hooked.create(policy(hooked.address, event, name=event, enabled=event == "DELETE_ARTIFACT"))
    pushed = []
    for name in ("one", "two", "three"):
        pushed.append(hooked.registry.image("library/app", "v1", name))
        hooked.client.clock.advance(timedelta(seconds=1))
    assert hooked.api("DELETE", "/projects/library/repositories/app").status == 200
    assert hooked.api("DELETE", "/projects/library/repositories/app").status == 404

    [told] = hooked.told()

    assert (told["type"], told["operator"]) == ("DELETE_ARTIFACT", "admin")
    assert told["event_data"]["repository"]["repo_full_name"] == "library/app"
    assert told["event_data"]["resources"] == [
        {"digest": each, "tag": each, "resource_url": f"registry.test/library/app@{each}"} for each in pushed[::-1]
    ]


def test_of_a_repository_that_was_empty_nothing_is_told(hooked: Hooked) -> None:
    hooked.create(policy(hooked.address, "DELETE_ARTIFACT"))
    digest = hooked.registry.image("library/app", "v1", "one")
    assert hooked.api("DELETE", f"/projects/library/repositories/app/artifacts/{digest}").status == 200
    hooked.client.clock.advance(timedelta(seconds=1))
    assert hooked.api("DELETE", "/projects/library/repositories/app").status == 200

    assert len(hooked.told()) == 1


def test_a_copy_is_told_as_a_push_of_each_of_its_tags(hooked: Hooked) -> None:
    digest = hooked.registry.image("one/app", "v1", "one")
    hooked.registry.image("one/app", "stable", "one")
    untagged = hooked.registry.image("one/app", "v2", "two")
    assert hooked.client.ask("DELETE", "/v2/one/app/manifests/v2").status == 202
    hooked.create(
        policy(hooked.address, targets=[{"type": "http", "address": hooked.address, "auth_header": "t0ken"}])
    )
    for source in ("one/app:v1", f"one/app@{untagged}"):
        assert hooked.api("POST", f"/projects/library/repositories/copy/artifacts?from={source}").status == 201

    told = hooked.told()

    resources = [each["event_data"]["resources"][0] for each in told]
    assert {(each["tag"], each["digest"]) for each in resources} == {
        ("v1", digest),
        ("stable", digest),
        (untagged, untagged),
    }
    images = [consumers.argo_cd(each.headers, each.content, "t0ken") for each in hooked.receiver.taken]
    assert Image("registry.test/library/copy", "stable") in images


def test_cloud_events_and_slack_are_told_in_their_ways_and_each_target_has_its_task(hooked: Hooked) -> None:
    targets = [
        {"type": "http", "address": f"{hooked.address}&cloud", "payload_format": "CloudEvents"},
        {"type": "http", "address": f"{hooked.address}&default"},
        {"type": "slack", "address": f"{hooked.address}&slack"},
    ]
    number = hooked.create(policy(targets=targets))
    hooked.registry.image("library/app", "v1", "one")
    hooked.work()

    taken = {each.path.rpartition("&")[2]: each for each in hooked.receiver.taken}
    cloud = orjson.loads(taken["cloud"].content)
    assert taken["cloud"].headers["content-type"] == "application/cloudevents+json"
    assert (cloud["specversion"], cloud["type"]) == ("1.0", "harbor.artifact.pushed")
    assert cloud["source"] == f"/projects/1/webhook/policies/{number}"
    assert cloud["data"] == orjson.loads(taken["default"].content)["event_data"]
    assert "registry.test/library/app:v1" in str(orjson.loads(taken["slack"].content)["blocks"])
    kinds = {each["vendor_type"]: each for each in hooked.registry.get(f"{POLICIES}/{number}/executions")}
    assert {kind: each["metrics"]["task_count"] for kind, each in kinds.items()} == {"WEBHOOK": 2, "SLACK": 1}
    assert cloud["id"] == str(kinds["WEBHOOK"]["id"])


def test_with_a_signing_secret_the_receiver_can_tell_that_it_is_us(hooked: Hooked) -> None:
    number = hooked.create(policy(hooked.address, signing_secret="k3y"))
    hooked.registry.image("library/app", "v1", "one")
    hooked.work()
    # Who changes something else need not know it; who sends "" ends it.
    assert hooked.api("PUT", f"{POLICIES}/{number}", policy(hooked.address, description="x")).status == 200
    hooked.registry.image("library/app", "v2", "two")
    hooked.work()
    assert hooked.api("PUT", f"{POLICIES}/{number}", policy(hooked.address, signing_secret="")).status == 200
    hooked.registry.image("library/app", "v3", "three")
    hooked.work()

    first, second, third = hooked.receiver.taken
    for taken in (first, second):
        moment = taken.headers[TIMESTAMP.lower()]
        assert taken.headers[SIGNATURE.lower()] == signature("k3y", moment, taken.content)
    assert SIGNATURE.lower() not in third.headers


def test_a_failure_is_tried_three_times_and_what_failed_is_said_without_secrets(hooked: Hooked) -> None:
    number = hooked.create(policy(hooked.address, signing_secret="k3y"))
    hooked.receiver.otherwise = with_status(500)
    hooked.registry.image("library/app", "v1", "one")
    hooked.work()

    assert len(hooked.receiver.taken) == 3
    assert len({taken.content for taken in hooked.receiver.taken}) == 1
    [execution] = hooked.registry.get(f"{POLICIES}/{number}/executions")
    assert execution["status"] == Status.ERROR
    assert "500" in execution["status_message"]
    tasks = f"{POLICIES}/{number}/executions/{execution['id']}/tasks"
    [task] = hooked.registry.get(tasks)
    log = hooked.api("GET", f"{tasks}/{task['id']}/log").body.decode()
    assert "it answered 500" in log
    assert not [secret for secret in ("s3cret", "k3y", "/hook", "x=1") if secret in f"{log}{execution}{task}"]


def test_what_fails_once_is_told_the_second_time(hooked: Hooked) -> None:
    number = hooked.create(policy(hooked.address))
    hooked.receiver.answers = [with_status(503)]
    hooked.registry.image("library/app", "v1", "one")
    hooked.work()

    assert len(hooked.receiver.taken) == 2
    [execution] = hooked.registry.get(f"{POLICIES}/{number}/executions")
    assert execution["status"] == Status.SUCCESS


@pytest.mark.parametrize("event", ["PULL_ARTIFACT", "SCANNING_COMPLETED"])
def test_who_does_not_want_to_know_is_not_told(hooked: Hooked, event: str) -> None:
    number = hooked.create(policy(hooked.address, event))
    hooked.create(policy(hooked.address, name="off", enabled=False))
    hooked.registry.image("library/app", "v1", "one")
    hooked.registry.image("one/app", "v1", "one")

    assert hooked.told() == []
    assert hooked.registry.get(f"{POLICIES}/{number}/executions") == []


def test_administrators_can_switch_all_of_it_off(hooked: Hooked) -> None:
    hooked.create(policy(hooked.address))
    assert hooked.api("PUT", "/configurations", {"notification_enable": False}).status == 200
    hooked.registry.image("library/app", "v1", "one")

    assert hooked.told() == []


@pytest.mark.parametrize("ended", ["deleted", "disabled", "another type"])
def test_a_policy_that_ended_before_its_target_was_told_tells_nobody(hooked: Hooked, ended: str) -> None:
    number = hooked.create(policy(hooked.address))
    hooked.registry.image("library/app", "v1", "one")
    slack = [{"type": "slack", "address": hooked.address}]
    sent = policy(hooked.address, targets=slack) if ended == "another type" else policy(hooked.address, enabled=False)
    if ended == "deleted":
        assert hooked.api("DELETE", f"{POLICIES}/{number}").status == 200
    else:
        assert hooked.api("PUT", f"{POLICIES}/{number}", sent).status == 200

    assert hooked.told() == []


def test_with_a_project_go_its_policies_and_their_secrets(hooked: Hooked) -> None:
    assert hooked.api("POST", "/projects", {"project_name": "short"}).status == 201
    sent = policy(hooked.address)
    assert hooked.api("POST", "/projects/short/webhook/policies", sent).status == 201
    [shown] = hooked.registry.get("/projects/short/webhook/policies")
    assert hooked.api("DELETE", "/projects/short").status == 200

    table = hooked.client.services.directory.table
    assert not list(every(table, f"webhooks/{shown['project_id']}"))
    assert not list(every(table, f"webhook/{shown['id']}"))


def test_a_push_into_a_project_without_policies_begins_nothing(hooked: Hooked) -> None:
    hooked.create(policy(hooked.address, *EventType))
    hooked.registry.image("one/app", "v1", "one")

    assert executions.active(hooked.client.services.directory) == ()


def test_a_pull_is_told_some_time_after_it(hooked: Hooked) -> None:
    digest = hooked.registry.image("library/app", "v1", "one")
    hooked.create(policy(hooked.address, "PULL_ARTIFACT"))
    for _ in range(3):
        assert hooked.client.ask("GET", "/v2/library/app/manifests/v1").status in (200, 307)
    services = hooked.client.services
    assert executions.active(services.directory) == ()
    pulled.tell(services, services.pulls.take())

    [told] = hooked.told()

    assert (told["type"], told["operator"]) == ("PULL_ARTIFACT", "admin")
    [resource] = told["event_data"]["resources"]
    assert (resource["tag"], resource["digest"]) == ("v1", digest)


def test_a_quota_that_is_nearly_or_wholly_used_is_told(hooked: Hooked) -> None:
    hooked.create(policy(hooked.address, "QUOTA_EXCEED", "QUOTA_WARNING"))
    assert hooked.api("PUT", "/quotas/1", {"hard": {"storage": 1000}}).status == 200
    hooked.registry.blob("library/app", b"x" * 900)
    path = f"/v2/library/app/blobs/uploads/?digest={Digest.of(b'y' * 900)}"
    assert hooked.client.ask("POST", path, b"y" * 900).status == 403

    told = {each["type"]: each for each in hooked.told()}

    assert set(told) == {"QUOTA_WARNING", "QUOTA_EXCEED"}
    for each in told.values():
        assert each["operator"] == "admin"
        assert set(each["event_data"]) == {"repository", "custom_attributes"}
        assert each["event_data"]["repository"]["namespace"] == "library"
        assert each["event_data"]["repository"]["repo_full_name"] == "library/app"
    assert "900 B" in told["QUOTA_EXCEED"]["event_data"]["custom_attributes"]["Details"]


def test_what_retention_deletes_is_told_one_by_one_and_together(hooked: Hooked) -> None:
    first = hooked.registry.image("library/app", "v1", "one")
    hooked.client.clock.advance(timedelta(days=1))
    hooked.registry.image("library/app", "v2", "two")
    hooked.create(policy(hooked.address, "TAG_RETENTION", "DELETE_ARTIFACT"))
    made = hooked.api("POST", "/retentions", retained("latestPushedK", 1))
    number = made.headers["Location"].rpartition("/")[2]
    assert hooked.api("POST", f"/retentions/{number}/executions", {"dry_run": True}).status == 201
    assert hooked.told() == []
    assert hooked.api("POST", f"/retentions/{number}/executions", {"dry_run": False}).status == 201

    told = {each["type"]: each for each in hooked.told()}

    [deleted] = told["DELETE_ARTIFACT"]["event_data"]["resources"]
    assert (deleted["digest"], deleted["tag"]) == (first, "v1")
    assert told["TAG_RETENTION"]["operator"] == "admin"
    assert set(told["TAG_RETENTION"]["event_data"]) == {"retention"}
    retention = told["TAG_RETENTION"]["event_data"]["retention"]
    [rule] = retained("latestPushedK", 1)["rules"]
    assert retention == {
        "total": 2,
        "retained": 1,
        "project_name": "library",
        "retention_policy_id": int(number),
        "retention_rule": [rule],
        "result": "SUCCESS",
        "deleted_artifact": [{"type": "image", "name_tag": "app:v1", "status": "SUCCESS"}],
    }


def retained(template: str, number: int) -> Json:
    return {
        "algorithm": "or",
        "rules": [
            {
                "template": template,
                "params": {template: number},
                "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": "**"}],
                "scope_selectors": {
                    "repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}]
                },
            }
        ],
        "scope": {"level": "project", "ref": 1},
    }


def test_a_webhook_costs_a_push_one_commit_and_no_read(hooked: Hooked) -> None:
    """And where nobody wants to know, nothing: a policy that wants other events changes nothing."""

    def calls(name: str) -> Counter[str]:
        document = hooked.registry.document("library/app", name.encode(), name)
        services = hooked.client.services
        table = CountingTable(services.directory.table)
        hooked.client.services = replace(services, directory=replace(services.directory, table=table))
        hooked.registry.push("library/app", "v1", document)
        hooked.client.services = services
        return table.calls

    calls("first")
    nobody = calls("second")
    hooked.create(policy(hooked.address, "PULL_ARTIFACT"))
    others = calls("third")
    hooked.create(policy(hooked.address, name="second"))
    told = calls("fourth")

    assert nobody == others
    assert told - nobody == Counter({"commit": 1})


def test_secrets_outlive_a_new_signing_key_as_long_as_the_old_one_is_known(hooked: Hooked) -> None:
    number = hooked.create(policy(hooked.address))
    services = hooked.client.services
    old, new = services.settings.signing_key, b"n" * 32

    def push(tag: str, *keys: bytes) -> None:
        settings = replace(services.settings, signing_key=keys[0], other_keys=keys[1:])
        hooked.client.services = replace(services, settings=settings)
        hooked.registry.image("library/app", tag, tag)
        hooked.work()

    push("v1", new, old)
    push("v2", new)

    assert [taken.headers["authorization"] for taken in hooked.receiver.taken] == ["Bearer s3cret"]
    latest, _ = hooked.registry.get(f"{POLICIES}/{number}/executions")
    assert "set it again" in latest["status_message"]
    assert hooked.registry.get(f"{POLICIES}/{number}")["targets"][0]["auth_header"] == HIDDEN
    assert hooked.api("PUT", f"{POLICIES}/{number}", policy(hooked.address)).status == 200
    push("v3", new)
    assert len(hooked.receiver.taken) == 2
