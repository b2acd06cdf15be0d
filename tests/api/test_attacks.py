"""What somebody with bad intentions tries: each attempt is refused, and nothing is different afterwards."""

from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from typing import cast
from urllib.parse import quote, urlencode

import orjson
import pytest

from chalicelib.api import passwords
from chalicelib.api.http import Response
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import RegistryError
from chalicelib.policy.rbac import Permission
from chalicelib.store.directory import configuration, members, projects, sessions, users
from chalicelib.store.table import Table
from tests.api.asking import basic
from tests.api.principals import API, CONFIG, IMAGE, PASSWORD, PRIVATE, PUBLIC, World, as_user, granted
from tests.memory import services_over

CONFIG_DIGEST = str(Digest.of(CONFIG))
PULL = Permission("repository", "pull")


@pytest.fixture
def world() -> World:
    return World()


def messages(answer: Response) -> str:
    return " ".join(error["message"] for error in orjson.loads(answer.body)["errors"])


def user_id(world: World, name: str) -> int:
    user = users.find(world.client.services.directory, name)
    assert user is not None
    return user.id


# What a digest or a mount gives away


@pytest.mark.parametrize("how", ["basic", "token"])
def test_a_blob_of_a_private_repository_is_not_had_by_its_digest(world: World, how: str) -> None:
    outsider = as_user("outsider")
    who = outsider if how == "basic" else world.token(outsider, f"repository:{PRIVATE}/app:pull")

    for path in (f"blobs/{CONFIG_DIGEST}", "manifests/v1", f"manifests/{Digest.of(IMAGE)}", "tags/list"):
        assert world.registry("GET", f"/v2/{PRIVATE}/app/{path}", who=who).status in (401, 403)


@pytest.mark.parametrize("how", ["basic", "token"])
@pytest.mark.parametrize("source", [f"&from={PRIVATE}/app", "&from=", ""])
def test_a_blob_of_a_private_repository_is_not_had_by_a_mount(world: World, how: str, source: str) -> None:
    world.api("POST", "/projects", {"project_name": "mine"}, who=as_user("outsider"))
    scopes = ("repository:mine/app:pull,push", f"repository:{PRIVATE}/app:pull")
    who = as_user("outsider") if how == "basic" else world.token(as_user("outsider"), *scopes)

    answer = world.registry("POST", f"/v2/mine/app/blobs/uploads/?mount={CONFIG_DIGEST}{source}", who=who)

    assert answer.status == 202
    assert world.registry("GET", f"/v2/mine/app/blobs/{CONFIG_DIGEST}").status == 404


def test_a_blob_is_mounted_from_where_one_may_pull(world: World) -> None:
    world.api("POST", "/projects", {"project_name": "mine"}, who=as_user("outsider"))
    token = world.token(as_user("outsider"), "repository:mine/app:pull,push", f"repository:{PUBLIC}/app:pull")

    for who in (token, as_user("outsider")):
        answer = world.registry(
            "POST", f"/v2/mine/app/blobs/uploads/?mount={CONFIG_DIGEST}&from={PUBLIC}/app", who=who
        )
        assert answer.status == 201


# Tokens


def test_scopes_are_computed_from_rights_whatever_is_asked(world: World) -> None:
    asked = [f"repository:{PRIVATE}/app:pull,push,delete,*", "repository:missing/app:pull", "registry:catalog:*"]

    assert granted(world.token(as_user("guest"), *asked)) == {f"repository:{PRIVATE}/app": ["pull"]}
    assert granted(world.token(as_user("outsider"), *asked)) == {}
    assert granted(world.token({}, *asked)) == {}


@pytest.mark.parametrize("who", ["admin", "guest"])
def test_a_registry_token_opens_nothing_of_the_api(world: World, who: str) -> None:
    token = world.token(world.admin if who == "admin" else as_user(who), f"repository:{PUBLIC}/app:pull")

    assert world.api("GET", "/users/current", who=token).status == 401
    assert (
        world.api("PUT", f"/users/{user_id(world, 'guest')}/sysadmin", {"sysadmin_flag": True}, who=token).status
        == 401
    )


def test_a_token_of_a_project_that_was_made_anew_changes_nothing_in_the_new_one(world: World) -> None:
    world.api("POST", "/projects", {"project_name": "brief"}, who=as_user("guest"))
    token = world.token(as_user("guest"), "repository:brief/app:pull,push")
    world.api("DELETE", "/projects/brief", who=as_user("guest"))
    world.client.clock.advance(timedelta(minutes=1))
    world.api("POST", "/projects", {"project_name": "brief"}, who=as_user("guest"))

    answer = world.registry("POST", "/v2/brief/app/blobs/uploads/", who=token)

    assert answer.status == 401
    assert "older than the project" in messages(answer)


