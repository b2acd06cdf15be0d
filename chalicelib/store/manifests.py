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

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice

import orjson

from chalicelib.oci import manifests as oci
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.manifests import Manifest
from chalicelib.oci.names import Repository, Tag
from chalicelib.store import layout, listings, wholeness
from chalicelib.store.blobs import JSON, promise
from chalicelib.store.condemned import Doom, condemn, is_live, is_retired, original, readable, restore
from chalicelib.store.content import Content
from chalicelib.store.objects import ConditionFailedError, Head, Object

DIGEST = "digest"
_ASKED_TOGETHER = 32

# Tells whether a tag is fixed: once it names something, it names that.
IsFixed = Callable[[Tag], bool]


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """What a repository has under a reference, at `key`; `content` is empty where only the head was asked for.

    One that is `retired` is in no list.
    """

    digest: Digest
    media_type: str
    size: int
    key: str
    content: bytes = b""
    retired: bool = False


def get(content: Content, repository: Repository, reference: Tag | Digest) -> StoredManifest:
    """Return the manifest under a reference with its bytes; raise MANIFEST_UNKNOWN."""
    key, found = _find(content, repository, reference)
    digest = reference if isinstance(reference, Digest) else digest_of(found.head)
    bytes_ = original(found)
    if not digest.matches(bytes_):
        raise RegistryError(ErrorCode.UNKNOWN, f"the stored manifest {digest} is damaged: push it again")
    return StoredManifest(digest, found.head.content_type, len(bytes_), key, bytes_, is_retired(found.head))


def head(content: Content, repository: Repository, reference: Tag | Digest) -> StoredManifest:
    """Return what is known of the manifest under a reference, without its bytes; raise MANIFEST_UNKNOWN."""
    key = _key(repository, reference)
    found = readable(content.objects.head(key))
    if found is None:
        named = _through_tags(content, repository, reference) if isinstance(reference, Digest) else None
        if named is None:
            raise _unknown(reference)
        key, found = named[0], named[1].head
    digest = reference if isinstance(reference, Digest) else digest_of(found)
    return StoredManifest(digest, found.content_type, found.size, key, retired=is_retired(found))


def _find(content: Content, repository: Repository, reference: Tag | Digest) -> tuple[str, Object]:
    """Return the object under a reference and its key, not yet verified; raise MANIFEST_UNKNOWN."""
    key = _key(repository, reference)
    found = content.objects.get(key)
    if found is not None and readable(found.head):
        return key, found
    named = _through_tags(content, repository, reference) if isinstance(reference, Digest) else None
    if named is None:
        raise _unknown(reference)
    return named


def stored(content: Content, repository: Repository) -> Iterator[Digest]:
    """Yield the digests of the manifests of which `is_stored` holds; asks for each of them."""
    for entry in listings.below(content.objects, layout.manifests(repository)):
        digest = Digest.parse(layout.manifest_digest(repository, entry.key))
        if is_stored(content, repository, digest):
            yield digest


def is_stored(content: Content, repository: Repository, digest: Digest) -> bool:
    """Tell whether a manifest is there by itself, not condemned, and not only through a tag."""
    return is_live(content.objects.head(layout.manifest(repository, digest)))


def is_tagged(content: Content, repository: Repository, digest: Digest) -> bool:
    """Tell whether a tag names a manifest."""
    keys = (layout.tag(repository, tag) for tag in tags_naming(content, repository, digest))
    while some := tuple(islice(keys, _ASKED_TOGETHER)):
        if any(head is not None and is_naming(head, digest) for head in content.together(content.objects.head, some)):
            return True
    return False


def _key(repository: Repository, reference: Tag | Digest) -> str:
    if isinstance(reference, Tag):
        return layout.tag(repository, reference)
    return layout.manifest(repository, reference)


def _through_tags(content: Content, repository: Repository, digest: Digest) -> tuple[str, Object] | None:
    for tag in tags_naming(content, repository, digest):
        found = content.objects.get(layout.tag(repository, tag))
        if found is not None and is_naming(found.head, digest):
            return layout.tag(repository, tag), found
    return None


def tags_naming(content: Content, repository: Repository, digest: Digest) -> Iterable[Tag]:
    """Return the tags that name, or once named, a manifest, one by one."""
    prefix = layout.tagged(repository, digest)
    return (Tag(entry.key.removeprefix(prefix)) for entry in listings.below(content.objects, prefix))


def is_naming(found: Head, digest: Digest) -> bool:
    """Tell whether a tag, of which this is known, names a manifest."""
    return found.metadata.get(DIGEST) == str(digest)


def digest_of(found: Head) -> Digest:
    """Return the digest that a tag names; raise UNKNOWN where it does not say."""
    if DIGEST not in found.metadata:
        raise RegistryError(ErrorCode.UNKNOWN, "the stored tag is damaged: push it again")
    return Digest.parse(found.metadata[DIGEST])


