"""The whole matrix over the API: for each operation and each kind of caller, allowed or refused as the tables say."""

import re
from collections.abc import Iterator

import pytest

from chalicelib.api.harbor.calls import HarborEndpoint, Where
from chalicelib.api.harbor.endpoints import ENDPOINTS
from chalicelib.policy import rbac
from chalicelib.policy.rbac import Permission
from chalicelib.policy.robots import PROJECT_CATALOGUE, SYSTEM_CATALOGUE
from tests.api.principals import API, PRIVATE, PUBLIC, ROLES, Headers, World, as_user

# What each part of a path is where nothing is there: who is allowed gets 404, and nothing is changed.
_NOTHING = {
    "mid": "999999999",
    "user_id": "999999999",
    "group_id": "999999999",
    "robot_id": "999999999",
    "label_id": "999999999",
    "id": "999999999",
    "immutable_rule_id": "999999999",
    "eid": "999999999",
    "tid": "999999999",
    "webhook_policy_id": "999999999",
    "execution_id": "999999999",
    "task_id": "999999999",
    "meta_name": "none",
    "repository_name": "none",
    "reference": "none",
    "tag_name": "none",
    "addition": "build_history",
    "gc_id": "999999999",
    "reconciliation_id": "999999999",
    "verify_id": "999999999",
    "purge_id": "999999999",
    "pool_id": "none",
    "job_id": "999999999",
    "job_type": "none",
}
_REFUSED = (401, 403)


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def needing(where: Where) -> list[HarborEndpoint]:
    return [endpoint for endpoint in ENDPOINTS if endpoint.need.where is where]


def path_of(endpoint: HarborEndpoint, project: str) -> str:
    parts = {**_NOTHING, "project_name": project, "project_name_or_id": project}
    return re.sub(r"\{(\w+)\}", lambda match: parts[match[1]], endpoint.path)


def named(endpoint: HarborEndpoint) -> str:
    return f"{endpoint.method} {endpoint.path}"


def allowed(world: World, endpoint: HarborEndpoint, project: str, who: Headers) -> bool:
    status = world.api(endpoint.method, path_of(endpoint, project), {}, who=who).status
    assert status < 500 or status == 501
    return status not in _REFUSED


def callers(project: str) -> Iterator[tuple[str, Headers, frozenset[Permission]]]:
    everybody = rbac.ANYONE if project == PUBLIC else frozenset()
    for name, role in ROLES.items():
        yield name, as_user(name), rbac.of_roles([role] if role else []) | everybody
    yield "anonymous", {}, everybody


@pytest.mark.parametrize("project", [PRIVATE, PUBLIC])
@pytest.mark.parametrize("endpoint", needing(Where.PROJECT), ids=named)
def test_in_a_project_each_role_may_do_what_the_table_says(
    world: World, endpoint: HarborEndpoint, project: str
) -> None:
    for name, who, permissions in callers(project):
        expected = endpoint.need.permission in permissions
        assert allowed(world, endpoint, project, who) == expected, name
    assert allowed(world, endpoint, project, world.admin)


@pytest.mark.parametrize(
    "endpoint",
    [endpoint for endpoint in needing(Where.PROJECT) if endpoint.need.permission in PROJECT_CATALOGUE],
    ids=named,
)
def test_robot_accounts_may_do_what_they_were_permitted_and_nothing_else(
    world: World, endpoint: HarborEndpoint
) -> None:
    needed = endpoint.need.permission
    name = re.sub(r"[^a-z]+", "-", f"{endpoint.method}{endpoint.path}".lower()).strip("-")
    others = [permission for permission in PROJECT_CATALOGUE if permission != needed]

    for level, namespace in (("project", PRIVATE), ("system", PRIVATE), ("system", "*")):
        kind = f"{level}-{'all' if namespace == '*' else 'one'}"
        just = world.robot(f"{name}-{kind}", namespace, [needed], level)
        rest = world.robot(f"{name}-{kind}-rest", namespace, others, level)
        assert allowed(world, endpoint, PRIVATE, just), kind
        assert not allowed(world, endpoint, PRIVATE, rest), kind
        assert allowed(world, endpoint, PUBLIC, just) == (namespace == "*" or needed in rbac.ANYONE), kind


