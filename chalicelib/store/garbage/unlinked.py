"""Collecting bytes that no repository holds: index entries without links, and then what they lead to.

An entry is deleted before its bytes, on the condition that it is what was seen: nobody comes to the bytes after that.
What is to be deleted is written down first (`Dying`), so that who goes on after a crash knows the bytes as well.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import orjson

from chalicelib.store import layout, listings
from chalicelib.store.blobs import Blob, blob_of
from chalicelib.store.content import Content
from chalicelib.store.garbage.seen import Seen
from chalicelib.store.objects import Entry

# As many as a step finds before it deletes them.
MOST = 20_000


@dataclass(frozen=True, slots=True)
class Dying:
    """An entry as it was seen, and the bytes that it leads to."""

    entry: str
    etag: str
    blob: Blob


def find(content: Content, linked: Seen, before: datetime, after: str) -> tuple[tuple[Dying, ...], str]:
    """Return entries that nothing links to, last written `before`, and where to go on, "" at the end."""
    found: list[Dying] = []
    for page in listings.pages(content.objects, layout.BLOBS, after=after):
        old = [entry for entry in page if entry.modified < before and layout.hex_of(entry.key) not in linked]
        found += (dying for dying in content.together(partial(_dying, content), old) if dying)
        if len(found) >= MOST:
            return tuple(found), page[-1].key
    return tuple(found), ""


def _dying(content: Content, entry: Entry) -> Dying | None:
    found = content.objects.get(entry.key)
    blob = blob_of(found)
    return Dying(entry.key, entry.etag, blob) if blob and found and found.head.etag == entry.etag else None


def bury(content: Content, dying: Iterable[Dying]) -> tuple[Blob, ...]:
    """Delete entries that are still what they were, and their bytes; return the blobs that are gone."""
    every = tuple(dying)
    gone = content.together(partial(_buried, content), every)
    blobs = tuple(each.blob for each, is_gone in zip(every, gone, strict=True) if is_gone)
    content.objects.delete(*(blob.key for blob in blobs))
    return blobs


def _buried(content: Content, dying: Dying) -> bool:
    """Tell whether nothing leads to the bytes any more."""
    if content.drop(dying.entry, dying.etag):
        return True
    # It is in use again; or it is gone since an earlier attempt, and another upload may have taken its place.
    now = blob_of(content.objects.get(dying.entry))
    return now is None or now.key != dying.blob.key


def pack(dying: Iterable[Dying]) -> bytes:
    """Return what is to be deleted as bytes, for `unpack`."""
    return orjson.dumps([[each.entry, each.etag, *each.blob] for each in dying])


def unpack(packed: bytes) -> tuple[Dying, ...]:
    """Return what was packed."""
    return tuple(Dying(entry, etag, Blob(key, size)) for entry, etag, key, size in orjson.loads(packed))
