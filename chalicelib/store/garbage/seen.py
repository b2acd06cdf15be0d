"""A set of digests in bounded memory: it never forgets one; once it has many, it may take another for one of them.

Up to `FEW` it is exact. From there on it is a Bloom filter: digests are as good as random numbers, and `salt` makes
different ones look alike each time, so that garbage that one run keeps by mistake goes in the next.
"""

import hashlib
import zlib
from collections.abc import Iterator

FEW = 100_000
_BITS = 1 << 26
_PROBES = 4
_PROBE_BYTES = 8
_SIZE = _PROBES * _PROBE_BYTES
_EXACT, _FILTER = b"e", b"f"


class Seen:
    """Digests, by their hexadecimal digits. 8 MiB at most, in which 4 million make one in 400 others look seen."""

    def __init__(self, salt: str) -> None:
        self._salt = salt.encode()
        self._exact: set[bytes] = set()
        self._bits = bytearray()

    def add(self, digits: str) -> None:
        """Put a digest into the set."""
        self._put(self._mixed(digits))

    def _put(self, mixed: bytes) -> None:
        if not self._bits:
            self._exact.add(mixed)
            if len(self._exact) > FEW:
                self._spread()
            return
        for place in _places(mixed):
            self._bits[place >> 3] |= 1 << (place & 7)

    def _spread(self) -> None:
        several, self._exact = self._exact, set()
        self._bits = bytearray(_BITS // 8)
        for mixed in several:
            self._put(mixed)

    def __contains__(self, digits: str) -> bool:
        mixed = self._mixed(digits)
        if not self._bits:
            return mixed in self._exact
        return all(self._bits[place >> 3] >> (place & 7) & 1 for place in _places(mixed))

    def _mixed(self, digits: str) -> bytes:
        return hashlib.blake2b(digits.encode(), key=self._salt, digest_size=_SIZE).digest()

    def packed(self) -> bytes:
        """Return the set as bytes, for `unpacked`."""
        if self._bits:
            return _FILTER + zlib.compress(bytes(self._bits), level=1)
        return _EXACT + b"".join(sorted(self._exact))

    @classmethod
    def unpacked(cls, salt: str, packed: bytes) -> "Seen":
        """Return the set that was `packed` with this salt."""
        seen, rest = cls(salt), packed[1:]
        if packed[:1] == _FILTER:
            seen._bits = bytearray(zlib.decompress(rest))
        else:
            seen._exact = {rest[start : start + _SIZE] for start in range(0, len(rest), _SIZE)}
        return seen


def _places(mixed: bytes) -> Iterator[int]:
    for start in range(0, _SIZE, _PROBE_BYTES):
        yield int.from_bytes(mixed[start : start + _PROBE_BYTES]) % _BITS
