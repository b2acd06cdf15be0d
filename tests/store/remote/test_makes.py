"""What makes of registries have of their own: Harbor's API, Docker Hub's, Google's order, ECR's password."""

import json
from collections.abc import Iterator
from contextlib import nullcontext

import boto3
import pytest
from moto import mock_aws

from chalicelib.oci.manifests import OCI_MANIFEST
from chalicelib.policy.adapters import Login
from chalicelib.store.remote import DeniedError, MissingError, Remote, RemoteError, Site, connect, ecr
from chalicelib.store.remote.logins import exchanged
from tests.store.remote.conftest import HERE
from tests.store.remote.fake import ACCESS_KEY, ACCESS_SECRET, Answer, FakeRegistry, answer, basic, digest_of

MANIFEST = b'{"schemaVersion":2}'
DIGEST = digest_of(MANIFEST)


def spoken(registry: FakeRegistry, kind: str) -> Remote:
    return connect(Site(registry.url, kind, ACCESS_KEY, ACCESS_SECRET), HERE)


def document(fields: object, status: int = 200) -> Answer:
    return answer(status, json.dumps(fields).encode(), Content_Type="application/json")


def test_harbor_lists_by_its_api_as_who_we_are(registry: FakeRegistry) -> None:
    registry.instead("GET", "/api/v2.0/projects?page=1&page_size=100", document([{"name": "a"}, {"name": "b"}]))
    registry.instead(
        "GET", "/api/v2.0/projects/a/repositories?page=1&", document([{"name": f"a/{n}"} for n in range(100)])
    )
    registry.instead(
        "GET", "/api/v2.0/projects/a/repositories?page=2&", document([{"name": "a/b/c"}, {"name": "no name"}])
    )
    registry.instead("GET", "/api/v2.0/projects/b/repositories?", document([]))
    registry.instead("GET", "/api/v2.0/projects/gone/repositories?", answer(404))

    with spoken(registry, "harbor") as remote:
        assert list(remote.repositories()) == [f"a/{n}" for n in range(100)] + ["a/b/c"]
        assert len(list(remote.repositories(["a", "gone"]))) == 101
    assert {each.headers["authorization"] for each in registry.asked} == {basic(ACCESS_KEY, ACCESS_SECRET)}


def test_harbor_deletes_a_tag_by_its_api(registry: FakeRegistry) -> None:
    registry.instead("DELETE", "/api/v2.0/", answer(200))
    with spoken(registry, "harbor") as remote:
        remote.delete_tag("a/b/c", "v1")

    assert registry.asked[0].target == "/api/v2.0/projects/a/repositories/b%252Fc/artifacts/v1/tags/v1"


def test_harbor_gets_the_project_that_a_push_needs(registry: FakeRegistry) -> None:
    registry.instead("HEAD", "/api/v2.0/projects?project_name=there", answer(200))
    registry.instead("HEAD", "/api/v2.0/projects?project_name=new", answer(404))
    registry.instead("POST", "/api/v2.0/projects", answer(201), times=1)
    registry.instead("POST", "/api/v2.0/projects", answer(409), times=1)
    registry.instead("POST", "/api/v2.0/projects", answer(403))
    with spoken(registry, "harbor") as remote:
        remote.prepare("there/x")
        remote.prepare("new/x", public=True)
        remote.prepare("new/x")
        with pytest.raises(DeniedError):
            remote.prepare("new/x")

    made = [json.loads(each.content) for each in registry.asked if each.method == "POST"]
    assert made[0] == {"project_name": "new", "metadata": {"public": "true"}}
    assert made[1]["metadata"] == {"public": "false"}


def test_docker_hub_lists_and_deletes_with_a_token_of_its_own(registry: FakeRegistry) -> None:
    registry.instead("POST", "/v2/auth/token", document({"access_token": "hub-token"}))
    registry.instead("GET", "/v2/repositories/namespaces", document({"namespaces": ["me"]}))
    registry.instead(
        "GET", "/v2/repositories/me/?page=1&", document({"next": "x", "results": [{"name": "a"}, {"name": "B"}]})
    )
    registry.instead("GET", "/v2/repositories/me/?page=2&", document({"next": None, "results": [{"name": "c"}]}))
    registry.instead("DELETE", "/v2/repositories/me/a/tags/v1/", answer(204))
    with spoken(registry, "docker-hub") as remote:
        assert list(remote.repositories()) == ["me/a", "me/c"]
        remote.delete_tag("me/a", "v1")
        with pytest.raises(RemoteError, match="by tag alone"):
            remote.delete_manifest("me/a", DIGEST)

    login = registry.asked[0]
    assert registry.methods().count("POST") == 1
    assert json.loads(login.content) == {"identifier": ACCESS_KEY, "secret": ACCESS_SECRET}
    assert {each.headers.get("authorization") for each in registry.asked if each.method != "POST"} == {
        "Bearer hub-token"
    }


def test_docker_hub_is_listed_by_nobody_without_a_login(registry: FakeRegistry) -> None:
    registry.instead("GET", "/v2/repositories/library/?", document({"results": [{"name": "nginx"}]}))
    registry.instead("GET", "/v2/repositories/gone/?", answer(404))
    registry.instead("GET", "/v2/repositories/them/?", document({"results": [{"name": "app"}]}))
    with connect(Site(registry.url, "docker-hub"), HERE) as remote:
        assert list(remote.repositories(["library", "gone", "them"])) == ["library/nginx", "them/app"]
    assert registry.methods() == ["GET"] * 3


