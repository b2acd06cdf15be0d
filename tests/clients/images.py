"""Own what the clients carry: real images, built offline, and the digests by which they are recognised.

* An image is an OCI image layout on disk; whatever a client pulls is hashed again, byte by byte.
* Two views of one image: `blobs`, as a store keeps that holds what came over the wire, and `unpacked`, as a store
  keeps that holds uncompressed layers (docker, podman, buildah): the config and the diff ids.
* Bulk is random, so nothing on the way can make it small; no two images share a layer.
"""

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from .registry import sha256

MIB = 1 << 20
BUSYBOX = Path("/bin/busybox")
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
NAME = "org.opencontainers.image.ref.name"
TAG = "built"  # the name of every image within its own layout
LARGE, GIANT = 200 * MIB, (320 * MIB, 720 * MIB)

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Layer:
    """A gzipped layer and the tar inside it."""

    digest: str
    size: int
    diff_id: str
    tar: Path


@dataclass(frozen=True, slots=True)
class Image:
    """One image of one platform."""

    layout: Path
    architecture: str
    digest: str
    config: str
    layers: tuple[Layer, ...]

    @property
    def blobs(self) -> frozenset[str]:
        return frozenset({self.digest, self.config, *(layer.digest for layer in self.layers)})

    @property
    def unpacked(self) -> frozenset[str]:
        return frozenset({self.config, *(layer.diff_id for layer in self.layers)})

    @property
    def signed(self) -> frozenset[str]:
        return frozenset({self.digest})

    @property
    def size(self) -> int:
        return sum(layer.size for layer in self.layers)


@dataclass(frozen=True, slots=True)
class Index:
    """One image of several platforms; each is in a layout of its own too."""

    layout: Path
    digest: str
    images: tuple[Image, ...]

    @property
    def blobs(self) -> frozenset[str]:
        return frozenset({self.digest}).union(*(image.blobs for image in self.images))

    @property
    def unpacked(self) -> frozenset[str]:
        return frozenset[str]().union(*(image.unpacked for image in self.images))

    @property
    def signed(self) -> frozenset[str]:
        return frozenset({self.digest, *(image.digest for image in self.images)})


def encode(document: Document) -> bytes:
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


def blob_path(layout: Path, digest: str) -> Path:
    return layout.joinpath("blobs", *digest.split(":"))


def put_blob(layout: Path, data: bytes) -> str:
    path = blob_path(layout, digest := sha256(data))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return digest


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


class Noise(io.RawIOBase):
    """Random bytes without end."""

    def read(self, size: int = -1) -> bytes:
        return os.urandom(size)


@dataclass(frozen=True, slots=True)
class File:
    """A file to be put into a layer."""

    name: str
    content: bytes | int  # an int is that many random bytes
    mode: int = 0o644

    def add(self, tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(self.name)
        info.mode = self.mode
        info.size = self.content if isinstance(self.content, int) else len(self.content)
        tar.addfile(info, Noise() if isinstance(self.content, int) else io.BytesIO(self.content))


def build_layer(layout: Path, files: Iterable[File]) -> Layer:
    """Write a layer; stored, not squeezed, since gzip at its best gains nothing on noise."""
    tar = layout / "layer.tar"
    with tarfile.open(tar, "w") as archive:
        for file in files:
            file.add(archive)
    squeezed = layout / "layer.tar.gz"
    with tar.open("rb") as source, squeezed.open("wb") as raw, gzip.GzipFile("", "wb", 0, raw, 0) as target:
        while piece := source.read(MIB):
            target.write(piece)
    digest, diff_id = file_digest(squeezed), file_digest(tar)
    path = blob_path(layout, digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    tars = layout.parent / "tars"
    tars.mkdir(exist_ok=True)
    return Layer(digest, squeezed.rename(path).stat().st_size, diff_id, tar.rename(tars / diff_id[7:]))


def descriptor(layout: Path, media_type: str, digest: str, **more: Any) -> Document:
    return {"mediaType": media_type, "digest": digest, "size": blob_path(layout, digest).stat().st_size, **more}


def write_entry(layout: Path, media_type: str, digest: str) -> None:
    """Make a blob what the layout is about."""
    entry = descriptor(layout, media_type, digest, annotations={NAME: TAG})
    (layout / "index.json").write_bytes(encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')


def build_image(layout: Path, layers: Iterable[Iterable[File]], architecture: str = "amd64") -> Image:
    """Write an image whose first layer is busybox and a file that no other image has."""
    layout.mkdir(parents=True)
    base = (
        File("bin/busybox", BUSYBOX.read_bytes(), 0o755),
        File("etc/image", f"{layout.name} {architecture} {os.urandom(8).hex()}\n".encode()),
    )
    written = tuple(build_layer(layout, files) for files in (base, *layers))
    config = put_blob(
        layout,
        encode(
            {
                "created": "2026-01-01T00:00:00Z",
                "architecture": architecture,
                "os": "linux",
                "config": {"Cmd": ["/bin/busybox", "sh"], "Env": ["PATH=/bin"]},
                "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in written]},
                "history": [{"created": "2026-01-01T00:00:00Z", "created_by": "tests/clients"} for _ in written],
            },
        ),
    )
    manifest = put_blob(
        layout,
        encode(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": descriptor(layout, CONFIG, config),
                "layers": [descriptor(layout, LAYER, layer.digest) for layer in written],
            },
        ),
    )
    write_entry(layout, MANIFEST, manifest)
    return Image(layout, architecture, manifest, config, written)


def build_index(layout: Path, images: tuple[Image, ...]) -> Index:
    for image in images:
        for digest in image.blobs:
            put_blob(layout, blob_path(image.layout, digest).read_bytes())
    entries = [
        descriptor(layout, MANIFEST, each.digest, platform={"os": "linux", "architecture": each.architecture})
        for each in images
    ]
    digest = put_blob(layout, encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}))
    write_entry(layout, INDEX, digest)
    return Index(layout, digest, images)


