"""Least privilege, both ways: each function may do what it does, and nothing else.

What a function does is recorded while it does all that the product has; a policy must allow it, and every right in a
policy must have been needed. A call that no scenario reaches cannot hide: the source is searched for them.
"""

from __future__ import annotations

import ast
import base64
import copy
import gzip
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import ModuleType
from typing import Any
from urllib.parse import quote_plus

import orjson
import pytest
from botocore import xform_name
from botocore.session import get_session

from chalicelib.api import dispatch
from chalicelib.api.harbor.endpoints import ENDPOINTS
from chalicelib.jobs import abandoned_uploads, count_pulls
from chalicelib.policy.audit import Event
from chalicelib.policy.damage import Damage
from chalicelib.policy.jobs import Status
from chalicelib.services import Services
from chalicelib.store import executions
from chalicelib.store.directory import audit
from chalicelib.store.garbage.seen import Seen
from chalicelib.store.inspection import Found, Inspection, unused
from infra.package import ARRIVALS_QUEUE
from tests.api.artifacts import Registry
from tests.infra import product
from tests.infra.aws_calls import (
    BUCKET,
    CALLS,
    FED,
    OF_SERVERS,
    TABLE,
    Call,
    Right,
    allowed,
    allows,
    missing,
    needed,
    superfluous,
)
from tests.infra.recorded import CONFIG, ROOT, Gateway, World, world
from tests.jobs.test_forward_audit import Collector
from tests.store.remote.fake import FakeRegistry, faking

# By the names that the functions have in the configuration of Chalice.
FUNCTIONS = ("api_handler", "authorizer", "count_pulls", "do_jobs", "repair_index", "take_arrivals", "wake_jobs")
Policy = dict[str, Any]
EVENT = {"version": "0", "detail": {}, "time": "", "source": "", "id": "", "region": "", "detail-type": "",
          "account": "", "resources": []}  # fmt: skip


class Context:
    """Lambda's context of a function that has so much time left, by default a quarter of an hour."""

    def __init__(self, milliseconds: int = 900_000) -> None:
        self._milliseconds = milliseconds

    def get_remaining_time_in_millis(self) -> int:
        return self._milliseconds


@dataclass(frozen=True, slots=True)
class Run:
    """What each function called, one after another over one registry, and what the registry answered meanwhile."""

    calls: Mapping[str, frozenset[Call]]
    answered: frozenset[tuple[str, str]]


@pytest.fixture(scope="module")
def run() -> Run:
    with world() as aws:
        calls, answered = _registry(aws)
        pulled, filled = _caches(aws)
        others = {
            "authorizer": _authorizer(aws),
            "do_jobs": _do_jobs(aws) | filled,
            "wake_jobs": _wake_jobs(aws),
            "repair_index": _repair_index(aws),
            "take_arrivals": _take_arrivals(aws),
            "count_pulls": _count_pulls(aws),
        }
        return Run({"api_handler": calls | pulled, **others}, answered)


@pytest.fixture(scope="module")
def recorded(run: Run) -> Mapping[str, frozenset[Call]]:
    return run.calls


def _clients(app: ModuleType) -> tuple[Registry, Gateway]:
    client = Gateway(app)
    return Registry(client), client


def _registry(aws: World) -> tuple[frozenset[Call], frozenset[tuple[str, str]]]:
    with aws.function("api_handler") as app:
        registry, client = _clients(app)
        product.uploads(registry)
        product.lost_bytes(registry, client.live, aws.lose)
        product.artifacts(registry)
        product.pulls(registry)
        product.relayed(registry, client.live)
        product.sessions(registry)
        product.late(registry, client.live)
        for step, answer in product.harbor(registry):
            assert answer.status < 300, (step, answer.body)
        return aws.recorder.take(), frozenset(client.answered)


