"""Projects and their metadata.

Invariants:
* Who makes a project is its administrator. A robot makes one for the administrator of the registry.
* A project is deleted only when neither the index nor the bucket knows a repository of it, and takes along what else
  it left in the bucket.
* Nobody gets what was somebody else's by making a project of the same name: after a deletion the name is kept for who
  deleted it, until every token of the old project is over, and as long as anything is left. Administrators may.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from chalicelib.api import identity
from chalicelib.api.harbor import caches, listing, retentions
from chalicelib.api.harbor.calls import (
    OPEN,
    SIGNED_IN,
    HarborCall,
    HarborEndpoint,
    answer,
    created,
    done,
    in_project,
    typed,
)
from chalicelib.api.harbor.errors import HarborCode, HarborError, bad_request, not_found
from chalicelib.api.http import Response
from chalicelib.api.tokens import LEEWAY
from chalicelib.changes import indexing
from chalicelib.oci.pages import PageRequest
from chalicelib.policy import projects as rules
from chalicelib.policy import rbac
from chalicelib.policy.audit import Event
from chalicelib.policy.grants import Kind
from chalicelib.policy.rbac import Permission, Role
from chalicelib.store import listings, remains
from chalicelib.store.directory import audit, configuration, members, projects, retention, users, webhooks
from chalicelib.store.directory.members import Who
from chalicelib.store.directory.projects import NewProject, Project, Reservation
from chalicelib.store.index import repositories
from chalicelib.store.table import Change
from chalicelib.store.usage import counting

_CREATE = Permission("project", "create")
_DENIED = "you may not create projects: ask an administrator"
_ROLE_COUNTS = {
    Role.PROJECT_ADMIN: "project_admin_count",
    Role.MAINTAINER: "maintainer_count",
    Role.DEVELOPER: "developer_count",
    Role.GUEST: "guest_count",
    Role.LIMITED_GUEST: "limited_guest_count",
}


def list_projects(call: HarborCall) -> Response:
    """List the projects that the caller may see."""
    wanted = _with_parameters(call, listing.parse(call.request))
    if wanted.natural and call.principal.administrator:
        page = projects.page(call.services.directory, wanted.slice)
        shown = _shown(call, page.entries)
        return listing.answered(call, wanted, shown, projects.count(call.services.directory))
    visible = identity.visible_projects(call.services, call.principal)
    by_id = {project.id: project for project in visible}
    chosen, total = listing.select(wanted, [_fields(project) for project in visible])
    shown = _shown(call, [by_id[fields["project_id"]] for fields in chosen])
    return listing.answered(call, wanted, shown, total)


def _with_parameters(call: HarborCall, wanted: listing.Listing) -> listing.Listing:
    """Return the listing with the parameters that are older than `q`."""
    request = call.request
    conditions = dict(wanted.conditions)
    if name := request.parameter("name"):
        conditions["name"] = f"~{name}"
    if owner := request.parameter("owner"):
        conditions["owner_name"] = owner
    if public := request.parameter("public"):
        conditions["public"] = {"1": "true", "0": "false"}.get(public, public)
    return replace(wanted, conditions=conditions)


def _fields(project: Project) -> Mapping[str, Any]:
    """Return what a project can be chosen and sorted by."""
    return {
        "project_id": project.id,
        "name": project.name,
        "owner_id": project.owner_id,
        "owner_name": project.owner_name,
        "public": project.public,
        "creation_time": project.created,
        "update_time": project.updated,
    }


def _shown(call: HarborCall, found: Iterable[Project]) -> Sequence[dict[str, Any]]:
    """Return projects as Harbor writes them; each is asked for side by side."""
    return call.services.content.together(partial(shown_project, call), found)


def shown_project(call: HarborCall, project: Project) -> dict[str, Any]:
    """Return a project as Harbor writes it."""
    roles = sorted(identity.roles(call.services, call.principal, project.id))
    strongest = rbac.strongest(roles)
    return {
        "project_id": project.id,
        "owner_id": project.owner_id,
        "owner_name": project.owner_name,
        "name": project.name,
        "creation_time": project.created,
        "update_time": project.updated,
        "deleted": False,
        "togglable": True,
        "current_user_role_id": int(strongest) if strongest else 0,
        "current_user_role_ids": [int(role) for role in roles],
        "repo_count": repositories.count(call.services.index, project.id),
        "metadata": {"public": "false", **project.metadata},
        "cve_allowlist": _shown_allowlist(project),
        **({"registry_id": project.registry_id} if project.registry_id else {}),
    }


def _shown_allowlist(project: Project) -> dict[str, Any]:
    return {
        "id": project.id,
        "project_id": project.id,
        "items": project.allowlist.get("items", []),
        "creation_time": project.created,
        "update_time": project.updated,
        **({"expires_at": project.allowlist["expires_at"]} if project.allowlist.get("expires_at") else {}),
    }


def head_project(call: HarborCall) -> Response:
    """Say whether a project exists."""
    name = call.request.parameter("project_name")
    if not name:
        raise bad_request("project_name is missing")
    if projects.find(call.services.directory, name) is None:
        raise not_found("project")
    return done()


def create_project(call: HarborCall) -> Response:
    """Make a project."""
    _check_may_create(call)
    body = call.body()
    name = typed(body, "project_name", str, "")
    new = _new_project(call, name, body)
    _check_name_is_free(call, name)
    owner = Who(members.Kind.USER, new.owner_id, new.owner_name)
    directory, founding = call.services.directory, members.founding(owner)

    def event(number: int) -> Event:
        return Event(call.principal.name, name, "project", "create", project_id=number)

    def founded(number: int, name: str) -> tuple[Change, ...]:
        return (*founding(number, name), *audit.changes(directory, event(number)), *caches.condition(new))

    project = projects.create(directory, new, founded)
    indexing.tell(call.services, event(project.id))
    if project.proxies:
        caches.begin_retention(call, project)
    return created(call, project.id, name=name)


def _check_may_create(call: HarborCall) -> None:
    if _CREATE in call.permissions:
        return
    changed = configuration.read(call.services.directory)
    everyone = changed.get("project_creation_restriction", "everyone") == "everyone"
    if call.principal.kind is not Kind.USER or not everyone:
        raise HarborError(HarborCode.FORBIDDEN, _DENIED)


def _new_project(call: HarborCall, name: str, body: Mapping[str, Any]) -> NewProject:
    try:
        rules.check_name(name)
        metadata = dict(rules.parse_metadata(typed(body, "metadata", dict, {})))
        allowlist = rules.parse_allowlist(typed(body, "cve_allowlist", dict, {}))
        limit = rules.parse_storage_limit(typed(body, "storage_limit", int, _default_limit(call)))
    except ValueError as error:
        raise bad_request(str(error)) from error
    if typed(body, "public", bool, False):
        metadata.setdefault("public", "true")
    if body.get("storage_limit") is not None and not call.principal.administrator:
        limit = _default_limit(call)
    owner_id, owner_name = _owner(call)
    metadata = {"public": "false", **metadata}
    return NewProject(name, owner_id, owner_name, metadata, allowlist, limit, caches.registry_of(call, body))


def _default_limit(call: HarborCall) -> int:
    limit: int = configuration.read(call.services.directory).get("storage_per_project", projects.UNLIMITED)
    return limit


def _owner(call: HarborCall) -> tuple[int, str]:
    if call.principal.kind is Kind.USER:
        return call.principal.id, call.principal.name
    return users.ADMINISTRATOR_ID, users.ADMINISTRATOR


def _check_name_is_free(call: HarborCall, name: str) -> None:
    """Raise CONFLICT where somebody would get what belonged to a project that was deleted, or its tokens' holders."""
    if call.principal.administrator:
        return
    reserved = projects.reserved(call.services.directory, name)
    if reserved and reserved.maker != _maker(call):
        until = datetime.fromtimestamp(reserved.seconds, UTC).isoformat(timespec="seconds")
        message = f"a project {name} was deleted a short time ago: its name is free again at {until}"
        raise HarborError(HarborCode.CONFLICT, message)
    if remains.are_left(call.services.content, name):
        message = f"repositories of an earlier project {name} are left: an administrator may create it"
        raise HarborError(HarborCode.CONFLICT, message)


