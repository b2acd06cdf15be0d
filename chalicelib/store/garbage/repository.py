"""Collecting within a repository: its manifests, read and settled, and then the links that none of them needs.

What a blob needs to stay linked: a manifest that names it and is there, or was condemned within the grace period, or
a link written within it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from chalicelib.oci import manifests as oci
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.manifests import Manifest
from chalicelib.oci.names import Repository, Tag
from chalicelib.store import history, layout, manifests
from chalicelib.store.condemned import doom, is_live, is_retired, original, restore
from chalicelib.store.content import Content
from chalicelib.store.garbage.seen import Seen
from chalicelib.store.history import Reach
from chalicelib.store.objects import ConditionFailedError, Entry, Object

_PAGE = 200


@dataclass(frozen=True, slots=True)
class Plan:
    """What to collect: what was last written `before`; manifests without a tag, where `untagged`.

    A manifest to which a tag can go back is not untagged. Where it is `dry`, nothing is changed.
    """

    before: datetime
    reach: Reach
    untagged: bool = False
    dry: bool = False


@dataclass(slots=True)
class Outcome:
    """What was done in a repository, or would be."""

    manifests: int = 0
    retired: list[Digest] = field(default_factory=list)
    released: list[Digest] = field(default_factory=list)
    damaged: list[Digest] = field(default_factory=list)


@dataclass(slots=True)
class _Marks:
    """What the manifests of a repository say."""

    named: Seen
    children: set[Digest] = field(default_factory=set)
    condemned: list[tuple[Digest, Entry]] = field(default_factory=list)
    untagged: list[Digest] = field(default_factory=list)


def after(content: Content, name: str) -> str:
    """Return the name of the first repository that has anything, after the one of that name, or ""."""
    # A repository's own keys come before those of the repositories below it.
    start = f"{layout.REPOSITORIES}{name}/_~" if name else ""
    page = content.objects.list(layout.REPOSITORIES, after=start, limit=1)
    return layout.repository_name(page.entries[0].key) if page.entries else ""


def collect(content: Content, repository: Repository, linked: Seen, named: Seen, plan: Plan) -> Outcome:
    """Collect a repository's garbage, and put the blobs that it still holds into `linked`; `named` is empty."""
    outcome = Outcome()
    marks = _mark(content, repository, named, plan, outcome)
    _settle(content, repository, marks, plan, outcome)
    _retire(content, repository, marks, plan, outcome)
    _release(content, repository, linked, marks.named, plan, outcome)
    return outcome


def entries(content: Content, prefix: str, after: str = "", limit: int = _PAGE) -> Iterator[tuple[Entry, ...]]:
    """Yield what is below a prefix, page by page."""
    while True:
        page = content.objects.list(prefix, after=after, limit=limit)
        yield page.entries
        if not page.more:
            return
        after = page.entries[-1].key


def _mark(content: Content, repository: Repository, named: Seen, plan: Plan, outcome: Outcome) -> _Marks:
    marks = _Marks(named)
    for page in entries(content, layout.manifests(repository)):
        found = content.together(content.objects.get, [entry.key for entry in page])
        for entry, each in zip(page, found, strict=True):
            if each is not None:
                digest = Digest.parse(layout.manifest_digest(repository, entry.key))
                _mark_one(marks, digest, entry, each, plan, outcome)
    return marks


def _mark_one(marks: _Marks, digest: Digest, entry: Entry, found: Object, plan: Plan, outcome: Outcome) -> None:
    old = entry.modified < plan.before
    if doom(found.head) and old:
        marks.condemned.append((digest, entry))
        return
    manifest = _parsed(digest, found)
    if manifest is None:
        outcome.damaged.append(digest)
        return
    _needs(marks, manifest)
    if plan.untagged and old and manifest.subject is None:
        marks.untagged.append(digest)


def _parsed(digest: Digest, found: Object) -> Manifest | None:
    """Return what a stored manifest says, or None where nobody can tell."""
    content = original(found)
    try:
        return oci.parse(content, found.head.content_type) if digest.matches(content) else None
    except RegistryError:
        return None


