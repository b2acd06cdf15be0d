"""Replication policies, found by their names or ids.

Invariants:
* A name is taken once. Two who change one policy at once: the second is refused.
* A schedule (`store.schedules`) follows its policy: whoever is interrupted in between sets it by doing it again, and
  a run for a policy that is gone does nothing.
* While any policy was ever to be begun by events, the settings say so: pushes elsewhere cost no read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chalicelib.oci.pages import Page
from chalicelib.policy import replication
from chalicelib.policy.replication import Policy, Trigger
from chalicelib.store.directory import Directory, configuration
from chalicelib.store.directory.collection import Collection, Entry
from chalicelib.store.directory.configuration import REPLICATION_EVENTS
from chalicelib.store.table import Slice

POLICIES = Collection(
    "replication", "replications", "a replication policy of this name exists already: choose another"
)


@dataclass(frozen=True, slots=True)
class Stored:
    """A policy as it is stored."""

    id: int
    policy: Policy
    creator: str
    created: str
    updated: str
    entry: Entry


def by_id(directory: Directory, number: int) -> Stored | None:
    """Return the policy with this id, or None."""
    entry = POLICIES.by_id(directory, number)
    return _stored(entry) if entry else None


def page(directory: Directory, wanted: Slice) -> Page[Stored]:
    """Return a part of the policies, in the order of their names."""
    found = POLICIES.page(directory, "", wanted)
    return Page(tuple(map(_stored, found.entries)), found.more)


def every(directory: Directory) -> tuple[Stored, ...]:
    """Return all policies, in the order of their names."""
    return tuple(map(_stored, POLICIES.all(directory)))


def count(directory: Directory) -> int:
    """Return how many policies there are."""
    return POLICIES.count(directory)


def uses(directory: Directory, registry: int) -> bool:
    """Tell whether a policy copies from or to a registry."""
    return any(stored.policy.registry == registry for stored in every(directory))


def begun_by_events(directory: Directory) -> tuple[Stored, ...]:
    """Return the policies that a change of content here begins."""
    if not configuration.recent(directory).get(REPLICATION_EVENTS, False):
        return ()
    return tuple(stored for stored in every(directory) if _is_begun_by_events(stored.policy))


def _is_begun_by_events(policy: Policy) -> bool:
    return policy.enabled and policy.trigger is Trigger.EVENT_BASED and not policy.pulls


def create(directory: Directory, policy: Policy, creator: str) -> int:
    """Add a policy and return its id; raise RefusedError where its name is taken."""
    _announce(directory, policy)
    now = directory.time()
    document = {**_document(policy), "creator": creator, "created": now, "updated": now}
    return POLICIES.create(directory, POLICIES.key("", policy.name), document).id


def update(directory: Directory, stored: Stored, policy: Policy) -> None:
    """Put a policy in the place of a stored one; raise RefusedError where its name is taken, or it was changed."""
    _announce(directory, policy)
    kept = {"creator": stored.creator, "created": stored.created, "updated": directory.time()}
    document = {**_document(policy), **kept}
    if policy.name == stored.policy.name:
        POLICIES.update(directory, stored.entry, document)
    else:
        POLICIES.move(directory, stored.entry, POLICIES.key("", policy.name), document)


def _announce(directory: Directory, policy: Policy) -> None:
    # Before the policy: an event that nobody wants costs a read, one that is missed costs a copy.
    if _is_begun_by_events(policy) and not configuration.read(directory).get(REPLICATION_EVENTS, False):
        configuration.change(directory, {REPLICATION_EVENTS: True})


def delete(directory: Directory, stored: Stored) -> None:
    """Delete a policy; raise RefusedError where it changed meanwhile."""
    POLICIES.delete(directory, stored.entry)


def _document(policy: Policy) -> Mapping[str, Any]:
    registries = {"src_registry": {"id": policy.source}, "dest_registry": {"id": policy.destination}}
    return {**replication.written(policy), **registries}


def _stored(entry: Entry) -> Stored:
    document = entry.document
    policy = replication.parse(document)
    return Stored(entry.id, policy, document["creator"], document["created"], document["updated"], entry)
