"""Own the commands: by which words each client does each operation, as a person would type them.

* What came of a command is proven in `test_clients`; a pull returns digests of what its store holds, hashed again.
"""

import json
import re
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from . import images
from .bench import CACHE, Bench, Reference
from .images import TAG, Image, Index

Held = frozenset[str]
Login = Callable[[Bench, str, str], None]  # with user and password


# what a pull leaves in a client's store


def every_blob(_bench: Bench, image: Image | Index) -> Held:
    return image.blobs


def unpacked(_bench: Bench, image: Image | Index) -> Held:
    """Name what a store keeps that unpacks layers; it compresses them anew to push, by its own lights."""
    return image.unpacked


def signed(_bench: Bench, image: Image | Index) -> Held:
    return image.signed


def all_platforms(pull: Callable[[Bench, Reference], Held]) -> Callable[[Bench, Index, Reference], Held]:
    """Make, of a pull that takes whatever a reference names, the pull of an index."""
    return lambda bench, _index, source: pull(bench, source)


# docker


def docker(bench: Bench, *arguments: str, store: str = "work") -> str:
    return bench.run("/usr/bin/docker", "--host", f"unix://{bench.socket(store)}", *arguments)


def docker_login(bench: Bench, user: str, password: str) -> None:
    bench.run(
        *("/usr/bin/docker", "--host", f"unix://{bench.socket('work')}"),
        *("login", "--username", user, "--password-stdin", bench.host),
        stdin=password,
    )


def docker_load(bench: Bench, image: Image, name: str) -> None:
    command = ("/usr/bin/docker", "--host", f"unix://{bench.socket('work')}")
    if image.config not in docker(bench, "images", "--quiet", "--no-trunc"):

        def write(pipe: IO[bytes]) -> None:
            images.write_docker_archive(image, "loaded:once", pipe)

        bench.feed(*command, "load", write=write)
    docker(bench, "tag", image.config, name)


def docker_push(bench: Bench, image: Image, target: Reference) -> None:
    docker_load(bench, image, str(target))
    docker(bench, "push", str(target))


def docker_save(bench: Bench, name: str) -> Held:
    command = ("/usr/bin/docker", "--host", f"unix://{bench.socket('clean')}", "save", name)
    return bench.drain(*command, read=images.read_docker_archive)


def docker_pull(bench: Bench, source: Reference) -> Held:
    docker(bench, "pull", str(source), store="clean")
    return docker_save(bench, str(source))


def docker_mount(bench: Bench, image: Image, _source: Reference, target: Reference) -> None:
    docker_push(bench, image, target)


def docker_push_index(bench: Bench, index: Index, target: Reference) -> None:
    names = [f"{target.untagged}:{image.architecture}" for image in index.images]
    for image, name in zip(index.images, names, strict=True):
        docker_load(bench, image, name)
        docker(bench, "push", name)
    docker(bench, "manifest", "create", "--insecure", str(target), *names)
    docker(bench, "manifest", "push", "--insecure", str(target))


def docker_pull_index(bench: Bench, index: Index, source: Reference) -> Held:
    held: Held = frozenset()
    for image in index.images:
        docker(bench, "pull", "--platform", f"linux/{image.architecture}", str(source), store="clean")
        held |= docker_save(bench, str(source))
    return held


# ctr


def ctr(bench: Bench, *arguments: str, store: str = "work") -> str:
    return bench.run("/usr/bin/ctr", "--address", bench.socket(store), *arguments)


def ctr_account(bench: Bench) -> tuple[str, ...]:
    return ("--plain-http", "--user", f"{bench.registry.user}:{bench.registry.password}")


def ctr_import(bench: Bench, image: Image | Index, target: Reference) -> None:
    def write(pipe: IO[bytes]) -> None:
        with tarfile.open(mode="w|", fileobj=pipe) as archive:
            archive.add(image.layout, ".")

    base = f"imported/{image.layout.name}"
    if base not in ctr(bench, "images", "list", "--quiet"):
        command = ("/usr/bin/ctr", "--address", bench.socket("work"), "images", "import")
        bench.feed(*command, "--all-platforms", "--no-unpack", "--base-name", base, "-", write=write)
    ctr(bench, "images", "tag", "--force", f"{base}:{TAG}", str(target))


