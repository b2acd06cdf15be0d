"""Robot accounts of the system and of projects, and the catalogue of what they can be permitted.

Invariants:
* A secret is shown once: when it is made.
* A robot account that makes or changes another gives away nothing that it does not have itself.
* Robot accounts of a project are the business of who may manage robots there; those of the system, of who may in
  the system. Others are not told whether the project or the robot account exists.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from chalicelib.api import identity, passwords
from chalicelib.api.harbor import listing
from chalicelib.api.harbor.calls import (
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
from chalicelib.api.harbor.robot_views import full_name, shown_robot
from chalicelib.api.http import Response
from chalicelib.api.passwords import GeneratedSecret
from chalicelib.policy import people
from chalicelib.policy import robots as rules
from chalicelib.policy.configuration import DEFAULTS
from chalicelib.policy.grants import Kind
from chalicelib.policy.rbac import Permission
from chalicelib.policy.robots import Level, RobotPermission
from chalicelib.store.directory import SYSTEM, configuration, projects, robots
from chalicelib.store.directory.projects import Project
from chalicelib.store.directory.robots import NewRobot, Robot

_DENY = "deny"


def list_robots(call: HarborCall) -> Response:
    """List the robot accounts of the system, or of the project that `q` names (Level=project,ProjectID=1)."""
    wanted = listing.parse(call.request)
    conditions = {listing.field_name(name): value for name, value in wanted.conditions.items()}
    project = _project_of_list(call, conditions)
    rest = {name: value for name, value in conditions.items() if name not in ("level", "projectid")}
    wanted = replace(wanted, conditions=rest)
    scope, directory, prefix = project.id if project else SYSTEM, call.services.directory, _prefix(call)
    if wanted.natural:
        found = robots.living(directory, robots.page(directory, scope, wanted.slice).entries)
        entries = [shown_robot(robot, project, prefix) for robot in found]
        return listing.answered(call, wanted, entries, robots.count(directory, scope))
    # As in Harbor names are searched for without the prefix; with it they are found too.
    if "name" in rest:
        wanted = replace(wanted, conditions={**rest, "name": rest["name"].replace(prefix, "")})
    rows = [shown_robot(robot, project, "") for robot in robots.living(directory, robots.every(directory, scope))]
    chosen, total = listing.select(wanted, rows)
    return listing.answered(call, wanted, [{**row, "name": prefix + row["name"]} for row in chosen], total)


def _project_of_list(call: HarborCall, conditions: Mapping[str, str]) -> Project | None:
    """Return the project whose robot accounts are wanted, if the caller may list them, or None for the system's."""
    if conditions.get("level", Level.SYSTEM) != Level.PROJECT:
        _check(call, None, "list")
        return None
    number = identifier(conditions.get("projectid", ""))
    if number is None:
        raise bad_request("q must name the project too: Level=project,ProjectID=<id>")
    return _project(call, projects.by_id(call.services.directory, number), "list")


def _project(call: HarborCall, project: Project | None, action: str) -> Project:
    """Return the project if the caller may do this to its robot accounts; only administrators learn of none."""
    if project is None:
        raise not_found("project") if call.principal.administrator else _refusal(action)
    _check(call, project, action)
    return project


def _check(call: HarborCall, project: Project | None, action: str) -> None:
    """Raise FORBIDDEN where the caller may not do this to robot accounts of the project, or of the system."""
    allowed = call.permissions
    if project:
        allowed = identity.permissions(call.services, call.principal, project)
    if Permission("robot", action) not in allowed:
        raise _refusal(action)


def _refusal(action: str) -> HarborError:
    return HarborError(HarborCode.FORBIDDEN, f"you may not do this: it needs robot:{action}")


def _prefix(call: HarborCall) -> str:
    return identity.robot_prefix(call.services)


def create_robot(call: HarborCall) -> Response:
    """Make a robot account; its secret is in the answer and nowhere else."""
    body = call.body()
    permissions = _permissions(body)
    level = _level(body)
    project = _project_of(call, level, permissions)
    _check_permissions(call, level, permissions, project)
    scope = _named_projects(call, permissions, {})
    secret = _secret(body)
    new = _new_robot(call, body, (permissions, scope), secret, project)
    name = rules.full_name(_prefix(call), level, project.name if project else "", new.name)
    audited = replace(call, in_project=project).auditing("robot", "create", name)
    robot = robots.create(audited.directory, new, project.entry.record.key if project else None)
    document = {
        "id": robot.id,
        "name": name,
        "secret": secret,
        "creation_time": robot.created,
        "expires_at": robot.expires,
    }
    return created(call, robot.id, document, name=name)


def _level(body: Mapping[str, Any]) -> Level:
    try:
        return Level(typed(body, "level", str, ""))
    except ValueError as error:
        raise bad_request("level must be system or project") from error


