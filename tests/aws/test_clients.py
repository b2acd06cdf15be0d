"""Real clients and the OCI suite against the deployed stack: by one host with the relay, and by the API alone."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.aws.cloud import ROOT, Cloud, deployed, relay
from tests.aws.door import Behind, Door, at, opened
from tests.engines.process import HOST, free_ports

pytestmark = pytest.mark.aws
# The image above a gigabyte is pushed in `make clients`; that uploads are not the function's business is seen here.
CLIENTS = "(docker or ctr or skopeo or podman or crane or oras) and not gigabyte"


@dataclass(frozen=True, slots=True)
class Site:
    """A deployed registry that clients reach at one host."""

    cloud: Cloud
    door: Door
    url: str

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            **os.environ,
            "ROADSTEAD_CLIENTS_URL": self.url,
            "ROADSTEAD_CLIENTS_PASSWORD": self.cloud.password,
            "OCI_ROOT_URL": self.url,
            "OCI_BLOBS_REDIRECTED": "true",
            "OCI_USERNAME": "admin",
            "OCI_PASSWORD": self.cloud.password,
        }

    def run(self, *command: str | Path) -> str:
        """Run a program that must succeed; return what it printed."""
        done = subprocess.run(
            list(map(str, command)), cwd=ROOT, env=dict(self.environment), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        return done.stdout


@contextmanager
def site(folder: Path, *, relayed: bool) -> Iterator[Site]:
    """Make a registry behind CloudFront with a relay, or the API alone."""
    (port,) = free_ports(1)
    front = {"Front": "true"} if relayed else {}
    with ExitStack() as stack:
        cloud = stack.enter_context(deployed(folder, DomainName=f"{HOST}:{port}", **front))
        if relayed:
            uploads = stack.enter_context(relay(cloud.engine, cloud.template, cloud.known, folder))
            # ministack has no VPC origin: the stack stands without a relay, and the front is that of one with it.
            behind = Behind(cloud.origins(uploads), cloud.front())
        else:
            behind = Behind({"api": at(cloud.api)})
        door = stack.enter_context(opened(behind, port))
        yield Site(cloud, door, f"http://{HOST}:{port}")


@pytest.fixture(scope="module")
def relayed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("relayed"), relayed=True) as made:
        yield made


def test_real_clients_push_and_pull_real_layers(relayed: Site) -> None:
    table = relayed.run(
        sys.executable, "-m", "pytest", "-n0", "-m", "clients", "tests/clients/test_clients.py", "-k", CLIENTS
    )

    sys.stdout.write(table)
    assert relayed.door.passed["relay"] > 0
    assert relayed.door.passed["api"] > 0
    assert relayed.door.passed["bucket"] > 0


def test_the_oci_suite_passes(relayed: Site, tmp_path: Path) -> None:
    projects = f"{relayed.url}/api/v2.0/projects"
    made = httpx.post(projects, json={"project_name": "conformance"}, auth=("admin", relayed.cloud.password))
    assert made.status_code == 201

    summary = relayed.run(ROOT / "tests" / "conformance" / "run.sh", tmp_path)

    sys.stdout.write(summary[-2000:])


SMALL = 1 << 20


def test_small_images_need_no_relay(tmp_path: Path) -> None:
    """Charts, signatures and small images fit what a function takes."""
    layer = tmp_path / "layer.bin"
    layer.write_bytes(os.urandom(SMALL))
    crane, oras = (Path(os.environ.get("ROADSTEAD_CACHE", Path.home() / ".cache/roadstead")) / "clients/bin" / name
                   for name in ("crane", "oras"))  # fmt: skip

    with site(tmp_path, relayed=False) as bare:
        host = bare.url.removeprefix("http://")
        login = ("--username", "admin", "--password", bare.cloud.password)
        bare.run(oras, "push", "--plain-http", *login, "--disable-path-validation", f"{host}/library/small:v1", layer)
        bare.run(crane, "auth", "login", host, *login)
        pulled = bare.run(crane, "manifest", "--insecure", f"{host}/library/small:v1")
        bare.run("skopeo", "copy", "--src-tls-verify=false", f"--src-creds=admin:{bare.cloud.password}",
                 f"docker://{host}/library/small:v1", f"dir:{tmp_path / 'copy'}")  # fmt: skip

    assert str(SMALL) in pulled
    assert any(path.read_bytes() == layer.read_bytes() for path in (tmp_path / "copy").iterdir())
    assert set(bare.door.passed) == {"api"}
