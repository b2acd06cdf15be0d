"""Requests that meet on one upload session: whatever their order, what shows is whole and nothing dangles."""

from collections.abc import Callable, Mapping
from itertools import combinations_with_replacement

import orjson
import pytest

from chalicelib.oci.digests import Digest
from tests.memory import Clock, MemoryObjects
from tests.store.client import Client, Pieces, code, location, received
from tests.store.faults import Fault, Kind
from tests.store.schedule import Action, Choose, every_insertion, every_order, interleave, some_orders

MiB = 1 << 20
CHUNK = b", and a chunk"
# What a session has received when two requests meet on it: nothing, too little for a part, or a part and more.
RECEIVED: Mapping[str, tuple[bytes, ...]] = {
    "nothing": (),
    "a little": (b"a little",),
    "a part": (bytes(5 * MiB), b"and more"),
}
Operation = Callable[[Client, str, bytes], int]


def _patch(client: Client, where: str, base: bytes) -> int:  # noqa: ARG001 - an operation has these parameters
    return client.patch(where, CHUNK).status


def _finish(client: Client, where: str, base: bytes) -> int:
    return client.finish(where, Digest.of(base)).status


def _finish_with_a_chunk(client: Client, where: str, base: bytes) -> int:
    return client.finish(where, Digest.of(base + CHUNK), CHUNK).status


def _finish_by_another_algorithm(client: Client, where: str, base: bytes) -> int:
    return client.finish(where, Digest.of(base, "sha512")).status


def _finish_wrongly(client: Client, where: str, base: bytes) -> int:
    return client.finish(where, Digest.of(base + b"?", "sha512")).status


def _finish_anew(client: Client, where: str, base: bytes) -> int:
    """Send everything once more: right only where the session has begun again."""
    return client.finish(where, Digest.of(base), base).status


def _cancel(client: Client, where: str, base: bytes) -> int:  # noqa: ARG001 - as above
    return client.ask("DELETE", where).status


OPERATIONS: Mapping[str, Operation] = {
    "PATCH": _patch,
    "PUT": _finish,
    "PUT with a chunk": _finish_with_a_chunk,
    "PUT of everything": _finish_anew,
    "PUT sha512": _finish_by_another_algorithm,
    "wrong PUT": _finish_wrongly,
    "DELETE": _cancel,
}
PAIRS = list(combinations_with_replacement(OPERATIONS, 2))


def _processes(count: int) -> tuple[Client, ...]:
    clock = Clock()
    bucket = MemoryObjects(clock)
    return tuple(Client.of(bucket, clock) for _ in range(count))


def _session(client: Client, chunks: tuple[bytes, ...]) -> str:
    where = client.begin("library/a")
    for chunk in chunks:
        where = location(client.patch(where, chunk))
    return where


def check_bytes(reader: Client) -> None:
    """Every entry of the index and every link names bytes that are there and hash to the digest."""
    for key in (*reader.objects.keys("blobs/"), *reader.objects.keys("repositories/")):
        digest = Digest(*key.split("/")[-2:])
        entry = reader.objects.get(key)
        assert entry is not None
        data = reader.objects.get(orjson.loads(entry.content)["key"])
        assert data is not None, f"{key} names bytes that are gone"
        assert digest.matches(data.content), f"{key} names other bytes"


def _check_answers(reader: Client, base: bytes, names: tuple[str, ...], statuses: list[int | BaseException]) -> None:
    assert set(statuses) <= {201, 202, 204, 400, 404, 416}
    wanted = {
        "PUT": (base, "sha256"),
        "PUT with a chunk": (base + CHUNK, "sha256"),
        "PUT of everything": (base, "sha256"),
        "PUT sha512": (base, "sha512"),
    }
    for name, status in zip(names, statuses, strict=True):
        if status == 201:
            content, algorithm = wanted[name]
            assert reader.blob("library/a", Digest.of(content, algorithm)) == content
    check_bytes(reader)


def _check_that_it_ends(reader: Client, where: str, base: bytes) -> None:
    """The session is over, or goes on: never does it end in other bytes."""
    status = reader.ask("GET", where)
    if status.status == 404:
        assert code(status) == "BLOB_UPLOAD_UNKNOWN"
        return
    contents = {len(content): content for content in (b"", CHUNK, base, base + CHUNK, base + 2 * CHUNK)}
    size = max(received(status), 0)
    content = contents[size if size != 1 else 0]
    answer = reader.finish(where, Digest.of(content + b"end"), b"end")
    assert answer.status in (201, 404), answer
    check_bytes(reader)


def _meet(names: tuple[str, ...], chunks: tuple[bytes, ...]) -> Callable[[Choose], None]:
    base = b"".join(chunks)

    def run(choose: Choose) -> None:
        # One of the processes received the chunks and carries their hash, the others do not.
        clients = _processes(len(names) + 1)
        reader = clients[-1]
        where = _session(clients[0], chunks)

        statuses = interleave(
            [
                Action(client.objects, lambda client=client, name=name: OPERATIONS[name](client, where, base))  # type: ignore[misc]
                for client, name in zip(clients, names, strict=False)
            ],
            choose,
        )

        _check_answers(reader, base, names, statuses)
        _check_that_it_ends(reader, where, base)

    return run


