"""The one way from a request to a response, shared by the Lambda and the local server.

Route, authorise, handle, render: a request that fails at any of these gets an error document.
"""

import logging
import re
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from chalicelib.api import auth, registry
from chalicelib.api.endpoints import Call, Endpoint
from chalicelib.api.http import Request, Response, error_response
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.names import Repository
from chalicelib.policy.grants import CATALOG, Action, Grant
from chalicelib.services import Services

if TYPE_CHECKING:
    # A pull asks the directory nothing, and waits for imports.
    from chalicelib.store.directory.projects import Project

log = logging.getLogger(__name__)

COMMON_HEADERS = {
    "Docker-Distribution-Api-Version": "registry/2.0",
    "X-Content-Type-Options": "nosniff",
}
# The second is the one that API Gateway has a stage for.
METRICS_PATHS = ("/metrics", "/service/metrics")
_NOWHERE = Repository("")
_HARBOR = ("/api/", "/c/")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


def _metrics(call: Call) -> Response:
    from chalicelib.api import metrics  # noqa: PLC0415 - a pull has no use for it, and waits for imports

    return metrics.get(call)


ENDPOINTS: tuple[Endpoint, ...] = (
    *registry.ENDPOINTS,
    *auth.ENDPOINTS,
    *(Endpoint("", "GET", path, None, _metrics) for path in METRICS_PATHS),
)


def dispatch(services: Services, request: Request) -> Response:
    """Answer a request; whatever goes wrong is an error document."""
    request = _with_the_client_s_id(request)
    try:
        if request.path.startswith(_HARBOR):
            return complete(_harbor(services, request), request)
        return complete(_handle(services, request), request)
    except RegistryError as error:
        return refuse(error, request)
    except OSError:
        log.exception("request %s met a store that does not answer: %s %s", request.id, request.method, request.path)
        return refuse(RegistryError(ErrorCode.UNAVAILABLE, headers={"Retry-After": "5"}), request)
    except Exception:
        # The one place that answers for a fault of ours: a client gets a document, and the log the traceback.
        log.exception("request %s failed: %s %s", request.id, request.method, request.path)
        return refuse(RegistryError(ErrorCode.UNKNOWN), request)


def _with_the_client_s_id(request: Request) -> Request:
    """Return the request under the id that the client gave it, if that can be one."""
    given = request.headers.get("x-request-id", "")
    return replace(request, id=given) if _REQUEST_ID.fullmatch(given) else request


def _harbor(services: Services, request: Request) -> Response:
    from chalicelib.api.harbor import routing  # noqa: PLC0415 - a pull has no use for it, and waits for imports

    return routing.handle(services, request)


def refuse(error: RegistryError, request: Request) -> Response:
    """Return the answer to a refused request."""
    return complete(error_response(error, request), request)


def complete(response: Response, request: Request) -> Response:
    """Return the response with the headers that every answer has."""
    return replace(response, headers={**COMMON_HEADERS, "X-Request-Id": request.id, **response.headers})


def _handle(services: Services, request: Request) -> Response:
    if not request.base_url:
        raise RegistryError(ErrorCode.UNSUPPORTED, "the Host header is not a host", status=400)
    endpoint, name, argument = route(request.method, request.path)
    repository = _repository(services, request, name)
    if endpoint.action is None:
        return endpoint.handler(Call(services, request, repository, argument, Grant()))
    resource = f"repository:{repository}" if name else CATALOG
    grant = auth.authorise(services, request, resource, endpoint.action)
    changes = endpoint.action in (Action.PUSH, Action.DELETE)
    project = _checked_project(services, repository, grant, endpoint.action) if changes else None
    return endpoint.handler(Call(services, request, repository, argument, grant, project))


def _checked_project(services: Services, repository: Repository, grant: Grant, action: Action) -> "Project":
    from chalicelib.api import guard  # noqa: PLC0415 - a pull has no use for it, and waits for imports

    project = guard.check_change(services, repository, grant.issued)
    if action is Action.PUSH:
        guard.check_takes_pushes(project)
    return project


def _repository(services: Services, request: Request, name: str) -> Repository:
    try:
        return Repository.parse(name) if name else _NOWHERE
    except RegistryError:
        # Who may not come in does not learn which names are well formed.
        auth.authenticate(services, request)
        raise


def route(method: str, path: str) -> tuple[Endpoint, str, str]:
    """Return the endpoint, the repository's name and the path's last part; raise UNSUPPORTED."""
    for pattern, rows in _routes():
        match = pattern.fullmatch(path)
        if match is None:
            continue
        if method not in rows:
            allowed = {"Allow": ", ".join(sorted(rows))}
            raise RegistryError(ErrorCode.UNSUPPORTED, f"{method} is not offered here", headers=allowed)
        parts = match.groupdict(default="")
        return rows[method], parts.get("name", ""), parts.get("argument", "")
    raise RegistryError(ErrorCode.UNSUPPORTED, "there is nothing at this address", status=404)


@cache
def _routes() -> tuple[tuple[re.Pattern[str], dict[str, Endpoint]], ...]:
    """Return the endpoint table by path; a name takes as many parts as it can, so the longest suffix wins."""
    rows: dict[str, dict[str, Endpoint]] = {}
    for endpoint in ENDPOINTS:
        rows.setdefault(endpoint.path, {}).setdefault(endpoint.method, endpoint)
    return tuple((_pattern(path), methods) for path, methods in sorted(rows.items(), key=_specific_first))


def _specific_first(row: tuple[str, dict[str, Endpoint]]) -> tuple[int, int]:
    return (-row[0].count("/"), row[0].count("<"))


def _pattern(path: str) -> re.Pattern[str]:
    # A slash at the end is optional: clients disagree about it.
    expression = re.sub(r"<name>", r"(?P<name>.+)", path.removesuffix("/"))
    expression = re.sub(r"<(?:digest|reference|upload)>", r"(?P<argument>[^/]+)", expression)
    return re.compile(expression + "/?", re.DOTALL)
