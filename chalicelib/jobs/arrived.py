"""Brings into the index, and tells, what arrived in the bucket from another region: told by the bucket's own events.

It is for a region whose table is its own: where the table is shared, the push has written all of this already
(docs/decisions/023).

Invariants:
* An event says where to look, never what is there. So events may come in any order, twice, or for what this region
  itself did: what is in the index, and what is counted, follows from S3 as it is.
* What is not whole is looked at again, for an hour; then the index shows what is there, and the daily repair goes on.
* Webhooks are told of what S3 itself copied hither, of each version once, and only while it is new. What this region
  did was told by whoever did it.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from chalicelib.oci import manifests as oci
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.manifests import Manifest
from chalicelib.oci.names import Repository, Tag
from chalicelib.policy import arrivals
from chalicelib.policy.arrivals import Arrival
from chalicelib.policy.webhook_payloads import Happened
from chalicelib.policy.webhooks import EventType
from chalicelib.services import Services, messages
from chalicelib.store import layout, manifests, notifications, whole
from chalicelib.store.condemned import Doom, doom
from chalicelib.store.directory import projects, webhooks
from chalicelib.store.directory.projects import Project
from chalicelib.store.index import Index, artifacts, descriptions, events, repositories, settle
from chalicelib.store.objects import Head, Object
from chalicelib.store.usage import settling
from chalicelib.store.whole import Missing

log = logging.getLogger(__name__)

# Who is said to have done what arrived: who really did is known where it was done.
ACTOR = "s3-replication"
# What is older was copied by a repair or a first filling: nobody waits to be told of it.
_NEWS = timedelta(days=1)

# Sends a message to be looked at again after so many seconds; raises OSError.
Later = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class _Place:
    """A repository in which something arrived."""

    services: Services
    project: Project
    repository: Repository
    arrival: Arrival

    @property
    def index(self) -> Index:
        return self.services.index


class _Told(NamedTuple):
    """What webhooks are told: that a version of the object at `key` does something to an artifact."""

    kind: EventType
    key: str
    head: Head
    digest: Digest
    reference: str


def take(services: Services, event: Mapping[str, Any]) -> None:
    """Do what `run` does for each message that Lambda hands over; raise the first failure when all were tried.

    Lambda then hands all of them over again, of which those that are done take no time.
    """
    failures = []
    for record in event["Records"]:
        queue = messages(services.settings, record["eventSourceARN"].rpartition(":")[2])
        try:
            run(services, record["body"], queue.post)
        except Exception as error:
            # Whatever is the matter with one, the others are followed; it is raised in the end.
            log.exception("this message could not be followed: %s", record["body"])
            failures.append(error)
    if failures:
        raise failures[0]


def run(services: Services, message: str, later: Later) -> None:
    """Bring in what a message tells of, or have it looked at `later`.

    Raise ValueError for a message that nobody sends, OSError, BusyError or UNAVAILABLE: it may be done again.
    """
    for arrival in arrivals.read(message):
        if not _settle(services, arrival):
            later(*arrival.again())


def _settle(services: Services, arrival: Arrival) -> bool:
    """Tell whether nobody need look at an arrival again."""
    if not (layout.is_tag(arrival.key) or layout.is_manifest(arrival.key)):
        return True
    repository = Repository(layout.repository_name(arrival.key))
    project = projects.find(services.directory, repository.name.partition("/")[0])
    if project is None:
        log.info("%s arrived, and this region has no such project", arrival.key)
        return True
    place = _Place(services, project, repository, arrival)
    if layout.is_tag(arrival.key):
        return _tag(place, Tag(layout.tag_name(arrival.key)))
    return _manifest(place, Digest.parse(layout.manifest_digest(repository, arrival.key)))


def _tag(place: _Place, tag: Tag) -> bool:
    """Let the index have a tag as S3 has it; tell of a push of this very version."""
    found = _version(place)
    manifest = _parsed(found)
    if found is None or manifest is None:
        _named(place, tag)
        return True
    digest = manifests.digest_of(found.head)
    missing = _missing(place, digest, manifest)
    if _is_to_wait(place, missing):
        return False
    names_it = settle.named(place.index, place.repository, tag) == str(digest)
    # An event of long ago must not make a repository anew that is gone.
    if names_it or settle.in_s3(place.index, place.repository, digest):
        _kept(place, digest, manifest)
        named = (tag,) if names_it else ()
        events.pushed(place.index, place.project.id, place.repository, manifest, digest, named)
    _named(place, tag)
    if not missing.blobs:
        _tell(place, _Told(EventType.PUSHED, place.arrival.key, found.head, digest, tag.name))
    return True


def _missing(place: _Place, digest: Digest, manifest: Manifest) -> Missing:
    """Return what a pull by tag, and then by digest, would not find; nothing of a manifest that was deleted since."""
    content, repository = place.index.content, place.repository
    missing = whole.missing(content, repository, manifest)
    here = content.objects.head(layout.manifest(repository, digest)) is not None
    return missing if here else replace(missing, manifests=missing.manifests | {digest})


def _named(place: _Place, tag: Tag) -> None:
    """Let the index have what a tag names now, whatever the event was about, and look after what it named before."""
    before = _named_before(place, tag)
    now = settle.named(place.index, place.repository, tag)
    if now:
        events.retagged(place.index, place.project.id, place.repository, {tag.name: now})
    else:
        events.untagged(place.index, place.project.id, place.repository, tag)
    if before != now:
        _let_go(place, before)


def _let_go(place: _Place, digest: str) -> None:
    """Take out what a tag named, if it is gone: its deletion may have arrived first, and have found the tag there."""
    if digest and not settle.in_s3(place.index, place.repository, Digest.parse(digest)):
        _gone(place, Digest.parse(digest))


def _gone(place: _Place, digest: Digest) -> None:
    """Take a manifest out of the index; tell of it where somebody deleted it."""
    key = layout.manifest(place.repository, digest)
    head = place.index.content.objects.head(key)
    if head and doom(head) is Doom.DELETED and _is_known(place, digest):
        _tell(place, _Told(EventType.DELETED, key, head, digest, str(digest)))
    settling.deleted(place.index, place.project.id, place.repository, digest)


def _manifest(place: _Place, digest: Digest) -> bool:
    """Let the index have a manifest as S3 has it."""
    if not settle.in_s3(place.index, place.repository, digest):
        _gone(place, digest)
        return True
    manifest = descriptions.read(place.index.content, place.repository, digest)
    if manifest is None:
        return True
    if _is_to_wait(place, whole.missing(place.index.content, place.repository, manifest)):
        return False
    _kept(place, digest, manifest)
    events.found(place.index, place.project.id, place.repository, digest)
    return True


def _kept(place: _Place, digest: Digest, manifest: Manifest) -> None:
    settling.settle(place.index, place.project.id, place.repository, digest, manifest)


def _is_to_wait(place: _Place, missing: Missing) -> bool:
    """Tell whether what is missing is waited for: not for ever, since an index may lack children for good."""
    if missing and place.arrival.is_last_try:
        log.warning("%s is shown without %s, which did not arrive in an hour", place.arrival.key, missing)
    return bool(missing) and not place.arrival.is_last_try


def _version(place: _Place) -> Object | None:
    """Return the object that arrived, or None where it was a deletion, or is forgotten already."""
    return place.index.content.objects.get(place.arrival.key, place.arrival.version)


def _parsed(found: Object | None) -> Manifest | None:
    """Return the manifest that a tag carries, or None where it carries none."""
    try:
        if found is None or not manifests.digest_of(found.head).matches(found.content):
            return None
        return oci.parse(found.content, found.head.content_type)
    except RegistryError as error:
        if error.code is ErrorCode.UNAVAILABLE:
            raise
        return None


def _named_before(place: _Place, tag: Tag) -> str:
    home = repositories.find(place.index, place.project.id, place.repository)
    known = artifacts.find_tag(place.index, home, tag.name) if home else None
    return known.digest if known else ""


def _is_known(place: _Place, digest: Digest) -> bool:
    home = repositories.find(place.index, place.project.id, place.repository)
    return home is not None and artifacts.find(place.index, home, str(digest)) is not None


def _tell(place: _Place, told: _Told) -> None:
    """Tell webhooks of a version that S3 copied hither, unless that was done, or is long ago."""
    services, project = place.services, place.project
    if not told.head.replica or not webhooks.wanting(project, told.kind) or not _is_new(services, told.key):
        return
    happened = Happened(
        type=told.kind,
        moment=int(services.now().timestamp()),
        operator=ACTOR,
        repository=place.repository.name,
        reference=told.reference,
        digest=str(told.digest),
        host=urlsplit(services.settings.public_url).netloc,
    )
    notifications.tell_once(services.directory, project, happened, f"{told.key} {told.head.version}")


def _is_new(services: Services, key: str) -> bool:
    """Tell whether what is at a key now was written lately, wherever that was."""
    page = services.content.objects.list(key, limit=1)
    written = [entry.modified for entry in page.entries if entry.key == key]
    return any(services.now() - moment < _NEWS for moment in written)
