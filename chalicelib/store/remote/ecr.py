"""What Amazon ECR wants by its own API: a password for an access key, repositories before a push, deletions.

Invariants:
* The region is that of the registry's address, which must be one of ECR: no access key goes anywhere else.
* The credential is the site's own, never that of this process.
"""

import base64
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.store.remote.errors import DeniedError, DownError, MissingError, RemoteError, printable
from chalicelib.store.remote.sites import Site

_HOST = re.compile(
    r"https://(?:api|([0-9]{12})\.dkr)\.ecr(-fips)?\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/?", re.ASCII
)
_LONGEST, _MARGIN = 3600, 60
_MOST_KNOWN = 64
_KNOWN: dict[Site, tuple[float, Site]] = {}
_FAMILIES: dict[str, type[RemoteError]] = {
    "RepositoryNotFoundException": MissingError,
    "ImageNotFoundException": MissingError,
    "AccessDeniedException": DeniedError,
    "UnrecognizedClientException": DeniedError,
    "InvalidSignatureException": DeniedError,
    "InvalidClientTokenId": DeniedError,
}
_EXISTS, _DENIED = "RepositoryAlreadyExistsException", "AccessDeniedException"


def exchanged(site: Site) -> Site:
    """Return the site with a password for its access key, at its account's address; raise RemoteError."""
    known = _KNOWN.get(site)
    if known and known[0] > time.time():
        return known[1]
    account = _parts(site)[1]
    with _refusing("gives no password"):
        answer = _client(site).get_authorization_token(**({"registryIds": [account]} if account else {}))
    given = answer["authorizationData"][0]
    name, _, password = base64.b64decode(given["authorizationToken"]).decode().partition(":")
    found = replace(site, url=given["proxyEndpoint"], access_key=name, access_secret=password)
    until = min(given["expiresAt"].timestamp() - _MARGIN, time.time() + _LONGEST)
    if len(_KNOWN) >= _MOST_KNOWN:
        _KNOWN.clear()
    _KNOWN[site] = (until, found)
    return found


def create(site: Site, repository: str) -> None:
    """Make a repository, where there is none of this name and we may; raise RemoteError."""
    with _refusing(f"makes no repository {repository}"):
        try:
            _client(site).create_repository(repositoryName=repository)
        except ClientError as error:
            # Who may not make one may still push to one that is there: the push says where it is not.
            if _code(error) not in (_EXISTS, _DENIED):
                raise


def delete(site: Site, repository: str, **image: str) -> None:
    """Delete an image by `imageTag` or `imageDigest`; raise MissingError, RemoteError."""
    with _refusing(f"deletes nothing of {repository}"):
        answer = _client(site).batch_delete_image(repositoryName=repository, imageIds=[image])
    for failure in answer.get("failures", ()):
        code = str(failure.get("failureCode", ""))
        kind = MissingError if code == "ImageNotFound" else RemoteError
        raise kind(f"ECR deletes nothing of {repository}: {printable(code)}", 404 if kind is MissingError else 400)


def _parts(site: Site) -> tuple[str, str, bool]:
    """Return the region, the account or "", and whether it is a FIPS address; raise RemoteError."""
    match = _HOST.fullmatch(site.url)
    if not match:
        raise RemoteError("an address of ECR looks like https://123456789012.dkr.ecr.eu-west-1.amazonaws.com")
    return match[3], match[1] or "", bool(match[2])


def _client(site: Site) -> Any:
    region, _, fips = _parts(site)
    if not (site.access_key and site.access_secret):
        raise DeniedError("ECR wants an access key and its secret")
    session = boto3.Session(site.access_key, site.access_secret, region_name=region)
    config = Config(connect_timeout=10, read_timeout=30, use_fips_endpoint=fips, retries={"max_attempts": 1})
    return session.client("ecr", config=config)


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        kind = _FAMILIES.get(_code(error), DownError if status >= 500 else RemoteError)  # noqa: PLR2004 - its fault
        raise kind(f"ECR {what}: {printable(_code(error))}", status) from error
    except BotoCoreError as error:
        raise DownError(f"ECR {what}: {type(error).__name__}") from error


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