@pytest.mark.parametrize("level", ["system", "project"])
def test_a_robot_account_has_no_rights_in_a_project_made_anew_under_an_old_name(world: World, level: str) -> None:
    world.api("POST", "/projects", {"project_name": "brief"}, who=as_user("guest"))
    robot = world.robot("ci", "brief", [PULL, Permission("member", "create")], level)
    assert granted(world.token(robot, "repository:brief/app:pull")) == {"repository:brief/app": ["pull"]}

    world.api("DELETE", "/projects/brief", who=as_user("guest"))
    world.api("POST", "/projects", {"project_name": "brief"})

    if level == "project":
        assert world.registry("GET", "/service/token", who=robot).status == 401
    else:
        assert granted(world.token(robot, "repository:brief/app:pull")) == {}
        assert world.api("POST", "/projects/brief/members", {"role_id": 1}, who=robot).status == 403


def test_a_robot_account_whose_project_is_gone_can_still_be_switched_off(world: World) -> None:
    world.api("POST", "/projects", {"project_name": "brief"})
    world.robot("ci", "brief", [PULL])
    world.api("DELETE", "/projects/brief")
    robot = orjson.loads(world.api("GET", "/robots").body)[0]

    assert world.api("PUT", f"/robots/{robot['id']}", {**robot, "disable": True}).status == 200
    assert orjson.loads(world.api("GET", f"/robots/{robot['id']}").body)["disable"] is True


def test_a_robot_account_sees_the_projects_in_which_it_may_do_something(world: World) -> None:
    maker = world.robot("maker", "/", [Permission("robot", "create")])
    access = [{"resource": "project", "action": "read", "effect": "deny"}]
    permissions = [{"kind": "project", "namespace": "*", "access": access}]
    body = {"name": "spy", "level": "system", "duration": 1, "permissions": permissions}

    assert world.api("POST", "/robots", body, who=maker).status == 403
    spy = orjson.loads(world.api("POST", "/robots", body).body)
    seen = orjson.loads(world.api("GET", "/projects", who=basic(spy["name"], spy["secret"])).body)
    assert {project["name"] for project in seen} == {PUBLIC, "library"}


@pytest.mark.parametrize("effect", ["Deny", "x", {"x": 1}, 5])
def test_an_effect_that_is_none_is_refused_and_not_taken_for_allow(world: World, effect: object) -> None:
    access = [{"resource": "repository", "action": "push", "effect": effect}]
    permissions = [{"kind": "project", "namespace": PRIVATE, "access": access}]
    body = {"name": "ci", "level": "project", "duration": 1, "permissions": permissions}

    assert world.api("POST", "/robots", body).status == 400


def test_every_spelling_of_a_name_is_slowed_down_together(world: World) -> None:
    spellings = ["admin", "ADMIN", "\uff41dmin", "\U0001d41admin", "\u24d0dmin", "a\uff44min", "ad\uff4din"] * 3
    statuses = [
        world.registry("GET", "/service/token", who=basic(name, f"Guess{number:05}")).status
        for number, name in enumerate(spellings)
    ]

    assert 429 in statuses


def test_a_project_whose_name_is_a_number_is_found_by_it(world: World) -> None:
    world.api("POST", "/projects", {"project_name": "2024"}, who=as_user("guest"))

    assert world.api("GET", "/projects/2024/repositories", who=as_user("guest")).status == 200
    assert world.api("GET", "/projects/2024", who=as_user("guest"), x_is_resource_name="true").status == 200


def test_rights_that_were_taken_away_are_gone_from_new_tokens_and_the_api_at_once(world: World) -> None:
    found = orjson.loads(world.api("GET", f"/projects/{PRIVATE}/members?entityname=developer").body)
    world.api("DELETE", f"/projects/{PRIVATE}/members/{found[0]['id']}")

    assert granted(world.token(as_user("developer"), f"repository:{PRIVATE}/app:pull,push")) == {}
    assert world.api("GET", f"/projects/{PRIVATE}", who=as_user("developer")).status == 403


