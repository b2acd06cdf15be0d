"""What a project may be called, the rules that it can set for itself, and how much it may store.

Invariants:
* A project's name is one part of a repository's name: every valid name begins valid repository names.
* Metadata are texts, each in one normal form, so whoever reads them compares and does not parse.
* Keys of metadata that are unknown, and those that the registry itself sets, are ignored: a client may send back
  what it was shown. The endpoint of single keys finds them missing in what `parse_metadata` returns.

Specification: the projects of Harbor 2.16.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any

LONGEST_NAME = 255
# On API Gateway the API's addresses, `/api/v2.0/...`, and an image's, `/v2/<project>/...`, are one table of paths.
NOT_A_PROJECT = "v2.0"
_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*", re.ASCII)

UNLIMITED = -1
LARGEST_LIMIT = 1024 << 40

# With the length of an id these keep a project's record far below the 400 KB that DynamoDB allows.
LONGEST_ALLOWLIST = 4000
_CVE = re.compile(r"[!-~]{1,64}")
# The end of the year 9999, which is the last that dates can express.
_LATEST = 253_402_300_799

_HIGHEST = 2**31 - 1
_LONGEST_PATTERN = 1024
_FLAGS = MappingProxyType({"true": "true", "t": "true", "1": "true", "false": "false", "f": "false", "0": "false"})


class Setter(Enum):
    """Who sets a key of the metadata."""

    MEMBER = "whoever may change the project's metadata"
    REGISTRY = "the registry"


@dataclass(frozen=True, slots=True)
class Metadata:
    """A key of the metadata: how a text becomes a value (or a ValueError: "must be ..."), and what absence means."""

    parse: Callable[[str], str]
    default: str
    setter: Setter = Setter.MEMBER


def _flag(text: str) -> str:
    if text.lower() not in _FLAGS:
        raise ValueError("must be true or false")
    return _FLAGS[text.lower()]


def _choice(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return text.lower()

    return parse


def _limit(text: str) -> str:
    if not re.fullmatch(r"-1|[0-9]{1,10}", text, re.ASCII) or not -1 <= int(text) <= _HIGHEST:
        raise ValueError(f"must be a whole number from 0 to {_HIGHEST}, or -1 for no limit")
    return str(int(text))


def _pattern(text: str) -> str:
    if len(text) > _LONGEST_PATTERN or not text.isprintable():
        raise ValueError(f"must be a pattern of at most {_LONGEST_PATTERN} printable characters")
    return text


# fmt: off
METADATA: Mapping[str, Metadata] = MappingProxyType({
    "public":                         Metadata(_flag, "false"),
    "enable_content_trust":           Metadata(_flag, "false"),
    "enable_content_trust_cosign":    Metadata(_flag, "false"),
    "prevent_vul":                    Metadata(_flag, "false"),
    "severity":                       Metadata(_choice("none", "low", "medium", "high", "critical"), "none"),
    "auto_scan":                      Metadata(_flag, "false"),
    "auto_sbom_generation":           Metadata(_flag, "false"),
    "reuse_sys_cve_allowlist":        Metadata(_flag, "true"),
    "retention_id":                   Metadata(str, "", Setter.REGISTRY),
    "proxy_speed_kb":                 Metadata(_limit, "-1"),
    "max_upstream_conn":              Metadata(_limit, "-1"),
    "proxy_cache_local_on_not_found": Metadata(_flag, "false"),
    "proxy_referrer_api":             Metadata(_flag, "false"),
    "proxy_cache_filter_pattern":     Metadata(_pattern, ""),
    "proxy_cache_filter_kind":        Metadata(_choice("doublestar", "regex"), "doublestar"),
})
# fmt: on


def check_name(name: str) -> str:
    """Return a project's name; raise ValueError."""
    if len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
        raise ValueError(
            f"a project's name has 1 to {LONGEST_NAME} lower-case letters and digits, separated by single . _ or -"
        )
    if name == NOT_A_PROJECT:
        raise ValueError(f"a project cannot be called {name}: the addresses of its images would be Harbor's API's")
    return name


def parse_metadata(given: Mapping[str, Any]) -> Mapping[str, str]:
    """Return those of the metadata that a client may set, as texts in their normal forms; raise ValueError.

    A null sets nothing, and neither does an empty text where it is not a value.
    """
    return {key: _parsed(key, value) for key, value in given.items() if key in METADATA and _sets(key, value)}


def _sets(key: str, value: object) -> bool:
    row = METADATA[key]
    return row.setter is Setter.MEMBER and value is not None and (value != "" or row.default == "")


def _parsed(key: str, value: object) -> str:
    # Harbor's values are texts; a client that writes JSON's own true or 5 can mean only one thing.
    text = str(value).lower() if isinstance(value, bool) else value
    text = str(text) if isinstance(text, int) else text
    if not isinstance(text, str):
        raise ValueError(f"metadata {key} must be a text")  # noqa: TRY004 - callers tell clients about ValueErrors
    try:
        return METADATA[key].parse(text)
    except ValueError as error:
        raise ValueError(f"metadata {key} {error}") from error


def effective(metadata: Mapping[str, str], key: str) -> str:
    """Return the value of a key that holds for a project with these metadata; "" where nothing does."""
    return metadata.get(key, METADATA[key].default)


def parse_allowlist(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an allowlist of vulnerabilities: `items`, each with its own `cve_id`, and perhaps `expires_at`.

    The time is in seconds since 1970; without one the list holds for ever. Raise ValueError.
    """
    items = given.get("items")
    if items is not None and not isinstance(items, list):
        raise ValueError("the items of an allowlist must be a list")
    names = [_cve(item) for item in items or []]
    if len(names) > LONGEST_ALLOWLIST:
        raise ValueError(f"an allowlist has at most {LONGEST_ALLOWLIST} items")
    return {"items": [{"cve_id": name} for name in dict.fromkeys(names)], **_expiry(given.get("expires_at"))}


def _cve(item: object) -> str:
    name = item.get("cve_id") if isinstance(item, dict) else None
    if not isinstance(name, str) or not _CVE.fullmatch(name.strip()):
        raise ValueError("each item of an allowlist must be an object with a cve_id, such as CVE-2019-10164")
    return name.strip()


def _expiry(time: object) -> dict[str, int]:
    if time is None:
        return {}
    if not isinstance(time, int) or isinstance(time, bool) or not 0 < time <= _LATEST:
        raise ValueError("expires_at must be a time in seconds since 1970, or be left out for never")
    return {"expires_at": time}


def parse_storage_limit(limit: int) -> int:
    """Return how many bytes a project may store, or -1 for no limit; raise ValueError."""
    if isinstance(limit, bool) or (limit != UNLIMITED and not 1 <= limit <= LARGEST_LIMIT):
        raise ValueError(f"the storage limit must be 1 to {LARGEST_LIMIT} bytes (1024 TiB), or -1 for none")
    return limit
