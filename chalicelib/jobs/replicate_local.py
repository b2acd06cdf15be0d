"""This registry as the one or the other end of a copy.

Invariants:
* What comes here is pushed: rules, quota, index, webhooks and audit log see what they see of any push. A project that
  is missing is made, private; one that is a proxy cache takes nothing.
* A blob is taken from what is here only where its project holds it already: that another registry names a digest
  gives nobody access to it.
* What goes from here is what lists show, with the tags that the policy's filters take.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any
from urllib.parse import urlsplit

from chalicelib.changes import charging, indexing, replicating
from chalicelib.changes.charging import Account
from chalicelib.jobs.replicate_ends import JSON, CopyError, GoneError, Item, Piece, Stream
from chalicelib.oci import manifests as oci
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.manifests import Descriptor, Manifest
from chalicelib.oci.names import Repository, Tag
from chalicelib.oci.uploads import Event
from chalicelib.policy import replication
from chalicelib.policy.replication import Policy
from chalicelib.policy.webhook_payloads import Happened
from chalicelib.policy.webhooks import EventType
from chalicelib.services import Services
from chalicelib.store import blobs, candidates, manifests, sessions, uploads
from chalicelib.store.content import Content
from chalicelib.store.directory import configuration, members, projects
from chalicelib.store.directory.members import Kind, Who
from chalicelib.store.directory.projects import NewProject, Project
from chalicelib.store.directory.users import ADMINISTRATOR, ADMINISTRATOR_ID
from chalicelib.store.index import artifacts, repositories
from chalicelib.store.index.repositories import RepositoryRecord
from chalicelib.store.table import RefusedError
from chalicelib.store.uploads import BrokenBodyError, Chunk, Wanted
from chalicelib.store.usage import counting

ACTOR = "replication"


def _missing(error: RegistryError, what: str) -> Exception:
    """Return what to raise where something could not be read."""
    return GoneError(what) if error.code is ErrorCode.MANIFEST_UNKNOWN else error


@dataclass(frozen=True)
class LocalSource:
    """A repository of this registry, as a policy sees it."""

    services: Services
    policy: Policy
    home: RepositoryRecord
    thorough: bool = True

    def items(self, after: str) -> Iterator[Item]:
        """Yield what the policy wants, the newest first."""
        services = self.services
        for key, candidate in candidates.listed(services.index, services.directory, self.home, after):
            tags = replication.chosen(self.policy.filters, candidate)
            if tags is not None:
                yield Item(key, candidate.digest, tags)

    def narrowed(self, items: Iterable[Item], subject: str) -> Iterator[Item]:
        """Yield those of some items that the policy wants, where they belong to a subject by what that is.

        A tag that names something else by now is not among them: whatever moved it began a task of its own.
        """
        index, home = self.services.index, self.home
        for item in items:
            kept = tuple(tag for tag in item.tags if self.is_named(tag, item.digest))
            found = artifacts.find(index, home, subject or item.digest)
            if found is None or (item.tags and not kept):
                continue
            named = artifacts.tags(index, home, subject).entries if subject else ()
            tags = tuple(tag.name for tag in named) or kept
            candidate = candidates.of(found, tags, candidates.Names(self.services.directory))
            chosen = replication.chosen(self.policy.filters, candidate)
            if chosen is not None:
                yield Item(item.key, item.digest, kept if subject else chosen)

    def is_wanted(self, item: Item) -> bool:  # noqa: ARG002 - as an end has it
        """Tell that the policy wants an item: the others are no items."""
        return True

    def is_named(self, tag: str, digest: str) -> bool:
        """Tell whether a tag names an artifact at this moment."""
        try:
            return self.digest_of(tag) == digest
        except GoneError:
            return False

    def accessories(self, digest: str) -> Iterator[Item]:
        """Yield what belongs to an artifact, with its tags."""
        index = self.services.index
        for accessory in artifacts.accessories(index, self.home, digest).entries:
            tags = artifacts.tags(index, self.home, accessory.digest).entries
            yield Item("", accessory.digest, tuple(tag.name for tag in tags))

    def manifest(self, digest: str) -> Manifest:
        """Return a manifest; raise GoneError."""
        try:
            stored = manifests.get(self.services.content, self.home.repository, Digest.parse(digest))
        except RegistryError as error:
            raise _missing(error, digest) from error
        return oci.parse(stored.content, stored.media_type)

    def digest_of(self, tag: str) -> str:
        """Return what a tag names; raise GoneError."""
        try:
            return str(manifests.head(self.services.content, self.home.repository, Tag.parse(tag)).digest)
        except RegistryError as error:
            raise _missing(error, tag) from error

    def blob(self, digest: Digest, start: int) -> AbstractContextManager[Stream]:
        """Return a blob's bytes from `start` on; raise GoneError."""
        content = self.services.content
        found = blobs.find(content, self.home.repository, digest)
        if found is None:
            raise CopyError(f"the repository does not hold the blob {digest}: verify it")
        return nullcontext(_Pieces(content.objects.read(found.key, start)))

    def elsewhere(self, digest: Digest) -> Iterator[str]:
        """Yield other repositories of the project that hold a blob."""
        for name in counting.repositories_holding(self.services.index, self.home.project_id, str(digest)):
            if name != self.home.repository.name and replication.takes_repository(self.policy.filters, name):
                yield name


