"""Immutable tags: the rules over Harbor's API, and what they forbid on every way to a tag."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest

from chalicelib.api.http import Response
from chalicelib.oci.digests import Digest
from chalicelib.oci.manifests import OCI_MANIFEST
from chalicelib.policy.immutability import MOST_RULES
from tests.api.artifacts import Registry
from tests.api.asking import Client, basic

RULES = "/projects/library/immutabletagrules"
APP = "/projects/library/repositories/app"
Json = dict[str, Any]


def rule(tags: str = "v*", repositories: str = "**", **fields: Any) -> Json:
    """Return a rule as terraform's provider sends it."""
    return {
        "id": 0,
        "priority": 0,
        "disabled": False,
        "action": "immutable",
        "template": "immutable_template",
        "tag_selectors": [{"kind": "doublestar", "decoration": "matches", "pattern": tags}],
        "scope_selectors": {
            "repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": repositories}],
        },
        **fields,
    }


def made(registry: Registry, body: Json, rules: str = RULES) -> int:
    answer = registry.api("POST", rules, body)
    assert answer.status == 201, answer.body
    return int(answer.headers["Location"].rpartition("/")[2])


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def fixed(registry: Registry) -> Registry:
    """Return a registry that has library/app:v1 and a rule that fixes it."""
    registry.image("library/app", "v1", "x")
    made(registry, rule())
    return registry


def put(registry: Registry, repository: str, tag: str, name: str) -> Response:
    """Push an image whose blobs are pushed; return the answer to its manifest."""
    document = registry.document(repository, orjson.dumps({"config": {"Cmd": [name]}}), name)
    registry.client.headers = basic()
    path = f"/v2/{repository}/manifests/{tag}"
    return registry.client.ask("PUT", path, orjson.dumps(document), content_type=OCI_MANIFEST)


def delete(registry: Registry, repository: str, reference: str) -> Response:
    registry.client.headers = basic()
    return registry.client.ask("DELETE", f"/v2/{repository}/manifests/{reference}")


def refused(answer: Response) -> str:
    """Return the message of a refusal for the sake of a rule, by either API."""
    error = orjson.loads(answer.body)["errors"][0]
    code = "PRECONDITION" if answer.headers["Content-Type"].endswith("charset=utf-8") else "DENIED"
    assert (answer.status, error["code"]) == (412, code), answer.body
    assert "immutable" in error["message"]
    return str(error["message"])


def test_a_rule_is_made_read_changed_and_deleted(registry: Registry) -> None:
    number = made(registry, rule())

    assert registry.get(RULES) == [{**rule(), "id": number, "params": {}}]
    changed = rule("release-*", "team/**", id=number, disabled=True)
    assert registry.api("PUT", f"{RULES}/{number}", changed).status == 200
    assert registry.get(RULES) == [{**changed, "params": {}}]
    assert registry.api("DELETE", f"{RULES}/{number}").status == 200
    assert registry.get(RULES) == []
    assert registry.api("DELETE", f"{RULES}/{number}").status == 404
    assert registry.api("PUT", f"{RULES}/{number}", changed).status == 404


def test_rules_come_in_the_order_in_which_they_were_made(registry: Registry) -> None:
    numbers = [made(registry, rule(f"{letter}*")) for letter in "cab"]

    assert [entry["id"] for entry in registry.get(RULES)] == numbers
    page = registry.api("GET", f"{RULES}?page=2&page_size=2")
    assert [entry["id"] for entry in orjson.loads(page.body)] == numbers[2:]
    assert page.headers["X-Total-Count"] == "3"


def test_a_rule_that_selects_the_same_is_refused(registry: Registry) -> None:
    made(registry, rule())
    other = made(registry, rule("x*"))

    assert registry.api("POST", RULES, rule(disabled=True)).status == 409
    assert registry.api("PUT", f"{RULES}/{other}", rule(id=other)).status == 409
    assert registry.api("POST", "/projects/one/immutabletagrules", rule()).status == 201