def _caches(aws: World) -> tuple[frozenset[Call], frozenset[Call]]:
    """Pull through a cache of another registry, and fetch what was pulled; return what each function called."""
    with faking() as there:
        with aws.function("api_handler") as app:
            os.environ["ROADSTEAD_PRIVATE_TARGETS"] = "127.0.0.0/8"
            registry, client = _clients(app)
            tasks = product.cached(registry, client.live, there)
            client.live.conversations.close()
            pulled = aws.recorder.take()
        with aws.function("do_jobs") as app:
            os.environ["ROADSTEAD_PRIVATE_TARGETS"] = "127.0.0.0/8"
            # The first time there is time for no more than a look.
            for milliseconds in (0, *[900_000] * 20):
                for task in tasks:
                    message = {"Records": [{"body": str(task.id), "receiptHandle": "1"}]}
                    app.do_jobs(message, Context(milliseconds))
                found = [executions.get(app.services().directory, task.execution_id) for task in tasks]
                if all(each and each.status is Status.SUCCESS for each in found):
                    break
                time.sleep(2.1)
            app.services().conversations.close()
            filled = aws.recorder.take()
    with aws.function("api_handler") as app:
        listed = Gateway(app).ask("GET", "/v2/hub/app/tags/list")
        assert orjson.loads(listed.body)["tags"] == ["v1"]
    return pulled, filled


def _authorizer(aws: World) -> frozenset[Call]:
    with aws.function("api_handler") as app:
        token = orjson.loads(Gateway(app).ask("GET", "/service/token?scope=repository:library/app:pull").body)[
            "token"
        ]
    aws.recorder.take()
    with aws.function("authorizer") as app:
        arn = "arn:aws:execute-api:eu-west-1:123456789012:abcdefghij/v2/GET/library/app/manifests/v1"
        asked = {"type": "TOKEN", "authorizationToken": f"Bearer {token}", "methodArn": arn}
        assert app.authorise(asked, None)["principalId"] == "admin"
        return aws.recorder.take()


def _do_jobs(aws: World) -> frozenset[Call]:
    with faking() as far:
        return _do_jobs_beside(aws, far)


def _do_jobs_beside(aws: World, far: FakeRegistry) -> frozenset[Call]:
    with aws.function("api_handler") as app:
        registry, client = _clients(app)
        product.garbage(registry)
        product.damage(registry, app.services(), aws.lose)
        begun = client.ask("POST", "/v2/library/app/blobs/uploads/").headers["Location"]
        assert client.ask("PATCH", begun, product.LARGE).status == 202
        directory = app.services().directory
        audit.log(replace(directory, now=_long_ago(app.services())), Event("admin", "library", "project", "update"))
        tasks = [
            *product.begin_jobs(directory),
            *product.begin_retention(Registry(client), directory),
            *product.begin_replication(directory, far),
        ]
    aws.recorder.take()
    with aws.function("do_jobs") as app:
        os.environ["ROADSTEAD_GC_GRACE_SECONDS"] = "1"
        os.environ["ROADSTEAD_PRIVATE_TARGETS"] = "127.0.0.0/8"
        time.sleep(2)
        # The first time there is time for no more than one step.
        for milliseconds in (0, 900_000):
            for task in tasks:
                message = {"Records": [{"body": str(task.id), "receiptHandle": "1"}]}
                app.do_jobs(message, Context(milliseconds))
        dropped = abandoned_uploads.run(app.services(), timedelta())
        assert dropped.states
        assert dropped.multiparts
        _look_at_bytes(app.services())
        taken = aws.recorder.take()
    with aws.function("api_handler") as app:
        for task in tasks:
            found = executions.get(app.services().directory, task.execution_id)
            assert found is not None
            assert found.status is Status.SUCCESS, (found.kind, found.error)
    return taken | {Call(name, "roadstead-jobs") for name in FED}


def _look_at_bytes(services: Services) -> None:
    """Verify as if the bytes were old enough for that."""
    found: list[Found] = []
    inspection = Inspection(
        services.content, Seen(""), services.now(), repair=True, sample=100, salt="", tell=found.append
    )
    after = unused.data(inspection, "", timedelta())
    while after:
        after = unused.data(inspection, after, timedelta())
    assert Damage.BYTES_UNKNOWN in {each.damage for each in found}


