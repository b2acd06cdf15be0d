"""Secrets of others that the registry has to send some day, sealed for the table.

Invariants:
* What is sealed is opened with any of the keys that sign (`Settings.signing_keys`), and sealed with the first: a key
  is replaced as tokens' is, and what it sealed must be `renewed` before it goes (`jobs.reseal`).
* Opening fails where one byte was changed.
"""

import base64
import binascii
import hmac
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nacl.secret import SecretBox

_PURPOSE = b"roadstead: sealed secrets"


class SealError(ValueError):
    """A secret that none of the keys opens."""


def seal(keys: Sequence[bytes], secret: str) -> str:
    """Return a secret as the table may have it."""
    return base64.b64encode(_box(keys[0]).encrypt(secret.encode(errors="replace"))).decode()


def unseal(keys: Sequence[bytes], sealed: str) -> str:
    """Return the secret; raise SealError where no key opens it."""
    return _opened(keys, sealed)[1]


def renewed(keys: Sequence[bytes], sealed: str) -> str:
    """Return a secret sealed with the first key, as it is where it was so; raise SealError as `unseal`."""
    place, secret = _opened(keys, sealed)
    return seal(keys, secret) if place else sealed


def _opened(keys: Sequence[bytes], sealed: str) -> tuple[int, str]:
    """Return which of the keys opens a secret, and the secret."""
    from nacl.exceptions import CryptoError  # noqa: PLC0415 - as below

    for place, key in enumerate(keys):
        try:
            return place, _box(key).decrypt(base64.b64decode(sealed, validate=True)).decode()
        except (CryptoError, binascii.Error, ValueError):
            continue
    raise SealError("this secret was sealed with a signing key that is gone: set it again")


def _box(key: bytes) -> "SecretBox":
    from nacl.secret import SecretBox  # noqa: PLC0415 - few processes ever open one

    return SecretBox(hmac.digest(key, _PURPOSE, "sha256"))
