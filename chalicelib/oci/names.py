"""Names of repositories, tags and references: the only door from text to typed values.

Invariants:
* A value that exists is valid: `parse` returns one or raises `RegistryError`; nothing downstream checks again.
* `_` never begins a part of a repository name, so the storage layout may use it as a marker.

Specification: OCI Distribution 1.1, "Pulling manifests".
"""

import re
from dataclasses import dataclass
from typing import Self

from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError

SPEC_VERSION = "1.1.1"
MAX_NAME = 255

# [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_PART}(?:/{_PART})*", re.ASCII)

# [a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Repository:
    """A repository's name, such as `library/nginx`."""

    name: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the repository that `text` names; raise NAME_INVALID."""
        # The length comes first: it bounds what the expression has to look at.
        if len(text) > MAX_NAME:
            raise RegistryError(ErrorCode.NAME_INVALID, f"a repository name has at most {MAX_NAME} characters")
        if not _NAME.fullmatch(text):
            raise RegistryError(
                ErrorCode.NAME_INVALID,
                "a repository name consists of lower-case letters and digits, separated by single . _ / or dashes",
                detail={"name": text},
            )
        return cls(text)

    def check_host(self, host: str) -> None:
        """Raise NAME_INVALID where clients could never name this repository on `host`.

        Clients limit host, slash and name to 255 characters together; content pushed under a longer name by one
        tool could not be pulled by another.
        """
        room = MAX_NAME - len(host) - 1
        if len(self.name) > room:
            raise RegistryError(ErrorCode.NAME_INVALID, f"on {host} a repository name has at most {room} characters")

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True, order=True)
class Tag:
    """A tag, such as `latest`."""

    name: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the tag that `text` names; raise MANIFEST_INVALID."""
        if not _TAG.fullmatch(text):
            raise RegistryError(
                ErrorCode.MANIFEST_INVALID,
                "a tag has 1 to 128 letters, digits, dots, dashes or underscores and begins with none of . and -",
                detail={"tag": text[:MAX_NAME]},
            )
        return cls(text)

    def __str__(self) -> str:
        return self.name


def parse_reference(text: str) -> Tag | Digest:
    """Return the tag or digest that `text` is; a tag cannot contain a colon, a digest must."""
    return Digest.parse(text) if ":" in text else Tag.parse(text)
