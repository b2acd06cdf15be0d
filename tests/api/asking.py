"""Asking the registry without a socket: a client over `dispatch`."""

import base64
import io
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from chalicelib.api.dispatch import dispatch
from chalicelib.api.http import Request, Response
from chalicelib.services import Services
from chalicelib.store.directory import foundation, members, projects
from chalicelib.store.directory.members import Kind, Who
from chalicelib.store.directory.projects import NewProject
from chalicelib.store.directory.users import ADMINISTRATOR, ADMINISTRATOR_ID
from chalicelib.store.table import RefusedError
from tests.harbor import schema
from tests.memory import PASSWORD, Clock, MemoryObjects, services_over

ADDRESS = "https://registry.test"


def basic(name: str = "admin", password: str = PASSWORD) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def make_projects(services: Services, names: Iterable[str]) -> None:
    """Lay the foundation, and make private projects of the administrator's."""
    foundation.lay(services.directory)
    owner = Who(Kind.USER, ADMINISTRATOR_ID, ADMINISTRATOR)
    for name in names:
        new = NewProject(name, owner.id, owner.name, {"public": "false"}, {})
        with suppress(RefusedError):
            projects.create(services.directory, new, members.founding(owner))


@dataclass
class Client:
    """Asks with the administrator's Basic credentials, unless told otherwise."""

    clock: Clock = field(default_factory=Clock)
    headers: dict[str, str] = field(default_factory=basic)
    redirect_head: bool = False
    streams: bool = True
    source: str = "192.0.2.1"
    projects: tuple[str, ...] = ("a", "blobs", "c", "library", "manifests", "one", "tags", "two")
    services: Services = field(init=False)
    objects: MemoryObjects = field(init=False)

    def __post_init__(self) -> None:
        self.objects = MemoryObjects(self.clock)
        self.services = services_over(self.objects, self.clock)
        make_projects(self.services, self.projects)

    @classmethod
    def beside(cls, other: "Client") -> "Client":
        """Return another client of the same registry, as the administrator."""
        made = object.__new__(cls)
        made.__dict__ |= {**other.__dict__, "headers": basic()}
        return made

    def request(self, method: str, target: str, body: bytes = b"", **headers: str) -> Request:
        path, _, query = target.partition("?")
        sent = {name.replace("_", "-").lower(): value for name, value in headers.items()}
        return Request(
            method=method,
            path=path,
            query=parse_qs(query, keep_blank_values=True),
            headers={**self.headers, "content-length": str(len(body)), **sent},
            body=io.BytesIO(body),
            base_url=ADDRESS,
            id="request-1",
            redirect_head=self.redirect_head,
            streams=self.streams,
            source=self.source,
        )

    def ask(self, method: str, target: str, body: bytes = b"", **headers: str) -> Response:
        request = self.request(method, target, body, **headers)
        answer = dispatch(self.services, request)
        schema.check(method, request.path, answer.status, answer.headers, answer.body)
        return answer
