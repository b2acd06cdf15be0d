"""Users: accounts, profiles, passwords, the administrator flag, and who the caller is.

Invariants:
* A field that a request may not set is not read from it: `sysadmin_flag` is set by its own endpoint alone.
* Everybody may look at and change the own profile and password; of others, whoever has the permission.
* Nobody but an administrator makes administrators, or changes one: permissions over users do not reach so far.
* A new password ends the sessions that began with the old one.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from chalicelib.api import identity, passwords
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
    in_system,
    typed,
)
from chalicelib.api.harbor.errors import HarborCode, HarborError, bad_request, not_found
from chalicelib.api.http import Response
from chalicelib.policy import people
from chalicelib.policy.grants import Kind
from chalicelib.policy.rbac import Permission
from chalicelib.policy.throttle import network
from chalicelib.store.directory import configuration, members, projects, users
from chalicelib.store.directory.users import ADMINISTRATOR_ID, NewUser, User

_SELF_REGISTRATION_OFF = "registering is switched off: ask an administrator for an account"


def list_users(call: HarborCall) -> Response:
    """List all users."""
    wanted = listing.parse(call.request)
    directory = call.services.directory
    if wanted.natural:
        page = users.page(directory, wanted.slice)
        return listing.answered(call, wanted, [_shown(user) for user in page.entries], users.count(directory))
    chosen, total = listing.select(wanted, [_shown(user) for user in users.every(directory)])
    return listing.answered(call, wanted, chosen, total)


def _shown(user: User) -> dict[str, Any]:
    return {
        "user_id": user.id,
        "username": user.name,
        "email": user.email,
        "realname": user.realname,
        "comment": user.comment,
        "sysadmin_flag": user.administrator,
        "admin_role_in_auth": False,
        "creation_time": user.created,
        "update_time": user.updated,
    }


def search_users(call: HarborCall) -> Response:
    """List the names of users that contain a text: whoever adds members looks for them here."""
    wanted, part = listing.parse(call.request), call.request.parameter("username")
    if not part:
        raise bad_request("username is missing")
    found = [
        {"user_id": user.id, "username": user.name}
        for user in users.every(call.services.directory)
        if part.casefold() in user.name.casefold()
    ]
    chosen, total = listing.select(wanted, found)
    return listing.answered(call, wanted, chosen, total)


def create_user(call: HarborCall) -> Response:
    """Make a user: by an administrator, or by oneself where that is allowed."""
    if Permission("user", "create") not in call.permissions:
        _check_self_registration(call)
    body = call.body()
    try:
        name = people.check_user_name(typed(body, "username", str, ""))
        password = people.check_password(typed(body, "password", str, ""))
        new = NewUser(name, passwords.hash_password(password), *_profile(body))
    except ValueError as error:
        raise bad_request(str(error)) from error
    user = users.create(call.auditing("user", "create", name).directory, new)
    return created(call, user.id)


def _check_self_registration(call: HarborCall) -> None:
    changed = configuration.read(call.services.directory)
    if call.principal.kind is not Kind.ANONYMOUS or not changed.get("self_registration", False):
        raise HarborError(HarborCode.FORBIDDEN, _SELF_REGISTRATION_OFF)


def _profile(body: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return the e-mail address, the real name and the comment of a body; raise ValueError."""
    return (
        people.check_email(typed(body, "email", str, "")),
        people.check_text("realname", typed(body, "realname", str, "")),
        people.check_text("comment", typed(body, "comment", str, "")),
    )


def current_user(call: HarborCall) -> Response:
    """Show who the caller is."""
    if call.principal.kind is not Kind.USER:
        raise HarborError(HarborCode.PRECONDITION, "you are logged in as a robot account, which has no profile")
    return answer(_shown(_found(call, call.principal.id)))


def current_permissions(call: HarborCall) -> Response:
    """List what the caller may do: in the system, or in the project of `scope` (`/project/<id>`)."""
    scope, relative = call.request.parameter("scope"), call.request.parameter("relative") == "true"
    allowed, prefix = _permissions(call, scope)
    shown = [
        {"resource": resource if relative or not prefix else f"{prefix}/{resource}", "action": action}
        for resource, action in sorted(allowed)
    ]
    return answer(shown)


def _permissions(call: HarborCall, scope: str) -> tuple[frozenset[Permission], str]:
    if not scope.startswith("/project/"):
        return call.permissions, ""
    number = identifier(scope.removeprefix("/project/").partition("/")[0])
    project = projects.by_id(call.services.directory, number) if number is not None else None
    if project is None:
        return frozenset(), scope
    return identity.permissions(call.services, call.principal, project), scope


def _user(call: HarborCall) -> User:
    return _found(call, call.number("user_id"))


def _found(call: HarborCall, number: int) -> User:
    user = users.by_id(call.services.directory, number)
    if user is None:
        raise not_found("user")
    return user


def _own_or(action: str) -> Callable[[HarborCall], bool]:
    """Return the check that the caller is the user of the path, or may do `action` to users; raise FORBIDDEN."""

    def check(call: HarborCall) -> bool:
        own = call.principal.kind is Kind.USER and call.principal.id == call.number("user_id")
        if not own and Permission("user", action) not in call.permissions:
            raise HarborError(HarborCode.FORBIDDEN, f"you may not do this: it needs user:{action}")
        return own

    return check