def _permissions(body: Mapping[str, Any]) -> tuple[RobotPermission, ...]:
    return tuple(_permission(given) for given in typed(body, "permissions", list, []))


def _permission(given: object) -> RobotPermission:
    if not isinstance(given, dict):
        raise bad_request("each of the permissions must be an object")
    entries = typed(given, "access", list, [])
    if not all(isinstance(entry, dict) for entry in entries):
        raise bad_request("each access must be an object with resource and action")
    try:
        kind = Level(typed(given, "kind", str, ""))
    except ValueError as error:
        raise bad_request("the kind of a permission must be system or project") from error
    pairs = [
        (Permission(typed(entry, "resource", str, ""), typed(entry, "action", str, "")), _effect(entry))
        for entry in entries
    ]
    return RobotPermission(
        kind=kind,
        namespace=typed(given, "namespace", str, ""),
        access=frozenset(pair for pair, effect in pairs if effect != _DENY),
        denied=frozenset(pair for pair, effect in pairs if effect == _DENY),
    )


def _effect(entry: Mapping[str, Any]) -> str:
    effect: str = typed(entry, "effect", str, "")
    if effect not in ("", "allow", _DENY):
        raise bad_request(f"the effect of a permission is allow or {_DENY}")
    return effect


def _project_of(call: HarborCall, level: Level, permissions: tuple[RobotPermission, ...]) -> Project | None:
    """Return the project that a new robot account belongs to: the one that its only permission names."""
    if level is Level.SYSTEM:
        _check(call, None, "create")
        return None
    if len(permissions) != 1:
        raise bad_request("a robot account of a project has permissions in that project, as one entry")
    return _project(call, projects.find(call.services.directory, permissions[0].namespace), "create")


def _check_permissions(
    call: HarborCall, level: Level, permissions: tuple[RobotPermission, ...], project: Project | None
) -> None:
    try:
        rules.check(level, permissions, project.name if project else "")
    except ValueError as error:
        raise bad_request(str(error)) from error
    if call.principal.kind is not Kind.ROBOT:
        return
    # An entry that only denies would tell whether a project exists.
    empty = any(not permission.access for permission in permissions)
    if empty or not rules.covers(call.principal.permissions, permissions):
        raise HarborError(HarborCode.DENIED, "a robot account can only give permissions that it has itself")


def _named_projects(
    call: HarborCall, permissions: tuple[RobotPermission, ...], before: Mapping[str, int]
) -> Mapping[str, int]:
    """Return the ids of the projects that permissions name; one that is gone may be named where it was `before`."""
    names = {permission.namespace for permission in permissions} - {rules.SYSTEM_NAMESPACE, rules.EVERY_PROJECT}
    known = {name: number for name, number in before.items() if name in names}
    known |= {found.name: found.id for found in projects.named(call.services.directory, tuple(sorted(names)))}
    if names - set(known):
        raise bad_request(f"there is no project {', '.join(sorted(names - set(known)))}")
    return known


def _secret(body: Mapping[str, Any]) -> str:
    given = typed(body, "secret", str, "")
    if not given:
        return passwords.new_secret()
    return _checked_secret(given)


def _checked_secret(given: str) -> str:
    try:
        return people.check_password(given)
    except ValueError as error:
        raise bad_request(f"the secret is not good: {error}") from error


def _new_robot(
    call: HarborCall,
    body: Mapping[str, Any],
    rights: tuple[tuple[RobotPermission, ...], Mapping[str, int]],
    secret: str,
    project: Project | None,
) -> NewRobot:
    default = configuration.read(call.services.directory).get(
        "robot_token_duration", DEFAULTS["robot_token_duration"]
    )
    duration = typed(body, "duration", int, default) or default
    try:
        name = rules.check_name(typed(body, "name", str, ""))
        description = rules.check_description(typed(body, "description", str, ""))
        expires = rules.expires_at(int(call.services.now().timestamp()), duration)
        expires = rules.earlier(expires, call.principal.expires or rules.NEVER)
    except ValueError as error:
        raise bad_request(str(error)) from error
    return NewRobot(
        name=name,
        project_id=project.id if project else SYSTEM,
        description=description,
        secret=_hashed(secret, chosen=bool(body.get("secret"))),
        disabled=typed(body, "disable", bool, False),
        duration=duration,
        expires=expires,
        permissions=rights[0],
        projects=rights[1],
        creator_type="robot" if call.principal.kind is Kind.ROBOT else "local",
        creator=call.principal.id,
    )


def _hashed(secret: str, *, chosen: bool) -> str:
    return passwords.hash_password(secret) if chosen else passwords.hash_secret(GeneratedSecret(secret))