def test_artifactory_lists_each_of_its_docker_repositories(registry: FakeRegistry) -> None:
    keys = [{"key": "docker-local"}, {"key": "docker-remote"}, {"key": "No Key"}]
    registry.instead("GET", "/artifactory/api/repositories?packageType=docker", document(keys))
    listed = {"docker-local": ["team/app", "web"], "docker-remote": ["library/nginx"]}
    for key, names in listed.items():
        registry.instead("GET", f"/artifactory/api/docker/{key}/v2/_catalog", document({"repositories": names}))

    with spoken(registry, "jfrog-artifactory") as remote:
        assert list(remote.repositories()) == [
            "docker-local/team/app",
            "docker-local/web",
            "docker-remote/library/nginx",
        ]
        assert list(remote.repositories(["docker-remote", "gone"])) == ["docker-remote/library/nginx"]
    assert {each.headers["authorization"] for each in registry.asked} == {basic(ACCESS_KEY, ACCESS_SECRET)}
    with connect(Site(f"{registry.url}/artifactory/api/docker/docker-local", "jfrog-artifactory"), HERE) as remote:
        assert list(remote.repositories()) == ["team/app", "web"]


def test_google_deletes_the_tags_of_a_manifest_first(registry: FakeRegistry) -> None:
    registry.add_manifest("p/a", MANIFEST, OCI_MANIFEST, "v1")
    listed = {"tags": ["v1", "v2"], "manifest": {DIGEST: {"tag": ["v1", "v2"]}}}
    registry.instead("GET", "/v2/p/a/tags/list", document(listed))
    registry.instead("DELETE", "/v2/p/a/", answer(202))
    with spoken(registry, "google-gcr") as remote:
        remote.delete_manifest("p/a", DIGEST)

    gone = [each.path.rpartition("/")[2] for each in registry.asked if each.method == "DELETE"]
    assert gone == ["v1", "v2", DIGEST]


def test_a_registry_that_neither_lists_nor_deletes_says_so_without_being_asked(registry: FakeRegistry) -> None:
    with spoken(registry, "github-ghcr") as remote:
        for act in (
            lambda: list(remote.repositories()),
            lambda: remote.delete_tag("a/b", "v1"),
            lambda: remote.delete_manifest("a/b", DIGEST),
        ):
            with pytest.raises(RemoteError):
                act()
    assert registry.asked == []


def test_the_file_that_harbor_wants_for_quay_is_taken() -> None:
    secret = '{"account_name":"me+robot","docker_cli_password":"pw","oauth2_token":"t"}'

    found = exchanged(Site("https://quay.io", "quay", "json_file", secret), Login.QUAY)
    assert (found.access_key, found.access_secret) == ("me+robot", "pw")
    plain = Site("https://quay.io", "quay", "me", "pw")
    assert exchanged(plain, Login.QUAY) == plain
    with pytest.raises(DeniedError, match="account_name"):
        exchanged(Site("https://quay.io", "quay", "json_file", "pw"), Login.QUAY)


ECR = Site("https://123456789012.dkr.ecr.eu-west-1.amazonaws.com", "aws-ecr", "AKIA", "secret")


@pytest.fixture
def aws() -> Iterator[None]:
    with mock_aws():
        yield


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("url", [ECR.url, "https://api.ecr.eu-west-1.amazonaws.com"])
def test_ecr_gives_a_password_for_an_access_key(url: str) -> None:
    found = exchanged(Site(url, "aws-ecr", "AKIA", "secret"), Login.ECR)

    assert found.url == ECR.url
    assert (found.access_key, found.access_secret) == ("AWS", "123456789012-auth-token")


@pytest.mark.usefixtures("aws")
def test_ecr_gets_its_repository_before_a_push_and_loses_images() -> None:
    registry = boto3.client("ecr", "eu-west-1")
    for _ in range(2):
        ecr.create(ECR, "team/app")
    assert [each["repositoryName"] for each in registry.describe_repositories()["repositories"]] == ["team/app"]
    for tag in ("v1", "v2"):
        manifest = f'{{"mediaType":"{OCI_MANIFEST}","config":{{"size":{tag[1]}}}}}'
        registry.put_image(repositoryName="team/app", imageManifest=manifest, imageTag=tag)

    ecr.delete(ECR, "team/app", imageTag="v1")
    [left] = registry.list_images(repositoryName="team/app")["imageIds"]
    ecr.delete(ECR, "team/app", imageDigest=left["imageDigest"])
    assert registry.list_images(repositoryName="team/app")["imageIds"] == []
    with pytest.raises(MissingError):
        ecr.delete(ECR, "team/app", imageTag="v3")
    with pytest.raises(MissingError):
        ecr.delete(ECR, "team/other", imageTag="v3")


@pytest.mark.parametrize(("code", "refused"), [("AccessDeniedException", False), ("InvalidParameterException", True)])
def test_who_may_only_push_to_a_repository_of_ecr_needs_no_right_to_make_one(
    registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch, code: str, refused: bool
) -> None:
    registry.instead("POST", "/", document({"__type": code}, 400))
    monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", registry.url)

    with pytest.raises(RemoteError) if refused else nullcontext():
        ecr.create(ECR, "team/app")

    assert registry.methods() == ["POST"]


@pytest.mark.parametrize(
    "url",
    [
        "https://ecr.example.com",
        "http://123456789012.dkr.ecr.eu-west-1.amazonaws.com",
        "https://123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.example.com",
        "https://api.ecr.evil.example.com#.amazonaws.com",
    ],
)
def test_no_access_key_is_used_for_what_is_not_ecr(url: str) -> None:
    with pytest.raises(RemoteError, match="looks like"):
        connect(Site(url, "aws-ecr", "AKIA", "secret"))


def test_ecr_wants_an_access_key() -> None:
    with pytest.raises(DeniedError):
        connect(Site(ECR.url, "aws-ecr"))
