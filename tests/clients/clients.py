"""Own the clients: one row each, with the commands by which it does each operation, or why it cannot.

* A client that cannot do something says so in words and, where its own help can show it, names the command that would
  show up there: a version that learns it fails the run, and its row gets the command.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import commands, images
from .bench import CACHE, Bench, Daemon, Reference, containerd, dockerd
from .commands import Held, Login
from .images import Image, Index

CHUNK = 16 * images.MIB


@dataclass(frozen=True, slots=True)
class Cannot:
    """Why a client has no command for an operation."""

    reason: str
    help: tuple[str, ...] = ()  # prints the client's own list of commands
    missing: str = ""  # a pattern that this list would match if the client had one


Holds = Callable[[Bench, Image | Index], Held]
Push = Callable[[Bench, Image, Reference], None]
Pull = Callable[[Bench, Reference], Held]
Mount = Callable[[Bench, Image, Reference, Reference], None]
PushIndex = Callable[[Bench, Index, Reference], None]
PullIndex = Callable[[Bench, Index, Reference], Held]
Delete = Callable[[Bench, Reference, str], None]
Tags = Callable[[Bench, Reference], Held]
Deleted = Callable[[Bench, Reference, str], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A row of the matrix."""

    name: str
    program: Path
    login: Login | Cannot
    push: Push
    pull: Pull
    repush: Push | Cannot
    mount: Mount | Cannot
    index: tuple[PushIndex, PullIndex] | Cannot
    delete: Delete | Cannot
    tags: Tags | Cannot
    daemon: Daemon | None = None
    tag: str = "v1"
    mounts_unasked: bool = False  # it asks to mount from anywhere, so only an image of its own is really sent
    holds: Holds = commands.every_blob  # what a pull leaves in its store
    deleted: Deleted = commands.manifest_gone  # tells whether a delete did what it is for


