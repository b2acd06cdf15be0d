"""The validator says what is wrong with an answer, and the facts are those of the whole API."""

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harbor.deviations import DEVIATIONS, EXTENSIONS, Deviation, Extension, Kind
from tests.harbor.facts import FACTS, PREFIX, Operation, operation, operations
from tests.harbor.page import PAGE, rendered
from tests.harbor.reduce import reduced, written
from tests.harbor.schema import check, problems

JSON = {"Content-Type": "application/json; charset=utf-8"}
LIST = {**JSON, "X-Total-Count": "1"}
REFUSAL = b'{"errors":[{"code":"NOT_FOUND","message":"artifact not found"}]}'
ARTIFACTS = "/api/v2.0/projects/library/repositories/team%252Fapp/artifacts"


def test_all_of_harbor_2_16_is_there() -> None:
    assert len(operations()) == 203
    assert len({each.id for each in operations()}) == 203
    assert len(FACTS["definitions"]) == 153


def test_nothing_that_people_read_is_left() -> None:
    source = {
        "info": {"title": "prose"},
        "paths": {"/a": {"get": {"summary": "prose", "description": "prose", "operationId": "getA", "tags": ["a"]}}},
        "definitions": {"A": {"properties": {"description": {"type": "string", "description": "prose"}}}},
    }

    assert reduced(source) == {
        "paths": {"/a": {"get": {"operationId": "getA", "tags": ["a"]}}},
        "definitions": {"A": {"properties": {"description": {"type": "string"}}}},
    }


def test_the_stored_facts_are_in_their_written_form() -> None:
    text = (Path(__file__).parent / "facts.json").read_text()

    assert text == written(reduced(FACTS), deep=3) + "\n"


_NAMES = st.text(alphabet="abz019._-", min_size=1, max_size=8).filter(
    lambda name: name not in {"_deletable", ".", ".."}
)


@given(st.sampled_from(operations()), st.data(), st.booleans())
def test_every_template_is_found_by_its_own_paths(each: Operation, data: st.DataObject, slash: bool) -> None:
    # Names of two digits are nobody's fixed part.
    filled = re.sub(r"\{\w+\}", lambda _: "1" + quote(data.draw(_NAMES)), each.path).rstrip("/")

    assert operation(each.method, PREFIX + filled + "/" * slash) is each


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/api/v2.0/users/current", "getCurrentUserInfo"),
        ("GET", "/api/v2.0/users/7", "getUser"),
        ("GET", "/api/v2.0/projects?name=a/b", "listProjects"),
        ("GET", "/api/v2.0/projects/1/metadatas", "listProjectMetadatas"),
        ("GET", "/api/v2.0/projects/a/repositories/b%2Fc", "getRepository"),
        ("GET", "/api/v2.0/projects/a/repositories/b/c", "getRepository"),
        ("GET", f"{ARTIFACTS}/sha256:00/additions/vulnerabilities", "getVulnerabilitiesAddition"),
        ("GET", f"{ARTIFACTS}/latest/additions/build_history", "getAddition"),
        ("DELETE", f"{ARTIFACTS}/latest/tags/v1", "deleteTag"),
        ("DELETE", "/api/v2.0/projects", None),
        ("GET", "/api/v2.0/nothing", None),
        ("GET", "/api/version", None),
    ],
)
def test_a_path_is_the_operation_that_harbor_means(method: str, path: str, expected: str | None) -> None:
    found = operation(method, path)

    assert (found.id if found else None) == expected


@pytest.mark.parametrize(
    ("method", "path", "status", "headers", "body"),
    [
        ("GET", "/api/v2.0/ping", 200, {"Content-Type": "text/plain"}, b"Pong"),
        ("GET", "/api/v2.0/projects", 200, LIST, b'[{"project_id": 1, "metadata": {"public": "true"}}]'),
        ("GET", "/api/v2.0/projects", 200, {**LIST, "X-Total-Count": "0"}, b"[]"),
        ("GET", "/api/v2.0/labels", 200, LIST | {"X-Total-Count": "9", "Link": '<a?page=2>; rel="next"'}, b"[]"),
        ("HEAD", "/api/v2.0/projects", 404, {"X-Request-Id": "1"}, b""),
        ("GET", ARTIFACTS + "/v1", 404, {**JSON, "X-Request-Id": "1"}, REFUSAL),
        ("GET", ARTIFACTS + "/v1", 200, JSON, b'{"tags": null, "extra_attrs": {"config": null, "os": "linux"}}'),
        ("GET", ARTIFACTS + "/v1/additions/build_history", 200, {"Content-Type": "application/json"}, b"[{}]"),
        ("POST", "/api/v2.0/labels", 201, {"Location": "/api/v2.0/labels/1"}, b""),
        ("POST", "/api/v2.0/scanners", 501, JSON, REFUSAL),
        ("GET", "/api/v2.0/health", 401, JSON, REFUSAL),
        ("GET", "/api/v2.0/nothing", 404, JSON, REFUSAL),
    ],
)
def test_an_answer_of_harbor_s_has_no_problem(
    method: str, path: str, status: int, headers: Mapping[str, str], body: bytes
) -> None:
    assert problems(method, path, status, headers, body) == []


