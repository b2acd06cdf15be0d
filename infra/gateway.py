"""What API Gateway itself answers, and under which stages: data for both ways of deploying and for the tests.

A function's WWW-Authenticate reaches no client, since API Gateway renames it. So the authorizer refuses instead, and
these answers carry the challenge. It is the same for every request: it cannot name a scope, and clients need none.

Invariants:
* Whatever AWS lets us shape is an OCI error document that says what to do.
* Both refusals of the authorizer are 401: a client with a token that is not enough asks for a better one.

Specification: OCI Distribution 1.1, "Error Codes"; RFC 6750, section 3 (the challenge).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from chalicelib.oci.errors import ErrorCode

# The first part of every path, which API Gateway takes for a stage: the registry, its token service, Harbor's API.
STAGES = ("v2", "service", "api", "c")
# Where Chalice puts what it deploys; nobody is sent there.
CHALICE_STAGE = "chalice"
# What API Gateway knows of the case, quoted already.
_OWN_WORDS = "$context.error.messageString"


@dataclass(frozen=True, slots=True)
class GatewayResponse:
    """An answer of API Gateway's own; status 0 and the message "" leave it what AWS has there."""

    type: str
    status: int
    code: ErrorCode
    message: str = ""
    challenge: bool = False


_LOG_IN = "log in: docker login, with a user name and its password or CLI secret, or a robot account"
_AGAIN = "try again in a moment"
# fmt: off
RESPONSES: tuple[GatewayResponse, ...] = (
    GatewayResponse("UNAUTHORIZED", 401, ErrorCode.UNAUTHORIZED, _LOG_IN, challenge=True),
    GatewayResponse("ACCESS_DENIED", 401, ErrorCode.UNAUTHORIZED,
                    "the token has expired, is not one of this registry, or does not name this repository: log in"
                    " again, or ask for a token that does", challenge=True),
    GatewayResponse("MISSING_AUTHENTICATION_TOKEN", 404, ErrorCode.UNSUPPORTED, "there is nothing at this address"),
    GatewayResponse("RESOURCE_NOT_FOUND", 404, ErrorCode.UNSUPPORTED, "there is nothing at this address"),
    GatewayResponse("UNSUPPORTED_MEDIA_TYPE", 415, ErrorCode.UNSUPPORTED),
    GatewayResponse("BAD_REQUEST_PARAMETERS", 400, ErrorCode.UNSUPPORTED),
    GatewayResponse("BAD_REQUEST_BODY", 400, ErrorCode.UNSUPPORTED),
    GatewayResponse("REQUEST_TOO_LARGE", 413, ErrorCode.SIZE_INVALID,
                    "this address takes bodies up to 4 MB: push by the address of the relay, or in chunks"),
    GatewayResponse("THROTTLED", 429, ErrorCode.TOOMANYREQUESTS, f"too many requests: {_AGAIN}"),
    GatewayResponse("QUOTA_EXCEEDED", 429, ErrorCode.TOOMANYREQUESTS, f"too many requests: {_AGAIN}"),
    GatewayResponse("INTEGRATION_FAILURE", 502, ErrorCode.UNAVAILABLE, f"the registry did not answer: {_AGAIN}"),
    GatewayResponse("INTEGRATION_TIMEOUT", 504, ErrorCode.UNAVAILABLE, f"the registry took too long: {_AGAIN}"),
    GatewayResponse("AUTHORIZER_FAILURE", 503, ErrorCode.UNAVAILABLE, f"tokens cannot be checked now: {_AGAIN}"),
    GatewayResponse("AUTHORIZER_CONFIGURATION_ERROR", 503, ErrorCode.UNAVAILABLE,
                    f"tokens cannot be checked now: {_AGAIN}"),
    GatewayResponse("DEFAULT_4XX", 0, ErrorCode.UNSUPPORTED),
    GatewayResponse("DEFAULT_5XX", 0, ErrorCode.UNAVAILABLE, f"the registry is not available: {_AGAIN}"),
)
# fmt: on


def body(response: GatewayResponse) -> str:
    """Return the template of the document, for `application/json`."""
    message = json.dumps(response.message) if response.message else _OWN_WORDS
    return f'{{"errors":[{{"code":"{response.code.name}","message":{message}}}]}}'


def challenge(host: str) -> str:
    """Return the WWW-Authenticate that sends clients of the registry at `host` to its token service."""
    return f'Bearer realm="https://{host}/service/token",service="{host}"'


def headers(response: GatewayResponse, host: str) -> Mapping[str, str]:
    """Return the answer's headers as API Gateway's response parameters, literals in single quotes."""
    own = {"Docker-Distribution-Api-Version": "registry/2.0"}
    if response.challenge:
        own["WWW-Authenticate"] = challenge(host)
    if response.message.endswith(_AGAIN):
        own["Retry-After"] = "5"
    return {f"gatewayresponse.header.{name}": f"'{value}'" for name, value in own.items()}