CLIENTS = (
    Client(
        name="docker",
        program=Path("/usr/bin/docker"),
        daemon=dockerd,
        holds=commands.unpacked,
        login=commands.docker_login,
        push=commands.docker_push,
        pull=commands.docker_pull,
        repush=commands.docker_push,
        mount=commands.docker_mount,
        index=(commands.docker_push_index, commands.docker_pull_index),
        delete=Cannot(
            "docker rmi and docker manifest rm remove local copies; no command deletes from a registry",
            ("/usr/bin/docker", "--help"),
            r"(?m)^\s+(delete|registry)\b",
        ),
        tags=Cannot(
            "no command lists the tags of a repository",
            ("/usr/bin/docker", "--help"),
            r"(?m)^\s+(list-tags|tags|registry)\b",
        ),
    ),
    Client(
        name="ctr",
        program=Path("/usr/bin/ctr"),
        daemon=containerd,
        login=Cannot(
            "keeps no credentials: every command is given --user",
            ("/usr/bin/ctr", "--help"),
            r"\blogin\b",
        ),
        push=commands.ctr_push,
        pull=commands.ctr_pull,
        repush=commands.ctr_push,
        mount=commands.ctr_mount,
        index=(commands.ctr_push, commands.all_platforms(commands.ctr_pull)),
        delete=Cannot(
            "ctr images delete removes the local reference; nothing is asked of the registry",
            ("/usr/bin/ctr", "images", "delete", "--help"),
            r"(?i)registry|plain-http",
        ),
        tags=Cannot(
            "ctr images list shows local images; no command lists a repository's tags",
            ("/usr/bin/ctr", "images", "--help"),
            r"(?m)^\s+(list-tags|tags)\b",
        ),
    ),
    Client(
        name="skopeo",
        program=Path("/usr/bin/skopeo"),
        login=commands.containers_login("skopeo"),
        push=commands.skopeo_push,
        pull=commands.skopeo_pull,
        repush=commands.skopeo_push,
        mount=commands.skopeo_mount,
        index=(commands.skopeo_push, commands.all_platforms(commands.skopeo_pull)),
        delete=commands.skopeo_delete,
        tags=commands.skopeo_tags,
    ),
    Client(
        name="podman",
        program=Path("/usr/bin/podman"),
        holds=commands.unpacked,
        login=commands.containers_login("podman"),
        push=commands.podman.push,
        pull=commands.podman.pull,
        repush=commands.podman.push,
        mount=commands.podman.mount,
        index=(commands.podman.push_index, commands.podman.pull_index),
        delete=Cannot(
            "podman rmi and podman manifest rm remove local copies; no command deletes from a registry",
            ("/usr/bin/podman", "--help"),
            r"(?m)^\s+delete\b",
        ),
        tags=commands.podman_tags,
    ),
    Client(
        name="buildah",
        program=Path("/usr/bin/buildah"),
        holds=commands.unpacked,
        login=commands.containers_login("buildah"),
        push=commands.buildah.push,
        pull=commands.buildah.pull,
        repush=commands.buildah.push,
        mount=commands.buildah.mount,
        index=(commands.buildah.push_index, commands.buildah.pull_index),
        delete=Cannot(
            "buildah rmi and buildah manifest rm remove local copies; no command deletes from a registry",
            ("/usr/bin/buildah", "--help"),
            r"(?m)^\s+delete\b",
        ),
        tags=Cannot(
            "no command lists the tags of a repository",
            ("/usr/bin/buildah", "--help"),
            r"(?m)^\s+(list-tags|search|tags)\b",
        ),
    ),
    Client(
        name="crane",
        program=CACHE / "crane",
        login=commands.crane_login,
        push=commands.crane_push,
        pull=commands.crane_pull,
        repush=commands.crane_push,
        mount=commands.crane_mount,
        index=(commands.crane_push, commands.all_platforms(commands.crane_pull)),
        delete=commands.crane_delete,
        tags=commands.crane_tags,
    ),
    Client(
        name="oras",
        program=CACHE / "oras",
        login=commands.oras_login,
        push=commands.oras_push,
        pull=commands.oras_pull,
        repush=commands.oras_push,
        mount=commands.oras_mount,
        index=(commands.oras_push, commands.all_platforms(commands.oras_pull)),
        delete=commands.oras_delete,
        tags=commands.oras_tags,
    ),
    Client(
        name="helm",
        program=CACHE / "helm",
        holds=commands.packed_chart,
        tag="0.1.0",
        login=commands.helm_login,
        push=commands.helm_push,
        pull=commands.helm_pull,
        repush=commands.helm_push,
        mount=Cannot(
            "no command copies a chart from one repository to another",
            (str(CACHE / "helm"), "--help"),
            r"(?m)^\s+(copy|cp|mount)\b",
        ),
        index=Cannot("a chart has one manifest for every platform; helm pushes no index"),
        delete=Cannot(
            "helm uninstall is about clusters; no command deletes a chart from a registry",
            (str(CACHE / "helm"), "registry", "--help"),
            r"(?m)^\s+(delete|remove|rm)\b",
        ),
        tags=commands.helm_tags,
    ),
    Client(
        name="regctl",
        program=CACHE / "regctl",
        mounts_unasked=True,
        login=commands.regctl_login("--blob-max", "-1"),
        push=commands.regctl_push,
        pull=commands.regctl_pull,
        repush=commands.regctl_push,
        mount=commands.regctl_mount,
        index=(commands.regctl_push, commands.all_platforms(commands.regctl_pull)),
        delete=commands.regctl_delete,
        tags=commands.regctl_tags,
    ),
    Client(
        name="regctl-chunked",
        program=CACHE / "regctl",
        mounts_unasked=True,
        login=commands.regctl_login("--blob-max", str(CHUNK), "--blob-chunk", str(CHUNK)),
        push=commands.regctl_push,
        pull=commands.regctl_pull,
        repush=commands.regctl_push,
        mount=commands.regctl_mount,
        index=(commands.regctl_push, commands.all_platforms(commands.regctl_pull)),
        delete=commands.regctl_delete,
        tags=commands.regctl_tags,
    ),
    Client(
        name="cosign",
        program=CACHE / "cosign",
        holds=commands.signed,
        login=commands.cosign_login,
        push=commands.cosign_push,
        pull=commands.cosign_pull,
        repush=Cannot("every signature is new bytes, so signing again is a new push by design"),
        mount=commands.cosign_mount,
        index=(commands.cosign_push_index, commands.cosign_pull_index),
        delete=commands.cosign_delete,
        deleted=commands.signatures_gone,
        tags=Cannot(
            "cosign tree shows what refers to an image; no command lists tags",
            (str(CACHE / "cosign"), "--help"),
            r"(?m)^(list|ls|tags)\b",
        ),
    ),
)
