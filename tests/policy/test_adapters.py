"""The makes of registries: Harbor's names, and where what people write leads."""

import pytest

from chalicelib.policy import adapters
from chalicelib.policy.adapters import ADAPTERS, Offering


def test_the_makes_are_those_of_harbor() -> None:
    assert set(ADAPTERS) == {
        "harbor", "docker-hub", "docker-registry", "huawei-SWR", "google-gcr", "aws-ecr", "azure-acr", "ali-acr",
        "jfrog-artifactory", "quay", "gitlab", "dtr", "tencent-tcr", "github-ghcr", "volcengine-cr",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "url", "registry", "api"),
    [
        ("docker-hub", "https://hub.docker.com", "https://registry-1.docker.io", "https://hub.docker.com"),
        ("docker-hub", "https://docker.io/", "https://registry-1.docker.io", "https://hub.docker.com"),
        ("docker-hub", "https://mirror.example.com", "https://mirror.example.com", "https://mirror.example.com"),
        ("harbor", "https://a.example.com/", "https://a.example.com", "https://a.example.com"),
        ("docker-registry", " https://a.example.com/v2/ ", "https://a.example.com", "https://a.example.com"),
        ("jfrog-artifactory", "https://a/artifactory/api/docker/r", *["https://a/artifactory/api/docker/r"] * 2),
        ("unheard-of", "https://a.example.com", "https://a.example.com", "https://a.example.com"),
    ],
)
def test_an_address_leads_to_its_registry(kind: str, url: str, registry: str, api: str) -> None:
    assert adapters.find(kind).place(url) == (registry, api)


def test_an_address_is_offered_exactly_where_a_row_says_so() -> None:
    for adapter in ADAPTERS.values():
        assert bool(adapter.endpoints) == (adapter.offering in (Offering.FIXED, Offering.LIST))
        assert all(url.startswith("https://") for url in adapter.endpoints.values())
    assert len(ADAPTERS["ali-acr"].endpoints) == 115
    assert ADAPTERS["aws-ecr"].endpoints["eu-west-1"] == "https://api.ecr.eu-west-1.amazonaws.com"
