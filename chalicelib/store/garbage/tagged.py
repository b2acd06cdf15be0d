"""Which of many manifests a tag names: what `manifests.is_tagged` tells of one, in fewer requests."""

from collections.abc import Iterable

from chalicelib.oci.digests import Digest
from chalicelib.oci.names import Repository, Tag
from chalicelib.store import layout, manifests
from chalicelib.store.ahead import Ahead
from chalicelib.store.content import Content


def named(content: Content, repository: Repository, digests: Iterable[Digest]) -> frozenset[Digest]:
    """Return those of the manifests that a tag names; they come in the order of their keys."""
    hints = Ahead(content, layout.all_tagged(repository))
    found: set[Digest] = set()
    to_ask: list[tuple[Digest, Tag]] = []
    for digest in digests:
        prefix = layout.tagged(repository, digest)
        below = hints.below(prefix)
        if not below.more:
            to_ask += ((digest, Tag(key.removeprefix(prefix))) for key in below.keys)
        elif manifests.is_tagged(content, repository, digest):
            found.add(digest)
    heads = content.together(content.objects.head, [layout.tag(repository, tag) for _, tag in to_ask])
    found.update(
        digest
        for (digest, _), head in zip(to_ask, heads, strict=True)
        if head is not None and manifests.is_naming(head, digest)
    )
    return frozenset(found)
