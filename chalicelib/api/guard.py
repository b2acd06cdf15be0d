"""What must hold before content changes, besides the caller's rights: the project is there, and changes are allowed.

A token is good for its whole life, so a project may be deleted, or the registry be made read-only, after it was
issued. The directory tells, and only where something is pushed or deleted: a pull asks nobody.

Invariant: a token changes nothing in a project that is younger: it was issued for an earlier one of that name.
"""

from datetime import datetime

from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.names import Repository
from chalicelib.services import Services
from chalicelib.store.directory import configuration, projects
from chalicelib.store.directory.projects import Project

READ_ONLY = "The system is in read only mode. Any modification is prohibited."
# Two instances of the registry do not have quite the same time.
_SKEW_SECONDS = 5


def check_change(services: Services, repository: Repository, issued: int) -> Project:
    """Return the repository's project; raise NAME_UNKNOWN, UNAUTHORIZED or DENIED where nothing in it may change.

    `issued` is when the token was, or 0 where there is none.
    """
    check_region(services)
    name = repository.name.partition("/")[0]
    project = projects.find(services.directory, name)
    if project is None:
        raise RegistryError(ErrorCode.NAME_UNKNOWN, f"there is no project {name}: create it first")
    if issued and _is_younger(project, issued):
        raise RegistryError(ErrorCode.UNAUTHORIZED, "the token is older than the project: log in again")
    check_not_read_only(services)
    return project


def check_takes_pushes(project: Project) -> None:
    """Raise DENIED where a project is a cache of another registry."""
    if project.proxies:
        raise RegistryError(
            ErrorCode.DENIED,
            f"can not push artifact to a proxy project: {project.name} is a cache of another registry,"
            " so push there, or to another project",
        )


def _is_younger(project: Project, issued: int) -> bool:
    return datetime.fromisoformat(project.created).timestamp() > issued + _SKEW_SECONDS


def check_writes(services: Services) -> None:
    """Raise DENIED where nothing may change, here or at all, or UNAVAILABLE."""
    check_region(services)
    check_not_read_only(services)


def check_region(services: Services) -> None:
    """Raise DENIED where another region takes the changes, UNAVAILABLE where this one does in a moment."""
    if services.region:
        services.region.check_writes()


def check_not_read_only(services: Services) -> None:
    """Raise DENIED where an administrator forbade all changes."""
    if configuration.recent(services.directory).get("read_only"):
        raise RegistryError(ErrorCode.DENIED, READ_ONLY)
