"""Collecting within a repository: its manifests, read and settled, and then the links that none of them needs.

What a blob needs to stay linked: a manifest that names it and is there, or was condemned within the grace period, or
a link written within it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from chalicelib.oci import manifests as oci
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.names import Repository, Tag
from chalicelib.store import history, layout, listings, manifests
from chalicelib.store.condemned import doom, is_live, is_retired, original, restore
from chalicelib.store.content import Content
from chalicelib.store.garbage.needs import Known, Needs
from chalicelib.store.garbage.seen import Seen
from chalicelib.store.garbage.tagged import named as tagged
from chalicelib.store.history import Reach
from chalicelib.store.objects import Entry, Head, Object
from chalicelib.store.table import batches

# As many manifests are in memory at once.
_TOGETHER = 200


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
    stored: Seen
    children: set[Digest] = field(default_factory=set)
    condemned: list[tuple[Digest, Entry]] = field(default_factory=list)
    untagged: list[Digest] = field(default_factory=list)

    def add(self, needs: Needs) -> None:
        """Mark what a manifest needs."""
        for digits in needs.blobs:
            self.named.add(digits)
        self.children.update(needs.children)


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
    _mark_tagged(content, repository, marks, plan, outcome)
    # What cannot be read may be an index that needs any of them.
    if not outcome.damaged:
        _settle(content, repository, marks, plan, outcome)
    if not outcome.damaged:
        _retire(content, repository, marks, plan, outcome)
    _release(content, repository, linked, marks.named, plan, outcome)
    return outcome


def _mark(content: Content, repository: Repository, named: Seen, plan: Plan, outcome: Outcome) -> _Marks:
    marks, known = _Marks(named, Seen("")), Known.read(content, repository)
    for page in listings.pages(content.objects, layout.manifests(repository)):
        new: list[tuple[Digest, Entry]] = []
        for entry in page:
            digest = Digest.parse(layout.manifest_digest(repository, entry.key))
            needs = known.get(digest, entry.etag)
            if needs:
                known.add(digest, entry.etag, needs)
                marks.stored.add(entry.etag)
                _mark_one(marks, digest, entry, needs, plan)
            else:
                new.append((digest, entry))
        for some in batches(new, _TOGETHER):
            _read(content, some, marks, known, plan, outcome)
    if not plan.dry:
        known.write(content, repository)
    return marks


def _read(
    content: Content,
    some: Sequence[tuple[Digest, Entry]],
    marks: _Marks,
    known: Known,
    plan: Plan,
    outcome: Outcome,
) -> None:
    """Read manifests, and mark what they need."""
    found = content.together(content.objects.get, [entry.key for _, entry in some])
    for (digest, entry), each in zip(some, found, strict=True):
        if each is None:
            continue
        if doom(each.head) and entry.modified < plan.before:
            marks.condemned.append((digest, entry))
            continue
        needs = _needs(digest, each)
        if needs is None:
            outcome.damaged.append(digest)
            continue
        if not doom(each.head):
            known.add(digest, each.head.etag, needs)
            marks.stored.add(each.head.etag)
        _mark_one(marks, digest, entry, needs, plan)


def _mark_one(marks: _Marks, digest: Digest, entry: Entry, needs: Needs, plan: Plan) -> None:
    marks.add(needs)
    if plan.untagged and entry.modified < plan.before and not needs.has_subject:
        marks.untagged.append(digest)


def _mark_tagged(content: Content, repository: Repository, marks: _Marks, plan: Plan, outcome: Outcome) -> None:
    """Mark what manifests need that only a tag keeps, after a crash, and bring them back.

    A tag has the entity tag of its manifest; where S3 encrypts with keys it has not, and each tag is read.
    """
    for page in listings.pages(content.objects, layout.tags(repository)):
        strays = [entry.key for entry in page if entry.etag not in marks.stored]
        for found in filter(None, content.together(content.objects.get, strays)):
            # Of a tag that does not say which manifest it carries nobody can tell what it needs.
            says = manifests.DIGEST in found.head.metadata
            digest = manifests.digest_of(found.head) if says else Digest.of(found.content)
            needs = _needs(digest, found) if says else None
            if needs is None:
                outcome.damaged.append(digest)
                continue
            marks.add(needs)
            if not plan.dry:
                manifests.confirm(content, repository, oci.parse(found.content, found.head.content_type), digest)


def _needs(digest: Digest, found: Object) -> Needs | None:
    """Return what a stored manifest needs, or None where nobody can tell."""
    manifest = oci.parse_named(digest, original(found), found.head.content_type)
    return Needs.of(manifest) if manifest else None


def _settle(content: Content, repository: Repository, marks: _Marks, plan: Plan, outcome: Outcome) -> None:
    """Delete what was condemned long ago, or bring it back where it is needed after all."""
    if plan.dry:
        outcome.manifests += len(marks.condemned)
        return
    named = tagged(content, repository, [digest for digest, _ in marks.condemned])
    free: list[tuple[Digest, Entry]] = []
    # First what tags name: it may need others.
    for digest, entry in sorted(marks.condemned, key=lambda each: each[0] not in named):
        if digest not in named and digest not in marks.children:
            free.append((digest, entry))
        elif _brought_back(content, repository, digest, marks) or not content.drop(entry.key, entry.etag):
            _mark_again(content, digest, entry, marks, outcome)
        else:
            outcome.manifests += 1
    for some in batches(free, _TOGETHER):
        gone = content.together(lambda each: content.drop(each[1].key, each[1].etag), some)
        outcome.manifests += sum(gone)
        for digest, entry in (each for each, is_gone in zip(some, gone, strict=True) if not is_gone):
            _mark_again(content, digest, entry, marks, outcome)


def _mark_again(content: Content, digest: Digest, entry: Entry, marks: _Marks, outcome: Outcome) -> None:
    """Mark what a manifest needs that is there again."""
    found = content.objects.get(entry.key)
    needs = _needs(digest, found) if found else None
    if needs:
        marks.add(needs)
    elif found:
        outcome.damaged.append(digest)


def _brought_back(content: Content, repository: Repository, digest: Digest, marks: _Marks) -> bool:
    """Tell whether a manifest is back that a tag names, or that was retired and an index needs."""
    key = layout.manifest(repository, digest)
    found = content.objects.get(key)
    if found is None or is_live(found.head):
        return found is not None

    def wanted(head: Head | None) -> bool:
        needed = digest in marks.children and is_retired(head)
        return needed or manifests.is_tagged(content, repository, digest)

    return restore(content, key, original(found), found.head.content_type, wanted)


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
    for page in listings.pages(content.objects, layout.links(repository)):
        digests = [Digest.parse(layout.link_digest(repository, entry.key)) for entry in page]
        garbage = [
            (digest, entry)
            for digest, entry in zip(digests, page, strict=True)
            if entry.modified < plan.before and digest.hex not in named and not outcome.damaged
        ]
        gone = content.together(lambda each: plan.dry or content.drop(each[1].key, each[1].etag), garbage)
        released = {digest for (digest, _), dropped in zip(garbage, gone, strict=True) if dropped}
        outcome.released += released
        for digest in digests:
            if digest not in released:
                linked.add(digest.hex)