@pytest.mark.parametrize(
    ("method", "path", "status", "headers", "body", "expected"),
    [
        ("GET", "/api/v2.0/users/7", 204, {}, b"", ["status 204 is not one of getUser's: [200, 401, 403, 404, 500]"]),
        ("GET", "/api/v2.0/nothing", 200, {}, b"", ["status 200 at an address that Harbor has not"]),
        ("GET", "/api/v2.0/nothing", 404, JSON, b"{", ["the body is not JSON, or null"]),
        ("GET", "/api/v2.0/users/7", 200, JSON, b"null", ["the body is not JSON, or null"]),
        ("GET", "/api/v2.0/users/7", 200, JSON, b'{"age": 7}', ["age: Harbor has no such member"]),
        ("GET", "/api/v2.0/users/7", 200, JSON, b'{"user_id": "7"}', ["user_id: '7' is not of type 'integer'"]),
        ("GET", "/api/v2.0/users/7", 200, JSON, b'{"email": null}', ["email: None is not of type 'string'"]),
        (
            "GET",
            "/api/v2.0/labels/7",
            200,
            JSON,
            b'{"creation_time": "2026-03-01 12:00:00"}',
            ["creation_time: '2026-03-01 12:00:00' is not a 'date-time'"],
        ),
        (
            "GET",
            "/api/v2.0/labels/7",
            200,
            JSON,
            b'{"id": 9223372036854775808}',
            ["id: 9223372036854775808 is not a 'int64'"],
        ),
        (
            "GET",
            ARTIFACTS,
            200,
            LIST,
            b'[{"tags": [{"name": "a", "signed": true}]}]',
            ["tags.signed: Harbor has no such member"],
        ),
        ("GET", "/api/v2.0/labels", 200, JSON, b"[]", ["header X-Total-Count is missing"]),
        (
            "GET",
            "/api/v2.0/labels",
            200,
            {**LIST, "X-Total-Count": "few"},
            b"[]",
            ["header X-Total-Count is no number: few"],
        ),
        ("GET", "/api/v2.0/labels", 200, LIST, b"[{}, {}]", ["X-Total-Count is 1 with 2 entries"]),
        ("GET", "/api/v2.0/labels", 200, LIST, b"[]", ["Link is missing with 0 entries of 1"]),
        ("GET", "/api/v2.0/labels", 200, {**LIST, "Link": "next"}, b"[{}]", ["Link is not a list of pages: next"]),
        ("POST", "/api/v2.0/labels", 201, {}, b"", ["header Location is missing"]),
        ("POST", "/api/v2.0/labels", 201, {"Location": "x"}, b"{}", ["a body where Harbor sends none"]),
        (
            "DELETE",
            "/api/v2.0/labels/7",
            404,
            {"X-Request-Id": "1"},
            REFUSAL,
            ["Content-Type is '' and not application/json"],
        ),
    ],
)
def test_what_harbor_could_not_have_answered_is_named(
    method: str, path: str, status: int, headers: Mapping[str, str], body: bytes, expected: list[str]
) -> None:
    assert problems(method, path, status, headers, body) == expected


def test_a_check_fails_with_the_request_and_leaves_other_paths_alone() -> None:
    check("GET", "/v2/", 200, {}, b"anything")
    check("GET", "/api/v2.0/ping", 200, {"content-type": ("text/plain",)}, b"Pong")

    with pytest.raises(
        AssertionError, match=re.escape("GET /api/v2.0/users/7 -> 200: age: Harbor has no such member")
    ):
        check("GET", "/api/v2.0/users/7", 200, JSON, b'{"age": 7}')


@pytest.mark.parametrize("deviation", DEVIATIONS, ids=lambda deviation: f"{deviation.kind.value} {deviation.name}")
def test_a_deviation_is_about_what_harbor_does_not_document(deviation: Deviation) -> None:
    concerned = [each for each in operations() if not deviation.operations or each.id in deviation.operations]

    assert len(concerned) == len(deviation.operations or operations())
    if deviation.kind is Kind.STATUS:
        assert any(int(deviation.name) not in each.answers for each in concerned)


def test_only_the_refusals_of_our_own_operations_are_harbor_s() -> None:
    path = "/api/v2.0/projects/library/repositories/team%252Fapp/tags/v1/history"

    assert problems("GET", path, 200, JSON, b'[{"version": "1"}]') == []
    assert problems("GET", path, 409, JSON, REFUSAL) == []
    assert problems("GET", path, 404, JSON, b"") == ["the body is not JSON, or null"]
    assert problems("PUT", path, 200, JSON, b'[{"version": "1"}]')


@pytest.mark.parametrize("extension", EXTENSIONS, ids=lambda extension: extension.path)
def test_an_extension_is_none_of_harbor_s_operations(extension: Extension) -> None:
    assert (extension.method, extension.path) not in {(each.method, each.path) for each in operations()}


def test_the_page_shows_what_is_built_and_every_deviation() -> None:
    text = PAGE.read_text()

    assert rendered(text) == text, "python -m tests.harbor.page"
    assert all(deviation.reason in text for deviation in DEVIATIONS)


def test_the_reduced_form_is_json_whatever_its_depth() -> None:
    value = {"b": {"c": [1, {"d": None}]}, "a": "x"}

    assert [orjson.loads(written(value, deep)) for deep in range(4)] == [value] * 4
