"""What several want at once: found once, remembered for as long as it is good."""

import weakref
from datetime import timedelta

import pytest

from chalicelib.store.shared import Shared
from tests.memory import Clock


class Large:
    """Something that takes much memory."""


@pytest.mark.parametrize(("seconds", "kept"), [(0, False), (1, True)])
def test_what_is_good_for_no_time_takes_no_memory(seconds: int, *, kept: bool) -> None:
    shared, clock = Shared(), Clock()

    found = weakref.ref(shared.get("key", clock, lambda: (Large(), timedelta(seconds=seconds))))

    assert (found() is not None) == kept
