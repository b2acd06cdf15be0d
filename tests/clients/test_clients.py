"""Prove, for each client and operation, what came of it: in the client's store, in the registry, and on the wire."""

import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest

from . import images
from .bench import Bench, Reference
from .clients import CHUNK, CLIENTS, Cannot, Client
from .commands import oras, regctl
from .table import OPERATIONS

pytestmark = pytest.mark.clients

CONFIG_SLACK = 64 * 1024  # a mount names layers; configs and signatures may be sent again
SIGNATURE = "application/vnd.dev.sigstore.bundle"


@cache
def pushed(client: Client, bench: Bench) -> Reference:
    """Push the image once, for every proof that needs it there."""
    target = bench.reference("first", client.tag)
    client.push(bench, bench.cargo.image, target)
    return target


def check_whole(client: Client, bench: Bench, image: images.Image | images.Index, target: Reference) -> str:
    """Check what the registry holds now: all of it, and the very bytes where the client keeps them."""
    digest = bench.registry.whole(target.repository, target.tag)
    if image.digest in client.holds(bench, image):
        assert digest == image.digest
    return digest


def prove_login(client: Client, bench: Bench) -> None:
    assert not isinstance(client.login, Cannot)
    with pytest.raises(AssertionError, match="ended with"):
        client.login(bench, f"nobody-{client.name}", "wrong")

    with bench.recording() as seen:
        client.login(bench, bench.registry.user, bench.registry.password)

    assert seen[0].asked("GET", r"^/v2/(_catalog.*)?$"), seen[0]


def prove_push(client: Client, bench: Bench) -> None:
    with bench.recording() as seen:
        target = pushed(client, bench)

    check_whole(client, bench, bench.cargo.image, target)
    _, document = bench.registry.manifest(target.repository, target.tag)
    blobs = {blob["digest"]: blob["size"] for blob in (*document["layers"], document["config"])}
    assert seen[0].commits >= len(blobs), seen[0]
    assert seen[0].blob_bytes >= sum(blobs.values()), seen[0]
    assert seen[0].asked("PUT", f"^/v2/{target.repository}/manifests/"), seen[0]


def prove_pull(client: Client, bench: Bench) -> None:
    source = pushed(client, bench)

    with bench.recording() as seen:
        held = client.pull(bench, source)

    assert client.holds(bench, bench.cargo.image) <= held
    assert seen[0].asked("GET", f"^/v2/{source.repository}/manifests/"), seen[0]


def prove_repush(client: Client, bench: Bench) -> None:
    assert not isinstance(client.repush, Cannot)
    target = pushed(client, bench)
    before = bench.registry.whole(target.repository, target.tag)

    with bench.recording() as seen:
        client.repush(bench, bench.cargo.image, target)

    assert seen[0].blob_bytes == 0, seen[0]
    assert seen[0].commits == 0, seen[0]
    assert bench.registry.whole(target.repository, target.tag) == before


def prove_mount(client: Client, bench: Bench) -> None:
    assert not isinstance(client.mount, Cannot)
    source, target = pushed(client, bench), bench.reference("second", client.tag)

    with bench.recording() as seen:
        client.mount(bench, bench.cargo.image, source, target)

    check_whole(client, bench, bench.cargo.image, target)
    assert seen[0].mounts >= len(bench.cargo.image.layers), seen[0]
    assert seen[0].blob_bytes < CONFIG_SLACK, seen[0]


def prove_index(client: Client, bench: Bench) -> None:
    assert not isinstance(client.index, Cannot)
    push, pull = client.index
    target = bench.reference("many", client.tag)

    push(bench, bench.cargo.index, target)
    held = pull(bench, bench.cargo.index, target)

    check_whole(client, bench, bench.cargo.index, target)
    _, document = bench.registry.manifest(target.repository, target.tag)
    platforms = {each["platform"]["architecture"] for each in document["manifests"]}
    assert platforms == {image.architecture for image in bench.cargo.index.images}
    assert client.holds(bench, bench.cargo.index) <= held


def prove_delete(client: Client, bench: Bench) -> None:
    assert not isinstance(client.delete, Cannot)
    assert not isinstance(client.mount, Cannot)
    source, target = pushed(client, bench), bench.reference("gone", client.tag)
    client.mount(bench, bench.cargo.image, source, target)
    digest, _ = bench.registry.manifest(target.repository, target.tag)

    client.delete(bench, target, digest)

    assert client.deleted(bench, target, digest)
    assert bench.registry.whole(source.repository, source.tag) == digest


def prove_list(client: Client, bench: Bench) -> None:
    assert not isinstance(client.tags, Cannot)
    source = pushed(client, bench)
    expected = {source.tag}
    if not isinstance(client.mount, Cannot):
        again = replace(source, tag="again")
        client.mount(bench, bench.cargo.image, source, again)
        expected.add(again.tag)

    with bench.recording() as seen:
        tags = client.tags(bench, source)

    assert tags == expected
    assert seen[0].asked("GET", f"^/v2/{source.repository}/tags/list"), seen[0]


Proof = Callable[[Client, Bench], None]
Command = Callable[[Client], object]

