"""A small Harbor on a real socket: enough of its API to see what the command line asks, and to answer badly.

* It keeps state: what was created is listed, what was deleted is gone. Credentials are checked on every request.
* Every answer opens a session by a cookie; who comes back with it needs a CSRF token for changes.
* Targets are matched as they arrive, still escaped: a repository `a/b` must come as `a%252Fb`.
* `instead` holds answers to give in place of the usual ones, by method and path.
"""

from __future__ import annotations

import base64
import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

API = "/api/v2.0"
PASSWORD = "Harbor12345"
ROBOT = "robot$ci"
ROBOT_SECRET = "Robot12345"
TIME = "2026-08-01T10:00:00.000Z"
NEVER = "0001-01-01T00:00:00.000Z"
OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True, slots=True)
class Sent:
    """An answer as it went."""

    asked: Asked
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent: a value as JSON, or bytes as they are."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


class RefusedError(Exception):
    """An answer that is an error document."""

    def __init__(self, status: int, message: str) -> None:
        self.answer = Answer(status, {"errors": [{"code": "X", "message": message}]})


def _registries() -> list[Row]:
    credential = {"type": "basic", "access_key": "me", "access_secret": "*****"}
    return [
        {
            "id": 31,
            "name": "hub",
            "type": "docker-hub",
            "url": "https://hub.docker.com",
            "credential": credential,
            "insecure": False,
            "status": "healthy",
        }
    ]


def _replications() -> list[Row]:
    return [
        {
            "id": 51,
            "name": "to-the-edge",
            "src_registry": {"id": 0, "name": "Local"},
            "dest_registry": {"id": 31, "name": "hub"},
            "dest_namespace": "mirror",
            "filters": [
                {"type": "name", "value": "library/**"},
                {"type": "tag", "value": "*-dev", "decoration": "excludes"},
            ],
            "trigger": {"type": "scheduled", "trigger_settings": {"cron": "0 0 2 * * *"}},
            "enabled": True,
            "override": False,
            "replicate_deletion": False,
            "speed": 0,
        }
    ]


def _projects() -> list[Row]:
    return [
        {
            "project_id": 1,
            "name": "library",
            "owner_name": "admin",
            "current_user_role_id": 1,
            "repo_count": 2,
            "metadata": {"public": "true"},
            "creation_time": TIME,
        },
        {
            "project_id": 2,
            "name": "web",
            "owner_name": "admin",
            "current_user_role_id": 4,
            "repo_count": 0,
            "metadata": {"public": "false", "auto_scan": "true"},
            "creation_time": TIME,
        },
    ]


def _user(number: int, name: str, *, admin: bool) -> Row:
    return {
        "user_id": number,
        "username": name,
        "realname": name.title(),
        "email": f"{name}@example.com",
        "sysadmin_flag": admin,
        "creation_time": TIME,
    }


def _robot(number: int, name: str, level: str) -> Row:
    access = [{"resource": "repository", "action": "pull"}]
    return {
        "id": number,
        "name": name,
        "level": level,
        "duration": -1,
        "disable": False,
        "expires_at": -1,
        "description": "",
        "permissions": [{"kind": "project", "namespace": "library", "access": access}],
        "creation_time": TIME,
    }


def _artifact(digest: str, *tags: str) -> Row:
    return {
        "digest": digest,
        "type": "IMAGE",
        "manifest_media_type": "application/vnd.oci.image.manifest.v1+json",
        "repository_name": "library/tools/busybox",
        "size": 2_200_000,
        "extra_attrs": {"os": "linux", "architecture": "amd64"},
        "push_time": TIME,
        "pull_time": NEVER,
        "tags": [{"name": tag, "push_time": TIME, "pull_time": NEVER, "immutable": False} for tag in tags],
        "references": [],
    }


def _repository(name: str) -> Row:
    return {
        "name": name,
        "description": "",
        "artifact_count": 2,
        "pull_count": 7,
        "creation_time": TIME,
        "update_time": TIME,
    }


