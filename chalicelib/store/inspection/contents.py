"""Looking at the tags, manifests and referrers of a repository: do they read, and is what they refer to there.

Tags come first: what they carry can bring back a manifest, and then everything that the manifest needs is looked at.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from chalicelib.oci import manifests as oci
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.manifests import Manifest
from chalicelib.oci.names import Repository, Tag
from chalicelib.policy.damage import Damage
from chalicelib.store import blobs, layout, listings, manifests, referrers
from chalicelib.store.condemned import is_live, restore
from chalicelib.store.inspection import Inspection, State, blob_in, digest_of, is_young, state, stays
from chalicelib.store.objects import ConditionFailedError, Entry, Object

_READ_TOGETHER = 200


@dataclass(slots=True)
class Contents:
    """What a repository has: its manifests, which digest each tag names; and what is too `damaged` for that."""

    repository: Repository
    held: frozenset[str]
    bad: frozenset[str]
    manifests: set[str] = field(default_factory=set)
    tags: dict[str, str] = field(default_factory=dict)
    damaged: set[str] = field(default_factory=set)
    oldest: Entry | None = None

    @property
    def name(self) -> str:
        """Return the repository's name."""
        return str(self.repository)


def look(inspection: Inspection, repository: Repository, bad: Iterable[str]) -> Contents:
    """Look at a repository of whose blobs some are `bad`: cannot be pulled; return what it has."""
    held = frozenset(
        layout.link_digest(repository, entry.key)
        for entry in listings.below(inspection.content.objects, layout.links(repository))
    )
    contents = Contents(repository, held, frozenset(bad))
    for entry, found in _each(inspection, layout.tags(repository)):
        _tag(inspection, contents, entry, found)
    for entry, found in _each(inspection, layout.manifests(repository)):
        _manifest(inspection, contents, entry, found)
    for entry in listings.below(inspection.content.objects, layout.all_referrers(repository)):
        _referrer(inspection, contents, entry)
    _catalog(inspection, contents)
    return contents


def _each(inspection: Inspection, prefix: str) -> Iterable[tuple[Entry, Object]]:
    """Yield what is below a prefix, as it is now."""
    content = inspection.content
    for page in listings.pages(content.objects, prefix, limit=_READ_TOGETHER):
        found = content.together(content.objects.get, [entry.key for entry in page])
        yield from ((entry, each) for entry, each in zip(page, found, strict=True) if each)


def _parsed(digest: Digest, found: Object) -> Manifest | None:
    """Return the manifest that an object is by itself, not condemned, or None."""
    return oci.parse_named(digest, found.content, found.head.content_type)


# Tags


def _tag(inspection: Inspection, contents: Contents, entry: Entry, found: Object) -> None:
    content, repository = inspection.content, contents.repository
    name = entry.key.removeprefix(layout.tags(repository))
    tag = _tag_of(name)
    if tag is None:
        inspection.found(Damage.NAME_UNKNOWN, contents.name, (entry.key,))
        return
    digest = digest_of(found.head.metadata.get(manifests.DIGEST, ""))
    if digest is None or _parsed(digest, found) is None:
        digest = digest or Digest.of(found.content)
        mend = partial(_tag_mended, inspection, contents, tag, digest, found)
        if stays(content, entry.key, found.head.etag):
            mended = inspection.found(Damage.TAG_DAMAGED, contents.name, (name,), mend)
            contents.damaged |= set() if mended else {name}
        return
    contents.tags[name] = str(digest)
    _hint(inspection, contents, tag, digest, found)
    live = is_live(content.objects.head(layout.manifest(repository, digest)))
    if not live and stays(content, entry.key, found.head.etag):
        mend = partial(_manifest_from_tag, inspection, contents, digest, found)
        inspection.found(Damage.TAG_WITHOUT_MANIFEST, contents.name, (name, str(digest)), mend)


def _tag_of(name: str) -> Tag | None:
    try:
        return Tag.parse(name)
    except RegistryError:
        return None


