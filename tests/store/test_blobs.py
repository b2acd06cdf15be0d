"""Blobs: who holds which, bytes once for each digest, and what is left after races and crashes."""

import orjson
import pytest

from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.names import Repository
from chalicelib.store import blobs, layout
from chalicelib.store.blobs import Blob
from chalicelib.store.objects import ConditionFailedError
from tests.memory import Clock, MemoryObjects
from tests.store.client import Client, code, image
from tests.store.faults import Fault, every_fault
from tests.store.schedule import Action, Choose, every_order, interleave, some_orders

CONTENT = b"the bytes of a layer"
DIGEST = Digest.of(CONTENT)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bucket(clock: Clock) -> MemoryObjects:
    return MemoryObjects(clock)


@pytest.fixture
def client(bucket: MemoryObjects, clock: Clock) -> Client:
    return Client.of(bucket, clock)


def _processes(count: int) -> tuple[Client, ...]:
    clock = Clock()
    bucket = MemoryObjects(clock)
    return tuple(Client.of(bucket, clock) for _ in range(count))


def _post(client: Client, repository: str, content: bytes = CONTENT) -> int:
    return client.ask("POST", f"/v2/{repository}/blobs/uploads/?digest={Digest.of(content)}", content).status


def _mount(client: Client, repository: str, source: str, digest: Digest = DIGEST) -> int:
    asked = f"mount={digest}" + (f"&from={source}" if source else "")
    return client.ask("POST", f"/v2/{repository}/blobs/uploads/?{asked}").status


def _delete(client: Client, repository: str) -> int:
    return client.ask("DELETE", f"/v2/{repository}/blobs/{DIGEST}").status


# Holding.


def test_a_repository_that_holds_a_blob_gives_it(client: Client) -> None:
    client.push_blob("library/one", CONTENT)

    head = client.ask("HEAD", f"/v2/library/one/blobs/{DIGEST}")

    assert client.blob("library/one", DIGEST) == CONTENT
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(CONTENT)))


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_a_digest_alone_gives_no_access(client: Client, method: str) -> None:
    client.push_blob("library/one", CONTENT)

    answer = client.ask(method, f"/v2/library/two/blobs/{DIGEST}")

    assert (answer.status, code(answer)) == (404, "BLOB_UNKNOWN")


@pytest.mark.parametrize("name", ["library/on", "library/one/more", "library/one-more", "library/One"])
def test_names_that_look_alike_share_nothing(client: Client, name: str) -> None:
    client.push_blob("library/one", CONTENT)

    answer = client.ask("GET", f"/v2/{name}/blobs/{DIGEST}")

    assert answer.status in (400, 404)


def test_the_link_tells_where_the_bytes_are_how_many_and_since_when(client: Client, bucket: MemoryObjects) -> None:
    client.push_blob("library/one", CONTENT)

    link = bucket.get(layout.link(Repository("library/one"), DIGEST))
    entry = bucket.get(layout.blob(DIGEST))

    (key,) = bucket.keys(layout.DATA)
    assert link is not None
    assert orjson.loads(link.content) == {"key": key, "size": len(CONTENT), "since": "2026-03-01T12:00:00+00:00"}
    assert entry is not None
    assert orjson.loads(entry.content) == orjson.loads(link.content)


def test_the_bytes_of_a_digest_are_stored_once(client: Client, bucket: MemoryObjects) -> None:
    for repository in ("library/one", "library/two", "library/two"):
        client.push_blob(repository, CONTENT)

    assert len(bucket.keys(layout.DATA)) == 1
    assert [client.blob(repository, DIGEST) for repository in ("library/one", "library/two")] == [CONTENT, CONTENT]


def test_equal_bytes_under_two_algorithms_are_two_blobs(client: Client, bucket: MemoryObjects) -> None:
    other = Digest.of(CONTENT, "sha512")
    client.push_blob("library/one", CONTENT)

    answer = client.ask("POST", f"/v2/library/one/blobs/uploads/?digest={other}", CONTENT)

    assert answer.status == 201
    assert client.blob("library/one", other) == CONTENT
    assert len(bucket.keys(layout.DATA)) == 2


@pytest.mark.parametrize("size", [0, 20, 5 << 20, 17 << 20])
def test_content_that_is_not_the_digest_leaves_nothing_behind(
    client: Client, bucket: MemoryObjects, size: int
) -> None:
    answer = client.ask("POST", f"/v2/library/one/blobs/uploads/?digest={DIGEST}", bytes(size))

    assert (answer.status, code(answer)) == (400, "DIGEST_INVALID")
    assert bucket.keys() == ()
    assert list(bucket.unfinished("")) == []


