"""Asking the registry without a socket: a client over `dispatch`."""

import base64
import io
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from chalicelib.api.dispatch import dispatch
from chalicelib.api.http import Request, Response
from chalicelib.services import Services
from tests.memory import PASSWORD, Clock, MemoryObjects, services_over

ADDRESS = "https://registry.test"


def basic(name: str = "admin", password: str = PASSWORD) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


@dataclass
class Client:
    """Asks with the administrator's Basic credentials, unless told otherwise."""

    clock: Clock = field(default_factory=Clock)
    headers: dict[str, str] = field(default_factory=basic)
    redirect_head: bool = False
    services: Services = field(init=False)
    objects: MemoryObjects = field(init=False)

    def __post_init__(self) -> None:
        self.objects = MemoryObjects(self.clock)
        self.services = services_over(self.objects, self.clock)

    def ask(self, method: str, target: str, body: bytes = b"", **headers: str) -> Response:
        path, _, query = target.partition("?")
        sent = {name.replace("_", "-").lower(): value for name, value in headers.items()}
        request = Request(
            method=method,
            path=path,
            query=parse_qs(query, keep_blank_values=True),
            headers={**self.headers, "content-length": str(len(body)), **sent},
            body=io.BytesIO(body),
            base_url=ADDRESS,
            id="request-1",
            redirect_head=self.redirect_head,
        )
        return dispatch(self.services, request)
