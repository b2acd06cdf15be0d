"""A stack of an earlier version becomes one of this version, and goes back, while clients pull: by real packages.

The earlier version is a commit of this repository's history, packaged by its own code.
"""

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pytest

from infra.package import CODE, package
from tests.aws.carrying import carrying
from tests.aws.cloud import ROOT, Cloud, deployed, shimmed
from tests.aws.door import Behind, at, opened
from tests.aws.test_stack import PULLERS, Person, Pulling, logged_in, push_image
from tests.engines.process import HOST, free_ports

pytestmark = pytest.mark.aws
# "Deploying, step by step": the first version whose steps the README told. It has no front, no relay and no replica.
EARLIER = "ce4d8913d18d7aa9937e76ce671593ab305bb819"
NAME = "library/kept"


def of_earlier(folder: Path) -> Path:
    """Package the earlier version, as who had checked it out; return its template's path."""
    # A clone may be another user's.
    git = ["git", "-c", f"safe.directory={ROOT}"]
    archive = subprocess.run([*git, "archive", EARLIER], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        # A shallow clone has no earlier version at all; any other one must have it.
        depth = subprocess.run(
            [*git, "rev-parse", "--is-shallow-repository"], cwd=ROOT, capture_output=True, check=True
        )
        give_up = pytest.skip if depth.stdout.strip() == b"true" else pytest.fail
        give_up(
            f"commit {EARLIER} is not in this clone, so no update from it can be tried: git fetch --unshallow,"
            f" or name another earlier commit here\n{archive.stderr.decode()}"
        )
    checkout = folder / "checkout"
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
        files.extractall(checkout, filter="data")
    made = folder / "earlier"
    # Its own code, not this one's, which a variable of the tests may name.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([sys.executable, "-m", "infra", "package", made], cwd=checkout, env=environment, check=True)
    (made / CODE).rename(folder / CODE)
    return made / "roadstead.json"


@dataclass(frozen=True, slots=True)
class Versions:
    """A stack of the earlier version, and what this version would make of it."""

    cloud: Cloud
    port: int
    code: Path
    template: Path

    def become_this(self) -> list[str]:
        return self.cloud.update(shimmed(self.template), CodeKey=self.cloud.put(self.code))

    def go_back(self) -> list[str]:
        return self.cloud.update(self.cloud.template)


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Versions]:
    this = tmp_path_factory.mktemp("this")
    template = package(this)
    (port,) = free_ports(1)
    with deployed(tmp_path_factory.mktemp("earlier"), of_earlier, DomainName=f"{HOST}:{port}") as cloud:
        yield Versions(cloud, port, this / CODE, template)


# What they did is done by jobs of the engine since.
REPLACED = {"roadstead-DropAbandonedUploads"}


def pulls(person: Person, tag: str, manifest: bytes) -> bool:
    return person.ask("GET", f"/v2/{NAME}/manifests/{tag}").content == manifest


def declared(versions: Versions) -> set[str]:
    """Return the paths of this version's API."""
    return set(json.loads(versions.template.read_text())["Resources"]["RestAPI"]["Properties"]["Body"]["paths"])


def served(cloud: Cloud) -> set[str]:
    found = cloud.client("apigateway").get_resources(restApiId=cloud.outputs["ApiId"], limit=500)["items"]
    return {each["path"] for each in found}


def codes(cloud: Cloud) -> dict[str, str]:
    """Return the digest of each function's code, by its name without what makes it unique."""
    found = cloud.client("lambda").list_functions()["Functions"]
    return {each["FunctionName"].rpartition("-")[0]: each["CodeSha256"] for each in found}


def test_a_stack_becomes_this_version_and_goes_back_and_no_pull_fails(versions: Versions) -> None:
    cloud = versions.cloud
    earlier = codes(cloud)
    person = logged_in(cloud, NAME)
    manifest = push_image(person, NAME, "earlier")
    path = f"/v2/{NAME}/manifests/earlier"

    with Pulling(person, path, manifest) as forth:
        versions.become_this()
        now = codes(cloud)
        later = push_image(logged_in(cloud, NAME), NAME, "later")

    assert declared(versions) <= served(cloud)
    assert set(earlier) - set(now) == REPLACED
    assert not [name for name in set(earlier) - REPLACED if now[name] == earlier[name]]
    assert (forth.pulls > PULLERS, forth.wrong) == (True, [])
    assert pulls(person, "earlier", manifest)

    with Pulling(person, path, manifest) as back:
        versions.go_back()

    assert codes(cloud) == earlier
    assert (back.pulls > PULLERS, back.wrong) == (True, [])
    for holder in (person, logged_in(cloud, NAME)):
        assert pulls(holder, "earlier", manifest)
        assert pulls(holder, "later", later)


def test_a_client_keeps_its_image_and_its_login_through_both(versions: Versions) -> None:
    """crane, by the host where the stack sends clients."""
    cloud, port = versions.cloud, versions.port
    url = f"http://{HOST}:{port}"
    with opened(Behind({"api": at(cloud.api)}), port), carrying("crane", url, cloud.password) as (crane, bench):
        target = bench.reference("through", crane.tag)
        crane.push(bench, bench.cargo.image, target)

        for change in (versions.become_this, versions.go_back):
            change()
            assert crane.holds(bench, bench.cargo.image) <= crane.pull(bench, target)
