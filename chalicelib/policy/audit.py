"""What the audit log has an entry for, and which settings of an administrator leave entries out.

Invariants:
* The type of an event is its operation and its resource's type with `_` between. `HARBOR` are Harbor's own types,
  `OURS` what this registry tells besides; both can be switched off and purged by name.
* `OTHERS` stands for every type that is not Harbor's own.

Specification: the event types of Harbor 2.16.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.policy.configuration import DEFAULTS

# fmt: off
HARBOR = (
    "create_artifact", "delete_artifact", "pull_artifact",
    "create_project", "delete_project", "update_project",
    "delete_repository",
    "login_user", "logout_user",
    "create_user", "delete_user", "update_user",
    "create_robot", "delete_robot",
    "update_configuration",
    "create_member", "delete_member", "update_member",
)
OURS = (
    "update_repository", "update_robot", "update_quota",
    "create_tag", "delete_tag", "update_tag",
    "create_label", "delete_label", "update_label", "create_artifact-label", "delete_artifact-label",
    "create_tag-retention", "delete_tag-retention", "update_tag-retention", "run_tag-retention", "stop_tag-retention",
    "create_immutable-tag", "delete_immutable-tag", "update_immutable-tag",
    "create_notification-policy", "delete_notification-policy", "update_notification-policy",
    "create_registry", "delete_registry", "update_registry",
    "create_replication-policy", "delete_replication-policy", "update_replication-policy",
    "run_replication", "stop_replication",
    "create_user-group", "delete_user-group", "update_user-group",
    "update_region",
    "stop_job", "update_job-schedule", "update_job-queue",
)
# fmt: on
OTHERS = "other_events"
PULL = "pull_artifact"
ANONYMOUS = "anonymous"
# No name is longer; what a stranger sends as one at a login may be.
LONGEST_NAME = 255
LONGEST_RETENTION = 240_000


@dataclass(frozen=True, slots=True)
class Event:
    """What happened; `project_id` is 0 for what concerns no project, `operation` is create, delete, pull ..."""

    username: str
    resource: str
    resource_type: str
    operation: str
    description: str = ""
    succeeded: bool = True
    project_id: int = 0

    @property
    def type(self) -> str:
        """Return the name of what happened, such as create_project."""
        return f"{self.operation}_{self.resource_type}"


@dataclass(frozen=True, slots=True)
class Types:
    """Some types of events, as a setting or a job names them: with commas between."""

    names: frozenset[str]

    @classmethod
    def parse(cls, text: str) -> "Types":
        """Return the types that a text names; names that nothing has are kept, and match nothing."""
        return cls(frozenset(name.strip().lower() for name in text.split(",") if name.strip()))

    def __contains__(self, event_type: str) -> bool:
        """Tell whether a type is among them."""
        return event_type in self.names or (OTHERS in self.names and event_type not in HARBOR)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the settings say about events: which are left out, whether they are kept here, where they are sent."""

    disabled: Types
    pulls: bool
    kept: bool
    endpoint: str

    @classmethod
    def of(cls, changed: Mapping[str, Any]) -> "Rules":
        """Return the rules, given the settings that differ from their defaults."""
        values = {**DEFAULTS, **changed}
        endpoint = str(values["audit_log_forward_endpoint"])
        return cls(
            disabled=Types.parse(values["disabled_audit_log_event_types"]),
            pulls=not values["pull_audit_log_disable"],
            # Entries that go nowhere at all would be no log.
            kept=not (values["skip_audit_log_database"] and endpoint),
            endpoint=endpoint,
        )

    def want(self, event_type: str) -> bool:
        """Tell whether an event of this type is told at all."""
        return event_type not in self.disabled and (self.pulls or event_type != PULL)


@dataclass(frozen=True, slots=True)
class Purge:
    """What a purge removes: entries of some types that are older than so many hours."""

    hours: int
    types: Types

    @classmethod
    def parse(cls, parameters: Mapping[str, Any]) -> "Purge":
        """Return what parameters in Harbor's form ask for; raise ValueError."""
        hours, types = parameters.get("audit_retention_hour"), parameters.get("include_event_types") or ""
        if not isinstance(hours, int) or isinstance(hours, bool) or not 0 <= hours <= LONGEST_RETENTION:
            raise ValueError(f"audit_retention_hour must be a whole number from 0 to {LONGEST_RETENTION}")
        if not isinstance(types, str):
            raise ValueError("include_event_types must be a text of types with commas between")  # noqa: TRY004 - as above
        return cls(hours, Types.parse(types))

    @property
    def unknown(self) -> frozenset[str]:
        """Return the names that no event has, which match nothing, as in Harbor."""
        return self.types.names - {*HARBOR, *OURS, OTHERS}
