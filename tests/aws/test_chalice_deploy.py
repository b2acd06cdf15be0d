"""`chalice deploy`, the program, on emulated AWS: twice, with the step after it, while a client asks all the time."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import pytest

from infra import configure, finish, secrets, stack
from infra.package import only
from infra.stack import Stack
from tests.aws.cloud import ROOT, environment
from tests.aws.import_shim import taking_swagger
from tests.aws.shims import over_plain_http, parameters_of_any_name
from tests.aws.test_stack import MANIFEST_TYPE, sha256
from tests.engines.engine import Engine, client
from tests.engines.ministack import ministack
from tests.oci.test_manifests import image

pytestmark = pytest.mark.aws
# ministack ends a function's process at each change of its code or settings, with the request that it is answering,
# which AWS lets end. That is once each for two changes of the handler and two of the authorizer.
CUT = (502, 503)
CUTS = 4
SECRETS, STAGE, HOST = "/team/registry", "prod", "registry.example.org"


@dataclass(frozen=True, slots=True)
class Account:
    """An emulated account with the storage in it, and a checkout that is configured for it."""

    engine: Engine
    endpoint: str
    project: Path
    password: str

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
        return list(finish.finish(client(self.engine, "apigateway"), self.api, HOST))


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
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
        yield Account(engine, endpoint, project, made["admin-password"])


def _storage(engine: Engine) -> dict[str, str]:
    template: dict[str, Any] = json.loads(json.dumps(only("storage")))
    over_plain_http(template)
    wanted = Stack("storage", template, {})
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


def test_it_deploys_and_updates_while_no_client_meets_a_half_of_it(account: Account) -> None:
    assert any("v2, service, api, c" in line for line in account.deploy())
    refused = _challenges(account)
    assert refused.status_code == 401
    assert f'realm="https://{HOST}/service/token"' in refused.headers["www-authenticate"]
    token = _token(account)
    manifest = _push(account, token)
    assert _pull(account, token).content == manifest

    app = account.project / "app.py"
    app.write_text(app.read_text() + "\n# A change.\n")
    wrong: list[str] = []
    cut: list[str] = []
    asked: list[int] = []
    over = Event()

    def client_of_the_registry() -> None:
        while not over.wait(0.2):
            got, pulled = _challenges(account), _pull(account, token)
            asked.append(got.status_code)
            if got.status_code != 401 or "www-authenticate" not in got.headers:
                wrong.append(f"{got.status_code} {dict(got.headers)}")
            if pulled.content != manifest:
                (cut if pulled.status_code in CUT else wrong).append(f"{pulled.status_code} {pulled.text}")

    asking = Thread(target=client_of_the_registry)
    asking.start()
    try:
        account.deploy()
    finally:
        over.set()
        asking.join()
    assert asked
    assert not wrong
    assert len(cut) <= CUTS, cut
    assert _pull(account, _token(account)).content == manifest
