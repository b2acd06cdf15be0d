"""What a review found: each is a request that once told too much, allowed too much or failed inside."""

from collections.abc import Mapping
from urllib.parse import quote

import orjson
import pytest

from chalicelib.api.http import Response
from chalicelib.policy import robots as rules
from chalicelib.policy.rbac import Permission
from chalicelib.store.directory import labels, projects
from tests.api.asking import basic
from tests.api.principals import PRIVATE, PUBLIC, World, as_user, granted

MEMBERS = f"/projects/{PRIVATE}/members"
NOWHERE = 2**31 - 1
PULL = {"resource": "repository", "action": "pull"}


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def project_id(world: World, name: str) -> int:
    found = projects.find(world.client.services.directory, name)
    assert found is not None
    return found.id


def said(answer: Response) -> tuple[int, bytes]:
    return answer.status, answer.body


def robot(name: str, **fields: object) -> Mapping[str, object]:
    permissions = [{"kind": "project", "namespace": PRIVATE, "access": [PULL]}]
    return {"name": name, "level": "project", "duration": 1, "permissions": permissions, **fields}


# Groups that come with a membership


@pytest.mark.parametrize(
    "group",
    [
        {"group_name": "x\ny", "group_type": 2},
        {"group_name": "x", "group_type": 99},
        {"group_name": "x", "group_type": -7},
        {"group_name": "x" * 2000, "group_type": 3},
        {"group_name": " x", "group_type": 3},
        {"group_name": "x", "group_type": 2, "ldap_group_dn": "cn=x"},
        {"ldap_group_dn": "\u202e<script>"},
        {"ldap_group_dn": "cn=" + "x" * 2000},
        {"group_name": "x" * 300, "ldap_group_dn": "cn=x"},
    ],
)
def test_a_group_that_nobody_could_make_is_not_made_by_a_membership(
    world: World, group: Mapping[str, object]
) -> None:
    body = {"role_id": 3, "member_group": group}

    assert world.api("POST", MEMBERS, body, who=as_user("projectAdmin")).status == 400
    assert orjson.loads(world.api("GET", "/usergroups").body) == []


def test_a_group_that_can_be_is_made_by_a_membership() -> None:
    world = World()
    body = {"role_id": 3, "member_group": {"ldap_group_dn": "cn=developers,dc=example,dc=org"}}

    assert world.api("POST", MEMBERS, body, who=as_user("projectAdmin")).status == 201


# Lists


@pytest.mark.parametrize("path", ["/projects", "/repositories"])
@pytest.mark.parametrize(
    "condition", ["name=[1~9]", "name=[~5]", "project_id=[--5~9]", "project_id=[-~9]", "project_id=[a~9]", "x=[~]"]
)
def test_a_stranger_s_range_is_answered_whatever_it_bounds(world: World, path: str, condition: str) -> None:
    assert world.api("GET", f"{path}?q={quote(condition)}", who={}).status == 200


@pytest.mark.parametrize(
    "query",
    [
        "sort=" + ",".join(["name"] * 1000),
        "q=" + ",".join(f"x{number}=~a" for number in range(400)),
    ],
)
def test_a_stranger_s_list_costs_a_bounded_effort(world: World, query: str) -> None:
    assert world.api("GET", f"/projects?{query}", who={}).status == 400


# Robot accounts


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_the_description_of_a_robot_account_is_short(world: World, method: str) -> None:
    longest = rules.LONGEST_DESCRIPTION
    long, fitting = robot("wordy", description="x" * (longest + 1)), robot(f"terse-{method.lower()}")
    path = "/robots"
    if method == "PUT":
        path = f"/robots/{orjson.loads(world.api('POST', '/robots', fitting).body)['id']}"
        long = {"description": "x" * (longest + 1)}

    assert world.api(method, path, long, who=world.admin).status == 400
    assert world.api(method, path, {**fitting, "description": "x" * longest}).status in (200, 201)


def test_a_robot_account_names_a_bounded_number_of_projects_and_permissions(world: World) -> None:
    permission = {"kind": "project", "namespace": PRIVATE, "access": [PULL]}
    everything = [entry._asdict() for entry in rules.PROJECT_CATALOGUE]
    full = {**permission, "access": everything}

    for permissions in ([permission] * (rules.MOST_NAMESPACES + 1), [full] * rules.MOST_NAMESPACES):
        body = robot("everywhere", level="system", permissions=permissions)
        assert world.api("POST", "/robots", body).status == 400


