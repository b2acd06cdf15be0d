"""Retention policies: one for each project, found by its own id or by the project's.

Invariants:
* A project's metadata name its policy (`retention_id`) exactly while it has one: both change in one transaction.
* Its schedule (`store.schedules`) follows the policy; whoever is interrupted in between sets it by doing it again,
  and a run for a policy that is gone does nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.policy import retention
from chalicelib.policy.jobs import Kind
from chalicelib.policy.retention import Policy
from chalicelib.store import schedules
from chalicelib.store.directory import Directory, projects
from chalicelib.store.directory.collection import Collection, Entry, changed
from chalicelib.store.directory.projects import PROJECTS, Project
from chalicelib.store.table import Change, If, Put

POLICIES = Collection("retention", "retentions", "the project has a retention policy already: change that one")
METADATA = "retention_id"
_GONE = "the project does not exist any more"


@dataclass(frozen=True, slots=True)
class Stored:
    """A policy as it is stored."""

    id: int
    policy: Policy
    entry: Entry


def by_id(directory: Directory, number: int) -> Stored | None:
    """Return the policy with this id, or None."""
    entry = POLICIES.by_id(directory, number)
    return _stored(entry) if entry else None


def of_project(directory: Directory, project_id: int) -> Stored | None:
    """Return the policy of a project, or None."""
    entry = POLICIES.find(directory, POLICIES.key("", str(project_id)))
    return _stored(entry) if entry else None


def _stored(entry: Entry) -> Stored:
    return Stored(entry.id, retention.parse(entry.document["policy"]), entry)


def create(directory: Directory, policy: Policy) -> int:
    """Give a project its policy and return the id; raise RefusedError where it has one, or is gone."""
    key = POLICIES.key("", str(policy.project_id))

    def made(project: Project) -> int:
        def also(number: int) -> tuple[Change, ...]:
            return (_naming(project, str(number)),)

        return POLICIES.create(directory, key, _document(directory, policy), also).id

    return projects.beside(directory, policy.project_id, made, _GONE)


def update(directory: Directory, stored: Stored, policy: Policy) -> None:
    """Replace the rules and the schedule of a policy; raise RefusedError where it changed meanwhile."""
    POLICIES.update(directory, stored.entry, _document(directory, policy))


def delete(directory: Directory, stored: Stored) -> None:
    """Delete a policy; raise RefusedError where it changed meanwhile."""

    def gone(project: Project) -> None:
        POLICIES.delete(directory, stored.entry, _naming(project, ""))

    if projects.by_id(directory, stored.policy.project_id) is None:
        POLICIES.delete(directory, stored.entry)
    else:
        projects.beside(directory, stored.policy.project_id, gone, _GONE)


def forget(directory: Directory, project_id: int) -> None:
    """Drop the policy of a project that is gone, with its schedule; raise RefusedError or OSError."""
    stored = of_project(directory, project_id)
    if stored:
        schedules.remove(directory, Kind.RETENTION, stored.id)
        POLICIES.delete(directory, stored.entry)


def _naming(project: Project, number: str) -> Change:
    """Return the change by which a project's metadata name its policy, or none where that is ""."""
    others = {name: value for name, value in project.metadata.items() if name != METADATA}
    metadata = {**others, METADATA: number} if number else others
    document: Mapping[str, Any] = {**project.entry.document, "metadata": metadata}
    return Put(project.entry.record.key, document, If(etag=project.entry.record.etag), changed(PROJECTS.kind))


def _document(directory: Directory, policy: Policy) -> dict[str, Any]:
    return {"policy": retention.written(policy, 0), "updated": directory.time()}
