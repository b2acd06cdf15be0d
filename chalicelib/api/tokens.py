"""Tokens: short JSON Web Tokens, signed with Ed25519, that say what a request may do.

Invariants:
* A token is verified with the public key alone: no storage is asked on a pull.
* Only `EdDSA` under a known key id is accepted, whatever the token's header says.
* Clocks may differ by `LEEWAY` seconds.

Specification: RFC 7519 (JWT), RFC 8037 (EdDSA); the `access` claim is Docker's.
"""

import base64
import hashlib
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.policy.access import Action, Grant, Principal

ISSUER = "roadstead"
LEEWAY = 60
_LONGEST = 16_384


def key_id(key: VerifyKey) -> str:
    """Return the short name of a public key."""
    return hashlib.sha256(bytes(key)).hexdigest()[:16]


def issue(key: SigningKey, grant: Grant, now: datetime, seconds: int) -> str:
    """Return a token that says what `grant` allows, for `seconds` from `now`."""
    moment = int(now.timestamp())
    header = {"alg": "EdDSA", "typ": "JWT", "kid": key_id(key.verify_key)}
    claims = {
        "iss": ISSUER,
        "sub": grant.principal.name,
        "adm": grant.principal.administrator,
        "iat": moment,
        "nbf": moment,
        "exp": moment + seconds,
        "jti": uuid.uuid4().hex,
        "access": [_entry(resource, actions) for resource, actions in grant.access.items()],
    }
    signed = f"{_encode(orjson.dumps(header))}.{_encode(orjson.dumps(claims))}"
    return f"{signed}.{_encode(key.sign(signed.encode()).signature)}"


def verify(keys: Mapping[str, VerifyKey], token: str, now: datetime) -> Grant:
    """Return what a token allows; raise UNAUTHORIZED where it is not a valid one of ours."""
    try:
        claims = _claims(keys, token)
        moment = now.timestamp()
        if not claims["nbf"] - LEEWAY <= moment < claims["exp"] + LEEWAY:
            raise RegistryError(ErrorCode.UNAUTHORIZED, "the token has expired: log in again")
        access = {
            f"{entry['type']}:{entry['name']}": frozenset(map(Action, entry["actions"])) for entry in claims["access"]
        }
        return Grant(Principal(claims["sub"], claims["adm"]), access)
    except (BadSignatureError, ValueError, KeyError, TypeError) as error:
        raise RegistryError(ErrorCode.UNAUTHORIZED, "the token is not valid: log in again") from error


def _claims(keys: Mapping[str, VerifyKey], token: str) -> dict[str, Any]:
    if len(token) > _LONGEST or not token.isascii():
        raise ValueError
    signed, _, signature = token.rpartition(".")
    head, _, payload = signed.partition(".")
    header = orjson.loads(_decode(head))
    if header["alg"] != "EdDSA" or header.get("crit"):
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
