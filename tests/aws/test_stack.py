"""One CloudFormation stack from `chalice package`, on emulated AWS: what a person and a client meet there."""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any, Self

import httpx
import pytest

from tests.aws.cloud import CODE_BUCKET, NAME, Cloud, deployed
from tests.oci.test_manifests import image

pytestmark = pytest.mark.aws
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
PULLERS = 3
# Bytes that no text encoding survives.
CONTENT = bytes(range(256)) * 100


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with deployed(tmp_path_factory.mktemp("package")) as made:
        yield made


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who asks the registry by its API Gateway address."""

    cloud: Cloud
    authorization: str = ""

    def ask(self, method: str, path: str, content: bytes = b"", **headers: str) -> httpx.Response:
        sent = {"Authorization": self.authorization} if self.authorization else {}
        # Without a type ministack takes a body for text, where AWS takes it for JSON, which is binary to our API.
        sent |= {"content-type": "application/octet-stream"} if content else {}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"{self.cloud.api}{path}"
        return httpx.request(method, url, content=content, headers=sent, timeout=60)


def logged_in(cloud: Cloud, *repositories: str) -> Person:
    scopes = {"scope": [f"repository:{name}:pull,push,delete" for name in repositories]}
    answer = httpx.get(
        f"{cloud.api}/service/token", params=scopes, auth=("admin", cloud.password), timeout=60
    ).raise_for_status()
    return Person(cloud, f"Bearer {answer.json()['token']}")


def push_blob(person: Person, repository: str, content: bytes) -> str:
    started = person.ask("POST", f"/v2/{repository}/blobs/uploads/")
    assert started.status_code == 202, started.text
    done = person.ask("PUT", f"{started.headers['location']}&digest={sha256(content)}", content)
    assert done.status_code == 201, done.text
    return sha256(content)


def push_image(person: Person, repository: str, tag: str) -> bytes:
    for blob in (b"{}", b"one", b"two"):
        push_blob(person, repository, blob)
    manifest = json.dumps(image(), indent=3).encode()
    pushed = person.ask("PUT", f"/v2/{repository}/manifests/{tag}", manifest, content_type=MANIFEST_TYPE)
    assert pushed.status_code == 201, pushed.text
    return manifest


@pytest.mark.parametrize(
    "authorization", ["", "Bearer nonsense", "Bearer a.b.c", "Digest x"], ids=["none", "bad", "three parts", "scheme"]
)
def test_who_has_no_good_token_is_sent_to_the_token_service(cloud: Cloud, authorization: str) -> None:
    answer = Person(cloud, authorization).ask("GET", "/v2/library/x/manifests/latest")

    assert answer.status_code == 401
    assert answer.json()["errors"][0]["code"] == "UNAUTHORIZED"
    host = cloud.outputs["RegistryUrl"].removeprefix("https://")
    assert answer.headers["www-authenticate"] == f'Bearer realm="https://{host}/service/token",service="{host}"'


def test_a_token_for_another_repository_is_told_to_ask_for_a_better_one(cloud: Cloud) -> None:
    person = logged_in(cloud, "library/one")

    assert person.ask("GET", "/v2/library/one/manifests/latest").status_code == 404
    refused = person.ask("GET", "/v2/library/two/manifests/latest")

    assert refused.status_code == 401
    assert "www-authenticate" in refused.headers
    assert "ask for a token that does" in refused.json()["errors"][0]["message"]


def test_a_kept_policy_is_right_for_every_path_whichever_came_first(cloud: Cloud) -> None:
    """API Gateway keeps a token's policy and applies it to all of its requests."""
    person = logged_in(cloud, "library/one", "library/two")

    for _ in range(2):
        assert person.ask("GET", "/v2/").status_code == 200
        assert person.ask("GET", "/v2/library/two/tags/list").status_code == 404
        assert person.ask("GET", "/v2/library/one/manifests/v1").status_code == 404
        assert person.ask("GET", "/v2/library/three/manifests/v1").status_code == 401
        assert person.ask("POST", "/v2/library/one/blobs/uploads/").status_code == 202


def test_binary_bytes_go_in_and_come_back_from_where_the_redirect_leads(cloud: Cloud) -> None:
    person = logged_in(cloud, "library/bytes")
    digest = push_blob(person, "library/bytes", CONTENT)

    redirect = person.ask("GET", f"/v2/library/bytes/blobs/{digest}")

    assert redirect.status_code == 307
    assert httpx.get(redirect.headers["location"]).content == CONTENT


@pytest.mark.parametrize("what", ["blobs", "manifests"])
def test_a_head_is_redirected_to_where_its_length_is_right(cloud: Cloud, what: str) -> None:
    person = logged_in(cloud, "library/heads")
    manifest = push_image(person, "library/heads", "v1")
    reference, size = ("v1", len(manifest)) if what == "manifests" else (sha256(b"one"), 3)

    redirect = person.ask("HEAD", f"/v2/library/heads/{what}/{reference}")
    answer = httpx.head(redirect.headers["location"])

    assert redirect.status_code == 307
    assert (answer.status_code, answer.headers["content-length"]) == (200, str(size))


def test_an_image_is_pulled_by_tag_and_digest_byte_for_byte(cloud: Cloud) -> None:
    person = logged_in(cloud, "library/image")
    manifest = push_image(person, "library/image", "v1")

    for reference in ("v1", sha256(manifest)):
        pulled = person.ask("GET", f"/v2/library/image/manifests/{reference}")
        assert pulled.content == manifest
        assert pulled.headers["content-type"] == MANIFEST_TYPE
        assert pulled.headers["docker-content-digest"] == sha256(manifest)