def _needs(marks: _Marks, manifest: Manifest) -> None:
    for blob in manifest.blobs:
        marks.named.add(blob.digest.hex)
    marks.children.update(child.digest for child in manifest.manifests)


def _settle(content: Content, repository: Repository, marks: _Marks, plan: Plan, outcome: Outcome) -> None:
    """Delete what was condemned long ago, or bring it back where it is needed after all."""
    for digest, entry in marks.condemned:
        if not plan.dry and (_brought_back(content, repository, digest, marks) or not _dropped(content, entry)):
            # It is there again; so is what it needs.
            found = content.objects.get(entry.key)
            manifest = _parsed(digest, found) if found else None
            if manifest:
                _needs(marks, manifest)
            elif found:
                outcome.damaged.append(digest)
        else:
            outcome.manifests += 1


def _brought_back(content: Content, repository: Repository, digest: Digest, marks: _Marks) -> bool:
    key = layout.manifest(repository, digest)
    tagged = manifests.is_tagged(content, repository, digest)
    if not tagged and digest not in marks.children:
        return False
    found = content.objects.get(key)
    if found is None or is_live(found.head):
        return found is not None
    if not tagged and not is_retired(found.head):
        return False
    return restore(content, key, original(found), found.head.content_type, lambda _: True)


def _dropped(content: Content, entry: Entry) -> bool:
    try:
        content.objects.delete_if(entry.key, entry.etag)
    except ConditionFailedError:
        return False
    return True


def _retire(content: Content, repository: Repository, marks: _Marks, plan: Plan, outcome: Outcome) -> None:
    """Retire manifests that no tag names, or can go back to, and no index."""
    past = _Past(content, repository, plan.reach)
    for digest in marks.untagged:
        if digest in marks.children or past.named(digest):
            continue
        if (
            not manifests.is_tagged(content, repository, digest)
            if plan.dry
            else manifests.retire_untagged(content, repository, digest)
        ):
            outcome.retired.append(digest)


class _Past:
    """What the tags of a repository can go back to, asked once for each tag."""

    def __init__(self, content: Content, repository: Repository, reach: Reach) -> None:
        self._content, self._repository, self._reach = content, repository, reach
        self._known: dict[Tag, frozenset[Digest | None]] = {}

    def named(self, digest: Digest) -> bool:
        """Tell whether a tag names a manifest, or can go back to it."""
        return any(digest in self._of(tag) for tag in manifests.tags_naming(self._content, self._repository, digest))

    def _of(self, tag: Tag) -> frozenset[Digest | None]:
        if tag not in self._known:
            self._known[tag] = frozenset(self._ask(tag))
        return self._known[tag]

    def _ask(self, tag: Tag) -> Iterable[Digest | None]:
        try:
            return [state.digest for state in history.history(self._content, self._repository, tag, self._reach)]
        except RegistryError as error:
            if error.code is ErrorCode.MANIFEST_UNKNOWN:
                return ()
            raise


def _release(
    content: Content, repository: Repository, linked: Seen, named: Seen, plan: Plan, outcome: Outcome
) -> None:
    """Delete links that no manifest needs; where one cannot be read, it may need any of them."""
    for page in entries(content, layout.links(repository), limit=1000):
        digests = [Digest.parse(layout.link_digest(repository, entry.key)) for entry in page]
        garbage = [
            (digest, entry)
            for digest, entry in zip(digests, page, strict=True)
            if entry.modified < plan.before and digest.hex not in named and not outcome.damaged
        ]
        drop = (lambda _: True) if plan.dry else partial(_dropped, content)
        gone = content.together(drop, [entry for _, entry in garbage])
        released = {digest for (digest, _), dropped in zip(garbage, gone, strict=True) if dropped}
        outcome.released += released
        for digest in digests:
            if digest not in released:
                linked.add(digest.hex)