def _long_ago(services: Services) -> Callable[[], datetime]:
    return lambda: services.now() - timedelta(days=400)


def _wake_jobs(aws: World) -> frozenset[Call]:
    collector = Collector()
    with collector.listening() as endpoint:
        with aws.function("api_handler") as app:
            registry, _ = _clients(app)
            registry.api("PUT", "/configurations", {"audit_log_forward_endpoint": endpoint})
            registry.api("POST", "/labels", {"name": "sent", "scope": "g"})
        aws.recorder.take()
        with aws.function("wake_jobs") as app:
            app.wake_jobs(EVENT, Context(60_000))
            taken = aws.recorder.take()
    with aws.function("api_handler") as app:
        registry.api("PUT", "/configurations", {"audit_log_forward_endpoint": ""})
    assert ["create_label" in line for line in collector.lines] == [True]
    return taken


def _repair_index(aws: World) -> frozenset[Call]:
    with aws.function("api_handler") as app:
        registry, client = _clients(app)
        product.behind_the_index(registry, client.live)
    aws.recorder.take()
    with aws.function("repair_index") as app:
        app.repair_index(EVENT, Context())
        taken = aws.recorder.take()
    with aws.function("api_handler") as app:
        shown = orjson.loads(Gateway(app).ask("GET", "/api/v2.0/projects/library/repositories?page_size=100").body)
        found = {each["name"]: each["artifact_count"] for each in shown}
    mended = {f"library/{name}": number for name, number in (("grown", 3), ("shrunk", 0), ("unlisted", 2))}
    assert {name: found.get(name) for name in (*mended, "library/lost")} == {**mended, "library/lost": None}
    return taken


def _take_arrivals(aws: World) -> frozenset[Call]:
    with aws.function("api_handler") as app:
        registry, client = _clients(app)
        telling = {**product.TELLING, "name": "arrivals", "event_types": ["PUSH_ARTIFACT", "DELETE_ARTIFACT"]}
        assert registry.api("POST", "/projects/library/webhook/policies", telling).status == 201
        records = []
        for key in product.arrivals(registry, client.live):
            version = next(each.id for each in client.live.content.objects.versions(key) if each.latest)
            told = {
                "eventName": "ObjectCreated:Put",
                "s3": {"object": {"key": quote_plus(key), "versionId": version}},
            }
            records.append(
                {"body": orjson.dumps({"Records": [told]}).decode(), "eventSourceARN": f"arn:{ARRIVALS_QUEUE}"}
            )
    aws.recorder.take()
    with aws.function("take_arrivals") as app, aws.recorder.copying():
        app.take_arrivals({"Records": records}, Context(120_000))
        taken = aws.recorder.take()
    with aws.function("api_handler") as app:
        shown = orjson.loads(
            Gateway(app).ask("GET", "/api/v2.0/projects/library/repositories/arrived/artifacts").body
        )
        tags = {tag["name"]: each["digest"] for each in shown for tag in each.get("tags") or ()}
    assert tags["came"] == tags["both"]
    assert not {"gone", "lost"} & set(tags)
    return taken | {Call(name, ARRIVALS_QUEUE) for name in FED}


def _count_pulls(aws: World) -> frozenset[Call]:
    with aws.function("api_handler") as app:
        registry = Registry(Gateway(app))
        digest = registry.image("library/counted", "v1", "counted")
        telling = {**product.TELLING, "name": "pulls", "event_types": ["PULL_ARTIFACT"]}
        assert registry.api("POST", "/projects/library/webhook/policies", telling).status == 201
    aws.recorder.take()
    event = counted("library/counted", digest)
    with aws.function("count_pulls") as app:
        now = app.services()
        # DynamoDB fails after the mark was made; then what was counted is delivered again, days later.
        with aws.recorder.refusing("BatchGetItem"), pytest.raises(OSError, match="BatchGetItem"):
            count_pulls.run(now, event)
        then = replace(now, now=lambda: now.now() - timedelta(days=3))
        assert count_pulls.run(then, event) == 1
        app.count_pulls(event, None)
        return aws.recorder.take()


