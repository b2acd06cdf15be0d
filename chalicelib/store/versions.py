"""Past versions of objects: as S3 lists them, and of tags where the bucket keeps none.

A versioned bucket costs nothing here: `every_version` reads what S3 tells. In any other bucket `Keeper` copies a
tag's object to `history/` before it is replaced or deleted (docs/decisions/007).

Invariants of the copies:
* Each version of a tag has an id of its own in its metadata. Ids of a tag rise, also where a clock goes back.
* A copy is made before its version ends, and the version ends only if it is still the one that was copied: none is
  lost to a crash or to another writer. A copy of the version that is there now has no meaning yet.
* The copy says how the version ended: replaced by the next, or deleted at the time of the copy.
  Of two writers who end it at one moment, the word of either may stay.
* The last `LAST` copies of a tag stay, and for a while some more.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.store import layout, listings
from chalicelib.store.connections import Answer
from chalicelib.store.objects import (
    KEPT,
    VERSION,
    ConditionFailedError,
    Entry,
    Head,
    Object,
    ObjectStore,
    Version,
    is_given,
)

LAST = 50
# One copy in sixteen, by the digit that ends its version, has what is beyond the last ones deleted: listing them at
# every write would take longer than the write.
_TIDY = "0"
_ENDED = "ended"
_REPLACED, _DELETED = "replaced", "deleted"
_DELETION = "-deleted"
# More writers of one tag at one moment than this are told to try again.
_ATTEMPTS = 32

# Writes the object with this version in its metadata, over the one with this entity tag or over nothing ("").
Write = Callable[[str, str], str]
# Deletes the object if it has this entity tag.
Drop = Callable[[str], None]


def every_version(ask: Callable[[Mapping[str, str]], Answer | None], key: str) -> tuple[Version, ...]:
    """Return what S3 lists of a key, the newest first; `ask` sends a request to the bucket with a query.

    The order is that of S3's document, not of the times: they are whole seconds on AWS, and boto3, which parts
    versions from deletions, loses it.
    """
    query = {"versions": "", "prefix": key}
    found: list[Version] = []
    while answer := ask(query):
        page = ET.fromstring(answer.content)  # noqa: S314 - S3 wrote it, asked with this process's credentials
        # Longer keys have the prefix as well. They follow.
        elements = (each for each in page if _name(each) in ("Version", "DeleteMarker"))
        found += (_version(each) for each in elements if _text(each, "Key") == key)
        if _text(page, "IsTruncated") != "true" or _text(page, "NextKeyMarker") != key:
            break
        query |= {"key-marker": key, "version-id-marker": _text(page, "NextVersionIdMarker")}
    return tuple(found)


def _version(element: ET.Element) -> Version:
    return Version(
        id=_text(element, "VersionId"),
        modified=datetime.fromisoformat(_text(element, "LastModified")),
        size=int(_text(element, "Size") or 0),
        etag=_text(element, "ETag"),
        deleted=_name(element) == "DeleteMarker",
        latest=_text(element, "IsLatest") == "true",
    )


def _name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _text(element: ET.Element, name: str) -> str:
    return next((child.text or "" for child in element if _name(child) == name), "")


@dataclass(frozen=True, slots=True)
class Keeper:
    """Keeps the versions of tags in a bucket that does not."""

    objects: ObjectStore
    now: Callable[[], datetime]

    def put(self, key: str, write: Write, *, if_absent: bool, if_match: str) -> str:
        """Write a tag and return its entity tag; raise ConditionFailedError."""
        if if_absent:
            return write(self._next(key, None), "")
        for _ in range(_ATTEMPTS):
            found = self._copy(key, _REPLACED)
            etag = found.head.etag if found else ""
            if if_match and if_match != etag:
                raise ConditionFailedError
            try:
                return write(self._next(key, found), etag)
            except ConditionFailedError:
                if if_match:
                    raise
        raise _contended()

    def delete(self, key: str, drop: Drop) -> None:
        """Delete a tag; an absent one is no error."""
        for _ in range(_ATTEMPTS):
            found = self._copy(key, _DELETED)
            if found is None:
                return
            with suppress(ConditionFailedError):
                drop(found.head.etag)
                return
        raise _contended()

    def delete_if(self, key: str, etag: str, drop: Drop) -> None:
        """Delete a tag that still has this entity tag; raise ConditionFailedError."""
        found = self._copy(key, _DELETED)
        if found is None or found.head.etag != etag:
            raise ConditionFailedError
        drop(etag)

    def get(self, key: str, version: str) -> Object | None:
        """Return a version of a tag, or None."""
        # In this order: a version that ends in between has its copy already.
        found = self.objects.get(key)
        if found is not None and self._id(key, found.head) == version:
            return found
        return self.objects.get(layout.kept(key) + version)

    def versions(self, key: str) -> tuple[Version, ...]:
        """Return the versions of a tag, the newest first."""
        # In this order: what is replaced in between has its copy in the listing, and is not counted twice.
        head = self.objects.head(key)
        current = self._id(key, head) if head else ""
        found = [Version(current, _since(current), head.size, head.etag, False, True)] if head else []
        for entry in reversed(tuple(self._copies(key))[-LAST:]):
            name = entry.key.removeprefix(layout.kept(key))
            copy = self.objects.head(entry.key) if not current or name < current else None
            if copy is None:
                continue
            if copy.metadata.get(_ENDED) == _DELETED:
                found.append(Version(name + _DELETION, entry.modified, 0, "", True, not found))
            found.append(Version(name, _since(name), copy.size, copy.etag, False, False))
        return tuple(found)

    def _copy(self, key: str, ended: str) -> Object | None:
        """Return what is at `key`, after it was copied; S3 keeps by itself what has a version of its own."""
        found = self.objects.get(key)
        if found is None or is_given(found.head.version):
            return found
        name = self._id(key, found.head)
        self.objects.put(
            layout.kept(key) + name,
            found.content,
            content_type=found.head.content_type,
            metadata={**found.head.metadata, VERSION: name, _ENDED: ended},
        )
        if name.endswith(_TIDY):
            self.objects.delete(*(entry.key for entry in tuple(self._copies(key))[:-LAST]))
        return found

    def _copies(self, key: str) -> Iterator[Entry]:
        """Return the copies of a tag's versions, one by one, the oldest first."""
        return listings.below(self.objects, layout.kept(key))

    def _id(self, key: str, head: Head) -> str:
        """Return the id of the version that is at `key`; one from before ids were given goes by its time."""
        if head.version:
            return head.version
        entries = [entry for entry in self.objects.list(key, limit=1).entries if entry.key == key]
        moment = entries[0].modified if entries else self.now()
        return _named(int(moment.timestamp() * 1000), head.etag.strip('"')[:8])

    def _next(self, key: str, found: Object | None) -> str:
        """Return the id of a version that follows what was found at `key`, or the last that was there before."""
        if found:
            previous = self._id(key, found.head)
        else:
            previous = max((entry.key.removeprefix(layout.kept(key)) for entry in self._copies(key)), default="")
        after = _milliseconds(previous) + 1 if previous.startswith(KEPT) else 0
        return _named(max(int(self.now().timestamp() * 1000), after), secrets.token_hex(4))


def _named(milliseconds: int, text: str) -> str:
    return f"{KEPT}{milliseconds:014}-{text}"


def _milliseconds(version: str) -> int:
    return int(version.removeprefix(KEPT).partition("-")[0])


def _since(version: str) -> datetime:
    return datetime.fromtimestamp(_milliseconds(version) / 1000, UTC)


def _contended() -> RegistryError:
    return RegistryError(ErrorCode.UNAVAILABLE, headers={"Retry-After": "1"})
