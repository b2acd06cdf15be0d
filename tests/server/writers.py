"""Writers for long runs: each pushes, moves and deletes images of its own, and pulls whatever was acknowledged to it.

* Blobs, and some manifests, are the same for all writers: what one drops another one builds upon. Tags are each one's
  own, and so is what is deleted by digest: nobody else may take away what was acknowledged.
* A push begins as clients' do: it asks whether a blob is there before it sends it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import orjson

from tests.server.pushing import IMAGE_TYPE, content, descriptor, digest, image, pulled, push_blob
from tests.server.running import Server
from tests.server.wire import Answer

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
# Names that begin as others do, and some below others: the collector must find each.
REPOSITORIES = ("soak/a", "soak/a-b", "soak/a/b", "soak/a/0")
_BLOBS = 120
_TAGS = 2
_ATTEMPTS = 40
_RETRIED = frozenset({404, 503})


class BrokenPromiseError(AssertionError):
    """Something that was acknowledged is not so."""


@dataclass(frozen=True, slots=True)
class Image:
    """A manifest, and the blobs or the images that it names."""

    manifest: bytes
    blobs: tuple[bytes, ...] = ()
    children: tuple[Image, ...] = ()

    @property
    def media_type(self) -> str:
        return INDEX_TYPE if self.children else IMAGE_TYPE

    @property
    def digest(self) -> str:
        return digest(self.manifest)


def of_blobs(numbers: list[int], own: str = "") -> Image:
    """Return an image of some of the blobs; one of its own, if it has a name, else everybody's."""
    config, *layers = (content(f"blob {number}", 1_000 + number) for number in numbers)
    document = orjson.loads(image(config, layers)) | ({"annotations": {"own": own}} if own else {})
    return Image(orjson.dumps(document), (config, *layers))


def of_images(images: tuple[Image, ...], own: str) -> Image:
    """Return an index of images."""
    manifests = [descriptor(each.manifest, IMAGE_TYPE) for each in images]
    document = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests, "annotations": {"own": own}}
    return Image(orjson.dumps(document), children=images)