def test_a_project_has_room_for_fifteen(registry: Registry) -> None:
    for number in range(MOST_RULES):
        made(registry, rule(f"{number}"))

    answer = registry.api("POST", RULES, rule("more"))

    assert answer.status == 400
    assert b"at most 15" in answer.body


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tag_selectors": []}, b"tag_selectors"),
        ({"scope_selectors": {}}, b"repository"),
        ({"action": "retain"}, b"action"),
        ({"tag_selectors": [{"decoration": "matches", "pattern": "[a"}]}, b"the pattern [a"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_with_what_to_write(
    registry: Registry, change: Json, words: bytes
) -> None:
    answer = registry.api("POST", RULES, rule() | change)

    assert answer.status == 400
    assert words in answer.body


def test_the_id_of_the_body_is_that_of_the_path(registry: Registry) -> None:
    number = made(registry, rule())

    assert registry.api("PUT", f"{RULES}/{number}", rule("x", id=number + 1)).status == 400


def test_a_rule_can_be_switched_off_without_saying_all_of_it_again(registry: Registry) -> None:
    number = made(registry, rule())

    assert registry.api("PUT", f"{RULES}/{number}", {"disabled": True}).status == 200

    assert registry.get(RULES) == [{**rule(), "id": number, "params": {}, "disabled": True}]


def test_the_rule_of_another_project_is_not_found(registry: Registry) -> None:
    number = made(registry, rule())

    assert registry.api("PUT", f"/projects/one/immutabletagrules/{number}", rule(id=number)).status == 404
    assert registry.api("DELETE", f"/projects/one/immutabletagrules/{number}").status == 404


def test_who_makes_rules_at_once_makes_them_all(registry: Registry) -> None:
    """So does terraform, ten at a time."""

    def one(number: int) -> int:
        client = Client.beside(registry.client)
        return client.ask("POST", f"/api/v2.0{RULES}", orjson.dumps(rule(f"t{number}"))).status

    with ThreadPoolExecutor(10) as pool:
        assert set(pool.map(one, range(10))) == {201}
    assert len(registry.get(RULES)) == 10


def test_a_change_of_the_project_leaves_the_rules_alone(registry: Registry) -> None:
    made(registry, rule())

    registry.api("PUT", "/projects/library", {"metadata": {"auto_scan": "true"}})

    assert len(registry.get(RULES)) == 1
    assert "immutable_rules" not in registry.get("/projects/library")


def test_the_first_push_of_a_tag_is_free_and_the_second_refused(fixed: Registry) -> None:
    assert put(fixed, "library/app", "v2", "y").status == 201

    message = refused(put(fixed, "library/app", "v2", "z"))

    assert message == "library/app:v2 is configured as immutable, cannot be updated: push another tag"
    # Nothing of it is there: not even an artifact without a tag.
    assert [artifact["tags"][0]["name"] for artifact in fixed.get(f"{APP}/artifacts")] == ["v2", "v1"]


def test_pushing_the_very_same_again_is_refused_too(fixed: Registry) -> None:
    refused(put(fixed, "library/app", "v1", "x"))


def test_other_tags_and_other_repositories_are_free(fixed: Registry) -> None:
    for name in "xy":
        assert put(fixed, "library/app", "latest", name).status == 201
        assert put(fixed, "one/app", "v1", name).status == 201


def test_several_tags_at_once_are_refused_for_the_sake_of_one(fixed: Registry) -> None:
    document = fixed.document("library/app", b"{}", "z")
    content = orjson.dumps(document)
    path = f"/v2/library/app/manifests/{Digest.of(content)}?tag=new&tag=v1"

    refused(fixed.client.ask("PUT", path, content, content_type=OCI_MANIFEST))

    assert fixed.pull("library/app", "new") == 404


def test_a_fixed_tag_is_not_deleted_by_any_way(fixed: Registry) -> None:
    digest = fixed.get(f"{APP}/artifacts/v1")["digest"]

    ways = [
        delete(fixed, "library/app", "v1"),
        delete(fixed, "library/app", digest),
        fixed.api("DELETE", f"{APP}/artifacts/v1/tags/v1"),
        fixed.api("DELETE", f"{APP}/artifacts/{digest}"),
        fixed.api("DELETE", APP),
    ]

    for answer in ways:
        # Harbor's own tests look for these words.
        assert "configured as immutable, cannot be deleted" in refused(answer)
    refused(fixed.api("DELETE", APP))

    assert fixed.pull("library/app", "v1") == fixed.pull("library/app", digest) == 200


def test_the_blobs_of_a_manifest_are_not_deleted_where_tags_are_fixed(fixed: Registry) -> None:
    digest = fixed.get(f"{APP}/artifacts/v1")["digest"]
    fixed.client.headers = basic()
    config = orjson.loads(fixed.client.ask("GET", f"/v2/library/app/manifests/{digest}").body)["config"]["digest"]
    unneeded = fixed.blob("library/app", b"what no manifest names")

    fixed.client.headers = basic()
    refused(fixed.client.ask("DELETE", f"/v2/library/app/blobs/{config}"))
    assert fixed.client.ask("HEAD", f"/v2/library/app/blobs/{config}").status == 200
    assert fixed.client.ask("DELETE", f"/v2/library/app/blobs/{unneeded}").status == 202


def test_a_free_tag_of_the_same_artifact_can_be_deleted_alone(fixed: Registry) -> None:
    fixed.image("library/app", "latest", "x")

    assert delete(fixed, "library/app", "latest").status == 202

    assert [tag["name"] for tag in fixed.get(f"{APP}/artifacts/v1/tags")] == ["v1"]


def test_an_artifact_goes_with_free_tags_once_no_fixed_one_names_it(fixed: Registry) -> None:
    """That a fixed tag once named it is no hindrance."""
    digest = fixed.image("library/app", "latest", "y")

    assert delete(fixed, "library/app", digest).status == 202


def test_a_subject_stays_with_a_signature_whose_tag_is_fixed(registry: Registry) -> None:
    subject = registry.image("library/app", "dev", "x")
    signature = registry.sign("library/app", subject)
    tagged = registry.api("POST", f"{APP}/artifacts/{signature}/tags", {"name": "v1.sig"})
    assert tagged.status == 201
    made(registry, rule())

    refused(registry.api("DELETE", f"{APP}/artifacts/{subject}"))

    assert registry.pull("library/app", "dev") == registry.pull("library/app", "v1.sig") == 200


def test_a_copy_writes_over_no_fixed_tag_and_copies_nothing_then(fixed: Registry) -> None:
    fixed.image("one/app", "v1", "other")
    fixed.image("one/app", "free", "other")
    before = fixed.get(f"{APP}/artifacts")

    refused(fixed.api("POST", f"{APP}/artifacts?from=one/app:v1"))

    assert fixed.get(f"{APP}/artifacts") == before
    assert fixed.api("POST", "/projects/library/repositories/new/artifacts?from=one/app:v1").status == 201


def test_a_copy_can_be_repeated_though_its_tags_are_fixed(registry: Registry) -> None:
    subject = registry.image("one/app", "v1", "x")
    signature = registry.sign("one/app", subject)
    signatures = f"/projects/one/repositories/app/artifacts/{signature}/tags"
    assert registry.api("POST", signatures, {"name": "v1.sig"}).status == 201
    made(registry, rule())

    for _ in range(2):
        assert registry.api("POST", f"{APP}/artifacts?from=one/app:v1").status == 201

    assert registry.pull("library/app", "v1") == registry.pull("library/app", "v1.sig") == 200


def test_a_tag_made_by_the_api_exists_already_whether_fixed_or_not(fixed: Registry) -> None:
    fixed.image("library/app", "latest", "y")

    assert fixed.api("POST", f"{APP}/artifacts/latest/tags", {"name": "v1"}).status == 409
    assert fixed.api("POST", f"{APP}/artifacts/latest/tags", {"name": "v2"}).status == 201


def test_an_undo_moves_no_fixed_tag(registry: Registry) -> None:
    for name in "xy":
        registry.image("library/app", "v1", name)
    made(registry, rule())

    refused(registry.api("POST", f"{APP}/tags/v1/undo", {}))


def test_a_tag_that_was_deleted_before_can_come_back(registry: Registry) -> None:
    digest = registry.image("library/app", "v1", "x")
    delete(registry, "library/app", "v1")
    made(registry, rule())

    answer = registry.api("POST", f"{APP}/tags/v1/undo", {})

    assert (answer.status, orjson.loads(answer.body)) == (200, {"digest": digest})


def test_without_the_rule_or_while_it_is_off_everything_is_as_before(fixed: Registry) -> None:
    number = fixed.get(RULES)[0]["id"]
    fixed.api("PUT", f"{RULES}/{number}", rule(id=number, disabled=True))

    assert put(fixed, "library/app", "v1", "y").status == 201
    fixed.api("DELETE", f"{RULES}/{number}")
    assert fixed.api("DELETE", f"{APP}/artifacts/v1").status == 200


def test_tags_say_whether_they_are_immutable_if_they_are_asked(fixed: Registry) -> None:
    fixed.image("library/app", "latest", "x")

    def shown(path: str) -> dict[str, bool]:
        return {tag["name"]: tag["immutable"] for tag in fixed.get(path)}

    assert shown(f"{APP}/artifacts/v1/tags?with_immutable_status=true") == {"latest": False, "v1": True}
    assert shown(f"{APP}/artifacts/v1/tags") == {"latest": False, "v1": False}
    for path in (f"{APP}/artifacts", "/projects/library/artifacts"):
        tags = fixed.get(f"{path}?with_immutable_status=true")[0]["tags"]
        assert {tag["name"]: tag["immutable"] for tag in tags} == {"latest": False, "v1": True}


def test_of_many_who_push_a_new_fixed_tag_at_once_one_wins(fixed: Registry) -> None:
    """Each looked, and saw that the tag was free."""
    documents = [orjson.dumps(fixed.document("library/app", b"{}", f"image {number}")) for number in range(8)]

    def one(content: bytes) -> int:
        client = Client.beside(fixed.client)
        return client.ask("PUT", "/v2/library/app/manifests/v9", content, content_type=OCI_MANIFEST).status

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(one, documents))

    assert sorted(statuses) == [201] + [412] * 7
    fixed.client.headers = basic()
    assert fixed.client.ask("GET", "/v2/library/app/manifests/v9").body == documents[statuses.index(201)]


def test_rules_cost_a_push_one_look_and_that_where_they_hold_alone(fixed: Registry) -> None:
    document = orjson.dumps(fixed.document("library/app", b"{}", "same"))

    def requests(tag: str) -> int:
        fixed.client.objects.asked.clear()
        answer = fixed.client.ask("PUT", f"/v2/library/app/manifests/{tag}", document, content_type=OCI_MANIFEST)
        assert answer.status == 201
        return len(fixed.client.objects.asked)

    requests("warm")
    free = requests("free")
    assert requests("v5") == free + 1
    fixed.api("DELETE", f"{RULES}/{fixed.get(RULES)[0]['id']}")
    fixed.client.headers = basic()
    assert requests("v6") == free