def _tag_mended(inspection: Inspection, contents: Contents, tag: Tag, digest: Digest, found: Object) -> bool:
    """Write a tag anew from its manifest, if the repository has that."""
    whole = inspection.content.objects.get(layout.manifest(contents.repository, digest))
    if whole is None or not is_live(whole.head) or _parsed(digest, whole) is None:
        return False
    _noted(inspection, layout.tagged(contents.repository, digest) + tag.name)
    key = layout.tag(contents.repository, tag)
    written = _written(inspection, key, whole, found.head.etag, {manifests.DIGEST: str(digest)})
    if written:
        contents.tags[tag.name] = str(digest)
    return written


def _written(
    inspection: Inspection, key: str, what: Object, etag: str, metadata: Mapping[str, str] | None = None
) -> bool:
    try:
        inspection.content.objects.put(
            key, what.content, content_type=what.head.content_type, metadata=metadata or {}, if_match=etag
        )
    except ConditionFailedError:
        return False
    return True


def _hint(inspection: Inspection, contents: Contents, tag: Tag, digest: Digest, found: Object) -> None:
    objects = inspection.content.objects
    key = layout.tagged(contents.repository, digest) + tag.name
    at = layout.tag(contents.repository, tag)
    if objects.head(key) is not None or not stays(inspection.content, at, found.head.etag):
        return
    mend = partial(_noted, inspection, key)
    inspection.found(Damage.TAG_WITHOUT_HINT, contents.name, (tag.name, str(digest)), mend)


def _noted(inspection: Inspection, key: str) -> bool:
    """Write an object of which only the name says something."""
    inspection.content.objects.put(key, b"")
    return True


def _manifest_from_tag(inspection: Inspection, contents: Contents, digest: Digest, found: Object) -> bool:
    """Write a manifest that a tag carries, as a push does that finds it condemned."""
    content, repository = inspection.content, contents.repository
    key = layout.manifest(repository, digest)

    def wanted(_: object) -> bool:
        return manifests.is_tagged(content, repository, digest)

    return restore(content, key, found.content, found.head.content_type, wanted)


# Manifests


def _manifest(inspection: Inspection, contents: Contents, entry: Entry, found: Object) -> None:
    digest = digest_of(layout.manifest_digest(contents.repository, entry.key))
    if digest is None:
        inspection.found(Damage.NAME_UNKNOWN, contents.name, (entry.key,))
        return
    if not is_live(found.head):
        return
    manifest = _parsed(digest, found) or _mended(inspection, contents, digest, found)
    if manifest is None:
        contents.damaged.add(str(digest))
        return
    contents.manifests.add(str(digest))
    if contents.oldest is None or entry.modified < contents.oldest.modified:
        contents.oldest = entry
    _blobs(inspection, contents, digest, manifest)
    _children(inspection, contents, digest, manifest)
    if manifest.subject and not referrers.is_listed(inspection.content, contents.repository, manifest, digest):
        _missing_referrer(inspection, contents, digest, manifest.subject.digest)


def _mended(inspection: Inspection, contents: Contents, digest: Digest, found: Object) -> Manifest | None:
    """Tell of a manifest that is damaged; return it as it should be, where it is repaired."""
    content, key = inspection.content, layout.manifest(contents.repository, digest)
    if not stays(content, key, found.head.etag):
        return None
    whole = _in_tags(inspection, contents.repository, digest)
    mend = partial(_written, inspection, key, whole, found.head.etag) if whole else None
    mended = inspection.found(Damage.MANIFEST_DAMAGED, contents.name, (str(digest),), mend)
    return _parsed(digest, whole) if mended and whole else None


def _in_tags(inspection: Inspection, repository: Repository, digest: Digest) -> Object | None:
    """Return a manifest as a tag carries it, or None."""
    for tag in manifests.tags_naming(inspection.content, repository, digest):
        found = inspection.content.objects.get(layout.tag(repository, tag))
        if found and manifests.is_naming(found.head, digest) and _parsed(digest, found):
            return found
    return None


