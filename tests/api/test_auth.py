"""Credentials to grants: the token service, challenges, and upload URLs."""

from datetime import timedelta
from urllib.parse import urlencode

import orjson
import pytest

from chalicelib.api.http import Response
from chalicelib.policy.rbac import Permission
from tests.api.asking import ADDRESS, Client, basic
from tests.api.principals import PRIVATE, World, as_user
from tests.memory import PASSWORD

UPLOADS = "/v2/a/b/blobs/uploads/"
PASSWORD_GRANT = {"grant_type": "password", "username": "admin", "password": PASSWORD}
FORM = {"content_type": "application/x-www-form-urlencoded"}


def code(response: Response) -> tuple[int, str]:
    return response.status, orjson.loads(response.body)["errors"][0]["code"]


def bearer(client: Client, *scopes: str) -> dict[str, str]:
    target = "/service/token?" + urlencode([("service", "registry.test"), *(("scope", scope) for scope in scopes)])
    return {"authorization": "Bearer " + orjson.loads(client.ask("GET", target).body)["token"]}


def test_a_token_comes_under_both_names_with_its_time() -> None:
    answer = Client().ask("GET", "/service/token?scope=repository:a/b:pull")
    document = orjson.loads(answer.body)

    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert document["token"] == document["access_token"]
    assert (document["expires_in"], document["issued_at"]) == (1800, "2026-03-01T12:00:00Z")


def test_a_token_for_one_repository_opens_no_other(client: Client) -> None:
    client.headers = bearer(client, "repository:a/b:pull,push")

    assert client.ask("POST", UPLOADS).status == 202
    assert code(client.ask("POST", "/v2/c/d/blobs/uploads/")) == (401, "UNAUTHORIZED")


def test_a_token_without_a_scope_does_what_its_holder_may_do_now(client: Client) -> None:
    """API Gateway's challenge is the same for every request and names no scope; some clients then ask for none."""
    client.headers = bearer(client)

    assert client.ask("POST", UPLOADS).status == 202
    assert client.ask("POST", "/v2/c/d/blobs/uploads/").status == 202
    assert client.ask("GET", "/v2/_catalog").status == 200


@pytest.mark.parametrize(("name", "expected"), [("developer", 202), ("guest", 403), ("outsider", 403)])
def test_a_token_without_a_scope_has_the_rights_of_its_holder(name: str, expected: int) -> None:
    world = World()
    token = world.token(as_user(name))

    assert world.registry("POST", f"/v2/{PRIVATE}/x/blobs/uploads/", who=token).status == expected


def test_a_robot_account_must_name_what_it_wants() -> None:
    world = World()
    robot = world.robot("ci", PRIVATE, [Permission("repository", "push"), Permission("repository", "pull")])

    assert world.registry("POST", f"/v2/{PRIVATE}/x/blobs/uploads/", who=world.token(robot)).status == 401


def test_a_token_without_a_scope_is_worth_nothing_to_anonymous(client: Client) -> None:
    client.headers = {}
    client.headers = bearer(client)

    assert code(client.ask("POST", UPLOADS)) == (401, "UNAUTHORIZED")


def test_a_form_with_the_password_gets_a_token_for_scopes_in_one_parameter(client: Client) -> None:
    form = urlencode({**PASSWORD_GRANT, "scope": "repository:a/b:pull repository:c/d:pull,push"})
    client.headers = {}

    answer = client.ask("POST", "/service/token", form.encode(), **FORM)

    client.headers = {"authorization": "Bearer " + orjson.loads(answer.body)["access_token"]}
    assert client.ask("POST", "/v2/c/d/blobs/uploads/").status == 202


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (b"", (400, "UNSUPPORTED")),
        (b"\xff", (400, "UNSUPPORTED")),
        (b"grant_type=refresh_token&refresh_token=x", (400, "UNSUPPORTED")),
        (b"x=" + b"y" * 100_000, (400, "UNSUPPORTED")),
        (urlencode({**PASSWORD_GRANT, "password": "wrong"}).encode(), (401, "UNAUTHORIZED")),
        (b"grant_type=password", (401, "UNAUTHORIZED")),
    ],
)
def test_other_forms_are_refused(client: Client, form: bytes, expected: tuple[int, str]) -> None:
    assert code(client.ask("POST", "/service/token", form, **FORM)) == expected