def test_a_token_that_outlives_its_project_pushes_nothing(world: World) -> None:
    world.api("POST", "/projects", {"project_name": "brief"})
    token = world.token(world.admin, "repository:brief/app:pull,push")
    assert world.api("DELETE", "/projects/brief").status == 200

    answer = world.registry("POST", "/v2/brief/app/blobs/uploads/", who=token)

    assert answer.status == 404
    assert "brief" in messages(answer)


def test_a_read_only_registry_takes_no_change_and_can_be_opened_again(world: World) -> None:
    token = world.token(world.admin, f"repository:{PRIVATE}/app:pull,push,delete")
    begun = world.registry("POST", f"/v2/{PRIVATE}/app/blobs/uploads/", who=token).headers["Location"]
    assert world.api("PUT", "/configurations", {"read_only": True}).status == 200

    # The URL of an upload is good for itself, and the registry read-only all the same.
    digest = Digest.of(b"late")
    for method, url in (("PATCH", begun), ("PUT", f"{begun}&digest={digest}"), ("DELETE", begun)):
        answer = world.registry(method, url, b"late", who=token)
        assert answer.status == 403
        assert messages(answer) == "The system is in read only mode. Any modification is prohibited."
        assert b"DENIED" in answer.body
    assert world.registry("GET", begun, who=token).status == 204
    assert world.registry("GET", "/service/token").status == 200
    assert log_in(world, "guest", PASSWORD).status == 200
    assert world.registry("POST", f"/v2/{PRIVATE}/app/blobs/uploads/", who=token).status == 403
    assert world.registry("DELETE", f"/v2/{PRIVATE}/app/manifests/v1", who=token).status == 403
    assert world.registry("GET", f"/v2/{PRIVATE}/app/manifests/v1", who=token).status == 200
    assert world.api("POST", "/projects", {"project_name": "new"}).status == 403
    assert world.api("PUT", "/configurations", {"read_only": False}).status == 200
    assert world.api("POST", "/projects", {"project_name": "new"}).status == 201


def test_a_registry_that_was_made_read_only_elsewhere_takes_no_change_seconds_later(world: World) -> None:
    elsewhere = services_over(world.client.objects, world.client.clock)
    assert world.api("POST", "/projects", {"project_name": "before"}).status == 201

    configuration.change(elsewhere.directory, {"read_only": True})
    world.client.clock.advance(timedelta(seconds=configuration.SECONDS))

    assert world.api("POST", "/projects", {"project_name": "after"}).status == 403
    assert world.registry("POST", f"/v2/{PRIVATE}/app/blobs/uploads/", who=world.admin).status == 403


# Robot accounts


def test_a_robot_account_that_makes_others_gives_only_what_it_has(world: World) -> None:
    maker = world.robot("maker", PRIVATE, [PULL, Permission("robot", "create")], "project")

    def make(name: str, *actions: str, namespace: str = PRIVATE) -> int:
        access = [{"resource": "repository", "action": action} for action in actions]
        permissions = [{"kind": "project", "namespace": namespace, "access": access}]
        body = {"name": name, "level": "project", "duration": 1, "permissions": permissions}
        return world.api("POST", "/robots", body, who=maker).status

    assert make("puller", "pull") == 201
    assert make("pusher", "pull", "push") == 403
    assert make("elsewhere", "pull", namespace=PUBLIC) == 403


def test_a_robot_account_that_expired_or_was_switched_off_is_nobody(world: World) -> None:
    world.robot("ci", PRIVATE, [PULL], "project")
    robot = orjson.loads(world.api("GET", f"/robots?q=Level=project,ProjectID={project_id(world)}").body)[0]
    who = basic(robot["name"], "")
    secret = orjson.loads(world.api("PATCH", f"/robots/{robot['id']}", {"secret": ""}).body)["secret"]
    who = basic(robot["name"], secret)
    assert world.api("GET", f"/projects/{PRIVATE}/repositories", who=who).status != 401

    world.api("PUT", f"/robots/{robot['id']}", {**robot, "disable": True})
    assert world.registry("GET", "/service/token", who=who).status == 401
    world.api("PUT", f"/robots/{robot['id']}", {**robot, "disable": False, "duration": 1})
    world.client.clock.advance(timedelta(days=2))
    assert world.registry("GET", "/service/token", who=who).status == 401


def project_id(world: World) -> int:
    project = projects.find(world.client.services.directory, PRIVATE)
    assert project is not None
    return project.id


