"""Members of projects: users and groups with a role.

Invariant: nobody changes or removes the own membership, as in Harbor: a project is never left by accident.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from chalicelib.api.harbor import listing
from chalicelib.api.harbor.calls import HarborCall, HarborEndpoint, answer, created, done, in_project, typed
from chalicelib.api.harbor.errors import HarborCode, HarborError, bad_request, not_found
from chalicelib.api.http import Response
from chalicelib.policy import people
from chalicelib.policy.grants import Kind as PrincipalKind
from chalicelib.policy.rbac import Role
from chalicelib.store.directory import groups, members, users
from chalicelib.store.directory.groups import LDAP, Group
from chalicelib.store.directory.members import Kind, Member, Who

_NAMES: Mapping[Role, str] = {
    Role.PROJECT_ADMIN: "projectAdmin",
    Role.MAINTAINER: "maintainer",
    Role.DEVELOPER: "developer",
    Role.GUEST: "guest",
    Role.LIMITED_GUEST: "limitedGuest",
}


def list_members(call: HarborCall) -> Response:
    """List a project's members, perhaps those whose names contain a text."""
    wanted, part = listing.parse(call.request), call.request.parameter("entityname")
    found = [_shown(member) for member in members.every(call.services.directory, call.project.id)]
    matching = [shown for shown in found if part.casefold() in shown["entity_name"].casefold()]
    chosen, total = listing.select(wanted, sorted(matching, key=lambda shown: shown["entity_name"]))
    return listing.answered(call, wanted, chosen, total)


def _shown(member: Member) -> dict[str, Any]:
    return {
        "id": member.id,
        "project_id": member.project_id,
        "entity_name": member.who.name,
        "role_name": _NAMES[member.role],
        "role_id": int(member.role),
        "entity_id": member.who.id,
        "entity_type": str(member.who.kind),
    }


def add_member(call: HarborCall) -> Response:
    """Give a user or a group a role."""
    body = call.body()
    role = _role(body)
    user, group = typed(body, "member_user", dict, {}), typed(body, "member_group", dict, {})
    if bool(user) == bool(group):
        raise bad_request("name either member_user or member_group")
    who = _user(call, user) if user else _group(call, group)
    project = call.project
    audited = call.auditing("member", "create", who.name, f"role {_NAMES[role]}")
    member = members.add(audited.directory, project.id, project.entry.record.key, who, role)
    return created(call, member.id)


def _role(body: Mapping[str, Any]) -> Role:
    number = typed(body, "role_id", int, 0)
    try:
        return Role(number)
    except ValueError as error:
        raise bad_request(f"role_id must be one of {', '.join(str(int(role)) for role in Role)}") from error


def _user(call: HarborCall, given: Mapping[str, Any]) -> Who:
    number, name = typed(given, "user_id", int, 0), typed(given, "username", str, "")
    directory = call.services.directory
    user = users.by_id(directory, number) if number else users.find(directory, name)
    if user is None:
        raise not_found(f"user {name or number}")
    return Who(Kind.USER, user.id, user.name)


def _group(call: HarborCall, given: Mapping[str, Any]) -> Who:
    number = typed(given, "id", int, 0)
    group = groups.by_id(call.services.directory, number) if number else _named_group(call, given)
    if group is None:
        raise not_found(f"user group {number}")
    return Who(Kind.GROUP, group.id, group.name)


def _named_group(call: HarborCall, given: Mapping[str, Any]) -> Group:
    """Return the group with this name or DN; one that is not known yet is made, as in Harbor."""
    name, dn = typed(given, "group_name", str, ""), typed(given, "ldap_group_dn", str, "")
    kind = typed(given, "group_type", int, LDAP)
    if not (dn if kind == LDAP else name):
        raise bad_request("name the group: id, group_name with group_type, or ldap_group_dn")
    found = groups.find(call.services.directory, name, kind, dn)
    checked = _checked_group(name or dn, kind, dn)
    audited = replace(call, in_project=None).auditing("user-group", "create", checked[0])
    return found or groups.create(audited.directory, *checked)


def _checked_group(name: str, kind: int, dn: str) -> tuple[str, int, str]:
    try:
        people.check_group(name, kind, dn)
    except ValueError as error:
        raise bad_request(str(error)) from error
    return name, kind, dn


def get_member(call: HarborCall) -> Response:
    """Show a member."""
    return answer(_shown(_member(call)))


def _member(call: HarborCall) -> Member:
    member = members.find(call.services.directory, call.project.id, call.number("mid"))
    if member is None:
        raise not_found("member")
    return member


def update_member(call: HarborCall) -> Response:
    """Give a member another role."""
    member, role = _member(call), _role(call.body())
    _check_other(call, member)
    audited = call.auditing("member", "update", member.who.name, f"role {_NAMES[role]}")
    members.set_role(audited.directory, member, role)
    return done()


def remove_member(call: HarborCall) -> Response:
    """Remove a member."""
    member = _member(call)
    _check_other(call, member)
    members.remove(call.auditing("member", "delete", member.who.name).directory, member)
    return done()


def _check_other(call: HarborCall, member: Member) -> None:
    own = call.principal.kind is PrincipalKind.USER and member.who.key == members.key_of(Kind.USER, call.principal.id)
    if own and not call.principal.administrator:
        raise HarborError(HarborCode.FORBIDDEN, "you cannot change your own membership: ask another administrator")


_MEMBERS = "/projects/{project_name_or_id}/members"
# fmt: off
ENDPOINTS: tuple[HarborEndpoint, ...] = (
    HarborEndpoint("GET",    _MEMBERS,             in_project("member", "list"),   list_members),
    HarborEndpoint("POST",   _MEMBERS,             in_project("member", "create"), add_member),
    HarborEndpoint("GET",    f"{_MEMBERS}/{{mid}}", in_project("member", "read"),   get_member),
    HarborEndpoint("PUT",    f"{_MEMBERS}/{{mid}}", in_project("member", "update"), update_member),
    HarborEndpoint("DELETE", f"{_MEMBERS}/{{mid}}", in_project("member", "delete"), remove_member),
)
# fmt: on
