"""Own everybody who uses the registry: users with each role, robot accounts, strangers, and what each of them may do.

* All are made by Harbor's API, as an administrator would; projects and names are of this run alone.
* What a row of `TABLE` says is what must work; all else must be refused.
* Failed logins make an account wait, so whoever cannot log in is somebody new each time.
"""

import base64
import http.client
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count
from typing import Any

from .images import MANIFEST, Image, blob_path
from .registry import Registry

PASSWORD, WRONG = "Anchor-12345", "not-the-Anchor-1"
ROLES = {"projectAdmin": 1, "maintainer": 4, "developer": 2, "guest": 3, "limitedGuest": 5}

# fmt: off
TABLE: Mapping[str, tuple[bool, str, str]] = {
    # principal         logs in  in the private project  in the public project
    "administrator":   (True,    "push pull delete",     "push pull"),
    "projectAdmin":    (True,    "push pull delete",     "pull"),
    "maintainer":      (True,    "push pull delete",     "pull"),
    "developer":       (True,    "push pull",            "pull"),
    "guest":           (True,    "pull",                 "pull"),
    "limitedGuest":    (True,    "pull",                 "pull"),
    "outsider":        (True,    "",                     "pull"),
    "robot of push":   (True,    "push pull",            "pull"),
    "robot of pull":   (True,    "pull",                 "pull"),
    "robot of system": (True,    "pull",                 "pull"),
    "disabled robot":  (False,   "",                     ""),
    "wrong password":  (False,   "",                     ""),
    "unknown user":    (False,   "",                     ""),
    "anonymous":       (True,    "",                     "pull"),
}
# fmt: on


def logs_in(principal: str) -> bool:
    """Tell whether the credentials are good, if only by being none."""
    return TABLE[principal][0]


def works(principal: str) -> frozenset[str]:
    """Name the operations that must work: of the private project as they are, the others as `public pull`."""
    login, private, public = TABLE[principal]
    return frozenset(
        {*(("login",) if login else ()), *private.split(), *(f"public {each}" for each in public.split())}
    )


@dataclass(frozen=True, slots=True)
class Account:
    """With what somebody logs in."""

    user: str
    password: str

    @property
    def basic(self) -> str:
        return base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


@dataclass(eq=False)
class World:
    """The projects of one run and everybody who has to do with them."""

    registry: Registry
    run_id: str
    _numbers: "count[int]" = field(default_factory=count)

    @property
    def private(self) -> str:
        return f"{self.run_id}-private"

    @property
    def public(self) -> str:
        return f"{self.run_id}-public"

    @property
    def missing(self) -> str:
        return f"{self.run_id}-missing"

    def ask(self, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> bytes:
        """Ask, as the administrator, for what must succeed; return the body of the answer."""
        administrator = Account(self.registry.user, self.registry.password)
        connection = http.client.HTTPConnection(*self.registry.upstream, timeout=60)
        try:
            headers = {"Authorization": f"Basic {administrator.basic}", "Content-Type": kind}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        assert answer.status < 300, f"{method} {path}: {answer.status} {content!r}"
        return content

    def api(self, method: str, path: str, document: object) -> dict[str, Any]:
        content = self.ask(method, f"/api/v2.0{path}", json.dumps(document).encode())
        made: dict[str, Any] = json.loads(content) if content else {}
        return made

    def push(self, image: Image, repository: str, tag: str) -> None:
        """Put a small image where nobody's rights are in question."""
        for digest in image.blobs - {image.digest}:
            blob = blob_path(image.layout, digest).read_bytes()
            self.ask("POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", blob, "application/octet-stream")
        manifest = blob_path(image.layout, image.digest).read_bytes()
        self.ask("PUT", f"/v2/{repository}/manifests/{tag}", manifest, MANIFEST)

    @cached_property
    def residents(self) -> Mapping[str, Account]:
        """Make the projects and whoever can log in."""
        for project, public in ((self.private, "false"), (self.public, "true")):
            self.api("POST", "/projects", {"project_name": project, "metadata": {"public": public}})
        users = {name: self._user() for name in (*ROLES, "outsider")}
        for name, role in ROLES.items():
            member = {"role_id": role, "member_user": {"username": users[name].user}}
            self.api("POST", f"/projects/{self.private}/members", member)
        return {
            **users,
            "administrator": Account(self.registry.user, self.registry.password),
            "robot of push": self._robot("project", self.private, "push", "pull"),
            "robot of pull": self._robot("project", self.private, "pull"),
            "robot of system": self._robot("system", "*", "pull"),
        }

    def account(self, principal: str) -> Account | None:
        """Return who that is; nobody is None."""
        strangers: Mapping[str, Callable[[], Account | None]] = {
            "disabled robot": lambda: self._robot("project", self.private, "push", "pull", disable=True),
            "wrong password": lambda: replace(self._user(), password=WRONG),
            "unknown user": lambda: Account(self._name(), WRONG),
            "anonymous": lambda: None,
        }
        found = self.residents.get(principal)
        return found or strangers[principal]()

    def _name(self) -> str:
        return f"{self.run_id}-{next(self._numbers)}"

    def _user(self) -> Account:
        account = Account(self._name(), PASSWORD)
        profile = {"email": f"{account.user}@example.com", "realname": account.user}
        self.api("POST", "/users", {"username": account.user, "password": account.password, **profile})
        return account

    def _robot(self, level: str, namespace: str, *actions: str, disable: bool = False) -> Account:
        access = [{"resource": "repository", "action": action} for action in actions]
        permissions = [{"kind": "project", "namespace": namespace, "access": access}]
        robot = {"name": self._name(), "level": level, "duration": -1, "permissions": permissions}
        made = self.api("POST", "/robots", robot | {"disable": disable})
        return Account(made["name"], made["secret"])
