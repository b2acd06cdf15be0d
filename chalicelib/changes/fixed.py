"""What a project's immutability rules forbid: tags that are fixed once they name something.

Invariant: a project without rules costs a push and a deletion nothing, and one with rules only where they hold.
"""

from collections.abc import Iterable
from functools import partial

from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.names import Repository, Tag
from chalicelib.policy import immutability
from chalicelib.policy.immutability import Rule
from chalicelib.store import layout, listings
from chalicelib.store.content import Content
from chalicelib.store.directory import immutable_rules
from chalicelib.store.directory.projects import Project
from chalicelib.store.index import Index
from chalicelib.store.manifests import IsFixed, refusal_for
from chalicelib.store.usage import counting


def test(project: Project, repository: Repository) -> IsFixed | None:
    """Return the test whether a tag of a project's repository is immutable; None where none can be."""
    rules = immutable_rules.of(project)
    return partial(_is_fixed, rules, repository.name.partition("/")[2]) if rules else None


def _is_fixed(rules: Iterable[Rule], repository: str, tag: Tag) -> bool:
    return immutability.is_immutable(rules, repository, tag.name)


def among(project: Project, repository: Repository, tags: Iterable[Tag]) -> frozenset[Tag]:
    """Return those of the tags that are immutable."""
    is_fixed = test(project, repository)
    return frozenset(filter(is_fixed, tags)) if is_fixed else frozenset()


def check_may_go(project: Project, repository: Repository, tag: Tag) -> None:
    """Raise DENIED (412) where a tag cannot be deleted."""
    _check_none(test(project, repository), repository, [tag])


def _check_none(is_fixed: IsFixed | None, repository: Repository, tags: Iterable[Tag]) -> None:
    for tag in filter(is_fixed, tags) if is_fixed else ():
        message = f"{repository}:{tag} is configured as immutable, cannot be deleted: change the rule first"
        raise refusal_for(tag, message)


def check_blob_may_go(index: Index, project: Project, repository: Repository, digest: Digest) -> None:
    """Raise DENIED (412) where a manifest needs a blob, in a project with rules: an immutable tag may lead there."""
    if not immutable_rules.of(project):
        return
    needing = counting.manifests_holding(index, project.id, repository, str(digest))
    if needing:
        message = f"{needing[0]} needs the blob, and the project has immutable tags: delete the manifest first"
        raise RegistryError(ErrorCode.DENIED, message, status=412)


def check_may_be_emptied(content: Content, project: Project, repository: Repository) -> None:
    """Raise DENIED (412) where a repository has a tag that is immutable."""
    prefix = layout.tags(repository)
    names = (Tag(entry.key.removeprefix(prefix)) for entry in listings.below(content.objects, prefix))
    _check_none(test(project, repository), repository, names)
