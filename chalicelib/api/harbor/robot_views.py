"""Robot accounts as Harbor writes them.

Invariant: what is shown are robot accounts as `directory.robots.living` returns them, with permissions that hold.
"""

from typing import Any

from chalicelib.policy import robots as rules
from chalicelib.policy.robots import RobotPermission
from chalicelib.store.directory.projects import Project
from chalicelib.store.directory.robots import Robot


def shown_robot(robot: Robot, project: Project | None, prefix: str) -> dict[str, Any]:
    """Return a robot account of a project or of the system, whose name begins with the prefix."""
    return {
        "id": robot.id,
        "name": full_name(robot, project, prefix),
        "description": robot.description,
        "level": str(robot.level),
        "duration": robot.duration,
        "editable": True,
        "disable": robot.disabled,
        "expires_at": robot.expires,
        "permissions": [_shown_permission(permission) for permission in robot.permissions],
        "creator_type": robot.creator_type,
        "creator_ref": robot.creator,
        "creation_time": robot.created,
        "update_time": robot.updated,
    }


def full_name(robot: Robot, project: Project | None, prefix: str) -> str:
    """Return the name that a robot account logs in with."""
    return rules.full_name(prefix, robot.level, project.name if project else "", robot.name)


def _shown_permission(permission: RobotPermission) -> dict[str, Any]:
    allowed = [{"resource": resource, "action": action} for resource, action in sorted(permission.access)]
    denied = [
        {"resource": resource, "action": action, "effect": "deny"} for resource, action in sorted(permission.denied)
    ]
    return {"kind": str(permission.kind), "namespace": permission.namespace, "access": allowed + denied}
