"""Manifests, tags and referrers in a repository.

Invariants:
* The tag is the commit: whatever it needs is written before it, so a crash leaves the old tag or the new one.
* A tag carries its manifest. Where a delete by digest races with a push of the same manifest, the tag that was
  written last still answers by name and, through `_tagged`, by digest; a replica that has the tag but not yet the
  manifest answers in the same way.
* Bytes are hashed whenever they are read; damaged ones are never served.
* Deleting goes in reverse: tags, then the referrer's entry, then the manifest. A tag goes only if it still names
  the manifest at that moment. Where one client deletes the very manifest with a subject that another one pushes,
  its entry among the referrers may be there without it, or be missing, until it is pushed or deleted again.
* A manifest that is deleted is `condemned` first (`store.condemned`): the object stays, as nobody's manifest, for the
  collector. Whoever condemns looks for tags afterwards, and whoever moves tags looks at the manifest afterwards: so
  of a delete and a push that meet, one of the two sees the other, and what a tag names does not stay condemned.
* A tag that is fixed is never written over and never deleted: of two pushes that make one at once, one wins.

Sparse indexes: an index may name manifests that the repository lacks as long as it holds at least one of them (a
copy of chosen platforms), or as it names none. An index of which nothing is here is refused: no pull of it could
work.
"""

from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import orjson

from chalicelib.oci import manifests as oci
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.manifests import Manifest
from chalicelib.oci.names import Repository, Tag
from chalicelib.oci.pages import LARGEST, Page, PageRequest
from chalicelib.store import condemned, layout
from chalicelib.store.blobs import JSON
from chalicelib.store.content import Content
from chalicelib.store.objects import ConditionFailedError, Head, Object

DIGEST = "digest"
# A client reads a page of referrers as one manifest.
_PAGE_BYTES = oci.MAX_MANIFEST

# Tells whether a tag is fixed: once it names something, it names that.
IsFixed = Callable[[Tag], bool]


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """What a repository has under a reference, at `key`; `content` is empty where only the head was asked for."""

    digest: Digest
    media_type: str
    size: int
    key: str
    content: bytes = b""


def get(content: Content, repository: Repository, reference: Tag | Digest) -> StoredManifest:
    """Return the manifest under a reference with its bytes; raise MANIFEST_UNKNOWN."""
    key, found = _find(content, repository, reference)
    digest = reference if isinstance(reference, Digest) else _digest_of(found.head)
    if not digest.matches(found.content):
        raise RegistryError(ErrorCode.UNKNOWN, f"the stored manifest {digest} is damaged: push it again")
    return StoredManifest(digest, found.head.content_type, found.head.size, key, found.content)


def head(content: Content, repository: Repository, reference: Tag | Digest) -> StoredManifest:
    """Return what is known of the manifest under a reference, without its bytes; raise MANIFEST_UNKNOWN."""
    key = _key(repository, reference)
    found = condemned.live(content.objects.head(key))
    if found is None:
        named = _through_tags(content, repository, reference) if isinstance(reference, Digest) else None
        if named is None:
            raise _unknown(reference)
        key, found = named[0], named[1].head
    digest = reference if isinstance(reference, Digest) else _digest_of(found)
    return StoredManifest(digest, found.content_type, found.size, key)


def _find(content: Content, repository: Repository, reference: Tag | Digest) -> tuple[str, Object]:
    """Return the object under a reference and its key, not yet verified; raise MANIFEST_UNKNOWN."""
    key = _key(repository, reference)
    found = content.objects.get(key)
    if found is not None and condemned.live(found.head):
        return key, found
    named = _through_tags(content, repository, reference) if isinstance(reference, Digest) else None
    if named is None:
        raise _unknown(reference)
    return named


def stored(content: Content, repository: Repository) -> Iterator[Digest]:
    """Yield the digests of the manifests that are there by themselves; asks for each of them."""
    prefix, after = layout.manifests(repository), ""
    while True:
        page = content.objects.list(prefix, after=after)
        digests = (Digest.parse(layout.manifest_digest(repository, entry.key)) for entry in page.entries)
        yield from (digest for digest in digests if is_stored(content, repository, digest))
        if not page.more:
            return
        after = page.entries[-1].key