@pytest.mark.parametrize("endpoint", needing(Where.SYSTEM), ids=named)
def test_in_the_system_administrators_and_permitted_robot_accounts_alone_may_do_things(
    world: World, endpoint: HarborEndpoint
) -> None:
    needed = endpoint.need.permission
    for name, who, _ in callers(PRIVATE):
        assert not allowed(world, endpoint, PRIVATE, who), name
    assert allowed(world, endpoint, PRIVATE, world.admin)
    if needed in SYSTEM_CATALOGUE:
        name = re.sub(r"[^a-z]+", "-", f"{endpoint.method}{endpoint.path}".lower()).strip("-")
        others = [permission for permission in SYSTEM_CATALOGUE if permission != needed]
        assert allowed(world, endpoint, PRIVATE, world.robot(f"{name}-just", "/", [needed]))
        assert not allowed(world, endpoint, PRIVATE, world.robot(f"{name}-rest", "/", others))


@pytest.mark.parametrize("endpoint", needing(Where.SIGNED_IN), ids=named)
def test_what_needs_a_login_is_refused_without_one(world: World, endpoint: HarborEndpoint) -> None:
    path = path_of(endpoint, PRIVATE)
    target = path if path.startswith(("/c/", "/api/")) else API + path

    assert world.registry(endpoint.method, target, b"{}", who={}).status == 401


@pytest.mark.parametrize("endpoint", needing(Where.PROJECT), ids=named)
def test_a_project_that_does_not_exist_is_refused_like_one_without_rights(
    world: World, endpoint: HarborEndpoint
) -> None:
    for who in (as_user("outsider"), {}):
        missing = world.api(endpoint.method, path_of(endpoint, "missing"), {}, who=who)
        private = world.api(endpoint.method, path_of(endpoint, PRIVATE), {}, who=who)
        assert missing == private
    assert world.api(endpoint.method, path_of(endpoint, "missing"), {}).status == 404


# What a kind of caller may do with a token for the repository, by the action of its scope.
# fmt: off
_TOKENS = {
    "projectAdmin": "pull push delete",
    "maintainer":   "pull push delete",
    "developer":    "pull push",
    "guest":        "pull",
    "limitedGuest": "pull",
    "outsider":     "",
    "anonymous":    "",
    "admin":        "pull push delete",
    "puller":       "pull",
    "pusher":       "push",
    "deleter":      "delete",
}
_OPERATIONS = (
    ("pull",   "GET",    "manifests/v1"),
    ("pull",   "HEAD",   "manifests/v1"),
    ("pull",   "GET",    "tags/list"),
    ("pull",   "GET",    f"referrers/sha256:{'0' * 64}"),
    ("pull",   "GET",    f"blobs/sha256:{'0' * 64}"),
    ("push",   "POST",   "blobs/uploads/"),
    ("push",   "PUT",    "manifests/none"),
    ("delete", "DELETE", "manifests/none"),
    ("delete", "DELETE", f"blobs/sha256:{'0' * 64}"),
)
# fmt: on


@pytest.fixture(scope="module")
def holders(world: World) -> dict[str, Headers]:
    robots = {
        "puller": Permission("repository", "pull"),
        "pusher": Permission("repository", "push"),
        "deleter": Permission("artifact", "delete"),
    }
    made = {name: world.robot(name, PRIVATE, [permission], "project") for name, permission in robots.items()}
    return {**{name: as_user(name) for name in ROLES}, "anonymous": {}, "admin": world.admin, **made}


@pytest.mark.parametrize("caller", _TOKENS)
def test_with_a_token_each_action_is_allowed_or_refused(
    world: World, holders: dict[str, Headers], caller: str
) -> None:
    who = holders[caller]
    token = world.token(who, f"repository:{PRIVATE}/app:pull,push,delete")
    for action, method, path in _OPERATIONS:
        target = f"/v2/{PRIVATE}/app/{path}"
        expected = action in _TOKENS[caller].split()
        # Who comes with all the rights there are is told 403; only anonymous can still log in.
        refused = 403 if who else 401
        assert (world.registry(method, target, who=token).status != refused) == expected, (method, path)
        assert (world.registry(method, target, who=who).status != refused) == expected, (method, path)
        # A token of the one repository is good for no other.
        assert world.registry(method, f"/v2/{PUBLIC}/app/{path}", who=token).status == 401
