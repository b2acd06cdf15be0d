"""Real clients through the strict front, with a relay beside it for uploads, as CloudFront does it.

Emulated: S3 is SeaweedFS, which checks signatures as S3 does; the table is a file; the functions run in the front's
process, one request at a time.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.aws.carrying import carry, carrying
from tests.aws.distribution import fronted
from tests.aws.door import Behind, Door, at, opened
from tests.engines.engine import s3_client
from tests.engines.process import HOST, free_ports, running, wait_ready
from tests.engines.seaweedfs import seaweedfs
from tests.memory import PASSWORD

pytestmark = [
    pytest.mark.aws,
    # The door passes a manifest of 4 MB on at once.
    pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning"),
]
ROOT = Path(__file__).parents[2]
BUCKET = "roadstead"
# The image above a gigabyte is pushed in `make clients`.
CLIENTS = "(docker or ctr or skopeo or podman or crane or oras) and not gigabyte"


@dataclass(frozen=True, slots=True)
class Site:
    """A registry behind the door, and what programs that use it have in their environment."""

    door: Door
    url: str

    def run(self, *command: str | Path) -> str:
        """Run a program that must succeed; return what it printed."""
        given = {
            "ROADSTEAD_CLIENTS_URL": self.url,
            "ROADSTEAD_CLIENTS_PASSWORD": PASSWORD,
            "OCI_ROOT_URL": self.url,
            "OCI_BLOBS_REDIRECTED": "true",
            "OCI_USERNAME": "admin",
            "OCI_PASSWORD": PASSWORD,
        }
        words = list(map(str, command))
        done = subprocess.run(words, cwd=ROOT, env=os.environ | given, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        return done.stdout


@contextmanager
def standing(folder: Path, *, relayed: bool) -> Iterator[Site]:
    """Make a registry behind the strict front, with a relay beside it or without."""
    port, inner, uploads = free_ports(3)
    host = f"{HOST}:{port}"
    serve = ("chalicelib.cli.main", "serve", "--port", str(uploads))
    with ExitStack() as stack:
        engine = stack.enter_context(seaweedfs())
        s3_client(engine).create_bucket(Bucket=BUCKET)
        settings = engine.environment() | {
            "ROADSTEAD_BUCKET": BUCKET,
            "ROADSTEAD_TABLE": f"file:{folder / 'directory.sqlite'}",
            "ROADSTEAD_ADMIN_PASSWORD": PASSWORD,
            "ROADSTEAD_SIGNING_KEY": "00" * 32,
            "ROADSTEAD_PUBLIC_URL": f"http://{host}",
        }
        relay = stack.enter_context(_program(folder / "relay", uploads, settings, *serve)) if relayed else ""
        front = ("tests.aws.front_server", host, str(inner))
        api = stack.enter_context(_program(folder / "api", inner, settings, *front))
        origins = {"api": at(api), "relay": at(relay), "bucket": at(f"{engine.endpoint}/{BUCKET}")}
        behind = Behind(origins, fronted()) if relayed else Behind({"api": at(api)})
        door = stack.enter_context(opened(behind, port))
        yield Site(door, f"http://{host}")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with standing(tmp_path_factory.mktemp("front"), relayed=True) as made:
        yield made


@contextmanager
def _program(folder: Path, port: int, settings: Mapping[str, str], *module: str) -> Iterator[str]:
    """Run a module that listens on a port; yield its address."""
    folder.mkdir()
    given = os.environ | settings | {"HOST": HOST, "DATA": str(folder / "data"), "PYTHONPATH": str(ROOT)}
    with running([sys.executable, "-m", *module], environment=given, directory=folder) as process:
        wait_ready(lambda: _answers(port), process, folder)
        yield f"http://{HOST}:{port}"


def _answers(port: int) -> None:
    try:
        httpx.get(f"http://{HOST}:{port}/v2/")
    except httpx.TransportError as error:
        raise OSError("not yet") from error


def test_real_clients_push_and_pull_through_the_strict_front(site: Site) -> None:
    table = site.run(
        sys.executable, "-m", "pytest", "-n0", "-m", "clients", "tests/clients/test_clients.py", "-k", CLIENTS
    )

    sys.stdout.write(table)
    assert set(site.door.passed) == {"api", "relay", "bucket"}


def test_the_oci_suite_passes_through_the_strict_front(site: Site, tmp_path: Path) -> None:
    made = httpx.post(f"{site.url}/api/v2.0/projects", json={"project_name": "conformance"}, auth=("admin", PASSWORD))
    assert made.status_code == 201

    summary = site.run(ROOT / "tests" / "conformance" / "run.sh", tmp_path)

    sys.stdout.write(summary[-2000:])


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with standing(tmp_path_factory.mktemp("bare"), relayed=False) as made:
        yield made


@pytest.mark.parametrize("name", ["docker", "ctr", "skopeo", "podman", "buildah", "crane", "oras", "helm", "regctl"])
def test_small_images_and_charts_need_no_relay_and_no_cloudfront(bare: Site, name: str) -> None:
    """What fits a function's event."""
    carry(name, bare.url, PASSWORD)

    assert set(bare.door.passed) == {"api"}


@pytest.mark.parametrize("name", ["crane", "cosign"])
def test_what_the_library_of_crane_looks_for_needs_cloudfront(bare: Site, name: str) -> None:
    """It wants the digest in the answer of a HEAD, which comes from S3; cosign asks so before it signs."""
    with carrying(name, bare.url, PASSWORD) as (client, bench):
        target = bench.reference("twice", client.tag)

        def push_twice() -> None:
            for _ in range(2):
                client.push(bench, bench.cargo.image, target)

        with pytest.raises(AssertionError, match="response did not include Docker-Content-Digest"):
            push_twice()
