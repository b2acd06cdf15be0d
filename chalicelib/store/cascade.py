"""Deleting an artifact with what belongs to it, as Harbor does, whoever asks: its API, the specification's, a job.

What belongs to an artifact: its tags, its labels, its accessories (`kinds.HARD`), and those children of an index that
have no tag and that no other index needs; and so on, of each of these.

Invariants:
* What an index needs is not deleted; asking for it is refused, and the artifact and all that is its own stay.
* Accessories go before their subject and children after their index: whoever is interrupted leaves nothing that lacks
  a part. What was not reached by then is listed, and can be deleted by itself.
* What an immutable tag names is not deleted either, nor what has such an accessory. Where one was pushed since that
  was looked at, it stays with what it names. So does a child for which any tag was pushed meanwhile.
* An accessory that tags alone attach, to others as well, stays theirs: it loses the tags that attach it here.
* S3 changes first, the index is told afterwards. Who needs what is what the index says: a manifest that it missed is
  taken in when it is deleted itself.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.names import Repository, Tag
from chalicelib.store import manifests
from chalicelib.store.condemned import Doom
from chalicelib.store.content import Content
from chalicelib.store.index import Index, artifacts, events, kinds, repositories
from chalicelib.store.index.artifacts import Accessory, Artifact
from chalicelib.store.index.repositories import RepositoryRecord
from chalicelib.store.manifests import IsFixed

_STAYS = 412

# Is called with each tag and manifest that was deleted, after S3 answered.
Tell = Callable[[Tag | Digest], None]
_Found = tuple[RepositoryRecord, Artifact]


@dataclass(frozen=True, slots=True)
class Manner:
    """How something is deleted: who is told, which tags stay, and whether a job retires it or somebody deletes it."""

    tell: Tell
    fixed: IsFixed | None = None
    why: Doom = Doom.DELETED


def delete(
    content: Content, index: Index, project_id: int, repository: Repository, digest: Digest, manner: Manner
) -> None:
    """Delete a manifest with what belongs to it, telling of each deletion.

    Raise MANIFEST_UNKNOWN where it is not there (the index is told so all the same), or DENIED (412) where
    an index needs it, or a tag that stays names it or one of its accessories.
    """
    known = _known(content, index, project_id, repository, digest)
    if known is None:
        manifests.delete(content, repository, digest, manner.fixed, manner.why)
        manner.tell(digest)
        return
    home, found = known
    parents = artifacts.parents(index, home, found.digest)
    if parents:
        raise RegistryError(
            ErrorCode.DENIED,
            f"{digest} is part of the index {parents[0]}: delete that one first",
            status=412,
        )
    deleting = _Deleting(content, index, home, manner.tell, manner.fixed)
    deleting.check(found, set())
    if not deleting.delete(found, manner.why):
        raise RegistryError(ErrorCode.MANIFEST_UNKNOWN, detail={"reference": str(digest)})


def _known(content: Content, index: Index, project_id: int, repository: Repository, digest: Digest) -> _Found | None:
    """Return the records of the repository and the manifest, after the index took that in if it had missed it."""
    known = _find(index, project_id, repository, digest)
    if known is None:
        # Nothing is made for a manifest that never was.
        manifests.head(content, repository, digest)
        events.found(index, project_id, repository, digest)
        known = _find(index, project_id, repository, digest)
    return known


def _find(index: Index, project_id: int, repository: Repository, digest: Digest) -> _Found | None:
    home = repositories.find(index, project_id, repository)
    found = artifacts.find(index, home, str(digest)) if home else None
    return (home, found) if home and found else None


@dataclass(frozen=True, slots=True)
class _Deleting:
    """A cascade under way; `seen` are those that it has come to: references may go in a circle."""

    content: Content
    index: Index
    home: RepositoryRecord
    tell: Tell
    fixed: IsFixed | None
    seen: set[str] = field(default_factory=set)

    def check(self, artifact: Artifact, looked_at: set[str]) -> None:
        """Raise DENIED (412) where a fixed tag names an artifact or one of its accessories."""
        if self.fixed is None or artifact.digest in looked_at:
            return
        looked_at.add(artifact.digest)
        manifests.check_not_fixed(self.content, self.home.repository, Digest.parse(artifact.digest), self.fixed)
        for accessory in artifacts.accessories(self.index, self.home, artifact.digest).entries:
            found = self._free(accessory.digest) if accessory.type in kinds.HARD else None
            if found:
                self.check(found, looked_at)

    def delete(self, artifact: Artifact, why: Doom = Doom.RETIRED, *, untagged: bool = False) -> bool:
        """Delete without asking who needs it; tell whether it was still there.

        What goes along is retired: an index that is being pushed may need it, and brings it back. Raise DENIED (412)
        where a fixed tag names it or, if it is to be `untagged`, any tag.
        """
        if artifact.digest in self.seen:
            return False
        self.seen.add(artifact.digest)
        # Afterwards the index does not know them any more.
        children = [child["digest"] for child in artifacts.children(self.index, self.home, artifact.digest)]
        for accessory in artifacts.accessories(self.index, self.home, artifact.digest).entries:
            if accessory.type in kinds.HARD:
                self._accessory(accessory)
        there = self._manifest(Digest.parse(artifact.digest), why, _any_tag if untagged else self.fixed)
        for child in dict.fromkeys(children):
            self._child(child)
        return there

    def _child(self, digest: str) -> None:
        """Delete a child that nothing else needs and no tag names, be it one that was pushed just now."""
        found = self._free(digest)
        if found is None or found.tags:
            return
        try:
            # The index may not have heard of a tag yet; then what belongs to the child stays as well.
            manifests.check_not_fixed(self.content, self.home.repository, Digest.parse(digest), _any_tag)
            self.delete(found, untagged=True)
        except RegistryError as error:
            if error.status != _STAYS:
                raise

    def _accessory(self, accessory: Accessory) -> None:
        found = self._free(accessory.digest)
        if found is None:
            return
        tags = artifacts.tags(self.index, self.home, found.digest).entries
        attaching = {tag.name: relation.subject for tag in tags if (relation := kinds.attached(tag.name))}
        own = found.document["subject"] == accessory.subject
        if own or set(attaching.values()) <= {accessory.subject}:
            self.delete(found)
            return
        for name in (name for name, subject in attaching.items() if subject == accessory.subject):
            self._tag(Tag(name))

    def _free(self, digest: str) -> Artifact | None:
        """Return an artifact of the repository that no index needs, or None."""
        found = artifacts.find(self.index, self.home, digest)
        return found if found and not artifacts.has_parents(self.index, self.home, digest) else None

    def _manifest(self, digest: Digest, why: Doom, fixed: IsFixed | None) -> bool:
        there = _is_there(lambda: manifests.delete(self.content, self.home.repository, digest, fixed, why))
        self.tell(digest)
        return there

    def _tag(self, tag: Tag) -> None:
        if self.fixed and self.fixed(tag):
            return
        _is_there(lambda: manifests.delete_tag(self.content, self.home.repository, tag))
        self.tell(tag)


def _any_tag(tag: Tag) -> bool:  # noqa: ARG001 - a test of tags has it
    return True


def _is_there(delete: Callable[[], None]) -> bool:
    """Delete something and tell whether it was there."""
    try:
        delete()
    except RegistryError as error:
        if error.code is not ErrorCode.MANIFEST_UNKNOWN:
            raise
        return False
    return True