def test_the_empty_blob_is_a_blob(client: Client) -> None:
    empty = client.push_blob("library/one", b"")

    assert client.blob("library/one", empty) == b""


# Deleting.


def test_deleting_takes_a_blob_from_one_repository_only(client: Client, bucket: MemoryObjects) -> None:
    client.push_blob("library/one", CONTENT)
    client.push_blob("library/two", CONTENT)

    status = _delete(client, "library/one")

    assert status == 202
    assert client.blob("library/one", DIGEST) is None
    assert client.blob("library/two", DIGEST) == CONTENT
    assert len(bucket.keys(layout.DATA)) == 1


def test_a_blob_can_be_pushed_again_after_it_was_deleted(client: Client) -> None:
    client.push_blob("library/one", CONTENT)
    _delete(client, "library/one")

    client.push_blob("library/one", CONTENT)

    assert client.blob("library/one", DIGEST) == CONTENT


# Mounting.


def test_a_mount_holds_the_same_bytes(client: Client, bucket: MemoryObjects) -> None:
    client.push_blob("library/one", CONTENT)

    status = _mount(client, "library/two", "library/one")

    assert status == 201
    assert client.blob("library/two", DIGEST) == CONTENT
    assert len(bucket.keys(layout.DATA)) == 1


def test_a_mount_without_a_source_is_an_administrator_s(client: Client) -> None:
    client.push_blob("library/one", CONTENT)

    assert _mount(client, "library/two", "") == 201
    assert client.blob("library/two", DIGEST) == CONTENT


@pytest.mark.parametrize("source", ["library/other", "", "library/two"])
def test_a_mount_of_what_the_source_lacks_becomes_an_upload(client: Client, source: str) -> None:
    client.push_blob("library/one", b"something else")

    status = _mount(client, "library/two", source)

    assert status == 202
    assert client.blob("library/two", DIGEST) is None


def test_a_mount_from_a_repository_that_does_not_hold_the_blob_looks_nowhere_else(client: Client) -> None:
    client.push_blob("library/one", CONTENT)

    mounted = blobs.mount(client.services.content, Repository("library/two"), DIGEST, Repository("library/other"))

    assert not mounted
    assert client.blob("library/two", DIGEST) is None


# The index.


def test_a_write_of_the_index_that_s3_interrupts_is_tried_again(client: Client) -> None:
    conflicts = iter([True, True])
    client.objects.before = lambda operation, key: _conflict(operation, key, next(conflicts, False))

    client.push_blob("library/one", CONTENT)

    assert client.blob("library/one", DIGEST) == CONTENT


def test_an_index_that_stays_busy_is_unavailable_for_a_moment(client: Client, bucket: MemoryObjects) -> None:
    client.objects.before = lambda operation, key: _conflict(operation, key, True)

    answer = client.ask("POST", f"/v2/library/one/blobs/uploads/?digest={DIGEST}", CONTENT)

    assert (answer.status, code(answer), answer.headers["Retry-After"]) == (503, "UNAVAILABLE", "1")
    assert bucket.keys("repositories/") == ()


def _conflict(operation: str, key: str, conflict: bool) -> None:
    if conflict and operation == "put" and key.startswith("blobs/"):
        raise ConditionFailedError


def test_who_wins_against_himself_keeps_his_bytes(client: Client, bucket: MemoryObjects) -> None:
    client.objects.repeat = lambda operation, key: operation == "put" and key.startswith("blobs/")

    client.push_blob("library/one", CONTENT)

    assert client.blob("library/one", DIGEST) == CONTENT
    assert len(bucket.keys(layout.DATA)) == 1


def test_an_index_entry_that_outlived_its_bytes_is_replaced(client: Client, bucket: MemoryObjects) -> None:
    client.push_blob("library/one", CONTENT)
    bucket.delete(*bucket.keys(layout.DATA))

    client.push_blob("library/two", CONTENT)

    assert client.blob("library/two", DIGEST) == CONTENT


def test_registering_tells_where_the_winner_s_bytes_are(client: Client, bucket: MemoryObjects) -> None:
    client.push_blob("library/one", CONTENT)
    (key,) = bucket.keys(layout.DATA)
    bucket.put(layout.data("late"), CONTENT)

    winner = blobs.register(client.services.content, DIGEST, Blob(layout.data("late"), len(CONTENT)))

    assert winner == Blob(key, len(CONTENT))
    assert bucket.keys(layout.DATA) == (key,)


def test_requiring_what_is_not_held_is_blob_unknown(client: Client) -> None:
    with pytest.raises(RegistryError) as refused:
        blobs.require(client.services.content, Repository("library/one"), DIGEST)

    assert refused.value.code is ErrorCode.BLOB_UNKNOWN


