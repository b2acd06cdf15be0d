"""Copies artifacts between two repositories: what they need before them, their tags last, nothing twice.

The order is: children of an index, blobs, the manifest, what belongs to it (signatures and the like), its tags. So
whoever sees a tag at the destination can pull all of it.

Invariants:
* A kill at any point costs what was under way: a blob goes on where it was, what was copied is not copied again.
* No blob is in memory as a whole. A part of one is read in less time than a lease has.
* What goes wrong with one artifact is told, and the next one is copied; what may pass by itself ends the step, and a
  credential that is refused the task.
* Without `override` a tag that names something else at the destination is left alone.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from chalicelib.jobs.replicate_ends import (
    FINAL,
    JSON,
    CopyError,
    GoneError,
    Item,
    Pace,
    Piece,
    Source,
    Target,
    may_pass,
)
from chalicelib.jobs.steps import TaskRun
from chalicelib.oci.manifests import Descriptor, Manifest
from chalicelib.policy.replication import Policy
from chalicelib.store.remote import LoginError

# How long the part of a blob may take that goes between two looks at the time; a lease is longer than a blob's whole.
_CHUNK_SECONDS, _WHOLE_SECONDS = 30.0, 270.0
# A smaller blob is sent anew rather than noted.
_SMALL = 8 << 20
_DEEPEST = 8
_MOST_NAMED, _MOST_WALKED = 100, 200


class NotDoneError(Exception):
    """The time is over, or the task was stopped: the next step goes on."""


@dataclass(slots=True)
class Progress:
    """How far a task is: the key of the last item, the item under way with what was seen of it, and the upload.

    `copied` and `failed` name artifacts, some of them where they are very many.
    """

    after: str = ""
    item: JSON | None = None
    walked: list[str] = field(default_factory=list)
    upload: JSON | None = None
    items: int = 0
    skipped: int = 0
    bytes: int = 0
    failures: int = 0
    troubles: int = 0
    copied: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return the progress as JSON has it."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def of(cls, document: JSON) -> "Progress":
        """Return the progress that `document` made."""
        found: dict[str, Any] = {
            name: list(value) if isinstance(value, list) else value for name, value in document.items()
        }
        return cls(**found)


@dataclass(frozen=True, slots=True)
class Copier:
    """A task's copying between two repositories; `source_name` and `target_name` are what its log calls them."""

    run: TaskRun
    policy: Policy
    source: Source
    target: Target
    source_name: str
    target_name: str
    progress: Progress
    pace: Pace = field(default_factory=Pace)

    def go_on(self, only: Iterable[Item] | None = None) -> None:
        """Copy what is wanted, or `only` these, until all is done; raise NotDoneError, and what may pass."""
        progress = self.progress
        if progress.item is not None:
            self._item(Item.of(progress.item))
        for item in self._left(only):
            # To find it may have taken all the time: the next step need not look for it.
            progress.item = item.document()
            self._check_time()
            self._item(item)

    def _left(self, only: Iterable[Item] | None) -> Iterator[Item]:
        if only is None:
            return self.source.items(self.progress.after)
        return (item for item in only if item.key > self.progress.after)

    def _check_time(self) -> None:
        if not self.run.more_time() or self.run.stopping():
            raise NotDoneError

    def _item(self, item: Item) -> None:
        """Copy an item, or tell why not, and go on to the next."""
        progress = self.progress
        try:
            self._copy(item)
        except GoneError:
            self.run.log(f"{self._name(item)} is gone from the source: it is left out")
        except FINAL as error:
            if may_pass(error):
                raise
            self._fail(item, error)
            if isinstance(error, LoginError):
                # So it would be with whatever is next.
                raise
        progress.after, progress.item, progress.upload = item.key, None, None
        progress.walked.clear()
        progress.troubles = 0

    def _fail(self, item: Item, error: Exception) -> None:
        self.run.log(f"ERR {self._name(item)}: {error}")
        self.progress.failures += 1
        if len(self.progress.failed) < _MOST_NAMED:
            self.progress.failed.append(self._name(item))

    def _name(self, item: Item) -> str:
        return f"{self.source_name}:{','.join(item.tags)}" if item.tags else f"{self.source_name}@{item.digest}"

    def _copy(self, item: Item) -> None:
        if not self.source.is_wanted(item):
            return
        digest = item.digest or self.source.digest_of(item.tags[0])
        there = {tag: self.target.named(tag) for tag in item.tags}
        tags = tuple(tag for tag in item.tags if self._is_to_be_set(tag, digest, there[tag]))
        if there and not tags and digest not in there.values():
            self.progress.skipped += 1
            return
        if self.run.dry_run:
            self._foretell(item, digest, tags)
            return
        copied = self._walk(digest, _DEEPEST)
        tags = tuple(tag for tag in tags if not self._is_overtaken(tag, digest))
        if copied or tags:
            self._name_it(digest, tags, self.source.manifest(digest))
        if copied or tags:
            self._tell(item, digest, tags)
        else:
            self.progress.skipped += 1

    def _name_it(self, digest: str, tags: tuple[str, ...], manifest: Manifest) -> None:
        if manifest.subject:
            self.target.refer(str(manifest.subject.digest), {digest: manifest})
        if tags:
            self.target.put(digest, manifest, tags, tell=True)

    def _is_overtaken(self, tag: str, digest: str) -> bool:
        """Tell whether a tag names something else by now that was copied already."""
        return not self.source.is_named(tag, digest) and self.target.named(tag) == self.source.digest_of(tag)

    def _foretell(self, item: Item, digest: str, tags: tuple[str, ...]) -> None:
        if tags or not self.target.has(digest):
            self.run.log(f"would copy {self._name(replace(item, digest=digest, tags=tags))} to {self.target_name}")
            self.progress.items += 1
        else:
            self.progress.skipped += 1

    def _tell(self, item: Item, digest: str, tags: tuple[str, ...]) -> None:
        progress, name = self.progress, self._name(replace(item, digest=digest, tags=tags or item.tags))
        self.run.log(f"copied {name} ({digest}) to {self.target_name}")
        progress.items += 1
        if len(progress.copied) < _MOST_NAMED:
            progress.copied.append(name)

    def _is_to_be_set(self, tag: str, digest: str, there: str) -> bool:
        if there and there != digest and not self.policy.override:
            name = f"{self.target_name}:{tag}"
            self.run.log(f"{name} is left alone: it names {there}, not {digest}, and the policy does not override")
            return False
        return there != digest

    def _walk(self, digest: str, depth: int) -> bool:
        """Bring a manifest with all that it needs and all that belongs to it; tell whether it was missing."""
        progress = self.progress
        if digest in progress.walked:
            return False
        there = self.target.has(digest)
        if not there:
            manifest = self.source.manifest(digest)
            self._needs(manifest, depth)
            self.target.put(digest, manifest, (), tell=False)
        elif self.source.thorough and depth:
            for child in self.source.manifest(digest).manifests:
                self._known_child(str(child.digest), depth - 1)
        if depth:
            self._belongings(digest, depth - 1)
        if len(progress.walked) < _MOST_WALKED:
            progress.walked.append(digest)
        return not there

    def _known_child(self, digest: str, depth: int) -> None:
        """Look for what belongs to a child of an index that is there; one that the source lacks has nothing."""
        try:
            self._walk(digest, depth)
        except GoneError:
            return

    def _needs(self, manifest: Manifest, depth: int) -> None:
        gone: GoneError | None = None
        brought = 0
        for child in dict.fromkeys(str(each.digest) for each in manifest.manifests):
            try:
                self._walk(child, max(0, depth - 1))
                brought += 1
            except GoneError as error:
                # A copy of chosen platforms: as long as there is one, the index is good for something.
                gone = error
        if gone and not brought:
            raise gone
        for blob in {each.digest: each for each in manifest.blobs if not each.held_elsewhere}.values():
            self._blob(blob)

    def _belongings(self, digest: str, depth: int) -> None:
        """Bring what belongs to a manifest, and see that it is found by it."""
        found: dict[str, Manifest] = {}
        for item in self.source.accessories(digest):
            try:
                manifest = self._accessory(item, depth)
            except GoneError:
                continue
            if manifest and manifest.subject:
                found[item.digest] = manifest
        if found:
            self.target.refer(digest, found)

    def _accessory(self, item: Item, depth: int) -> Manifest | None:
        """Bring what belongs to a manifest; return it, or None where it was there and costs a request."""
        missing = self._walk(item.digest, depth)
        tags = tuple(tag for tag in item.tags if self._is_to_be_set(tag, item.digest, self.target.named(tag)))
        if not (missing or tags or self.source.thorough):
            return None
        manifest = self.source.manifest(item.digest)
        if tags:
            self.target.put(item.digest, manifest, tags, tell=False)
        return manifest

    def _blob(self, blob: Descriptor) -> None:
        if self.target.hold(blob, lambda: self.source.elsewhere(blob.digest)):
            return
        self._check_time()
        upload = self._upload(blob)
        while (offset := self.target.received(upload)) < blob.size:
            self._check_time()
            upload = self._send(blob, upload, offset)
        self.target.finish(upload, blob)
        self.progress.upload = None

    def _upload(self, blob: Descriptor) -> JSON:
        """Return the upload of a blob: that which another step or worker began, if there is one."""
        kept = self.progress.upload
        found = self.target.resumed(kept) if kept and kept["digest"] == str(blob.digest) else None
        upload = found or {**self.target.begin(blob), "digest": str(blob.digest)}
        if found:
            self.run.log(f"blob {blob.digest} goes on at byte {self.target.received(upload)} of {blob.size}")
        self._note(blob, upload)
        return upload

    def _note(self, blob: Descriptor, upload: JSON) -> None:
        if blob.size > _SMALL:
            self.progress.upload = upload
            self.run.keep(self.progress.document())

    def _send(self, blob: Descriptor, upload: JSON, offset: int) -> JSON:
        left, chunk = blob.size - offset, self.target.chunk
        seconds = _CHUNK_SECONDS if chunk else _WHOLE_SECONDS
        with self.source.blob(blob.digest, offset) as stream:
            piece = Piece(stream, min(chunk or left, left), self.pace, seconds)
            try:
                after = {**self.target.send(upload, piece, blob), "digest": str(blob.digest)}
            except OSError:
                # Whoever breaks off and gives something each time is not given up.
                if self.target.received(upload) > offset:
                    self.progress.troubles = 0
                raise
            finally:
                self.progress.bytes += piece.taken
        self.progress.troubles = 0
        if not piece.taken:
            raise CopyError(f"the source ends the blob {blob.digest} after {offset} of its {blob.size} bytes")
        self._note(blob, after)
        return after
