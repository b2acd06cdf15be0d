"""Caches of other registries: which registries, what a repository is called there, and what a project's metadata say.

Invariants:
* A repository `<project>/<name>` stands for the other registry's repository `<name>`.
* Docker Hub calls what has one part `library/<name>`: such a short name leads to the long one, so that both are one
  repository here.

Specification: the proxy cache of Harbor 2.16.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache

from chalicelib.oci.names import Repository
from chalicelib.policy import selectors
from chalicelib.policy.projects import effective

# The makes of registries of which Harbor makes caches, and quay, which its Kubernetes chart adds.
MAKES = frozenset(
    {
        "ali-acr",
        "aws-ecr",
        "azure-acr",
        "docker-hub",
        "docker-registry",
        "github-ghcr",
        "google-gcr",
        "harbor",
        "jfrog-artifactory",
        "quay",
    }
)
DOCKER_HUB = "docker-hub"
UNLIMITED = -1
# Of what nobody pulled for so many days, nothing is kept.
KEPT_DAYS = 7
# How long the other registry's word about a tag is taken for what it would say again.
FRESH = timedelta(seconds=3)
_LEAST_SILENCE, _MOST_SILENCE = timedelta(seconds=10), timedelta(seconds=60)
_REGEX = "regex"
# What a regular expression may have of what makes one slow: names are short, and it must not take seconds.
_MOST_REPEATS, _MOST_CHOICES = 2, 8


@dataclass(frozen=True, slots=True)
class Rules:
    """What a project's metadata say of its cache; speed is in bytes a second, 0 for no limit, as of connections."""

    speed: int = 0
    connections: int = 0
    local_on_not_found: bool = False
    referrers: bool = False
    pattern: str = ""
    is_regex: bool = False

    @classmethod
    def of(cls, metadata: Mapping[str, str]) -> "Rules":
        """Return the rules in a project's metadata."""
        speed = int(effective(metadata, "proxy_speed_kb"))
        return cls(
            speed=max(speed, 0) * 1024,
            connections=max(int(effective(metadata, "max_upstream_conn")), 0),
            local_on_not_found=effective(metadata, "proxy_cache_local_on_not_found") == "true",
            referrers=effective(metadata, "proxy_referrer_api") == "true",
            pattern=effective(metadata, "proxy_cache_filter_pattern"),
            is_regex=effective(metadata, "proxy_cache_filter_kind") == _REGEX,
        )

    def admits(self, name: str) -> bool:
        """Tell whether a repository of the other registry may be pulled through the cache; raise ValueError."""
        if not self.pattern:
            return True
        if self.is_regex:
            return _expression(self.pattern).fullmatch(name) is not None
        return selectors.matcher(self.pattern)(name)


@lru_cache(maxsize=256)
def _expression(pattern: str) -> re.Pattern[str]:
    repeats, choices = sum(map(pattern.count, "*+{")), sum(map(pattern.count, "?|"))
    if repeats > _MOST_REPEATS or choices > _MOST_CHOICES or re.search(r"\)[*+{]|\\[1-9]|\(\?", pattern):
        raise ValueError(
            f"a regular expression has at most {_MOST_REPEATS} of *, + and {{ and {_MOST_CHOICES} of ? and | here,"
            " repeats no group, and refers to none: a doublestar pattern has no such limit"
        )
    try:
        return re.compile(pattern, re.ASCII)
    except re.error as error:
        raise ValueError(f"the regular expression cannot be read: {error}") from error


def silence(waited: timedelta, retry_after: int | None) -> timedelta:
    """Return for how long a registry is not asked again that said nothing after a while, or when to ask it again.

    Whoever asks waits: the longer that took, the fewer do.
    """
    wanted = timedelta(seconds=retry_after or 0)
    return min(max(_LEAST_SILENCE, 3 * waited, wanted), _MOST_SILENCE)


def name_there(repository: Repository) -> str:
    """Return what a repository is called in the other registry."""
    return repository.name.partition("/")[2]


def long_name(make: str, repository: Repository) -> Repository | None:
    """Return the repository to which a short name leads, or None where the name is what it is."""
    project, _, name = repository.name.partition("/")
    if make != DOCKER_HUB or "/" in name:
        return None
    return Repository(f"{project}/library/{name}")


def retention(project_id: int) -> dict[str, object]:
    """Return the retention policy that a cache begins with, as a client would send it."""
    template = "nDaysSinceLastPull"
    every = {"kind": "doublestar", "pattern": "**"}
    rule = {
        "action": "retain",
        "template": template,
        "params": {template: KEPT_DAYS},
        "tag_selectors": [{**every, "decoration": "matches", "extras": '{"untagged":true}'}],
        "scope_selectors": {"repository": [{**every, "decoration": "repoMatches"}]},
    }
    return {
        "algorithm": "or",
        "rules": [rule],
        "trigger": {"kind": "Schedule", "settings": {"cron": "0 0 0 * * *"}},
        "scope": {"level": "project", "ref": project_id},
    }