def test_a_robot_account_over_users_makes_no_administrator(world: World) -> None:
    permissions = [Permission("user", action) for action in ("create", "read", "update", "list", "delete")]
    robot = world.robot("people", "/", permissions)
    guest, admin = user_id(world, "guest"), user_id(world, "admin")

    assert world.api("PUT", f"/users/{guest}/sysadmin", {"sysadmin_flag": True}, who=robot).status == 403
    assert world.api("PUT", f"/users/{admin}/password", {"new_password": "Owned12345"}, who=robot).status == 403
    assert world.api("PUT", f"/users/{admin}/cli_secret", {"secret": "Owned12345"}, who=robot).status == 403
    assert world.api("DELETE", f"/users/{admin}", who=robot).status == 403


# Fields that nobody may set


@pytest.mark.parametrize("name", ["sysadmin_flag", "administrator", "user_id", "id", "admin_role_in_auth"])
def test_a_field_that_a_request_may_not_set_is_not_read(world: World, name: str) -> None:
    body = {"username": "eve", "password": PASSWORD, "email": "eve@example.org", name: True}
    assert world.api("POST", "/users", body).status == 201
    number = user_id(world, "eve")
    world.api("PUT", f"/users/{number}", {"email": "eve@example.org", name: True}, who=as_user("eve"))

    shown = orjson.loads(world.api("GET", "/users/current", who=as_user("eve")).body)

    assert shown["sysadmin_flag"] is False
    assert shown["user_id"] == number


def test_a_member_of_a_project_sets_no_limit_and_no_owner(world: World) -> None:
    body = {"storage_limit": 1, "owner_id": 7, "project_id": 1, "metadata": {"retention_id": "1"}}
    assert world.api("PUT", f"/projects/{PRIVATE}", body, who=as_user("projectAdmin")).status == 200

    project = projects.find(world.client.services.directory, PRIVATE)
    assert project is not None
    assert (project.storage_limit, project.owner_name) == (-1, "admin")
    assert "retention_id" not in project.metadata


# Sessions


def log_in(world: World, name: str, password: str) -> Response:
    form = urlencode({"principal": name, "password": password}).encode()
    return world.registry("POST", "/c/login", form, who={}, content_type="application/x-www-form-urlencoded")


def session(answer: Response) -> dict[str, str]:
    cookie = answer.headers["Set-Cookie"].partition(";")[0]
    return {"cookie": cookie}


def test_a_session_changes_nothing_without_its_csrf_token(world: World) -> None:
    answer = log_in(world, "projectAdmin", PASSWORD)
    who = session(answer)
    assert "HttpOnly" in answer.headers["Set-Cookie"]
    assert "SameSite=Lax" in answer.headers["Set-Cookie"]
    assert "Secure" in answer.headers["Set-Cookie"]
    token = answer.headers["X-Harbor-Csrf-Token"]
    path, body = f"/projects/{PRIVATE}", {"metadata": {"public": "true"}}

    assert world.api("GET", "/users/current", who=who).status == 200
    assert world.api("PUT", path, body, who=who).status == 403
    assert world.api("PUT", path, body, who={**who, "x-harbor-csrf-token": token[:-1] + "0g"}).status == 403
    other = log_in(world, "maintainer", PASSWORD).headers["X-Harbor-Csrf-Token"]
    assert world.api("PUT", path, body, who={**who, "x-harbor-csrf-token": other}).status == 403
    assert world.api("PUT", path, body, who={**who, "x-harbor-csrf-token": token}).status == 200


def test_a_session_ends_with_logout_time_and_a_new_password(world: World) -> None:
    first, second, third = (session(log_in(world, "guest", PASSWORD)) for _ in range(3))
    assert world.registry("GET", "/c/log_out", who=first).status == 200
    assert world.api("GET", "/users/current", who=first).status == 401

    assert world.api("GET", "/users/current", who=second).status == 200
    path = f"/users/{user_id(world, 'guest')}/password"
    change = {"old_password": PASSWORD, "new_password": "Another1234"}
    assert world.api("PUT", path, change, who=as_user("guest")).status == 200
    assert world.api("GET", "/users/current", who=second).status == 401

    fourth = session(log_in(world, "guest", "Another1234"))
    world.client.clock.advance(timedelta(hours=2))
    assert world.api("GET", "/users/current", who=fourth).status == 401
    assert world.api("GET", "/users/current", who=third).status == 401


# Who is here