def counted(repository: str, digest: str) -> dict[str, Any]:
    """Return the event by which CloudWatch tells of a pull."""
    message = {"repository": repository, "pulled": digest, "tag": "v1"}
    line = {"id": "1", "timestamp": 0, "message": orjson.dumps(message).decode()}
    delivered = gzip.compress(orjson.dumps({"messageType": "DATA_MESSAGE", "logEvents": [line]}))
    return {"awslogs": {"data": base64.b64encode(delivered).decode()}}


def policy_of(function: str) -> Policy:
    name = CONFIG["lambda_functions"][function]["iam_policy_file"]
    policy: Policy = orjson.loads((ROOT / ".chalice" / name).read_bytes())
    return policy


def test_every_function_has_a_policy_of_its_own() -> None:
    files = {CONFIG["lambda_functions"][name]["iam_policy_file"] for name in FUNCTIONS}

    assert set(CONFIG["lambda_functions"]) == set(FUNCTIONS)
    assert files == {path.name for path in (ROOT / ".chalice").glob("policy-*.json")}
    assert len(files) == len(FUNCTIONS)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_may_do_what_it_does(function: str, recorded: Mapping[str, frozenset[Call]]) -> None:
    assert missing(policy_of(function), recorded[function]) == frozenset()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_may_do_nothing_else(function: str, recorded: Mapping[str, frozenset[Call]]) -> None:
    assert superfluous(policy_of(function), recorded[function]) == frozenset()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_without_any_one_right_a_function_would_fail(function: str, recorded: Mapping[str, frozenset[Call]]) -> None:
    for field in ("Action", "Resource"):
        for changed in _without_one(policy_of(function), field):
            assert missing(changed, recorded[function])


def _without_one(policy: Policy, field: str) -> Iterator[Policy]:
    """Yield the policy without each one of its actions, or of its resources."""
    for number, statement in enumerate(policy["Statement"]):
        every = [statement[field]] if isinstance(statement[field], str) else statement[field]
        for one in every:
            changed = copy.deepcopy(policy)
            changed["Statement"][number][field] = [each for each in every if each != one]
            yield changed


@pytest.mark.parametrize("function", FUNCTIONS)
def test_any_right_more_is_noticed(function: str, recorded: Mapping[str, frozenset[Call]]) -> None:
    given = set(allowed(policy_of(function)))
    actions = {row.action for row in CALLS.values()} | {
        "s3:*",
        "s3:PutBucketPolicy",
        "dynamodb:*",
        "kms:Decrypt",
        "*",
    }
    resources = {right.resource for right in given} | {BUCKET, f"{BUCKET}/*", f"{BUCKET}/history/*", TABLE, "*"}
    more = {Right(action, resource) for action in actions for resource in resources} - given

    for right in more:
        changed = copy.deepcopy(policy_of(function))
        changed["Statement"].append({"Effect": "Allow", "Action": right.action, "Resource": right.resource})
        assert right in superfluous(changed, recorded[function])


def test_the_registry_does_all_that_it_offers_while_it_is_recorded() -> None:
    steps = {(step.method, step.path.partition("?")[0]) for step in product.HARBOR}
    asked = {(method, _place(path)) for method, path in steps}
    elsewhere = {("GET", "/api/version"), ("POST", "/c/login"), ("GET", "/c/log_out"), ("POST", "/c/userExists")}
    # They answer from memory what no deployment on Lambda has.
    elsewhere |= {("GET", "/systeminfo/volumes"), ("GET", "/systeminfo/getcert")}

    assert {(each.method, _place(each.path)) for each in ENDPOINTS} - elsewhere <= asked


