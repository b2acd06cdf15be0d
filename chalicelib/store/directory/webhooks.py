"""The webhook policies of projects, with their secrets sealed; and in the project's record, which events they want.

A push reads the project's record anyway, so it knows whom to tell without a read.

Invariants:
* The summary in the project's record changes in the transaction that changes a policy: it names the enabled ones.
* So two who change policies of one project come one after another: names are different, and not too many.
* An id is never used twice at a time, in any project. Secrets come and go as they are sealed (`store.sealed`).
"""

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from chalicelib.policy import webhooks
from chalicelib.policy.webhooks import MOST_POLICIES, EventType, Notify, Policy, Target
from chalicelib.store.directory import Directory, projects
from chalicelib.store.directory.collection import ID_TAKEN
from chalicelib.store.directory.projects import PROJECTS, Project
from chalicelib.store.table import ABSENT, Change, Delete, Key, Put, Record, RefusedError, batches, every

DUPLICATE = "the project has a webhook policy of this name already"
FULL = f"a project has at most {MOST_POLICIES} webhook policies: delete one, or give one several targets"
GONE = "the project or the webhook policy does not exist any more"
_FIELD = "webhooks"
_HIGHEST_ID = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Stored:
    """A policy as it is stored, with sealed secrets."""

    id: int
    project_id: int
    policy: Policy
    creator: str
    created: str
    updated: str


_Many = tuple[Stored, ...]
# What the policies become, and the changes by which they do.
_Become = tuple[_Many, tuple[Change, ...]]


def wanting(project: Project, event: EventType) -> tuple[Any, ...]:
    """Return the summaries of the policies that want to know of an event (`policy.webhooks.summary`)."""
    return webhooks.wanting(project.entry.document.get(_FIELD, ()), event)


def all_of(directory: Directory, project_id: int) -> _Many:
    """Return the policies of a project, the oldest first."""
    found = map(_stored, every(directory.table, _partition(project_id)))
    return tuple(sorted(found, key=lambda stored: (stored.created, stored.id)))


def by_id(directory: Directory, number: int) -> Stored | None:
    """Return the policy with this id, or None."""
    pointer = directory.table.get(_pointer(number))
    found = directory.table.get(_key(pointer.document["project"], number)) if pointer else None
    return _stored(found) if found else None


def create(directory: Directory, project_id: int, policy: Policy, creator: str) -> int:
    """Add a policy and return its id; raise RefusedError naming `DUPLICATE`, `FULL` or `GONE`."""

    def added(known: _Many) -> _Become:
        if len(known) >= MOST_POLICIES:
            raise RefusedError([FULL])
        now = directory.time()
        new = Stored(1 + secrets.randbelow(_HIGHEST_ID), project_id, policy, creator, now, now)
        pointer = Put(_pointer(new.id), {"project": project_id}, ABSENT, ID_TAKEN)
        return (*known, new), (_put(new), pointer)

    return _change(directory, project_id, added)[-1].id


def change(directory: Directory, stored: Stored, policy: Policy) -> None:
    """Put a policy in the place of a stored one; raise RefusedError naming `DUPLICATE` or `GONE`."""

    def replaced(known: _Many) -> _Become:
        _check_there(known, stored.id)
        new = replace(stored, policy=policy, updated=directory.time())
        return tuple(new if each.id == stored.id else each for each in known), (_put(new),)

    _change(directory, stored.project_id, replaced)


def remove(directory: Directory, stored: Stored) -> None:
    """Remove a policy; raise RefusedError naming `GONE`."""

    def without(known: _Many) -> _Become:
        _check_there(known, stored.id)
        return tuple(each for each in known if each.id != stored.id), _gone(stored)

    _change(directory, stored.project_id, without)


def has_any(project: Project) -> bool:
    """Tell whether a project may have policies, enabled or not: one that never had any has none."""
    return _FIELD in project.entry.document


def renew(directory: Directory, project_id: int, become: Callable[[str], str]) -> int:
    """Store the sealed secrets of a project's policies as what they become; return of how many policies they differ.

    Raise RefusedError naming `GONE`.
    """

    def renewed(known: _Many) -> _Become:
        after = tuple(_renewed(each, become) for each in known)
        return after, tuple(_put(new) for new, old in zip(after, known, strict=True) if new != old)

    differing = sum(_renewed(each, become) != each for each in all_of(directory, project_id))
    if differing:
        _change(directory, project_id, renewed)
    return differing


def _renewed(stored: Stored, become: Callable[[str], str]) -> Stored:
    return replace(stored, policy=webhooks.with_secrets(stored.policy, become))


def forget(directory: Directory, project_id: int) -> None:
    """Drop the policies of a project that is gone, and their secrets; raise OSError."""
    for some in batches(all_of(directory, project_id), MOST_POLICIES):
        directory.table.commit(*(change for each in some for change in _gone(each)))


def _change(directory: Directory, project_id: int, become: Callable[[_Many], _Become]) -> _Many:
    """Store what the policies become, with the project's record; return that."""

    def changed(project: Project) -> _Many:
        after, changes = become(all_of(directory, project_id))
        if len({each.policy.name for each in after}) < len(after):
            raise RefusedError([DUPLICATE])
        document = {**project.entry.document, _FIELD: list(_summaries(after))}
        PROJECTS.update(directory, project.entry, document, *changes)
        return after

    return projects.beside(directory, project_id, changed, GONE)


def _summaries(policies: _Many) -> Iterable[dict[str, Any]]:
    return (webhooks.summary(each.id, each.policy) for each in policies if each.policy.enabled)


def _check_there(known: _Many, number: int) -> None:
    if number not in {each.id for each in known}:
        raise RefusedError([GONE])


def _partition(project_id: int) -> str:
    return f"webhooks/{project_id}"


def _key(project_id: int, number: int) -> Key:
    return Key(_partition(project_id), f"{number:010d}")


def _pointer(number: int) -> Key:
    return Key(f"webhook/{number}", "self")


def _gone(stored: Stored) -> tuple[Change, ...]:
    return Delete(_key(stored.project_id, stored.id)), Delete(_pointer(stored.id))


def _put(stored: Stored) -> Put:
    policy = stored.policy
    document = {
        "id": stored.id,
        "project": stored.project_id,
        "creator": stored.creator,
        "created": stored.created,
        "updated": stored.updated,
        "signing_secret": policy.signing_secret,
        **webhooks.written(policy),
    }
    return Put(_key(stored.project_id, stored.id), document)


def _stored(record: Record) -> Stored:
    document = record.document
    targets = (
        Target(
            Notify(each["type"]),
            each["address"],
            each["auth_header"],
            each["skip_cert_verify"],
            each.get("payload_format", ""),
        )
        for each in document["targets"]
    )
    policy = Policy(
        document["name"],
        tuple(targets),
        tuple(map(EventType, document["event_types"])),
        document["description"],
        document["enabled"],
        document["signing_secret"],
    )
    return Stored(
        document["id"], document["project"], policy, document["creator"], document["created"], document["updated"]
    )
