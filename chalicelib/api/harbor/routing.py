"""The way from a request below `/api` or `/c` to its handler: route, authenticate, authorise.

Invariants:
* A path that is Harbor's and not built yet answers 501; one that is nobody's, 404.
* Who lacks a permission gets 401 without credentials and 403 with them, whether the project exists or not; only an
  administrator is told that a project does not exist.
* A repository's name may come encoded once or twice; the longest reading of the path as a name wins.
"""

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any
from urllib.parse import unquote

from chalicelib.api import guard, identity
from chalicelib.api.harbor import regions
from chalicelib.api.harbor.calls import PREFIX, HarborCall, HarborEndpoint, Need, Where, identifier
from chalicelib.api.harbor.endpoints import ENDPOINTS
from chalicelib.api.harbor.errors import HarborCode, HarborError, not_found, render, translated
from chalicelib.api.harbor.unbuilt import UNBUILT
from chalicelib.api.http import Request, Response
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.policy import access
from chalicelib.policy.grants import ANONYMOUS, Kind, Principal
from chalicelib.policy.rbac import Permission
from chalicelib.services import Services
from chalicelib.store.directory import projects
from chalicelib.store.directory.projects import Project
from chalicelib.store.table import BusyError, RefusedError

log = logging.getLogger(__name__)

_NAME, _NAME_OR_ID = "project_name", "project_name_or_id"
_SAFE = ("GET", "HEAD")
# Whoever made the registry read-only must be able to end that.
LOGIN_PATH = "/c/login"
_IN_ANY_REGION = (LOGIN_PATH, "/c/userExists", *(row.path for row in regions.ENDPOINTS))
_WHILE_READ_ONLY = ("/configurations", *_IN_ANY_REGION)
_OF_CONTENT = (
    "{repository_name}",
    "/system/gc",
    "/system/verify",
    "/quotas/reconciliations",
    "/replication/executions",
    "/retentions",
    "/jobservice",
)
_NO_PERMISSIONS: frozenset[Permission] = frozenset()


@dataclass(frozen=True, slots=True)
class _Route:
    pattern: re.Pattern[str]
    rows: Mapping[str, HarborEndpoint | None]


def handle(services: Services, request: Request) -> Response:
    """Answer a request of Harbor's API; whatever goes wrong is one of Harbor's error documents."""
    return _with_csrf_token(services, request, _answer(services, request))


def _answer(services: Services, request: Request) -> Response:
    try:
        return _handle(services, request)
    except Exception as error:
        # As in `dispatch`: the last row of the table is a fault of ours.
        refusal = next(refused(error) for kind, refused in _REFUSALS if isinstance(error, kind))
        if refusal.code in (HarborCode.UNKNOWN, HarborCode.UNAVAILABLE):
            log.exception("request %s failed: %s %s", request.id, request.method, request.path)
        return render(refusal)


# What a request fails with, and how that is put; the first that fits.
_REFUSALS: tuple[tuple[type[Exception], Callable[[Any], HarborError]], ...] = (
    (HarborError, lambda error: error),
    (RegistryError, translated),
    (RefusedError, lambda error: HarborError(HarborCode.CONFLICT, str(error))),
    (BusyError, lambda _: HarborError(HarborCode.CONFLICT, "others changed the same thing at once: try again")),
    (OSError, lambda _: translated(RegistryError(ErrorCode.UNAVAILABLE, headers={"Retry-After": "5"}))),
    (Exception, lambda _: translated(RegistryError(ErrorCode.UNKNOWN))),
)


def _handle(services: Services, request: Request) -> Response:
    endpoint, parameters = _route(request)
    principal = ANONYMOUS if endpoint.path == LOGIN_PATH else identity.of_request(services, request)
    project = _project(services, request, parameters) if endpoint.need.where is Where.PROJECT else None
    permissions = _permissions(services, principal, endpoint.need, project)
    _check(principal, endpoint.need, permissions, project)
    if request.method not in _SAFE:
        _check_changes(services, endpoint)
    return endpoint.handler(HarborCall(services, request, principal, parameters, permissions, project))


def _check_changes(services: Services, endpoint: HarborEndpoint) -> None:
    """Raise RegistryError where what an endpoint changes cannot be changed here, or at all."""
    of_the_table = services.settings.takes_arrivals and not _changes_content(endpoint)
    if endpoint.path not in _IN_ANY_REGION and not of_the_table:
        guard.check_region(services)
    if endpoint.path not in _WHILE_READ_ONLY:
        guard.check_not_read_only(services)


