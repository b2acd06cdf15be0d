"""What the Lambda authorizer tells API Gateway: which requests a token lets through to the registry's function.

Why it exists: the function checks every token itself, but no client would see its challenge, since API Gateway
renames WWW-Authenticate. A refusal of the authorizer becomes an answer of API Gateway's own, which can carry one.

Invariants:
* A policy lets through what the function does not answer with 401, and nothing else: of each repository that the
  token names, every endpoint, since the function says in words what is lacking there; the catalog where it is named.
* It depends on the token alone, so it is right for every request for which API Gateway keeps it.
* A kept policy never outlives its token: it is kept for `SECONDS`, for which the function takes an expired token.
* A token without a scope is passed on: what its holder may do is asked at each use.
* Basic credentials are passed on: the function checks them, knowing where they come from.
* A bad token gets a policy that denies all, and no exception: Lambda counts those as errors of the function, and an
  alarm would ring for each token that expired.

Specification: API Gateway's Lambda authorizers, type TOKEN; a policy has at most 8 KB.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import orjson

from chalicelib.api import tokens
from chalicelib.oci.errors import RegistryError
from chalicelib.policy.grants import CATALOG, Grant
from chalicelib.services import Services

# For how long API Gateway may keep a policy.
SECONDS = tokens.LEEWAY
# API Gateway refuses longer policies; what a function adds to its answer is little.
_LONGEST = 7500
# What is asked of a repository, by the endpoint table; an upload's own address begins like that of a blob.
_REQUESTS = (
    "GET/{}/manifests/*",
    "HEAD/{}/manifests/*",
    "PUT/{}/manifests/*",
    "DELETE/{}/manifests/*",
    "GET/{}/blobs/*",
    "HEAD/{}/blobs/*",
    "DELETE/{}/blobs/*",
    "POST/{}/blobs/uploads*",
    "PATCH/{}/blobs/uploads/*",
    "PUT/{}/blobs/uploads/*",
    "GET/{}/tags/list*",
    "GET/{}/referrers/*",
)
_ROOT = ("GET/", "HEAD/")
_CATALOG = "GET/_catalog*"
_ANYTHING = "*"


def answer(services: Services, authorization: str, arn: str) -> dict[str, Any]:
    """Return the policy for an Authorization header."""
    return authorise(tokens.ring(services.settings.signing_keys), authorization, arn, services.now())


def authorise(keys: tokens.KeyRing, authorization: str, arn: str, now: datetime) -> dict[str, Any]:
    """Return the policy for an Authorization header.

    `arn` is that of the request: `arn:aws:execute-api:REGION:ACCOUNT:API/STAGE/METHOD/path`.
    """
    scheme, _, credentials = authorization.partition(" ")
    stage = "/".join(arn.split("/", 2)[:2])
    if scheme.lower() == "basic":
        return _policy("basic", stage, [_ANYTHING])
    try:
        # What is no Bearer token is verified as none.
        grant = keys.verify(credentials.strip() if scheme.lower() == "bearer" else "", now, leeway=0)
    except RegistryError:
        return _policy("nobody", stage, [_ANYTHING], "Deny")
    principal = grant.principal.name or "anonymous"
    policy = _policy(principal, stage, [_ANYTHING] if grant.anywhere else _requests(grant))
    too_long = len(orjson.dumps(policy)) > _LONGEST
    # The function checks the token anyhow; it is only its challenge that would not be seen.
    return _policy(principal, stage, [_ANYTHING]) if too_long else policy


def _requests(grant: Grant) -> list[str]:
    return [*_ROOT, *(request for resource in grant.access for request in _of_resource(resource))]


def _of_resource(resource: str) -> Iterator[str]:
    if resource == CATALOG:
        yield _CATALOG
        return
    name = resource.partition(":")[2]
    # What IAM takes for a pattern is no repository's name.
    if not set(name) & set("*?$"):
        yield from (request.format(name) for request in _REQUESTS)


def _policy(principal: str, stage: str, requests: list[str], effect: str = "Allow") -> dict[str, Any]:
    statement = {
        "Effect": effect,
        "Action": "execute-api:Invoke",
        "Resource": [f"{stage}/{request}" for request in requests],
    }
    return {"principalId": principal, "policyDocument": {"Version": "2012-10-17", "Statement": [statement]}}
