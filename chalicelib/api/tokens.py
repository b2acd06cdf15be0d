"""Tokens: short JSON Web Tokens, signed with Ed25519, that say what a request may do.

Invariants:
* A token is verified with the public key alone: no storage is asked on a pull.
* Only `EdDSA` under a known key id is accepted, whatever the token's header says.
* The first key of a ring signs and every one verifies, so keys change without anybody logging in again.
* Clocks may differ by `LEEWAY` seconds.

Specification: RFC 7519 (JWT), RFC 8037 (EdDSA), RFC 7517 (key sets); the `access` claim is Docker's.
"""

import base64
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import orjson
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.policy.grants import Action, Grant, Kind, Principal

ISSUER = "roadstead"
LEEWAY = 60
_LONGEST = 16_384
_RINGS = 8


def key_id(key: VerifyKey) -> str:
    """Return the short name of a public key."""
    return hashlib.sha256(bytes(key)).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The key that signs, and by their ids the public keys that verify."""

    signing: SigningKey
    verifying: Mapping[str, VerifyKey]

    @classmethod
    def of(cls, keys: tuple[bytes, ...]) -> "KeyRing":
        """Return the ring of keys of 32 bytes, of which the first signs; raise ValueError where there is none."""
        if not keys:
            raise ValueError("there is no key to sign tokens with: set ROADSTEAD_SIGNING_KEY")
        made = [SigningKey(key) for key in keys]
        public = {key_id(key.verify_key): key.verify_key for key in made}
        return cls(made[0], MappingProxyType(public))

    def issue(self, grant: Grant, now: datetime, seconds: int) -> str:
        """Return a token that says what `grant` allows, for `seconds` from `now`."""
        return issue(self.signing, grant, now, seconds)

    def verify(self, token: str, now: datetime, *, leeway: int = LEEWAY) -> Grant:
        """Return what a token allows; raise UNAUTHORIZED where it is not a valid one of ours.

        `leeway` is for how many seconds it is taken after it expired.
        """
        return verify(self.verifying, token, now, leeway=leeway)


# Making the public half of a key costs as much as a signature, and the keys of a process do not change.
ring = lru_cache(maxsize=_RINGS)(KeyRing.of)


def jwks(keys: KeyRing) -> dict[str, Any]:
    """Return the key set with which others verify our tokens: public keys alone (RFC 7517 and 8037)."""
    return {"keys": [_jwk(name, key) for name, key in keys.verifying.items()]}


def _jwk(name: str, key: VerifyKey) -> dict[str, str]:
    return {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": name, "x": _encode(bytes(key))}


def issue(key: SigningKey, grant: Grant, now: datetime, seconds: int) -> str:
    """Return a token that says what `grant` allows, for `seconds` from `now`, signed with one key."""
    header = {"alg": "EdDSA", "typ": "JWT", "kid": key_id(key.verify_key)}
    claims = _claims(grant, int(now.timestamp()), seconds)
    signed = f"{_encode(orjson.dumps(header))}.{_encode(orjson.dumps(claims))}"
    return f"{signed}.{_encode(key.sign(signed.encode()).signature)}"


def _claims(grant: Grant, moment: int, seconds: int) -> dict[str, Any]:
    return {
        "iss": ISSUER,
        "sub": grant.principal.name,
        "adm": grant.principal.administrator,
        "kind": grant.principal.kind,
        "uid": grant.principal.id,
        "iat": moment,
        "nbf": moment,
        "exp": moment + seconds,
        "jti": secrets.token_hex(16),
        "any": grant.anywhere,
        "access": [_entry(resource, actions) for resource, actions in grant.access.items()],
        **({"proxied": sorted(grant.proxied)} if grant.proxied else {}),
    }


def _grant(claims: Mapping[str, Any]) -> Grant:
    """Return what claims say; what `_claims` wrote, this reads."""
    access = {
        f"{entry['type']}:{entry['name']}": frozenset(map(Action, entry["actions"])) for entry in claims["access"]
    }
    principal = Principal(claims["sub"], claims["adm"], Kind(claims["kind"]), claims["uid"])
    return Grant(principal, access, claims["iat"], claims.get("any", False), frozenset(claims.get("proxied", ())))


def verify(keys: Mapping[str, VerifyKey], token: str, now: datetime, *, leeway: int = LEEWAY) -> Grant:
    """Return what a token allows; raise UNAUTHORIZED where none of the keys signed it, or it is over."""
    try:
        claims = _signed_claims(keys, token)
        moment = now.timestamp()
        if not claims["nbf"] - LEEWAY <= moment < claims["exp"] + leeway:
            raise RegistryError(ErrorCode.UNAUTHORIZED, "the token has expired: log in again")
        return _grant(claims)
    except (BadSignatureError, ValueError, KeyError, TypeError) as error:
        raise RegistryError(ErrorCode.UNAUTHORIZED, "the token is not valid: log in again") from error


def _signed_claims(keys: Mapping[str, VerifyKey], token: str) -> dict[str, Any]:
    if len(token) > _LONGEST or not token.isascii():
        raise ValueError
    signed, _, signature = token.rpartition(".")
    head, _, payload = signed.partition(".")
    header = orjson.loads(_decode(head))
    # Extensions that must be understood are not: even an empty list of them is against RFC 7515.
    if header["alg"] != "EdDSA" or "crit" in header:
        raise ValueError
    keys[header["kid"]].verify(signed.encode(), _decode(signature))
    claims: dict[str, Any] = orjson.loads(_decode(payload))
    if claims["iss"] != ISSUER:
        raise ValueError
    return claims


def _entry(resource: str, actions: frozenset[Action]) -> dict[str, object]:
    kind, _, name = resource.partition(":")
    return {"type": kind, "name": name, "actions": sorted(actions)}


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    # One token has one spelling: no padding, no loose bits (RFC 7515, section 2).
    if _encode(data) != text:
        raise ValueError
    return data
