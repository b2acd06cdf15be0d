"""The makes of registries that can be spoken to, and what differs between them: a table.

Invariants:
* What is not in a row is as the distribution specification says; no make has code of its own that a row could say.
* A make that is not known is refused where it is chosen.

The names are Harbor's (`src/pkg/reg/model`), so are the default addresses.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from urllib.parse import urlsplit


class Listing(StrEnum):
    """How the repositories are listed."""

    CATALOG = "catalog"
    HARBOR = "harbor"
    HUB = "hub"
    ECR = "ecr"
    # Nobody tells: repositories have to be named.
    NONE = "none"


class Deletion(StrEnum):
    """How a tag is deleted without the manifest that it names."""

    # DELETE of the manifest by the tag (OCI Distribution 1.1, end-9).
    BY_TAG = "by-tag"
    HARBOR = "harbor"
    HUB = "hub"
    ECR = "ecr"
    ACR = "acr"
    NONE = "none"


class Login(StrEnum):
    """What the credential is."""

    # What the registry or its token service takes.
    DIRECT = "direct"
    # An AWS access key, for which ECR gives a password of hours.
    ECR = "ecr"


class Creation(StrEnum):
    """What must exist before a push."""

    NOTHING = "nothing"
    PROJECT = "project"
    REPOSITORY = "repository"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address that is offered for a make."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Adapter:
    """One make of registries."""

    name: str
    endpoints: tuple[Endpoint, ...] = ()
    # The addresses offered are the only ones.
    fixed: bool = False
    listing: Listing = Listing.CATALOG
    # How many parts a repository's name must have and may have (0: any number).
    fewest_parts: int = 1
    most_parts: int = 0
    deletion: Deletion = Deletion.BY_TAG
    # Manifests are deleted by their tags alone.
    deletes_by_digest: bool = True
    # A blob may be sent in several requests.
    chunks: bool = False
    login: Login = Login.DIRECT
    creation: Creation = Creation.NOTHING
    # The hosts of addresses, and where their registry is.
    hosts: Mapping[str, str] = field(default_factory=dict)

    def registry(self, url: str) -> str:
        """Return where the registry itself is, without its `/v2/`."""
        base = url.strip().rstrip("/").removesuffix("/v2").rstrip("/")
        return self.hosts.get(urlsplit(base).hostname or "", base)


_HUB = "https://registry-1.docker.io"
_ROWS = (
    Adapter(
        "harbor",
        listing=Listing.HARBOR,
        fewest_parts=2,
        deletion=Deletion.HARBOR,
        chunks=True,
        creation=Creation.PROJECT,
    ),
    Adapter(
        "docker-hub",
        endpoints=(Endpoint("hub.docker.com", "https://hub.docker.com"),),
        fixed=True,
        listing=Listing.HUB,
        fewest_parts=2,
        most_parts=2,
        deletion=Deletion.HUB,
        deletes_by_digest=False,
        hosts=MappingProxyType(dict.fromkeys(("hub.docker.com", "docker.io", "index.docker.io"), _HUB)),
    ),
    Adapter("docker-registry", chunks=True),
)
ADAPTERS: Mapping[str, Adapter] = MappingProxyType({each.name: each for each in _ROWS})


def find(name: str) -> Adapter:
    """Return the make of this name; one that is not known is a plain registry of the specification."""
    return ADAPTERS.get(name, ADAPTERS["docker-registry"])