def _unknown(reference: Tag | Digest) -> RegistryError:
    return RegistryError(ErrorCode.MANIFEST_UNKNOWN, detail={"reference": str(reference)})


# Is told which children of an index were retired, and are in use again.
Beside = Callable[[Sequence[tuple[Digest, Manifest]]], None]


def nothing(restored: Sequence[tuple[Digest, Manifest]]) -> None:
    """Tell nobody of a push."""


def put(  # noqa: PLR0913 - what a push is made of
    content: Content,
    repository: Repository,
    manifest: Manifest,
    digest: Digest,
    tags: Iterable[Tag],
    beside: Beside = nothing,
    *,
    fixed: Container[Tag] = (),
) -> None:
    """Store a manifest under its digest and let `tags` name it, those that are `fixed` if they name nothing yet.

    Raise MANIFEST_BLOB_UNKNOWN, or DENIED (412) for a tag that is taken.

    Round trips: what it refers to is checked side by side; then manifest, tag hints and catalog entry side by
    side (none of them shows before the tag); then the referrer's entry; then the tags; then, if there are any, a look
    at the manifest, and `beside` it what is to be told once the tags are there. What was checked is there for a while
    (`store.blobs`): a push that took longer begins anew, UNAVAILABLE.
    """
    names = tuple(dict.fromkeys(tags))
    check_free(content, repository, [tag for tag in names if tag in fixed])
    begun = content.now()
    restored: list[tuple[Digest, Manifest]] = []
    listed = _check_references(content, repository, manifest, restored)
    writes = _unseen(content, repository, manifest, digest, names)
    if not listed:
        writes.append(partial(content.objects.put, layout.catalog(repository), b""))
    if content.now() - begun > content.grace / 4:
        raise RegistryError(ErrorCode.UNAVAILABLE, headers={"Retry-After": "1"})
    content.together(lambda write: write(), writes)
    _put_referrer(content, repository, manifest, digest)
    content.together(lambda tag: _put_tag(content, repository, manifest, digest, tag, once=tag in fixed), names)
    looking = content.pool.submit(is_stored, content, repository, digest) if names else None
    beside(restored)
    if looking and not looking.result():
        confirm(content, repository, manifest, digest)


def _unseen(
    content: Content, repository: Repository, manifest: Manifest, digest: Digest, names: Iterable[Tag]
) -> list[Callable[[], object]]:
    """Return the writes of which nobody sees anything before the tag."""
    key, kind = layout.manifest(repository, digest), manifest.media_type
    hints = (layout.tagged(repository, digest) + tag.name for tag in names)
    return [
        partial(content.objects.put, key, manifest.content, content_type=kind),
        *(partial(content.objects.put, hint, b"") for hint in hints),
    ]


def _put_referrer(content: Content, repository: Repository, manifest: Manifest, digest: Digest) -> None:
    if manifest.subject:
        entry = orjson.dumps(manifest.referrer(digest))
        key = layout.referrer(repository, manifest.subject.digest, digest)
        content.objects.put(key, entry, content_type=JSON)


def confirm(content: Content, repository: Repository, manifest: Manifest, digest: Digest) -> None:
    """Bring back a manifest that somebody condemned, or removed, since it was written, while a tag names it."""
    key = layout.manifest(repository, digest)
    if restore(content, key, manifest.content, manifest.media_type, lambda _: is_tagged(content, repository, digest)):
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
        if found is None or not is_naming(found, digest):
            raise _taken(repository, tag) from None


def check_free(content: Content, repository: Repository, tags: Iterable[Tag]) -> None:
    """Raise DENIED (412) where one of the tags names something."""
    names = tuple(tags)
    found = content.together(content.objects.head, [layout.tag(repository, tag) for tag in names])
    for tag, head in zip(names, found, strict=True):
        if head is not None:
            raise _taken(repository, tag)


def _taken(repository: Repository, tag: Tag) -> RegistryError:
    message = f"{repository}:{tag} is configured as immutable, cannot be updated: push another tag"
    return refusal_for(tag, message)


def refusal_for(tag: Tag, message: str) -> RegistryError:
    """Return the refusal for the sake of a fixed tag, which its detail names.

    Tools look for Harbor's words: configured as immutable, cannot be deleted (or updated). The status is Harbor's;
    DENIED is the code for which no client tries again (podman tries others four times).
    """
    return RegistryError(ErrorCode.DENIED, message, status=412, detail={"tag": tag.name})


