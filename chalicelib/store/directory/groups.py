"""User groups: sets of users that another service knows, as records to give roles to.

Invariant: a group is known once by its type and its key, which is the DN of an LDAP group and the name of others.
"""

from dataclasses import dataclass

from chalicelib.oci.pages import Page
from chalicelib.store.directory import Directory
from chalicelib.store.directory.collection import Collection, Entry
from chalicelib.store.table import Key, Slice

GROUPS = Collection("group", "groups", "a group of this name exists already")
LDAP = 1


@dataclass(frozen=True, slots=True)
class Group:
    """A group; `type` is 1 (LDAP), 2 (HTTP) or 3 (OIDC), and only LDAP groups have a DN."""

    id: int
    name: str
    type: int
    dn: str
    entry: Entry


def create(directory: Directory, name: str, kind: int, dn: str) -> Group:
    """Make a group; raise RefusedError where it is known already."""
    document = {"name": name, "type": kind, "dn": dn}
    return _group(GROUPS.create(directory, _key(kind, name, dn), document))


def find(directory: Directory, name: str, kind: int, dn: str) -> Group | None:
    """Return the group of this type and name (or DN), or None."""
    entry = GROUPS.find(directory, _key(kind, name, dn))
    return _group(entry) if entry else None


def by_id(directory: Directory, number: int) -> Group | None:
    """Return the group with this id, or None."""
    entry = GROUPS.by_id(directory, number)
    return _group(entry) if entry else None


def page(directory: Directory, wanted: Slice) -> Page[Group]:
    """Return a part of all groups."""
    found = GROUPS.page(directory, "", wanted)
    return Page(tuple(map(_group, found.entries)), found.more)


def every(directory: Directory) -> tuple[Group, ...]:
    """Return all groups."""
    return tuple(map(_group, GROUPS.all(directory)))


def count(directory: Directory) -> int:
    """Return how many groups there are."""
    return GROUPS.count(directory)


def rename(directory: Directory, group: Group, name: str) -> None:
    """Give a group another name to show; what identifies it stays. Raise RefusedError where it changed meanwhile."""
    GROUPS.update(directory, group.entry, {**group.entry.document, "name": name})


def delete(directory: Directory, group: Group) -> None:
    """Delete a group; raise RefusedError where it changed meanwhile. Memberships are `members.forget`'s business."""
    GROUPS.delete(directory, group.entry)


def _key(kind: int, name: str, dn: str) -> Key:
    return GROUPS.key("", f"{kind}/{dn.casefold() if kind == LDAP else name}")


def _group(entry: Entry) -> Group:
    document = entry.document
    return Group(entry.id, document["name"], document["type"], document["dn"], entry)