class _Pieces:
    """A stream over what comes in pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, b""

    def read(self, most: int, /) -> bytes:
        """Return the next bytes, b"" at the end; raise GoneError where there are none."""
        try:
            found = self._rest or next(self._pieces, b"")
        except LookupError as error:
            raise CopyError("the bytes of a blob are not there: verify the repository") from error
        self._rest = found[most:]
        return found[:most]


def project_of(services: Services, repository: Repository) -> Project:
    """Return the project that a copy goes into, made where it is missing; raise CopyError where it takes nothing."""
    if configuration.recent(services.directory).get("read_only"):
        raise CopyError("this registry is read-only: end that, and replicate again")
    name, _, rest = repository.name.partition("/")
    if not rest:
        raise CopyError(f"{name} names no repository of a project: set a destination namespace in the policy")
    found = projects.find(services.directory, name)
    if found is None:
        owner = Who(Kind.USER, ADMINISTRATOR_ID, ADMINISTRATOR)
        new = NewProject(name, owner.id, owner.name, {"public": "false"}, {})
        # Another task may have made it meanwhile.
        with suppress(RefusedError):
            return projects.create(services.directory, new, members.founding(owner))
        found = projects.find(services.directory, name)
    if found is None:
        raise CopyError(f"the project {name} could not be made")
    if found.registry_id:
        raise CopyError(f"the project {name} is a proxy cache, which takes what is pulled through it: choose another")
    return found


@dataclass(frozen=True)
class LocalTarget:
    """A repository of this registry that a copy goes into."""

    services: Services
    repository: Repository
    chunk: int = 64 << 20

    @cached_property
    def _project(self) -> Project:
        return project_of(self.services, self.repository)

    @cached_property
    def _charged(self) -> Account:
        return charging.account(self.services, self._project, self.repository, ACTOR)

    @property
    def _content(self) -> Content:
        return self.services.content

    def named(self, tag: str) -> str:
        """Return the digest that a tag names, or ""."""
        with suppress(GoneError):
            return self._digest(Tag.parse(tag))
        return ""

    def has(self, digest: str) -> bool:
        """Tell whether a manifest is there, in use."""
        return manifests.is_stored(self._content, self.repository, Digest.parse(digest))

    def _digest(self, tag: Tag) -> str:
        try:
            return str(manifests.head(self._content, self.repository, tag).digest)
        except RegistryError as error:
            raise _missing(error, tag.name) from error

    def hold(self, blob: Descriptor, elsewhere: Callable[[], Iterable[str]]) -> bool:  # noqa: ARG002 - as below
        """Tell whether a blob is there now: of all that is here, only what the project holds may be mounted."""
        if blobs.promise(self._content, self.repository, blob.digest):
            return True
        if not counting.settled(self.services.index, self._project.id, str(blob.digest)):
            return False
        admit = partial(charging.blob, self._charged, self.repository, blob.digest)
        return blobs.mount(self._content, self.repository, blob.digest, None, admit)

    def begin(self, blob: Descriptor) -> JSON:
        """Begin an upload, unless the blob cannot fit; raise DENIED."""
        charging.check_room(self._charged, blob.digest, blob.size)
        return {"id": str(uuid.uuid4())}

    def resumed(self, upload: JSON) -> JSON | None:
        """Return an upload that goes on, or None where it is over."""
        try:
            sessions.load(self._content, upload["id"], Event.CHUNK)
        except RegistryError as error:
            if error.code is ErrorCode.BLOB_UPLOAD_UNKNOWN:
                return None
            raise
        return upload

    def received(self, upload: JSON) -> int:
        """Return how many bytes an upload has."""
        return sessions.load(self._content, upload["id"], Event.CHUNK).size

    def send(self, upload: JSON, piece: Piece, blob: Descriptor) -> JSON:
        """Take a piece; what came until the source broke off is kept."""
        session = sessions.load(self._content, upload["id"], Event.CHUNK)
        body = charging.measured(self._charged, piece, session.size)
        try:
            uploads.append(self._content, self.services.hashes, session, blob.digest.algorithm, Chunk(body))
        except BrokenBodyError as error:
            raise piece.error or error from error
        return upload

    def finish(self, upload: JSON, blob: Descriptor) -> None:
        """Verify the bytes and hold the blob; raise DIGEST_INVALID or DENIED."""
        session = sessions.load(self._content, upload["id"], Event.FINISH)
        admit = partial(charging.blob, self._charged, self.repository, blob.digest)
        wanted = Wanted(self.repository, blob.digest, admit)
        uploads.finish(self._content, self.services.hashes, session, wanted, Chunk(_NOTHING))

    def put(self, digest: str, manifest: Manifest, tags: tuple[str, ...], *, tell: bool) -> None:
        """Push a manifest; raise DENIED, MANIFEST_BLOB_UNKNOWN."""
        services, project, named = self.services, self._project, Digest.parse(digest)
        names = tuple(map(Tag.parse, tags))

        def told(restored: Any) -> None:
            indexing.restored(services, project.id, self.repository, restored)
            events = [self._happened(EventType.PUSHED, digest, tag.name) for tag in names] if tell else []
            with indexing.notified(services, project, events):
                indexing.pushed(services, project.id, self.repository, manifest, named, names)
            if tell:
                replicating.pushed(services, ACTOR, self.repository, manifest, named, names)
            for tag in names or (named,):
                indexing.artifact_audited(services, ACTOR, "create", project.id, self.repository, tag)

        charging.put_manifest(self._charged, self.repository, manifest, named, names, told)

    def _happened(self, kind: EventType, digest: str, reference: str) -> Happened:
        moment, host = int(self.services.now().timestamp()), urlsplit(self.services.settings.public_url).netloc
        return Happened(kind, moment, ACTOR, self.repository.name, reference, digest, host)

    def refer(self, subject: str, manifests: Mapping[str, Manifest]) -> None:
        """Do nothing: a push has entered what refers to its subject."""


class _Empty:
    def read(self, most: int, /) -> bytes:  # noqa: ARG002 - a body has it
        """Return nothing."""
        return b""


_NOTHING = _Empty()


def home_of(services: Services, name: str) -> RepositoryRecord | None:
    """Return the repository of this full name, or None."""
    project = projects.find(services.directory, name.partition("/")[0])
    return repositories.find(services.index, project.id, Repository(name)) if project else None
