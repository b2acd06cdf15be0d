"""S3's own listings, from page to page; and the names of tags and repositories, which they have in the right order.

Specification: OCI Distribution 1.1, end-8; the catalog is Docker's.
"""

from collections.abc import Iterator
from itertools import chain

from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.names import Repository
from chalicelib.oci.pages import LARGEST, Page, PageRequest
from chalicelib.store import layout
from chalicelib.store.content import Content
from chalicelib.store.objects import Entry, ObjectStore


def pages(objects: ObjectStore, prefix: str, *, after: str = "", limit: int = LARGEST) -> Iterator[tuple[Entry, ...]]:
    """Yield what is below a prefix and follows `after`, page by page; each is asked for when it is wanted."""
    while True:
        page = objects.list(prefix, after=after, limit=limit)
        yield page.entries
        if not page.more:
            return
        after = page.entries[-1].key


def below(objects: ObjectStore, prefix: str) -> Iterator[Entry]:
    """Yield what is below a prefix, one by one."""
    return chain.from_iterable(pages(objects, prefix))


def tags(content: Content, repository: Repository, request: PageRequest) -> Page[str]:
    """Return a page of the repository's tags in byte order; raise NAME_UNKNOWN."""
    page = _names(content, layout.tags(repository), request)
    if not page.entries and content.objects.head(layout.catalog(repository)) is None:
        raise RegistryError(ErrorCode.NAME_UNKNOWN, detail={"name": repository.name})
    return page


def catalog(content: Content, request: PageRequest) -> Page[str]:
    """Return a page of the names of all repositories."""
    after = request.last.replace("/", "!")
    page = _names(content, layout.CATALOG, PageRequest(request.size, after))
    return Page(tuple(layout.catalog_name(key) for key in page.entries), page.more)


def _names(content: Content, prefix: str, request: PageRequest) -> Page[str]:
    if request.size == 0:
        return Page((), more=False)
    after = prefix + request.last if request.last else ""
    page = content.objects.list(prefix, after=after, limit=request.size)
    return Page(tuple(entry.key.removeprefix(prefix) for entry in page.entries), page.more)
