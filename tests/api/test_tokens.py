"""Tokens: what is accepted, for how long, and everything that is not."""

import base64
from datetime import timedelta

import orjson
import pytest
from nacl.signing import SigningKey

from chalicelib.api import tokens
from chalicelib.oci.errors import RegistryError
from chalicelib.policy.access import Action, Grant, Principal
from tests.memory import START

KEY = SigningKey(bytes(32))
KEYS = {tokens.key_id(KEY.verify_key): KEY.verify_key}
GRANT = Grant(Principal("admin", administrator=True), {"repository:a/b": frozenset({Action.PULL, Action.PUSH})})


def test_a_token_says_what_was_granted() -> None:
    token = tokens.issue(KEY, GRANT, START, 300)

    assert tokens.verify(KEYS, token, START) == GRANT


@pytest.mark.parametrize(("seconds", "valid"), [(-61, False), (-59, True), (0, True), (359, True), (361, False)])
def test_a_token_is_good_for_its_time_and_a_minute_of_clock_skew(seconds: int, valid: bool) -> None:
    token = tokens.issue(KEY, GRANT, START, 300)
    moment = START + timedelta(seconds=seconds)

    if valid:
        assert tokens.verify(KEYS, token, moment) == GRANT
    else:
        with pytest.raises(RegistryError, match="expired"):
            tokens.verify(KEYS, token, moment)


def _segment(document: object) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(document)).rstrip(b"=").decode()


def _signed(header: object, claims: object) -> str:
    text = f"{_segment(header)}.{_segment(claims)}"
    return f"{text}.{base64.urlsafe_b64encode(KEY.sign(text.encode()).signature).rstrip(b'=').decode()}"


_HEADER = {"alg": "EdDSA", "kid": tokens.key_id(KEY.verify_key)}
_MOMENT = int(START.timestamp())
_CLAIMS = {"iss": tokens.ISSUER, "sub": "a", "adm": False, "nbf": _MOMENT, "exp": _MOMENT + 60, "access": []}
_GOOD = _signed(_HEADER, _CLAIMS)


def test_the_shape_under_attack_below_is_accepted_untouched() -> None:
    assert tokens.verify(KEYS, _GOOD, START).principal.name == "a"


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "a.b.c",
        "ä.b.c",
        _GOOD[:-4] + "AAAA",
        _GOOD + "=",
        _GOOD.replace(".", ".x", 1),
        "x" * 20_000,
        f"{_segment({**_HEADER, 'alg': 'none'})}.{_segment(_CLAIMS)}.",
        _signed({**_HEADER, "alg": "none"}, _CLAIMS),
        _signed({**_HEADER, "alg": "HS256"}, _CLAIMS),
        _signed({**_HEADER, "crit": ["x"]}, _CLAIMS),
        _signed({**_HEADER, "kid": "another"}, _CLAIMS),
        _signed({"alg": "EdDSA"}, _CLAIMS),
        _signed([], _CLAIMS),
        _signed(_HEADER, []),
        _signed(_HEADER, {**_CLAIMS, "iss": "another"}),
        _signed(_HEADER, {**_CLAIMS, "nbf": "x"}),
        _signed(_HEADER, {**_CLAIMS, "access": [{"type": "repository"}]}),
        _signed(_HEADER, {**_CLAIMS, "access": [{"type": "repository", "name": "a", "actions": ["rule"]}]}),
    ],
)
def test_any_other_token_is_refused_in_the_same_words(token: str) -> None:
    with pytest.raises(RegistryError, match="the token is not valid"):
        tokens.verify(KEYS, token, START)
