"""Credentials to grants: the token service, and what a request's Authorization allows.

Whoever comes with a token, as every pull does, need not wait until passwords and the directory are imported:
`identity` is imported where somebody logs in.

Invariants:
* A wrong password and an unknown user get the same answer, in the same time.
* Who lacks a right is told 403 where nothing better can be had: with Basic credentials, or with a token that names
  the resource. A token that does not name it gets 401 with the challenge, and its client asks for one that does.
* An upload URL carries its own signature, over the session, the repository, the hash algorithm and the expiry;
  clients add or drop Authorization on it as they like. It is good for nothing else.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from chalicelib.api import tokens
from chalicelib.api.endpoints import Call, Endpoint
from chalicelib.api.http import TOKEN_PATH, Request, Response, challenge, json_response
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.names import Repository
from chalicelib.policy import grants
from chalicelib.policy.grants import ANONYMOUS, Action, Grant, Kind, Principal
from chalicelib.services import Services

KEYS_PATH = "/service/keys"
_LONGEST_ACCESS = 5000
_UPLOAD_SECONDS = 24 * 3600
_FETCH_SECONDS = 900
_STATE = re.compile(
    r"(?P<algorithm>[a-z0-9]{1,16})\.(?P<expiry>[0-9]{1,12})(?P<bounded>\.b)?\.(?P<signature>[0-9a-f]{40})", re.ASCII
)


def authorise(services: Services, request: Request, resource: str, action: Action) -> Grant:
    """Return what the request may do, if `action` on `resource` is part of it; raise UNAUTHORIZED or DENIED."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        grant = _bearer(services, credentials.strip())
        if grant.anywhere:
            grant = _rights_now(services, grant, [resource, *_mount_source(request)])
    else:
        from chalicelib.api import identity  # noqa: PLC0415 - see the module's text

        principal = identity.of_basic(services, request, scheme, credentials)
        grant = identity.grant(services, principal, [resource, *_mount_source(request)])
    if grant.allows(resource, action):
        return grant
    message = _lacking(grant.principal, resource, action)
    # A token that names the resource has every right that there is: another would not be better.
    if grant.principal != ANONYMOUS and resource in grant.access:
        raise RegistryError(ErrorCode.DENIED, message)
    raise RegistryError(ErrorCode.UNAUTHORIZED, message, headers=challenge(request, grants.scope(resource, action)))


def _rights_now(services: Services, grant: Grant, resources: Iterable[str]) -> Grant:
    """Return what the holder of a token without a scope may do: only API Gateway's challenge names none."""
    from chalicelib.api import identity  # noqa: PLC0415 - see the module's text

    return replace(identity.grant(services, grant.principal, resources), issued=grant.issued)


def _mount_source(request: Request) -> list[str]:
    """Return the repository from which a blob is to be mounted: who comes with a password holds no token for it."""
    source = request.parameter("from")
    return [f"repository:{source}"] if source and request.method == "POST" else []


def _lacking(principal: Principal, resource: str, action: Action) -> str:
    if resource == grants.CATALOG:
        return "listing all repositories needs an administrator, or a robot account that may read the catalog"
    project = grants.project_of(resource)
    if not project:
        return "a repository is in a project: name it <project>/<repository>"
    if principal == ANONYMOUS:
        return f"log in to {action}"
    return (
        f"{principal.name} may not {action} in a project {project}, or there is none of that name: "
        "check the name, or ask its administrator for a role"
    )


