"""Passwords and secrets: what fits what is stored, in which form, and what is remembered of it for how long."""

import string
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.pwhash import argon2id

from chalicelib.api import passwords
from chalicelib.api.passwords import GeneratedSecret, Verified

_PASSWORD = "Correct horse 1"
_STORED = passwords.hash_password(_PASSWORD)
_SECRET = passwords.new_secret()
_STORED_SECRET = passwords.hash_secret(_SECRET)


def _weak(password: str, passes: int = 1) -> str:
    """Return a form that checks in no time, made with other parameters than ours."""
    return argon2id.str(password.encode(), opslimit=passes, memlimit=8192).decode()


class Seconds:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@settings(max_examples=25, deadline=None)
@given(password=st.text(st.characters(), max_size=passwords.LONGEST), other=st.text(max_size=passwords.LONGEST))
def test_a_stored_password_fits_itself_alone(password: str, other: str) -> None:
    stored = passwords.hash_password(password)

    assert passwords.verify_password(stored, password)
    assert passwords.verify_password(stored, other) is (password == other)


@given(secret=st.text(st.characters(), max_size=passwords.LONGEST), other=st.text(max_size=passwords.LONGEST))
def test_a_stored_secret_fits_itself_alone(secret: str, other: str) -> None:
    stored = passwords.hash_secret(GeneratedSecret(secret))

    assert passwords.verify_secret(stored, secret)
    assert passwords.verify_secret(stored, other) is (secret == other)


def test_the_same_password_is_stored_differently_each_time() -> None:
    assert passwords.hash_password(_PASSWORD) != _STORED
    assert passwords.hash_secret(_SECRET) != _STORED_SECRET


def test_a_secret_that_somebody_chose_is_stored_as_a_password_and_fits() -> None:
    assert passwords.verify_secret(_STORED, _PASSWORD)
    assert not passwords.verify_secret(_STORED, _PASSWORD + "x")


def test_a_generated_secret_s_form_is_no_password_s() -> None:
    assert not passwords.verify_password(_STORED_SECRET, _SECRET)


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "Chosen1x",
        "$argon2id$",
        "$argon2id$v=19$m=1,t=1,p=1$aa$bb",
        "$argon2id$" + "x" * 200,
        "$argon2id$\N{LATIN SMALL LETTER E WITH ACUTE}",
        "$argon2i$v=19$m=8,t=3,p=1$c29tZXNhbHQ$aaaa",
        "$blake2b$",
        "$blake2b$$",
        "$blake2b$AAAA",
        "$blake2b$AAAA$A",
        "$blake2b$" + "A" * 400 + "$AAAA",
        "$blake2b$\N{LATIN SMALL LETTER E WITH ACUTE}$AAAA",
    ],
)
def test_nothing_fits_what_is_no_stored_form(stored: str) -> None:
    assert not [text for text in ("", "Chosen1x", stored) if passwords.check("a", stored, text, verified=Verified())]


def test_nothing_longer_than_the_longest_reaches_a_hash() -> None:
    longest, longer = "x" * passwords.LONGEST, "x" * (passwords.LONGEST + 1)

    assert passwords.verify_password(_weak(longest), longest)
    # Hashed, this would fit.
    assert not passwords.verify_password(_weak(longer), longer)
    assert not passwords.verify_secret(passwords.hash_secret(GeneratedSecret(longer)), longer)
    with pytest.raises(ValueError, match="at most 128 characters"):
        passwords.hash_password(longer)


@pytest.mark.parametrize(
    ("stored", "due"),
    [(_STORED, False), (_STORED_SECRET, False), ("", False), (_weak("x"), True), (_weak("x", passes=2), True)],
    ids=["current", "generated", "none", "weak", "less memory"],
)
def test_a_password_is_stored_anew_where_its_parameters_are_not_those_of_today(stored: str, due: bool) -> None:
    assert passwords.needs_rehash(stored) is due


def test_an_unknown_user_is_checked_with_today_s_parameters() -> None:
    nobody = passwords._NOBODY  # noqa: SLF001 - what takes time must take the time of a real check

    assert not passwords.needs_rehash(nobody)
    # Well-formed to the last character: a damaged one would be refused before any work.
    assert len(nobody) == len(_STORED)
    assert nobody[: nobody.rindex("p=1$")] == _STORED[: _STORED.rindex("p=1$")]