def is_stored(content: Content, repository: Repository, digest: Digest) -> bool:
    """Tell whether a manifest is there by itself, and not only through a tag."""
    return condemned.live(content.objects.head(layout.manifest(repository, digest))) is not None


def _key(repository: Repository, reference: Tag | Digest) -> str:
    if isinstance(reference, Tag):
        return layout.tag(repository, reference)
    return layout.manifest(repository, reference)


def _through_tags(content: Content, repository: Repository, digest: Digest) -> tuple[str, Object] | None:
    for tag in _tags_naming(content, repository, digest):
        found = content.objects.get(layout.tag(repository, tag))
        if found is not None and _digest_of(found.head) == digest:
            return layout.tag(repository, tag), found
    return None


def _tags_naming(content: Content, repository: Repository, digest: Digest) -> Iterable[Tag]:
    """Yield the tags that name, or once named, a manifest."""
    prefix = layout.tagged(repository, digest)
    after = ""
    while True:
        page = content.objects.list(prefix, after=after)
        yield from (Tag(entry.key.removeprefix(prefix)) for entry in page.entries)
        if not page.more:
            return
        after = page.entries[-1].key


def _digest_of(found: Head) -> Digest:
    return Digest.parse(found.metadata[DIGEST])


def _unknown(reference: Tag | Digest) -> RegistryError:
    return RegistryError(ErrorCode.MANIFEST_UNKNOWN, detail={"reference": str(reference)})


def _nothing() -> None:
    """Do nothing beside a push."""


def put(  # noqa: PLR0913 - what a push is made of
    content: Content,
    repository: Repository,
    manifest: Manifest,
    digest: Digest,
    tags: Iterable[Tag],
    beside: Callable[[], None] = _nothing,
    *,
    fixed: Container[Tag] = (),
) -> None:
    """Store a manifest under its digest and let `tags` name it, those that are `fixed` if they name nothing yet.

    Raise MANIFEST_BLOB_UNKNOWN, or DENIED (412) for a tag that is taken.

    Round trips: what it refers to is checked side by side; then manifest, tag hints and catalog entry side by
    side (none of them shows before the tag); then the referrer's entry; then the tags; then, if there are any, a look
    at the manifest, and `beside` it what is to be told once the tags are there.
    """
    names = tuple(dict.fromkeys(tags))
    check_free(content, repository, [tag for tag in names if tag in fixed])
    listed = _check_references(content, repository, manifest)
    writes = [
        partial(
            content.objects.put,
            layout.manifest(repository, digest),
            manifest.content,
            content_type=manifest.media_type,
        ),
        *(partial(content.objects.put, layout.tagged(repository, digest) + tag.name, b"") for tag in names),
    ]
    if not listed:
        writes.append(partial(content.objects.put, layout.catalog(repository), b""))
    content.together(lambda write: write(), writes)
    _put_referrer(content, repository, manifest, digest)
    content.together(lambda tag: _put_tag(content, repository, manifest, digest, tag, once=tag in fixed), names)
    looking = content.pool.submit(is_stored, content, repository, digest) if names else None
    beside()
    if looking and not looking.result():
        _confirm(content, repository, manifest, digest)


def _put_referrer(content: Content, repository: Repository, manifest: Manifest, digest: Digest) -> None:
    if manifest.subject:
        entry = orjson.dumps(manifest.referrer(digest))
        key = layout.referrer(repository, manifest.subject.digest, digest)
        content.objects.put(key, entry, content_type=JSON)


def _confirm(content: Content, repository: Repository, manifest: Manifest, digest: Digest) -> None:
    """Bring back a manifest that somebody condemned, or removed, since it was written, while a tag names it."""
    key = layout.manifest(repository, digest)

    def named() -> bool:
        return _through_tags(content, repository, digest) is not None

    if condemned.restore(content, key, manifest.content, manifest.media_type, named):
        _put_referrer(content, repository, manifest, digest)