def _maker(call: HarborCall) -> str:
    return f"{call.principal.kind}/{call.principal.id}"


def _is_in_catalog(call: HarborCall, name: str) -> bool:
    """Tell whether the bucket lists repositories below a project's name."""
    page = listings.catalog(call.services.content, PageRequest(1, f"{name}/"))
    return any(entry.startswith(f"{name}/") for entry in page.entries)


def get_project(call: HarborCall) -> Response:
    """Show a project."""
    return answer(shown_project(call, call.project))


def update_project(call: HarborCall) -> Response:
    """Change a project's metadata, allowlist and, by an administrator, its storage limit."""
    body, project = call.body(), call.project
    try:
        metadata = {**project.metadata, **rules.parse_metadata(typed(body, "metadata", dict, {}))}
        given = typed(body, "cve_allowlist", dict, None)
        allowlist = project.allowlist if given is None else rules.parse_allowlist(given)
        limit = rules.parse_storage_limit(typed(body, "storage_limit", int, project.storage_limit))
    except ValueError as error:
        raise bad_request(str(error)) from error
    if not call.principal.administrator:
        limit = project.storage_limit
    changed = replace(project, metadata=metadata, allowlist=allowlist, storage_limit=limit)
    projects.update(call.auditing("project", "update", project.name).directory, changed)
    return done()