def test_a_robot_account_with_as_much_as_is_allowed_is_stored(world: World) -> None:
    everything = [permission._asdict() for permission in rules.PROJECT_CATALOGUE]
    long = "x" * 255
    world.api("POST", "/projects", {"project_name": long})
    whole, few = rules.MOST_PERMISSIONS // len(everything) - 1, {"access": [PULL]}
    entry = {"kind": "project", "namespace": long, "access": everything}
    permissions = [entry] * whole + [{**entry, **few}] * (rules.MOST_NAMESPACES - whole)
    body = robot("x" * 255, level="system", description="😀" * rules.LONGEST_DESCRIPTION, permissions=permissions)

    assert world.api("POST", "/robots", body).status == 201


def rebuilt(world: World, name: str) -> tuple[int, Mapping[str, str], Mapping[str, object]]:
    """Return a robot account of a project that was made anew since: its id, credentials and what it was before."""
    world.api("POST", "/projects", {"project_name": name})
    permissions = [{"kind": "project", "namespace": name, "access": [PULL]}]
    made = orjson.loads(world.api("POST", "/robots", robot(name, level="system", permissions=permissions)).body)
    before = orjson.loads(world.api("GET", f"/robots/{made['id']}").body)
    world.api("DELETE", f"/projects/{name}")
    world.api("POST", "/projects", {"project_name": name})
    return made["id"], basic(made["name"], made["secret"]), before


def test_permissions_that_do_not_hold_any_more_are_not_shown(world: World) -> None:
    number, _, before = rebuilt(world, "shown")

    listed = orjson.loads(world.api("GET", "/robots?page_size=100").body)
    assert before["permissions"]
    assert orjson.loads(world.api("GET", f"/robots/{number}").body)["permissions"] == []
    assert [each["permissions"] for each in listed if each["id"] == number] == [[]]


def test_permissions_that_are_given_anew_hold_in_the_project_of_today(world: World) -> None:
    number, credentials, before = rebuilt(world, "again")
    scope = "repository:again/app:pull"
    assert granted(world.token(dict(credentials), scope)) == {}

    assert world.api("PUT", f"/robots/{number}", before).status == 200

    assert granted(world.token(dict(credentials), scope)) == {"repository:again/app": ["pull"]}
    assert orjson.loads(world.api("GET", f"/robots/{number}").body)["permissions"] == before["permissions"]


@pytest.mark.parametrize("whole", [True, False])
def test_another_change_gives_a_robot_account_nothing_in_the_project_of_today(world: World, whole: bool) -> None:
    number, credentials, _ = rebuilt(world, f"kept-{whole}".lower())
    shown = orjson.loads(world.api("GET", f"/robots/{number}").body) if whole else {}

    assert world.api("PUT", f"/robots/{number}", {**shown, "description": "other"}).status == 200

    assert granted(world.token(dict(credentials), f"repository:kept-{whole}/app:pull".lower())) == {}


@pytest.mark.parametrize("condition", ["name=sought", "name=robot$sought", "name=~ough", "name={x robot$sought}"])
def test_a_robot_account_is_found_with_and_without_the_prefix_of_its_name(world: World, condition: str) -> None:
    permissions = [{"kind": "system", "namespace": "/", "access": [{"resource": "label", "action": "read"}]}]
    world.api("POST", "/robots", robot("sought", level="system", permissions=permissions))

    found = orjson.loads(world.api("GET", f"/robots?q={quote(condition)}").body)

    assert [each["name"] for each in found] == ["robot$sought"]


@pytest.mark.parametrize("days", [-1, 1, 30])
def test_a_robot_account_does_not_outlive_the_one_that_makes_it(world: World, days: int) -> None:
    access = [{"resource": "robot", "action": "create"}]
    permissions = [{"kind": "system", "namespace": "/", "access": access}]
    maker = orjson.loads(
        world.api(
            "POST",
            "/robots",
            robot(f"maker{abs(days)}x{days == -1:d}", level="system", duration=7, permissions=permissions),
        ).body
    )
    child = robot(f"child{abs(days)}x{days == -1:d}", level="system", duration=days, permissions=permissions)

    made = orjson.loads(world.api("POST", "/robots", child, who=basic(maker["name"], maker["secret"])).body)

    ends = int(world.client.clock().timestamp()) + 24 * 60 * 60
    assert made["expires_at"] == (ends if days == 1 else maker["expires_at"])


