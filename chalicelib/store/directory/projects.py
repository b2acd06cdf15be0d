"""Projects: the namespaces of repositories, with the rules that hold in each.

Invariants:
* A project's name is the first part of its repositories' names and never changes.
* `public/` lists exactly the projects whose metadata say "public": "true".
* A project that holds repositories is not deleted.
* What changes together with a project's record is changed by `beside`: who comes second at it does it anew.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from chalicelib.oci.pages import Page
from chalicelib.policy import projects as rules
from chalicelib.store.directory import Directory
from chalicelib.store.directory.collection import ID_TAKEN, Collection, Entry, changed
from chalicelib.store.table import PRESENT, Change, Check, Delete, Key, Put, RefusedError, Slice

T = TypeVar("T")

UNLIMITED = -1
PROJECTS = Collection("project", "projects", "a project of this name exists already")
_ATTEMPTS = 30


@dataclass(frozen=True, slots=True)
class Project:
    """A project; times are RFC 3339 texts, `storage_limit` bytes or -1, `registry_id` 0 unless a proxy cache."""

    id: int
    name: str
    owner_id: int
    owner_name: str
    metadata: Mapping[str, str]
    allowlist: Mapping[str, Any]
    storage_limit: int
    registry_id: int
    created: str
    updated: str
    entry: Entry

    @property
    def public(self) -> bool:
        """Tell whether everybody may look and pull."""
        return rules.effective(self.metadata, "public") == "true"

    @property
    def proxies(self) -> bool:
        """Tell whether the project is a cache of another registry."""
        return self.registry_id > 0


@dataclass(frozen=True, slots=True)
class NewProject:
    """What a project is made of."""

    name: str
    owner_id: int
    owner_name: str
    metadata: Mapping[str, str]
    allowlist: Mapping[str, Any]
    storage_limit: int = UNLIMITED
    registry_id: int = 0


@dataclass(frozen=True, slots=True)
class Reservation:
    """For whom the name of a deleted project is kept, and for how many seconds, or until which since 1970."""

    maker: str
    seconds: int


def create(
    directory: Directory, new: NewProject, owner: Callable[[int, str], Iterable[Change]], *, fixed_id: int = 0
) -> Project:
    """Make a project and its first member, as `owner` makes it of its id and name; raise RefusedError."""
    now = directory.time()
    document = {
        "name": new.name,
        "owner_id": new.owner_id,
        "owner_name": new.owner_name,
        "metadata": dict(new.metadata),
        "allowlist": dict(new.allowlist),
        "storage_limit": new.storage_limit,
        "registry_id": new.registry_id,
        "created": now,
        "updated": now,
    }
    key = PROJECTS.key("", new.name)

    def also(number: int) -> Iterable[Change]:
        yield from owner(number, new.name)
        if new.metadata.get("public") == "true":
            yield Put(_public(new.name), {"id": number})

    return _project(PROJECTS.create(directory, key, document, also, fixed_id=fixed_id))


def find(directory: Directory, name: str) -> Project | None:
    """Return the project of this name, or None."""
    entry = PROJECTS.find(directory, PROJECTS.key("", name))
    return _project(entry) if entry else None


def by_id(directory: Directory, number: int) -> Project | None:
    """Return the project with this id, or None."""
    entry = PROJECTS.by_id(directory, number)
    return _project(entry) if entry else None


def still_there(project: Key) -> Check:
    """Return the condition of whatever is added to the project whose record is at `project`."""
    return Check(project, PRESENT, "the project does not exist any more")


def named(directory: Directory, names: tuple[str, ...]) -> tuple[Project, ...]:
    """Return those of the projects that exist, in the order of the names."""
    keys = [PROJECTS.key("", name) for name in names]
    found = directory.table.get_many(keys)
    return tuple(_project(Entry(found[key].document["id"], found[key])) for key in keys if key in found)


def page(directory: Directory, wanted: Slice) -> Page[Project]:
    """Return a part of all projects, in the order of their names."""
    found = PROJECTS.page(directory, "", wanted)
    return Page(tuple(map(_project, found.entries)), found.more)


def every(directory: Directory) -> tuple[Project, ...]:
    """Return all projects, in the order of their names."""
    return tuple(map(_project, PROJECTS.all(directory)))


def public(directory: Directory) -> tuple[Project, ...]:
    """Return the projects that everybody may see, in the order of their names."""
    names: list[str] = []
    wanted = Slice()
    while True:
        found = directory.table.query("public/", wanted)
        names += [record.key.sort for record in found.entries]
        if not found.more:
            return named(directory, tuple(names))
        wanted = replace(wanted, after=names[-1])


def uses_registry(directory: Directory, registry_id: int) -> bool:
    """Tell whether a project is a cache of this registry."""
    return any(project.registry_id == registry_id for project in every(directory))


def count(directory: Directory) -> int:
    """Return how many projects there are."""
    return PROJECTS.count(directory)


def update(directory: Directory, project: Project) -> None:
    """Store what may change of a project; raise RefusedError where somebody else changed it since it was read."""
    document = {
        **project.entry.document,
        "metadata": dict(project.metadata),
        "allowlist": dict(project.allowlist),
        "storage_limit": project.storage_limit,
        "updated": directory.time(),
    }
    key = _public(project.name)
    listed = Put(key, {"id": project.id}) if project.public else Delete(key)
    PROJECTS.update(directory, project.entry, document, listed)


def beside(directory: Directory, number: int, change: Callable[[Project], T], gone: str) -> T:
    """Return what a change does that changes a project's record too; it is done anew where others changed that.

    Raise RefusedError naming `gone` where there is no project, or as the change does.
    """
    for _ in range(_ATTEMPTS):
        project = by_id(directory, number)
        if project is None:
            raise RefusedError([gone])
        try:
            return change(project)
        except RefusedError as error:
            # An id is drawn anew as well.
            if not set(error.names) <= {changed(PROJECTS.kind), ID_TAKEN}:
                raise
    raise RefusedError([changed(PROJECTS.kind)])


def delete(directory: Directory, project: Project, empty: Check, reserved: Reservation) -> None:
    """Delete a project if the check `empty` holds, and keep its name; raise RefusedError.

    Its robots and labels stay as records that nothing leads to any more; its members are `members.clear`'s business.
    """
    until = int(directory.now().timestamp()) + reserved.seconds
    keep = Put(_reservation(project.name), {"maker": reserved.maker, "until": until}, expires=until)
    PROJECTS.delete(directory, project.entry, Delete(_public(project.name)), empty, keep)


def reserved(directory: Directory, name: str) -> Reservation | None:
    """Return for whom the name of a project that was deleted is kept, until which second since 1970."""
    found = directory.table.get(_reservation(name))
    return Reservation(found.document["maker"], found.document["until"]) if found else None


def _reservation(name: str) -> Key:
    return Key("deleted/", name)


def _public(name: str) -> Key:
    return Key("public/", name)


def _project(entry: Entry) -> Project:
    document = entry.document
    return Project(
        id=entry.id,
        name=document["name"],
        owner_id=document["owner_id"],
        owner_name=document["owner_name"],
        metadata=document["metadata"],
        allowlist=document["allowlist"],
        storage_limit=document["storage_limit"],
        registry_id=document["registry_id"],
        created=document["created"],
        updated=document["updated"],
        entry=entry,
    )