def _robot(call: HarborCall, action: str) -> tuple[Robot, Project | None]:
    """Return the robot account of the path and its project, if the caller may do this to it."""
    robot = robots.by_id(call.services.directory, call.number("robot_id"))
    number = robot.project_id if robot else SYSTEM
    project = projects.by_id(call.services.directory, number) if number else None
    if robot is None or (number and project is None):
        _check(call, None, action)
        raise not_found("robot account")
    _check(call, project, action)
    return robot, project


def get_robot(call: HarborCall) -> Response:
    """Show a robot account."""
    robot, project = _robot(call, "read")
    (current,) = robots.living(call.services.directory, [robot])
    return answer(shown_robot(current, project, _prefix(call)))


def update_robot(call: HarborCall) -> Response:
    """Change a robot account; its name and its level stay."""
    robot, project = _robot(call, "update")
    body = call.body()
    _check_unchanged(call, robot, project, body)
    permissions, scope = _changed_rights(call, robot, project, body)
    duration = typed(body, "duration", int, robot.duration) or robot.duration
    created_at = int(datetime.fromisoformat(robot.created).timestamp())
    description = typed(body, "description", str, robot.description)
    try:
        rules.check_description(description if description != robot.description else "")
        expires = rules.expires_at(created_at, duration) if duration != robot.duration else robot.expires
    except ValueError as error:
        raise bad_request(str(error)) from error
    changed = replace(
        robot,
        description=description,
        disabled=typed(body, "disable", bool, robot.disabled),
        duration=duration,
        expires=expires,
        permissions=permissions,
        projects=scope,
    )
    audited = replace(call, in_project=project).auditing("robot", "update", full_name(robot, project, _prefix(call)))
    robots.update(audited.directory, changed)
    return done()


def _changed_rights(
    call: HarborCall, robot: Robot, project: Project | None, body: Mapping[str, Any]
) -> tuple[tuple[RobotPermission, ...], Mapping[str, int]]:
    """Return a robot account's new permissions and the ids of the projects that they name.

    What is sent as it was shown changes nothing. Else who sends them gives them anew, in the projects of today.
    """
    if body.get("permissions") is None:
        return robot.permissions, robot.projects
    permissions, (current,) = _permissions(body), robots.living(call.services.directory, [robot])
    if permissions == current.permissions:
        return robot.permissions, robot.projects
    _check_permissions(call, robot.level, permissions, project)
    return permissions, _named_projects(call, permissions, robot.projects)


def _check_unchanged(call: HarborCall, robot: Robot, project: Project | None, body: Mapping[str, Any]) -> None:
    name, level = typed(body, "name", str, ""), typed(body, "level", str, "")
    if name and name not in (robot.name, full_name(robot, project, _prefix(call))):
        raise bad_request("the name of a robot account cannot be changed")
    if level and level != robot.level:
        raise bad_request("the level of a robot account cannot be changed")


def refresh_secret(call: HarborCall) -> Response:
    """Give a robot account a new secret: a given one, or one that is made and shown once."""
    robot, project = _robot(call, "update")
    given = typed(call.body(), "secret", str, "")
    secret = _checked_secret(given) if given else passwords.new_secret()
    name, changed = (
        full_name(robot, project, _prefix(call)),
        replace(robot, secret=_hashed(secret, chosen=bool(given))),
    )
    robots.update(replace(call, in_project=project).auditing("robot", "update", name, "secret").directory, changed)
    return answer({"secret": "" if given else secret})


def delete_robot(call: HarborCall) -> Response:
    """Delete a robot account."""
    robot, project = _robot(call, "delete")
    name = full_name(robot, project, _prefix(call))
    robots.delete(replace(call, in_project=project).auditing("robot", "delete", name).directory, robot)
    return done()


def list_permissions(call: HarborCall) -> Response:  # noqa: ARG001 - it is the same for everybody
    """List what robot accounts can be permitted."""
    return answer(
        {
            "system": [permission._asdict() for permission in rules.SYSTEM_CATALOGUE],
            "project": [permission._asdict() for permission in rules.PROJECT_CATALOGUE],
        }
    )


_ROBOT = "/robots/{robot_id}"
# The permission depends on where the robot account belongs: the handlers ask for it.
# fmt: off
ENDPOINTS: tuple[HarborEndpoint, ...] = (
    HarborEndpoint("GET",    "/robots",      SIGNED_IN, list_robots),
    HarborEndpoint("POST",   "/robots",      SIGNED_IN, create_robot),
    HarborEndpoint("GET",    _ROBOT,         SIGNED_IN, get_robot),
    HarborEndpoint("PUT",    _ROBOT,         SIGNED_IN, update_robot),
    HarborEndpoint("PATCH",  _ROBOT,         SIGNED_IN, refresh_secret),
    HarborEndpoint("DELETE", _ROBOT,         SIGNED_IN, delete_robot),
    HarborEndpoint("GET",    "/permissions", SIGNED_IN, list_permissions),
)
# fmt: on
