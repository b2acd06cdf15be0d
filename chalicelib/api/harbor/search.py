"""Search and statistics over what the caller may see."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from chalicelib.api import identity
from chalicelib.api.harbor.calls import OPEN, SIGNED_IN, HarborCall, HarborEndpoint, answer
from chalicelib.api.harbor.projects import shown_project
from chalicelib.api.http import Response
from chalicelib.policy.rbac import Permission
from chalicelib.store.directory.projects import Project
from chalicelib.store.index import repositories
from chalicelib.store.usage import counting

_MOST = 1000
_LIST_REPOSITORIES = Permission("repository", "list")


def search(call: HarborCall) -> Response:
    """Find projects and repositories whose names contain a text."""
    part = call.request.parameter("q").casefold()
    visible = identity.visible_projects(call.services, call.principal)
    found = [shown_project(call, project) for project in visible if part in project.name.casefold()]
    held = [entry for project in visible for entry in _repositories(call, project, part)]
    return answer({"project": found[:_MOST], "repository": held[:_MOST]})


def _repositories(call: HarborCall, project: Project, part: str) -> list[dict[str, Any]]:
    if _LIST_REPOSITORIES not in identity.permissions(call.services, call.principal, project):
        return []
    return [
        {
            "project_id": project.id,
            "project_name": project.name,
            "project_public": project.public,
            "repository_name": repository.repository.name,
            "pull_count": repository.pulls,
            "artifact_count": repository.artifacts,
        }
        for repository in repositories.all_of(call.services.index, project.id)
        if part in repository.repository.name.casefold()
    ]


def statistics(call: HarborCall) -> Response:
    """Count the projects and repositories that the caller may see; the totals are for administrators."""
    visible = identity.visible_projects(call.services, call.principal)
    index = call.services.index
    held = {project.id: repositories.count(index, project.id) for project in visible}
    public = [project for project in visible if project.public]
    public_repositories = sum(held[project.id] for project in public)
    shown = {
        "public_project_count": len(public),
        "private_project_count": len(visible) - len(public),
        "public_repo_count": public_repositories,
        "private_repo_count": sum(held.values()) - public_repositories,
    }
    return answer({**shown, **_totals(call, held)})


def _totals(call: HarborCall, held: Mapping[int, int]) -> dict[str, int]:
    """Return what there is, by the repositories of each project: as in Harbor nothing to who administers nothing."""
    if not call.principal.administrator:
        return {"total_project_count": 0, "total_repo_count": 0, "total_storage_consumption": 0}
    used = call.services.content.together(partial(counting.used, call.services.index), held)
    return {
        "total_project_count": len(held),
        "total_repo_count": sum(held.values()),
        "total_storage_consumption": sum(used),
    }


ENDPOINTS: tuple[HarborEndpoint, ...] = (
    HarborEndpoint("GET", "/search", OPEN, search),
    HarborEndpoint("GET", "/statistics", SIGNED_IN, statistics),
)