# What a refusal tells


@pytest.mark.parametrize("who", ["outsider", "limitedGuest", ""])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_label_out_of_reach_is_refused_like_one_that_is_not_there(world: World, who: str, method: str) -> None:
    directory, name = world.client.services.directory, f"secret {who} {method}"
    label = labels.create(directory, project_id(world, PRIVATE), name, "", "")
    credentials = as_user(who) if who else {}

    there = world.api(method, f"/labels/{label.id}", {}, who=credentials)
    nowhere = world.api(method, f"/labels/{NOWHERE}", {}, who=credentials)

    assert said(there) == said(nowhere)
    assert there.status == (403 if who else 401)


def test_an_administrator_is_told_that_a_label_is_not_there(world: World) -> None:
    assert world.api("GET", f"/labels/{NOWHERE}").status == 404


def test_a_project_s_robot_accounts_are_refused_alike_whether_it_exists_or_not(world: World) -> None:
    outsider, there = as_user("outsider"), project_id(world, PRIVATE)

    lists = [
        said(world.api("GET", f"/robots?q=Level=project,ProjectID={number}", who=outsider))
        for number in (there, NOWHERE)
    ]
    made = [
        said(
            world.api(
                "POST",
                "/robots",
                robot("spy", permissions=[{"kind": "project", "namespace": name, "access": [PULL]}]),
                who=outsider,
            )
        )
        for name in (PRIVATE, "missing")
    ]

    assert lists[0] == lists[1]
    assert made[0] == made[1]
    assert {lists[0][0], made[0][0]} == {403}


def test_a_robot_account_of_a_project_that_is_gone_is_refused_like_any_other(world: World) -> None:
    world.api("POST", "/projects", {"project_name": "brief"})
    permissions = [{"kind": "project", "namespace": "brief", "access": [PULL]}]
    made = orjson.loads(world.api("POST", "/robots", robot("left", permissions=permissions)).body)
    world.api("DELETE", "/projects/brief")

    answers = [
        said(world.api("GET", f"/robots/{number}", who=as_user("outsider"))) for number in (made["id"], NOWHERE)
    ]

    assert answers[0] == answers[1]
    assert answers[0][0] == 403
    assert world.api("GET", f"/robots/{made['id']}").status == 404


# Projects


@pytest.mark.parametrize(
    ("metadata", "public"), [({"public": "false"}, "false"), ({"public": "true"}, "true"), ({}, "true")]
)
def test_the_metadata_of_a_new_project_say_whether_it_is_public(
    world: World, metadata: Mapping[str, str], public: str
) -> None:
    name = f"declared-{len(metadata)}-{public}"
    world.api("POST", "/projects", {"project_name": name, "public": True, "metadata": metadata})

    assert orjson.loads(world.api("GET", f"/projects/{name}").body)["metadata"]["public"] == public


# Names that no record can have


@pytest.mark.parametrize("length", [0, 254, 1500])
def test_names_of_any_length_are_nobody_s(world: World, length: int) -> None:
    name = "x" * length

    assert world.api("GET", f"/projects/{name or '%20'}").status == 404
    for account in (f"robot${name}", f"robot${name}+x", f"robot${PRIVATE}+{name}", name or " "):
        world.client.source = f"198.51.100.{length % 250}"
        assert world.api("GET", "/users/current", who=basic(account, "Wrong12345")).status in (401, 429)
    token = world.registry("GET", f"/service/token?scope=repository:{name}/x:pull&scope=repository:{PUBLIC}/x:pull")
    assert token.status == 200


def test_a_permission_that_is_none_is_a_bad_request(world: World) -> None:
    access = [{"resource": "x" * 3000, "action": "y"}]
    permissions = [{"kind": "project", "namespace": PRIVATE, "access": access}]

    assert world.api("POST", "/robots", robot("odd", permissions=permissions)).status == 400
    assert Permission("x", "y") not in rules.PROJECT_CATALOGUE
