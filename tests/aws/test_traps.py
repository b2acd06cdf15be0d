"""Every trap of API Gateway, and of S3 behind its redirects: the registry's functions fall into none of them.

Emulated: the strict front, moto's S3, and a table in a file.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from chalicelib.oci.digests import Digest
from chalicelib.oci.manifests import OCI_MANIFEST
from tests.api.asking import basic, make_projects
from tests.aws.front import DOMAIN, Answered, Asked, Front, front_of
from tests.aws.front_app import loaded
from tests.engines.engine import s3_client
from tests.engines.moto_server import moto
from tests.memory import PASSWORD
from tests.oci.test_manifests import image

CONTENT = bytes(range(256)) * 40


@dataclass(frozen=True, slots=True)
class Site:
    """The registry's functions behind the front, over moto's S3 and a table in a file."""

    module: ModuleType
    front: Front

    def ask(self, method: str, target: str, body: bytes = b"", **headers: str) -> Answered:
        lines = [("Host", DOMAIN), *((name.replace("_", "-"), value) for name, value in headers.items())]
        return self.front.answer(Asked(method, target, lines, body))

    def token(self, *scopes: str) -> str:
        query = "&".join(f"scope={scope}" for scope in scopes)
        answered = self.ask("GET", f"/service/token?{query}", Authorization=basic()["authorization"])
        return f"Bearer {json.loads(answered.body)['token']}"

    def push(self, token: str, *chunks: bytes) -> Digest:
        """Push a blob in chunks; a chunk has no header but the token."""
        digest = Digest.of(b"".join(chunks))
        location = self.ask("POST", "/v2/a/b/blobs/uploads/", Authorization=token).header("Location")
        for chunk in chunks:
            answered = self.ask("PATCH", _target(location), chunk, Authorization=token)
            assert answered.status == 202
            location = answered.header("Location")
        closing = f"{_target(location)}&digest={quote(str(digest), safe='')}"
        assert self.ask("PUT", closing, Authorization=token).status == 201
        return digest

    def push_image(self, token: str) -> Digest:
        for blob in (b"{}", b"one", b"two"):
            self.push(token, blob)
        content = json.dumps(image(), indent=3).encode()
        put = self.ask("PUT", "/v2/a/b/manifests/v1", content, Authorization=token, Content_Type=OCI_MANIFEST)
        assert put.status == 201, put.body
        return Digest.of(content)


def _target(location: str) -> str:
    parts = urlsplit(location)
    return f"{parts.path}?{parts.query}"


ALL = "repository:a/b:pull,push,delete"
TOKEN = "a-session-token"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    table = tmp_path_factory.mktemp("table") / "directory.sqlite"
    with moto() as engine:
        s3_client(engine).create_bucket(Bucket="roadstead")
        given = engine.environment() | {
            "AWS_SESSION_TOKEN": TOKEN,
            "ROADSTEAD_TABLE": f"file:{table}",
            "ROADSTEAD_ADMIN_PASSWORD": PASSWORD,
            "ROADSTEAD_SIGNING_KEY": "00" * 32,
        }
        with loaded(given) as module:
            make_projects(module.services(), ["a"])
            yield Site(module, front_of(module.app))


@pytest.mark.parametrize("credentials", ["", "Bearer of-nothing", "Digest x"])
def test_who_has_no_good_token_gets_the_challenge_that_a_function_cannot_give(site: Site, credentials: str) -> None:
    answered = site.ask("GET", "/v2/", Authorization=credentials)

    assert answered.status == 401
    assert answered.header("WWW-Authenticate") == f'Bearer realm="https://{DOMAIN}/service/token",service="{DOMAIN}"'
    assert json.loads(answered.body)["errors"][0]["code"] == "UNAUTHORIZED"


def test_a_token_that_is_not_enough_gets_the_challenge_too(site: Site) -> None:
    answered = site.ask("GET", "/v2/a/b/tags/list", Authorization=site.token("repository:a/other:pull"))

    assert (answered.status, answered.header("x-amzn-ErrorType")) == (401, "ACCESS_DENIED")
    assert answered.header("WWW-Authenticate").startswith("Bearer ")


def test_a_policy_that_is_kept_is_right_for_the_next_request_with_the_token(site: Site) -> None:
    token = site.token(ALL)
    site.push_image(token)

    paths = [
        "",
        "a/b/manifests/v1",
        "a/b/tags/list?n=1",
        f"a/b/blobs/{Digest.of(b'one')}",
        f"a/b/referrers/{Digest.of(b'x')}",
    ]
    statuses = [site.ask("GET", f"/v2/{path}", Authorization=token).status for path in paths]

    assert statuses == [200, 200, 200, 307, 200]
    assert site.ask("GET", "/v2/a/other/tags/list", Authorization=token).status == 401


@pytest.mark.parametrize("root", ["/v2", "/v2/", "//v2/"])
def test_the_root_answers_with_and_without_its_slash(site: Site, root: str) -> None:
    assert site.ask("GET", root, Authorization=site.token()).status == 200


def test_no_accept_no_content_type_and_a_base64_body_are_a_push_like_any_other(site: Site) -> None:
    token = site.token(ALL)

    digest = site.push(token, CONTENT[:5000], CONTENT[5000:])

    location = site.ask("GET", f"/v2/a/b/blobs/{digest}", Authorization=token).header("Location")
    key = urlsplit(location).path.removeprefix("/roadstead/")
    assert b"".join(site.module.services().content.objects.read(key)) == CONTENT


@pytest.mark.parametrize("kind", [OCI_MANIFEST, "text/plain", "application/octet-stream", "image/png"])
def test_every_content_type_reaches_the_registry(site: Site, kind: str) -> None:
    token = site.token(ALL)
    upload = site.ask("POST", "/v2/a/b/blobs/uploads/", Authorization=token, Content_Type=kind)

    answered = site.ask("PATCH", _target(upload.header("Location")), CONTENT, Authorization=token, Content_Type=kind)

    assert (answered.status, answered.header("Range")) == (202, f"0-{len(CONTENT) - 1}")


def test_a_manifest_comes_back_byte_for_byte_whatever_the_client_accepts(site: Site) -> None:
    token = site.token(ALL)
    digest = site.push_image(token)

    for accepted in ("*/*", OCI_MANIFEST, "image/*", "application/json"):
        pulled = site.ask("GET", "/v2/a/b/manifests/v1", Authorization=token, Accept=accepted)
        assert (pulled.status, Digest.of(pulled.body)) == (200, digest)
        assert (pulled.header("Content-Type"), pulled.header("Docker-Content-Digest")) == (OCI_MANIFEST, str(digest))


def test_an_encoded_path_is_decoded_once_by_us(site: Site) -> None:
    token = site.token(ALL)
    digest = quote(str(site.push_image(token)), safe="")

    assert site.ask("GET", f"/v2/a/b/manifests/{digest}", Authorization=token).status == 200
    assert site.ask("GET", f"/v2/a/b/manifests/{quote(digest)}", Authorization=token).status == 404


def test_a_token_for_several_scopes_lets_all_of_them_through(site: Site) -> None:
    token = site.token("repository:a/b:pull", "repository:a/other:pull")

    statuses = [site.ask("GET", f"/v2/a/{name}/tags/list", Authorization=token).status for name in ("b", "other")]

    assert 401 not in statuses


@pytest.mark.parametrize("path", ["manifests/v1", "manifests/{}", f"blobs/{Digest.of(b'one')}"])
def test_a_head_is_never_answered_with_the_length_of_0_that_clients_would_believe(site: Site, path: str) -> None:
    token = site.token(ALL)
    digest = site.push_image(token)

    answered = site.ask("HEAD", f"/v2/a/b/{path.format(digest)}", Authorization=token)

    assert (answered.status, answered.header("Content-Length")) == (307, "0")
    assert _is_signed("HEAD", answered.header("Location"))
    assert not _is_signed("GET", answered.header("Location"))


@pytest.mark.parametrize("path", ["manifests/none", f"blobs/{Digest.of(b'none')}"])
def test_a_head_of_nothing_is_404(site: Site, path: str) -> None:
    assert site.ask("HEAD", f"/v2/a/b/{path}", Authorization=site.token(ALL)).status == 404


def test_a_presigned_url_lives_as_long_as_the_credentials_of_a_role_surely_do(site: Site) -> None:
    token = site.token(ALL)
    digest = site.push(token, b"one")

    location = site.ask("GET", f"/v2/a/b/blobs/{digest}", Authorization=token).header("Location")

    query = parse_qs(urlsplit(location).query)
    assert query["X-Amz-Security-Token"] == [TOKEN]
    assert int(query["X-Amz-Expires"][0]) <= 900
    assert _is_signed("GET", location)


def _is_signed(method: str, url: str) -> bool:
    """Tell whether botocore makes the same signature."""
    unsigned, _, signature = url.partition("&X-Amz-Signature=")
    query = parse_qs(urlsplit(unsigned).query)
    request = AWSRequest(method=method, url=unsigned)
    request.context["timestamp"] = query["X-Amz-Date"][0]
    auth = S3SigV4QueryAuth(Credentials("roadstead", "roadstead-secret", TOKEN), "s3", "us-east-1")
    return auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request) == signature


def test_what_harbor_s_api_and_the_token_service_refuse_reaches_the_client_without_an_authorizer(site: Site) -> None:
    wrong = basic(password="wrong")["authorization"]

    assert site.ask("GET", "/api/v2.0/systeminfo").status == 200
    assert site.ask("GET", "/service/token?scope=repository:a/b:pull", Authorization=wrong).status == 401
    assert site.ask("GET", "/api/v2.0/users/current").status == 401


def test_a_function_that_cannot_begin_answers_in_our_words() -> None:
    with loaded({"ROADSTEAD_SIGNING_KEY": "", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"}) as module:
        answered = front_of(module.app).answer(Asked("GET", "/service/token"))

    assert answered.status == 502
    assert json.loads(answered.body)["errors"][0]["code"] == "UNAVAILABLE"
