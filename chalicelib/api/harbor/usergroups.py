"""User groups: names of groups that another service knows, to be made members of projects."""

from typing import Any

from chalicelib.api.harbor import listing
from chalicelib.api.harbor.calls import SIGNED_IN, HarborCall, HarborEndpoint, answer, created, done, in_system, typed
from chalicelib.api.harbor.errors import bad_request, not_found
from chalicelib.api.http import Response
from chalicelib.policy import people
from chalicelib.store.directory import groups, members
from chalicelib.store.directory.groups import LDAP, Group


def list_groups(call: HarborCall) -> Response:
    """List the groups, perhaps those whose names contain a text or the one with a DN."""
    wanted, directory = listing.parse(call.request), call.services.directory
    part, dn = call.request.parameter("group_name"), call.request.parameter("ldap_group_dn")
    if wanted.natural and not (part or dn):
        page = groups.page(directory, wanted.slice)
        return listing.answered(call, wanted, [_shown(group) for group in page.entries], groups.count(directory))
    found = [
        _shown(group)
        for group in groups.every(directory)
        if part.casefold() in group.name.casefold() and dn.casefold() in ("", group.dn.casefold())
    ]
    chosen, total = listing.select(wanted, found)
    return listing.answered(call, wanted, chosen, total)


def _shown(group: Group) -> dict[str, Any]:
    return {"id": group.id, "group_name": group.name, "group_type": group.type, "ldap_group_dn": group.dn}


def search_groups(call: HarborCall) -> Response:
    """List the names of groups that contain a text."""
    wanted, part = listing.parse(call.request), call.request.parameter("groupname")
    found = [
        {"id": group.id, "group_name": group.name, "group_type": group.type}
        for group in groups.every(call.services.directory)
        if part.casefold() in group.name.casefold()
    ]
    chosen, total = listing.select(wanted, found)
    return listing.answered(call, wanted, chosen, total)


def create_group(call: HarborCall) -> Response:
    """Make a group known."""
    body = call.body()
    name, kind = typed(body, "group_name", str, ""), typed(body, "group_type", int, LDAP)
    dn = typed(body, "ldap_group_dn", str, "")
    try:
        people.check_group(name, kind, dn)
    except ValueError as error:
        raise bad_request(str(error)) from error
    group = groups.create(call.auditing("user-group", "create", name).directory, name, kind, dn)
    return created(call, group.id)


def _group(call: HarborCall) -> Group:
    group = groups.by_id(call.services.directory, call.number("group_id"))
    if group is None:
        raise not_found("user group")
    return group


def get_group(call: HarborCall) -> Response:
    """Show a group."""
    return answer(_shown(_group(call)))


def update_group(call: HarborCall) -> Response:
    """Change the name by which a group is shown."""
    group, name = _group(call), typed(call.body(), "group_name", str, "")
    try:
        people.check_group(name, group.type, group.dn)
    except ValueError as error:
        raise bad_request(str(error)) from error
    groups.rename(call.auditing("user-group", "update", name).directory, group, name)
    return done()


def delete_group(call: HarborCall) -> Response:
    """Delete a group with all its memberships."""
    group = _group(call)
    groups.delete(call.auditing("user-group", "delete", group.name).directory, group)
    members.forget(call.services.directory, members.key_of(members.Kind.GROUP, group.id))
    return done()


# fmt: off
ENDPOINTS: tuple[HarborEndpoint, ...] = (
    HarborEndpoint("GET",    "/usergroups",            in_system("user-group", "list"),   list_groups),
    HarborEndpoint("POST",   "/usergroups",            in_system("user-group", "create"), create_group),
    HarborEndpoint("GET",    "/usergroups/search",     SIGNED_IN,                         search_groups),
    HarborEndpoint("GET",    "/usergroups/{group_id}", in_system("user-group", "read"),   get_group),
    HarborEndpoint("PUT",    "/usergroups/{group_id}", in_system("user-group", "update"), update_group),
    HarborEndpoint("DELETE", "/usergroups/{group_id}", in_system("user-group", "delete"), delete_group),
)
# fmt: on
