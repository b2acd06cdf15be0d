"""What an endpoint is: a row of a table, and the call that its handler gets."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.api.http import Request, Response
from chalicelib.oci.names import Repository
from chalicelib.policy.grants import Action, Grant
from chalicelib.services import Services

if TYPE_CHECKING:
    # A pull asks the directory nothing, and waits for imports.
    from chalicelib.store.directory.projects import Project


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was routed and authorised.

    `argument` is the last part of its path; `changed` is the project of the repository where
    content changes.
    """

    services: Services
    request: Request
    repository: Repository
    argument: str
    grant: Grant
    changed: "Project | None" = None

    @property
    def proxied(self) -> bool:
        """Tell whether the repository is in a cache of another registry; nothing is read for it."""
        return bool(self.grant.proxied) and f"repository:{self.repository}" in self.grant.proxied

    @property
    def project(self) -> "Project":
        """Return the project of the repository: only of endpoints whose action changes content."""
        assert self.changed
        return self.changed


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One row: the specification's number, the request, the right it needs and who answers it.

    `action` None marks URLs that carry their own signature, and those that check credentials themselves.
    """

    id: str
    method: str
    path: str
    action: Action | None
    handler: Callable[[Call], Response]
