"""Another registry: where it is and who we are there.

Invariants:
* A site is made from a record that was checked; its secret is never shown.
"""

from dataclasses import dataclass, field
from enum import StrEnum


class TokenKind(StrEnum):
    """How the credential becomes an Authorization."""

    # Basic, to the registry or to its token service.
    BASIC = "basic"
    # POST to the token service: a refresh token, or name and password.
    OAUTH = "oauth"
    # The secret is a bearer token itself.
    SECRET = "secret"


@dataclass(frozen=True, slots=True)
class Site:
    """Another registry, as it is spoken to."""

    url: str
    kind: str = "docker-registry"
    access_key: str = ""
    access_secret: str = field(default="", repr=False)
    skip_cert_verify: bool = False
    ca_certificate: str = ""
    token_kind: str = TokenKind.BASIC
