"""What projects may be called, and the rules that their metadata set.

Invariants:
* A project's name is one part of a repository's name.
* Metadata are texts; each key says what its values may be. Unknown keys are left out, as Harbor does.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

LONGEST_NAME = 255
UNLIMITED = -1
MOST_STORAGE = 1024 * 1024**4
_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*", re.ASCII)
_CVE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,10}", re.ASCII)
_LONGEST_PATTERN = 1024
_MOST_CVES = 10_000
_INT32 = 2**31
SEVERITIES = ("none", "low", "medium", "high", "critical")


def check_name(name: str) -> str:
    """Return a project's name; raise ValueError."""
    if not 1 <= len(name) <= LONGEST_NAME or not _NAME.fullmatch(name):
        raise ValueError(
            f"a project name has 1 to {LONGEST_NAME} lower-case letters and digits, with single . _ - between them"
        )
    return name


def _flag(value: str) -> str:
    text = value.strip().lower()
    if text not in ("true", "false", "1", "0"):
        raise ValueError("must be true or false")
    return {"1": "true", "0": "false"}.get(text, text)


def _severity(value: str) -> str:
    text = value.strip().lower()
    if text not in SEVERITIES:
        raise ValueError(f"must be one of {', '.join(SEVERITIES)}")
    return text


def _number(value: str) -> str:
    text = value.strip()
    if not _NUMBER.fullmatch(text) or not UNLIMITED <= int(text) < _INT32:
        raise ValueError("must be a number, or -1 for no limit")
    return str(int(text))


def _pattern(value: str) -> str:
    if len(value) > _LONGEST_PATTERN or not value.isprintable():
        raise ValueError(f"must be a text of at most {_LONGEST_PATTERN} printable characters")
    return value


def _pattern_kind(value: str) -> str:
    if value not in ("doublestar", "regex"):
        raise ValueError("must be doublestar or regex")
    return value


# `retention_id` is not here: the registry sets it when a retention policy is made.
METADATA: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {
        "public": _flag,
        "enable_content_trust": _flag,
        "enable_content_trust_cosign": _flag,
        "prevent_vul": _flag,
        "severity": _severity,
        "auto_scan": _flag,
        "auto_sbom_generation": _flag,
        "reuse_sys_cve_allowlist": _flag,
        "proxy_speed_kb": _number,
        "max_upstream_conn": _number,
        "proxy_cache_local_on_not_found": _flag,
        "proxy_referrer_api": _flag,
        "proxy_cache_filter_pattern": _pattern,
        "proxy_cache_filter_kind": _pattern_kind,
    }
)


def parse_metadata(given: Mapping[str, Any]) -> dict[str, str]:
    """Return the metadata that are known and set; raise ValueError with the key that is wrong."""
    return {name: _parsed(name, given[name]) for name in METADATA if given.get(name) not in (None, "")}


def _parsed(name: str, value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else value
    if isinstance(text, int):
        text = str(text)
    if not isinstance(text, str):
        raise ValueError(f"metadata {name} must be a text")  # noqa: TRY004 - a wrong value, to whoever sent it
    try:
        return METADATA[name](text)
    except ValueError as error:
        raise ValueError(f"metadata {name} {error}") from error


def parse_allowlist(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the vulnerabilities that are let pass, each once, and until when; raise ValueError."""
    items = given.get("items") or []
    expires = given.get("expires_at")
    if not isinstance(items, list) or len(items) > _MOST_CVES:
        raise ValueError(f"items of a CVE allowlist is a list of at most {_MOST_CVES}")
    if expires is not None and (not isinstance(expires, int) or isinstance(expires, bool) or expires < 0):
        raise ValueError("expires_at of a CVE allowlist is in seconds since 1970")
    names = [item.get("cve_id") if isinstance(item, dict) else None for item in items]
    for name in names:
        if not isinstance(name, str) or not _CVE.fullmatch(name):
            raise ValueError("each item of a CVE allowlist has a cve_id, such as CVE-2026-1234")
    allowlist: dict[str, Any] = {"items": [{"cve_id": name} for name in dict.fromkeys(names)]}
    return {**allowlist, "expires_at": expires} if expires else allowlist


def parse_storage_limit(limit: int) -> int:
    """Return how many bytes a project may store, or -1 for any number; raise ValueError."""
    if limit != UNLIMITED and not 1 <= limit <= MOST_STORAGE:
        raise ValueError(f"a storage limit is a number of bytes from 1 to {MOST_STORAGE}, or -1 for none")
    return limit
