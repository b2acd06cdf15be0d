"""Passwords and secrets: how they are stored, made and compared.

Two forms are stored, told apart by how they begin:
* `$argon2id$`: whatever a person chose, a password or the secret of a robot account. 19 MiB and 2 passes were chosen:
  11 ms of a core a check, against 18 ms for 46 MiB and 1 pass and 45 ms for 64 MiB and 2, and little enough memory
  for a Lambda of 512 MB and for a server that checks ten at once.
* `$blake2b$`: a secret that `new_secret` made. Nobody guesses 190 random bits, so a salted hash is enough, and a
  robot account's every request costs microseconds. The type `GeneratedSecret` keeps chosen ones out.

Invariants:
* Neither a password nor a secret is kept or logged, and none longer than `LONGEST` is hashed.
* In `check`, whatever is wrong costs one Argon2 check, whether the account exists and whichever form it has; only
  what is too long is refused at once, and that is the same for every account.
* What was right is right for `REMEMBERED` seconds without hashing, as long as the stored form stays the same.
* Only what is hashed waits and takes a place: a build farm behind one address, all of it logged in, is never refused.
"""

import base64
import hashlib
import hmac
import secrets
import string
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore, Lock
from typing import NewType

from nacl.exceptions import InvalidkeyError
from nacl.pwhash import argon2id

from chalicelib.oci.errors import ErrorCode, RegistryError

GeneratedSecret = NewType("GeneratedSecret", str)

LONGEST = 128
REMEMBERED = 60.0
_PASSES, _MEMORY = 2, 19 * 1024 * 1024
_ARGON = "$argon2id$"
_CURRENT = f"{_ARGON}v=19$m={_MEMORY // 1024},t={_PASSES},p=1$"
# The hash, with the parameters above, of random bytes that were thrown away: no password is right for it.
_NOBODY = "$argon2id$v=19$m=19456,t=2,p=1$V1CLZW6ai8jSqGyssdoPeA$1MaZcFDKwpOvlUH0o1OJ/vDnDdrEUiDg3WC0VP/gZos"
_BLAKE = "$blake2b$"
_PERSON = b"roadstead secret"
_SALT_BYTES, _HASH_BYTES, _KEY_BYTES = 16, 32, 32
# At most so many checks at a time, each with its memory, and so many requests that wait for one.
_CORES = BoundedSemaphore(4)
_QUEUE = BoundedSemaphore(64)
# How many of them one source may take.
_PLACES = 32
_ALPHABET = string.ascii_letters + string.digits
_SECRET_CHARACTERS = 32
_MOST_REMEMBERED = 1024


def hash_password(password: str) -> str:
    """Return the stored form of what a person chose; raise ValueError where it is longer than `LONGEST`."""
    if len(password) > LONGEST:
        raise ValueError(f"a password has at most {LONGEST} characters")
    return argon2id.str(_encoded(password), opslimit=_PASSES, memlimit=_MEMORY).decode()


def verify_password(stored: str, password: str, source: str = "") -> bool:
    """Tell whether a password is the one that `hash_password` stored; what is no such form fits none.

    Raises TOOMANYREQUESTS where many checks wait already, of all sources or of the one that sends this.
    """
    if not stored.startswith(_ARGON) or len(password) > LONGEST:
        return False
    with PLACES.place(source), _turn():
        try:
            return argon2id.verify(stored.encode(), _encoded(password))
        except (InvalidkeyError, ValueError):
            return False


@contextmanager
def _turn() -> Iterator[None]:
    """Wait for a core; raise TOOMANYREQUESTS where many wait already, so that strangers do not fill the memory."""
    if not _QUEUE.acquire(blocking=False):
        raise _too_many()
    try:
        with _CORES:
            yield
    finally:
        _QUEUE.release()


class Places:
    """How many checks each source has under way: one that sends many at once leaves room for the others."""

    def __init__(self, most: int = _PLACES) -> None:
        self._most = most
        self._taken: Counter[str] = Counter()
        self._lock = Lock()

    @contextmanager
    def place(self, source: str) -> Iterator[None]:
        """Hold a place of a source; raise TOOMANYREQUESTS where it has taken its own."""
        with self._lock:
            if self._taken[source] >= self._most:
                raise _too_many()
            self._taken[source] += 1
        try:
            yield
        finally:
            with self._lock:
                self._taken[source] -= 1
                if not self._taken[source]:
                    del self._taken[source]


