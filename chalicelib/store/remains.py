"""What a project that was deleted leaves in the bucket: looked for, and removed.

Whoever makes a project of the same name must find nothing of the old one: keys are by name, not by id.

Invariant: the keys of a project begin with its prefixes (`layout.of_project`), and no other project's do.
"""

from functools import partial

from chalicelib.oci.digests import Digest
from chalicelib.store import blobs, layout
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
            # Somebody may have mounted from one of these links, behind a collector that comes to them next.
            linked = (layout.linked(entry.key) for entry in page.entries)
            content.together(partial(blobs.keep, content), [Digest.parse(digest) for digest in linked if digest])
            content.objects.delete(*(entry.key for entry in page.entries))
            if not page.more:
                break
