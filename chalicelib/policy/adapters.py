"""The makes of registries that can be spoken to, and what differs between them: a table.

Invariants:
* What is not in a row is as the distribution specification says; no make has code of its own that a row could say.
* A make that is not known is refused where it is chosen (`ADAPTERS`).

Names, addresses and what is possible with a make are those of Harbor 2.16 (`src/pkg/reg`). Where a make has an API of
its own that needs a cloud's SDK (Alibaba, Tencent, Volcengine, Huawei), its credential is what `docker login` takes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import urlsplit


class Listing(StrEnum):
    """How the repositories are listed."""

    CATALOG = "catalog"
    HARBOR = "harbor"
    HUB = "hub"
    # One of its Docker repositories after the other.
    ARTIFACTORY = "artifactory"
    # Nobody tells: repositories have to be named.
    NONE = "none"


class Deletion(StrEnum):
    """How manifests and tags are deleted."""

    # DELETE of the manifest by its digest, or by a tag (OCI Distribution 1.1, end-9), which some registries refuse.
    STANDARD = "standard"
    # As STANDARD, and a manifest goes only after its tags.
    TAGS_FIRST = "tags first"
    # Tags by Harbor's API, manifests as in the specification.
    HARBOR = "harbor"
    # By tag alone, by Docker Hub's API.
    HUB = "hub"
    ECR = "ecr"
    NONE = "none"


class Login(StrEnum):
    """What the credential is."""

    # What the registry or its token service takes.
    DIRECT = "direct"
    # An AWS access key, for which ECR gives a password of hours.
    ECR = "ecr"
    # The file that Harbor's users give for Quay: a JSON object with the name and the password.
    QUAY = "quay"


class Creation(StrEnum):
    """What is created where it is missing before a push."""

    NOTHING = "nothing"
    # The project, by Harbor's API.
    PROJECT = "project"
    # The repository, by ECR's API.
    REPOSITORY = "repository"


class Offering(StrEnum):
    """What the addresses of a row are to those who add a registry, in Harbor's words; NOTHING is said without any."""

    NOTHING = ""
    STANDARD = "EndpointPatternTypeStandard"
    FIXED = "EndpointPatternTypeFix"
    LIST = "EndpointPatternTypeList"


class Place(NamedTuple):
    """Where a registry and its own API are."""

    registry: str
    api: str


@dataclass(frozen=True, slots=True)
class Adapter:
    """One make of registries."""

    name: str
    listing: Listing = Listing.CATALOG
    deletion: Deletion = Deletion.STANDARD
    login: Login = Login.DIRECT
    creation: Creation = Creation.NOTHING
    # How many parts a repository's name must have and may have (0: any number).
    fewest_parts: int = 1
    most_parts: int = 0
    # A blob may be sent in several requests; else it is sent in one, as docker does.
    chunks: bool = False
    # What is offered to those who add a registry: None, the make is not named; else the addresses by their names.
    offering: Offering | None = None
    endpoints: Mapping[str, str] = field(default_factory=dict)
    access_key: str = ""
    # What Harbor says of the file that the secret is.
    credential_file: str = ""
    description: str = ""
    # It can be asked whether it is there.
    answers_pings: bool = True
    # Addresses that people give, by host, and what they mean.
    places: Mapping[str, Place] = field(default_factory=dict)

    def place(self, url: str) -> Place:
        """Return where the registry is that has this address, without its `/v2/`."""
        base = url.strip().rstrip("/").removesuffix("/v2").rstrip("/")
        return self.places.get(urlsplit(base).hostname or "", Place(base, base))


