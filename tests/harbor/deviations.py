"""Where answers of ours, or of Harbor itself, are not what Harbor's API description says; and what we have beside it.

Invariants:
* A row is about something that the description does not have; a test says so, and drops rows that became true.
* `docs/harbor-api.md` shows these rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What about an answer can differ."""

    STATUS = "status"
    HEADER = "header"
    BODY = "body"


@dataclass(frozen=True, slots=True)
class Deviation:
    """One difference: `operations` are ids, none for all; `name` is a status, a header or a place in the body."""

    kind: Kind
    name: str
    reason: str
    operations: frozenset[str] = frozenset()

    def covers(self, kind: Kind, name: str, operation: str) -> bool:
        """Tell whether it is this difference, in an answer of this operation."""
        return (self.kind, self.name) == (kind, name) and (not self.operations or operation in self.operations)


@dataclass(frozen=True, slots=True)
class Extension:
    """An operation below `/api/v2.0` that Harbor has not: only its refusals are Harbor's."""

    method: str
    path: str
    purpose: str


def _status(status: int, reason: str, *operations: str) -> Deviation:
    return Deviation(Kind.STATUS, str(status), reason, frozenset(operations))


DEVIATIONS: tuple[Deviation, ...] = (
    _status(400, "a parameter or a body that says nothing; Harbor refuses some of them with 422, documented or not"),
    _status(401, "Harbor checks credentials before it looks at what is asked, so any operation can answer so"),
    _status(403, "so it is with rights, and with the read-only mode"),
    _status(
        404,
        "what the path names is not there",
        "createProjectMember",
        "deleteUserGroup",
        "getLogExts",
        "getLogs",
        "CreateWebhookPolicyOfProject",
        "GetSupportedEventTypes",
        "LastTrigger",
        "ListImmuRules",
        "ListWebhookJobs",
        "ListWebhookPoliciesOfProject",
        "deleteRetention",
        "getReplicationPolicy",
        "getRetention",
        "getRetentionTaskLog",
        "listReplicationTasks",
        "listRetentionExecutions",
        "listRetentionTasks",
        "operateRetentionExecution",
        "startReplication",
        "triggerRetentionExecution",
        "updateRetention",
        "updateUserPassword",
    ),
    _status(409, "the name is taken, or somebody else changed the same thing at once: nothing was done"),
    _status(
        412,
        "an index needs the artifact, or a tag is immutable: Harbor refuses it too, and does not say so",
        "CopyArtifact",
        "createTag",
        "deleteArtifact",
        "deleteRepository",
        "deleteTag",
    ),
    _status(412, "the policy is disabled: Harbor refuses it too, and does not say so", "startReplication"),
    _status(429, "too many wrong passwords: Harbor has no such limit here, and locks nobody out"),
    _status(503, "the bucket or the table does not answer: trying again in a moment helps"),
    _status(501, "Harbor has this operation, and this registry not yet"),
    _status(413, "a body of more than 1 MiB, which Harbor reads whole"),
)

_TAG = "/projects/{project_name}/repositories/{repository_name}/tags/{tag_name}"
EXTENSIONS: tuple[Extension, ...] = (
    Extension("GET", f"{_TAG}/history", "what the tag named, newest first"),
    Extension("POST", f"{_TAG}/undo", "the tag names again what it named before, or at a version of its history"),
    Extension("POST", "/quotas/reconciliations", "what quotas count is made to agree with what is stored"),
    Extension("GET", "/quotas/reconciliations/{reconciliation_id}", "how far that is, and how much was wrong"),
    Extension("GET", "/system/regions", "what this region is, and how far behind"),
    Extension("PUT", "/system/regions", "make it the primary, or a copy"),
    Extension("GET", "/system/regions/arrears", "what has not arrived here, and what is here alone"),
    Extension("POST", "/system/regions/alignments", "let the tags here be what the primary has"),
    Extension("GET", "/system/verify", "the verifications of what is stored, the latest first"),
    Extension("GET", "/system/verify/{verify_id}", "how far one is, and what it found"),
    Extension("PUT", "/system/verify/{verify_id}", "stop it"),
    Extension("GET", "/system/verify/{verify_id}/log", "each damage that it found, and what to do"),
    Extension("GET", "/system/verify/schedule", "when what is stored is verified"),
    Extension("POST", "/system/verify/schedule", "verify now, or set the schedule"),
    Extension("PUT", "/system/verify/schedule", "the same"),
)
