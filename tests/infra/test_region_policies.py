"""What functions need besides where the registry is in two regions: recorded as for `test_policies`, right for right.

A registry is here a primary, a copy and a primary in whose place another one was promoted, over one table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import pytest
import yaml

from chalicelib.policy.jobs import Kind, Trigger
from chalicelib.store import executions, layout, promotions
from chalicelib.store.executions import New
from infra.package import FRAGMENTS
from tests.api.artifacts import Registry
from tests.aws.distribution import Resolver
from tests.engines import s3_client
from tests.infra import product
from tests.infra.aws_calls import BESIDES, BUCKET, TABLE, Call, Right, allows, narrowest, needed
from tests.infra.recorded import Gateway, World, world
from tests.infra.test_package import listed
from tests.infra.test_policies import EVENT, Context, counted, policy_of

Json = dict[str, Any]
PEER = "roadstead-peer"
ROLES = {
    "ApiHandlerRole": "api_handler",
    "CountPullsRole": "count_pulls",
    "DoJobsRole": "do_jobs",
    "RepairIndexRole": "repair_index",
    "WakeJobsRole": "wake_jobs",
}
FIRST = {
    "ROADSTEAD_REGION_NAME": "first",
    "ROADSTEAD_PEER_BUCKET": PEER,
    "ROADSTEAD_PEER_URL": "https://second.example",
}
SECOND = {**FIRST, "ROADSTEAD_REGION_NAME": "second", "ROADSTEAD_REGION_ROLE": "replica"}
AT_PEER = {"ROADSTEAD_REGION_NAME": "third", "ROADSTEAD_BUCKET": PEER}


@pytest.fixture(scope="module")
def recorded() -> Mapping[str, frozenset[Call]]:
    """What each function called, as a primary, as a copy, and as it learns that it is none any more."""
    with world() as aws:
        s3 = s3_client(aws.engine)
        s3.create_bucket(Bucket=PEER)
        s3.close()
        digest = _content(aws)
        calls: dict[str, set[Call]] = {name: set() for name in ROLES.values()}
        for name, made in (*_as_copy(aws, digest), *_as_primary(aws), *_as_it_is_replaced(aws)):
            calls[name] |= made
        return {name: frozenset(made) for name, made in calls.items()}


def _content(aws: World) -> str:
    """Push an image to the other region alone."""
    with aws.function("api_handler", **AT_PEER) as app:
        digest = Registry(Gateway(app)).image("library/app", "v1", "one")
    aws.recorder.take()
    return digest


def _as_copy(aws: World, digest: str) -> Iterator[tuple[str, frozenset[Call]]]:
    with aws.function("api_handler", **SECOND) as app:
        client = Gateway(app)
        found = client.ask("GET", "/v2/library/app/manifests/v1")
        assert found.status == 200
        layer = orjson.loads(found.body)["layers"][0]["digest"]
        # It is signed for the other bucket, with the role of this function.
        assert client.ask("GET", f"/v2/library/app/blobs/{layer}").status == 307
        assert client.ask("GET", "/v2/library/app/manifests/v2").status == 404
        assert client.ask("GET", "/v2/library/none/tags/list").status == 404
        for path in ("", "/arrears"):
            assert client.ask("GET", f"/api/v2.0/system/regions{path}").status == 200
        region = client.live.region
        assert region
        assert region.peer
        promotions.peer_state(region)
        region.peer.content.objects.get(layout.heartbeat("third"))
        client.live.content.objects.get(layout.heartbeat("third"))
        yield "api_handler", aws.recorder.take()
    with aws.function("count_pulls", **SECOND) as app:
        app.count_pulls(counted("library/app", digest), None)
        yield "count_pulls", aws.recorder.take()
    with aws.function("wake_jobs", **SECOND) as app:
        app.wake_jobs(EVENT, Context(60_000))
        yield "wake_jobs", aws.recorder.take()
    with aws.function("repair_index", **SECOND) as app:
        app.repair_index(EVENT, Context())
        yield "repair_index", aws.recorder.take()


def _as_primary(aws: World) -> Iterator[tuple[str, frozenset[Call]]]:
    with aws.function("api_handler", **FIRST) as app:
        Registry(Gateway(app)).image("library/app", "v1", "one")
        new = New(Kind.PURGE_AUDIT_LOG, product.VENDOR, Trigger.MANUAL, product.PARAMETERS[Kind.PURGE_AUDIT_LOG])
        [task] = executions.tasks(app.services().directory, executions.begin(app.services().directory, new))
        yield "api_handler", aws.recorder.take()
    with aws.function("do_jobs", **FIRST) as app:
        app.do_jobs({"Records": [{"body": str(task.id), "receiptHandle": "1"}]}, Context())
        yield "do_jobs", aws.recorder.take()
    with aws.function("wake_jobs", **FIRST) as app:
        app.wake_jobs(EVENT, Context(60_000))
        yield "wake_jobs", aws.recorder.take()


def _as_it_is_replaced(aws: World) -> Iterator[tuple[str, frozenset[Call]]]:
    with aws.function("api_handler", **FIRST) as app:
        region, table = app.services().region, app.services().directory.table
        promotions.demote(region)
        promotions.promote(region, table, force=True)
        yield "api_handler", aws.recorder.take()
    with aws.function("wake_jobs", **{**FIRST, "ROADSTEAD_REGION_NAME": "other"}) as app:
        app.wake_jobs(EVENT, Context(60_000))
        yield "wake_jobs", aws.recorder.take()


def needs(calls: frozenset[Call]) -> frozenset[Right]:
    """Return the narrowest rights that calls need, those on the other region's bucket among them."""
    found = set()
    for call in calls:
        bucket, _, key = call.name.removeprefix("@").partition("/") if call.name.startswith("@") else ("", "", "")
        right = narrowest(needed(call._replace(name=key) if bucket else call))
        place = right.resource.replace(BUCKET, f"arn:aws:s3:::{bucket}") if bucket else right.resource
        found.add(right._replace(resource=place))
    return frozenset(found)


