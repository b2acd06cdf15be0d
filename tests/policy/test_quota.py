"""The words of the quota, for which tools look."""

import pytest

from chalicelib.policy import quota


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536 * 1024, "1.5 MiB"),
        (10 * 1024**3, "10.0 GiB"),
        (1023 * 1024**4, "1023.0 TiB"),
        (1024 * 1024**4, "1.0 PiB"),
    ],
)
def test_a_refusal_is_in_the_words_and_units_of_harbor(limit: int, words: str) -> None:
    assert quota.exceeded(512, limit - 1, limit).startswith(
        "adding 512 B of storage resource, which when updated to current usage of "
    )
    assert f"will exceed the configured upper limit of {words}. " in quota.exceeded(512, limit - 1, limit)


def test_a_warning_comes_when_85_hundredths_are_reached_and_once() -> None:
    assert quota.warns(84, 85, 100)
    assert not quota.warns(85, 90, 100)
    assert not quota.warns(10, 84, 100)
