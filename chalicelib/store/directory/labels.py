"""Labels: marks with a name and a colour, of the system or of one project, that artifacts carry.

Invariant: a name is taken once in its scope.
"""

from dataclasses import dataclass

from chalicelib.oci.pages import Page
from chalicelib.store.directory import Directory
from chalicelib.store.directory.collection import Collection, Entry
from chalicelib.store.table import Slice

LABELS = Collection("label", "labels", "a label of this name exists already")


@dataclass(frozen=True, slots=True)
class Label:
    """A label; `project_id` is 0 for one of the whole system."""

    id: int
    name: str
    description: str
    color: str
    project_id: int
    created: str
    updated: str
    entry: Entry


def create(directory: Directory, project_id: int, name: str, description: str, color: str) -> Label:
    """Make a label; raise RefusedError where the name is taken."""
    now = directory.time()
    document = {
        "name": name,
        "description": description,
        "color": color,
        "project_id": project_id,
        "created": now,
        "updated": now,
    }
    return _label(LABELS.create(directory, LABELS.key(project_id, name), document))


def by_id(directory: Directory, number: int) -> Label | None:
    """Return the label with this id, or None."""
    entry = LABELS.by_id(directory, number)
    return _label(entry) if entry else None


def page(directory: Directory, project_id: int, wanted: Slice) -> Page[Label]:
    """Return a part of the labels of a scope, in the order of their names."""
    found = LABELS.page(directory, project_id, wanted)
    return Page(tuple(map(_label, found.entries)), found.more)


def every(directory: Directory, project_id: int) -> tuple[Label, ...]:
    """Return all labels of a scope, in the order of their names."""
    return tuple(map(_label, LABELS.all(directory, project_id)))


def count(directory: Directory, project_id: int) -> int:
    """Return how many labels a scope has."""
    return LABELS.count(directory, project_id)


def update(directory: Directory, label: Label) -> None:
    """Store what may change of a label; raise RefusedError where it changed meanwhile or the new name is taken."""
    fields = {"name": label.name, "description": label.description, "color": label.color}
    document = {**label.entry.document, **fields, "updated": directory.time()}
    if label.name == label.entry.record.key.sort:
        LABELS.update(directory, label.entry, document)
    else:
        LABELS.move(directory, label.entry, LABELS.key(label.project_id, label.name), document)


def delete(directory: Directory, label: Label) -> None:
    """Delete a label; raise RefusedError where it changed meanwhile."""
    LABELS.delete(directory, label.entry)


def _label(entry: Entry) -> Label:
    document = entry.document
    return Label(
        id=entry.id,
        name=document["name"],
        description=document["description"],
        color=document["color"],
        project_id=document["project_id"],
        created=document["created"],
        updated=document["updated"],
        entry=entry,
    )