# Races, in every order of their S3 requests.


def test_of_two_pushes_of_one_blob_both_can_be_pulled_and_one_leaves_bytes() -> None:
    def race(choose: Choose) -> None:
        one, two, reader = _processes(3)

        statuses = interleave(
            [
                Action(one.objects, lambda: _post(one, "library/one")),
                Action(two.objects, lambda: _post(two, "library/two")),
            ],
            choose,
        )

        assert statuses == [201, 201]
        assert [reader.blob(repository, DIGEST) for repository in ("library/one", "library/two")] == [
            CONTENT,
            CONTENT,
        ]
        assert len(reader.objects.keys(layout.DATA)) == 1

    assert every_order(race) >= 3


def test_of_two_pushes_that_both_find_a_dead_index_entry_both_can_be_pulled() -> None:
    some_orders(_two_pushes_over_a_dead_entry, 300)


@pytest.mark.soak
def test_of_two_pushes_that_both_find_a_dead_index_entry_both_can_be_pulled_in_every_order() -> None:
    assert every_order(_two_pushes_over_a_dead_entry) > 50


def _two_pushes_over_a_dead_entry(choose: Choose) -> None:
    one, two, reader = _processes(3)
    reader.push_blob("library/dead", CONTENT)
    reader.objects.delete(*reader.objects.keys(layout.DATA))

    statuses = interleave(
        [
            Action(one.objects, lambda: _post(one, "library/one")),
            Action(two.objects, lambda: _post(two, "library/two")),
        ],
        choose,
    )

    assert statuses == [201, 201]
    assert [reader.blob(repository, DIGEST) for repository in ("library/one", "library/two")] == [CONTENT, CONTENT]
    assert len(reader.objects.keys(layout.DATA)) == 1


def test_a_mount_beside_the_deletion_of_its_source_is_whole_or_an_upload() -> None:
    def race(choose: Choose) -> None:
        one, two, reader = _processes(3)
        reader.push_blob("library/source", CONTENT)

        mounted, deleted = interleave(
            [
                Action(one.objects, lambda: _mount(one, "library/target", "library/source")),
                Action(two.objects, lambda: _delete(two, "library/source")),
            ],
            choose,
        )

        assert deleted == 202
        assert reader.blob("library/source", DIGEST) is None
        assert reader.blob("library/target", DIGEST) == (CONTENT if mounted == 201 else None)

    assert every_order(race) >= 3


def test_a_push_beside_a_deletion_leaves_the_blob_whole_or_not_there() -> None:
    outcomes = set()

    def race(choose: Choose) -> None:
        one, two, reader = _processes(3)
        reader.push_blob("library/one", CONTENT)

        statuses = interleave(
            [
                Action(one.objects, lambda: _post(one, "library/one")),
                Action(two.objects, lambda: _delete(two, "library/one")),
            ],
            choose,
        )

        assert statuses == [201, 202]
        outcomes.add(reader.blob("library/one", DIGEST))

    every_order(race)
    assert outcomes == {CONTENT, None}


# Crashes and faults, at every S3 request.


def test_a_push_that_fails_anywhere_leaves_all_or_nothing_and_can_be_repeated() -> None:
    def scenario(fault: Fault) -> None:
        one, two = _processes(2)
        statuses = []

        with fault.on(one.objects):
            statuses.append(_post(one, "library/one"))

        found = two.blob("library/one", DIGEST)
        assert found == CONTENT if 201 in statuses else found in (CONTENT, None), fault
        assert 500 not in statuses
        assert _post(two, "library/one") == 201
        assert two.blob("library/one", DIGEST) == CONTENT

    assert every_fault(scenario) >= 15


def test_a_second_push_that_fails_anywhere_harms_nobody() -> None:
    def scenario(fault: Fault) -> None:
        one, two = _processes(2)
        two.push_blob("library/first", CONTENT)

        with fault.on(one.objects):
            _post(one, "library/one")

        assert two.blob("library/first", DIGEST) == CONTENT, fault
        assert two.blob("library/one", DIGEST) in (CONTENT, None)
        assert _post(two, "library/one") == 201
        assert two.blob("library/one", DIGEST) == CONTENT

    assert every_fault(scenario) >= 15


def test_an_image_whose_layer_was_pushed_by_a_loser_can_be_pulled(client: Client) -> None:
    client.push_blob("library/one", CONTENT)
    client.push_blob("library/two", CONTENT)
    client.push_blob("library/two", b"config")

    client.push_manifest("library/two", "v1", image(b"config", [CONTENT]))

    assert client.blob("library/two", DIGEST) == CONTENT