def _check_references(
    content: Content, repository: Repository, manifest: Manifest, restored: list[tuple[Digest, Manifest]]
) -> bool:
    """Raise MANIFEST_BLOB_UNKNOWN where content is missing; tell whether the catalog lists the repository.

    Children that were retired are brought back, and added to `restored`.
    """
    blobs = {blob.digest: blob for blob in manifest.blobs if not blob.held_elsewhere}
    children = {child.digest for child in manifest.manifests}
    checks: list[Callable[[], object]] = [partial(promise, content, repository, digest) for digest in blobs]
    checks += [partial(_child, content, repository, restored, digest) for digest in children]
    checks.append(partial(content.objects.head, layout.catalog(repository)))
    *found, listed = content.together(lambda check: check(), checks)
    missing = [digest for digest, there in zip([*blobs, *children], found, strict=True) if not there]
    if children:
        # A child whose manifest object went in a race may still be named by a tag.
        missing = [digest for digest in missing if _through_tags(content, repository, digest) is None]
    sparse = len(missing) < len(children)
    if not content.is_whole:
        missing += wholeness.lacking_below(content, repository, [child for child in children if child not in missing])
        sparse = sparse and not any(digest not in children for digest in missing)
    if missing and not sparse:
        raise RegistryError(
            ErrorCode.MANIFEST_BLOB_UNKNOWN,
            f"push {missing[0]} to {repository} first: the manifest refers to it",
            detail=[{"digest": str(digest)} for digest in missing],
        )
    return listed is not None


def _child(content: Content, repository: Repository, restored: list[tuple[Digest, Manifest]], digest: Digest) -> bool:
    """Tell whether a child of an index is there; one that was retired is in use again."""
    key = layout.manifest(repository, digest)
    head = content.objects.head(key)
    if not is_retired(head):
        return is_live(head)
    found = content.objects.get(key)
    if found is not None and restore(content, key, original(found), found.head.content_type, is_retired):
        restored.append((digest, oci.parse(original(found), found.head.content_type)))
    return found is not None and readable(found.head) is not None


def delete_tag(content: Content, repository: Repository, tag: Tag) -> None:
    """Delete a tag and nothing else; raise MANIFEST_UNKNOWN."""
    if content.objects.head(layout.tag(repository, tag)) is None:
        raise _unknown(tag)
    content.objects.delete(layout.tag(repository, tag))


def check_not_fixed(content: Content, repository: Repository, digest: Digest, fixed: IsFixed) -> None:
    """Raise DENIED (412) where a tag that is fixed names a manifest."""
    _check_none_names(content, repository, digest, filter(fixed, tags_naming(content, repository, digest)))


def _check_none_names(content: Content, repository: Repository, digest: Digest, tags: Iterable[Tag]) -> None:
    names = tuple(tags)
    found = content.together(content.objects.head, [layout.tag(repository, tag) for tag in names])
    for tag, head in zip(names, found, strict=True):
        if head is not None and is_naming(head, digest):
            message = f"{repository}:{tag} is configured as immutable, cannot be deleted: it names {digest}"
            raise refusal_for(tag, message)


def delete(
    content: Content,
    repository: Repository,
    digest: Digest,
    fixed: IsFixed | None = None,
    why: Doom = Doom.DELETED,
) -> None:
    """Delete a manifest and every tag that names it; raise MANIFEST_UNKNOWN, or DENIED (412) where one is fixed.

    One that is to be `RETIRED` is in no list from now on; the collector deletes it after the grace period, unless an
    index names it by then or it was pushed again. So a job deletes: nothing that refers to it meanwhile breaks.
    """
    where, found = _find(content, repository, digest)
    key = layout.manifest(repository, digest)
    named = tuple(tags_naming(content, repository, digest))
    held = frozenset(filter(fixed, named)) if fixed else frozenset()
    _check_none_names(content, repository, digest, held)
    # What is damaged can be deleted as well; its entity tag is not that of its tags.
    whole = digest.matches(original(found))
    etag = found.head.etag if whole and is_live(found.head) else ""
    free = [tag for tag in named if tag not in held]
    content.together(partial(_untag, content, repository, digest, etag), free)
    manifest = oci.parse(original(found), found.head.content_type) if whole else None
    if manifest and manifest.subject:
        content.objects.delete(layout.referrer(repository, manifest.subject.digest, digest))
    condemn(content, key, found, found.head.etag if where == key else "", why)
    if manifest and is_tagged(content, repository, digest):
        confirm(content, repository, manifest, digest)


def retire_untagged(content: Content, repository: Repository, digest: Digest) -> bool:
    """Retire a manifest that no tag names and that has no subject; tell whether it is retired now."""
    key = layout.manifest(repository, digest)
    found = content.objects.get(key)
    if found is None or not is_live(found.head) or is_tagged(content, repository, digest):
        return False
    condemn(content, key, found, found.head.etag, Doom.RETIRED)
    # The pusher of a tag may have looked at the manifest before it was condemned.
    if is_tagged(content, repository, digest):
        restore(content, key, found.content, found.head.content_type, is_retired)
        return False
    return True


def _untag(content: Content, repository: Repository, digest: Digest, etag: str, tag: Tag) -> None:
    """Delete a tag if it names the manifest; where it moves meanwhile, it names another one and stays.

    It carries the same bytes, so it has the manifest's entity tag, `etag`; where S3 encrypts with keys, it need not.
    """
    key = layout.tag(repository, tag)
    if etag and content.drop(key, etag):
        return
    found = content.objects.head(key)
    if found is not None and is_naming(found, digest):
        content.drop(key, found.etag)