def ctr_push(bench: Bench, image: Image | Index, target: Reference) -> None:
    ctr_import(bench, image, target)
    ctr(bench, "images", "push", *ctr_account(bench), str(target))


def ctr_pull(bench: Bench, source: Reference, store: str = "clean") -> Held:
    platforms = ("--all-platforms", "--snapshotter", "native")
    ctr(bench, "images", "pull", *platforms, *ctr_account(bench), str(source), store=store)
    return images.held_blobs(bench.store(store))


def ctr_mount(bench: Bench, _image: Image, source: Reference, target: Reference) -> None:
    # containerd remembers where content came from only when it pulled it.
    ctr_pull(bench, source, "mount")
    ctr(bench, "images", "tag", str(source), str(target), store="mount")
    ctr(bench, "images", "push", *ctr_account(bench), str(target), store="mount")


# skopeo, podman, buildah: one library, three programs


def containers_login(*program: str) -> Login:
    def login(bench: Bench, user: str, password: str) -> None:
        account = ("--username", user, "--password-stdin")
        bench.run(*program, "login", "--tls-verify=false", *account, bench.host, stdin=password)

    return login


def skopeo_push(bench: Bench, image: Image | Index, target: Reference) -> None:
    bench.run(
        *("skopeo", "copy", "--all", "--dest-tls-verify=false"),
        *(f"oci:{image.layout}:{TAG}", f"docker://{target}"),
    )


def skopeo_pull(bench: Bench, source: Reference) -> Held:
    layout = bench.folder("pulled")
    bench.run("skopeo", "copy", "--all", "--src-tls-verify=false", f"docker://{source}", f"oci:{layout}:{TAG}")
    return images.held_blobs(layout)


def skopeo_mount(bench: Bench, image: Image, _source: Reference, target: Reference) -> None:
    skopeo_push(bench, image, target)


def skopeo_delete(bench: Bench, reference: Reference, _digest: str) -> None:
    bench.run("skopeo", "delete", "--tls-verify=false", f"docker://{reference}")


def skopeo_tags(bench: Bench, reference: Reference) -> Held:
    listed = json.loads(bench.run("skopeo", "list-tags", "--tls-verify=false", f"docker://{reference.untagged}"))
    return frozenset(listed["Tags"])


@dataclass(frozen=True, slots=True)
class Storage:
    """A program that keeps images unpacked in a store of its own: podman and buildah, whose commands are alike."""

    program: str

    def run(self, bench: Bench, *arguments: str, store: str = "work") -> str:
        home = bench.store(store)
        place = ("--storage-driver", "vfs", "--root", home / "root", "--runroot", bench.run_folder(store))
        return bench.run(self.program, *place, *arguments).strip()

    def push(self, bench: Bench, image: Image, target: Reference) -> None:
        self.run(bench, "pull", "--quiet", f"oci:{image.layout}:{TAG}")
        self.run(bench, "push", "--tls-verify=false", image.config[7:], f"docker://{target}")

    def pull(self, bench: Bench, source: Reference, *platform: str) -> Held:
        pulled = self.run(bench, "pull", "--quiet", "--tls-verify=false", *platform, str(source), store="clean")
        layout = bench.folder("pulled")
        self.run(bench, "push", "--quiet", pulled.splitlines()[-1], f"oci:{layout}:{TAG}", store="clean")
        return images.unpacked_layout(layout)

    def mount(self, bench: Bench, image: Image, _source: Reference, target: Reference) -> None:
        self.push(bench, image, target)

    def push_index(self, bench: Bench, index: Index, target: Reference) -> None:
        self.run(bench, "manifest", "create", "many")
        for image in index.images:
            self.run(bench, "pull", "--quiet", f"oci:{image.layout}:{TAG}")
            self.run(bench, "tag", image.config[7:], f"localhost/{image.architecture}:{TAG}")
            self.run(bench, "manifest", "add", "many", f"containers-storage:localhost/{image.architecture}:{TAG}")
        self.run(bench, "manifest", "push", "--all", "--tls-verify=false", "many", f"docker://{target}")

    def pull_index(self, bench: Bench, index: Index, source: Reference) -> Held:
        pulled = (self.pull(bench, source, "--arch", image.architecture) for image in index.images)
        return frozenset[str]().union(*pulled)


