"""Robot accounts: names and secrets for programs, with permissions of their own.

Invariants:
* A robot's name is unique below its project, or below the system; both never change.
* Only the hash of its secret is stored.
* `projects` has the ids of the projects that its permissions name: in one that was made anew under an old name they
  do not hold.
* Its permissions are checked when they are written (`policy.robots.check`), and hold as written.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from chalicelib.oci.pages import Page
from chalicelib.policy.rbac import Permission
from chalicelib.policy.robots import Level, RobotPermission, live
from chalicelib.store.directory import SYSTEM, Directory, projects
from chalicelib.store.directory.collection import Collection, Entry
from chalicelib.store.table import Change, Key, Slice

ROBOTS = Collection("robot", "robots", "a robot account of this name exists already")


@dataclass(frozen=True, slots=True)
class Robot:
    """A robot account; `project_id` 0 is the system, `duration` days, `expires` seconds since 1970; -1: never."""

    id: int
    name: str
    project_id: int
    description: str
    secret: str
    disabled: bool
    duration: int
    expires: int
    permissions: tuple[RobotPermission, ...]
    projects: Mapping[str, int]
    creator_type: str
    creator: int
    created: str
    updated: str
    entry: Entry

    @property
    def level(self) -> Level:
        """Return where it belongs."""
        return Level.PROJECT if self.project_id else Level.SYSTEM


@dataclass(frozen=True, slots=True)
class NewRobot:
    """What a robot account is made of."""

    name: str
    project_id: int
    description: str
    secret: str
    disabled: bool
    duration: int
    expires: int
    permissions: tuple[RobotPermission, ...]
    projects: Mapping[str, int]
    creator_type: str
    creator: int


def create(directory: Directory, new: NewRobot, project: Key | None) -> Robot:
    """Make a robot account, of the project that is at `project` or of the system; raise RefusedError."""
    now = directory.time()
    document = {
        "name": new.name,
        "project_id": new.project_id,
        "description": new.description,
        "secret": new.secret,
        "disabled": new.disabled,
        "duration": new.duration,
        "expires": new.expires,
        "permissions": [_written(permission) for permission in new.permissions],
        "projects": dict(new.projects),
        "creator_type": new.creator_type,
        "creator": new.creator,
        "created": now,
        "updated": now,
    }
    also: tuple[Change, ...] = (projects.still_there(project),) if project else ()
    return _robot(ROBOTS.create(directory, ROBOTS.key(new.project_id, new.name), document, lambda _id: also))


def find(directory: Directory, project_id: int, name: str) -> Robot | None:
    """Return the robot account of a project (or of the system, 0) with this name, or None."""
    entry = ROBOTS.find(directory, ROBOTS.key(project_id, name))
    return _robot(entry) if entry else None


def by_id(directory: Directory, number: int) -> Robot | None:
    """Return the robot account with this id, or None."""
    entry = ROBOTS.by_id(directory, number)
    return _robot(entry) if entry else None


def page(directory: Directory, project_id: int, wanted: Slice) -> Page[Robot]:
    """Return a part of the robot accounts of a project or of the system, in the order of their names."""
    found = ROBOTS.page(directory, project_id, wanted)
    return Page(tuple(map(_robot, found.entries)), found.more)


def every(directory: Directory, project_id: int = SYSTEM) -> tuple[Robot, ...]:
    """Return all robot accounts of a project or of the system, in the order of their names."""
    return tuple(map(_robot, ROBOTS.all(directory, project_id)))


def count(directory: Directory, project_id: int = SYSTEM) -> int:
    """Return how many robot accounts a project or the system has."""
    return ROBOTS.count(directory, project_id)


def living(directory: Directory, found: Iterable[Robot]) -> tuple[Robot, ...]:
    """Return robot accounts with those of their permissions that still hold."""
    entries = tuple(found)
    named = {name for robot in entries for name in robot.projects}
    ids = {project.name: project.id for project in projects.named(directory, tuple(sorted(named)))}
    gone = [{name for name, number in robot.projects.items() if ids.get(name) != number} for robot in entries]
    return tuple(
        replace(robot, permissions=live(robot.permissions, names)) for robot, names in zip(entries, gone, strict=True)
    )


def update(directory: Directory, robot: Robot) -> None:
    """Store what may change of a robot account; raise RefusedError where it changed meanwhile."""
    document = {
        **robot.entry.document,
        "description": robot.description,
        "secret": robot.secret,
        "disabled": robot.disabled,
        "duration": robot.duration,
        "expires": robot.expires,
        "permissions": [_written(permission) for permission in robot.permissions],
        "projects": dict(robot.projects),
        "updated": directory.time(),
    }
    ROBOTS.update(directory, robot.entry, document)


def delete(directory: Directory, robot: Robot) -> None:
    """Delete a robot account; raise RefusedError where it changed meanwhile."""
    ROBOTS.delete(directory, robot.entry)


def _written(permission: RobotPermission) -> dict[str, object]:
    return {
        "kind": str(permission.kind),
        "namespace": permission.namespace,
        "access": [list(pair) for pair in sorted(permission.access)],
        "denied": [list(pair) for pair in sorted(permission.denied)],
    }


def _read(document: Mapping[str, Any]) -> RobotPermission:
    return RobotPermission(
        kind=Level(document["kind"]),
        namespace=document["namespace"],
        access=frozenset(Permission(*pair) for pair in document["access"]),
        denied=frozenset(Permission(*pair) for pair in document["denied"]),
    )


def _robot(entry: Entry) -> Robot:
    document = entry.document
    return Robot(
        id=entry.id,
        name=document["name"],
        project_id=document["project_id"],
        description=document["description"],
        secret=document["secret"],
        disabled=document["disabled"],
        duration=document["duration"],
        expires=document["expires"],
        permissions=tuple(map(_read, document["permissions"])),
        projects=document["projects"],
        creator_type=document["creator_type"],
        creator=document["creator"],
        created=document["created"],
        updated=document["updated"],
        entry=entry,
    )
