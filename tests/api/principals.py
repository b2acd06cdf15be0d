"""A registry with one of everybody: each role, robot accounts, an outsider, anonymous and the administrator.

`web` is a private project and `open` a public one; both hold the image `IMAGE` as `<project>/app:v1`.
"""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import orjson

from chalicelib.api.http import Response
from chalicelib.api.passwords import hash_password
from chalicelib.oci.digests import Digest
from chalicelib.policy.rbac import Permission, Role
from chalicelib.store.directory import members, projects, users
from chalicelib.store.directory.members import Kind, Who
from chalicelib.store.directory.users import NewUser
from tests.api.asking import Client, basic

API = "/api/v2.0"
PRIVATE, PUBLIC = "web", "open"
PASSWORD = "Secret123"
CONFIG = b"{}"
IMAGE = orjson.dumps(
    {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": str(Digest.of(CONFIG)),
            "size": len(CONFIG),
        },
        "layers": [],
    }
)
ROLES: Mapping[str, Role | None] = {
    "projectAdmin": Role.PROJECT_ADMIN,
    "maintainer": Role.MAINTAINER,
    "developer": Role.DEVELOPER,
    "guest": Role.GUEST,
    "limitedGuest": Role.LIMITED_GUEST,
    "outsider": None,
}
Headers = dict[str, str]


def as_user(name: str) -> Headers:
    """Return the credentials of one of the users."""
    return basic(name, PASSWORD)


@dataclass
class World:
    """The registry and how to be each of its principals."""

    client: Client = field(default_factory=lambda: Client(projects=(PRIVATE, PUBLIC)))
    admin: Headers = field(default_factory=basic)

    def __post_init__(self) -> None:
        directory = self.client.services.directory
        # One hash for all: each costs what a login does.
        password = hash_password(PASSWORD)
        for name, role in ROLES.items():
            user = users.create(directory, NewUser(name, password))
            for project in filter(None, (projects.find(directory, each) for each in (PRIVATE, PUBLIC))):
                if role:
                    who = Who(Kind.USER, user.id, name)
                    members.add(directory, project.id, project.entry.record.key, who, role)
        self.api("PUT", f"/projects/{PUBLIC}", {"metadata": {"public": "true"}})
        for project_name in (PRIVATE, PUBLIC):
            self.push(f"{project_name}/app")

    def api(
        self, method: str, path: str, body: object = None, who: Headers | None = None, **headers: str
    ) -> Response:
        """Ask Harbor's API, as the administrator unless told otherwise."""
        self.client.headers = self.admin if who is None else who
        content = b"" if body is None else orjson.dumps(body)
        return self.client.ask(method, API + path, content, content_type="application/json", **headers)

    def registry(
        self, method: str, path: str, body: bytes = b"", who: Headers | None = None, **headers: str
    ) -> Response:
        """Ask the registry, as the administrator unless told otherwise."""
        self.client.headers = self.admin if who is None else who
        return self.client.ask(method, path, body, **headers)

    def push(self, repository: str, tag: str = "v1") -> Response:
        """Push the image."""
        digest = Digest.of(CONFIG)
        self.registry("POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", CONFIG)
        kind = "application/vnd.oci.image.manifest.v1+json"
        return self.registry("PUT", f"/v2/{repository}/manifests/{tag}", IMAGE, content_type=kind)

    def robot(self, name: str, namespace: str, permissions: Iterable[Permission], level: str = "system") -> Headers:
        """Make a robot account and return its credentials."""
        kind = "system" if namespace == "/" else "project"
        access = [{"resource": resource, "action": action} for resource, action in permissions]
        answer = self.api(
            "POST",
            "/robots",
            {
                "name": name,
                "level": level,
                "duration": -1,
                "permissions": [{"kind": kind, "namespace": namespace, "access": access}],
            },
        )
        assert answer.status == 201, answer.body
        document = orjson.loads(answer.body)
        return basic(document["name"], document["secret"])

    def token(self, who: Headers, *scopes: str) -> Headers:
        """Return what a principal's client sends once it has a token for these scopes."""
        query = "&".join(f"scope={scope}" for scope in scopes)
        answer = self.registry("GET", f"/service/token?service=registry.test&{query}", who=who)
        assert answer.status == 200, answer.body
        return {"authorization": "Bearer " + orjson.loads(answer.body)["token"]}


def granted(headers: Headers) -> dict[str, list[str]]:
    """Return what a token allows, by resource: what it names without any right, which tells nothing, is left out."""
    payload = headers["authorization"].split(".")[1]
    claims = orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    access = claims["access"]
    return {f"{entry['type']}:{entry['name']}": entry["actions"] for entry in access if entry["actions"]}