def _put_tag(
    content: Content, repository: Repository, manifest: Manifest, digest: Digest, tag: Tag, *, once: bool
) -> None:
    key = layout.tag(repository, tag)
    try:
        content.objects.put(
            key,
            manifest.content,
            content_type=manifest.media_type,
            metadata={DIGEST: str(digest)},
            if_absent=once,
        )
    except ConditionFailedError:
        found = content.objects.head(key)
        # Whoever came first with the same manifest may have been this very request, repeated.
        if found is None or _digest_of(found) != digest:
            raise _taken(repository, tag) from None


def check_free(content: Content, repository: Repository, tags: Iterable[Tag]) -> None:
    """Raise DENIED (412) where one of the tags names something."""
    names = tuple(tags)
    found = content.together(content.objects.head, [layout.tag(repository, tag) for tag in names])
    for tag, head in zip(names, found, strict=True):
        if head is not None:
            raise _taken(repository, tag)


def _taken(repository: Repository, tag: Tag) -> RegistryError:
    message = f"{repository}:{tag} is configured as immutable and exists already: push another tag"
    return refusal_for(tag, message)


def refusal_for(tag: Tag, message: str) -> RegistryError:
    """Return the refusal for the sake of a fixed tag, which its detail names.

    The status is Harbor's; DENIED is the code for which no client tries again (podman tries others four times).
    """
    return RegistryError(ErrorCode.DENIED, message, status=412, detail={"tag": tag.name})


def _check_references(content: Content, repository: Repository, manifest: Manifest) -> bool:
    """Raise MANIFEST_BLOB_UNKNOWN where content is missing; tell whether the catalog lists the repository."""
    blobs = {blob.digest: blob for blob in manifest.blobs if not blob.held_elsewhere}
    children = {child.digest for child in manifest.manifests}
    keys = [layout.link(repository, digest) for digest in blobs]
    keys += [layout.manifest(repository, digest) for digest in children]
    *found, listed = content.together(content.objects.head, [*keys, layout.catalog(repository)])
    missing = [
        digest for digest, head in zip([*blobs, *children], found, strict=True) if condemned.live(head) is None
    ]
    if children:
        # A child whose manifest object went in a race may still be named by a tag.
        missing = [digest for digest in missing if _through_tags(content, repository, digest) is None]
    sparse = len(missing) < len(children)
    if missing and not sparse:
        raise RegistryError(
            ErrorCode.MANIFEST_BLOB_UNKNOWN,
            f"push {missing[0]} to {repository} first: the manifest refers to it",
            detail=[{"digest": str(digest)} for digest in missing],
        )
    return listed is not None


def delete_tag(content: Content, repository: Repository, tag: Tag) -> None:
    """Delete a tag and nothing else; raise MANIFEST_UNKNOWN."""
    if content.objects.head(layout.tag(repository, tag)) is None:
        raise _unknown(tag)
    content.objects.delete(layout.tag(repository, tag))


def check_not_fixed(content: Content, repository: Repository, digest: Digest, fixed: IsFixed) -> None:
    """Raise DENIED (412) where a tag that is fixed names a manifest."""
    _check_none_names(content, repository, digest, filter(fixed, _tags_naming(content, repository, digest)))


def _check_none_names(content: Content, repository: Repository, digest: Digest, tags: Iterable[Tag]) -> None:
    names = tuple(tags)
    found = content.together(content.objects.head, [layout.tag(repository, tag) for tag in names])
    for tag, head in zip(names, found, strict=True):
        if head is not None and _digest_of(head) == digest:
            message = f"{repository}:{tag}, which names {digest}, is configured as immutable: it stays"
            raise refusal_for(tag, message)


