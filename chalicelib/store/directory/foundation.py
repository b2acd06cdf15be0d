"""What a new registry begins with: the administrator and the public project `library`.

Invariant: it is laid once. What an administrator deletes of it later does not come back.
"""

from contextlib import suppress

from chalicelib.store.directory import Directory, members, projects, users
from chalicelib.store.directory.members import Kind, Who
from chalicelib.store.directory.projects import NewProject
from chalicelib.store.directory.users import ADMINISTRATOR, ADMINISTRATOR_ID, NewUser
from chalicelib.store.table import Key, Put, RefusedError

LIBRARY = "library"
_LIBRARY_ID = 1
_LAID = Key("foundation/", "laid")


def lay(directory: Directory) -> None:
    """Make what a new registry begins with, where that was not done before; any number may try at once."""
    if directory.table.get(_LAID):
        return
    with suppress(RefusedError):
        users.create(directory, NewUser(ADMINISTRATOR, "", administrator=True), fixed_id=ADMINISTRATOR_ID)
    library = NewProject(LIBRARY, ADMINISTRATOR_ID, ADMINISTRATOR, {"public": "true"}, {})
    owner = Who(Kind.USER, ADMINISTRATOR_ID, ADMINISTRATOR)
    with suppress(RefusedError):
        projects.create(directory, library, members.founding(owner), fixed_id=_LIBRARY_ID)
    directory.table.commit(Put(_LAID, {}))