@pytest.mark.parametrize("ask", ["token", "api", "session"])
def test_an_unknown_user_and_a_wrong_password_get_the_same_answer(world: World, ask: str) -> None:
    def attempt(name: str) -> Response:
        if ask == "session":
            return log_in(world, name, "Wrong12345")
        target = "/service/token" if ask == "token" else f"{API}/users/current"
        return world.registry("GET", target, who=basic(name, "Wrong12345"))

    known = [attempt(name) for name in ("guest", "admin", "nobody", "robot$nobody", f"robot${PRIVATE}+nobody")]

    assert {answer.status for answer in known} == {401}
    assert len({answer.body for answer in known}) == 1


def test_the_old_password_is_asked_for_and_another_s_is_out_of_reach(world: World) -> None:
    own, other = user_id(world, "guest"), user_id(world, "developer")
    body = {"old_password": "Wrong12345", "new_password": "Another1234"}

    assert world.api("PUT", f"/users/{own}/password", body, who=as_user("guest")).status == 403
    assert world.api("PUT", f"/users/{other}/password", body, who=as_user("guest")).status == 403
    assert world.api("GET", f"/users/{other}", who=as_user("guest")).status == 403


def test_guessing_is_slowed_down_at_its_source_and_the_administrator_still_gets_in(world: World) -> None:
    world.client.source = "203.0.113.66"
    statuses = [
        world.registry("GET", "/service/token", who=basic("admin", f"Guess{number:05}")).status
        for number in range(40)
    ]
    assert statuses[0] == 401
    assert 429 in statuses
    # Even the right password must wait where the guesses came from ...
    waiting = world.registry("GET", "/service/token", who=world.admin)
    assert waiting.status == 429
    assert int(waiting.headers["Retry-After"]) > 0

    # ... and nowhere else.
    world.client.source = "192.0.2.7"
    assert world.registry("GET", "/service/token", who=world.admin).status == 200
    world.client.source = "203.0.113.66"
    world.client.clock.advance(timedelta(hours=1))
    assert world.registry("GET", "/service/token", who=world.admin).status == 200


# Paths, names and headers


@pytest.mark.parametrize(
    "path",
    [
        f"/projects/{PRIVATE}/repositories/../../users",
        f"/projects/..%2F{PRIVATE}",
        f"/projects/{PRIVATE}%00",
        f"/projects/{PRIVATE.upper()}",
        f"/projects/{PRIVATE}%2f",
        "/projects/%D1%83eb",
        "/projects/w\u0435b",
        f"/projects/{PRIVATE}/repositories/%2e%2e/artifacts",
        f"/projects/{PRIVATE}/repositories/a%252F..%252Fb/artifacts",
        f"/projects/{PRIVATE}//members",
        "/projects/0",
        f"/projects/{'9' * 40}",
    ],
)
def test_paths_that_are_tricks_lead_nowhere(world: World, path: str) -> None:
    answer = world.api("GET", path, who=as_user("projectAdmin"))

    assert answer.status in (400, 403, 404)
    assert orjson.loads(answer.body)["errors"]


@pytest.mark.parametrize(
    "name",
    ["web", "Web", "we\u0062\u0301", "../web", "web/app", "a\0b", "a\nb", "-a", "a" * 256, "wеb", "", "a__b", "_a"],
)
def test_a_project_of_a_name_that_is_taken_or_none_is_not_made(world: World, name: str) -> None:
    answer = world.api("POST", "/projects", {"project_name": name}, who=as_user("outsider"))

    assert answer.status in (400, 409)


@pytest.mark.parametrize(
    "name", ["Admin", "ADMIN", "\uff41dmin", "admin ", " admin", "ad\0min", "a:b", "robot$x", "admin\n"]
)
def test_a_user_who_could_be_taken_for_another_is_not_made(world: World, name: str) -> None:
    answer = world.api("POST", "/users", {"username": name, "password": PASSWORD, "email": "x@example.org"})

    assert answer.status in (400, 409)


@pytest.mark.parametrize("name", ["x-request-id", "x-resource-name-in-location", "x-is-resource-name"])
def test_nothing_gets_into_a_header_of_the_answer(world: World, name: str) -> None:
    headers = {name.replace("-", "_"): "true\r\nSet-Cookie: sid=stolen"}

    answer = world.api("POST", "/projects", {"project_name": "injected"}, None, **headers)

    assert not any("\r" in value or "\n" in value for value in answer.headers.values())
    assert "Set-Cookie" not in answer.headers
    quoted = world.api("GET", f"/projects?page_size=1&q=name=~{quote(chr(10) + 'x: y')}&page=2")
    assert not any("\n" in value for value in quoted.headers.values())


