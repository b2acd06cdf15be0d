"""Members: the role that a user or a group has in a project.

Invariants:
* A user or a group is a member of a project once.
* `memberships/` says the same as `members/`, from the side of the user or the group.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from chalicelib.oci.pages import Page
from chalicelib.policy.rbac import Role
from chalicelib.store.directory import Directory
from chalicelib.store.directory.collection import ID_TAKEN, Collection, Entry
from chalicelib.store.table import ABSENT, PRESENT, Change, Check, Delete, Key, Put, Slice

MEMBERS = Collection("member", "members", "the user or group is a member already")
NO_PROJECT = "the project does not exist any more"


class Kind(StrEnum):
    """Who is a member; the values are Harbor's."""

    USER = "u"
    GROUP = "g"


@dataclass(frozen=True, slots=True)
class Who:
    """A user or a group, as projects know it."""

    kind: Kind
    id: int
    name: str

    @property
    def key(self) -> str:
        """Return the name of its record in a project."""
        return f"{self.kind}/{self.id}"


@dataclass(frozen=True, slots=True)
class Member:
    """A user's or a group's role in a project."""

    id: int
    project_id: int
    who: Who
    role: Role
    entry: Entry


def add(directory: Directory, project_id: int, project: Key, who: Who, role: Role) -> Member:
    """Make a member of a project that is at `project`; raise RefusedError."""
    key = MEMBERS.key(project_id, who.key)

    def also(number: int) -> tuple[Change, ...]:
        reverse = Put(_membership(who, project_id), {"id": number, "role": int(role)})
        return (reverse, Check(project, PRESENT, NO_PROJECT))

    return _member(MEMBERS.create(directory, key, _document(project_id, who, role), also))


def founding(project_id: int, who: Who) -> tuple[Change, ...]:
    """Return the changes that make the first member of a project, its administrator, together with the project."""
    key, role = MEMBERS.key(project_id, who.key), Role.PROJECT_ADMIN
    # Members draw their ids below 2^31, and so do projects: one that is taken is refused like the project's own.
    pointer = Put(MEMBERS.pointer(project_id), {"partition": key.partition, "sort": key.sort}, ABSENT, ID_TAKEN)
    return (
        Put(key, {**_document(project_id, who, role), "id": project_id}),
        pointer,
        MEMBERS.counted(key.partition, 1),
        Put(_membership(who, project_id), {"id": project_id, "role": int(role)}),
    )


def roles(directory: Directory, project_id: int, whos: Iterable[str]) -> frozenset[Role]:
    """Return the roles that the members with these keys have in a project."""
    keys = [MEMBERS.key(project_id, key) for key in whos]
    return frozenset(Role(record.document["role"]) for record in directory.table.get_many(keys).values())


def projects_of(directory: Directory, whos: Iterable[str]) -> Mapping[int, frozenset[Role]]:
    """Return the projects in which any of these is a member, by id, with the roles there."""
    found: dict[int, frozenset[Role]] = {}
    for who in whos:
        wanted = Slice()
        while True:
            page = directory.table.query(f"memberships/{who}", wanted)
            for record in page.entries:
                number = int(record.key.sort)
                found[number] = found.get(number, frozenset()) | {Role(record.document["role"])}
            if not page.more:
                break
            wanted = replace(wanted, after=page.entries[-1].key.sort)
    return found


def find(directory: Directory, project_id: int, number: int) -> Member | None:
    """Return the member of a project with this id, or None."""
    entry = MEMBERS.by_id(directory, number)
    return _member(entry) if entry and entry.document["project_id"] == project_id else None


def page(directory: Directory, project_id: int, wanted: Slice) -> Page[Member]:
    """Return a part of a project's members."""
    found = MEMBERS.page(directory, project_id, wanted)
    return Page(tuple(map(_member, found.entries)), found.more)


def every(directory: Directory, project_id: int) -> tuple[Member, ...]:
    """Return all members of a project."""
    return tuple(map(_member, MEMBERS.all(directory, project_id)))


def set_role(directory: Directory, member: Member, role: Role) -> None:
    """Give a member another role; raise RefusedError where it changed meanwhile."""
    document = _document(member.project_id, member.who, role)
    reverse = Put(_membership(member.who, member.project_id), {"id": member.id, "role": int(role)})
    MEMBERS.update(directory, member.entry, document, reverse)


def remove(directory: Directory, member: Member) -> None:
    """Remove a member; raise RefusedError where it changed meanwhile."""
    MEMBERS.delete(directory, member.entry, Delete(_membership(member.who, member.project_id)))


def forget(directory: Directory, who: str) -> None:
    """Remove a user or a group that was deleted from every project."""
    for project_id in projects_of(directory, [who]):
        entry = MEMBERS.find(directory, MEMBERS.key(project_id, who))
        if entry:
            remove(directory, _member(entry))


def _membership(who: Who, project_id: int) -> Key:
    return Key(f"memberships/{who.key}", str(project_id))


def _document(project_id: int, who: Who, role: Role) -> dict[str, object]:
    return {
        "project_id": project_id,
        "kind": str(who.kind),
        "entity_id": who.id,
        "name": who.name,
        "role": int(role),
    }


def _member(entry: Entry) -> Member:
    document = entry.document
    who = Who(Kind(document["kind"]), document["entity_id"], document["name"])
    return Member(entry.id, document["project_id"], who, Role(document["role"]), entry)