@dataclass(frozen=True, slots=True)
class Cargo:
    """Everything that the clients are given to carry."""

    image: Image
    giant: Image
    index: Index
    file: Path
    chart: Path


def build_usual(layout: Path) -> Image:
    """Write an image of several layers, one of them large, one with hardly anything in it."""
    return build_image(
        layout,
        (
            (File("srv/large", LARGE),),
            (File("etc/motd", b"lying at anchor\n"), File("srv/small", 3 * MIB)),
            (File(f"srv/empty-{os.urandom(8).hex()}", b""),),
        ),
    )


def build(home: Path) -> Cargo:
    image = build_usual(home / "image")
    giant = build_image(home / "giant", [(File(f"srv/{size}", size),) for size in GIANT])
    platforms = tuple(build_image(home / name, ((File("srv/few", MIB),),), name) for name in ("amd64", "arm64"))
    file = home / "artifact.bin"
    file.write_bytes(os.urandom(5 * MIB))
    return Cargo(image, giant, build_index(home / "index", platforms), file, write_chart(home / "chart"))


def write_chart(home: Path) -> Path:
    """Write a chart's sources; helm itself packs them."""
    files: Mapping[str, bytes] = {
        "Chart.yaml": b"apiVersion: v2\nname: anchor\nversion: 0.1.0\ndescription: lies at anchor\n",
        "values.yaml": b"replicas: 1\n",
        "templates/note.yaml": b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ .Release.Name }}\n",
        "files/ballast": os.urandom(600_000),
    }
    for name, content in files.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return home


def held_blobs(store: Path) -> frozenset[str]:
    """Hash again every blob that lies under a folder named after its digest's algorithm."""
    return frozenset(file_digest(path) for path in store.rglob("sha256/*") if path.is_file())


def unpacked_digest(path: Path) -> str:
    """Hash a gzipped layer as it is once unpacked."""
    with gzip.open(path) as tar:
        return f"sha256:{hashlib.file_digest(tar, 'sha256').hexdigest()}"


def unpacked_layout(layout: Path) -> frozenset[str]:
    """Read a layout's one image: its config as stored, its layers unpacked."""
    entry = json.loads((layout / "index.json").read_bytes())["manifests"][0]["digest"]
    manifest = json.loads(blob_path(layout, entry).read_bytes())
    layers = (unpacked_digest(blob_path(layout, layer["digest"])) for layer in manifest["layers"])
    return frozenset({file_digest(blob_path(layout, manifest["config"]["digest"])), *layers})


def write_docker_archive(image: Image, name: str, target: IO[bytes]) -> None:
    """Write what `docker load` reads."""
    config = blob_path(image.layout, image.config)
    entries = [f"{layer.diff_id[7:]}/layer.tar" for layer in image.layers]
    listing = [{"Config": f"{image.config[7:]}.json", "RepoTags": [name], "Layers": entries}]
    with tarfile.open(mode="w|", fileobj=target) as archive:
        archive.add(config, f"{image.config[7:]}.json")
        for layer, entry in zip(image.layers, entries, strict=True):
            archive.add(layer.tar, entry)
        File("manifest.json", json.dumps(listing).encode()).add(archive)


def read_docker_archive(source: IO[bytes]) -> frozenset[str]:
    """Hash what `docker save` wrote: the config and the layers."""
    return frozenset(_archive_digests(source))


def _archive_digests(source: IO[bytes]) -> Iterator[str]:
    with tarfile.open(mode="r|", fileobj=source) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            config = member.name.endswith(".json") and member.name not in {"manifest.json", "repositories"}
            if content and (member.name.endswith("layer.tar") or (config and "/" not in member.name)):
                yield f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"  # type: ignore[arg-type]
