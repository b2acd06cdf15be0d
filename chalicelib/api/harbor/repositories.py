"""Repositories: what the index has of them.

Invariant: a repository is found below the project that its path names, by the rest of its name.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from chalicelib.api import identity
from chalicelib.api.harbor import listing
from chalicelib.api.harbor.calls import OPEN, HarborCall, HarborEndpoint, answer, done, in_project, typed
from chalicelib.api.harbor.errors import bad_request, not_found
from chalicelib.api.http import Response
from chalicelib.changes import fixed, indexing, replicating
from chalicelib.oci.errors import RegistryError
from chalicelib.oci.names import Repository
from chalicelib.policy.rbac import Permission
from chalicelib.policy.webhook_payloads import Happened
from chalicelib.policy.webhooks import EventType
from chalicelib.store import layout
from chalicelib.store.directory import webhooks
from chalicelib.store.directory.projects import Project
from chalicelib.store.index import artifacts, removal, repositories
from chalicelib.store.index.attempts import in_same
from chalicelib.store.index.repositories import RepositoryRecord

_LIST = Permission("repository", "list")
_LONGEST_DESCRIPTION = 64 * 1024
_MOST_TOLD = 100


def named(call: HarborCall) -> Repository:
    """Return the repository that the path names, whether it exists or not; raise NOT_FOUND where it cannot."""
    try:
        return Repository.parse(f"{call.project.name}/{call.parameters['repository_name']}")
    except RegistryError as error:
        raise not_found(f"repository {call.parameters['repository_name'][:200]}") from error


def found(call: HarborCall) -> RepositoryRecord:
    """Return the repository that the path names; raise NOT_FOUND."""
    repository = named(call)
    record = repositories.find(call.services.index, call.project.id, repository)
    if record is None:
        raise not_found(f"repository {repository}")
    return record


def shown_repository(home: RepositoryRecord) -> dict[str, Any]:
    """Return a repository as Harbor writes it."""
    return {
        "id": home.id,
        "project_id": home.project_id,
        "name": home.repository.name,
        "description": home.description,
        "artifact_count": home.artifacts,
        "pull_count": home.pulls,
        "creation_time": home.created,
        "update_time": home.updated,
    }


def list_all(call: HarborCall) -> Response:
    """List the repositories of every project that lets the caller do so."""
    wanted = listing.parse(call.request)
    projects = [
        project for project in identity.visible_projects(call.services, call.principal) if _may(call, project)
    ]
    shown = [
        shown_repository(home)
        for project in projects
        for home in repositories.all_of(call.services.index, project.id)
    ]
    return _selected(call, wanted, shown)


def _may(call: HarborCall, project: Project) -> bool:
    return _LIST in identity.permissions(call.services, call.principal, project)


def list_repositories(call: HarborCall) -> Response:
    """List a project's repositories."""
    wanted, index = listing.parse(call.request), call.services.index
    if wanted.natural:
        page = repositories.page(index, call.project.id, wanted.slice)
        total = repositories.count(index, call.project.id)
        return listing.answered(call, wanted, [shown_repository(home) for home in page.entries], total)
    return _selected(call, wanted, [shown_repository(home) for home in repositories.all_of(index, call.project.id)])


def _selected(call: HarborCall, wanted: listing.Listing, shown: Sequence[Mapping[str, Any]]) -> Response:
    chosen, total = listing.select(wanted, shown)
    return listing.answered(call, wanted, chosen, total)


def get_repository(call: HarborCall) -> Response:
    """Show a repository."""
    return answer(shown_repository(found(call)))


def update_repository(call: HarborCall) -> Response:
    """Change a repository's description, the one thing about it that can be changed."""
    home = found(call)
    description = typed(call.body(), "description", str, home.description)
    if len(description.encode(errors="replace")) > _LONGEST_DESCRIPTION:
        raise bad_request(f"a description has at most {_LONGEST_DESCRIPTION} bytes")
    audited = call.auditing("repository", "update", home.repository.name)
    in_same(audited.index, home, repositories.describe, description)
    return done()


def delete_repository(call: HarborCall) -> Response:
    """Delete a repository with everything in it."""
    repository, index = named(call), call.services.index
    known = repositories.find(index, call.project.id, repository)
    if known is None and index.content.objects.head(layout.catalog(repository)) is None:
        raise not_found(f"repository {repository}")
    fixed.check_may_be_emptied(index.content, call.project, repository)
    events = _leaving(call, known) if known else []
    contents = replicating.contents_of(call.services, call.project.id, repository)
    removal.remove(index, call.project.id, repository)
    indexing.emptied(call.services, call.project.id, repository)
    with indexing.notified(call.services, call.project, events):
        call.log("repository", "delete", repository.name)
    replicating.emptied(call.services, call.principal.name, repository, contents)
    return done()


def _leaving(call: HarborCall, home: RepositoryRecord) -> list[Happened]:
    """Return what webhooks are told of a repository's artifacts, the newest; where nobody wants to know, nothing."""
    if not webhooks.wanting(call.project, EventType.DELETED):
        return []
    digests = tuple(each.digest for each in artifacts.newest(call.services.index, home, 0, _MOST_TOLD))
    moment, who = int(call.services.now().timestamp()), call.principal.name
    return [
        Happened(EventType.DELETED, moment, who, home.repository.name, first, first, call.request.host, digests[1:])
        for first in digests[:1]
    ]


_ALL = "/projects/{project_name}/repositories"
_ONE = f"{_ALL}/{{repository_name}}"
# fmt: off
ENDPOINTS: tuple[HarborEndpoint, ...] = (
    HarborEndpoint("GET",    "/repositories", OPEN,                               list_all),
    HarborEndpoint("GET",    _ALL,            in_project("repository", "list"),   list_repositories),
    HarborEndpoint("GET",    _ONE,            in_project("repository", "read"),   get_repository),
    HarborEndpoint("PUT",    _ONE,            in_project("repository", "update"), update_repository),
    HarborEndpoint("DELETE", _ONE,            in_project("repository", "delete"), delete_repository),
)
# fmt: on