def _place(path: str) -> str:
    """Return the path as the table of endpoints has it, with what a step names in place of a parameter left open."""
    path = re.sub(r"\{\w+\}", "*", path)
    path = re.sub(r"/projects/short-lived", "/projects/*", path)
    named = r"/(schedules/all|repositories/copy|artifacts/v2|tags/stable|additions/build_history)"
    return re.sub(named, lambda found: _opened(found[1]), path)


def _opened(part: str) -> str:
    return f"/{part.partition('/')[0]}/*"


def test_every_endpoint_of_the_specification_answered_while_it_was_recorded(run: Run) -> None:
    paths = ((method, path) for method, path in run.answered if path.startswith(("/v2/", "/service/", "/metrics")))
    answered = {(method, dispatch.route(method, path)[0].path) for method, path in paths}

    assert answered == {(each.method, each.path) for each in dispatch.ENDPOINTS}


def test_every_row_of_the_table_was_called(recorded: Mapping[str, frozenset[Call]]) -> None:
    called = {call.operation for calls in recorded.values() for call in calls}

    assert called == set(CALLS)


def test_every_method_of_boto3_in_the_code_is_in_the_table() -> None:
    known = {row.method for row in CALLS.values() if row.method}

    assert _methods_in_code() == known | OF_SERVERS
    assert not known & OF_SERVERS


def _methods_in_code() -> set[str]:
    methods = {name: _methods(name) for name in ("s3", "dynamodb", "sqs")}
    found: set[str] = set()
    for path in (ROOT / "chalicelib").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "_" in node.value:
                found |= {node.value} & (methods["s3"] | methods["dynamodb"] | methods["sqs"])
            if isinstance(node, ast.Attribute):
                found |= {node.attr} & _of_receiver(node.value, methods)
    return found


def _of_receiver(receiver: ast.expr, methods: Mapping[str, set[str]]) -> set[str]:
    """Return the methods that an expression may have: short names are those of other things as well."""
    name = getattr(receiver, "attr", getattr(receiver, "id", ""))
    every = methods["s3"] | methods["dynamodb"] | methods["sqs"]
    return every if name in ("_dynamo", "_s3", "_sqs") else {method for method in every if "_" in method}


def _methods(service: str) -> set[str]:
    return {xform_name(name) for name in get_session().get_service_model(service).operation_names}


def test_requests_by_hand_are_made_where_they_are_known() -> None:
    """Whoever signs one by hand elsewhere, or asks boto3 for a client, adds to the scenario and the table first."""
    signing = {"url", "signed_headers", "s3_client", "dynamo_client", "client"}
    found = set()
    for path in (ROOT / "chalicelib").rglob("*.py"):
        if path.parts[-2] in ("cli", "server"):
            continue
        calls = (node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
        names = {getattr(function, "attr", getattr(function, "id", "")) for function in calls}
        found |= {(path.stem, name) for name in names & signing}

    assert found == {
        ("objects", "url"),
        ("objects", "s3_client"),
        ("services", "url"),
        ("services", "s3_client"),
        ("services", "dynamo_client"),
        ("client", "client"),
        ("dynamodb", "client"),
        ("dynamodb", "dynamo_client"),
        ("parameters", "signed_headers"),
        ("sqs", "client"),
        # As the owner of the other registry, with the credential that was given for it.
        ("ecr", "client"),
    }


def test_wildcards_are_read_as_iam_reads_them() -> None:
    statement = {"Effect": "Allow", "Action": "s3:Get*", "Resource": [f"{BUCKET}/data/*"]}
    policy = {"Statement": [statement]}

    assert allows(policy, Right("s3:GetObject", f"{BUCKET}/data/a/b"))
    assert not allows(policy, Right("s3:GetObject", f"{BUCKET}/uploads/a"))
    assert not allows(policy, Right("s3:PutObject", f"{BUCKET}/data/a"))
    assert needed(Call("GetObject[version]", "data/a")) == Right("s3:GetObjectVersion", f"{BUCKET}/data/a")
    with pytest.raises(ValueError, match="Deny"):
        list(allowed({"Statement": [{**statement, "Effect": "Deny"}]}))
