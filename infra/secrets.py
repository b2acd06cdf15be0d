"""The functions' secrets as SSM SecureStrings, which CloudFormation cannot make.

Invariant: what is there is never changed, since every token and the administrator's login hang on it.
"""

import secrets
from collections.abc import Callable, Mapping
from typing import Any

from infra.aws import FAILURES, code_of

# fmt: off
SECRETS: Mapping[str, Callable[[], str]] = {
    "signing-key":    lambda: secrets.token_hex(32),
    "admin-password": lambda: secrets.token_urlsafe(18),
}
# fmt: on


def make(ssm: Any, path: str) -> Mapping[str, str]:
    """Make the parameters below `path` that are missing, and return the values of those that were made now."""
    made = {}
    for name, value in SECRETS.items():
        fresh = value()
        try:
            ssm.put_parameter(Name=f"{path}/{name}", Value=fresh, Type="SecureString", Overwrite=False)
            made[name] = fresh
        except FAILURES as error:
            if code_of(error) != "ParameterAlreadyExists":
                raise
    return made