@pytest.mark.parametrize("kind", ["nothing", "a little"])
@pytest.mark.parametrize("names", PAIRS, ids=" beside ".join)
def test_two_requests_meet_on_a_small_upload(names: tuple[str, ...], kind: str) -> None:
    some_orders(_meet(names, RECEIVED[kind]), 12)


@pytest.mark.parametrize("other", OPERATIONS)
@pytest.mark.parametrize("name", ["PATCH", "wrong PUT"])
def test_a_request_comes_between_any_two_steps_of_another_on_a_large_upload(name: str, other: str) -> None:
    every_insertion(_meet((name, other), RECEIVED["a part"]))


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["nothing", "a little"])
@pytest.mark.parametrize("names", PAIRS, ids=" beside ".join)
def test_two_requests_meet_on_a_small_upload_in_every_order(names: tuple[str, ...], kind: str) -> None:
    every_order(_meet(names, RECEIVED[kind]))


@pytest.mark.soak
@pytest.mark.parametrize("names", PAIRS, ids=" beside ".join)
def test_two_requests_meet_on_a_large_upload(names: tuple[str, ...]) -> None:
    for pair in {names, names[::-1]}:
        every_insertion(_meet(pair, RECEIVED["a part"]))
        some_orders(_meet(pair, RECEIVED["a part"]), 10)


@pytest.mark.parametrize("kind", ["nothing", "a little"])
def test_three_requests_meet_on_a_small_upload(kind: str) -> None:
    for names in combinations_with_replacement(OPERATIONS, 3):
        some_orders(_meet(names, RECEIVED[kind]), 2)


@pytest.mark.soak
def test_three_requests_meet_on_a_large_upload() -> None:
    for names in combinations_with_replacement(OPERATIONS, 3):
        some_orders(_meet(names, RECEIVED["a part"]), 3)


# Bodies that are still coming.


def test_a_large_chunk_whose_upload_is_cancelled_meanwhile_is_404() -> None:
    one, two = _processes(2)
    where = _session(one, RECEIVED["a part"])
    body = Pieces(bytes(4 * MiB), lambda: two.ask("DELETE", where), bytes(14 * MiB))

    answer = one.patch(where, body)

    assert (answer.status, code(answer)) == (404, "BLOB_UPLOAD_UNKNOWN")
    assert list(one.objects.unfinished("")) == []


def test_a_large_chunk_whose_upload_is_ended_meanwhile_is_404() -> None:
    one, two = _processes(2)
    where = _session(one, RECEIVED["a part"])
    base = b"".join(RECEIVED["a part"])
    body = Pieces(bytes(4 * MiB), lambda: two.finish(where, Digest.of(base)), bytes(14 * MiB))

    answer = one.patch(where, body)

    assert (answer.status, code(answer)) == (404, "BLOB_UPLOAD_UNKNOWN")
    assert one.blob("library/a", Digest.of(base)) == base


def test_of_two_first_chunks_the_loser_s_parts_are_dropped() -> None:
    one, two = _processes(2)
    where = one.begin("library/a")
    body = Pieces(bytes(6 * MiB), lambda: two.patch(where, bytes(6 * MiB)))

    answer = one.patch(where, body)

    assert (answer.status, code(answer)) == (416, "BLOB_UPLOAD_INVALID")
    assert len(list(one.objects.unfinished(""))) == 1
    assert received(two.ask("GET", where)) == 6 * MiB


def test_a_put_of_many_parts_after_a_crash_before_its_answer_is_answered_when_repeated() -> None:
    one, two = _processes(2)
    base, rest = bytes(6 * MiB), bytes(50 * MiB)
    where = _session(one, (base,))
    digest = Digest.of(base + rest)
    # Requests: the state, four parts, the completion; the index is not reached any more.
    with Fault(Kind.KILLED_AFTER, 6).on(one.objects):
        one.finish(where, digest, rest)

    answer = two.finish(where, digest, rest)

    assert one.objects.asked[-1].operation == "complete"
    assert answer.status == 201
    assert two.blob("library/a", digest) == base + rest


# Answers that were lost.


def test_a_state_that_was_written_twice_is_no_conflict() -> None:
    (client,) = _processes(1)
    client.objects.repeat = lambda operation, key: (operation, key[:8]) == ("put", "uploads/")

    where = _session(client, (b"one", b"two"))
    answer = client.finish(where, Digest.of(b"onetwo"))

    assert answer.status == 201
    assert client.blob("library/a", Digest.of(b"onetwo")) == b"onetwo"


@pytest.mark.soak
def test_a_checkpoint_that_was_written_twice_is_no_conflict() -> None:
    (client,) = _processes(1)
    client.objects.repeat = lambda operation, key: (operation, key[:8]) == ("put", "uploads/")
    content = bytes(257 * MiB)

    answer = client.finish(location(client.patch(client.begin("library/a"), content)), Digest.of(content))

    assert answer.status == 201


def test_a_chunk_whose_state_could_not_be_told_is_there_or_not() -> None:
    """The answer to the state's write is lost for good: the client is told 503 and asks where the upload stands."""
    one, two = _processes(2)
    where = _session(one, (b"one",))
    with Fault(Kind.FAILED_AFTER, 2).on(one.objects):
        refused = one.patch(where, b"two")

    size = received(two.ask("GET", where))

    assert refused.status == 503
    assert size == 6
    assert two.finish(where, Digest.of(b"onetwo")).status == 201