@dataclass(slots=True)
class Harbor:
    """The state of the server; tests may change it."""

    url: str = ""
    passwords: dict[str, str] = field(
        default_factory=lambda: {"admin": PASSWORD, "alice": PASSWORD, ROBOT: ROBOT_SECRET}
    )
    projects: list[Row] = field(default_factory=_projects)
    users: list[Row] = field(default_factory=lambda: [_user(1, "admin", admin=True), _user(7, "alice", admin=False)])
    members: list[Row] = field(
        default_factory=lambda: [{"id": 11, "entity_name": "admin", "entity_type": "u", "role_id": 1}]
    )
    groups: list[Row] = field(
        default_factory=lambda: [{"id": 30, "group_name": "staff2"}, {"id": 31, "group_name": "staff"}]
    )
    registries: list[Row] = field(default_factory=_registries)
    replications: list[Row] = field(default_factory=_replications)
    # How an execution goes, look by look: its status, and how many of two repositories are done and failed.
    copying: list[tuple[str, int, int]] = field(
        default_factory=lambda: [("InProgress", 0, 0), ("InProgress", 1, 0), ("Succeed", 2, 0)]
    )
    robots: list[Row] = field(
        default_factory=lambda: [_robot(21, ROBOT, "system"), _robot(22, "robot$library+build", "project")]
    )
    repositories: list[Row] = field(
        default_factory=lambda: [_repository("library/tools/busybox"), _repository("library/nginx")]
    )
    artifacts: list[Row] = field(default_factory=lambda: [_artifact(NEW, "latest", "1.1"), _artifact(OLD, "1.0")])
    history: list[Row] = field(
        default_factory=lambda: [
            {"digest": NEW, "time": TIME, "size": 420, "current": True, "deleted": False, "version": "v2"},
            {"digest": OLD, "time": TIME, "size": 410, "current": False, "deleted": False, "version": "v1"},
            {"digest": OLD, "time": TIME, "size": 0, "current": False, "deleted": True, "version": "v0"},
        ]
    )
    # How a job goes, look by look: its status and its log so far; and what it found.
    job: list[tuple[str, str]] = field(
        default_factory=lambda: [("Running", ""), ("Running", "one\n"), ("Success", "one\ntwo\n")]
    )
    region: Row = field(
        default_factory=lambda: {
            "name": "paris",
            "role": "replica",
            "epoch": 1,
            "primary": "",
            "standing": "is a copy",
            "lag_seconds": 12.2,
            "peer": {"url": "https://frankfurt.example.org", "answers": True, "role": "primary", "lag_seconds": None},
        }
    )
    arrears: list[Row] = field(default_factory=list)
    job_found: Row = field(
        default_factory=lambda: {"freed_space": 2_200_000, "purged_blobs": 3, "purged_manifests": 1}
    )
    health: str = "healthy"
    instead: dict[tuple[str, str], Answer | Callable[[Asked], Answer]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def changes(self) -> list[tuple[str, str, Any]]:
        """Return the requests that were not mere reads: method, path below the API and body."""
        return [(each.method, each.path.removeprefix(API), each.body) for each in self.asked if each.method != "GET"]

    def paths(self) -> list[str]:
        return [each.path.removeprefix(API) for each in self.asked]

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        if "Cookie" in asked.headers and asked.method != "GET":
            raise RefusedError(403, "CSRF token not found in request")
        other = self.instead.get((asked.method, asked.path.removeprefix(API)))
        if other:
            return other if isinstance(other, Answer) else other(asked)
        user = self._who(asked)
        for method, pattern, handler in ROUTES:
            match = re.fullmatch(API + pattern, asked.path)
            if match and method == asked.method:
                return handler(self, asked, user, *map(unquote, match.groups()))
        raise RefusedError(404, "no such path")

    def _who(self, asked: Asked) -> str:
        kind, _, encoded = asked.headers.get("Authorization", "").partition(" ")
        if not encoded:
            return ""
        name, _, password = base64.b64decode(encoded).decode().partition(":")
        if kind != "Basic" or self.passwords.get(name) != password:
            raise RefusedError(401, "unauthorized")
        return name

    def project(self, name: str) -> Row:
        return _one(self.projects, "project", name=name)


def _one(rows: list[Row], what: str, **wanted: Any) -> Row:
    for row in rows:
        if all(row.get(key) == value for key, value in wanted.items()):
            return row
    raise RefusedError(404, f"{what} {' '.join(map(str, wanted.values()))} not found")


def _page(asked: Asked, rows: list[Row]) -> Answer:
    """Return a page with Harbor's headers; a page has at most 100 rows."""
    number, size = int(asked.query.get("page", "1")), min(int(asked.query.get("page_size", "10")), 100)
    shown = rows[(number - 1) * size : number * size]
    headers = {"X-Total-Count": str(len(rows))}
    if number * size < len(rows):
        headers["Link"] = f'<{asked.path}?page={number + 1}&page_size={size}>; rel="next"'
    return Answer(200, shown, headers)


def _current(harbor: Harbor, _asked: Asked, user: str) -> Answer:
    if not user or user == ROBOT:
        raise RefusedError(401, "unauthorized")
    return Answer(200, _one(harbor.users, "user", username=user))


def _rights(_harbor: Harbor, asked: Asked, _user: str) -> Answer:
    resource = "artifact" if asked.query["scope"] == "/project/1" else "project"
    return Answer(200, [{"resource": resource, "action": action} for action in ("read", "create")])


def _systeminfo(_harbor: Harbor, _asked: Asked, _user: str) -> Answer:
    return Answer(200, {"harbor_version": "v2.16.0", "read_only": False})


def _health(harbor: Harbor, _asked: Asked, _user: str) -> Answer:
    component = {"name": "storage", "status": harbor.health}
    return Answer(200, {"status": harbor.health, "components": [component]})


def _list_projects(harbor: Harbor, asked: Asked, _user: str) -> Answer:
    public = asked.query.get("public")
    rows = [row for row in harbor.projects if asked.query.get("name", "") in row["name"]]
    return _page(asked, [row for row in rows if public in (None, row["metadata"]["public"])])


def _create_project(harbor: Harbor, asked: Asked, _user: str) -> Answer:
    name = asked.body["project_name"]
    if any(row["name"] == name for row in harbor.projects):
        raise RefusedError(409, f"project {name} already exists")
    number = len(harbor.projects) + 1
    harbor.projects.append({"project_id": number, "name": name, "metadata": asked.body["metadata"]})
    return Answer(201, None, {"Location": f"{API}/projects/{number}"})


def _get_project(harbor: Harbor, asked: Asked, _user: str, name: str) -> Answer:
    assert asked.headers["X-Is-Resource-Name"] == "true"
    return Answer(200, harbor.project(name))


def _set_project(harbor: Harbor, asked: Asked, _user: str, name: str) -> Answer:
    known = {"public", "auto_scan", "severity"}
    changes = {key: value for key, value in asked.body["metadata"].items() if key in known}
    harbor.project(name)["metadata"].update(changes)
    return Answer(200)


def _delete_project(harbor: Harbor, _asked: Asked, _user: str, name: str) -> Answer:
    if harbor.project(name)["repo_count"]:
        raise RefusedError(412, f"the project {name} holds repositories")
    harbor.projects.remove(harbor.project(name))
    return Answer(200)


def _summary(harbor: Harbor, _asked: Asked, _user: str, name: str) -> Answer:
    harbor.project(name)
    return Answer(200, {"repo_count": 2, "quota": {"hard": {"storage": -1}, "used": {"storage": 1_500_000}}})


def _list_members(harbor: Harbor, asked: Asked, _user: str, name: str) -> Answer:
    harbor.project(name)
    return _page(asked, [row for row in harbor.members if asked.query.get("entityname", "") in row["entity_name"]])


def _add_member(harbor: Harbor, asked: Asked, _user: str, _name: str) -> Answer:
    if "member_group" in asked.body:
        group = _one(harbor.groups, "group", id=asked.body["member_group"]["id"])
        who = {"entity_name": group["group_name"], "entity_type": "g"}
    else:
        who = {"entity_name": asked.body["member_user"]["username"], "entity_type": "u"}
    harbor.members.append({"id": 11 + len(harbor.members), "role_id": asked.body["role_id"], **who})
    return Answer(201)


def _search_groups(harbor: Harbor, asked: Asked, _user: str) -> Answer:
    return _page(asked, [row for row in harbor.groups if asked.query["groupname"] in row["group_name"]])


def _set_member(harbor: Harbor, asked: Asked, _user: str, _name: str, number: str) -> Answer:
    _one(harbor.members, "member", id=int(number)).update(asked.body)
    return Answer(200)


def _remove_member(harbor: Harbor, _asked: Asked, _user: str, _name: str, number: str) -> Answer:
    harbor.members.remove(_one(harbor.members, "member", id=int(number)))
    return Answer(200)


def _list_registries(harbor: Harbor, asked: Asked, _user: str) -> Answer:
    return _page(asked, harbor.registries)


def _create_registry(harbor: Harbor, asked: Asked, _user: str) -> Answer:
    if any(row["name"] == asked.body["name"] for row in harbor.registries):
        raise RefusedError(409, "a registry of this name exists already: choose another")
    harbor.registries.append({**asked.body, "id": 32})
    return Answer(201, None, {"Location": f"{API}/registries/32"})


def _ping_registry(harbor: Harbor, asked: Asked, _user: str) -> Answer:
    if _one(harbor.registries, "registry", id=asked.body["id"])["status"] != "healthy":
        raise RefusedError(400, "the registry is unhealthy: it did not answer")
    return Answer(200)


def _delete_registry(harbor: Harbor, _asked: Asked, _user: str, number: str) -> Answer:
    harbor.registries.remove(_one(harbor.registries, "registry", id=int(number)))
    return Answer(200)


def _list_replications(harbor: Harbor, asked: Asked, _user: str) -> Answer:
    return _page(asked, harbor.replications)


_SIDES = frozenset({"src_registry", "dest_registry"})


def _create_replication(harbor: Harbor, asked: Asked, _user: str) -> Answer:
    sides = {
        side: _one(harbor.registries, "registry", id=asked.body[side]["id"]) for side in _SIDES & set(asked.body)
    }
    harbor.replications.append({**asked.body, **sides, "id": 52})
    return Answer(201, None, {"Location": f"{API}/replication/policies/52"})


def _delete_replication(harbor: Harbor, _asked: Asked, _user: str, number: str) -> Answer:
    harbor.replications.remove(_one(harbor.replications, "replication policy", id=int(number)))
    return Answer(200)


def _replicate(harbor: Harbor, asked: Asked, _user: str) -> Answer:
    _one(harbor.replications, "replication policy", id=asked.body["policy_id"])
    return Answer(201, None, {"Location": f"{API}/replication/executions/61"})


def _execution(harbor: Harbor, number: int = 61) -> Row:
    status, succeeded, failed = harbor.copying[0]
    return {
        "id": number,
        "policy_id": 51,
        "status": status,
        "trigger": "manual",
        "start_time": TIME,
        "status_text": "",
        "total": 2,
        "succeed": succeeded,
        "failed": failed,
    }


def _list_executions(harbor: Harbor, asked: Asked, _user: str) -> Answer:
    return _page(asked, [_execution(harbor)] if asked.query.get("policy_id") == "51" else [])


def _get_execution(harbor: Harbor, _asked: Asked, _user: str, number: str) -> Answer:
    shown = _execution(harbor, int(number))
    harbor.copying[:-1] = harbor.copying[1:-1]
    return Answer(200, shown)


def _list_tasks(harbor: Harbor, asked: Asked, _user: str, _number: str) -> Answer:
    failed = harbor.copying[0][2]
    rows: list[Row] = [
        {
            "id": number,
            "status": "Failed" if number <= failed else "Succeed",
            "operation": "copy",
            "src_resource": f"library/app{number} [1 item(s) in total]",
            "dst_resource": f"mirror/app{number} [1 item(s) in total]",
        }
        for number in (1, 2)
    ]
    return _page(asked, rows)


def _task_log(_harbor: Harbor, _asked: Asked, _user: str, _execution: str, number: str) -> Answer:
    return Answer(200, f"ERR library/app{number}:v1: it does not fit", {"Content-Type": "text/plain"})


def _list_robots(harbor: Harbor, asked: Asked, _user: str) -> Answer:
    level = "project" if asked.query.get("q") == "Level=project,ProjectID=1" else "system"
    return _page(asked, [row for row in harbor.robots if row["level"] == level])


def _create_robot(harbor: Harbor, asked: Asked, _user: str) -> Answer:
    permissions = asked.body["permissions"]
    prefix = f"{permissions[0]['namespace']}+" if asked.body["level"] == "project" else ""
    robot = {"id": 23, **asked.body, "name": f"robot${prefix}{asked.body['name']}"}
    harbor.robots.append(robot)
    return Answer(201, {"id": 23, "name": robot["name"], "secret": "Fresh5ecret", "expires_at": -1})


def _get_robot(harbor: Harbor, _asked: Asked, _user: str, number: str) -> Answer:
    return Answer(200, _one(harbor.robots, "robot", id=int(number)))


def _put_robot(harbor: Harbor, asked: Asked, _user: str, number: str) -> Answer:
    _one(harbor.robots, "robot", id=int(number)).update(asked.body)
    return Answer(200)


def _refresh_robot(harbor: Harbor, asked: Asked, _user: str, number: str) -> Answer:
    _one(harbor.robots, "robot", id=int(number))
    assert asked.body == {"secret": ""}
    return Answer(200, {"secret": "Newer5ecret"})


def _delete_robot(harbor: Harbor, _asked: Asked, _user: str, number: str) -> Answer:
    harbor.robots.remove(_one(harbor.robots, "robot", id=int(number)))
    return Answer(200)


def _permissions(_harbor: Harbor, _asked: Asked, _user: str) -> Answer:
    project = [{"resource": "tag", "action": "list"}, {"resource": "log", "action": "list"}]
    return Answer(200, {"system": [{"resource": "catalog", "action": "read"}], "project": project})


def _list_users(harbor: Harbor, asked: Asked, user: str) -> Answer:
    if not _one(harbor.users, "user", username=user)["sysadmin_flag"]:
        raise RefusedError(403, "forbidden")
    wanted = asked.query.get("q", "").removeprefix("username=")
    return _page(asked, [row for row in harbor.users if wanted in ("", row["username"])])


def _create_user(harbor: Harbor, asked: Asked, _user_name: str) -> Answer:
    harbor.users.append({**_user(8, asked.body["username"], admin=False), "realname": asked.body["realname"]})
    return Answer(201)


def _get_user(harbor: Harbor, _asked: Asked, _user: str, number: str) -> Answer:
    return Answer(200, _one(harbor.users, "user", user_id=int(number)))


def _delete_user(harbor: Harbor, _asked: Asked, _user: str, number: str) -> Answer:
    harbor.users.remove(_one(harbor.users, "user", user_id=int(number)))
    return Answer(200)


def _set_password(harbor: Harbor, asked: Asked, user: str, number: str) -> Answer:
    name = _one(harbor.users, "user", user_id=int(number))["username"]
    if name == user and asked.body.get("old_password") != harbor.passwords[name]:
        raise RefusedError(403, "old_password is not correct")
    harbor.passwords[name] = asked.body["new_password"]
    return Answer(200)


def _set_admin(harbor: Harbor, asked: Asked, _user: str, number: str) -> Answer:
    _one(harbor.users, "user", user_id=int(number)).update(asked.body)
    return Answer(200)


def _list_repositories(harbor: Harbor, asked: Asked, _user: str, project: str = "") -> Answer:
    return _page(asked, [row for row in harbor.repositories if row["name"].startswith(project)])


def _repository_of(harbor: Harbor, project: str, escaped: str) -> Row:
    assert "/" not in escaped, "a repository's name is escaped twice"
    return _one(harbor.repositories, "repository", name=f"{project}/{unquote(escaped)}")


def _get_repository(harbor: Harbor, _asked: Asked, _user: str, project: str, name: str) -> Answer:
    return Answer(200, _repository_of(harbor, project, name))


def _delete_repository(harbor: Harbor, _asked: Asked, _user: str, project: str, name: str) -> Answer:
    harbor.repositories.remove(_repository_of(harbor, project, name))
    return Answer(200)


def _list_artifacts(harbor: Harbor, asked: Asked, _user: str, project: str, name: str) -> Answer:
    _repository_of(harbor, project, name)
    tagged = {"tags=*": (True,), "tags=nil": (False,)}.get(asked.query.get("q", ""), (True, False))
    return _page(asked, [row for row in harbor.artifacts if bool(row["tags"]) in tagged])


def _copy_artifact(_harbor: Harbor, asked: Asked, _user: str, _project: str, _name: str) -> Answer:
    assert asked.query["from"]
    return Answer(201)


def _artifact_of(harbor: Harbor, project: str, name: str, reference: str) -> Row:
    _repository_of(harbor, project, name)
    for row in harbor.artifacts:
        if row["digest"] == reference or any(tag["name"] == reference for tag in row["tags"]):
            return row
    raise RefusedError(404, f"artifact {project}/{unquote(name)}:{reference} not found")


def _get_artifact(harbor: Harbor, _asked: Asked, _user: str, *names: str) -> Answer:
    return Answer(200, _artifact_of(harbor, *names))


def _delete_artifact(harbor: Harbor, _asked: Asked, _user: str, *names: str) -> Answer:
    harbor.artifacts.remove(_artifact_of(harbor, *names))
    return Answer(200)


def _list_tags(harbor: Harbor, asked: Asked, _user: str, *names: str) -> Answer:
    return _page(asked, _artifact_of(harbor, *names)["tags"])


def _create_tag(harbor: Harbor, asked: Asked, _user: str, *names: str) -> Answer:
    found = _artifact_of(harbor, *names)
    if any(tag["name"] == asked.body["name"] for row in harbor.artifacts for tag in row["tags"]):
        raise RefusedError(409, f"tag {asked.body['name']} already exists")
    found["tags"].append({"name": asked.body["name"]})
    return Answer(201)


def _delete_tag(harbor: Harbor, _asked: Asked, _user: str, *names: str) -> Answer:
    found = _artifact_of(harbor, *names[:-1])
    found["tags"].remove(_one(found["tags"], "tag", name=names[-1]))
    return Answer(200)


def _history(harbor: Harbor, asked: Asked, _user: str, *_names: str) -> Answer:
    return _page(asked, harbor.history)


def _undo(harbor: Harbor, asked: Asked, _user: str, *_names: str) -> Answer:
    version = (asked.body or {}).get("version", "v1")
    return Answer(200, {"digest": _one(harbor.history, "version", version=version)["digest"]})


def _start_job(_harbor: Harbor, asked: Asked, _user: str) -> Answer:
    assert asked.body["schedule"] == {"type": "Manual"}
    return Answer(201, None, {"Location": f"{asked.path}/41"})


def _get_job(harbor: Harbor, _asked: Asked, _user: str, number: str) -> Answer:
    if len(harbor.job) > 1:
        harbor.job.pop(0)
    found = {"id": int(number), "job_name": "JOB", "job_kind": "MANUAL", "deleted": False, "creation_time": TIME}
    parameters = json.dumps({"dry_run": False, **harbor.job_found})
    return Answer(200, {**found, "job_status": harbor.job[0][0], "job_parameters": parameters, "update_time": TIME})


def _job_log(harbor: Harbor, _asked: Asked, _user: str, _number: str) -> Answer:
    if not harbor.job[0][1]:
        raise RefusedError(404, "log entity: 41 not found")
    return Answer(200, harbor.job[0][1].encode(), {"Content-Type": "text/plain"})


def _region(harbor: Harbor, _asked: Asked, _user: str) -> Answer:
    return Answer(200, harbor.region)


def _change_region(harbor: Harbor, asked: Asked, _user: str) -> Answer:
    harbor.region["role"] = asked.body["role"]
    return Answer(200, harbor.region)


def _arrears(harbor: Harbor, asked: Asked, _user: str) -> Answer:
    last = asked.query.get("last") or (asked.body or {}).get("last", "")
    number = int(last or 0)
    following = str(number + 1) if number + 1 < len(harbor.arrears) else ""
    return Answer(200, {"arrears": harbor.arrears[number : number + 1], "next": following})


_PROJECT, _NUMBER, _PART = "/projects/([^/]+)", "/([0-9]+)", "/([^/]+)"
_REPOSITORY = f"{_PROJECT}/repositories{_PART}"
_ARTIFACT = f"{_REPOSITORY}/artifacts{_PART}"
_TAG = f"{_REPOSITORY}/tags{_PART}"
# fmt: off
ROUTES: tuple[tuple[str, str, Callable[..., Answer]], ...] = (
    ("GET",    "/users/current",                 _current),
    ("GET",    "/users/current/permissions",     _rights),
    ("GET",    "/systeminfo",                    _systeminfo),
    ("GET",    "/health",                        _health),
    ("GET",    "/projects",                      _list_projects),
    ("POST",   "/projects",                      _create_project),
    ("GET",    _PROJECT,                         _get_project),
    ("PUT",    _PROJECT,                         _set_project),
    ("DELETE", _PROJECT,                         _delete_project),
    ("GET",    f"{_PROJECT}/summary",            _summary),
    ("GET",    f"{_PROJECT}/members",            _list_members),
    ("POST",   f"{_PROJECT}/members",            _add_member),
    ("PUT",    f"{_PROJECT}/members{_NUMBER}",   _set_member),
    ("DELETE", f"{_PROJECT}/members{_NUMBER}",   _remove_member),
    ("GET",    "/usergroups/search",             _search_groups),
    ("GET",    "/registries",                    _list_registries),
    ("POST",   "/registries",                    _create_registry),
    ("POST",   "/registries/ping",               _ping_registry),
    ("DELETE", f"/registries{_NUMBER}",          _delete_registry),
    ("GET",    "/replication/policies",          _list_replications),
    ("POST",   "/replication/policies",          _create_replication),
    ("DELETE", f"/replication/policies{_NUMBER}", _delete_replication),
    ("GET",    "/replication/executions",        _list_executions),
    ("POST",   "/replication/executions",        _replicate),
    ("GET",    f"/replication/executions{_NUMBER}", _get_execution),
    ("GET",    f"/replication/executions{_NUMBER}/tasks", _list_tasks),
    ("GET",    f"/replication/executions{_NUMBER}/tasks{_NUMBER}/log", _task_log),
    ("GET",    "/robots",                        _list_robots),
    ("POST",   "/robots",                        _create_robot),
    ("GET",    f"/robots{_NUMBER}",              _get_robot),
    ("PUT",    f"/robots{_NUMBER}",              _put_robot),
    ("PATCH",  f"/robots{_NUMBER}",              _refresh_robot),
    ("DELETE", f"/robots{_NUMBER}",              _delete_robot),
    ("GET",    "/permissions",                   _permissions),
    ("GET",    "/users",                         _list_users),
    ("POST",   "/users",                         _create_user),
    ("GET",    f"/users{_NUMBER}",               _get_user),
    ("DELETE", f"/users{_NUMBER}",               _delete_user),
    ("PUT",    f"/users{_NUMBER}/password",      _set_password),
    ("PUT",    f"/users{_NUMBER}/sysadmin",      _set_admin),
    ("GET",    "/repositories",                  _list_repositories),
    ("GET",    f"{_PROJECT}/repositories",       _list_repositories),
    ("GET",    _REPOSITORY,                      _get_repository),
    ("DELETE", _REPOSITORY,                      _delete_repository),
    ("GET",    f"{_REPOSITORY}/artifacts",       _list_artifacts),
    ("POST",   f"{_REPOSITORY}/artifacts",       _copy_artifact),
    ("GET",    _ARTIFACT,                        _get_artifact),
    ("DELETE", _ARTIFACT,                        _delete_artifact),
    ("GET",    f"{_ARTIFACT}/tags",              _list_tags),
    ("POST",   f"{_ARTIFACT}/tags",              _create_tag),
    ("DELETE", f"{_ARTIFACT}/tags{_PART}",       _delete_tag),
    ("POST",   "/system/gc/schedule",            _start_job),
    ("GET",    f"/system/gc{_NUMBER}",           _get_job),
    ("GET",    f"/system/gc{_NUMBER}/log",       _job_log),
    ("POST",   "/system/verify/schedule",        _start_job),
    ("GET",    f"/system/verify{_NUMBER}",       _get_job),
    ("GET",    f"/system/verify{_NUMBER}/log",   _job_log),
    ("GET",    "/system/regions",                _region),
    ("PUT",    "/system/regions",                _change_region),
    ("GET",    "/system/regions/arrears",        _arrears),
    ("POST",   "/system/regions/alignments",     _arrears),
    ("GET",    f"{_TAG}/history",                _history),
    ("POST",   f"{_TAG}/undo",                   _undo),
)
# fmt: on


class _Handler(BaseHTTPRequestHandler):
    """Turns requests into `Asked`, and `Answer` into bytes."""

    protocol_version = "HTTP/1.1"
    harbor: Harbor

    def log_message(self, *_args: object) -> None:
        """Say nothing: the output belongs to the tests."""

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        asked = Asked(self.command, parts.path, query, dict(self.headers), json.loads(data) if data else None)
        try:
            answer = self.harbor.answer(asked)
        except RefusedError as refused:
            answer = refused.answer
        body = answer.body if isinstance(answer.body, bytes) else _json(answer.body)
        headers = _headers(asked, answer, len(body))
        self.harbor.sent.append(Sent(asked, answer.status, headers, body))
        self.send_response(answer.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815 - names that http.server looks for


def _headers(asked: Asked, answer: Answer, length: int) -> dict[str, str]:
    return {
        "Content-Type": "application/json",
        "Content-Length": str(length),
        "Set-Cookie": "sid=1; Path=/",
        "X-Request-Id": "a-request",
        **({"Location": f"{asked.path}/1"} if answer.status == HTTPStatus.CREATED else {}),
        **answer.headers,
    }


def _json(value: Any) -> bytes:
    return b"" if value is None else json.dumps(value).encode()


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[Harbor]:
    """Run a Harbor of its own on this machine, over TLS where there is a context."""
    harbor = Harbor()
    handler = type("Handler", (_Handler,), {"harbor": harbor})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    harbor.url = f"{'https' if context else 'http'}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield harbor
    finally:
        harbor.ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