def test_a_request_id_that_can_be_one_comes_back(world: World) -> None:
    assert world.api("GET", "/ping", x_request_id="trace-1").headers["X-Request-Id"] == "trace-1"
    assert world.api("GET", "/ping", x_request_id="two words").headers["X-Request-Id"] == "request-1"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"{", b'"x"', b"\xff", b'{"project_name": 5}', b"{}", b"1e999"]
)
def test_a_body_that_is_not_what_is_wanted_is_a_bad_request(world: World, body: bytes) -> None:
    answer = world.registry("POST", f"{API}/projects", body)

    assert answer.status == 400
    assert messages(answer)


def test_a_huge_body_is_refused_before_it_is_read(world: World) -> None:
    answer = world.registry("POST", f"{API}/projects", b"", content_length=str(1 << 40))

    assert answer.status == 413


def test_what_an_earlier_project_left_in_the_bucket_is_nobody_s_by_its_name(world: World) -> None:
    world.client.services.content.objects.put("catalog/left!app", b"")

    assert world.api("POST", "/projects", {"project_name": "left"}, who=as_user("outsider")).status == 409
    assert world.api("POST", "/projects", {"project_name": "left"}).status == 201


def test_what_somebody_did_is_in_the_audit_log_of_the_project(world: World) -> None:
    world.registry("DELETE", f"/v2/{PRIVATE}/app/manifests/v1", who=as_user("maintainer"))

    events = orjson.loads(world.api("GET", f"/projects/{PRIVATE}/auditlog-exts?page_size=100").body)

    found = {(event["username"], event["operation"], event["resource"]) for event in events}
    assert ("maintainer", "delete", f"{PRIVATE}/app:v1") in found
    assert ("admin", "create", f"{PRIVATE}/app:v1") in found


# What a reviewer found


def test_a_project_that_was_deleted_costs_its_members_nothing(world: World) -> None:
    guest = user_id(world, "guest")
    for number in range(3):
        world.api("POST", "/projects", {"project_name": f"trap{number}"}, who=as_user("outsider"))
        member = {"role_id": 5, "member_user": {"user_id": guest}}
        world.api("POST", f"/projects/trap{number}/members", member, who=as_user("outsider"))
        assert world.api("DELETE", f"/projects/trap{number}", who=as_user("outsider")).status == 200

    held = members.memberships(world.client.services.directory, f"u/{guest}")

    assert {membership.project for membership in held} == {PRIVATE, PUBLIC}


def test_a_session_gets_its_csrf_token_with_every_answer_and_may_log_in_again(world: World) -> None:
    first = log_in(world, "guest", PASSWORD)
    who = {**session(first), "cookie": f"a{{b=1; {session(first)['cookie']}; x"}

    reloaded = world.api("GET", "/users/current", who=who)

    assert reloaded.headers["X-Harbor-Csrf-Token"] == first.headers["X-Harbor-Csrf-Token"]
    form = urlencode({"principal": "guest", "password": PASSWORD}).encode()
    assert world.registry("POST", "/c/login", form, who=who).status == 200


def test_a_session_that_is_used_goes_on_and_one_that_only_looks_does_not(world: World) -> None:
    used, looking = (session(log_in(world, "guest", PASSWORD)) for _ in range(2))
    for _ in range(4):
        world.client.clock.advance(timedelta(minutes=40))
        assert world.api("GET", "/users/current", who=used).status == 200
        world.api("GET", "/users/current", who=looking, x_harbor_no_session_renewal="true")

    assert world.api("GET", "/users/current", who=looking).status == 401


def test_guesses_at_the_old_password_are_slowed_down(world: World) -> None:
    path = f"/users/{user_id(world, 'guest')}/password"
    who = session(log_in(world, "guest", PASSWORD))
    token = world.api("GET", "/users/current", who=who).headers["X-Harbor-Csrf-Token"]
    who = {**who, "x-harbor-csrf-token": token}
    guesses = ({"old_password": f"Guess{number:05}", "new_password": "Another1234"} for number in range(20))

    assert 429 in [world.api("PUT", path, guess, who=who).status for guess in guesses]


def test_a_robot_account_that_may_only_make_tags_moves_none_back(world: World) -> None:
    robot = world.robot("tagger", PRIVATE, [Permission("tag", "create")], "project")

    assert world.api("POST", f"/projects/{PRIVATE}/repositories/app/tags/v1/undo", who=robot).status == 403


