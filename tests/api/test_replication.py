"""Replication policies over the API: made, changed, run, watched and stopped, in Harbor's words."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from chalicelib.policy.jobs import NO_VENDOR, Kind
from chalicelib.store import schedules
from tests.jobs.replicating import World, add_image, pulling, pushing
from tests.store.remote.fake import FakeRegistry, faking

APP = "library/app"
Json = dict[str, Any]


@pytest.fixture
def there() -> Iterator[FakeRegistry]:
    with faking() as made:
        yield made


def asked(world: World, method: str, path: str, body: object = None) -> tuple[int, Any]:
    answer = world.ours.api(method, f"/replication{path}", body)
    return answer.status, orjson.loads(answer.body) if answer.body else None


def made(world: World, path: str, body: object) -> int:
    answer = world.ours.api("POST", f"/replication{path}", body)
    assert answer.status == 201, answer.body
    return int(answer.headers["Location"].rpartition("/")[2])


def sent(world: World, **changes: object) -> Json:
    return {**world.sent, "name": "another", **changes}


def refusal(world: World, method: str, path: str, body: object = None) -> tuple[int, str]:
    status, document = asked(world, method, path, body)
    return status, document["errors"][0]["message"]


def test_a_policy_is_made_shown_changed_and_deleted(there: FakeRegistry) -> None:
    world = World(there, pushing())
    filters = [{"type": "name", "value": "library/**"}, {"type": "tag", "value": "v*", "decoration": "matches"}]

    number = made(world, "/policies", sent(world, filters=filters, dest_namespace="mirror", override=True))

    _, shown = asked(world, "GET", f"/policies/{number}")
    assert (shown["id"], shown["name"], shown["filters"]) == (number, "another", filters)
    assert (shown["src_registry"]["id"], shown["src_registry"]["name"]) == (0, "Local")
    assert (shown["dest_registry"]["name"], shown["dest_registry"]["url"]) == ("there", there.url)
    assert (shown["dest_namespace_replace_count"], shown["override"], shown["speed"]) == (-1, True, 0)
    assert asked(world, "PUT", f"/policies/{number}", {**shown, "name": "renamed", "speed": 7})[0] == 200
    assert [each["name"] for each in asked(world, "GET", "/policies")[1]] == ["out", "renamed"]
    assert [each["speed"] for each in asked(world, "GET", "/policies?name=ename")[1]] == [7]
    assert asked(world, "DELETE", f"/policies/{number}")[0] == 200
    assert asked(world, "GET", f"/policies/{number}")[0] == 404


def test_a_policy_that_makes_no_sense_is_refused(there: FakeRegistry) -> None:
    world = World(there, pushing())

    assert refusal(world, "POST", "/policies", sent(world, name="out"))[0] == 409
    assert refusal(world, "POST", "/policies", sent(world, dest_registry={"id": 9})) == (
        400,
        "there is no registry 9: add it first",
    )
    assert refusal(world, "POST", "/policies", sent(world, src_registry={"id": 9}))[0] == 400
    number = made(world, "/policies", sent(world))
    assert refusal(world, "PUT", f"/policies/{number}", sent(world, name="out"))[0] == 409


def test_a_scheduled_policy_has_its_schedule_while_it_is_enabled(there: FakeRegistry) -> None:
    world = World(there, pushing())
    trigger = {"type": "scheduled", "trigger_settings": {"cron": "0 30 2 * * *"}}
    number = made(world, "/policies", sent(world, trigger=trigger))

    def cron() -> str:
        found = schedules.get(world.services.directory, Kind.REPLICATION, number)
        return found.cron if found else ""

    assert cron() == "0 30 2 * * *"
    assert asked(world, "GET", f"/policies/{number}")[1]["trigger"] == trigger
    asked(world, "PUT", f"/policies/{number}", sent(world, trigger=trigger, enabled=False))
    assert cron() == ""
    asked(world, "PUT", f"/policies/{number}", sent(world, trigger=trigger))
    asked(world, "DELETE", f"/policies/{number}")
    assert cron() == ""
    assert schedules.get(world.services.directory, Kind.REPLICATION, NO_VENDOR) is None


def test_an_execution_shows_what_was_copied(there: FakeRegistry) -> None:
    for tag in ("v1", "v2"):
        add_image(there, APP, tag, tag.encode())
    add_image(there, "one/app", "v1")
    world = World(there, pulling(dest_namespace="library"))

    world.execution = made(world, "/executions", {"policy_id": world.number})
    assert asked(world, "GET", f"/executions/{world.execution}")[1]["status"] == "InProgress"
    world.work()

    _, shown = asked(world, "GET", f"/executions/{world.execution}")
    assert (shown["status"], shown["trigger"], shown["policy_id"]) == ("Succeed", "manual", world.number)
    assert (shown["total"], shown["succeed"], shown["failed"], shown["in_progress"]) == (2, 2, 0, 0)
    _, tasks = asked(world, "GET", f"/executions/{world.execution}/tasks?sort=src_resource")
    assert [(each["src_resource"], each["dst_resource"], each["operation"]) for each in tasks] == [
        (f"{APP} [2 item(s) in total]", f"{APP} [2 item(s) in total]", "copy"),
        ("one/app [1 item(s) in total]", f"{APP} [1 item(s) in total]", "copy"),
    ]
    assert {(each["status"], each["resource_type"]) for each in tasks} == {("Succeed", "image")}
    log = world.ours.api("GET", f"/replication/executions/{world.execution}/tasks/{tasks[0]['id']}/log")
    assert b"copied library/app:v1" in log.body
    assert asked(world, "GET", f"/executions?policy_id={world.number}")[1] == [shown]
    assert asked(world, "GET", "/executions?status=Failed")[1] == []
    assert asked(world, "GET", "/executions?trigger=manual&status=Succeed")[1] == [shown]
    assert asked(world, "GET", f"/executions/{world.execution}/tasks?status=Failed")[1] == []


@pytest.mark.parametrize("filters", [[{"type": "tag", "value": "v9"}], [{"type": "name", "value": "library/gone"}]])
def test_where_nothing_is_wanted_harbors_words_say_so(there: FakeRegistry, filters: list[Json]) -> None:
    add_image(there, APP, "v1")
    world = World(there, pulling(filters=filters))
    world.run()

    _, shown = asked(world, "GET", f"/executions/{world.execution}")

    assert (shown["status"], shown["total"]) == ("Succeed", 0)
    assert shown["status_text"] == "no resources need to be replicated"


def test_where_something_was_copied_nothing_more_is_said(there: FakeRegistry) -> None:
    for number in range(21):
        add_image(there, f"library/{number}", "v1")
    world = World(there, pulling())
    world.run()

    _, shown = asked(world, "GET", f"/executions/{world.execution}")

    assert (shown["total"], shown["status_text"]) == (21, "")


def test_an_execution_that_was_skipped_has_failed_with_harbors_words(there: FakeRegistry) -> None:
    world = World(there, pushing(single_active_replication=True))
    world.ours.image(APP, "v1", "one")
    world.start()
    world.run()

    _, shown = asked(world, "GET", f"/executions/{world.execution}")

    assert shown["status"] == "Failed"
    assert shown["status_text"] == "Execution skipped: active replication still in progress."


def test_what_goes_from_here_are_artifacts_and_tags_are_deleted_by_a_name_of_its_own(there: FakeRegistry) -> None:
    trigger = {"type": "event_based"}
    world = World(there, pushing(replicate_deletion=True, trigger=trigger))
    digest = world.ours.image(APP, "v1", "one")
    artifacts = "/projects/library/repositories/app/artifacts"
    for method, path in (("POST", "v1/tags"), ("DELETE", "v1/tags/v2"), ("DELETE", digest)):
        world.pass_by(1)
        assert world.ours.api(method, f"{artifacts}/{path}", {"name": "v2"}).status in (200, 201)

    runs = asked(world, "GET", f"/executions?policy_id={world.number}&sort=id")[1]
    tasks = [asked(world, "GET", f"/executions/{run['id']}/tasks")[1][0] for run in runs]

    assert [each["operation"] for each in tasks] == ["copy", "copy", "tag deletion", "deletion"]
    assert {each["resource_type"] for each in tasks} == {"artifact"}
    assert asked(world, "GET", f"/executions/{runs[0]['id']}/tasks?resource_type=image")[1] == []


def test_a_task_of_another_execution_has_no_log_here(there: FakeRegistry) -> None:
    world = World(there, pulling())
    world.run()

    path = f"/executions/{world.execution}/tasks/1/log"
    assert refusal(world, "GET", path) == (404, "task 1 of the execution not found")


def test_a_policy_at_work_is_not_deleted_and_can_be_stopped(there: FakeRegistry) -> None:
    world = World(there, pulling())
    number = made(world, "/executions", {"policy_id": world.number})

    assert refusal(world, "DELETE", f"/policies/{world.number}") == (
        412,
        "an execution of the policy is under way: stop it, or wait for it",
    )
    assert asked(world, "PUT", f"/executions/{number}")[0] == 200
    assert asked(world, "GET", f"/executions/{number}")[1]["status"] == "Stopped"
    assert asked(world, "DELETE", f"/policies/{world.number}")[0] == 200


def test_a_disabled_policy_is_not_started(there: FakeRegistry) -> None:
    world = World(there, pulling())
    world.change(enabled=False)

    assert refusal(world, "POST", "/executions", {"policy_id": world.number})[0] == 412
    assert refusal(world, "POST", "/executions", {"policy_id": 9}) == (404, "replication policy 9 not found")


def test_a_name_that_cannot_be_is_told_by_the_execution(there: FakeRegistry) -> None:
    world = World(there, pushing(dest_namespace="mirror", dest_namespace_replace_count=3))
    world.ours.image(APP, "v1", "one")
    world.run()

    _, shown = asked(world, "GET", f"/executions/{world.execution}")
    assert (shown["status"], shown["failed"], shown["total"]) == ("Failed", 1, 1)
    assert "lower dest_namespace_replace_count" in shown["status_text"]
