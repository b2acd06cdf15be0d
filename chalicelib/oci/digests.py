"""Digests: what names content, and how content is checked against its name.

Invariants:
* A `Digest` has a supported algorithm and the right number of lower-case hexadecimal digits.
* Algorithms are a table; one that is not in it is refused as unsupported, never guessed.

Specification: OCI Image 1.1, "Descriptor", section "Digests".
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol, Self

from chalicelib.oci.errors import ErrorCode, RegistryError


class Hasher(Protocol):
    """What hashlib's objects offer and uploads need."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take more content."""

    def hexdigest(self) -> str:
        """Return the digest of what was taken so far."""


CANONICAL = "sha256"
HEX_LENGTH: Mapping[str, int] = MappingProxyType({CANONICAL: 64, "sha512": 128})

# digest    ::= algorithm ":" encoded
# algorithm ::= algorithm-component (algorithm-separator algorithm-component)*
# encoded   ::= [a-zA-Z0-9=_-]+
_DIGEST = re.compile(r"([a-z0-9]+(?:[+._-][a-z0-9]+)*):([a-zA-Z0-9=_-]+)", re.ASCII)
_HEX = re.compile(r"[a-f0-9]+", re.ASCII)
_LONGEST = 512


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """The name of content: an algorithm and the hexadecimal hash."""

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the digest that `text` is; raise DIGEST_INVALID."""
        match = _DIGEST.fullmatch(text) if len(text) <= _LONGEST else None
        if not match:
            raise RegistryError(ErrorCode.DIGEST_INVALID, "a digest looks like sha256:<64 hexadecimal digits>")
        algorithm, encoded = match.groups()
        supported_algorithm(algorithm)
        if len(encoded) != HEX_LENGTH[algorithm] or not _HEX.fullmatch(encoded):
            raise RegistryError(
                ErrorCode.DIGEST_INVALID,
                f"a {algorithm} digest has {HEX_LENGTH[algorithm]} lower-case hexadecimal digits",
            )
        return cls(algorithm, encoded)

    @classmethod
    def of(cls, data: bytes, algorithm: str = CANONICAL) -> Self:
        """Return the digest of `data`."""
        return cls(algorithm, hashlib.new(algorithm, data).hexdigest())

    def matches(self, data: bytes) -> bool:
        """Tell whether `data` is the content that this digest names."""
        return self == Digest.of(data, self.algorithm)

    def base64(self) -> str:
        """Return the hash in the form of S3's checksum headers."""
        return base64.b64encode(bytes.fromhex(self.hex)).decode()

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


def supported_algorithm(name: str) -> str:
    """Return `name` where it is an algorithm of this registry; raise DIGEST_INVALID."""
    if name not in HEX_LENGTH:
        raise RegistryError(
            ErrorCode.DIGEST_INVALID, f"the digest algorithm is not supported: use {' or '.join(HEX_LENGTH)}"
        )
    return name


def hasher(algorithm: str) -> Hasher:
    """Return a fresh hash object of a supported algorithm."""
    return hashlib.new(algorithm)
