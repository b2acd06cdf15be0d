"""Logins that failed and sources that are trusted, kept for as long as `policy.throttle` has a use for them.

Invariant: a record here can only make a login wait; it never decides whether a password is right.
"""

from dataclasses import asdict

from chalicelib.policy import throttle
from chalicelib.policy.people import lookup_key
from chalicelib.policy.throttle import Failures
from chalicelib.store.directory import Directory
from chalicelib.store.table import Key, Put, Record

_MARK = "mark"


def wait(directory: Directory, account: str, source: str) -> float:
    """Return for how many seconds a login of the account from the source may not be tried."""
    keys = _keys(account, source)
    found = directory.table.get_many([_key(keys.own), _key(keys.everywhere)])
    own, everywhere = (_failures(found.get(_key(key))) for key in keys)
    return throttle.wait(own, everywhere, _now(directory))


def failed(directory: Directory, account: str, source: str, mark: str) -> None:
    """Record a failed login; `mark` stands for the secret that was tried, and one tried again guesses nothing new."""
    keys = _keys(account, source)
    before = directory.table.get(_key(keys.own))
    if before and before.document.get(_MARK) == mark and _failures(before).count:
        return
    now = _now(directory)
    _write(directory, keys.own, throttle.after_failure(_failures(before), now), mark)
    everywhere = _failures(directory.table.get(_key(keys.everywhere)))
    _write(directory, keys.everywhere, throttle.after_failure(everywhere, now))


def succeeded(directory: Directory, account: str, source: str) -> None:
    """Record a login that succeeded, where that changes anything."""
    key = _keys(account, source).own
    before = _failures(directory.table.get(_key(key)))
    after = throttle.after_success(before, _now(directory))
    if after != before:
        _write(directory, key, after)


def _keys(account: str, source: str) -> throttle.Keys:
    # Every spelling that names one user is one account here too: a guess in small capitals is a guess.
    return throttle.keys(lookup_key(account), source)


def _write(directory: Directory, key: str, failures: Failures, mark: str = "") -> None:
    document = {**asdict(failures), _MARK: mark}
    directory.table.commit(Put(_key(key), document, expires=throttle.expires(failures)))


def _failures(record: Record | None) -> Failures:
    if record is None:
        return throttle.NONE
    return Failures(**{name: value for name, value in record.document.items() if name != _MARK})


def _now(directory: Directory) -> float:
    return directory.now().timestamp()


def _key(key: str) -> Key:
    return Key("logins/", key)
