"""What an endpoint of Harbor's API is, and what its handler gets and gives.

Invariants:
* A row names the one permission that the call needs; `routing` has checked it before the handler runs.
* `Need.SIGNED_IN` and `Need.OPEN` mark calls that everybody may make and that answer according to who asks.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import quote

import orjson

from chalicelib.api.harbor.errors import JSON, HarborCode, HarborError, bad_request
from chalicelib.api.http import Request, Response
from chalicelib.changes import indexing
from chalicelib.policy.audit import ANONYMOUS, Event
from chalicelib.policy.grants import Principal
from chalicelib.policy.rbac import Permission
from chalicelib.services import Services
from chalicelib.store.directory.projects import Project

PREFIX = "/api/v2.0"
LARGEST_BODY = 1 << 20
_IDENTIFIER = re.compile(r"[0-9]{1,18}", re.ASCII)


class Where(Enum):
    """Where the permission of a call must be held."""

    OPEN = "open"
    SIGNED_IN = "signed in"
    SYSTEM = "system"
    PROJECT = "project"


@dataclass(frozen=True, slots=True)
class Need:
    """What a call needs: a permission in the project of its path or in the system, or none."""

    where: Where
    permission: Permission = Permission("", "")  # noqa: RUF009 - it is immutable


OPEN = Need(Where.OPEN)
SIGNED_IN = Need(Where.SIGNED_IN)


def in_system(resource: str, action: str) -> Need:
    """Return the need of a permission in the system."""
    return Need(Where.SYSTEM, Permission(resource, action))


def in_project(resource: str, action: str) -> Need:
    """Return the need of a permission in the project that the path names."""
    return Need(Where.PROJECT, Permission(resource, action))


@dataclass(frozen=True, slots=True)
class HarborCall:
    """A request that was routed and authorised.

    `parameters` are the decoded parts of its path; `project` is the one that they name, and `permissions` what the
    principal may do there, or in the system where the path names none.
    """

    services: Services
    request: Request
    principal: Principal
    parameters: Mapping[str, str]
    permissions: frozenset[Permission]
    in_project: Project | None = None

    @property
    def project(self) -> Project:
        """Return the project that the path names: the row needs a permission in it, so it is there."""
        if self.in_project is None:
            raise HarborError(HarborCode.NOT_FOUND, "project not found")
        return self.in_project

    def number(self, name: str) -> int:
        """Return a part of the path that is an id; raise BAD_REQUEST."""
        found = identifier(self.parameters[name])
        if found is None:
            raise bad_request(f"{name} must be a number")
        return found

    def body(self) -> dict[str, Any]:
        """Return the JSON object that was sent; raise BAD_REQUEST or REQUEST_ENTITY_TOO_LARGE."""
        content = self.request.read(LARGEST_BODY)
        if content is None:
            raise HarborError(HarborCode.REQUEST_ENTITY_TOO_LARGE, f"a request has at most {LARGEST_BODY} bytes")
        try:
            document = orjson.loads(content or b"{}")
        except orjson.JSONDecodeError as error:
            raise bad_request(f"the body is not JSON: {error}") from error
        if not isinstance(document, dict):
            raise bad_request("the body must be a JSON object")
        return document

    def log(self, resource_type: str, operation: str, resource: str, description: str = "") -> None:
        """Write an audit event about what this call did in S3, which is done whether that succeeds or not."""
        indexing.audited(self.services, self._event(resource_type, operation, resource, description))

    def auditing(self, resource_type: str, operation: str, resource: str, description: str = "") -> Services:
        """Return services of which the next change of the table, which this call is about, writes its event too."""
        return indexing.carrying(self.services, self._event(resource_type, operation, resource, description))

    def _event(self, resource_type: str, operation: str, resource: str, description: str) -> Event:
        project_id = self.in_project.id if self.in_project else 0
        actor = self.principal.name or ANONYMOUS
        return Event(actor, resource, resource_type, operation, description, True, project_id)


@dataclass(frozen=True, slots=True)
class HarborEndpoint:
    """One row: the request below `PREFIX` (or an absolute path in braces-free form), its need and its handler."""

    method: str
    path: str
    need: Need
    handler: Callable[[HarborCall], Response]


def identifier(text: str) -> int | None:
    """Return the id that a text is, or None."""
    return int(text) if _IDENTIFIER.fullmatch(text) else None


def typed(document: Mapping[str, Any], name: str, kind: type, default: Any) -> Any:
    """Return a member of a body, or `default` where it is absent or null; raise BAD_REQUEST where it is no `kind`."""
    value = document.get(name)
    if value is None:
        return default
    # A boolean is an int to Python, and not to anybody who writes JSON.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise bad_request(f"{name} must be {_KINDS[kind]}")
    if isinstance(value, str) and "\0" in value:
        raise bad_request(f"{name} must not contain NUL")
    return value


_KINDS = {str: "a text", int: "a whole number", bool: "true or false", dict: "an object", list: "a list"}


def answer(document: object, status: int = 200) -> Response:
    """Return a JSON answer."""
    return Response(status, {"Content-Type": JSON}, orjson.dumps(document))


def done() -> Response:
    """Return the answer to what succeeded and has nothing to show."""
    return Response(200, {"Content-Length": "0"})


def created(call: HarborCall, identifier: int | str, document: object = None, name: str = "") -> Response:
    """Return the answer to a creation: its Location ends in the id, or in the name where the client wants that."""
    wants_name = call.request.headers.get("x-resource-name-in-location", "").lower() == "true"
    path = quote(call.request.path.rstrip("/"))
    location = {"Location": f"{path}/{name if wants_name and name else identifier}"}
    if document is None:
        return Response(201, location)
    return Response(201, {"Content-Type": JSON, **location}, orjson.dumps(document))