def delete_project(call: HarborCall) -> Response:
    """Delete a project that holds nothing."""
    reason = _why_kept(call)
    if reason:
        raise HarborError(HarborCode.PRECONDITION, reason)
    empty = repositories.none_in(call.services.index, call.project.id)
    reserved = Reservation(_maker(call), identity.token_seconds(call.services) + LEEWAY)
    audited = call.auditing("project", "delete", call.project.name)
    projects.delete(audited.directory, call.project, empty, reserved)
    members.clear(call.services.directory, call.project.id)
    retention.forget(call.services.directory, call.project.id)
    webhooks.forget(call.services.directory, call.project.id)
    remains.remove(call.services.content, call.project.name)
    counting.forget(call.services.index, call.project.id)
    return done()


def _why_kept(call: HarborCall) -> str:
    count = repositories.count(call.services.index, call.project.id)
    if count:
        return f"the project {call.project.name} holds {count} repositories: delete them first"
    if _is_in_catalog(call, call.project.name):
        return "the bucket holds repositories of it that the index lacks: delete them after `roadstead reindex`"
    return ""


def deletable(call: HarborCall) -> Response:
    """Say whether the project could be deleted, and why not."""
    reason = _why_kept(call)
    return answer({"deletable": not reason, "message": reason})


def summary(call: HarborCall) -> Response:
    """Show what a project holds and who its members are, to those who may know each."""
    project, directory = call.project, call.services.directory
    shown: dict[str, Any] = {"repo_count": repositories.count(call.services.index, project.id)}
    if Permission("member", "list") in call.permissions:
        found = [member.role for member in members.every(directory, project.id)]
        shown |= {name: found.count(role) for role, name in _ROLE_COUNTS.items()}
    if Permission("quota", "read") in call.permissions:
        used = counting.used(call.services.index, project.id)
        shown["quota"] = {"hard": {"storage": project.storage_limit}, "used": {"storage": used}}
    if project.proxies:
        shown |= caches.shown_registry(call, project)
    return answer(shown)