def delete(content: Content, repository: Repository, digest: Digest, fixed: IsFixed | None = None) -> None:
    """Delete a manifest and every tag that names it; raise MANIFEST_UNKNOWN, or DENIED (412) where one is fixed."""
    where, found = _find(content, repository, digest)
    key = layout.manifest(repository, digest)
    named = tuple(_tags_naming(content, repository, digest))
    held = frozenset(filter(fixed, named)) if fixed else frozenset()
    _check_none_names(content, repository, digest, held)
    # What is damaged has an entity tag that its tags have not, or some other tag has.
    whole = digest.matches(found.content)
    etag = found.head.etag if whole else ""
    free = [tag for tag in named if tag not in held]
    content.together(partial(_untag, content, repository, digest, etag), free)
    # What is damaged can be deleted as well.
    manifest = oci.parse(found.content, found.head.content_type) if whole else None
    if manifest and manifest.subject:
        content.objects.delete(layout.referrer(repository, manifest.subject.digest, digest))
    seen = found.head.etag if where == key else ""
    condemned.condemn(content, key, found.content, found.head.content_type, seen)
    if manifest and _through_tags(content, repository, digest):
        _confirm(content, repository, manifest, digest)


def _untag(content: Content, repository: Repository, digest: Digest, etag: str, tag: Tag) -> None:
    """Delete a tag if it names the manifest; where it moves meanwhile, it names another one and stays.

    It carries the same bytes, so it has the manifest's entity tag, `etag`; where S3 encrypts with keys, it need not.
    """
    key = layout.tag(repository, tag)
    if etag and _dropped(content, key, etag):
        return
    found = content.objects.head(key)
    if found is not None and _digest_of(found) == digest:
        _dropped(content, key, found.etag)


def _dropped(content: Content, key: str, etag: str) -> bool:
    try:
        content.objects.delete_if(key, etag)
    except ConditionFailedError:
        return False
    return True


def tags(content: Content, repository: Repository, request: PageRequest) -> Page[str]:
    """Return a page of the repository's tags in byte order; raise NAME_UNKNOWN."""
    page = _names(content, layout.tags(repository), request)
    if not page.entries and content.objects.head(layout.catalog(repository)) is None:
        raise RegistryError(ErrorCode.NAME_UNKNOWN, detail={"name": repository.name})
    return page


def catalog(content: Content, request: PageRequest) -> Page[str]:
    """Return a page of the names of all repositories."""
    after = request.last.replace("/", "!")
    page = _names(content, layout.CATALOG, PageRequest(request.size, after))
    return Page(tuple(layout.catalog_name(key) for key in page.entries), page.more)


def _names(content: Content, prefix: str, request: PageRequest) -> Page[str]:
    if request.size == 0:
        return Page((), more=False)
    after = prefix + request.last if request.last else ""
    page = content.objects.list(prefix, after=after, limit=request.size)
    return Page(tuple(entry.key.removeprefix(prefix) for entry in page.entries), page.more)


@dataclass(frozen=True, slots=True)
class Referrers:
    """A page of descriptors that refer to a manifest, and where the next one begins ("" at the end)."""

    descriptors: tuple[dict[str, object], ...]
    next: str


def referrers(content: Content, repository: Repository, subject: Digest, artifact_type: str, last: str) -> Referrers:
    """Return the manifests whose subject is `subject`, of one artifact type where it is not "" (end-12)."""
    prefix = layout.referrers(repository, subject)
    page = content.objects.list(prefix, after=prefix + last if last else "", limit=LARGEST)
    keys: list[str] = []
    room = _PAGE_BYTES
    for entry in page.entries:
        room -= entry.size
        if keys and room < 0:
            break
        keys.append(entry.key)
    more = page.more or len(keys) < len(page.entries)
    found = content.together(content.objects.get, keys)
    descriptors = (orjson.loads(descriptor.content) for descriptor in found if descriptor)
    return Referrers(
        tuple(d for d in descriptors if not artifact_type or d.get("artifactType") == artifact_type),
        next=keys[-1].removeprefix(prefix) if more else "",
    )
