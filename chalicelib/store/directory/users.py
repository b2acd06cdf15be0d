"""Users: whoever logs in with a name and a password.

Invariants:
* Names that differ only by case or by compatible forms of a character are one name.
* The administrator has id 1 and cannot be deleted. Until a password is set for it, `password` is empty and the one
  of the settings holds.
* No two users share an e-mail address.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from chalicelib.oci.pages import Page
from chalicelib.policy.people import lookup_key
from chalicelib.store.directory import Directory
from chalicelib.store.directory.collection import Collection, Entry
from chalicelib.store.table import ABSENT, Change, Delete, Key, Put, Slice

ADMINISTRATOR_ID = 1
ADMINISTRATOR = "admin"
USERS = Collection("user", "users", "a user of this name exists already")
EMAIL_TAKEN = "another user has this e-mail address"


@dataclass(frozen=True, slots=True)
class User:
    """A user; `password` is a hash, and so is `cli_secret` where one was set."""

    id: int
    name: str
    email: str
    realname: str
    comment: str
    administrator: bool
    password: str
    cli_secret: str
    created: str
    updated: str
    entry: Entry


@dataclass(frozen=True, slots=True)
class NewUser:
    """What a user is made of."""

    name: str
    password: str
    email: str = ""
    realname: str = ""
    comment: str = ""
    administrator: bool = False


def create(directory: Directory, new: NewUser, *, fixed_id: int = 0) -> User:
    """Make a user; raise RefusedError where the name or the address is taken."""
    now = directory.time()
    document = {
        "name": new.name,
        "email": new.email,
        "realname": new.realname,
        "comment": new.comment,
        "administrator": new.administrator,
        "password": new.password,
        "cli_secret": "",
        "created": now,
        "updated": now,
    }
    key = USERS.key("", lookup_key(new.name))
    return _user(
        USERS.create(directory, key, document, lambda number: _moved_email("", new.email, number), fixed_id=fixed_id)
    )


def find(directory: Directory, name: str) -> User | None:
    """Return the user of this name, or None."""
    entry = USERS.find(directory, USERS.key("", lookup_key(name)))
    return _user(entry) if entry else None


def by_id(directory: Directory, number: int) -> User | None:
    """Return the user with this id, or None."""
    entry = USERS.by_id(directory, number)
    return _user(entry) if entry else None


def page(directory: Directory, wanted: Slice) -> Page[User]:
    """Return a part of all users, in the order of their names."""
    found = USERS.page(directory, "", wanted)
    return Page(tuple(map(_user, found.entries)), found.more)


def every(directory: Directory) -> tuple[User, ...]:
    """Return all users, in the order of their names."""
    return tuple(map(_user, USERS.all(directory)))


def count(directory: Directory) -> int:
    """Return how many users there are."""
    return USERS.count(directory)


def update(directory: Directory, user: User) -> None:
    """Store what may change of a user; raise RefusedError where somebody else did, or the address is taken."""
    document = {
        **user.entry.document,
        "email": user.email,
        "realname": user.realname,
        "comment": user.comment,
        "administrator": user.administrator,
        "password": user.password,
        "cli_secret": user.cli_secret,
        "updated": directory.time(),
    }
    USERS.update(directory, user.entry, document, *_moved_email(user.entry.document["email"], user.email, user.id))


def delete(directory: Directory, user: User) -> None:
    """Delete a user; raise RefusedError where it changed meanwhile. Memberships are `members.forget`'s business."""
    USERS.delete(directory, user.entry, *([Delete(_email(user.email))] if user.email else []))


def _moved_email(old: str, new: str, number: int) -> Iterable[Change]:
    if _email(old) == _email(new):
        return
    if old:
        yield Delete(_email(old))
    if new:
        yield Put(_email(new), {"id": number}, ABSENT, EMAIL_TAKEN)


def _email(address: str) -> Key:
    return Key("emails/", address.casefold())


def _user(entry: Entry) -> User:
    document = entry.document
    return User(
        id=entry.id,
        name=document["name"],
        email=document["email"],
        realname=document["realname"],
        comment=document["comment"],
        administrator=document["administrator"],
        password=document["password"],
        cli_secret=document["cli_secret"],
        created=document["created"],
        updated=document["updated"],
        entry=entry,
    )
