"""The relay's image, built from its Dockerfile on a base of this machine's Python, and run as its task runs it.

Its root cannot be written to, its user is nobody, and its settings are the task's: secrets are read from SSM. Needs
buildah and root, for namespaces; which base a real build takes is for `BASE` to say.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from chalicelib.store.dynamodb import dynamo_client, make_table
from chalicelib.store.signing import Credentials
from infra.package import FRAGMENTS
from tests.engines import Engine
from tests.engines.moto_server import moto
from tests.engines.process import HOST, ending, free_ports
from tests.server.pushing import MiB, content, push_blob
from tests.server.running import BUCKET, PASSWORD, ROOT, SIGNING_KEY, Server, await_ready
from tests.server.wire import basic

pytestmark = pytest.mark.aws
TABLE = "roadstead"
# Parts of the C and C++ libraries that wheels load.
BESIDE = ("libnss_dns", "libnss_files", "libpthread", "librt", "libdl", "libutil", "libgcc_s", "libresolv")
# Binds the root to itself, so that it can be made read-only here and nowhere else.
CONFINED = """
set -e
mount --bind "$1" "$1"
mount -o remount,ro,bind "$1"
mount -t tmpfs tmpfs "$1/tmp"
chmod 1777 "$1/tmp"
root=$1; user=$2; shift 2
exec /usr/sbin/chroot --userspec="$user" "$root" "$@"
"""


@dataclass(frozen=True, slots=True)
class Image:
    """An image as files, and its configuration."""

    root: Path
    config: Mapping[str, Any]

    @property
    def environment(self) -> dict[str, str]:
        return dict(each.partition("=")[::2] for each in self.config["Env"])

    def command(self, *words: str) -> list[str]:
        """Return what runs these words as the image's user over a root that cannot be written to."""
        return ["unshare", "--mount", "sh", "-c", CONFINED, "sh", str(self.root), self.config["User"], *words]

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words), env=self.environment | variables, capture_output=True, text=True, check=False,
            timeout=60
        )  # fmt: skip


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    assert os.geteuid() == 0, "an image is built and confined by root"
    assert shutil.which("buildah"), "buildah is not installed: run tests/clients/install.sh"
    folder = tmp_path_factory.mktemp("image")
    store = ["--storage-driver", "vfs", "--root", f"{folder}/store", "--runroot", f"{folder}/run"]

    def buildah(*words: str) -> str:
        command = ["buildah", *store, *words]
        return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    build = ("bud", "--quiet", "--isolation", "chroot")
    buildah(*build, "--tag", "base", str(_base(folder / "base")))
    relay = ROOT / "infra" / "relay"
    buildah(*build, "--build-arg", "BASE=localhost/base", "--ignorefile", str(relay / "Dockerfile.dockerignore"),
            "--file", str(relay / "Dockerfile"), "--tag", "relay", ".")  # fmt: skip
    config = json.loads(buildah("inspect", "--type", "image", "localhost/relay"))["OCIv1"]["config"]
    container = buildah("from", "localhost/relay")
    try:
        yield Image(Path(buildah("mount", container)), config)
    finally:
        buildah("rm", container)
        shutil.rmtree(folder)


def _base(folder: Path) -> Path:
    """Return a folder from which an image with this machine's Python and pip is built."""
    root = folder / "root"
    library = Path(os.__file__).parent
    python = Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}").resolve()
    shutil.copytree(
        library, f"{root}{library}", ignore=shutil.ignore_patterns("test", "site-packages", "__pycache__")
    )
    programs = [python, Path("/bin/sh"), *library.glob("lib-dynload/*.so")]
    files = [python, Path("/bin/sh"), *_libraries(programs), *Path("/usr/share/python-wheels").glob("*.whl")]
    files += [Path("/etc/ssl/certs/ca-certificates.crt"), Path("/etc/resolv.conf"), Path("/etc/hosts")]
    files += [Path("/etc/pip.conf")] * Path("/etc/pip.conf").exists()
    for file in files:
        copy = Path(f"{root}{file}")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file.resolve(), copy)
    (root / "usr" / "local" / "bin").mkdir(parents=True, exist_ok=True)
    (root / "usr" / "local" / "bin" / "python").symlink_to(python)
    (root / "tmp").mkdir(mode=0o1777)
    pip = " ".join(f"{name}={value}" for name, value in os.environ.items() if name in {"PIP_CERT", "PIP_INDEX_URL"})
    environment = f"ENV PATH=/usr/local/bin:/usr/bin:/bin {pip}"
    (folder / "Dockerfile").write_text(f"FROM scratch\nCOPY root /\n{environment}\n")
    return folder


def _libraries(programs: Sequence[Path]) -> set[Path]:
    """Return the shared libraries that programs load, and what lies beside them."""
    said = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=False).stdout
    named = {Path(path) for path in re.findall(r"(?:=>|^)\s+(/\S+) \(", said, re.MULTILINE)}
    return named | {path for one in named for name in BESIDE for path in one.parent.glob(f"{name}.so.*")}


