"""Requests that Harbor's description allows, and some it does not: all get answers that Harbor could give."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.core import NOT_SET
from schemathesis.generation import GenerationMode

from chalicelib.api.harbor.unbuilt import UNBUILT
from tests.api.asking import Client
from tests.harbor.facts import FACTS, PREFIX, Operation, operations
from tests.harbor.schema import check
from tests.server.pushing import IMAGE_TYPE, digest, image

BUILT = [each for each in operations() if (each.method, each.path) not in set(UNBUILT)]
CONFIG, LAYER = b"{}", b"a layer"
USER = {"username": "ahab", "email": "a@sea.test", "realname": "A", "password": "Sailors-2-Shore"}
ROBOT = {
    "name": "bot",
    "level": "system",
    "duration": -1,
    "permissions": [{"kind": "system", "namespace": "/", "access": [{"resource": "label", "action": "read"}]}],
}
MADE: Mapping[str, Mapping[str, Any]] = {
    "user_id": {"path": "/users", "body": USER},
    "robot_id": {"path": "/robots", "body": ROBOT},
    "label_id": {"path": "/labels", "body": {"name": "stable", "scope": "g"}},
    "group_id": {"path": "/usergroups", "body": {"group_name": "crew", "group_type": 1, "ldap_group_dn": "cn=crew"}},
    "mid": {"path": "/projects/library/members", "body": {"role_id": 2, "member_user": {"username": "ahab"}}},
}


@cache
def _description() -> schemathesis.schemas.BaseSchema:
    description = orjson.loads(orjson.dumps({**FACTS, "info": {"title": "Harbor", "version": "2.16"}}))
    answers = [op["responses"] for path in description["paths"].values() for op in path.values()]
    for answer in (answer for each in (*answers, description["responses"]) for answer in each.values()):
        answer.setdefault("description", "")
    return schemathesis.openapi.from_dict(description)


def _registry() -> tuple[Client, dict[str, str]]:
    """Return a registry with one of each, and what they are called in paths."""
    client = Client()
    names = {"project_name": "library", "project_name_or_id": "library", "meta_name": "public"}
    names |= {"repository_name": "app", "reference": "v1", "tag_name": "v1", "addition": "build_history"}
    for name, made in MADE.items():
        answer = client.ask("POST", PREFIX + made["path"], orjson.dumps(made["body"]))
        assert answer.status == 201, (name, answer)
        names[name] = answer.headers["Location"].rpartition("/")[2]
    _push(client, "library/app", "v1")
    quotas = client.ask("GET", f"{PREFIX}/quotas?reference=project")
    return client, names | {"id": str(orjson.loads(quotas.body)[0]["id"])}


def _push(client: Client, repository: str, tag: str) -> None:
    for blob in (CONFIG, LAYER):
        answer = client.ask("POST", f"/v2/{repository}/blobs/uploads/?digest={digest(blob)}", blob)
        assert answer.status == 201, answer
    manifest = image(CONFIG, [LAYER])
    answer = client.ask("PUT", f"/v2/{repository}/manifests/{tag}", manifest, content_type=IMAGE_TYPE)
    assert answer.status == 201, answer


def _ask(client: Client, each: Operation, case: schemathesis.Case[Any], names: Mapping[str, str]) -> None:
    """Ask for what a case says, except for names in the path that are given, and look at the answer."""
    values = {**case.path_parameters, **names}
    path = re.sub(r"\{(\w+)\}", lambda found: str(values[found[1]]), each.path)
    target = f"{PREFIX}{path}?{urlencode(case.query or {}, doseq=True)}"
    headers = {name.lower().replace("-", "_"): str(value) for name, value in (case.headers or {}).items()}
    answer = client.ask(each.method, target, _body(case.body), **headers)

    assert answer.status < 500, answer
    check(each.method, target, answer.status, answer.headers, answer.body)


def _body(body: object) -> bytes:
    if body is NOT_SET:
        return b""
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def _explore(each: Operation, mode: GenerationMode, examples: int) -> None:
    client, known = _registry()
    cases = _description()[each.path][each.method].as_strategy(generation_mode=mode)

    # The same requests each time: a change is not blamed for what it did not do.
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases, names=st.sampled_from([known, {}]))
    def ask(case: schemathesis.Case[Any], names: Mapping[str, str]) -> None:
        _ask(client, each, case, names)

    ask()


_MODES = pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
_EACH = pytest.mark.parametrize("each", BUILT, ids=lambda each: each.id)


@_MODES
@_EACH
def test_some_requests_get_an_answer_of_harbor_s(each: Operation, mode: GenerationMode) -> None:
    _explore(each, mode, 4)


@pytest.mark.soak
@_MODES
@_EACH
def test_many_requests_get_an_answer_of_harbor_s(each: Operation, mode: GenerationMode) -> None:
    _explore(each, mode, 20)