def test_harbor_s_api_and_the_login_are_at_their_own_stages(cloud: Cloud) -> None:
    answer = httpx.get(f"{cloud.api}/api/v2.0/projects", auth=("admin", cloud.password), timeout=60)

    assert answer.status_code == 200
    assert [project["name"] for project in answer.json()] == ["library"]
    assert Person(cloud).ask("GET", "/service/keys").json()["keys"]


def test_a_stage_that_nobody_is_sent_to_serves_nothing(cloud: Cloud) -> None:
    stages = cloud.client("apigateway").get_stages(restApiId=cloud.outputs["ApiId"])["item"]

    assert {stage["stageName"] for stage in stages} == {"v2", "service", "api", "c"}


@pytest.mark.parametrize("name", ["repair-index", "wake-jobs"])
def test_the_schedules_run_under_their_own_rights(cloud: Cloud, name: str) -> None:
    functions = cloud.client("lambda")
    wanted = name.replace("-", "")
    [function] = [
        each["FunctionName"]
        for each in functions.list_functions()["Functions"]
        if wanted in each["FunctionName"].lower().replace("_", "")
    ]
    event = {"time": "", "detail": {}, "resources": [], "detail-type": "", "source": "", "account": "", "region": "",
             "id": "", "version": "0"}  # fmt: skip

    answer = functions.invoke(FunctionName=function, Payload=json.dumps(event).encode())

    assert "FunctionError" not in answer, answer["Payload"].read().decode()


class Pulling:
    """Clients that pull one image again and again, from before a change until after it; `wrong` is what they met."""

    def __init__(self, person: Person, path: str, expected: bytes) -> None:
        self._person, self._path, self._expected = person, path, expected
        self._over = Event()
        self._clients = [Thread(target=self._pull, daemon=True) for _ in range(PULLERS)]
        self.wrong = list[str]()
        self.pulls = 0

    def _pull(self) -> None:
        while not self._over.is_set():
            self._once()

    def _once(self) -> None:
        answer = self._person.ask("GET", self._path)
        self.pulls += 1
        if answer.content != self._expected:
            self.wrong.append(f"{answer.status_code}: {answer.text[:200]}")

    def __enter__(self) -> Self:
        self._once()
        for each in self._clients:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for each in self._clients:
            each.join(60)
        self._once()


def changed(template: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a template as a later version could have it: another answer of the gateway, another size of function."""
    later: dict[str, Any] = json.loads(json.dumps(template))
    later["Resources"]["APIHandler"]["Properties"]["MemorySize"] = 1536
    [old] = [name for name in later["Resources"] if name.startswith("Deployment")]
    later["Resources"]["DeploymentLater"] = later["Resources"].pop(old)
    text = json.dumps(later).replace(f'"{old}"', '"DeploymentLater"')
    return json.loads(text)  # type: ignore[no-any-return]


def test_an_update_and_the_way_back_keep_all_data_and_drop_no_pull(cloud: Cloud) -> None:
    person = logged_in(cloud, "library/kept")
    manifest = push_image(person, "library/kept", "v1")

    with Pulling(person, "/v2/library/kept/manifests/v1", manifest) as pulling:
        forth = cloud.update(changed(cloud.template))
        back = cloud.update(cloud.template)

    assert any("APIHandler" in line for line in forth)
    assert any("APIHandler" in line for line in back)
    assert pulling.pulls > PULLERS
    assert pulling.wrong == []
    assert Person(cloud).ask("GET", "/v2/").headers["www-authenticate"]


def test_the_same_again_changes_nothing(cloud: Cloud) -> None:
    assert cloud.update(cloud.template) == [f"{NAME} is as it should be: nothing to change"]


def test_deleting_the_stack_leaves_bucket_and_table(tmp_path: Path) -> None:
    with deployed(tmp_path) as cloud:
        person = logged_in(cloud, "library/kept")
        push_blob(person, "library/kept", CONTENT)

        cloud.client("cloudformation").delete_stack(StackName=NAME)

        buckets = {bucket["Name"] for bucket in cloud.client("s3").list_buckets()["Buckets"]}
        assert buckets == {CODE_BUCKET, cloud.outputs["BucketName"]}
        assert cloud.client("s3").list_objects_v2(Bucket=cloud.outputs["BucketName"])["KeyCount"] > 0
        assert cloud.outputs["TableName"] in cloud.client("dynamodb").list_tables()["TableNames"]


def test_a_job_that_is_started_over_the_api_is_done_by_the_function_that_the_queue_feeds(cloud: Cloud) -> None:
    parameters = {"audit_retention_hour": 24, "include_event_types": "create_artifact"}
    body = {"schedule": {"type": "Manual"}, "parameters": parameters}
    with httpx.Client(base_url=f"{cloud.api}/api/v2.0", auth=("admin", cloud.password), timeout=60) as api:
        begun = api.post("/system/purgeaudit/schedule", json=body)
        assert begun.status_code == 201, begun.text
        path = f"/system/purgeaudit/{begun.headers['location'].rpartition('/')[2]}"
        deadline = time.monotonic() + 120
        while (found := api.get(path).json())["job_status"] != "Success" and time.monotonic() < deadline:
            time.sleep(1)

        assert found["job_status"] == "Success", found
        assert "removed 0 entries" in api.get(f"{path}/log").text
