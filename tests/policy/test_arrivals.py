"""What events of S3 say, as S3 sends them to a queue."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.policy.arrivals import DELAYS, Arrival, read
from chalicelib.store.queue import LONGEST_DELAY

EVENTS = Path(__file__).parent.parent / "events"
ARRIVALS = st.builds(Arrival, st.text(), st.text(), st.integers(0, len(DELAYS) - 1))


def event(name: str) -> Any:
    return json.loads((EVENTS / f"{name}.json").read_text())


def test_an_object_that_was_made_is_told_with_its_key_as_it_is_and_its_version() -> None:
    found = list(read(json.dumps(event("s3_created"))))

    key = "repositories/library/app/_tags/v1.0+build"
    assert found == [Arrival(key, "096fKKXTRTtl3on89fVO.nfljtsv6qko")]


def test_a_deletion_is_told_by_its_marker() -> None:
    found = list(read(json.dumps(event("s3_removed"))))

    key = "repositories/library/app/_tags/v1"
    assert found == [Arrival(key, "3HL4kqtJlcpXroDTDmJ.rmSpXd3dIbrHY")]


def test_one_message_may_have_several_records_and_others_of_s3_s_are_passed_over() -> None:
    made, gone = event("s3_created")["Records"][0], event("s3_removed")["Records"][0]
    restored = {**made, "eventName": "ObjectRestore:Completed"}

    found = read(json.dumps({"Records": [gone, restored, made]}))

    assert [each.key.rpartition("/")[2] for each in found] == ["v1", "v1.0+build"]


def test_a_bucket_without_versions_tells_none() -> None:
    document = event("s3_created")
    del document["Records"][0]["s3"]["object"]["versionId"]

    [found] = read(json.dumps(document))

    assert found.version == ""


def test_the_event_by_which_s3_tries_the_queue_tells_nothing() -> None:
    tried = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2026-03-01T12:00:00.000Z",
             "Bucket": "roadstead-copy", "RequestId": "5582815E1AEA5ADF", "HostId": "8cLeGAmw098X5cv4"}  # fmt: skip

    assert list(read(json.dumps(tried))) == []


@pytest.mark.parametrize(
    "message", ["", "no JSON", "[]", "{}", '{"Records": [{}]}', '{"Records": [{"eventName": 1}]}']
)
def test_what_is_no_event_is_an_error(message: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the words are for whoever looks into the queue
        list(read(message))


@given(ARRIVALS)
def test_what_is_looked_at_again_is_the_same_change_later(arrival: Arrival) -> None:
    message, delay = arrival.again()
    [again] = read(message)

    assert again == replace(arrival, tries=arrival.tries + 1)
    assert 0 < delay <= LONGEST_DELAY


def test_nobody_waits_for_ever() -> None:
    arrival, tries = Arrival("repositories/a/b/_tags/c", "1"), 0
    while not arrival.is_last_try:
        [arrival] = read(arrival.again()[0])
        tries += 1

    assert tries == len(DELAYS)
    assert 45 * 60 < sum(DELAYS) < 60 * 60
