"""Completes what clients began to pull through a cache of another registry.

It fetches the blobs that they did not, and makes artifacts of the manifests that are whole.

Invariants:
* An artifact is made of a manifest once the repository holds all that it refers to; of an index, once it holds one of
  the manifests that the index names (docs/decisions/021). So what is listed can be pulled, whatever becomes of the
  other registry.
* What is to be done is in the bucket (`store.cached`), not in the task: whoever vanishes in the middle is followed by
  one who looks anew, and two who do it at once do the same.
* A client's own fetch of a blob is waited for, not done beside it.
"""

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from chalicelib.changes import caching, charging, indexing, replicating
from chalicelib.changes.caching import ACTOR, Upstream
from chalicelib.jobs.steps import Again, Done, Outcome, TaskRun
from chalicelib.oci import manifests as oci
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.manifests import Manifest
from chalicelib.oci.names import Repository, Tag
from chalicelib.policy import proxies
from chalicelib.policy.webhook_payloads import Happened
from chalicelib.policy.webhooks import EventType
from chalicelib.services import Services
from chalicelib.store import blobs, cached, holds, manifests
from chalicelib.store.index import pulls
from chalicelib.store.pulls import Pulled, Pulls
from chalicelib.store.queue import MemoryQueue
from chalicelib.store.sources import Wish

_WHILE_FETCHING, _LOOK_SECONDS = 2, 1.0
_FIXED = 412
_TOO_OLD = timedelta(days=proxies.KEPT_DAYS)


@dataclass(slots=True)
class _Round:
    """One look at what is cached of a repository: what became of it, and what is missing yet."""

    services: Services
    run: TaskRun
    source: Upstream
    repository: Repository
    missing: list[Wish] = field(default_factory=list)
    made: int = 0
    untagged: set[Digest] = field(default_factory=set)


def step(services: Services, run: TaskRun) -> Outcome:
    """Do one round; raise RegistryError or OSError."""
    repository = Repository.parse(run.parameters["repository"])
    if not run.cursor and run.parameters["patience"]:
        return Again({"waited": True}, after=run.parameters["patience"])
    source = caching.upstream(services, repository)
    if source is None:
        run.log(f"{repository} is in no cache of another registry any more")
        return Done()
    looked = _Round(services, run, source, repository)
    try:
        _look(looked)
    except RegistryError as error:
        if error.code is not ErrorCode.DENIED:
            raise
        run.log(f"not everything is kept: {error.message}")
        return Done()
    made = run.cursor.get("made", 0) + looked.made
    if not looked.missing:
        return Done({"artifacts": made})
    going_on = _fetch_one(looked)
    return Again({"waited": True, "made": made, **going_on}, after=_WHILE_FETCHING)


def _look(looked: _Round) -> None:
    """Make artifacts of what is whole, children before the indexes that name them, and let tags name it."""
    indexes: list[tuple[Manifest, Digest]] = []
    for manifest, digest in _waiting(looked):
        if manifest.manifests:
            indexes.append((manifest, digest))
        elif _is_whole(looked, manifest):
            _make(looked, manifest, digest)
    for manifest, digest in indexes:
        if _has_a_child(looked, manifest):
            _make(looked, manifest, digest)
    _name(looked)
    _tell_of_late_parts(looked, indexes)
    cached.forget_old(looked.services.content, looked.repository, looked.services.now() - _TOO_OLD)


def _tell_of_late_parts(looked: _Round, indexes: Iterable[tuple[Manifest, Digest]]) -> None:
    """Tell policies of what has no tag, unless its index was made with it: nothing else leads them to it."""
    with_index = {child.digest for manifest, _ in indexes for child in manifest.manifests}
    for digest in looked.untagged - with_index:
        replicating.came_alone(looked.services, ACTOR, looked.repository, digest)


def _waiting(looked: _Round) -> Iterator[tuple[Manifest, Digest]]:
    """Yield the manifests that are cached, dropping what is too old or damaged."""
    content, now = looked.services.content, looked.services.now()
    for digest, entry in cached.waiting(content, looked.repository):
        found = cached.find(content, looked.repository, digest)
        if found is None or now - entry.modified > _TOO_OLD:
            cached.drop(content, looked.repository, digest)
            continue
        try:
            yield oci.parse(found.content, found.media_type), digest
        except RegistryError as error:
            looked.run.log(f"{digest} is passed on as it is, and not kept: {error.message}")
            cached.drop(content, looked.repository, digest)


def _is_whole(looked: _Round, manifest: Manifest) -> bool:
    """Tell whether all blobs are here; those that are not are missing."""
    wanted = dict.fromkeys(blob.digest for blob in manifest.blobs if not blob.held_elsewhere)
    wishes = [Wish(looked.repository, digest) for digest in wanted]
    missing = [wish for wish in wishes if blobs.find(looked.services.content, *wish) is None]
    looked.missing += missing
    return not missing


