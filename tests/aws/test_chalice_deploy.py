"""`chalice deploy`, the program, on emulated AWS: with the step after it, twice, while clients ask all the time."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any, Self

import httpx
import pytest

from infra import configure, finish, secrets, stack
from infra.package import ARRIVALS_QUEUE, JOBS_QUEUE, only
from infra.stack import Stack
from tests.aws.carrying import carry
from tests.aws.cloud import ROOT, environment, relay
from tests.aws.distribution import fronted, without_functions
from tests.aws.door import Behind, Door, at, opened
from tests.aws.import_shim import taking_swagger
from tests.aws.shims import over_plain_http, parameters_of_any_name
from tests.aws.test_stack import MANIFEST_TYPE, sha256
from tests.engines.engine import Engine, client
from tests.engines.ministack import ministack
from tests.engines.process import HOST, free_ports
from tests.oci.test_manifests import image

pytestmark = pytest.mark.aws
SECRETS, STAGE = "/team/registry", "prod"


@dataclass(frozen=True, slots=True)
class Account:
    """An emulated account with the storage in it, and a checkout that is configured for it."""

    engine: Engine
    endpoint: str
    project: Path
    found: Mapping[str, str]
    password: str
    port: int

    @property
    def host(self) -> str:
        """Where clients are sent, and where a door is for those that need one."""
        return f"{HOST}:{self.port}"

    @property
    def api(self) -> str:
        return finish.deployed_api(self.project, STAGE)

    @property
    def url(self) -> str:
        return f"{self.engine.endpoint}/_aws/execute-api/{self.api}"

    def deploy(self) -> list[str]:
        """Run the program, then the step after it; return what that told."""
        settings = environment(self.engine) | {"AWS_ENDPOINT_URL": self.endpoint}
        command = [str(Path(sys.executable).with_name("chalice")), "deploy", "--stage", STAGE]
        done = subprocess.run(
            command, cwd=self.project, env=settings, check=False, capture_output=True, text=True, timeout=400
        )
        assert done.returncode == 0, done.stdout + done.stderr
        finish.let_jobs_go_on(client(self.engine, "lambda"), self.project, STAGE)
        return list(finish.finish(client(self.engine, "apigateway"), self.api, self.host))

    @contextmanager
    def door(self, uploads: str = "") -> Iterator[Door]:
        """Open the host of clients: the API, behind a CloudFront such as the stack's with a relay, or alone."""
        bucket = at(f"{self.engine.endpoint}/{self.found['BucketName']}")
        origins = {"api": at(self.url), "relay": at(uploads), "bucket": bucket}
        behind = Behind(origins, fronted()) if uploads else Behind({"api": at(self.url)})
        with opened(behind, self.port) as door:
            yield door


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """An account into which the checkout was deployed once."""
    project = tmp_path_factory.mktemp("project")
    leave_out = shutil.ignore_patterns("deployed", "deployments", "__pycache__")
    for name in ("chalicelib", ".chalice"):
        shutil.copytree(ROOT / name, project / name, ignore=leave_out)
    for name in ("app.py", "requirements.txt"):
        shutil.copy(ROOT / name, project)
    with ministack() as engine, taking_swagger(engine) as endpoint:
        found = _storage(engine)
        names = configure.Names(found["BucketName"], found["TableName"], SECRETS)
        configure.write(configure.changes(project, STAGE, names))
        _parameters_of_any_name(project)
        made = secrets.make(client(engine, "ssm"), SECRETS)
        (port,) = free_ports(1)
        ready = Account(engine, endpoint, project, found, made["admin-password"], port)
        assert any("v2, service, api, c" in line for line in ready.deploy())
        yield ready


def _storage(engine: Engine) -> dict[str, str]:
    template: dict[str, Any] = json.loads(json.dumps(only("storage")))
    over_plain_http(template)
    wanted = Stack("storage", template, {"JobsQueueName": JOBS_QUEUE, "ArrivalsQueueName": ARRIVALS_QUEUE})
    return dict(stack.deploy(client(engine, "cloudformation"), wanted, lambda _: None))


def _parameters_of_any_name(project: Path) -> None:
    """The shim of the same name, for policies in files."""
    for path in (project / ".chalice").glob("policy-*.json"):
        policy = {"Resources": json.loads(path.read_text())}
        parameters_of_any_name(policy)
        path.write_text(json.dumps(policy["Resources"]))