podman, buildah = Storage("/usr/bin/podman"), Storage("/usr/bin/buildah")


def podman_tags(bench: Bench, reference: Reference) -> Held:
    listed = podman.run(bench, "search", "--tls-verify=false", "--list-tags", "--format", "json", reference.untagged)
    return frozenset(json.loads(listed)[0]["Tags"])


# crane


def crane(bench: Bench, *arguments: str) -> str:
    return bench.run(CACHE / "crane", *arguments)


def crane_login(bench: Bench, user: str, password: str) -> None:
    account = ("--username", user, "--password-stdin")
    bench.run(CACHE / "crane", "auth", "login", *account, bench.host, stdin=password)
    # It stores what it is given; a listing of nothing is how its user learns whether the registry agrees.
    crane(bench, "catalog", bench.host)


def crane_push(bench: Bench, image: Image | Index, target: Reference) -> None:
    crane(bench, "push", str(image.layout), str(target))


def crane_pull(bench: Bench, source: Reference) -> Held:
    layout = bench.folder("pulled") / "layout"
    crane(bench, "pull", "--format", "oci", str(source), str(layout))
    return images.held_blobs(layout)


def crane_mount(bench: Bench, _image: Image, source: Reference, target: Reference) -> None:
    crane(bench, "copy", str(source), str(target))


def crane_delete(bench: Bench, reference: Reference, digest: str) -> None:
    crane(bench, "delete", reference.at(digest))


def crane_tags(bench: Bench, reference: Reference) -> Held:
    return frozenset(crane(bench, "ls", reference.untagged).split())


# oras


def oras(bench: Bench, *arguments: str | Path) -> str:
    return bench.run(CACHE / "oras", *arguments)


def oras_login(bench: Bench, user: str, password: str) -> None:
    account = ("--username", user, "--password-stdin")
    bench.run(CACHE / "oras", "login", "--plain-http", *account, bench.host, stdin=password)


def oras_push(bench: Bench, image: Image | Index, target: Reference) -> None:
    oras(bench, "cp", "--from-oci-layout", f"{image.layout}:{TAG}", "--to-plain-http", str(target))


def oras_pull(bench: Bench, source: Reference) -> Held:
    layout = bench.folder("pulled")
    oras(bench, "cp", "--from-plain-http", str(source), "--to-oci-layout", f"{layout}:{TAG}")
    return images.held_blobs(layout)


def oras_mount(bench: Bench, _image: Image, source: Reference, target: Reference) -> None:
    oras(bench, "cp", "--from-plain-http", str(source), "--to-plain-http", str(target))


def oras_delete(bench: Bench, reference: Reference, digest: str) -> None:
    oras(bench, "manifest", "delete", "--force", "--plain-http", reference.at(digest))


def oras_tags(bench: Bench, reference: Reference) -> Held:
    return frozenset(oras(bench, "repo", "tags", "--plain-http", reference.untagged).split())


# helm


def helm(bench: Bench, *arguments: str | Path) -> str:
    # A cache of its own each time: helm would not ask the registry for a chart that it has seen.
    return bench.run(CACHE / "helm", *arguments, HELM_CACHE_HOME=str(bench.folder("cache")))


def helm_login(bench: Bench, user: str, password: str) -> None:
    account = ("--username", user, "--password-stdin")
    bench.run(CACHE / "helm", "registry", "login", "--plain-http", *account, bench.host, stdin=password)


def helm_chart(bench: Bench) -> Path:
    packed = bench.home / "packed" / "anchor-0.1.0.tgz"
    if not packed.exists():
        helm(bench, "package", bench.cargo.chart, "--destination", packed.parent)
    return packed


def helm_push(bench: Bench, _image: Image, target: Reference) -> None:
    parent = target.untagged.rpartition("/")[0]  # helm appends the chart's own name
    helm(bench, "push", "--plain-http", helm_chart(bench), f"oci://{parent}")


def helm_pull(bench: Bench, source: Reference) -> Held:
    folder = bench.folder("pulled")
    pull = ("pull", "--plain-http", f"oci://{source.untagged}", "--version", source.tag)
    helm(bench, *pull, "--destination", folder)
    return frozenset(images.file_digest(path) for path in folder.glob("*.tgz"))


def packed_chart(bench: Bench, _image: Image | Index) -> Held:
    return frozenset({images.file_digest(helm_chart(bench))})


