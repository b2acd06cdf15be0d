"""Who we are to another registry, and who else hears of it: nobody."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.oci.manifests import OCI_MANIFEST
from chalicelib.store.reach import resolve
from chalicelib.store.remote import (
    DeniedError,
    DownError,
    LimitedError,
    Remote,
    RemoteError,
    Site,
    TokenKind,
    connect,
)
from chalicelib.store.remote.tokens import Authority, challenges
from chalicelib.store.remote.wire import Wire
from tests.store.remote.conftest import HERE
from tests.store.remote.fake import ACCESS_KEY, ACCESS_SECRET, FakeRegistry, Handler, answer, basic, faking

MANIFEST = b'{"schemaVersion":2}'


@pytest.fixture
def elsewhere() -> Iterator[FakeRegistry]:
    with faking() as made:
        yield made


def site(registry: FakeRegistry, **fields: Any) -> Site:
    return replace(Site(registry.url, access_key=ACCESS_KEY, access_secret=ACCESS_SECRET), **fields)


@pytest.mark.parametrize("auth", ["", "basic", "bearer"])
def test_a_registry_is_told_who_we_are_in_the_way_that_it_asks_for(auth: str) -> None:
    with faking(auth=auth) as registry, connect(site(registry), HERE) as remote:
        registry.add_manifest("a/b", MANIFEST, OCI_MANIFEST, "v1")
        remote.ping()

        assert remote.get_manifest("a/b", "v1").content == MANIFEST
        remote.put_manifest("a/b", "v2", OCI_MANIFEST, MANIFEST)
        assert sorted(remote.tags("a/b")) == ["v1", "v2"]


def test_who_has_no_credential_asks_for_a_token_as_nobody() -> None:
    with faking(auth="bearer") as registry, connect(Site(registry.url), HERE) as remote:
        registry.add_manifest("a/b", MANIFEST, OCI_MANIFEST, "v1")

        assert remote.get_manifest("a/b", "v1").content == MANIFEST
        asked = next(each for each in registry.asked if each.path == "/token")
        assert "authorization" not in asked.headers


def test_a_token_is_asked_for_once_a_scope_and_remembered_by_the_next_conversation() -> None:
    with faking(auth="bearer") as registry:
        registry.add_manifest("a/b", MANIFEST, OCI_MANIFEST, "v1")
        for _ in range(2):
            with connect(site(registry), HERE) as remote:
                remote.get_manifest("a/b", "v1")
                remote.get_manifest("a/b", "v1")

        scopes = [each.query["scope"] for each in registry.asked if each.path == "/token"]
        assert scopes == [["repository:a/b:pull"]]
        assert registry.methods() == ["GET", "GET", "GET", "GET", "GET", "GET"]


def test_a_token_that_is_refused_is_renewed_once() -> None:
    with faking(auth="bearer") as registry, connect(site(registry), HERE) as remote:
        registry.add_manifest("a/b", MANIFEST, OCI_MANIFEST, "v1")
        remote.get_manifest("a/b", "v1")
        registry.tokens.clear()

        assert remote.get_manifest("a/b", "v1").content == MANIFEST
        registry.instead("GET", "/token", answer(200, b'{"token":"worthless"}'))
        registry.tokens.clear()
        with pytest.raises(DeniedError) as caught:
            remote.get_manifest("a/b", "v1")
        assert caught.value.status == 401


def test_a_token_service_that_moved_is_asked_for_anew(elsewhere: FakeRegistry) -> None:
    with faking(auth="bearer") as registry, connect(site(registry), HERE) as remote:
        registry.add_manifest("a/b", MANIFEST, OCI_MANIFEST, "v1")
        challenge = f'Bearer realm="{elsewhere.url}/gone",service="fake"'
        registry.instead("GET", "/v2/", answer(401, WWW_Authenticate=challenge), times=1)
        with pytest.raises(RemoteError, match="gave no token"):
            remote.ping()

        assert remote.get_manifest("a/b", "v1").content == MANIFEST


@pytest.mark.parametrize(
    ("access_key", "sent"),
    [
        (ACCESS_KEY, {"grant_type": ["password"], "username": [ACCESS_KEY], "password": [ACCESS_SECRET]}),
        ("<token>", {"grant_type": ["refresh_token"], "refresh_token": [ACCESS_SECRET]}),
    ],
)
def test_oauth_posts_to_the_token_service(access_key: str, sent: dict[str, list[str]]) -> None:
    with faking(auth="bearer") as registry:
        registry.add_manifest("a/b", MANIFEST, OCI_MANIFEST, "v1")
        with connect(site(registry, token_kind=TokenKind.OAUTH, access_key=access_key), HERE) as remote:
            remote.get_manifest("a/b", "v1")

        posted = next(each for each in registry.asked if each.method == "POST")
        assert posted.form.items() >= {**sent, "scope": ["repository:a/b:pull"], "service": ["fake"]}.items()
        assert "authorization" not in posted.headers


def test_a_token_service_that_takes_no_post_is_asked_with_get() -> None:
    with faking(auth="bearer") as registry:
        registry.instead("POST", "/token", answer(405))
        with connect(site(registry, token_kind=TokenKind.OAUTH), HERE) as remote:
            remote.ping()


def test_a_secret_that_is_a_token_is_sent_as_it_is() -> None:
    with faking(auth="bearer") as registry:
        registry.tokens[ACCESS_SECRET] = set()
        with connect(site(registry, token_kind=TokenKind.SECRET), HERE) as remote:
            remote.ping()

        assert registry.methods() == ["GET"]


def test_a_wrong_credential_is_said(registry: FakeRegistry) -> None:
    for auth in ("basic", "bearer"):
        registry.auth = auth
        with connect(site(registry, access_secret="wrong"), HERE) as remote, pytest.raises(DeniedError) as caught:
            remote.ping()
        assert caught.value.status == 401
        assert "wrong" not in str(caught.value)


def test_basic_is_not_sent_before_it_is_asked_for(registry: FakeRegistry, remote: Remote) -> None:
    remote.ping()

    assert all("authorization" not in each.headers for each in registry.asked)


def test_the_credential_goes_to_no_token_service_without_tls_where_the_registry_has_it() -> None:
    site_of = Site("https://registry.example.com", access_key=ACCESS_KEY, access_secret=ACCESS_SECRET)
    with faking() as thief, connect(site_of, HERE) as remote:
        authority = remote._talk.authority  # noqa: SLF001 - a certificate for a public name is not to be had
        with pytest.raises(DeniedError, match="not on https"):
            authority.learn(f'Bearer realm="{thief.url}/token",service="x"', ())
        assert thief.asked == []


def test_a_token_service_on_a_private_address_is_not_spoken_to(elsewhere: FakeRegistry) -> None:
    """Server-side request forgery by way of a challenge."""
    with faking(auth="bearer") as registry:
        realm = f"http://inside.example.com:{elsewhere.port}/token"
        registry.instead("GET", "/v2/", answer(401, WWW_Authenticate=f'Bearer realm="{realm}"'))
        named = site(registry, url=f"http://registry.example.com:{registry.port}")
        with (
            connect(named, ("registry.example.com",), lambda *_: ["127.0.0.1"]) as remote,
            pytest.raises(DownError, match=r"inside\.example\.com is not connected to: it is not a public address"),
        ):
            remote.ping()
        assert (len(registry.asked), elsewhere.asked) == (1, [])


def test_what_a_token_service_leads_to_is_not_followed(elsewhere: FakeRegistry) -> None:
    with faking(auth="bearer") as registry, connect(site(registry), HERE) as remote:
        registry.instead("GET", "/token", answer(307, Location=f"{elsewhere.url}/token"))
        with pytest.raises(RemoteError, match="307"):
            remote.ping()
        assert elsewhere.asked == []


@pytest.mark.parametrize("content", [b"no", b"[]", b"{}", b'{"token":7}', b'{"token":"a\\nb"}', b"[" * 60_000])
def test_a_token_service_that_gives_no_token_is_given_up(content: bytes) -> None:
    with faking(auth="bearer") as registry, connect(site(registry), HERE) as remote:
        registry.instead("GET", "/token", answer(200, content))
        with pytest.raises(DownError):
            remote.ping()


def test_a_token_service_that_limits_is_told_so() -> None:
    with faking(auth="bearer") as registry, connect(site(registry), HERE) as remote:
        registry.instead("GET", "/token", answer(429, Retry_After="9"))
        with pytest.raises(LimitedError) as caught:
            remote.ping()
        assert caught.value.retry_after == 9


def test_the_scope_that_the_registry_names_is_asked_for() -> None:
    """GitLab and others name more, or otherwise, than what the specification would have us ask."""
    with faking(auth="bearer") as registry, connect(site(registry), HERE) as remote:

        def other(handler: Handler) -> None:
            realm = f"{registry.url}/token"
            challenge = f'Bearer realm="{realm}",scope="repository:a/b:pull repository:c/d:pull"'
            handler.give(401, b"", {"WWW-Authenticate": challenge})

        registry.add_manifest("a/b", MANIFEST, OCI_MANIFEST, "v1")
        registry.instead("GET", "/v2/a/b/", other, times=1)
        remote.get_manifest("a/b", "v1")

        asked = next(each for each in registry.asked if each.path == "/token")
        assert asked.query["scope"] == ["repository:a/b:pull", "repository:c/d:pull"]


def test_a_ping_asks_for_no_repository_whatever_the_challenge_names() -> None:
    with faking(auth="bearer") as registry, connect(site(registry), HERE) as remote:
        challenge = f'Bearer realm="{registry.url}/token",service="ghcr.io",scope="repository:user/image:pull"'
        registry.instead("GET", "/v2/", answer(401, WWW_Authenticate=challenge), times=1)

        remote.ping()

        [token] = [each for each in registry.asked if each.path == "/token"]
        assert "scope" not in token.query
        assert token.query["service"] == ["ghcr.io"]


def test_a_ping_asks_whether_the_credential_still_holds() -> None:
    with faking(auth="bearer") as registry, connect(site(registry), HERE) as remote:
        remote.ping()
        registry.instead("GET", "/token", answer(401))

        with pytest.raises(DeniedError):
            remote.ping()


def test_a_conversation_outlives_a_password_of_hours() -> None:
    ecr = Site("https://ecr.example.com", access_key="AWS", access_secret="first")
    now = [ecr]
    authority = Authority(ecr, Wire((), resolve), lambda: now[0])
    assert authority.learn('Basic realm="ECR"', ())
    assert authority.header(()) == basic("AWS", "first")
    now[0] = replace(ecr, access_secret="second")

    assert authority.header(()) == basic("AWS", "second")


def test_a_mount_asks_for_both_repositories() -> None:
    with faking(auth="bearer") as registry, connect(site(registry), HERE) as remote:
        digest = registry.add_blob("c/d", MANIFEST)

        assert remote.mount("a/b", digest, "c/d")
        asked = next(each for each in registry.asked if each.path == "/token")
        assert asked.query["scope"] == ["repository:a/b:pull,push", "repository:c/d:pull"]


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (
            'Bearer realm="https://a/t",service="s, t",scope="x"',
            [("bearer", {"realm": "https://a/t", "service": "s, t", "scope": "x"})],
        ),
        ('Basic realm="a", Bearer realm="b"', [("basic", {"realm": "a"}), ("bearer", {"realm": "b"})]),
        ("BASIC realm=plain", [("basic", {"realm": "plain"})]),
        ('Bearer realm = "a\\"b" , service = x', [("bearer", {"realm": 'a"b', "service": "x"})]),
        ("Negotiate", [("negotiate", {})]),
        ('Negotiate, Basic realm="a"', [("negotiate", {}), ("basic", {"realm": "a"})]),
        ("", []),
        ('=,"', []),
        ('Bearer realm="unfinished', [("bearer", {"realm": ""})]),
    ],
)
def test_challenges_are_read_as_written(header: str, found: list[tuple[str, dict[str, str]]]) -> None:
    assert [(each.scheme, dict(each.parameters)) for each in challenges(header)] == found


def test_a_site_does_not_show_its_secret() -> None:
    assert "s3cret" not in repr(Site("https://a", access_key="k", access_secret="s3cret"))


def test_the_secret_is_in_no_error(registry: FakeRegistry) -> None:
    registry.auth = "basic"
    registry.instead(
        "GET", "/v2/", answer(500, json.dumps({"errors": [{"code": "X", "message": "m\n\x1b"}]}).encode())
    )
    with connect(site(registry), HERE) as remote, pytest.raises(DownError) as caught:
        remote.ping()

    assert str(caught.value).endswith("500 X m")
    assert basic(ACCESS_KEY, ACCESS_SECRET) not in str(caught.value)