def _token(account: Account) -> dict[str, str]:
    answer = httpx.get(
        f"{account.url}/service/token",
        params={"scope": "repository:library/app:pull,push"},
        auth=("admin", account.password),
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['token']}"}


def _push(account: Account, token: dict[str, str]) -> bytes:
    def ask(method: str, path: str, content: bytes, kind: str = "application/octet-stream") -> httpx.Response:
        headers = token | {"Content-Type": kind}
        return httpx.request(method, f"{account.url}{path}", content=content, headers=headers, timeout=60)

    for blob in (b"{}", b"one", b"two"):
        started = ask("POST", "/v2/library/app/blobs/uploads/", b"")
        done = ask("PUT", f"{started.headers['location']}&digest={sha256(blob)}", blob)
        assert done.status_code == 201, done.text
    manifest = json.dumps(image()).encode()
    pushed = ask("PUT", "/v2/library/app/manifests/v1", manifest, MANIFEST_TYPE)
    assert pushed.status_code == 201, pushed.text
    return manifest


def _pull(account: Account, token: dict[str, str]) -> httpx.Response:
    return httpx.get(f"{account.url}/v2/library/app/manifests/v1", headers=token, follow_redirects=True, timeout=60)


def _challenges(account: Account) -> httpx.Response:
    return httpx.get(f"{account.url}/v2/", timeout=60)


class Asking(Thread):
    """A client that hardly pauses: it is sent for a token, it pulls with one, and anything else is remembered."""

    def __init__(self, account: Account, token: dict[str, str], manifest: bytes) -> None:
        super().__init__(daemon=True)
        self._account, self._token, self._manifest = account, token, manifest
        self._over = Event()
        self.pulls, self.wrong = 0, list[str]()

    def run(self) -> None:
        while not self._over.wait(0.05):
            refused, pulled = _challenges(self._account), _pull(self._account, self._token)
            self.pulls += 1
            if refused.status_code != 401 or "www-authenticate" not in refused.headers:
                self.wrong.append(f"{refused.status_code} {dict(refused.headers)}")
            if pulled.content != self._manifest:
                self.wrong.append(f"{pulled.status_code} {pulled.text}")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join(60)


def test_a_client_without_a_token_is_sent_to_the_token_service_of_the_host(account: Account) -> None:
    refused = _challenges(account)

    assert refused.status_code == 401
    assert f'realm="https://{account.host}/service/token"' in refused.headers["www-authenticate"]


@pytest.mark.parametrize("name", ["docker", "crane"])
def test_clients_push_and_pull_small_images_by_the_api_alone(account: Account, name: str) -> None:
    with account.door() as door:
        carry(name, f"http://{account.host}", account.password)

    assert set(door.passed) == {"api"}


def test_an_update_fails_no_request(account: Account) -> None:
    token = _token(account)
    manifest = _push(account, token)
    assert _pull(account, token).content == manifest
    app = account.project / "app.py"
    app.write_text(app.read_text() + "\n# A change.\n")

    with Asking(account, token, manifest) as one, Asking(account, token, manifest) as other:
        account.deploy()

    assert one.pulls > 0
    assert one.wrong + other.wrong == []
    assert _pull(account, _token(account)).content == manifest
    with account.door():
        carry("crane", f"http://{account.host}", account.password)


def test_docker_and_crane_push_and_pull_real_layers_with_a_relay_beside_the_api(
    account: Account, tmp_path: Path
) -> None:
    clients = ("-m", "pytest", "-n0", "-m", "clients", "tests/clients/test_clients.py")
    chosen = ("-k", "(docker or crane) and not gigabyte")
    given = {"ROADSTEAD_CLIENTS_URL": f"http://{account.host}", "ROADSTEAD_CLIENTS_PASSWORD": account.password}
    names = {"Bucket": account.found["BucketName"], "Table": account.found["TableName"]}
    known = {**names, "SecretsPath": SECRETS, "DomainName": account.host}

    with relay(account.engine, without_functions(), known, tmp_path) as uploads, account.door(uploads) as door:
        done = subprocess.run(
            [sys.executable, *clients, *chosen], cwd=ROOT, env=os.environ | given, capture_output=True, text=True,
            check=False
        )  # fmt: skip

    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    sys.stdout.write(done.stdout)
    assert set(door.passed) == {"api", "relay", "bucket"}
