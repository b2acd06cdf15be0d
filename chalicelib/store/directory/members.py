"""Members: the role that a user or a group has in a project.

Invariants:
* A user or a group is a member of a project once.
* `memberships/` says the same as `members/`, from the side of the user or the group.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial

from chalicelib.oci.pages import Page
from chalicelib.policy.rbac import Role
from chalicelib.store.directory import Directory, projects
from chalicelib.store.directory.collection import ID_TAKEN, Collection, Entry
from chalicelib.store.directory.groups import GROUPS
from chalicelib.store.directory.users import USERS
from chalicelib.store.table import ABSENT, PRESENT, Change, Check, Delete, Key, Put, RefusedError, Slice

MEMBERS = Collection("member", "members", "the user or group is a member already")
NOBODY = "the user or group does not exist any more"
_ATTEMPTS = 5
# Each takes three changes of a commit, which has room for a hundred.
_TOGETHER = 30


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
        return key_of(self.kind, self.id)


def key_of(kind: Kind, number: int) -> str:
    """Return the name of the record that a user or a group has in each project."""
    return f"{kind}/{number}"


@dataclass(frozen=True, slots=True)
class Member:
    """A user's or a group's role in a project."""

    id: int
    project_id: int
    who: Who
    role: Role
    entry: Entry


@dataclass(frozen=True, slots=True)
class Membership:
    """A project in which somebody is a member, by its id and the name that it had then, and the role."""

    project_id: int
    project: str
    role: Role


def counts(directory: Directory, project_ids: Iterable[int]) -> Mapping[int, int]:
    """Return how many members each of several projects has."""
    return MEMBERS.counts(directory, project_ids)


def add(directory: Directory, project_id: int, project: Key, who: Who, role: Role) -> Member:
    """Make a member of a project that is at `project`; raise RefusedError."""
    key, document = MEMBERS.key(project_id, who.key), _document(project_id, project.sort, who, role)

    def also(number: int) -> tuple[Change, ...]:
        reverse = Put(_membership(who, project_id), {**document, "id": number})
        return (reverse, projects.still_there(project), _still_there(who))

    return _member(MEMBERS.create(directory, key, document, also))


def _still_there(who: Who) -> Check:
    collection = USERS if who.kind is Kind.USER else GROUPS
    return Check(collection.pointer(who.id), PRESENT, NOBODY)


def founding(who: Who) -> Callable[[int, str], tuple[Change, ...]]:
    """Return what makes the first member of a project, its administrator, together with the project."""
    return partial(_founding, who)


def _founding(who: Who, project_id: int, project: str) -> tuple[Change, ...]:
    key = MEMBERS.key(project_id, who.key)
    document = {**_document(project_id, project, who, Role.PROJECT_ADMIN), "id": project_id}
    # Members draw their ids below 2^31, and so do projects: one that is taken is refused like the project's own.
    pointer = Put(MEMBERS.pointer(project_id), {"partition": key.partition, "sort": key.sort}, ABSENT, ID_TAKEN)
    return (
        Put(key, document),
        pointer,
        MEMBERS.counted(key.partition, 1),
        Put(_membership(who, project_id), document),
    )


def roles(directory: Directory, project_id: int, whos: Iterable[str]) -> frozenset[Role]:
    """Return the roles that the members with these keys have in a project."""
    keys = [MEMBERS.key(project_id, key) for key in whos]
    return frozenset(Role(record.document["role"]) for record in directory.table.get_many(keys).values())


def memberships(directory: Directory, who: str) -> Iterator[Membership]:
    """Yield the projects in which a user or a group is a member; one that was deleted may still be among them."""
    wanted = Slice()
    while True:
        page = directory.table.query(f"memberships/{who}", wanted)
        for record in page.entries:
            yield Membership(int(record.key.sort), record.document["project"], Role(record.document["role"]))
        if not page.more:
            return
        wanted = replace(wanted, after=page.entries[-1].key.sort)


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
    document = {**member.entry.document, "role": int(role)}
    MEMBERS.update(directory, member.entry, document, Put(_membership(member.who, member.project_id), document))


def remove(directory: Directory, member: Member) -> None:
    """Remove a member; raise RefusedError where it changed meanwhile."""
    MEMBERS.delete(directory, member.entry, Delete(_membership(member.who, member.project_id)))


def forget(directory: Directory, who: str) -> None:
    """Remove a user or a group that was deleted from every project; may be done again where it was cut off."""
    for membership in tuple(memberships(directory, who)):
        for _ in range(_ATTEMPTS):
            entry = MEMBERS.find(directory, MEMBERS.key(membership.project_id, who))
            if entry is None:
                break
            with suppress(RefusedError):
                remove(directory, _member(entry))


def clear(directory: Directory, project_id: int) -> None:
    """Remove all members of a project that was deleted; may be done again where it was cut off."""
    found = every(directory, project_id)
    for start in range(0, len(found), _TOGETHER):
        changes = [change for member in found[start : start + _TOGETHER] for change in _gone(member)]
        directory.table.commit(*changes, MEMBERS.uncounted(f"members/{project_id}"))


def _gone(member: Member) -> tuple[Change, ...]:
    reverse = _membership(member.who, member.project_id)
    return (Delete(member.entry.record.key), Delete(MEMBERS.pointer(member.id)), Delete(reverse))


def _membership(who: Who, project_id: int) -> Key:
    return Key(f"memberships/{who.key}", str(project_id))


def _document(project_id: int, project: str, who: Who, role: Role) -> dict[str, object]:
    return {
        "project_id": project_id,
        "project": project,
        "kind": str(who.kind),
        "entity_id": who.id,
        "name": who.name,
        "role": int(role),
    }


def _member(entry: Entry) -> Member:
    document = entry.document
    who = Who(Kind(document["kind"]), document["entity_id"], document["name"])
    return Member(entry.id, document["project_id"], who, Role(document["role"]), entry)