_STATUS = Path("/proc/self/status")
# Linux says what a process held at most; 19 MiB more of it is one Argon2 check.
_GROWTH = """
import pathlib, re, sys
from chalicelib.api import passwords
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1])
before = peak()
passwords.check("robot$ci", *sys.argv[1:]) if len(sys.argv) > 2 else passwords.spend(sys.argv[1])
print((peak() - before) // 1024)
"""


@pytest.mark.skipif(not _STATUS.exists(), reason="only Linux says what a process held at most")
@pytest.mark.parametrize(
    ("arguments", "hashed"),
    [
        (("wrong",), True),
        ((_STORED, "wrong"), True),
        ((_STORED_SECRET, "wrong"), True),
        (("", "wrong"), True),
        ((_STORED_SECRET, _SECRET), False),
        ((_STORED, "x" * 129), False),
        (("x" * 129,), False),
    ],
    ids=[
        "unknown account", "password", "generated secret", "nothing stored",
        "right secret", "too long", "too long, unknown account",
    ],
)  # fmt: skip
def test_whatever_is_wrong_costs_one_argon2_check(arguments: tuple[str, ...], hashed: bool) -> None:
    run = subprocess.run([sys.executable, "-c", _GROWTH, *arguments], capture_output=True, text=True, check=True)

    grown = int(run.stdout)
    assert 17 <= grown <= 25 if hashed else grown < 5


def test_generated_secrets_have_every_kind_of_character_and_stand_in_urls() -> None:
    made = [passwords.new_secret() for _ in range(500)]

    assert len(set(made)) == len(made)
    for secret in made:
        assert len(secret) == 32
        assert secret.isascii()
        assert secret.isalnum()
        assert all(
            set(secret) & set(kind) for kind in (string.ascii_lowercase, string.ascii_uppercase, string.digits)
        )


def test_a_right_password_is_remembered_and_a_wrong_one_is_not() -> None:
    verified = Verified()

    assert not passwords.check("jane", _STORED, "wrong", verified=verified)
    assert len(verified) == 0
    assert passwords.check("jane", _STORED, _PASSWORD, verified=verified)
    assert verified.knows("jane", _STORED, _PASSWORD)


def test_what_is_remembered_is_not_hashed_again() -> None:
    verified = Verified()
    # No hash would find this right.
    verified.remember("jane", _STORED, "another")

    assert passwords.check("jane", _STORED, "another", verified=verified)


def test_a_generated_secret_takes_no_place_among_what_is_remembered() -> None:
    verified = Verified()

    assert passwords.check("robot$ci", _STORED_SECRET, _SECRET, verified=verified)
    assert not passwords.check("robot$ci", _STORED_SECRET, _SECRET + "x", verified=verified)
    assert len(verified) == 0


@pytest.mark.parametrize(
    "asked",
    [
        ("jane", "stored anew", "right"),
        ("john", "stored", "right"),
        ("jane", "stored", "wrong"),
        ("janes", "tored", "right"),
        ("jane", "storedr", "ight"),
        ("jane", "right", "stored"),
    ],
)
def test_only_the_same_account_password_and_stored_form_are_known(asked: tuple[str, str, str]) -> None:
    verified = Verified()
    verified.remember("jane", "stored", "right")

    assert verified.knows("jane", "stored", "right")
    assert not verified.knows(*asked)


@pytest.mark.parametrize(("seconds", "known"), [(59.9, True), (60.0, False)])
def test_a_password_is_remembered_for_a_minute(seconds: float, known: bool) -> None:
    clock = Seconds()
    verified = Verified(clock)
    verified.remember("jane", "stored", "right")

    clock.now += seconds

    assert verified.knows("jane", "stored", "right") is known


def test_a_thousand_are_remembered_and_then_the_oldest_goes() -> None:
    verified = Verified()
    for number in range(1024):
        verified.remember(f"user-{number}", "stored", "right")
    verified.remember("user-0", "stored", "right")

    verified.remember("one more", "stored", "right")

    assert len(verified) == 1024
    assert not verified.knows("user-1", "stored", "right")
    assert verified.knows("user-0", "stored", "right")
    assert verified.knows("one more", "stored", "right")


def test_processes_remember_under_keys_of_their_own_and_nothing_readable() -> None:
    first, second = Verified(), Verified()
    for verified in (first, second):
        verified.remember("jane", "stored", "right")

    kept = [set(verified._until) for verified in (first, second)]  # noqa: SLF001 - what a memory dump would show

    assert not kept[0] & kept[1]
    assert [len(name) for names in kept for name in names] == [32, 32]