def list_metadata(call: HarborCall) -> Response:
    """Show a project's metadata."""
    return answer(dict(call.project.metadata))


def get_metadata(call: HarborCall) -> Response:
    """Show one of a project's metadata."""
    name = call.parameters["meta_name"]
    if name not in call.project.metadata:
        raise not_found(f"metadata {name}")
    return answer({name: call.project.metadata[name]})


def add_metadata(call: HarborCall) -> Response:
    """Set one of a project's metadata that was not set."""
    name, value = _one_metadata(call)
    if name in call.project.metadata:
        raise HarborError(HarborCode.CONFLICT, f"metadata {name} is set already: use PUT")
    return _with_metadata(call, {**call.project.metadata, name: value})


def set_metadata(call: HarborCall) -> Response:
    """Change one of a project's metadata."""
    wanted = call.parameters["meta_name"]
    name, value = _one_metadata(call)
    if name != wanted:
        raise bad_request(f"the path names {wanted} and the body {name}")
    if name not in call.project.metadata:
        raise not_found(f"metadata {name}")
    return _with_metadata(call, {**call.project.metadata, name: value})


def drop_metadata(call: HarborCall) -> Response:
    """Let one of a project's metadata have its default again; a retention policy goes with its id."""
    name = call.parameters["meta_name"]
    if name not in call.project.metadata:
        raise not_found(f"metadata {name}")
    if name == retention.METADATA and retentions.delete_of_project(call):
        return done()
    return _with_metadata(call, {key: value for key, value in call.project.metadata.items() if key != name})


def _one_metadata(call: HarborCall) -> tuple[str, str]:
    body = call.body()
    if len(body) != 1:
        raise bad_request("send one metadata at a time")
    try:
        parsed = rules.parse_metadata(body)
    except ValueError as error:
        raise bad_request(str(error)) from error
    if not parsed:
        raise bad_request(f"there is no metadata {next(iter(body))}")
    return next(iter(parsed.items()))


def _with_metadata(call: HarborCall, metadata: Mapping[str, str]) -> Response:
    audited = call.auditing("project", "update", call.project.name)
    projects.update(audited.directory, replace(call.project, metadata=metadata))
    return done()


_PROJECT = "/projects/{project_name_or_id}"
_METADATA = f"{_PROJECT}/metadatas/"
# fmt: off
ENDPOINTS: tuple[HarborEndpoint, ...] = (
    HarborEndpoint("GET",    "/projects",                           OPEN,                             list_projects),
    HarborEndpoint("HEAD",   "/projects",                           SIGNED_IN,                        head_project),
    HarborEndpoint("POST",   "/projects",                           SIGNED_IN,                        create_project),
    HarborEndpoint("GET",    _PROJECT,                              in_project("project", "read"),    get_project),
    HarborEndpoint("PUT",    _PROJECT,                              in_project("project", "update"),  update_project),
    HarborEndpoint("DELETE", _PROJECT,                              in_project("project", "delete"),  delete_project),
    HarborEndpoint("GET",    f"{_PROJECT}/_deletable",              in_project("project", "delete"),  deletable),
    HarborEndpoint("GET",    f"{_PROJECT}/summary",                 in_project("project", "read"),    summary),
    HarborEndpoint("GET",    _METADATA,                              in_project("metadata", "read"),   list_metadata),
    HarborEndpoint("POST",   _METADATA,                              in_project("metadata", "create"), add_metadata),
    HarborEndpoint("GET",    f"{_METADATA}{{meta_name}}",            in_project("metadata", "read"),   get_metadata),
    HarborEndpoint("PUT",    f"{_METADATA}{{meta_name}}",            in_project("metadata", "update"), set_metadata),
    HarborEndpoint("DELETE", f"{_METADATA}{{meta_name}}",            in_project("metadata", "delete"), drop_metadata),
)
# fmt: on
