"""Secrets in the table: opened by every key that is still there, by no other, and not when they were changed."""

import base64

import pytest

from chalicelib.store.sealed import SealError, renewed, seal, unseal

OLD, NEW = b"o" * 32, b"n" * 32


@pytest.mark.parametrize("secret", ["", "s3cret", "grüße", "x" * 5000])
def test_a_secret_comes_back_and_cannot_be_seen(secret: str) -> None:
    sealed = seal([NEW], secret)

    assert unseal([NEW], sealed) == secret
    assert not secret or secret.encode() not in base64.b64decode(sealed)
    assert seal([NEW], secret) != sealed


def test_it_is_sealed_with_the_first_key_and_opened_with_any() -> None:
    before, after = seal([OLD], "one"), seal([NEW, OLD], "two")

    assert unseal([NEW, OLD], before) == "one"
    assert unseal([NEW], after) == "two"
    with pytest.raises(SealError, match="set it again"):
        unseal([NEW], before)


def test_it_is_renewed_only_where_a_key_before_the_first_sealed_it() -> None:
    before = seal([OLD], "one")

    after = renewed([NEW, OLD], before)

    assert unseal([NEW], after) == "one"
    assert renewed([NEW, OLD], after) == after
    with pytest.raises(SealError, match="set it again"):
        renewed([NEW], before)


@pytest.mark.parametrize("end", ["", "?", "AAAA", "not base64", "AAAAAAA="])
@pytest.mark.parametrize("kept", [0, -8])
def test_what_was_changed_does_not_open(kept: int, end: str) -> None:
    wrong = seal([NEW], "x")[:kept] + end
    with pytest.raises(SealError):
        unseal([NEW], wrong)
