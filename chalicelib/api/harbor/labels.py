"""Labels of the system (scope g) and of projects (scope p).

Invariant: what a caller may do to a label follows from its scope: the system's permissions for g, or the project's.
Labels of the system can be seen by everybody who is logged in: projects use them. Whoever may not do it to a label is
not told whether the label or its project exists; administrators are.
"""

import re
from dataclasses import replace
from typing import Any

from chalicelib.api import identity
from chalicelib.api.harbor import listing
from chalicelib.api.harbor.calls import (
    OPEN,
    SIGNED_IN,
    HarborCall,
    HarborEndpoint,
    answer,
    created,
    done,
    identifier,
    typed,
)
from chalicelib.api.harbor.errors import HarborCode, HarborError, bad_request, not_found
from chalicelib.api.http import Response
from chalicelib.policy.grants import ANONYMOUS
from chalicelib.policy.rbac import Permission
from chalicelib.services import Services
from chalicelib.store.directory import SYSTEM, labels, projects
from chalicelib.store.directory.labels import Label

# A word, too: what Terraform sends of a label without a color is "false".
_COLOR = re.compile(r"#[0-9A-Fa-f]{6}|[A-Za-z]{1,16}", re.ASCII)
_LONGEST_NAME, _LONGEST_DESCRIPTION = 128, 1024
_GLOBAL, _PROJECT = "g", "p"


def list_labels(call: HarborCall) -> Response:
    """List the labels of the system (`scope=g`), or of a project (`scope=p&project_id=1`)."""
    request, wanted = call.request, listing.parse(call.request)
    conditions = {listing.field_name(name): value for name, value in wanted.conditions.items()}
    scope, number = conditions.pop("scope", ""), conditions.pop("projectid", "0")
    project_id = _scope(request.parameter("scope") or scope, request.parameter("project_id") or number)
    _check(call, project_id, "list")
    part = request.parameter("name")
    wanted = replace(wanted, conditions={**conditions, "name": f"~{part}"} if part else conditions)
    if wanted.natural:
        page = labels.page(call.services.directory, project_id, wanted.slice)
        total = labels.count(call.services.directory, project_id)
        return listing.answered(call, wanted, [shown_label(label) for label in page.entries], total)
    every = labels.every(call.services.directory, project_id)
    chosen, total = listing.select(wanted, [shown_label(label) for label in every])
    return listing.answered(call, wanted, chosen, total)


def _scope(scope: str, number: str) -> int:
    if scope == _GLOBAL:
        return SYSTEM
    if scope != _PROJECT:
        raise bad_request("scope must be g (the system) or p (a project)")
    found = identifier(number)
    if not found:
        raise bad_request("project_id must be the number of a project")
    return found


def shown_label(label: Label) -> dict[str, Any]:
    """Return a label as Harbor writes it."""
    return {
        "id": label.id,
        "name": label.name,
        "description": label.description,
        "color": label.color,
        "scope": _PROJECT if label.project_id else _GLOBAL,
        "project_id": label.project_id,
        "creation_time": label.created,
        "update_time": label.updated,
    }


def _check(call: HarborCall, project_id: int, action: str) -> None:
    """Raise UNAUTHORIZED or FORBIDDEN where the caller may not do this to labels of the scope."""
    allowed = call.permissions
    if project_id:
        project = projects.by_id(call.services.directory, project_id)
        if project is None and call.principal.administrator:
            raise not_found("project")
        allowed = identity.permissions(call.services, call.principal, project) if project else frozenset()
    elif action in ("list", "read") and call.principal != ANONYMOUS:
        return
    if Permission("label", action) not in allowed:
        raise _refusal(call, action)


def _refusal(call: HarborCall, action: str) -> HarborError:
    if call.principal == ANONYMOUS:
        return HarborError(HarborCode.UNAUTHORIZED, "log in first")
    return HarborError(HarborCode.FORBIDDEN, f"you may not do this: it needs label:{action}")


def create_label(call: HarborCall) -> Response:
    """Make a label."""
    body = call.body()
    project_id = _scope(typed(body, "scope", str, ""), str(typed(body, "project_id", int, 0)))
    _check(call, project_id, "create")
    name, description, color = _fields(body, "", "", "")
    audited = _auditing(call, project_id, "create", name)
    label = labels.create(audited.directory, project_id, name, description, color)
    return created(call, label.id)


def _fields(body: dict[str, Any], name: str, description: str, color: str) -> tuple[str, str, str]:
    name = typed(body, "name", str, name).strip()
    description, color = typed(body, "description", str, description), typed(body, "color", str, color)
    if not (1 <= len(name) <= _LONGEST_NAME and name.isprintable()):
        raise bad_request(f"the name of a label has 1 to {_LONGEST_NAME} printable characters")
    if len(description) > _LONGEST_DESCRIPTION:
        raise bad_request(f"the description of a label has at most {_LONGEST_DESCRIPTION} characters")
    if color and not _COLOR.fullmatch(color):
        raise bad_request("the color of a label is written #RRGGBB, or is a word")
    return name, description, color


def _auditing(call: HarborCall, project_id: int, operation: str, name: str) -> Services:
    project = projects.by_id(call.services.directory, project_id) if project_id else None
    return replace(call, in_project=project).auditing("label", operation, name)


def _label(call: HarborCall, action: str) -> Label:
    label = labels.by_id(call.services.directory, call.number("label_id"))
    if label is None:
        raise not_found("label") if call.principal.administrator else _refusal(call, action)
    _check(call, label.project_id, action)
    return label


def get_label(call: HarborCall) -> Response:
    """Show a label."""
    return answer(shown_label(_label(call, "read")))


def update_label(call: HarborCall) -> Response:
    """Change a label's name, description or colour."""
    label = _label(call, "update")
    name, description, color = _fields(call.body(), label.name, label.description, label.color)
    audited = _auditing(call, label.project_id, "update", label.name)
    labels.update(audited.directory, replace(label, name=name, description=description, color=color))
    return done()


def delete_label(call: HarborCall) -> Response:
    """Delete a label; artifacts lose it."""
    label = _label(call, "delete")
    labels.delete(_auditing(call, label.project_id, "delete", label.name).directory, label)
    return done()


# The permission depends on the label's scope: the handlers ask for it.
# fmt: off
ENDPOINTS: tuple[HarborEndpoint, ...] = (
    HarborEndpoint("GET",    "/labels",            OPEN,      list_labels),
    HarborEndpoint("POST",   "/labels",            SIGNED_IN, create_label),
    HarborEndpoint("GET",    "/labels/{label_id}", OPEN,      get_label),
    HarborEndpoint("PUT",    "/labels/{label_id}", SIGNED_IN, update_label),
    HarborEndpoint("DELETE", "/labels/{label_id}", SIGNED_IN, delete_label),
)
# fmt: on