def test_who_logged_in_is_in_the_audit_log_by_the_account_s_name(world: World) -> None:
    log_in(world, "GUEST", PASSWORD)

    events = orjson.loads(world.api("GET", "/auditlog-exts?q=operation=login").body)

    assert [(event["username"], event["resource"]) for event in events] == [("guest", "guest")]


def deleted(world: World, name: str) -> None:
    """Let the guest have a project with an image for a while."""
    assert world.api("POST", "/projects", {"project_name": name}, who=as_user("guest")).status == 201
    world.push(f"{name}/app")
    assert world.api("DELETE", f"/projects/{name}/repositories/app").status == 200
    assert world.api("DELETE", f"/projects/{name}", who=as_user("guest")).status == 200


def test_the_name_of_a_deleted_project_is_kept_for_who_deleted_it_until_its_tokens_are_over(world: World) -> None:
    deleted(world, "brief")
    body = {"project_name": "brief"}

    refused = world.api("POST", "/projects", body, who=as_user("developer"))
    assert refused.status == 409
    assert "free again at" in messages(refused)
    assert world.api("POST", "/projects", body, who=as_user("guest")).status == 201
    assert world.api("DELETE", "/projects/brief", who=as_user("guest")).status == 200
    world.client.clock.advance(timedelta(minutes=32))
    assert world.api("POST", "/projects", body, who=as_user("developer")).status == 201


@pytest.mark.parametrize("maker", ["guest", "admin", "developer"])
def test_nothing_of_a_deleted_project_is_had_by_making_one_of_its_name(world: World, maker: str) -> None:
    deleted(world, "brief")
    world.client.clock.advance(timedelta(hours=1))
    who = world.admin if maker == "admin" else as_user(maker)
    assert world.api("POST", "/projects", {"project_name": "brief"}, who=who).status == 201

    assert world.registry("GET", f"/v2/brief/app/blobs/{CONFIG_DIGEST}", who=who).status == 404
    assert world.registry("GET", f"/v2/brief/app/manifests/{Digest.of(IMAGE)}", who=who).status == 404
    assert world.api("GET", "/projects/brief/repositories/app/tags/v1/history", who=who).status == 404
    assert world.api("POST", "/projects/brief/repositories/app/tags/v1/undo", who=who).status == 404


def test_what_is_denied_by_name_stays_denied_in_a_project_made_anew(world: World) -> None:
    world.api("POST", "/projects", {"project_name": "closed"})
    permissions = [
        {"kind": "project", "namespace": "*", "access": [{"resource": "repository", "action": "pull"}]},
        {
            "kind": "project",
            "namespace": "closed",
            "access": [{"resource": "repository", "action": "pull", "effect": "deny"}],
        },
    ]
    body = {"name": "wide", "level": "system", "duration": 1, "permissions": permissions}
    made = orjson.loads(world.api("POST", "/robots", body).body)
    robot = basic(made["name"], made["secret"])
    assert granted(world.token(robot, "repository:closed/app:pull")) == {}

    world.api("DELETE", "/projects/closed")
    world.api("POST", "/projects", {"project_name": "closed"})

    assert granted(world.token(robot, "repository:closed/app:pull", f"repository:{PRIVATE}/app:pull")) == {
        f"repository:{PRIVATE}/app": ["pull"]
    }


def test_a_token_ends_with_the_robot_account(world: World) -> None:
    world.api("PUT", "/configurations", {"token_expiration": 1440})
    access = [{"resource": "repository", "action": "pull"}]
    permissions = [{"kind": "project", "namespace": PRIVATE, "access": access}]
    body = {"name": "short", "level": "project", "duration": 1, "permissions": permissions}
    made = orjson.loads(world.api("POST", "/robots", body).body)
    world.client.clock.advance(timedelta(hours=23))

    answer = world.registry("GET", "/service/token", who=basic(made["name"], made["secret"]))

    assert orjson.loads(answer.body)["expires_in"] == 3600


def test_a_logout_stays_one_when_a_request_of_the_session_is_under_way(world: World) -> None:
    secret = session(log_in(world, "guest", PASSWORD))["cookie"].partition("=")[2]
    directory = world.client.services.directory
    found = sessions.find(directory, secret)
    assert found is not None

    world.registry("GET", "/c/log_out", who={"cookie": f"sid={secret}"})
    sessions.prolong(directory, secret, found, 3600)

    assert sessions.find(directory, secret) is None


def test_logging_in_again_ends_the_session_before(world: World) -> None:
    before = session(log_in(world, "guest", PASSWORD))
    form = urlencode({"principal": "developer", "password": PASSWORD}).encode()
    world.registry("POST", "/c/login", form, who=before)

    assert world.api("GET", "/users/current", who=before).status == 401


