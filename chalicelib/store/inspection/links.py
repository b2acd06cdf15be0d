"""Looking at the links of a repository: do they lead to bytes, are those whole, and does the index know them.

A link is never deleted: a manifest may need it. One that leads nowhere is led to equal bytes, if the index of blobs
has them; the repository holds the blob already, so nobody gets what was not theirs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import accumulate
from types import MappingProxyType

from chalicelib.oci.digests import Digest
from chalicelib.oci.names import Repository
from chalicelib.policy.damage import Damage
from chalicelib.store import blobs, layout
from chalicelib.store.blobs import Blob
from chalicelib.store.inspection import Inspection, State, blob_in, digest_of, state, stays
from chalicelib.store.objects import Entry, Object

_PAGE = 200
# What is read before there is a look at the time.
_BYTES = 1 << 30

_DAMAGES: Mapping[State, Damage] = MappingProxyType(
    {
        State.UNREADABLE: Damage.LINK_DAMAGED,
        State.MISSING: Damage.BLOB_MISSING,
        State.DAMAGED: Damage.BLOB_DAMAGED,
    }
)


@dataclass(frozen=True, slots=True)
class Page:
    """What a part of the links came to: how many, which blobs cannot be pulled, where to go on ("" at the end)."""

    blobs: int
    bad: tuple[str, ...]
    after: str


@dataclass(frozen=True, slots=True)
class _Link:
    repository: Repository
    digest: Digest
    key: str
    etag: str
    modified: datetime
    blob: Blob | None


def page(inspection: Inspection, repository: Repository, after: str) -> Page:
    """Look at some of the links that follow `after`."""
    content = inspection.content
    listed = content.objects.list(layout.links(repository), after=after, limit=_PAGE)
    found = content.together(content.objects.get, [entry.key for entry in listed.entries])
    links = [_link(inspection, repository, entry, each) for entry, each in zip(listed.entries, found, strict=True)]
    number = _affordable(inspection, links)
    some = [link for link in links[:number] if link]
    states = content.together(partial(_state, inspection), some)
    bad = [str(link.digest) for link, each in zip(some, states, strict=True) if _is_bad(inspection, link, each)]
    _entries(inspection, [link for link, each in zip(some, states, strict=True) if each is State.WHOLE])
    more = listed.more or number < len(links)
    return Page(len(some), tuple(bad), listed.entries[number - 1].key if more else "")


def _link(inspection: Inspection, repository: Repository, entry: Entry, found: Object | None) -> _Link | None:
    if found is None:
        return None
    digest = digest_of(layout.link_digest(repository, entry.key))
    if digest is None:
        inspection.found(Damage.NAME_UNKNOWN, str(repository), (entry.key,))
        return None
    blob = blob_in(found)
    if blob:
        inspection.seen.add(blob.key)
    return _Link(repository, digest, entry.key, found.head.etag, entry.modified, blob)


def _affordable(inspection: Inspection, links: Iterable[_Link | None]) -> int:
    """Return of how many links the bytes can be read at once; of one at least."""
    sizes = [_cost(inspection, link) for link in links]
    return max(1, sum(total <= _BYTES for total in accumulate(sizes)))


def _cost(inspection: Inspection, link: _Link | None) -> int:
    return link.blob.size if link and link.blob and inspection.is_sampled(link.digest) else 0


def _state(inspection: Inspection, link: _Link) -> State:
    if link.blob and is_known_whole(inspection, link.digest, link.blob):
        return State.WHOLE
    return state(inspection.content, link.digest, link.blob, read=inspection.is_sampled(link.digest))


def _is_bad(inspection: Inspection, link: _Link, found: State) -> bool:
    """Tell of what is wrong with a link; return whether its blob cannot be pulled."""
    if found is State.WHOLE:
        if link.blob:
            inspection.seen.add(_whole(link.digest, link.blob))
        return False
    if found is State.DAMAGED and link.blob:
        inspection.seen.add(damaged(link.blob))
    if not stays(inspection.content, link.key, link.etag):
        return False
    mend = partial(_relinked, inspection, link)
    return not inspection.found(_DAMAGES[found], str(link.repository), (str(link.digest),), mend)


def _whole(digest: Digest, blob: Blob) -> str:
    return f"whole {digest} {blob.key} {blob.size}"


def is_known_whole(inspection: Inspection, digest: Digest, blob: Blob) -> bool:
    """Tell whether a link was seen that leads to these bytes, and they were whole."""
    return _whole(digest, blob) in inspection.seen


def damaged(blob: Blob) -> str:
    """Return under what bytes are remembered that are not those of their digest."""
    return f"damaged {blob.key}"


def _relinked(inspection: Inspection, link: _Link) -> bool:
    """Let a link lead to where the index has equal bytes; tell whether it has any."""
    content = inspection.content
    blob = blob_in(content.objects.get(layout.blob(link.digest)))
    if blob is None or blob == link.blob or state(content, link.digest, blob, read=True) is not State.WHOLE:
        return False
    inspection.seen.add(blob.key)
    return blobs.relink(content, link.repository, link.digest, link.etag) == blob


def _entries(inspection: Inspection, links: Iterable[_Link]) -> None:
    """Look whether the index of blobs has the digests of links that are whole; an entry is written before a link."""
    content = inspection.content
    old = [link for link in links if link.modified < inspection.before]
    heads = content.together(content.objects.head, [layout.blob(link.digest) for link in old])
    for link, head in zip(old, heads, strict=True):
        if head is None and stays(content, link.key, link.etag):
            mend = partial(_entered, inspection, link)
            inspection.found(Damage.LINK_WITHOUT_ENTRY, str(link.repository), (str(link.digest),), mend)


def _entered(inspection: Inspection, link: _Link) -> bool:
    whole = state(inspection.content, link.digest, link.blob, read=True) is State.WHOLE
    return whole and link.blob is not None and blobs.enter(inspection.content, link.digest, link.blob)