def authenticate(services: Services, request: Request) -> None:
    """Raise UNAUTHORIZED where the request carries no valid credentials of any kind (end-1)."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if not scheme:
        raise RegistryError(ErrorCode.UNAUTHORIZED)
    if scheme.lower() == "bearer":
        _bearer(services, credentials.strip())
        return
    from chalicelib.api import identity  # noqa: PLC0415 - see the module's text

    if identity.of_basic(services, request, scheme, credentials) == ANONYMOUS:
        raise RegistryError(ErrorCode.UNAUTHORIZED)


def _bearer(services: Services, token: str) -> Grant:
    return tokens.ring(services.settings.signing_keys).verify(token, services.now())


def token(call: Call) -> Response:
    """Issue a token for the scopes that are asked for: GET with Basic credentials or none, or POST with a form."""
    from chalicelib.api import identity  # noqa: PLC0415 - see the module's text

    services, request = call.services, call.request
    if request.method == "POST":
        form = _form(request)
        principal = _password_grant(services, request, form)
        scopes = form.get("scope", [])
    else:
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        principal = identity.of_basic(services, request, scheme, credentials)
        scopes = list(request.query.get("scope", ()))
    grant = identity.grant(services, principal, _bounded(grants.resources(scopes)))
    # A robot account's permissions are not in its token, and anonymous has nothing to look up.
    grant = replace(grant, anywhere=not scopes and principal.kind is Kind.USER)
    seconds, now = identity.token_seconds(services, principal), services.now()
    issued = tokens.ring(services.settings.signing_keys).issue(grant, now, seconds)
    # Some clients read the one name and some the other.
    return json_response(
        {
            "token": issued,
            "access_token": issued,
            "expires_in": seconds,
            "issued_at": now.isoformat(timespec="seconds").replace("+00:00", "Z"),
        },
        headers={"Cache-Control": "no-store"},
    )


def _bounded(resources: tuple[str, ...]) -> Iterable[str]:
    """Yield resources as long as the token that names them fits a header; clients ask again for what it lacks."""
    room = _LONGEST_ACCESS
    for resource in resources:
        # Around each name, its type and its actions are written.
        room -= len(resource) + 60
        if room < 0:
            return
        yield resource


def keys(call: Call) -> Response:
    """Publish the keys that verify tokens (RFC 7517)."""
    document = tokens.jwks(tokens.ring(call.services.settings.signing_keys))
    return json_response(document, headers={"Cache-Control": "public, max-age=300"})


def _form(request: Request) -> dict[str, list[str]]:
    try:
        return request.form(most=100)
    except ValueError as error:
        raise RegistryError(
            ErrorCode.UNSUPPORTED, "send an HTML form: grant_type=password&...", status=400
        ) from error


def _password_grant(services: Services, request: Request, form: dict[str, list[str]]) -> Principal:
    if form.get("grant_type") != ["password"]:
        raise RegistryError(ErrorCode.UNSUPPORTED, "the token service takes grant_type=password", status=400)
    from chalicelib.api import identity  # noqa: PLC0415 - see the module's text

    return identity.log_in(services, request, form.get("username", [""])[0], form.get("password", [""])[0])


@dataclass(frozen=True, slots=True)
class UploadTicket:
    """What an upload URL stands for, until `expiry` (seconds since 1970).

    `bounded` says whether the project has a storage quota, so that chunks that come are measured against it.
    """

    repository: Repository
    id: str
    algorithm: str
    expiry: int
    bounded: bool = False


def new_ticket(services: Services, repository: Repository, algorithm: str, *, bounded: bool = False) -> UploadTicket:
    """Return the ticket of a new upload, good for a day."""
    import uuid  # noqa: PLC0415 - a pull has no use for it, and waits for imports

    return UploadTicket(repository, str(uuid.uuid4()), algorithm, _a_day_from_now(services), bounded)


def renewed(services: Services, ticket: UploadTicket) -> UploadTicket:
    """Return the ticket, good for a day from now; the state must have been written now as well.

    A ticket must not outlive what `jobs.abandoned_uploads` leaves of its upload, or bytes would be lost silently.
    """
    return replace(ticket, expiry=_a_day_from_now(services))


def _a_day_from_now(services: Services) -> int:
    return int(services.now().timestamp()) + _UPLOAD_SECONDS


def upload_location(services: Services, ticket: UploadTicket) -> str:
    """Return the URL path of an upload."""
    mark = ".b" if ticket.bounded else ""
    signature = _upload_signature(services.settings.signing_keys[0], ticket)
    state = f"{ticket.algorithm}.{ticket.expiry}{mark}.{signature}"
    return f"/v2/{ticket.repository}/blobs/uploads/{ticket.id}?_state={state}"


def check_upload(services: Services, request: Request, repository: Repository, upload_id: str) -> UploadTicket:
    """Return the ticket of an upload URL; raise BLOB_UPLOAD_UNKNOWN where it is not ours or has expired."""
    match = _STATE.fullmatch(request.parameter("_state"))
    if match is None:
        raise RegistryError(ErrorCode.BLOB_UPLOAD_UNKNOWN)
    bounded = match["bounded"] is not None
    ticket = UploadTicket(repository, upload_id, match["algorithm"], int(match["expiry"]), bounded)
    # As with tokens: the first key signs, and each verifies.
    right = [_upload_signature(key, ticket) for key in services.settings.signing_keys]
    genuine = any(hmac.compare_digest(match["signature"], signature) for signature in right)
    if not genuine or ticket.expiry <= services.now().timestamp():
        raise RegistryError(ErrorCode.BLOB_UPLOAD_UNKNOWN)
    return ticket


def _upload_signature(signing_key: bytes, ticket: UploadTicket) -> str:
    key = hashlib.sha256(b"roadstead upload " + signing_key).digest()
    text = f"{ticket.repository}\n{ticket.id}\n{ticket.algorithm}\n{ticket.expiry}{'b' if ticket.bounded else ''}"
    return hmac.digest(key, text.encode(), "sha256").hex()[:40]


def fetch_query(services: Services, repository: Repository, digest: Digest) -> str:
    """Return the query with which anybody may have a blob that is on its way here, for a quarter of an hour."""
    expiry = int(services.now().timestamp()) + _FETCH_SECONDS
    return f"_fetch={expiry}.{_fetch_signature(services.settings.signing_keys[0], repository, digest, expiry)}"


def check_fetch(services: Services, request: Request, repository: Repository, digest: Digest) -> None:
    """Raise DENIED where the query is none that `fetch_query` made of late for this blob."""
    text, _, signature = request.parameter("_fetch").partition(".")
    expiry = int(text) if re.fullmatch(r"[0-9]{1,12}", text, re.ASCII) else 0
    right = [_fetch_signature(key, repository, digest, expiry) for key in services.settings.signing_keys]
    genuine = any(hmac.compare_digest(signature.encode(), each.encode()) for each in right)
    if not genuine or expiry <= services.now().timestamp():
        raise RegistryError(ErrorCode.DENIED, "this address has expired or was changed: ask for the blob again")


def _fetch_signature(signing_key: bytes, repository: Repository, digest: Digest, expiry: int) -> str:
    key = hashlib.sha256(b"roadstead fetch " + signing_key).digest()
    return hmac.digest(key, f"{repository}\n{digest}\n{expiry}".encode(), "sha256").hex()[:40]


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("", "GET", KEYS_PATH, None, keys),
    Endpoint("", "GET", TOKEN_PATH, None, token),
    Endpoint("", "POST", TOKEN_PATH, None, token),
)
