"""Caches of other registries: names there, what the metadata say, and filters that nobody can make slow."""

from datetime import timedelta

import pytest

from chalicelib.oci.names import Repository
from chalicelib.policy import proxies
from chalicelib.policy.proxies import Rules


@pytest.mark.parametrize(
    ("make", "name", "long"),
    [
        ("docker-hub", "hub/alpine", "hub/library/alpine"),
        ("docker-hub", "hub/bitnami/redis", ""),
        ("harbor", "hub/alpine", ""),
    ],
)
def test_docker_hubs_short_names_lead_to_the_long_ones(make: str, name: str, long: str) -> None:
    found = proxies.long_name(make, Repository(name))

    assert (found.name if found else "") == long


def test_a_repository_stands_for_the_one_of_the_same_name_without_the_project() -> None:
    assert proxies.name_there(Repository("hub/library/alpine")) == "library/alpine"


@pytest.mark.parametrize(
    ("waited", "retry_after", "silent"), [(0, None, 10), (15, None, 45), (40, None, 60), (0, 30, 30), (0, 9999, 60)]
)
def test_a_registry_that_says_nothing_is_not_asked_for_a_while(
    waited: int, retry_after: int | None, silent: int
) -> None:
    assert proxies.silence(timedelta(seconds=waited), retry_after) == timedelta(seconds=silent)


def test_metadata_say_what_a_cache_may_do() -> None:
    metadata = {"proxy_speed_kb": "10", "max_upstream_conn": "3", "proxy_cache_local_on_not_found": "true"}

    assert Rules.of(metadata) == Rules(speed=10240, connections=3, local_on_not_found=True)
    assert Rules.of({}) == Rules()


@pytest.mark.parametrize(
    ("kind", "pattern", "admitted"),
    [
        ("doublestar", "library/*", True),
        ("doublestar", "bitnami/**", False),
        ("regex", r"(library|bitnami)/[a-z]+", True),
        ("regex", r"alpine", False),
        ("doublestar", "", True),
    ],
)
def test_a_filter_says_which_repositories_are_pulled_through(kind: str, pattern: str, admitted: bool) -> None:
    rules = Rules.of({"proxy_cache_filter_kind": kind, "proxy_cache_filter_pattern": pattern})

    assert rules.admits("library/alpine") == admitted


@pytest.mark.parametrize("pattern", ["(a+)+$", "a*a*a*a*b", "(a|a)" * 9, r"(a)\1", "(?=a)", "(", "(a|a)*"])
def test_a_regular_expression_that_could_take_long_is_refused(pattern: str) -> None:
    rules = Rules(pattern=pattern, is_regex=True)

    with pytest.raises(ValueError, match="regular expression"):
        rules.admits("a" * 200)