def _blobs(inspection: Inspection, contents: Contents, digest: Digest, manifest: Manifest) -> None:
    """Look whether the repository holds what a manifest names, and has its bytes."""
    content, repository = inspection.content, contents.repository
    for name in dict.fromkeys(blob.digest for blob in manifest.blobs if not blob.held_elsewhere):
        if str(name) in contents.bad:
            inspection.found(Damage.IMAGE_BROKEN, contents.name, (str(digest), str(name)))
            continue
        # It may be held since the links were listed; or both may be gone by now.
        if str(name) in contents.held or content.objects.head(layout.link(repository, name)):
            continue
        if is_live(content.objects.head(layout.manifest(repository, digest))):
            mend = partial(_mounted, inspection, repository, name)
            inspection.found(Damage.BLOB_NOT_HELD, contents.name, (str(digest), str(name)), mend)


def _mounted(inspection: Inspection, repository: Repository, digest: Digest) -> bool:
    """Link a blob from another repository of the same project: who may push here could have read it there."""
    content = inspection.content
    project = repository.name.partition("/")[0]
    for page in listings.pages(content.objects, layout.of_project(project)[1]):
        sources = [Repository(layout.catalog_name(entry.key)) for entry in page]
        found = content.together(content.objects.get, [layout.link(source, digest) for source in sources])
        for source, each in zip(sources, found, strict=True):
            blob = blob_in(each)
            whole = blob and state(content, digest, blob, read=True) is State.WHOLE
            if whole and blobs.mount(content, repository, digest, source):
                return True
    return False


def _children(inspection: Inspection, contents: Contents, digest: Digest, manifest: Manifest) -> None:
    """Look whether an index has any of its manifests: it need not have all."""
    children = {child.digest for child in manifest.manifests}
    if not children or any(_is_there(inspection, contents.repository, child) for child in children):
        return
    if is_live(inspection.content.objects.head(layout.manifest(contents.repository, digest))):
        inspection.found(Damage.INDEX_WITHOUT_CHILDREN, contents.name, (str(digest),))


def _is_there(inspection: Inspection, repository: Repository, digest: Digest) -> bool:
    try:
        manifests.head(inspection.content, repository, digest)
    except RegistryError as error:
        if error.code is ErrorCode.MANIFEST_UNKNOWN:
            return False
        raise
    return True


# Referrers


def _missing_referrer(inspection: Inspection, contents: Contents, digest: Digest, subject: Digest) -> None:
    content, repository = inspection.content, contents.repository
    # A push writes the manifest first.
    key = layout.manifest(repository, digest)
    if not is_live(content.objects.head(key)) or is_young(content, key, inspection.before):
        return
    mend = partial(referrers.settle, content, repository, subject, digest)
    inspection.found(Damage.REFERRER_MISSING, contents.name, (str(digest),), mend)


def _referrer(inspection: Inspection, contents: Contents, entry: Entry) -> None:
    content, repository = inspection.content, contents.repository
    subject, digest = map(digest_of, layout.referrer_digests(repository, entry.key))
    if subject is None or digest is None:
        inspection.found(Damage.NAME_UNKNOWN, contents.name, (entry.key,))
        return
    if entry.modified >= inspection.before or str(digest) in contents.manifests:
        return
    if not referrers.is_wanted(content, repository, subject, digest):
        mend = partial(referrers.settle, content, repository, subject, digest)
        inspection.found(Damage.REFERRER_STRAY, contents.name, (str(digest),), mend)


# The catalog


def _catalog(inspection: Inspection, contents: Contents) -> None:
    objects, key = inspection.content.objects, layout.catalog(contents.repository)
    oldest = contents.oldest
    if oldest is None or oldest.modified >= inspection.before or objects.head(key) is not None:
        return
    if is_live(objects.head(oldest.key)):
        inspection.found(Damage.CATALOG_MISSING, contents.name, (), partial(_noted, inspection, key))
