"""What the job drops: uploads that nobody went on with, and nothing that somebody may still need."""

from datetime import timedelta

from chalicelib.jobs import abandoned_uploads
from chalicelib.jobs.abandoned_uploads import AGE, Plan, plan
from chalicelib.oci.digests import Digest
from chalicelib.store import layout
from chalicelib.store.objects import Entry, Multipart
from tests.memory import START, Clock, MemoryObjects
from tests.store.client import Client, code, location

OLD, YOUNG = START - AGE, START - AGE + timedelta(seconds=1)
LARGE = bytes(17 << 20)


def test_the_plan_takes_what_is_old_and_whose_upload_is_not_going_on() -> None:
    states = [Entry("uploads/old", 1, OLD), Entry("uploads/young", 1, YOUNG)]
    parts = {name: Multipart(f"data/{name}", name, OLD) for name in ("old", "young", "stateless")}
    just_begun = Multipart("data/new", "new", YOUNG)

    decided = plan(states, [*parts.values(), just_begun], START)

    assert decided == Plan(("uploads/old",), (parts["old"], parts["stateless"]))


def test_an_abandoned_upload_goes_and_a_finished_blob_stays() -> None:
    clock = Clock()
    client = Client.of(MemoryObjects(clock), clock)
    abandoned = location(client.patch(client.begin("library/a"), LARGE))
    finished = location(client.patch(client.begin("library/a"), LARGE))
    assert client.finish(finished, Digest.of(LARGE)).status == 201

    clock.advance(AGE)
    abandoned_uploads.run(client.services)
    abandoned_uploads.run(client.services)

    assert client.objects.keys(layout.UPLOADS) == ()
    assert tuple(client.objects.unfinished(layout.DATA)) == ()
    assert code(client.ask("GET", abandoned)) == "BLOB_UPLOAD_UNKNOWN"
    assert client.blob("library/a", Digest.of(LARGE)) == LARGE


def test_an_upload_url_never_outlives_the_state_that_the_job_leaves() -> None:
    clock = Clock()
    client = Client.of(MemoryObjects(clock), clock)
    where = location(client.patch(client.begin("library/a"), b"first"))
    clock.advance(timedelta(hours=23))
    asked = location(client.ask("GET", where))
    clock.advance(timedelta(hours=3))

    abandoned_uploads.run(client.services)

    # Taken as the upload's beginning, the second half would be all of it.
    assert code(client.patch(asked, b"second")) == "BLOB_UPLOAD_UNKNOWN"


def test_an_upload_that_goes_on_for_days_is_left_alone() -> None:
    clock = Clock()
    client = Client.of(MemoryObjects(clock), clock)
    where, content = client.begin("library/a"), b""
    for _ in range(4):
        where, content = location(client.patch(where, LARGE)), content + LARGE
        clock.advance(timedelta(hours=20))
        abandoned_uploads.run(client.services)

    assert client.finish(where, Digest.of(content)).status == 201