def test_a_wrong_password_and_an_unknown_user_get_the_same_answer(client: Client) -> None:
    client.headers = basic(password="wrong")
    wrong = client.ask("GET", "/service/token")
    client.headers = basic(name="nobody")
    unknown = client.ask("GET", "/service/token")

    assert wrong == unknown
    assert code(wrong) == (401, "UNAUTHORIZED")


@pytest.mark.parametrize(
    ("method", "target", "scope"),
    [
        ("GET", "/v2/", ""),
        ("GET", "/v2/a/b/manifests/x", "repository:a/b:pull"),
        ("POST", UPLOADS, "repository:a/b:pull,push"),
        ("DELETE", "/v2/a/b/manifests/x", "repository:a/b:pull,delete"),
        ("GET", "/v2/_catalog", "registry:catalog:*"),
        # A name that is none must not get into the header.
        ("GET", '/v2/a"\r\nX: y/manifests/x', ""),
    ],
)
def test_anonymous_is_challenged_with_the_scope_to_ask_for(
    client: Client, method: str, target: str, scope: str
) -> None:
    client.headers = {}

    answer = client.ask(method, target)

    asked = f',scope="{scope}"' if scope else ""
    assert code(answer) == (401, "UNAUTHORIZED")
    assert answer.headers["WWW-Authenticate"] == (
        f'Bearer realm="{ADDRESS}/service/token",service="registry.test"{asked}'
    )


@pytest.mark.parametrize(
    "value", ["Basic", "Basic !!", "Basic YQ==", "Basic ü", "Digest x", "Bearer", "Bearer x", "x"]
)
def test_credentials_that_cannot_be_read_are_401(client: Client, value: str) -> None:
    client.headers = {"authorization": value}

    assert code(client.ask("GET", "/v2/a/b/manifests/x")) == (401, "UNAUTHORIZED")
    assert code(client.ask("GET", "/v2/")) == (401, "UNAUTHORIZED")


def test_an_expired_token_is_told_so(client: Client) -> None:
    client.headers = bearer(client, "repository:a/b:pull,push")
    client.clock.advance(timedelta(hours=1))

    answer = client.ask("POST", UPLOADS)

    assert code(answer) == (401, "UNAUTHORIZED")
    assert b"expired" in answer.body


def test_an_upload_url_works_without_credentials_for_a_day(client: Client) -> None:
    location = client.ask("POST", UPLOADS).headers["Location"]
    client.headers = {}

    assert client.ask("GET", location).status == 204
    client.clock.advance(timedelta(hours=25))
    assert code(client.ask("GET", location)) == (404, "BLOB_UPLOAD_UNKNOWN")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("/a/b/", "/a/c/"),
        ("sha256.", "sha512."),
        ("uploads/", "uploads/0"),
        ("_state=", "state="),
        (".", ".9"),
    ],
)
def test_an_upload_url_that_was_changed_is_unknown(client: Client, old: str, new: str) -> None:
    location = client.ask("POST", UPLOADS).headers["Location"]

    changed = location.replace(old, new, 1)

    assert code(client.ask("GET", changed)) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_an_upload_url_is_good_for_nothing_else(client: Client) -> None:
    query = client.ask("POST", UPLOADS).headers["Location"].partition("?")[2]
    client.headers = {}

    assert client.ask("GET", f"/v2/a/b/tags/list?{query}").status == 401
    assert client.ask("POST", f"{UPLOADS}?{query}").status == 401
