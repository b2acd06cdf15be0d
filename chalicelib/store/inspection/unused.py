"""Looking at the index of blobs, and at bytes that nothing leads to: neither a link nor an entry.

Only after the links of all repositories: what they lead to is in `Inspection.seen` by then.

Bytes without a way to them are of uploads that crashed, or of entries that were lost. They are read: if the index has
others of that digest, which are whole, they are garbage; if not, they are entered, for links that lost theirs. The
collector takes what nobody needs. What is younger than an upload lives, or has an upload's state, is left alone.
"""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial

from chalicelib.oci.digests import CANONICAL, HEX_LENGTH, Digest, hasher
from chalicelib.policy.damage import Damage
from chalicelib.store import blobs, layout
from chalicelib.store.blobs import Blob
from chalicelib.store.inspection import Inspection, State, blob_in, digest_of, state, stays
from chalicelib.store.inspection.links import damaged, is_known_whole
from chalicelib.store.objects import Entry, Object

# An upload lives for a day after its last answer.
UPLOAD = timedelta(hours=25)
_PAGE = 200
_READ = 20


def entries(inspection: Inspection, after: str) -> str:
    """Look at a page of the index of blobs; return where to go on, "" at the end."""
    content = inspection.content
    page = content.objects.list(layout.BLOBS, after=after, limit=_PAGE)
    found = content.together(content.objects.get, [entry.key for entry in page.entries])
    pairs = [(entry, each) for entry, each in zip(page.entries, found, strict=True) if each]
    states = content.together(lambda pair: _state(inspection, *pair), pairs)
    for (entry, each), what in zip(pairs, states, strict=True):
        _entry(inspection, entry, each, what)
    return page.entries[-1].key if page.more else ""


def _state(inspection: Inspection, entry: Entry, found: Object) -> State:
    digest, blob = digest_of(layout.blob_digest(entry.key)), blob_in(found)
    if digest is None or (blob and is_known_whole(inspection, digest, blob)):
        return State.WHOLE
    # Bytes that a link leads to were read with it, or are not in the sample.
    read = blob is not None and damaged(blob) in inspection.seen
    unlinked = blob is not None and blob.key not in inspection.seen
    return state(inspection.content, digest, blob, read=read or (unlinked and inspection.is_sampled(digest)))


def _entry(inspection: Inspection, entry: Entry, found: Object, what: State) -> None:
    blob = blob_in(found)
    if digest_of(layout.blob_digest(entry.key)) is None:
        inspection.found(Damage.NAME_UNKNOWN, layout.BLOBS, (entry.key,))
        return
    if not _is_told(inspection, entry, found, what) and blob:
        inspection.seen.add(blob.key)


def _is_told(inspection: Inspection, entry: Entry, found: Object, what: State) -> bool:
    """Tell of an entry that is wrong; return whether it is gone, so that its bytes are looked at by themselves."""
    if what is State.WHOLE or entry.modified >= inspection.before:
        return False
    if not stays(inspection.content, entry.key, found.head.etag):
        return False
    kind = Damage.ENTRY_DAMAGED if what is State.DAMAGED else Damage.ENTRY_BROKEN
    mend = partial(inspection.content.drop, entry.key, found.head.etag)
    return inspection.found(kind, layout.BLOBS, (layout.blob_digest(entry.key),), mend)


def data(inspection: Inspection, after: str, young: timedelta = UPLOAD) -> str:
    """Look at some of the bytes that are no longer `young`; return where to go on, "" at the end."""
    content = inspection.content
    page = content.objects.list(layout.DATA, after=after, limit=1000)
    before = min(inspection.before, content.now() - young)
    read = 0
    for entry in page.entries:
        if entry.modified >= before or entry.key in inspection.seen:
            continue
        if content.objects.head(layout.upload(layout.upload_id(entry.key))) is None:
            _unused(inspection, entry)
            read += 1
        if read == _READ:
            return entry.key
    return page.entries[-1].key if page.more else ""


def _unused(inspection: Inspection, entry: Entry) -> None:
    """Look at bytes that nothing led to when the links and the index were read."""
    content = inspection.content
    digests = _digests(inspection, entry.key)
    found = {digest: content.objects.get(layout.blob(digest)) for digest in digests}
    known = {digest: blob_in(each) for digest, each in found.items()}
    if not digests or any(blob and blob.key == entry.key for blob in known.values()):
        return
    elsewhere = any(_is_whole(inspection, digest, blob) for digest, blob in known.items())
    if elsewhere:
        mend = partial(inspection.content.drop, entry.key, entry.etag)
        inspection.found(Damage.BYTES_SUPERFLUOUS, layout.DATA, (entry.key,), mend)
        return
    mend = partial(_entered, inspection, Blob(entry.key, entry.size), found)
    inspection.found(Damage.BYTES_UNKNOWN, layout.DATA, (entry.key, *map(str, digests[:1])), mend)


def _digests(inspection: Inspection, key: str) -> tuple[Digest, ...]:
    """Return the digests of bytes, the usual one first; none where they are gone."""
    hashes = {algorithm: hasher(algorithm) for algorithm in HEX_LENGTH}
    try:
        for piece in inspection.content.objects.read(key):
            for each in hashes.values():
                each.update(piece)
    except LookupError:
        return ()
    return tuple(Digest(algorithm, each.hexdigest()) for algorithm, each in hashes.items())


def _is_whole(inspection: Inspection, digest: Digest, blob: Blob | None) -> bool:
    return blob is not None and state(inspection.content, digest, blob, read=True) is State.WHOLE


def _entered(inspection: Inspection, blob: Blob, found: Mapping[Digest, Object | None]) -> bool:
    """Enter bytes under each digest of which there is an entry that leads nowhere, or else under the usual one."""
    stale = {digest: each for digest, each in found.items() if each}
    usual = {digest: None for digest in found if digest.algorithm == CANONICAL}
    return all(
        blobs.enter(inspection.content, digest, blob, each.head.etag if each else "")
        for digest, each in (stale or usual).items()
    )
