"""Tokens: what is accepted, for how long, under which keys, and everything that is not."""

import base64
import hashlib
import hmac
from datetime import timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey, VerifyKey

from chalicelib.api import tokens
from chalicelib.oci.errors import RegistryError
from chalicelib.policy.grants import ANONYMOUS, Action, Grant, Kind, Principal
from tests.memory import START

OLD, NEW = bytes(32), bytes(range(32))
KEY = SigningKey(OLD)
RING = tokens.ring((OLD,))
GRANT = Grant(Principal("admin", administrator=True), {"repository:a/b": frozenset({Action.PULL, Action.PUSH})})


@pytest.mark.parametrize(
    "principal",
    [ANONYMOUS, Principal("admin", administrator=True, id=1), Principal("robot$ci", kind=Kind.ROBOT, id=2**31)],
    ids=lambda principal: principal.kind,
)
def test_a_token_says_to_whom_it_was_issued_and_what_was_granted(principal: Principal) -> None:
    granted = Grant(principal, GRANT.access)

    assert RING.verify(RING.issue(granted, START, 300), START) == granted


def test_a_token_says_what_is_in_a_cache_of_another_registry() -> None:
    granted = Grant(GRANT.principal, GRANT.access, proxied=frozenset({"repository:a/b"}))

    assert RING.verify(RING.issue(granted, START, 300), START).proxied == {"repository:a/b"}


@pytest.mark.parametrize(("seconds", "valid"), [(-61, False), (-60, True), (0, True), (359, True), (360, False)])
def test_a_token_is_good_for_its_time_and_a_minute_of_clock_skew(seconds: int, valid: bool) -> None:
    token = RING.issue(GRANT, START, 300)
    moment = START + timedelta(seconds=seconds)

    if valid:
        assert RING.verify(token, moment) == GRANT
    else:
        with pytest.raises(RegistryError, match="expired"):
            RING.verify(token, moment)


# A rotation, step by step: the new key is made known, then signs, then is alone.
_STEPS = ((OLD,), (OLD, NEW), (NEW, OLD), (NEW,))


@pytest.mark.parametrize("step", range(3))
def test_tokens_hold_between_instances_that_are_one_step_of_a_rotation_apart(step: int) -> None:
    behind, ahead = tokens.ring(_STEPS[step]), tokens.ring(_STEPS[step + 1])

    # The last step is taken when the tokens of the old key are over, so nobody signs with it beside that step.
    assert behind.verify(ahead.issue(GRANT, START, 300), START) == GRANT
    assert ahead.verify(behind.issue(GRANT, START, 300), START) == GRANT


def test_a_token_of_the_old_key_holds_until_that_key_is_dropped() -> None:
    token = tokens.ring(_STEPS[0]).issue(GRANT, START, 300)

    assert [tokens.ring(keys).verify(token, START) for keys in _STEPS[:3]] == [GRANT] * 3
    with pytest.raises(RegistryError, match="the token is not valid"):
        tokens.ring(_STEPS[3]).verify(token, START)


def test_a_ring_without_keys_says_which_variable_to_set() -> None:
    with pytest.raises(ValueError, match="ROADSTEAD_SIGNING_KEY"):
        tokens.ring(())


def test_a_ring_is_made_once() -> None:
    assert tokens.ring((OLD, NEW)) is tokens.ring((OLD, NEW))


def test_the_key_set_verifies_tokens_and_tells_no_secret() -> None:
    ring = tokens.ring((NEW, OLD))
    signed, _, signature = ring.issue(GRANT, START, 300).rpartition(".")
    header = orjson.loads(_bytes(signed.partition(".")[0]))

    published = tokens.jwks(ring)["keys"]

    assert [{**key, "x": "", "kid": ""} for key in published] == [
        {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "", "x": ""}
    ] * 2
    [signer] = [key for key in published if key["kid"] == header["kid"]]
    assert VerifyKey(_bytes(signer["x"])).verify(signed.encode(), _bytes(signature))
    assert not {_text(OLD), _text(NEW)} & {key["x"] for key in published}


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _segment(document: object) -> str:
    return _text(orjson.dumps(document))


def _signed(header: object, claims: object, key: SigningKey = KEY) -> str:
    text = f"{_segment(header)}.{_segment(claims)}"
    return f"{text}.{_text(key.sign(text.encode()).signature)}"


