"""From where a pull is answered: from this region's bucket or, in a copy that lacks something, from the primary's.

Invariants:
* The primary reads its own bucket alone, and a registry in one region does not even ask what it is.
* A copy says that something does not exist only where the primary's bucket says so too.
* What comes from the other bucket is bound by the same rules: a blob by its link, a manifest by its digest.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import RegistryError
from chalicelib.oci.names import Repository
from chalicelib.services import Locate, Services
from chalicelib.store import blobs
from chalicelib.store.blobs import Blob
from chalicelib.store.content import Content

T = TypeVar("T")
_ABSENT = 404


class Source(NamedTuple):
    """Where something was found: how clients reach it there, and whether that is this region's bucket."""

    locate: Locate
    here: bool = True


def own(services: Services) -> Source:
    """Return this region's bucket."""
    return Source(services.locate)


def is_copy(services: Services) -> bool:
    """Tell whether another region is the primary: then a pull changes nothing here."""
    return services.region is not None and services.region.is_copy


def read(services: Services, do: Callable[[Content], T], what: object) -> tuple[T, Source]:
    """Return what a bucket has, and which; raise as `do` does, or UNAVAILABLE where the primary does not answer."""
    try:
        return do(services.content), own(services)
    except RegistryError as error:
        if error.status != _ABSENT or services.region is None or not services.region.is_copy:
            raise
        region = services.region
    found = region.elsewhere(do, what)
    return found, Source(lambda method, key, _: region.address(method, key), here=False)


def blob(services: Services, repository: Repository, digest: Digest) -> tuple[Blob, Source]:
    """Return a blob that the repository holds, and where its bytes are; raise as `read` does."""
    found, source = read(services, lambda content: blobs.require(content, repository, digest), digest)
    # The link may be what has not arrived, or lead to other bytes than the one that is here still.
    if not source.here and services.content.has(found.key):
        return found, own(services)
    return found, source