def _changes_content(endpoint: HarborEndpoint) -> bool:
    """Tell whether an endpoint may change what is in the bucket, in whose copies nothing is changed."""
    deletes_project = (endpoint.method, endpoint.path) == ("DELETE", "/projects/{project_name_or_id}")
    return deletes_project or any(part in endpoint.path for part in _OF_CONTENT)


def path_of(method: str, path: str) -> str:
    """Return the path of the row that answers such a request, with its parameters by name, or ""."""
    found = (route.rows.get(method) for route in _routes() if route.pattern.fullmatch(path))
    return next((endpoint.path for endpoint in found if endpoint), "")


def _with_csrf_token(services: Services, request: Request, answer: Response) -> Response:
    """Return the answer with what the page of a session needs in order to change something."""
    secret = identity.session_secret(request)
    if not secret or identity.CSRF_HEADER.title() in answer.headers:
        return answer
    token = identity.csrf_token(services, secret)
    return replace(answer, headers={identity.CSRF_HEADER.title(): token, **answer.headers})


def _route(request: Request) -> tuple[HarborEndpoint, Mapping[str, str]]:
    known: set[str] = set()
    for route in _routes():
        match = route.pattern.fullmatch(request.path)
        if match is None:
            continue
        if request.method in route.rows:
            endpoint = route.rows[request.method]
            if endpoint is None:
                raise HarborError(HarborCode.NOT_IMPLEMENTED, "this part of Harbor's API is not built yet")
            return endpoint, {name: unquote(value) for name, value in match.groupdict().items()}
        known |= set(route.rows)
    if known:
        raise HarborError(HarborCode.METHOD_NOT_ALLOWED, f"{request.method} is not offered here")
    raise HarborError(HarborCode.NOT_FOUND, f"there is nothing at this address: {request.path[:200]}")


@cache
def _routes() -> tuple[_Route, ...]:
    rows: dict[str, dict[str, HarborEndpoint | None]] = {}
    for endpoint in ENDPOINTS:
        rows.setdefault(_absolute(endpoint.path), {})[endpoint.method] = endpoint
    for method, path in UNBUILT:
        rows.setdefault(_absolute(path), {}).setdefault(method, None)
    ordered = sorted(rows.items(), key=_specific_first)
    return tuple(_Route(_pattern(path), methods) for path, methods in ordered)


def _absolute(path: str) -> str:
    return path if path.startswith(("/c/", "/api/")) else PREFIX + path


def _specific_first(row: tuple[str, object]) -> tuple[int, int]:
    return (-row[0].count("/"), row[0].count("{"))


def _pattern(path: str) -> re.Pattern[str]:
    # Only a repository's name may have slashes; Harbor's clients disagree about one at the end of a path.
    expression = re.sub(r"\{repository_name\}", r"(?P<repository_name>.+)", path.rstrip("/"))
    expression = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", expression)
    return re.compile(expression + "/?", re.DOTALL)


def _project(services: Services, request: Request, parameters: Mapping[str, str]) -> Project | None:
    if _NAME in parameters:
        return projects.find(services.directory, parameters[_NAME])
    return _find_project(services, request, parameters[_NAME_OR_ID])


def _find_project(services: Services, request: Request, text: str) -> Project | None:
    """Return the project with this id or name: digits are an id, unless the request says that they are a name."""
    is_name = request.headers.get("x-is-resource-name", "").lower() == "true"
    number = None if is_name else identifier(text)
    if number is not None:
        return projects.by_id(services.directory, number)
    return projects.find(services.directory, text)


def _permissions(
    services: Services, principal: Principal, need: Need, project: Project | None
) -> frozenset[Permission]:
    if need.where is not Where.PROJECT:
        return access.in_system(principal)
    if project is None:
        return _NO_PERMISSIONS
    return identity.permissions(services, principal, project)


def _check(principal: Principal, need: Need, permissions: frozenset[Permission], project: Project | None) -> None:
    if need.where is Where.OPEN or (need.where is Where.SIGNED_IN and principal.kind is not Kind.ANONYMOUS):
        return
    if need.permission in permissions:
        return
    if principal == ANONYMOUS:
        raise HarborError(HarborCode.UNAUTHORIZED, "log in first")
    if principal.administrator and project is None and need.where is Where.PROJECT:
        raise not_found("project")
    raise HarborError(HarborCode.FORBIDDEN, f"you may not do this: it needs {need.permission}")