def _has_a_child(looked: _Round, manifest: Manifest) -> bool:
    content, repository = looked.services.content, looked.repository
    return any(manifests.is_stored(content, repository, child.digest) for child in manifest.manifests)


def _name(looked: _Round) -> None:
    """Let tags name what they are to, where that has been whole since before."""
    content, repository = looked.services.content, looked.repository
    for digest in dict.fromkeys(note.digest for note in cached.notes(content, repository)):
        if manifests.is_stored(content, repository, digest):
            stored = manifests.get(content, repository, digest)
            _make(looked, oci.parse(stored.content, stored.media_type), digest)


def _make(looked: _Round, manifest: Manifest, digest: Digest) -> None:
    """Make an artifact as a push does, with the tags that are to name it; raise RegistryError or OSError."""
    content, repository = looked.services.content, looked.repository
    notes = [note for note in cached.notes(content, repository) if note.digest == digest]
    tags = [note.tag for note in notes]
    # What is an artifact already is made none anew each time that somebody pulls a tag that stays where it is.
    known = manifests.is_stored(content, repository, digest)
    try:
        _push(looked, manifest, digest, tags)
    except RegistryError as error:
        if error.status != _FIXED or not tags:
            raise
        looked.run.log(f"the tags stay where they are: {error.message}")
        if not known:
            _push(looked, manifest, digest, [])
    for note in notes:
        cached.forget(content, note)
    cached.drop(content, repository, digest)
    looked.made += 1
    if not tags and not manifest.subject:
        looked.untagged.add(digest)
    looked.run.log(f"{repository}@{digest} is whole; its tags: {', '.join(tag.name for tag in tags) or 'none'}")


def _push(looked: _Round, manifest: Manifest, digest: Digest, tags: Sequence[Tag]) -> None:
    services, project, repository = looked.services, looked.source.project, looked.repository

    def told(restored: Sequence[tuple[Digest, Manifest]]) -> None:
        indexing.restored(services, project.id, repository, restored)
        with indexing.notified(services, project, [_happened(looked, digest, tag) for tag in tags or (None,)]):
            indexing.pushed(services, project.id, repository, manifest, digest, tags)
        replicating.pushed(services, ACTOR, repository, manifest, digest, tags)
        for reference in tags or (digest,):
            indexing.artifact_audited(services, ACTOR, "create", project.id, repository, reference)

    account = charging.account(services, project, repository, ACTOR)
    charging.put_manifest(account, repository, manifest, digest, tags, told)
    # Its pull came before it was an artifact, and what nobody pulled goes (the retention policy of a cache).
    moment = Pulls(1, services.now())
    made = {Pulled(repository, str(digest), tag.name): moment for tag in tags} or {
        Pulled(repository, str(digest)): moment
    }
    with suppress(OSError):
        pulls.flush(services.index, made, lambda _: project.id, numbers=False)


def _happened(looked: _Round, digest: Digest, tag: Tag | None) -> Happened:
    return Happened(
        type=EventType.PUSHED,
        moment=int(looked.services.now().timestamp()),
        operator=ACTOR,
        repository=looked.repository.name,
        reference=tag.name if tag else str(digest),
        digest=str(digest),
        host=urlsplit(looked.services.settings.public_url).netloc,
    )


def _fetch_one(looked: _Round) -> Mapping[str, Any]:
    """Fetch a blob, if nobody fetches any of the repository; return how to go on. Raise what went wrong."""
    if any(holds.is_taken(looked.run.directory, caching.hold_name(wish)) for wish in looked.missing):
        return {}
    if isinstance(looked.run.directory.queue, MemoryQueue):
        _fetch_for_all(looked)
        return {}
    return _fetch_some(looked)


def _fetch_some(looked: _Round) -> Mapping[str, Any]:
    """Go on with a blob as far as the time goes: what a function of Lambda has in memory ends with it."""
    cursor, missing = looked.run.cursor, {str(wish.digest): wish for wish in looked.missing}
    wish = missing.get(cursor.get("blob", ""))
    upload_id = cursor["upload"] if wish else str(uuid.uuid4())
    wish = wish or looked.missing[0]
    try:
        caching.fetch_some(looked.services, looked.source, wish, upload_id, looked.run.more_time)
    except RegistryError as error:
        if error.code is not ErrorCode.BLOB_UPLOAD_UNKNOWN:
            raise
        return {}
    return {"blob": str(wish.digest), "upload": upload_id}


def _fetch_for_all(looked: _Round) -> None:
    """Fetch a blob so that clients of this process can read it meanwhile."""
    services, run = looked.services, looked.run
    fetch = caching.fetch_blob(services, looked.source, looked.missing[0])
    try:
        while not fetch.wait(_LOOK_SECONDS):
            if not run.more_time():
                return
    finally:
        fetch.leave()