def helm_tags(bench: Bench, reference: Reference) -> Held:
    # No command prints tags, but a range of versions is resolved by listing them.
    shown = helm(bench, "show", "chart", "--plain-http", f"oci://{reference.untagged}", "--version", ">=0.0.1")
    return frozenset(re.findall(r"(?m)^version: (\S+)", shown))


# regctl


def regctl(bench: Bench, *arguments: str) -> str:
    return bench.run(CACHE / "regctl", *arguments)


def regctl_login(*settings: str) -> Login:
    def login(bench: Bench, user: str, password: str) -> None:
        regctl(bench, "registry", "set", bench.host, "--tls", "disabled", "--skip-check", *settings)
        account = ("--user", user, "--pass-stdin")
        bench.run(CACHE / "regctl", "registry", "login", *account, bench.host, stdin=password)

    return login


def regctl_push(bench: Bench, image: Image | Index, target: Reference) -> None:
    regctl(bench, "image", "copy", f"ocidir://{image.layout}:{TAG}", str(target))


def regctl_pull(bench: Bench, source: Reference) -> Held:
    layout = bench.folder("pulled")
    regctl(bench, "image", "copy", str(source), f"ocidir://{layout}:{TAG}")
    return images.held_blobs(layout)


def regctl_mount(bench: Bench, _image: Image, source: Reference, target: Reference) -> None:
    regctl(bench, "image", "copy", str(source), str(target))


def regctl_delete(bench: Bench, reference: Reference, digest: str) -> None:
    regctl(bench, "manifest", "delete", reference.at(digest))


def regctl_tags(bench: Bench, reference: Reference) -> Held:
    return frozenset(regctl(bench, "tag", "ls", reference.untagged).split())


# cosign: what it pushes is a signature, and pulling is verifying


def cosign(bench: Bench, *arguments: str) -> str:
    return bench.run(CACHE / "cosign", *arguments)


def cosign_login(bench: Bench, user: str, password: str) -> None:
    account = ("--username", user, "--password-stdin")
    bench.run(CACHE / "cosign", "login", *account, bench.host, stdin=password)
    # As with crane, whose library this is: it stores what it is given, and crane asks the registry with it.
    crane(bench, "catalog", bench.host)


def cosign_sign(bench: Bench, digest: str, target: Reference) -> None:
    if not (bench.home / "cosign.key").exists():
        cosign(bench, "generate-key-pair")
    offline = ("--use-signing-config=false", "--tlog-upload=false", "--yes", "--allow-http-registry")
    cosign(bench, "sign", "--key", "cosign.key", *offline, "--recursive", target.at(digest))


def cosign_verify(bench: Bench, name: str) -> Held:
    trust = ("--key", "cosign.pub", "--insecure-ignore-tlog", "--allow-http-registry")
    printed = cosign(bench, "verify", *trust, name)
    return frozenset(re.findall(r"sha256:[0-9a-f]{64}", printed))


def cosign_push(bench: Bench, image: Image, target: Reference) -> None:
    crane_push(bench, image, target)
    cosign_sign(bench, image.digest, target)


def cosign_pull(bench: Bench, source: Reference) -> Held:
    return cosign_verify(bench, str(source))


def cosign_mount(bench: Bench, _image: Image, source: Reference, target: Reference) -> None:
    cosign(bench, "copy", "--allow-http-registry", str(source), str(target))


def cosign_push_index(bench: Bench, index: Index, target: Reference) -> None:
    crane_push(bench, index, target)
    cosign_sign(bench, index.digest, target)


def cosign_pull_index(bench: Bench, index: Index, source: Reference) -> Held:
    return frozenset[str]().union(*(cosign_verify(bench, source.at(digest)) for digest in index.signed))


def cosign_delete(bench: Bench, reference: Reference, _digest: str) -> None:
    cosign(bench, "clean", "--force", "--allow-http-registry", str(reference))


# what a delete leaves in the registry


def manifest_gone(bench: Bench, reference: Reference, digest: str) -> bool:
    held = (bench.registry.has_manifest(reference.repository, name) for name in (reference.tag, digest))
    return not any(held)


def signatures_gone(bench: Bench, reference: Reference, digest: str) -> bool:
    return not bench.registry.referrers(reference.repository, digest)
