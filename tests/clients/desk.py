"""Own the place where everybody takes turns at one client: credentials come and go, the client stays.

* What a client prints is kept word for word; only a command of the client against the registry may be refused.
* Each turn has an image of its own, so that what a store holds afterwards came by that turn.
"""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from . import commands, images
from .bench import Bench, Reference
from .clients import Client, Delete, Pull, Push
from .commands import Held, Login
from .images import CONFIG, LAYER, MANIFEST, Cargo, File, Image, Index
from .principals import Account, World

TAG = "v1"
_ENDED = "\nended with "
_FILES = ("config.json", "auth.json")


def small_image(layout: Path, text: str) -> Image:
    """Write an image of one small file."""
    layout.mkdir(parents=True)
    layer = images.build_layer(layout, (File("note", text.encode()),))
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/note"]},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
    }
    config_digest = images.put_blob(layout, images.encode(config))
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": images.descriptor(layout, CONFIG, config_digest),
        "layers": [images.descriptor(layout, LAYER, layer.digest)],
    }
    digest = images.put_blob(layout, images.encode(manifest))
    images.write_entry(layout, MANIFEST, digest)
    return Image(layout, "amd64", digest, config_digest, (layer,))


def small_cargo(home: Path) -> Cargo:
    """Make what a bench wants to carry; here each turn brings its own."""
    image = small_image(home / "cargo", home.name)
    return Cargo(image, image, Index(image.layout, image.digest, (image,)), image.layout, image.layout)


def ctr_push(bench: Bench, image: Image, target: Reference) -> None:
    commands.ctr_import(bench, image, target)
    commands.ctr(bench, "images", "push", "--plain-http", str(target))


def ctr_pull(bench: Bench, source: Reference) -> Held:
    platforms = ("--all-platforms", "--snapshotter", "native")
    commands.ctr(bench, "images", "pull", *platforms, "--plain-http", str(source), store="clean")
    return images.held_blobs(bench.store("clean"))


# For nobody ctr is given no account at all: it would ask for the password that is empty. The others have none stored.
FOR_NOBODY: Mapping[str, tuple[Push, Pull]] = {"ctr": (ctr_push, ctr_pull)}


@dataclass(frozen=True, slots=True)
class Said:
    """How a command ended and, where it was refused, in which words."""

    refused: bool = False
    words: str = ""


@dataclass(eq=False, slots=True)
class Desk:
    """One client and whoever sits before it."""

    client: Client
    bench: Bench
    world: World
    account: Account | None = None
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def seat(self, account: Account | None) -> None:
        """Let somebody take place who logged in earlier, when the credentials were good; None is nobody."""
        self.account = account
        registry = self.world.registry
        self.bench.registry = replace(registry, user=account.user, password=account.password) if account else registry
        self._keep({self.bench.host: {"auth": account.basic}} if account else {})

    def _keep(self, known: dict[str, dict[str, str]]) -> None:
        config = self.bench.home / "config"
        config.mkdir(exist_ok=True)
        for name in _FILES:
            (config / name).write_text(json.dumps({"auths": known}))

    def image(self) -> Image:
        """Make an image that nobody has."""
        number = next(self.numbers)
        layout = self.bench.home / "images" / str(number)
        return small_image(layout, f"{self.world.run_id} {self.client.name} {number}")

    def reference(self, project: str) -> Reference:
        """Name a repository that is not there."""
        return Reference(self.bench.host, f"{project}/{self.client.name}/{next(self.numbers)}", TAG)

    def seeded(self, project: str) -> tuple[Image, Reference]:
        """Put an image there for whoever wants it."""
        image, place = self.image(), self.reference(project)
        self.world.push(image, place.repository, place.tag)
        return image, place

    def log_in(self, login: Login) -> Said:
        account = self.account
        assert account
        self._keep({})
        return said(self.bench.host, lambda: login(self.bench, account.user, account.password))

    def push(self, image: Image, target: Reference) -> Said:
        push = self._commands[0]
        return said(str(target), lambda: push(self.bench, image, target))

    def pull(self, source: Reference) -> tuple[Said, Held]:
        pull, held = self._commands[1], set[str]()
        return said(str(source), lambda: held.update(pull(self.bench, source))), frozenset(held)

    def delete(self, delete: Delete, place: Reference, digest: str) -> Said:
        return said(place.repository, lambda: delete(self.bench, place, digest))

    @property
    def _commands(self) -> tuple[Push, Pull]:
        own = (self.client.push, self.client.pull)
        return own if self.account else FOR_NOBODY.get(self.client.name, own)


def said(target: str, act: Callable[[], None]) -> Said:
    """Do what may be refused, by a command that names the target."""
    try:
        act()
    except AssertionError as failure:
        command, ended, words = str(failure).partition(_ENDED)
        if not ended or target not in command:
            raise
        return Said(refused=True, words=words.partition("\n")[2].strip())
    return Said()
