"""Pagination: `n` and `last` in, a page and its `Link` out.

Invariants:
* `n` is a whole number of at least zero; more than `LARGEST` is cut to it, and a Link leads on.
* A Link is given exactly where more entries exist and the caller did not ask for none.

Specification: OCI Distribution 1.1, "Listing Tags" (end-8b) and RFC 8288.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Generic, NamedTuple, TypeVar
from urllib.parse import urlencode

from chalicelib.oci.errors import ErrorCode, RegistryError

LARGEST = 1000
# Every name, tag and digest of a listing; the entry itself may be gone by now.
_LAST = re.compile(r"[A-Za-z0-9._/-]{0,255}", re.ASCII)
T = TypeVar("T")


class Page(NamedTuple, Generic[T]):
    """A part of a listing, and whether more follows it."""

    entries: tuple[T, ...]
    more: bool


class PageRequest(NamedTuple):
    """How many entries are wanted, and after which one."""

    size: int = LARGEST
    last: str = ""

    @classmethod
    def parse(cls, query: Mapping[str, Sequence[str]]) -> "PageRequest":
        """Return what `n` and `last` ask for; raise UNSUPPORTED (400) where they are no number and no name."""
        text = (query.get("n") or [""])[0]
        if text and not (text.isascii() and text.isdecimal()):
            raise RegistryError(ErrorCode.UNSUPPORTED, "n is the number of entries wanted: 0 or more", status=400)
        last = (query.get("last") or [""])[0]
        if not _LAST.fullmatch(last):
            raise RegistryError(
                ErrorCode.UNSUPPORTED, "last is the last entry of the page before: a name or a tag", status=400
            )
        # int() of a huge number takes quadratic time; five digits are beyond LARGEST anyway.
        size = min(int(text[:5]), LARGEST) if text else LARGEST
        return cls(size, last)


def next_link(path: str, query: Mapping[str, object]) -> Mapping[str, str]:
    """Return the `Link` header that leads to the next page."""
    return {"Link": f'<{path}?{urlencode(query)}>; rel="next"'}


def page_link(path: str, request: PageRequest, page: Page[str]) -> Mapping[str, str]:
    """Return the `Link` header that leads to the page after `page`, or no header where nothing follows."""
    if not (page.more and page.entries):
        return {}
    return next_link(path, {"n": request.size, "last": page.entries[-1]})