@pytest.fixture(scope="module")
def cloud() -> Iterator[Engine]:
    """AWS with a bucket, a table and secrets."""
    with moto() as engine:
        given = Credentials(engine.access_key, engine.secret_key, "")
        make_table(dynamo_client(engine.region, engine.endpoint, given), TABLE)
        session = boto3.Session(engine.access_key, engine.secret_key, region_name=engine.region)
        session.client("s3", endpoint_url=engine.endpoint).create_bucket(Bucket=BUCKET)
        ssm = session.client("ssm", endpoint_url=engine.endpoint)
        for name, value in (("signing-key", SIGNING_KEY), ("admin-password", PASSWORD)):
            ssm.put_parameter(Name=f"/roadstead/{name}", Value=value, Type="SecureString")
        yield engine


def task(engine: Engine) -> dict[str, str]:
    """Return the environment that the template gives a task, its references resolved to an emulated AWS."""
    relay = yaml.safe_load((FRAGMENTS / "relay.yaml").read_text())["Resources"]["RelayTask"]["Properties"]
    own = {each["Name"]: each["Value"] for each in relay["ContainerDefinitions"][0]["Environment"]}
    known = {
        **_defaults(),
        "AWS::Region": engine.region,
        "Bucket": BUCKET,
        "Table": TABLE,
        "SecretsPath": "/roadstead",
    }
    resolved = {name: _resolved(value, known) for name, value in own.items() if name != "ROADSTEAD_PUBLIC_URL"}
    return {**resolved, **engine.environment(), "AWS_ENDPOINT_URL": engine.endpoint}


def _defaults() -> dict[str, str]:
    """Return what the parameters of all templates are where nobody says otherwise."""
    templates = (yaml.safe_load(path.read_text()) for path in FRAGMENTS.glob("*.yaml"))
    parameters = {name: each for template in templates for name, each in template.get("Parameters", {}).items()}
    return {name: str(each["Default"]) for name, each in parameters.items() if "Default" in each}


def _resolved(value: str | dict[str, str], known: Mapping[str, str]) -> str:
    if isinstance(value, str):
        return value
    if "Ref" in value:
        return known[value["Ref"]]
    return re.sub(r"\$\{(.+?)\}", lambda found: known[found[1]], value["Fn::Sub"])


@contextmanager
def serving(image: Image, engine: Engine, folder: Path) -> Iterator[Server]:
    [port] = free_ports(1)
    variables = image.environment | task(engine) | {"HOST": HOST, "PORT": str(port)}
    with (folder / "out.log").open("wb") as out, (folder / "err.log").open("wb") as err:
        process = subprocess.Popen(
            image.command(*image.config["Entrypoint"], *image.config["Cmd"]),
            env=variables, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True,
        )  # fmt: skip
    with ending(process, grace=5):
        server = Server(process, folder)
        yield Server(process, folder, await_ready(server), PASSWORD)


def test_the_image_takes_pushes_as_its_task_runs_it(image: Image, cloud: Engine, tmp_path: Path) -> None:
    with serving(image, cloud, tmp_path) as server:
        port = str(server.address[1])
        large = push_blob(server, "library/relay", content("large", 40 * MiB))

        assert server.ask("HEAD", f"/v2/library/relay/blobs/{large}").status in {200, 307}
        assert server.ask("GET", "/v2/", {"Authorization": basic("admin", "wrong")}).status == 401
        assert image.run("python", "/opt/health.py", PORT=port).returncode == 0
        assert server.end(signal.SIGTERM) == 0
        assert image.run("python", "/opt/health.py", PORT=port).returncode != 0


def test_lines_of_the_image_are_for_machines(image: Image, cloud: Engine, tmp_path: Path) -> None:
    with serving(image, cloud, tmp_path) as server:
        server.ask("GET", "/v2/")
        server.end(signal.SIGTERM)

    [line] = server.out().splitlines()
    assert json.loads(line)["status"] == 200


def test_nothing_in_the_image_can_be_written_but_temporary_files(image: Image) -> None:
    written = 'import pathlib, sys; pathlib.Path(sys.argv[1], "x").write_text("")'

    assert image.run("python", "-c", written, "/tmp").returncode == 0
    for folder in ("/", "/opt", "/opt/roadstead"):
        assert image.run("python", "-c", written, folder).returncode != 0


def test_the_image_has_what_the_relay_needs_and_no_more(image: Image) -> None:
    libraries = {path.name for path in image.root.glob("opt/roadstead/lib/python3*/site-packages/*")}

    assert {"aiohttp", "boto3", "chalicelib", "nacl", "orjson"} <= libraries
    assert not [name for name in libraries if "seaweed" in name or name in {"moto", "pytest", "tests"}]
    assert not (image.root / "src").exists()
