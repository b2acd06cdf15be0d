"""The authorizer's policies, read as IAM reads them: they let through what the function would not answer with 401."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.api import authorizer, tokens
from chalicelib.api.authorizer import authorise
from chalicelib.api.dispatch import ENDPOINTS
from chalicelib.policy.grants import ANONYMOUS, CATALOG, Action, Grant, Principal

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
KEYS = tokens.KeyRing.of((bytes(32),))
STAGE = "arn:aws:execute-api:eu-west-1:123456789012:abcdefghij/v2"
ALICE = Principal("alice")
DIGEST = "sha256:" + "0" * 64
ARGUMENTS = {"<digest>": DIGEST, "<reference>": "v1", "<upload>": "4a1b?x".partition("?")[0]}
LIFETIME = 1800


def policy(grant: Grant, *, age: float = 0) -> Mapping[str, Any]:
    token = KEYS.issue(grant, NOW, LIFETIME)
    return authorise(KEYS, f"Bearer {token}", f"{STAGE}/GET/some/path", NOW + timedelta(seconds=age))


def allows(document: Mapping[str, Any], request: str) -> bool:
    """Decide as IAM does: `*` is any text and `?` any character, slashes too; what is not allowed is denied."""
    [statement] = document["policyDocument"]["Statement"]
    if statement["Effect"] == "Deny":
        return False
    patterns = (re.escape(each).replace(r"\*", ".*").replace(r"\?", ".") for each in statement["Resource"])
    return any(re.fullmatch(pattern, f"{STAGE}/{request}", re.DOTALL) for pattern in patterns)


def requests(name: str) -> list[str]:
    """Return every request that the endpoint table has of a repository."""
    found = []
    for endpoint in ENDPOINTS:
        if "<name>" in endpoint.path:
            path = endpoint.path.removeprefix("/v2/").replace("<name>", name)
            for mark, argument in ARGUMENTS.items():
                path = path.replace(mark, argument)
            found.append(f"{endpoint.method}/{path}")
    return found


part = st.from_regex(r"[a-z0-9]{1,4}(?:[._-][a-z0-9]{1,3})?", fullmatch=True)
# A part that is called as an endpoint is would make one repository's addresses look like another's.
names = st.lists(
    part.filter(lambda text: text not in ("manifests", "blobs", "tags", "referrers")), min_size=2, max_size=4
)
repositories = names.map("/".join)
actions = st.frozensets(st.sampled_from([Action.PULL, Action.PUSH, Action.DELETE]))
grants = st.dictionaries(repositories, actions, max_size=3).map(
    lambda access: Grant(ALICE, {f"repository:{name}": rights for name, rights in access.items()})
)


@given(grants, repositories)
def test_every_request_of_a_named_repository_passes_and_none_of_another(grant: Grant, other: str) -> None:
    document = policy(grant)
    named = {resource.partition(":")[2] for resource in grant.access}

    for name in named:
        assert all(allows(document, request) for request in requests(name))
    if other not in named:
        assert not any(allows(document, request) for request in requests(other))


@given(repositories, part)
def test_a_repository_below_or_above_a_named_one_is_another(name: str, more: str) -> None:
    document = policy(Grant(ALICE, {f"repository:{name}": frozenset({Action.PULL})}))

    for other in (f"{name}/{more}", f"{more}/{name}", f"{name}{more}", name.rpartition("/")[0] + f"/{more}-x"):
        assert not any(allows(document, request) for request in requests(other))


def test_a_token_that_names_nothing_opens_the_root_alone() -> None:
    document = policy(Grant(ANONYMOUS))

    assert document["principalId"] == "anonymous"
    assert allows(document, "GET/")
    assert not allows(document, "GET/a/b/manifests/v1")
    assert not allows(document, "GET/_catalog")


def test_the_catalog_is_open_to_a_token_that_names_it() -> None:
    assert allows(policy(Grant(ALICE, {CATALOG: frozenset({Action.LIST})})), "GET/_catalog")


def test_a_policy_is_the_same_whatever_request_it_was_asked_for() -> None:
    token = f"Bearer {KEYS.issue(Grant(ALICE, {'repository:a/b': frozenset({Action.PULL})}), NOW, LIFETIME)}"
    paths = ("GET/", "PUT/a/b/manifests/v1", "GET/x/y/z/blobs/sha256:0", "DELETE//a//b/")

    assert len({str(authorise(KEYS, token, f"{STAGE}/{path}", NOW)) for path in paths}) == 1


@pytest.mark.parametrize("pattern", ["*", "a/*", "?/b", "${x}/b"])
def test_what_iam_takes_for_a_pattern_opens_nothing(pattern: str) -> None:
    document = policy(Grant(ALICE, {f"repository:{pattern}": frozenset({Action.PULL})}))

    assert not any(allows(document, request) for request in requests("a/b"))


def test_many_repositories_still_fit_what_api_gateway_takes() -> None:
    grant = Grant(ALICE, {f"repository:project/{'n' * 100}-{n}": frozenset({Action.PULL}) for n in range(40)})
    document = policy(grant)

    assert len(str(document)) <= 8192
    for resource in grant.access:
        assert all(allows(document, request) for request in requests(resource.partition(":")[2]))


def test_a_policy_that_is_kept_ends_before_its_token_does() -> None:
    """API Gateway keeps it for SECONDS; until then the function must take the token."""
    grant = Grant(ALICE, {"repository:a/b": frozenset({Action.PULL})})
    last = LIFETIME - 0.001
    token = KEYS.issue(grant, NOW, LIFETIME)

    assert policy(grant, age=last)
    assert KEYS.verify(token, NOW + timedelta(seconds=last + authorizer.SECONDS))
    assert not allows(policy(grant, age=LIFETIME), "GET/a/b/manifests/v1")


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer x",
        "Bearer a.b.c",
        "Digest x",
        "bearer " + tokens.KeyRing.of((b"k" * 32,)).issue(Grant(ALICE), NOW, 60),
    ],
)
def test_bad_credentials_open_nothing_and_are_no_error_of_the_function(authorization: str) -> None:
    document = authorise(KEYS, authorization, f"{STAGE}/GET/", NOW)

    assert document["policyDocument"]["Statement"][0]["Resource"] == [f"{STAGE}/*"]
    assert not any(allows(document, request) for request in ("GET/", *requests("a/b")))


def test_a_password_is_left_to_the_function_which_knows_where_it_comes_from() -> None:
    document = authorise(KEYS, "Basic YWxpY2U6d3Jvbmc=", f"{STAGE}/GET/a/b/manifests/v1", NOW)

    assert all(allows(document, request) for request in requests("a/b"))


def test_a_token_without_a_scope_is_left_to_the_function_which_asks_for_rights() -> None:
    document = policy(Grant(ALICE, anywhere=True))

    assert all(allows(document, request) for request in requests("a/b"))
