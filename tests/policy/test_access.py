"""Who may do what: the whole matrix, and how scopes become grants."""

import pytest

from chalicelib.policy.access import ANONYMOUS, CATALOG, Action, Principal, grant, resources, rights, scope

ADMIN = Principal("admin", administrator=True)
REPOSITORY = "repository:library/nginx"

# fmt: off
MATRIX = """
principal                 resource            pull  push  delete  list
admin                     repository          yes   yes   yes     -
admin                     registry:catalog    -     -     -       yes
anonymous                 repository          -     -     -       -
anonymous                 registry:catalog    -     -     -       -
anonymous, pull allowed   repository          yes   -     -       -
anonymous, pull allowed   registry:catalog    -     -     -       -
"""
# fmt: on
_ROWS = (("admin", ADMIN, False), ("anonymous", ANONYMOUS, False), ("anonymous, pull allowed", ANONYMOUS, True))


def test_the_whole_matrix() -> None:
    table = [f"{'principal':<26}{'resource':<20}" + "pull  push  delete  list"]
    for name, principal, anonymous_pull in _ROWS:
        for resource in (REPOSITORY, CATALOG):
            allowed = rights(principal, resource, anonymous_pull=anonymous_pull)
            cells = [("yes" if action in allowed else "-") for action in Action]
            shown = "repository" if resource == REPOSITORY else resource
            row = f"{name:<26}{shown:<20}{cells[0]:<6}{cells[1]:<6}{cells[2]:<8}{cells[3]}"
            table.append(row.rstrip())

    assert table == MATRIX.strip().splitlines()


@pytest.mark.parametrize(
    ("scopes", "named"),
    [
        (["repository:a/b:pull"], ("repository:a/b",)),
        (["repository:a:pull", "repository:b:pull,push"], ("repository:a", "repository:b")),
        (["repository:a:pull repository:b:pull"], ("repository:a", "repository:b")),
        (["repository:a:pull", "repository:a:pull,push"], ("repository:a",)),
        (["repository:host:5000/a:pull"], ("repository:host:5000/a",)),
        (["registry:catalog:*"], (CATALOG,)),
        (["registry:other:*", "", "x", "repository::pull", "user:a:pull"], ()),
    ],
)
def test_scopes_name_resources_however_clients_write_them(scopes: list[str], named: tuple[str, ...]) -> None:
    assert resources(scopes) == named


def test_a_grant_follows_from_rights_and_tells_nothing_of_what_exists() -> None:
    assert grant(ANONYMOUS, [REPOSITORY, CATALOG], anonymous_pull=False).access == {}
    assert grant(ADMIN, [REPOSITORY], anonymous_pull=False).allows(REPOSITORY, Action.DELETE)
    assert not grant(ADMIN, [REPOSITORY], anonymous_pull=False).allows("repository:other", Action.PULL)


@pytest.mark.parametrize(
    ("resource", "action", "text"),
    [
        (REPOSITORY, Action.PULL, "repository:library/nginx:pull"),
        (REPOSITORY, Action.PUSH, "repository:library/nginx:pull,push"),
        (REPOSITORY, Action.DELETE, "repository:library/nginx:pull,delete"),
        (CATALOG, Action.LIST, "registry:catalog:*"),
    ],
)
def test_a_challenge_asks_for_what_the_action_needs(resource: str, action: Action, text: str) -> None:
    assert scope(resource, action) == text