@pytest.fixture(scope="module")
def given(template: Json) -> Mapping[str, frozenset[Right]]:
    """What `regions.yaml` lets each function do, by the names that the other policies have."""
    known = {"Bucket.Arn": BUCKET, "PeerBucket": PEER, "RegionName": "first"}
    resolver = Resolver(template, known)
    found: dict[str, set[Right]] = {name: set() for name in ROLES.values()}
    for name in yaml.safe_load((FRAGMENTS / "regions.yaml").read_text())["Resources"]:
        made = resolver.value(template["Resources"][name]["Properties"])
        rights = {
            Right(action, _named(resource))
            for statement in made["PolicyDocument"]["Statement"]
            for action in listed(statement["Action"])
            for resource in listed(statement["Resource"])
        }
        for role in made["Roles"]:
            found[ROLES[role["Ref"]]] |= rights
    return {name: frozenset(rights) for name, rights in found.items()}


def _named(resource: Any) -> str:
    names = {"Bucket": BUCKET, "Table": TABLE}
    if isinstance(resource, dict):
        return names[resource["Fn::GetAtt"][0]]
    return str(resource).replace("${AWS::Partition}", "aws")


@pytest.mark.parametrize("function", ROLES.values())
def test_a_function_may_do_what_it_does_in_a_region(
    function: str, recorded: Mapping[str, frozenset[Call]], given: Mapping[str, frozenset[Right]]
) -> None:
    own = policy_of(function)

    assert {right for right in needs(recorded[function]) - BESIDES if not allows(own, right)} <= given[function]


@pytest.mark.parametrize("function", ROLES.values())
def test_every_right_was_needed_and_is_given_once(
    function: str, recorded: Mapping[str, frozenset[Call]], given: Mapping[str, frozenset[Right]]
) -> None:
    listing = Right("s3:ListBucket", BUCKET)

    assert given[function] <= needs(recorded[function])
    assert [right for right in given[function] - {listing} if allows(policy_of(function), right)] == []