@dataclass(slots=True)
class Writer:
    """A client, and the ledger of what was acknowledged to it: what each tag of its own names."""

    server: Server
    name: str
    promised: float
    random: random.Random
    tags: dict[tuple[str, str], Image] = field(default_factory=dict)
    digests: list[tuple[str, str]] = field(default_factory=list)
    done: dict[str, int] = field(default_factory=dict)
    made: int = 0

    def write(self, until: float) -> None:
        """Go on until that time, and leave what there is then."""
        actions: list[Callable[[], None]] = [
            *[self.push] * 4, self.push_index, *[self.retag] * 2, *[self.delete_tag] * 3, self.delete_manifest,
            self.push_untagged, *[self.pull] * 5, self.rest,
        ]  # fmt: skip
        while time.monotonic() < until:
            action = self.random.choice(actions)
            action()
            self._count(action.__name__)
        for place in self.tags:
            self._pull(*place)

    def push(self) -> None:
        """Push an image under a tag, everybody's or one of its own, and pull it at once."""
        self._push_as(self._image(own=self.random.random() < 0.5))

    def _push_as(self, pushed: Image) -> None:
        repository = self.random.choice(REPOSITORIES)
        place = (repository, f"{self.name}-{self.random.randrange(_TAGS)}")
        self._put(repository, place[1], pushed)
        self.tags[place] = pushed
        self._pull(*place)

    def push_index(self) -> None:
        """Push an index and the images in it, everybody's, by digest."""
        self._push_as(of_images((self._image(own=False), self._image(own=False)), self._own()))

    def push_untagged(self) -> None:
        """Push an image by its digest alone: once it is old, it may go at any time."""
        pushed = self._image(own=self.random.random() < 0.5)
        self._put(self.random.choice(REPOSITORIES), pushed.digest, pushed)

    def retag(self) -> None:
        """Put what a tag names under another tag as well; nothing is uploaded for that."""
        if not self.tags:
            return
        repository, tag = self.random.choice(list(self.tags))
        other = f"{self.name}-{self.random.randrange(_TAGS)}"
        named = self.tags[repository, tag]
        self._must(self._send(repository, other, named), 201, f"retag {repository}:{tag} as {other}")
        self.tags[repository, other] = named

    def delete_tag(self) -> None:
        """Delete a tag."""
        if self.tags:
            repository, tag = self.random.choice(list(self.tags))
            del self.tags[repository, tag]
            path = f"/v2/{repository}/manifests/{tag}"
            self._must(self.server.ask("DELETE", path), 202, f"delete {repository}:{tag}")

    def delete_manifest(self) -> None:
        """Delete one of its own images by digest, with all tags that name it."""
        places = [place for place, named in self.tags.items() if b'"own"' in named.manifest]
        if places:
            repository, tag = self.random.choice(places)
            gone = self.tags[repository, tag].digest
            self.tags = {
                place: named for place, named in self.tags.items() if (place[0], named.digest) != (repository, gone)
            }
            answer = self.server.ask("DELETE", f"/v2/{repository}/manifests/{gone}")
            self._must(answer, 202, f"delete {repository}@{gone}")

    def pull(self) -> None:
        """Pull something that was acknowledged."""
        if self.tags:
            self._pull(*self.random.choice(list(self.tags)))

    def rest(self) -> None:
        """Let what there is grow old."""
        time.sleep(self.random.random() * self.promised)

    def _pull(self, repository: str, tag: str) -> None:
        named = self.tags[repository, tag]
        for reference in (tag, named.digest):
            self._pull_all(repository, reference, named)

    def _pull_all(self, repository: str, reference: str, named: Image) -> None:
        try:
            if not named.children:
                assert tuple(pulled(self.server, repository, reference)) == (named.manifest, *named.blobs)
                return
            answer = self.server.ask("GET", f"/v2/{repository}/manifests/{reference}")
            assert (answer.status, answer.body) == (200, named.manifest), answer
        except AssertionError as error:
            raise BrokenPromiseError(f"{time.time():.3f} {self.name}: {repository} {reference}: {error}") from error
        for child in named.children:
            self._pull_all(repository, child.digest, child)

    def _put(self, repository: str, reference: str, pushed: Image) -> None:
        """Push until it is acknowledged: what took longer than the registry waits is to be pushed anew."""
        for _ in range(_ATTEMPTS):
            began = time.monotonic()
            if all(self._put_parts(repository, pushed)):
                answer = self._send(repository, reference, pushed)
                if answer.status == 201:
                    self.digests.append((repository, pushed.digest))
                    return
                quick = time.monotonic() - began < self.promised
                if answer.status not in _RETRIED or (quick and answer.status == 404):
                    raise BrokenPromiseError(f"{time.time():.3f} {self.name}: push to {repository}: {answer}")
            self._count("pushed anew")
        raise BrokenPromiseError(f"{self.name}: no push to {repository} was taken")

    def _put_parts(self, repository: str, pushed: Image) -> list[bool]:
        for child in pushed.children:
            self._put(repository, child.digest, child)
        return [self._put_blob(repository, blob) for blob in pushed.blobs]

    def _put_blob(self, repository: str, blob: bytes) -> bool:
        name = digest(blob)
        if self.server.ask("HEAD", f"/v2/{repository}/blobs/{name}").status == 200:
            return True
        if self.random.random() < 0.5:
            source = self.random.choice(REPOSITORIES)
            url = f"/v2/{repository}/blobs/uploads/?mount={name}&from={source}"
            if self.server.ask("POST", url).status == 201:
                self._count("mounted")
                return True
        push_blob(self.server, repository, blob)
        self._count("uploaded")
        return True

    def _send(self, repository: str, reference: str, pushed: Image) -> Answer:
        typed = self.server.admin | {"Content-Type": pushed.media_type}
        return self.server.ask("PUT", f"/v2/{repository}/manifests/{reference}", typed, pushed.manifest)

    def _image(self, *, own: bool) -> Image:
        first = self.random.randrange(_BLOBS)
        return of_blobs([first, (first + 1) % _BLOBS, (first + 5) % _BLOBS], self._own() if own else "")

    def _own(self) -> str:
        self.made += 1
        return f"{self.name} {self.made}"

    def _must(self, answer: Answer, status: int, what: str) -> None:
        if answer.status != status:
            raise BrokenPromiseError(f"{time.time():.3f} {self.name}: {what}: {answer}")

    def _count(self, what: str) -> None:
        self.done[what] = self.done.get(what, 0) + 1
