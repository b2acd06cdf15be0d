"""Replication policies in the table: names, changes, and whether pushes have to ask for them at all."""

import pytest

from chalicelib.policy.replication import Policy, Trigger
from chalicelib.store.directory import Directory, configuration, replication
from chalicelib.store.directory.configuration import REPLICATION_EVENTS
from chalicelib.store.table import RefusedError

OUT = Policy("out", 0, 7, enabled=True)
BY_EVENTS = Policy("events", 0, 7, enabled=True, trigger=Trigger.EVENT_BASED)


def stored(directory: Directory, policy: Policy) -> replication.Stored:
    found = replication.by_id(directory, replication.create(directory, policy, "admin"))
    assert found is not None
    return found


def test_a_policy_comes_back_as_it_was_and_its_name_is_taken(directory: Directory) -> None:
    found = stored(directory, OUT)

    assert (found.policy, found.creator) == (OUT, "admin")
    with pytest.raises(RefusedError):
        replication.create(directory, OUT, "ann")
    assert replication.count(directory) == 1


def test_a_policy_can_be_renamed_unless_the_name_is_taken(directory: Directory) -> None:
    first, second = stored(directory, OUT), stored(directory, BY_EVENTS)

    with pytest.raises(RefusedError):
        replication.update(directory, second, OUT)
    replication.update(directory, first, Policy("back", 7, 0))

    found = replication.by_id(directory, first.id)
    assert found is not None
    assert (found.policy.name, found.policy.pulls, found.creator) == ("back", True, "admin")
    assert [each.policy.name for each in replication.every(directory)] == ["back", "events"]


def test_of_two_who_change_a_policy_at_once_the_second_is_refused(directory: Directory) -> None:
    found = stored(directory, OUT)
    replication.update(directory, found, Policy("out", 0, 8))

    with pytest.raises(RefusedError):
        replication.delete(directory, found)


def test_a_registry_is_in_use_while_a_policy_names_it(directory: Directory) -> None:
    found = stored(directory, OUT)

    assert replication.uses(directory, 7)
    assert not replication.uses(directory, 0)
    replication.delete(directory, found)
    assert not replication.uses(directory, 7)


@pytest.mark.parametrize(
    "policy",
    [
        OUT,
        Policy("off", 0, 7, trigger=Trigger.EVENT_BASED),
        Policy("in", 7, 0, enabled=True, trigger=Trigger.EVENT_BASED),
    ],
)
def test_while_no_policy_is_begun_by_events_pushes_ask_for_none(directory: Directory, policy: Policy) -> None:
    replication.create(directory, policy, "admin")

    assert REPLICATION_EVENTS not in configuration.read(directory)
    assert replication.begun_by_events(directory) == ()


def test_who_becomes_one_that_events_begin_is_known_at_once(directory: Directory) -> None:
    found = stored(directory, Policy("events", 0, 7))
    replication.update(directory, found, BY_EVENTS)

    assert [each.policy for each in replication.begun_by_events(directory)] == [BY_EVENTS]
