"""What is paused: by an administrator, or because the registry is read-only."""

from chalicelib.policy.jobs import RESTING, Kind
from chalicelib.store import pauses
from chalicelib.store.directory import Directory, configuration
from chalicelib.store.sqlite import SqliteTable
from tests.memory import Clock


def test_while_the_registry_is_read_only_what_changes_content_rests_and_clearing_goes_on() -> None:
    clock = Clock()
    directory = Directory(SqliteTable(":memory:", lambda: clock().timestamp()), clock)
    pauses.pause(directory, Kind.VERIFY)
    assert pauses.paused(directory) == {Kind.VERIFY}

    configuration.change(directory, {"read_only": True})

    assert pauses.paused(directory) == {Kind.VERIFY, *RESTING}
    assert {kind for kind in Kind if pauses.is_paused(directory, kind)} == {Kind.VERIFY, *RESTING}
    assert not pauses.is_paused(directory, Kind.GARBAGE_COLLECTION)
    configuration.change(directory, {"read_only": False})
    assert pauses.paused(directory) == {Kind.VERIFY}