def _keyed_with_the_public_key(algorithm: str) -> str:
    """Return a token made with nothing but what everybody knows: the public key, as if it were a shared secret."""
    text = f"{_segment({**_HEADER, 'alg': algorithm})}.{_segment(_CLAIMS)}"
    return f"{text}.{_text(hmac.digest(bytes(KEY.verify_key), text.encode(), hashlib.sha256))}"


def _with_payload(claims: object) -> str:
    header, _, signature = _GOOD.split(".")
    return f"{header}.{_segment(claims)}.{signature}"


_HEADER = {"alg": "EdDSA", "kid": tokens.key_id(KEY.verify_key)}
_MOMENT = int(START.timestamp())
_TIMES = {"iat": _MOMENT, "nbf": _MOMENT, "exp": _MOMENT + 60}
_CLAIMS = {"iss": tokens.ISSUER, "sub": "a", "adm": False, "kind": "user", "uid": 7, **_TIMES, "access": []}
_GOOD = _signed(_HEADER, _CLAIMS)


def test_the_shape_under_attack_below_is_accepted_untouched() -> None:
    assert RING.verify(_GOOD, START).principal.name == "a"


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "x",
        "a.b.c",
        "ä.b.c",
        _GOOD.replace("e", "\N{FULLWIDTH LATIN SMALL LETTER E}", 1),
        _GOOD[:-4] + "AAAA",
        _GOOD + "=",
        _GOOD + "\n",
        " " + _GOOD,
        _GOOD.replace(".", ".x", 1),
        _GOOD.replace(".", "..", 1),
        _GOOD.replace(".", ".."),
        _GOOD + ".",
        "." + _GOOD,
        _GOOD[:-1],
        _GOOD.rpartition(".")[0],
        _GOOD.rpartition(".")[0] + ".",
        "x" * 20_000,
        _signed(_HEADER, {**_CLAIMS, "sub": "x" * 20_000}),
        f"{_segment({**_HEADER, 'alg': 'none'})}.{_segment(_CLAIMS)}.",
        _signed({**_HEADER, "alg": "none"}, _CLAIMS),
        _signed({**_HEADER, "alg": "HS256"}, _CLAIMS),
        _signed({**_HEADER, "alg": ["EdDSA"]}, _CLAIMS),
        _signed({"kid": _HEADER["kid"]}, _CLAIMS),
        _keyed_with_the_public_key("HS256"),
        _keyed_with_the_public_key("EdDSA"),
        _signed({**_HEADER, "crit": ["x"]}, _CLAIMS),
        _signed({**_HEADER, "crit": []}, _CLAIMS),
        _signed({**_HEADER, "kid": "another"}, _CLAIMS),
        _signed({**_HEADER, "kid": {}}, _CLAIMS),
        _signed({**_HEADER, "kid": tokens.key_id(SigningKey(NEW).verify_key)}, _CLAIMS),
        _signed({"alg": "EdDSA"}, _CLAIMS),
        _signed(_HEADER, _CLAIMS, SigningKey(NEW)),
        _signed([], _CLAIMS),
        _signed(_HEADER, []),
        _with_payload({**_CLAIMS, "adm": True}),
        _signed(_HEADER, {**_CLAIMS, "iss": "another"}),
        _signed(_HEADER, {**_CLAIMS, "nbf": "x"}),
        _signed(_HEADER, {**_CLAIMS, "kind": "king"}),
        _signed(_HEADER, {name: value for name, value in _CLAIMS.items() if name != "kind"}),
        _signed(_HEADER, {**_CLAIMS, "access": [{"type": "repository"}]}),
        _signed(_HEADER, {**_CLAIMS, "access": [{"type": "repository", "name": "a", "actions": ["rule"]}]}),
    ],
)
def test_any_other_token_is_refused_in_the_same_words(token: str) -> None:
    with pytest.raises(RegistryError, match="the token is not valid"):
        RING.verify(token, START)


@given(place=st.integers(0, len(_GOOD) - 1), character=st.characters(codec="utf-8"))
def test_a_changed_character_is_refused(place: int, character: str) -> None:
    changed = _GOOD[:place] + character + _GOOD[place + 1 :]

    if changed == _GOOD:
        assert RING.verify(changed, START).principal.name == "a"
    else:
        with pytest.raises(RegistryError, match="the token is not valid"):
            RING.verify(changed, START)