def _check_rank(call: HarborCall, user: User) -> None:
    """Raise FORBIDDEN where somebody who is no administrator would act on one, or make one."""
    if user.administrator and not call.principal.administrator:
        raise HarborError(HarborCode.FORBIDDEN, "only an administrator may change an administrator")


_check_read, _check_update = _own_or("read"), _own_or("update")


def get_user(call: HarborCall) -> Response:
    """Show a user."""
    _check_read(call)
    return answer(_shown(_user(call)))


def update_user(call: HarborCall) -> Response:
    """Change a user's profile."""
    own = _check_update(call)
    user, body = _user(call), call.body()
    if not own:
        _check_rank(call, user)
    before = {"email": user.email, "realname": user.realname, "comment": user.comment}
    try:
        given = {name: value for name, value in body.items() if value is not None}
        email, realname, comment = _profile({**before, **given})
    except ValueError as error:
        raise bad_request(str(error)) from error
    changed = replace(user, email=email, realname=realname, comment=comment)
    users.update(call.auditing("user", "update", user.name, "profile").directory, changed)
    return done()


def delete_user(call: HarborCall) -> Response:
    """Delete a user with all memberships, also those that an earlier attempt left when it was cut off."""
    number = call.number("user_id")
    if users.by_id(call.services.directory, number) is None:
        members.forget(call.services.directory, members.key_of(members.Kind.USER, number))
    user = _user(call)
    _check_rank(call, user)
    if user.id in (ADMINISTRATOR_ID, call.principal.id if call.principal.kind is Kind.USER else 0):
        raise HarborError(HarborCode.FORBIDDEN, "neither the administrator nor oneself can be deleted")
    users.delete(call.auditing("user", "delete", user.name).directory, user)
    members.forget(call.services.directory, members.key_of(members.Kind.USER, user.id))
    return done()


def set_administrator(call: HarborCall) -> Response:
    """Make a user an administrator of the system, or no longer."""
    user, flag = _user(call), typed(call.body(), "sysadmin_flag", bool, None)
    if not call.principal.administrator:
        raise HarborError(HarborCode.FORBIDDEN, "only an administrator may make others one")
    if flag is None:
        raise bad_request("sysadmin_flag is missing")
    if user.id == ADMINISTRATOR_ID and not flag:
        raise HarborError(HarborCode.FORBIDDEN, "the administrator stays one: nobody could undo this")
    audited = call.auditing("user", "update", user.name, "administrator" if flag else "no administrator")
    users.update(audited.directory, replace(user, administrator=flag))
    return done()


def set_password(call: HarborCall) -> Response:
    """Change a password: the own one by naming the old one, another's as an administrator."""
    own = _check_update(call)
    user, body = _user(call), call.body()
    if not own:
        _check_rank(call, user)
    new, old = typed(body, "new_password", str, ""), typed(body, "old_password", str, "")
    if own:
        identity.check_own_password(call.services, call.request, user, old)
    try:
        people.check_password(new)
    except ValueError as error:
        raise bad_request(str(error)) from error
    if identity.is_password(call.services, user, new, network(call.request.source)):
        raise bad_request("the new password is the old one")
    changed = replace(user, password=passwords.hash_password(new))
    users.update(call.auditing("user", "update", user.name, "password").directory, changed)
    return done()


def set_cli_secret(call: HarborCall) -> Response:
    """Set the secret that a user's command-line tools log in with, in the place of the password."""
    own = _check_update(call)
    user, secret = _user(call), typed(call.body(), "secret", str, "")
    if not own:
        _check_rank(call, user)
    try:
        people.check_password(secret)
    except ValueError as error:
        raise bad_request(str(error)) from error
    changed = replace(user, cli_secret=passwords.hash_password(secret))
    users.update(call.auditing("user", "update", user.name, "secret of the command line").directory, changed)
    return done()


_USER = "/users/{user_id}"
# fmt: off
ENDPOINTS: tuple[HarborEndpoint, ...] = (
    HarborEndpoint("GET",    "/users",                     in_system("user", "list"),   list_users),
    HarborEndpoint("POST",   "/users",                     OPEN,                        create_user),
    HarborEndpoint("GET",    "/users/search",              SIGNED_IN,                   search_users),
    HarborEndpoint("GET",    "/users/current",             SIGNED_IN,                   current_user),
    HarborEndpoint("GET",    "/users/current/permissions", SIGNED_IN,                   current_permissions),
    HarborEndpoint("GET",    _USER,                        SIGNED_IN,                   get_user),
    HarborEndpoint("PUT",    _USER,                        SIGNED_IN,                   update_user),
    HarborEndpoint("DELETE", _USER,                        in_system("user", "delete"), delete_user),
    HarborEndpoint("PUT",    f"{_USER}/sysadmin",          in_system("user", "update"), set_administrator),
    HarborEndpoint("PUT",    f"{_USER}/password",          SIGNED_IN,                   set_password),
    HarborEndpoint("PUT",    f"{_USER}/cli_secret",        SIGNED_IN,                   set_cli_secret),
)
# fmt: on
