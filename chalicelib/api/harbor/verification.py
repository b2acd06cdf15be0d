"""Verifying what is stored, and repairing it: ours, beside what Harbor has, in the manner of its other jobs.

Invariants:
* Who may collect garbage may verify, and nobody else.
* What is named is there when it is asked for: of what is missing nothing can be said to be whole.
"""

from collections.abc import Mapping
from typing import Any

from chalicelib.api.harbor.calls import HarborCall, HarborEndpoint, typed
from chalicelib.api.harbor.errors import bad_request, not_found
from chalicelib.api.harbor.execution_views import Operated, rows
from chalicelib.oci.errors import RegistryError
from chalicelib.oci.names import Repository
from chalicelib.policy.jobs import Kind
from chalicelib.store import layout
from chalicelib.store.content import Content
from chalicelib.store.directory import projects
from chalicelib.store.index import repositories

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


def _check_there(call: HarborCall, parameters: Mapping[str, Any]) -> None:
    name = parameters["project"]
    if not name:
        return
    project = projects.find(call.services.directory, name)
    if project is None:
        raise not_found(f"project {name}")
    if not parameters["repository"]:
        return
    repository, index = Repository(f"{name}/{parameters['repository']}"), call.services.index
    # One that the index lost is what a verification is for.
    if repositories.find(index, project.id, repository) is None and not _stored(index.content, repository):
        raise not_found(f"repository {repository}")


def _stored(content: Content, repository: Repository) -> bool:
    return bool(content.objects.list(layout.own(repository), limit=1).entries)


VERIFICATION = Operated(
    Kind.VERIFY, "/system/verify", "verify_id", "garbage-collection", "verification", _verification, _check_there
)

ENDPOINTS: tuple[HarborEndpoint, ...] = rows(VERIFICATION)
