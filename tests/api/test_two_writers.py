"""Two writers of one thing over the API: one wins, the others get 409, and nothing is half done."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import orjson
import pytest

from chalicelib.api.http import Response
from chalicelib.store.directory import users
from chalicelib.store.directory.users import NewUser
from tests.api.asking import Client
from tests.api.principals import API, PRIVATE, World

_WRITERS = 12


@pytest.fixture
def world() -> World:
    return World()


def at_once(world: World, ask: Callable[[Client], Response]) -> Counter[int]:
    """Return how often each status came back, of as many who ask the same at one moment."""

    def one(_number: int) -> int:
        # A client has its credentials to itself; what it asks is shared.
        client = Client.beside(world.client)
        return ask(client).status

    with ThreadPoolExecutor(_WRITERS) as pool:
        return Counter(pool.map(one, range(_WRITERS)))


def send(client: Client, method: str, path: str, body: object) -> Response:
    return client.ask(method, API + path, orjson.dumps(body), content_type="application/json")


ROBOT = {
    "name": "ci",
    "level": "project",
    "duration": -1,
    "permissions": [
        {"kind": "project", "namespace": PRIVATE, "access": [{"resource": "repository", "action": "pull"}]}
    ],
}


@pytest.mark.parametrize(
    ("path", "body", "listed"),
    [
        ("/projects", {"project_name": "raced"}, "/projects?q=name=raced"),
        (f"/projects/{PRIVATE}/members", {"role_id": 3, "member_user": {"username": "eve"}}, ""),
        ("/robots", ROBOT, ""),
        ("/labels", {"name": "raced", "scope": "g"}, "/labels?scope=g"),
        (
            "/users",
            {"username": "raced", "password": "Secret123", "email": "r@example.org"},
            "/users?q=username=raced",
        ),
        ("/usergroups", {"group_name": "raced", "group_type": 3}, "/usergroups"),
    ],
    ids=["project", "member", "robot", "label", "user", "group"],
)
def test_of_many_who_make_one_thing_one_wins(world: World, path: str, body: object, listed: str) -> None:
    users.create(world.client.services.directory, NewUser("eve", "hash"))

    statuses = at_once(world, lambda client: send(client, "POST", path, body))

    assert statuses == {201: 1, 409: _WRITERS - 1}
    if listed:
        assert world.api("GET", listed).headers["X-Total-Count"] == "1"


def test_of_many_who_delete_one_thing_one_wins(world: World) -> None:
    send(world.client, "POST", "/labels", {"name": "raced", "scope": "g"})
    label = orjson.loads(world.api("GET", "/labels?scope=g").body)[0]["id"]

    statuses = at_once(world, lambda client: send(client, "DELETE", f"/labels/{label}", {}))

    assert statuses[200] == 1
    assert set(statuses) <= {200, 404, 409}
    assert world.api("GET", "/labels?scope=g").headers["X-Total-Count"] == "0"


def test_changes_of_one_project_by_many_are_whole_or_refused(world: World) -> None:
    flags = ("auto_scan", "prevent_vul", "enable_content_trust")

    def change(client: Client) -> Response:
        return send(client, "PUT", f"/projects/{PRIVATE}", {"metadata": dict.fromkeys(flags, "true")})

    statuses = at_once(world, change)

    assert set(statuses) <= {200, 409}
    metadata = orjson.loads(world.api("GET", f"/projects/{PRIVATE}").body)["metadata"]
    assert {name: metadata[name] for name in flags} == dict.fromkeys(flags, "true")
