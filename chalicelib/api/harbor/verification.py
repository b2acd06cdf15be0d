"""Verifying what is stored, and repairing it: ours, beside what Harbor has, in the manner of its other jobs.

Invariant: who may collect garbage may verify, and nobody else.
"""

from collections.abc import Mapping
from typing import Any

from chalicelib.api.harbor.calls import HarborEndpoint, typed
from chalicelib.api.harbor.errors import bad_request
from chalicelib.api.harbor.execution_views import Operated, rows
from chalicelib.oci.errors import RegistryError
from chalicelib.oci.names import Repository
from chalicelib.policy.jobs import Kind

# Of one blob in a hundred the bytes are read, unless somebody says otherwise.
_SAMPLE, _ALL = 1, 100


def _verification(sent: Mapping[str, Any]) -> dict[str, Any]:
    sample = typed(sent, "sample", int, _SAMPLE)
    if not 0 <= sample <= _ALL:
        raise bad_request(f"sample must be a number from 0 to {_ALL}: the per cent of blobs whose bytes are read")
    project, repository = typed(sent, "project", str, ""), typed(sent, "repository", str, "")
    if repository and not project:
        raise bad_request("repository needs project, the name of the project that it is in")
    _check_name(project, repository)
    repair = typed(sent, "repair", bool, False)
    return {"repair": repair, "sample": sample, "project": project, "repository": repository}


def _check_name(project: str, repository: str) -> None:
    try:
        Repository.parse(f"{project or 'all'}/{repository or 'all'}")
    except RegistryError as error:
        raise bad_request(error.message) from error


VERIFICATION = Operated(
    Kind.VERIFY, "/system/verify", "verify_id", "garbage-collection", "verification", _verification
)

ENDPOINTS: tuple[HarborEndpoint, ...] = rows(VERIFICATION)
