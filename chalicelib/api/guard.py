"""What must hold before content changes, besides the caller's rights: the project is there, and changes are allowed.

A token is good for its whole life, so a project may be deleted, or the registry be made read-only, after it was
issued. Two reads of the directory tell, and only where something is pushed or deleted: a pull asks nobody.
"""

from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.names import Repository
from chalicelib.services import Services
from chalicelib.store.directory import configuration, projects

READ_ONLY = "The system is in read only mode. Any modification is prohibited."


def check_change(services: Services, repository: Repository) -> None:
    """Raise NAME_UNKNOWN where the repository is in no project, and DENIED where the registry is read-only."""
    project = repository.name.partition("/")[0]
    if projects.find(services.directory, project) is None:
        raise RegistryError(ErrorCode.NAME_UNKNOWN, f"there is no project {project}: create it first")
    check_not_read_only(services)


def check_not_read_only(services: Services) -> None:
    """Raise DENIED where an administrator forbade all changes."""
    if configuration.read(services.directory).get("read_only"):
        raise RegistryError(ErrorCode.DENIED, READ_ONLY)