_HUB = Place("https://registry-1.docker.io", "https://hub.docker.com")
# fmt: off
_ECR_REGIONS = (
    "us-east-2", "us-east-1", "us-west-1", "us-west-2", "af-south-1", "ap-east-1", "ap-south-1", "ap-northeast-3",
    "ap-northeast-2", "ap-southeast-1", "ap-southeast-2", "ap-northeast-1", "ca-central-1", "cn-north-1",
    "cn-northwest-1", "eu-central-1", "eu-west-1", "eu-west-2", "eu-south-1", "eu-west-3", "eu-north-1",
    "me-south-1", "sa-east-1",
)
_ALI_REGIONS = (
    "cn-qingdao", "cn-beijing", "cn-zhangjiakou", "cn-huhehaote", "cn-wulanchabu", "cn-hangzhou", "cn-shanghai",
    "cn-shenzhen", "cn-heyuan", "cn-guangzhou", "cn-chengdu", "cn-hongkong", "ap-southeast-1", "ap-southeast-2",
    "ap-southeast-3", "ap-southeast-5", "ap-south-1", "ap-northeast-1", "us-west-1", "us-east-1", "eu-central-1",
    "eu-west-1", "me-east-1",
)
# fmt: on
_ALI = {
    "": "https://registry.{}.aliyuncs.com",
    "-vpc": "https://registry-vpc.{}.aliyuncs.com",
    "-internal": "https://registry-internal.{}.aliyuncs.com",
    "-ee-vpc": "https://instanceName-registry-vpc.{}.cr.aliyuncs.com",
    "-ee": "https://instanceName-registry.{}.cr.aliyuncs.com",
}


def _hosts(names: Iterable[str]) -> Mapping[str, str]:
    return MappingProxyType({name: f"https://{name}" for name in names})


_ROWS = (
    Adapter(
        "harbor",
        listing=Listing.HARBOR,
        deletion=Deletion.HARBOR,
        creation=Creation.PROJECT,
        fewest_parts=2,
        chunks=True,
    ),
    Adapter(
        "docker-hub",
        listing=Listing.HUB,
        deletion=Deletion.HUB,
        fewest_parts=2,
        most_parts=2,
        offering=Offering.FIXED,
        endpoints=_hosts(["hub.docker.com"]),
        places=MappingProxyType(
            dict.fromkeys(("hub.docker.com", "docker.io", "index.docker.io", "registry-1.docker.io"), _HUB)
        ),
    ),
    Adapter("docker-registry", chunks=True),
    Adapter(
        "huawei-SWR",
        listing=Listing.NONE,
        answers_pings=False,
        description="Adapter for SWR -- The image registry of Huawei Cloud",
    ),
    Adapter(
        "google-gcr",
        deletion=Deletion.TAGS_FIRST,
        offering=Offering.LIST,
        endpoints=_hosts(["gcr.io", "us.gcr.io", "eu.gcr.io", "asia.gcr.io"]),
        access_key="_json_key",
        credential_file="No Change",
    ),
    Adapter(
        "aws-ecr",
        deletion=Deletion.ECR,
        login=Login.ECR,
        creation=Creation.REPOSITORY,
        offering=Offering.LIST,
        endpoints=MappingProxyType({region: f"https://api.ecr.{region}.amazonaws.com" for region in _ECR_REGIONS}),
    ),
    Adapter("azure-acr", chunks=True),
    Adapter(
        "ali-acr",
        listing=Listing.NONE,
        offering=Offering.LIST,
        endpoints=MappingProxyType(
            {f"{region}{ending}": url.format(region) for region in _ALI_REGIONS for ending, url in _ALI.items()}
        ),
    ),
    Adapter("jfrog-artifactory", listing=Listing.ARTIFACTORY),
    Adapter("quay", login=Login.QUAY, offering=Offering.STANDARD, access_key="json_file"),
    Adapter("gitlab", listing=Listing.NONE),
    Adapter("dtr"),
    Adapter("tencent-tcr", listing=Listing.NONE, fewest_parts=2, offering=Offering.NOTHING),
    Adapter(
        "github-ghcr",
        listing=Listing.NONE,
        deletion=Deletion.NONE,
        offering=Offering.FIXED,
        endpoints=_hosts(["ghcr.io"]),
    ),
    Adapter("volcengine-cr", listing=Listing.NONE, fewest_parts=2, offering=Offering.NOTHING),
)
PLAIN = "docker-registry"
ADAPTERS: Mapping[str, Adapter] = MappingProxyType({each.name: each for each in _ROWS})


def find(name: str) -> Adapter:
    """Return the make of this name; one that is not known is a plain registry of the specification."""
    return ADAPTERS.get(name, ADAPTERS[PLAIN])