PROOFS: dict[str, tuple[Command, Proof]] = {
    "login":            (lambda client: client.login,  prove_login),
    "push":             (lambda client: client.push,   prove_push),
    "pull":             (lambda client: client.pull,   prove_pull),
    "re-push":          (lambda client: client.repush, prove_repush),
    "mount":            (lambda client: client.mount,  prove_mount),
    "multi-arch index": (lambda client: client.index,  prove_index),
    "delete":           (lambda client: client.delete, prove_delete),
    "list":             (lambda client: client.tags,   prove_list),
}  # fmt: skip


def check_reason(cannot: Cannot) -> None:
    """Check a reason against the client's own help, so that it cannot outlive its truth."""
    if not cannot.help:
        return
    printed = subprocess.run(cannot.help, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True).stdout
    assert not re.search(cannot.missing, printed.decode()), f"it can now: {cannot.help}"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_cell(client: Client, bench: Bench, operation: str, record_property: Callable[[str, str], None]) -> None:
    command, prove = PROOFS[operation]
    row = command(client)
    if isinstance(row, Cannot):
        check_reason(row)
        record_property("cannot", row.reason)
    else:
        prove(client, bench)


def rows(*names: str) -> pytest.MarkDecorator:
    chosen = [client for client in CLIENTS if client.name in names]
    return pytest.mark.parametrize("client", chosen, ids=names, indirect=True, scope="module")


@rows("docker", "ctr", "skopeo")
def test_image_above_one_gigabyte(client: Client, bench: Bench) -> None:
    giant, target = bench.cargo.giant, bench.reference("giant", client.tag)
    assert giant.size > 10**9

    client.push(bench, giant, target)
    held = client.pull(bench, target)

    check_whole(client, bench, giant, target)
    assert client.holds(bench, giant) <= held


@rows("docker", "ctr", "skopeo", "podman", "crane", "oras")
def test_push_to_an_immutable_tag(client: Client, bench: Bench) -> None:
    """It is refused once, not tried again, and the client says why; ctr knows the status alone."""
    target = bench.reference("fixed", client.tag)
    first, second = (images.build_image(bench.home / name, ()) for name in ("first", "second"))
    client.push(bench, first, target)
    before = bench.registry.whole(target.repository, target.tag)
    bench.registry.fix(target.repository)

    with bench.recording() as seen, pytest.raises(AssertionError, match=r"immutable|412 Precondition Failed"):
        client.push(bench, second, target)

    manifests = f"/v2/{target.repository}/manifests/"
    puts = [each for each in seen[0].exchanges if each.method == "PUT" and each.target.startswith(manifests)]
    # A client may have to get a token first.
    assert [each.status for each in puts if each.status != 401] == [412], seen[0]
    assert bench.registry.whole(target.repository, target.tag) == before


@rows("oras")
def test_artifact_with_an_empty_config(client: Client, bench: Bench) -> None:
    file, target, kind = bench.cargo.file, bench.reference("artifact", client.tag), "application/vnd.example.chart"
    folder = bench.folder("pulled")

    # From its own folder: oras names the file in the manifest as it is named on the command line.
    push = ("push", "--plain-http", "--artifact-type", kind, str(target), file.name)
    bench.run(client.program, *push, folder=file.parent)
    oras(bench, "pull", "--plain-http", "--output", folder, str(target))

    _, document = bench.registry.manifest(target.repository, target.tag)
    assert document["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
    assert document["artifactType"] == kind
    assert images.file_digest(folder / file.name) == images.file_digest(file)


@rows("regctl-chunked")
def test_upload_in_chunks(client: Client, bench: Bench) -> None:
    file, target = bench.home / "chunky", bench.reference("chunks", client.tag)
    file.write_bytes(os.urandom(3 * CHUNK + 12345))
    put = ("artifact", "put", "--artifact-type", "application/vnd.example.chunky", "--file", str(file))

    with bench.recording() as seen:
        regctl(bench, *put, str(target))
    folder = bench.folder("pulled")
    regctl(bench, "artifact", "get", "--output", str(folder), str(target))

    assert seen[0].chunks >= 4, seen[0]
    bench.registry.whole(target.repository, target.tag)
    assert [images.file_digest(path) for path in folder.iterdir()] == [images.file_digest(file)]


@rows("cosign")
def test_signature_is_a_referrer(client: Client, bench: Bench) -> None:
    subject = pushed(client, bench)
    digest, _ = bench.registry.manifest(subject.repository, subject.tag)

    found = bench.registry.referrers(subject.repository, digest)

    assert any(SIGNATURE in each.get("artifactType", "") for each in found), found
    for each in found:
        bench.registry.whole(subject.repository, each["digest"])
    tree = bench.run(client.program, "tree", "--allow-http-registry", str(subject))
    assert found[0]["digest"] in tree


@rows("cosign")
def test_signature_of_another_key_is_refused(client: Client, bench: Bench) -> None:
    subject = pushed(client, bench)
    bench.run(client.program, "generate-key-pair", "--output-key-prefix", "stranger")
    trust = ("--key", "stranger.pub", "--insecure-ignore-tlog", "--allow-http-registry")

    bench.fails(client.program, "verify", *trust, str(subject))
