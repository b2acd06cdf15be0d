"""What a project that was deleted leaves in the bucket: looked for, and removed.

Whoever makes a project of the same name must find nothing of the old one: keys are by name, not by id.

Invariant: the keys of a project begin with its prefixes (`layout.of_project`), and no other project's do.
"""

from chalicelib.store import layout
from chalicelib.store.content import Content


def are_left(content: Content, project: str) -> bool:
    """Tell whether the bucket has anything of a project."""
    return any(content.together(lambda prefix: _any(content, prefix), layout.of_project(project)))


def _any(content: Content, prefix: str) -> bool:
    return bool(content.objects.list(prefix, limit=1).entries)


def remove(content: Content, project: str) -> None:
    """Remove everything of a project that is gone, but for the bytes, which are the collector's."""
    # History last: what is deleted from tags may be copied there.
    for prefix in layout.of_project(project):
        while True:
            page = content.objects.list(prefix)
            content.objects.delete(*(entry.key for entry in page.entries))
            if not page.more:
                break
