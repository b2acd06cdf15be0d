"""How long a login must wait after failed ones: guessing gets slow, and nobody is locked out.

Failures are counted twice: of an account from one source, and of an account from everywhere. Whoever stores them
keeps one record for each of `keys`, until `expires`:

    own, everywhere = (recorded(key) for key in throttle.keys(account, source))
    if throttle.wait(own, everywhere, now) > 0: refuse, without looking at the password

After a wrong password each of both becomes what `after_failure` returns; after a right one, the first alone becomes
what `after_success` returns. Two failures at the same moment may count once; attempts that are under way when the
first of them fails are not held back.

Invariants:
* A source that has no failure of its own at this account never waits, whatever others do.
* Others can lengthen the wait of a source that failed itself to `SHORT` seconds, and no further; it is measured from
  its own last failure, so that going on elsewhere does not renew it.
* A source from which the account was logged in to waits at most `SHORT` seconds, any other at most `LONGEST`.
* A failure is forgotten after `DECAY` seconds without another.
"""

import hashlib
from dataclasses import dataclass, replace
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple

LONGEST = 900.0
SHORT = 30.0
DECAY = 900.0
TRUST = 30 * 86_400.0
# A success is worth a write when what is recorded of the last one is this old: robot accounts log in all day.
_RENEWAL = 86_400.0

# Seconds by the number of failures, of the source itself and of everybody: people mistype, and scripts repeat it.
_OWN = (0.0, 0.0, 0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, LONGEST)
_EVERYWHERE = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0, 4.0, 8.0, 16.0, SHORT)
_MOST = len(_OWN) - 1
_NAME_DIGITS = 32
_HALF = 64


@dataclass(frozen=True, slots=True)
class Failures:
    """Recent failures and when the last was; until `trusted` it counts that a login succeeded. Seconds since 1970."""

    count: int = 0
    last: float = 0.0
    trusted: float = 0.0


NONE = Failures()


class Keys(NamedTuple):
    """Under which texts the two records of a login are kept."""

    own: str
    everywhere: str


def keys(account: str, source: str) -> Keys:
    """Return the keys of an account, which may be any text, and the address that a login comes from."""
    # Hashed: somebody may type a password where the name belongs, and names that do not exist have any length.
    name = hashlib.sha256(account.casefold().encode(errors="surrogatepass")).hexdigest()[:_NAME_DIGITS]
    return Keys(f"{name}/{network(source)}", name)


def network(source: str) -> str:
    """Return whom an address stands for: an IPv4 address itself, an IPv6 address its /64, which is one customer."""
    try:
        address = ip_address(source)
    except ValueError:
        return "unknown"
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return f"{IPv6Address(int(address) >> _HALF << _HALF)}/{_HALF}"


def wait(own: Failures, everywhere: Failures, now: float) -> float:
    """Return for how many seconds a login may not be tried; 0.0 is at once."""
    if not _remaining(own, now):
        return 0.0
    return max(0.0, _pause(own, everywhere, now) - _elapsed(own, now))


def _pause(own: Failures, everywhere: Failures, now: float) -> float:
    pause = _OWN[min(own.count, _MOST)]
    # As it was at the failure: a wait must not grow because trust ends meanwhile.
    if own.trusted > own.last:
        return min(pause, SHORT)
    return max(pause, _EVERYWHERE[_remaining(everywhere, now)])


def _remaining(failures: Failures, now: float) -> int:
    """Return how many failures are not forgotten, as far as they are told apart."""
    return max(0, min(failures.count, _MOST) - int(_elapsed(failures, now) // DECAY))


def _elapsed(failures: Failures, now: float) -> float:
    # A record from the future, by a clock that was wrong, must not hold anybody until then.
    return abs(now - failures.last)


def after_failure(failures: Failures, now: float) -> Failures:
    """Return the record, of either kind, after one more failure."""
    return replace(failures, count=min(_remaining(failures, now) + 1, _MOST), last=now)


def after_success(own: Failures, now: float) -> Failures:
    """Return the record of a source after a success; where it is the same, there is nothing to write."""
    if own.count == 0 and own.trusted - now > TRUST - _RENEWAL:
        return own
    return Failures(last=now, trusted=now + TRUST)


def expires(failures: Failures) -> int:
    """Return when a record says nothing any more, in seconds since 1970."""
    return int(max(failures.last + failures.count * DECAY, failures.trusted)) + 1
