"""Who takes writes: one region at a time, whatever is promoted when, and whoever comes back."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import orjson
import pytest

from chalicelib.api.http import Response
from chalicelib.jobs import engine, forward_audit, pulled, reindex, tend
from chalicelib.jobs.steps import Again, Done, TaskRun
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import RegistryError
from chalicelib.oci.names import Repository
from chalicelib.policy.jobs import NO_VENDOR, Kind, Trigger
from chalicelib.policy.regions import BELIEVED, OPENS, Role, Standing
from chalicelib.store import executions, layout, promotions
from chalicelib.store.executions import New
from chalicelib.store.pulls import Pulled, Pulls
from chalicelib.store.table import RefusedError
from tests.memory import Asked
from tests.regions.world import URLS, Side, World
from tests.store.client import Client, code, image, index

APP = "library/app"
CONFIG, LAYER = b"{}", b"a layer"
IMAGE = image(CONFIG, [LAYER])
_JSON = {"content-type": "application/json"}


def push(side: Side, tag: str = "v1") -> Response:
    """Push as a client does: what the registry has already is not sent."""
    for blob in (CONFIG, LAYER):
        if side.client.ask("HEAD", f"/v2/{APP}/blobs/{Digest.of(blob)}").status != 200:
            answer = side.client.ask("POST", f"/v2/{APP}/blobs/uploads/?digest={Digest.of(blob)}", blob)
            if answer.status != 201:
                return answer
    return side.client.put_manifest(APP, tag, IMAGE)


def promote(side: Side, **how: bool) -> None:
    promotions.promote(side.region, side.services.index.table, **how)


def promoted() -> World:
    """Return a world in which the second region was promoted, the first one being away."""
    world = World()
    push(world.first)
    world.arrive()
    world.second.way.is_open = False
    promote(world.second)
    world.copies.cut()
    world.clock.advance(OPENS)
    return world


CHANGES: tuple[tuple[str, str, Mapping[str, Any]], ...] = (
    ("POST", f"/v2/{APP}/blobs/uploads/", {}),
    ("POST", f"/v2/{APP}/blobs/uploads/?mount={Digest.of(LAYER)}&from={APP}", {}),
    ("PUT", f"/v2/{APP}/manifests/v1", {}),
    ("DELETE", f"/v2/{APP}/manifests/v1", {}),
    ("DELETE", f"/v2/{APP}/blobs/{Digest.of(LAYER)}", {}),
    ("POST", "/api/v2.0/projects", {"project_name": "new"}),
    ("PUT", "/api/v2.0/configurations", {"read_only": True}),
    ("DELETE", "/api/v2.0/projects/library/repositories/app", {}),
    ("POST", "/api/v2.0/system/gc/schedule", {"schedule": {"type": "Manual"}}),
)


@pytest.mark.parametrize(("method", "path", "body"), CHANGES, ids=[f"{row[0]} {row[1]}" for row in CHANGES])
def test_a_copy_refuses_changes_so_that_no_client_tries_again_and_says_where_to_go(
    method: str, path: str, body: Mapping[str, Any]
) -> None:
    world = World()
    push(world.first)
    world.arrive()

    answer = world.second.client.ask(method, path, orjson.dumps(body), _JSON)

    assert (answer.status, code(answer)) in ((403, "DENIED"), (403, "FORBIDDEN"))
    assert URLS["frankfurt"].encode() in answer.body
    assert [each for each in world.second.client.objects.asked if each.operation in ("put", "delete", "begin")] == []


def test_in_a_copy_people_log_in_and_get_tokens_with_the_primary_gone() -> None:
    world = World()
    world.second.way.is_open = False

    token = world.second.client.ask("GET", f"/service/token?scope=repository:{APP}:pull,push")
    session = world.second.client.ask(
        "POST",
        "/c/login",
        b"principal=admin&password=a password",
        {"content-type": "application/x-www-form-urlencoded"},
    )

    assert token.status == 200
    assert session.status < 400, session


def test_the_region_that_was_promoted_takes_writes_after_nobody_believes_otherwise() -> None:
    world = World()
    push(world.first)
    world.arrive()
    world.second.way.is_open = False
    assert world.second.region.standing() is Standing.COPY

    promote(world.second)
    early = push(world.second, "v2")
    world.clock.advance(OPENS)

    assert (early.status, early.headers["Retry-After"]) == (503, "15")
    assert push(world.second, "v2").status == 201
    assert world.second.client.manifest(APP, "v2").status == 200


def test_an_old_primary_refuses_writes_before_the_new_one_takes_any() -> None:
    world = World()
    assert push(world.first).status == 201
    world.second.way.is_open = False
    promote(world.second)

    world.clock.advance(BELIEVED)
    late = push(world.first)

    assert BELIEVED < OPENS
    assert (late.status, code(late)) == (403, "DENIED")
    assert URLS["paris"].encode() in late.body
    assert world.second.region.standing() is Standing.OPENING


def test_an_old_primary_learns_what_it_is_and_then_serves_what_the_new_one_has() -> None:
    world = promoted()
    push(world.second, "v2")
    world.first.restart()

    before = world.first.client.manifest(APP, "v2").status
    tend.run(world.first.services)
    world.clock.advance(BELIEVED)

    assert (before, world.first.region.state().role) == (404, Role.FENCED)
    assert world.first.client.manifest(APP, "v2").body == IMAGE.content
    assert push(world.first).status == 403


def test_while_the_primary_answers_nobody_else_is_promoted_by_mistake() -> None:
    world = World()

    with pytest.raises(RegistryError, match="demote it first"):
        promote(world.second)
    assert world.second.region.read().state.role is Role.REPLICA

    promote(world.second, force=True)
    assert world.second.region.read().state.role is Role.PRIMARY


def test_a_planned_switch_loses_nothing() -> None:
    world = World()
    push(world.first)
    promotions.demote(world.first.region)
    world.clock.advance(BELIEVED)
    assert push(world.first, "late").status == 403
    world.arrive()

    promote(world.second)
    world.clock.advance(OPENS)

    assert world.second.client.manifest(APP, "v1").body == IMAGE.content
    assert push(world.second, "v2").status == 201


def test_of_two_promotions_at_once_one_wins() -> None:
    world = World()
    promotions.demote(world.first.region)
    first, second = world.first.region, world.second.region
    raced = _racing(first, lambda: promote(world.second))

    with pytest.raises(RefusedError, match="another promotion came first"):
        promotions.promote(raced, first.table, force=True)
    world.clock.advance(OPENS)

    assert (first.standing_now(), second.standing_now()) == (Standing.COPY, Standing.OPEN)


def _racing(region: Any, meanwhile: Callable[[], None]) -> Any:
    """Return the region with something that happens after it has read the fence."""

    class Table:
        def __init__(self) -> None:
            self.looked = False

        def get(self, key: object) -> object:
            found = region.table.get(key)
            if not self.looked:
                self.looked = True
                meanwhile()
            return found

    return replace(region, table=Table())


def test_a_promotion_that_was_cut_off_after_its_fence_is_ended_by_repeating_it() -> None:
    world = World()
    world.second.way.is_open = False
    world.second.client.objects.before = _failing_at("put")
    with pytest.raises(OSError, match="the process ends"):
        promote(world.second)
    world.clock.advance(OPENS)
    assert [side.region.standing_now() for side in (world.first, world.second)] == [Standing.FENCED, Standing.COPY]

    world.second.restart()
    promote(world.second)
    world.clock.advance(OPENS)

    assert world.second.region.standing_now() is Standing.OPEN
    assert world.second.region.read().state.epoch == 2


def _failing_at(operation: str) -> Callable[[str, str], None]:
    def before(asked: str, key: str) -> None:
        if asked == operation:
            raise OSError(f"the process ends at {key}")

    return before


def test_promoting_the_primary_changes_nothing() -> None:
    world = promoted()
    before = world.second.region.read()

    promote(world.second)

    assert world.second.region.read() == before


def test_the_old_primary_comes_back_as_a_copy_and_can_be_promoted_again() -> None:
    world = promoted()
    push(world.second, "v2")

    promotions.rejoin(world.first.region)
    state = world.first.region.read().state
    promotions.demote(world.second.region)
    promote(world.first)
    world.clock.advance(OPENS)

    assert (state.role, state.epoch, state.primary) == (Role.REPLICA, 2, "paris")
    assert push(world.first, "v3").status == 201
    assert world.first.region.read().state.epoch == 3
    assert push(world.second).status == 403


def test_a_region_in_whose_place_nobody_was_promoted_has_nothing_to_come_back_to() -> None:
    world = World()

    for side in (world.first, world.second):
        with pytest.raises(RegistryError, match="nothing to come back to"):
            promotions.rejoin(side.region)


def test_a_table_that_was_restored_from_before_the_promotion_does_not_open_two_regions() -> None:
    world = promoted()
    old = World()
    forgetful = replace(world.second.region, table=old.first.services.index.table)

    assert forgetful.standing_now() is Standing.UNKNOWN
    with pytest.raises(RegistryError, match="roadstead region promote"):
        forgetful.check_writes()


# What is in the bucket of a region that was promoted, and what is not.


def test_what_did_not_arrive_is_unknown_after_the_promotion_so_that_it_is_pushed_again() -> None:
    world = World()
    push(world.first)
    world.copies.look()
    arrived = [each for each in world.copies.pending if not each[1].key.startswith(layout.DATA)]
    for sent in arrived:
        world.copies.deliver(world.copies.pending.index(sent))
    world.second.way.is_open = False
    promote(world.second)
    world.copies.cut()
    world.clock.advance(OPENS)

    lost = world.second.pull_blob(APP, Digest.of(LAYER))
    mounted = world.second.client.ask("POST", f"/v2/{APP}/blobs/uploads/?mount={Digest.of(LAYER)}&from={APP}").status
    blind = world.second.client.put_manifest(APP, "v2", IMAGE).status

    assert (lost, mounted, blind) == (404, 202, 404)
    assert push(world.second, "v2").status == 201
    assert [world.second.pull_blob(APP, Digest.of(blob)) for blob in (CONFIG, LAYER)] == [CONFIG, LAYER]


def test_an_index_of_images_whose_layers_were_lost_is_refused_until_they_are_pushed_again() -> None:
    world = World()
    push(world.first)
    other = image(CONFIG)
    world.first.client.push_manifest(APP, "other", other)
    world.copies.look()
    link = layout.link(Repository(APP), Digest.of(LAYER))
    world.copies.pending = [each for each in world.copies.pending if each[1].key != link]
    world.copies.deliver_all()
    world.second.way.is_open = False
    promote(world.second)
    world.copies.cut()
    world.clock.advance(OPENS)

    # A sparse index may name what is not here, but not what is here and broken.
    refused = world.second.client.put_manifest(APP, "all", index([IMAGE, other]))
    push(world.second)
    taken = world.second.client.put_manifest(APP, "all", index([IMAGE, other]))

    assert (refused.status, code(refused)) == (404, "MANIFEST_BLOB_UNKNOWN")
    assert str(Digest.of(LAYER)).encode() in refused.body
    assert taken.status == 201


# What runs in the background.


def written(client: Client) -> list[Asked]:
    return [each for each in client.objects.asked if each.operation not in ("get", "head", "list")]


def test_in_a_copy_no_job_is_done_and_no_schedule_begins() -> None:
    world = World()
    services = world.second.services
    begun = executions.begin(
        world.first.services.directory, New(Kind.GARBAGE_COLLECTION, NO_VENDOR, Trigger.MANUAL, {}, "admin")
    )
    (task,) = executions.tasks(services.directory, begun)

    engine.work(services, task.id)
    engine.wake(services)

    assert reindex.go_on(services, lambda: True) is False
    assert forward_audit.run(services) == 0
    with pytest.raises(LookupError, match="another region is the primary"):
        reindex.run(services)
    assert executions.tasks(services.directory, task.execution_id)[0].status == task.status
    assert written(world.second.client) == []


def test_a_job_that_is_under_way_when_another_region_is_promoted_ends_with_its_step() -> None:
    world = World()
    services = world.first.services
    begun = executions.begin(services.directory, New(Kind.VERIFY, NO_VENDOR, Trigger.MANUAL, {}, "admin"))
    (task,) = executions.tasks(services.directory, begun)
    steps: list[int] = []

    def step(_: object, __: object) -> Any:
        steps.append(1)
        promote(world.second, force=True)
        world.clock.advance(BELIEVED)
        return Again({})

    engine.work(services, task.id, jobs={Kind.VERIFY: step})

    assert len(steps) == 1


def test_the_primary_shows_that_it_is_alive_where_copies_see_it() -> None:
    world = World()

    assert tend.run(world.first.services)
    assert not tend.run(world.second.services)
    world.arrive()

    found = world.second.bucket.beside().get(layout.heartbeat("frankfurt"))
    assert found
    assert orjson.loads(found.content) == {"time": world.clock().isoformat(), "epoch": 1}
    assert world.second.bucket.keys(layout.heartbeat("paris")) == ()


def test_pulls_in_a_copy_are_counted_by_the_primary_once() -> None:
    world = World()
    push(world.first)
    made = {Pulled(Repository(APP), str(IMAGE.digest), "v1", "admin"): Pulls(3, world.clock())}
    pulled.tell(world.second.services, made)
    assert _pull_count(world) == 0

    for _ in range(2):
        tend.run(world.first.services)

    assert _pull_count(world) == 3


def _pull_count(world: World) -> int:
    shown = orjson.loads(world.first.client.ask("GET", "/api/v2.0/projects/library/repositories/app").body)
    return int(shown.get("pull_count", 0))


def test_a_copy_with_a_table_of_its_own_keeps_that_and_leaves_the_content() -> None:
    world = World(own_table=True)
    client, services = world.second.client, world.second.services
    made = client.ask("POST", "/api/v2.0/projects", orjson.dumps({"project_name": "new"}), _JSON)
    refused = [
        client.ask(method, path, orjson.dumps(body), _JSON).status
        for method, path, body in CHANGES
        if path.startswith("/v2/") or "/system/gc" in path or "/repositories/" in path
    ]
    done: list[Kind] = []
    for kind in (Kind.VERIFY, Kind.PURGE_AUDIT_LOG):
        begun = executions.begin(services.directory, New(kind, NO_VENDOR, Trigger.MANUAL, {}, "admin"))
        (task,) = executions.tasks(services.directory, begun)
        engine.work(services, task.id, jobs={each: _noting(done, each) for each in Kind})

    engine.wake(services)

    assert made.status == 201
    assert set(refused) == {403}
    assert done == [Kind.PURGE_AUDIT_LOG]
    assert executions.page(services.directory, Kind.HISTORY, NO_VENDOR).entries == ()


def test_a_step_that_is_under_way_has_no_more_time_once_another_region_is_promoted() -> None:
    world = World()
    services, looks = world.first.services, list[bool]()
    begun = executions.begin(services.directory, New(Kind.VERIFY, NO_VENDOR, Trigger.MANUAL, {}, "admin"))
    (task,) = executions.tasks(services.directory, begun)

    def step(_: object, run: TaskRun) -> Again:
        looks.append(run.more_time())
        world.second.way.is_open = False
        promote(world.second)
        world.clock.advance(BELIEVED)
        looks.append(run.more_time())
        return Again({})

    engine.work(services, task.id, jobs={Kind.VERIFY: step})

    assert looks == [True, False]


@pytest.mark.parametrize("path", ["/quotas/reconciliations", "/replication/executions"])
def test_a_copy_with_a_table_of_its_own_begins_no_job_that_it_would_not_do(path: str) -> None:
    world = World(own_table=True)

    answer = world.second.client.ask("POST", f"/api/v2.0{path}", orjson.dumps({"policy_id": 1}), _JSON)

    assert (answer.status, code(answer)) == (403, "FORBIDDEN")
    assert executions.page(world.second.services.directory, Kind.QUOTA, NO_VENDOR).entries == ()


def _noting(done: list[Kind], kind: Kind) -> Any:
    def step(_: object, __: object) -> Any:
        done.append(kind)
        return Done()

    return step