def test_the_cookie_lasts_as_long_as_the_browser_and_the_session_as_long_as_it_is_used(world: World) -> None:
    assert "Max-Age" not in log_in(world, "guest", PASSWORD).headers["Set-Cookie"]


def test_a_refused_request_of_a_session_tells_its_csrf_token_too(world: World) -> None:
    who = session(log_in(world, "guest", PASSWORD))

    assert world.api("GET", "/projects/none", who=who).headers["X-Harbor-Csrf-Token"]


def test_a_token_fits_into_a_header_whatever_is_asked(world: World) -> None:
    scopes = [f"repository:{PRIVATE}/{'x' * 200}{number}:pull" for number in range(90)]

    token = world.token(world.admin, *scopes)

    assert len(token["authorization"]) < 14_000
    assert world.registry("GET", "/v2/", who=token).status == 200


def test_one_source_does_not_take_every_place_in_the_queue() -> None:
    places = passwords.Places(most=2)
    with places.place("a"), places.place("a"):
        with pytest.raises(RegistryError, match="too many logins"), places.place("a"):
            pass
        with places.place("b"):
            pass
    with places.place("a"):
        pass


def test_who_is_logged_in_is_served_beside_all_the_logins_that_its_address_may_have_under_way(world: World) -> None:
    world.client.source = "203.0.113.77"
    assert world.registry("GET", "/service/token", who=as_user("guest")).status == 200
    with ExitStack() as taken:
        for _ in range(32):
            taken.enter_context(passwords.PLACES.place(world.client.source))

        for who in (as_user("guest"), world.admin):
            assert world.registry("GET", "/service/token", who=who).status == 200
        for name in ("guest", "nobody", "robot$nobody"):
            refused = world.registry("GET", "/service/token", who=basic(name, "Guess12345"))
            assert (refused.status, refused.headers["Retry-After"]) == (429, "1")


def test_the_audit_log_is_read_from_its_end(world: World) -> None:
    for order in ("-op_time", "-id", ""):
        events = orjson.loads(world.api("GET", f"/auditlog-exts?page_size=3&sort={order}").body)
        times = [event["op_time"] for event in events]
        assert len(times) == 3
        assert times == sorted(times, reverse=True)


def test_a_wrong_secret_that_is_tried_again_guesses_nothing_and_counts_once(world: World) -> None:
    statuses = {world.registry("GET", "/service/token", who=basic("guest", "Old1234567")).status for _ in range(20)}

    assert statuses == {401}
    assert world.registry("GET", "/service/token", who=as_user("guest")).status == 200


def test_an_administrator_is_told_that_a_project_is_missing_and_others_that_it_may_be(world: World) -> None:
    for who in (world.admin, world.token(world.admin, "repository:missing/app:pull,push")):
        answer = world.registry("POST", "/v2/missing/app/blobs/uploads/", who=who)
        assert (answer.status, messages(answer)) == (404, "there is no project missing: create it first")
    outsider = world.registry("POST", "/v2/missing/app/blobs/uploads/", who=as_user("outsider"))
    private = world.registry("POST", f"/v2/{PRIVATE}/app/blobs/uploads/", who=as_user("outsider"))
    assert outsider.status == private.status == 403
    assert messages(outsider) == messages(private).replace(PRIVATE, "missing")


class _Gone:
    """A table that does not answer."""

    def __getattr__(self, name: str) -> object:
        raise OSError(name)


def test_a_pull_with_a_token_asks_nobody_but_s3(world: World) -> None:
    token = world.token(as_user("guest"), f"repository:{PRIVATE}/app:pull")
    services = world.client.services
    away = cast("Table", _Gone())
    world.client.services = replace(
        services, directory=replace(services.directory, table=away), index=replace(services.index, table=away)
    )

    for path in ("manifests/v1", f"manifests/{Digest.of(IMAGE)}", "tags/list"):
        assert world.registry("GET", f"/v2/{PRIVATE}/app/{path}", who=token).status == 200
    assert world.registry("GET", f"/v2/{PRIVATE}/app/blobs/{CONFIG_DIGEST}", who=token).status == 307
    assert world.registry("GET", "/v2/", who=token).status == 200
    # Whoever logs in needs the directory, and is told that it is away for the moment.
    assert world.registry("GET", "/service/token", who=as_user("guest")).status == 503
