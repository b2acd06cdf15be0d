"""The names of tags and repositories: S3's own listings, which are in the order that the specification asks for.

Specification: OCI Distribution 1.1, end-8; the catalog is Docker's.
"""

from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.names import Repository
from chalicelib.oci.pages import Page, PageRequest
from chalicelib.store import layout
from chalicelib.store.content import Content


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