PLACES = Places()


def _too_many() -> RegistryError:
    message = "too many logins at once: try again in a moment"
    return RegistryError(ErrorCode.TOOMANYREQUESTS, message, headers={"Retry-After": "1"})


def needs_rehash(stored: str) -> bool:
    """Tell whether a password's stored form has other parameters than new ones get."""
    return stored.startswith("$argon2") and not stored.startswith(_CURRENT)


def spend(password: str, source: str = "") -> None:
    """Take as long as checking a password or a secret does: for accounts that do not exist."""
    verify_password(_NOBODY, password, source)


def new_secret() -> GeneratedSecret:
    """Return a secret of 32 letters and digits, with at least one lower and upper case letter and one digit."""
    while True:
        secret = "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_CHARACTERS))
        kinds = (string.ascii_lowercase, string.ascii_uppercase, string.digits)
        if all(set(secret) & set(kind) for kind in kinds):
            return GeneratedSecret(secret)


def hash_secret(secret: GeneratedSecret) -> str:
    """Return the stored form of a secret that `new_secret` made; chosen ones need `hash_password`."""
    salt = secrets.token_bytes(_SALT_BYTES)
    return f"{_BLAKE}{_text(salt)}${_text(_hashed(salt, secret))}"


def verify_secret(stored: str, secret: str, source: str = "") -> bool:
    """Tell whether a secret, made or chosen, is the stored one; what is no stored form fits none."""
    if not stored.startswith(_BLAKE):
        return verify_password(stored, secret, source)
    if len(secret) > LONGEST:
        return False
    salt, _, digest = stored.removeprefix(_BLAKE).partition("$")
    try:
        return hmac.compare_digest(base64.b64decode(digest), _hashed(base64.b64decode(salt), secret))
    except ValueError:
        return False


def _hashed(salt: bytes, secret: str) -> bytes:
    return hashlib.blake2b(_encoded(secret), digest_size=_HASH_BYTES, salt=salt, person=_PERSON).digest()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _encoded(text: str) -> bytes:
    # Half a surrogate pair is in no password, and must be refused as a wrong one, not as an error of ours.
    return text.encode(errors="surrogatepass")


class Verified:
    """What was found right a short time ago, a bounded number of it, under a key that only this process has.

    Invariant: it holds keyed hashes alone; whoever reads them learns neither names nor passwords.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._key = secrets.token_bytes(_KEY_BYTES)
        self._until: dict[bytes, float] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        """Return how much is remembered."""
        return len(self._until)

    def knows(self, account: str, stored: str, password: str) -> bool:
        """Tell whether `password` was right for this stored form a short time ago."""
        return self._until.get(self._name(account, stored, password), 0.0) > self._now()

    def remember(self, account: str, stored: str, password: str) -> None:
        """Remember that `password` is right; the oldest is forgotten where there is too much."""
        name = self._name(account, stored, password)
        with self._lock:
            # Removed first: the order of a dict is that of insertion, and the oldest must be its first.
            self._until.pop(name, None)
            self._until[name] = self._now() + REMEMBERED
            if len(self._until) > _MOST_REMEMBERED:
                del self._until[next(iter(self._until))]

    def _name(self, *texts: str) -> bytes:
        parts = [hashlib.sha256(_encoded(text)).digest() for text in texts]
        return hmac.digest(self._key, b"".join(parts), "sha256")


_VERIFIED = Verified()


def check(account: str, stored: str, password: str, source: str = "", verified: Verified = _VERIFIED) -> bool:
    """Tell whether a password or secret is an account's stored one, quickly where it was so a short time ago.

    Raises TOOMANYREQUESTS as `verify_password` does.
    """
    if verified.knows(account, stored, password):
        return True
    right = verify_secret(stored, password, source)
    if right and stored.startswith(_ARGON):
        verified.remember(account, stored, password)
    if not right and not stored.startswith(_ARGON):
        spend(password, source)
    return right
