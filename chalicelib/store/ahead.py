"""Listings read ahead: for whoever wants to know of many keys, in their order, what is there.

Invariant: there is no more than one listing for each question, and often none: what the one before brought may do.
"""

from bisect import bisect_left
from dataclasses import dataclass

from chalicelib.oci.pages import LARGEST
from chalicelib.store.content import Content


@dataclass(frozen=True, slots=True)
class Below:
    """The keys that begin with what was asked for, the first thousand; `more` where there may be others."""

    keys: tuple[str, ...]
    more: bool


class Ahead:
    """What is below `root`, whose keys are in byte order on every engine (of one depth, and names of one length)."""

    def __init__(self, content: Content, root: str) -> None:
        self._content, self._root = content, root
        self._begin, self._keys, self._more = "", list[str](), False
        self._asked = False

    def below(self, prefix: str) -> Below:
        """Return what is below a prefix, which is not the root."""
        if not self._asked or prefix < self._begin or not self._reaches_past(prefix):
            self._list(prefix)
        start = bisect_left(self._keys, prefix)
        end = bisect_left(self._keys, True, lo=start, key=lambda key: not key.startswith(prefix))
        return Below(tuple(self._keys[start:end]), not self._reaches_past(prefix))

    def _reaches_past(self, prefix: str) -> bool:
        last = self._keys[-1] if self._keys else ""
        return not self._more or (last > prefix and not last.startswith(prefix))

    def _list(self, prefix: str) -> None:
        # Nothing has this name, file or folder: so every engine goes on with what the prefix is the beginning of.
        before = prefix.rstrip("/")[:-1]
        page = self._content.objects.list(self._root, after=before, limit=LARGEST)
        self._begin, self._asked = prefix, True
        self._keys, self._more = [entry.key for entry in page.entries], page.more
