"""A bucket of any number of images that keeps nothing of them: what is listed or read is made up when asked for.

* A repository has a thousand images, each with a config and two layers of its own; a tenth of them were deleted.
* Deletions are counted and forgotten. What the collector remembers for itself from step to step is kept.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

import orjson

from chalicelib.oci.digests import Digest
from chalicelib.oci.names import Repository
from chalicelib.oci.pages import LARGEST, Page
from chalicelib.store import layout
from chalicelib.store.condemned import CONDEMNED, Doom
from chalicelib.store.objects import NO_METADATA, OCTETS, Entry, Head, Object
from tests.memory import MemoryObjects
from tests.store.client import image

EACH, BLOBS, GARBAGE = 1000, 3, 10
_MARK = b"m" * 32
_TAG = '"of anything"'


class _Stored(NamedTuple):
    content: bytes
    media_type: str
    deleted: bool


class SimulatedObjects(MemoryObjects):
    """As many images as are asked for."""

    def __init__(self, now: Callable[[], datetime], images: int) -> None:
        super().__init__(now)
        self.counted: Counter[str] = Counter()
        self._images = images
        self._long_ago = now() - timedelta(days=1)

    def list(self, prefix: str, *, after: str = "", limit: int = LARGEST) -> Page[Entry]:
        """List what would be there."""
        self.counted["list"] += 1
        if prefix == layout.REPOSITORIES:
            number = _repository_of(after) + 1 if after else 0
            there = number < self._images // EACH
            return Page((self._entry(f"{layout.REPOSITORIES}{_name(number)}/_blobs/x"),) if there else (), more=there)
        if prefix == layout.BLOBS:
            return self._numbered(prefix, 0, self._images * BLOBS, after, limit)
        if prefix.endswith("/_blobs/"):
            first = _repository_of(prefix) * EACH * BLOBS
            return self._numbered(prefix, first, first + EACH * BLOBS, after, limit)
        if prefix.endswith("/_manifests/"):
            keys = list(_manifests(_repository_of(prefix)))
            start = bisect_right(keys, after)
            shown = keys[start : start + limit]
            return Page(tuple(map(self._entry, shown)), start + limit < len(keys))
        return super().list(prefix, after=after, limit=limit)

    def _numbered(self, prefix: str, first: int, end: int, after: str, limit: int) -> Page[Entry]:
        start = int(layout.hex_of(after), 16) + 1 if after else first
        numbers = range(start, min(start + limit, end))
        return Page(tuple(self._entry(f"{prefix}sha256/{number:064x}") for number in numbers), start + limit < end)

    def _entry(self, key: str) -> Entry:
        return Entry(key, 1, self._long_ago, _TAG)

    def get(self, key: str, version: str = "") -> Object | None:
        """Read what would be there."""
        self.counted["get"] += 1
        if "/_manifests/" in key:
            found = _manifests(_repository_of(key))[key]
            metadata = {CONDEMNED: str(Doom.DELETED)} if found.deleted else NO_METADATA
            content = _MARK + found.content if found.deleted else found.content
            return Object(Head(len(content), _TAG, found.media_type, metadata), content)
        if key.startswith(layout.BLOBS):
            content = orjson.dumps({"key": layout.data(layout.hex_of(key)), "size": 10})
            return Object(Head(len(content), _TAG, OCTETS, NO_METADATA), content)
        return super().get(key, version)

    def put(
        self,
        key: str,
        content: bytes,
        *,
        content_type: str = OCTETS,
        metadata: Mapping[str, str] = NO_METADATA,
        if_absent: bool = False,
        if_match: str = "",
    ) -> str:
        """Keep what goes from step to step, and nothing else."""
        self.counted["put"] += 1
        if key.startswith(layout.NEEDS):
            return _TAG
        return super().put(
            key,
            content,
            content_type=content_type,
            metadata=metadata,
            if_absent=if_absent,
            if_match=if_match,
        )

    def delete_if(self, key: str, etag: str) -> None:
        """Count it."""
        assert (key.partition("/")[0] + "/", etag) in {(layout.REPOSITORIES, _TAG), (layout.BLOBS, _TAG)}
        self.counted["delete_if"] += 1

    def delete(self, *keys: str) -> None:
        """Count it in thousands."""
        self.counted["delete"] += -(-len(keys) // LARGEST)
        super().delete(*(key for key in keys if not key.startswith(layout.DATA)))


def _name(number: int) -> str:
    return f"library/r{number:05}"


def _repository_of(key: str) -> int:
    return int(layout.repository_name(key).removeprefix("library/r"))


@lru_cache(maxsize=2)
def _manifests(repository: int) -> Mapping[str, _Stored]:
    return dict(sorted(_made(repository)))


def _made(repository: int) -> Iterator[tuple[str, _Stored]]:
    for number in range(EACH):
        first = (repository * EACH + number) * BLOBS
        document = image(b"{}")
        named = orjson.loads(document.content)
        named["config"]["digest"], *layers = (f"sha256:{blob:064x}" for blob in range(first, first + BLOBS))
        named["layers"] = [{**named["config"], "digest": layer} for layer in layers]
        content = orjson.dumps(named)
        key = layout.manifest(Repository(_name(repository)), Digest.of(content))
        yield key, _Stored(content, document.media_type, number % GARBAGE == 0)
