"""Uploads: taken over, repeated, raced and interrupted; what shows is whole and verified, and nothing else shows."""

from collections.abc import Callable

import pytest

from chalicelib.oci.digests import Digest
from chalicelib.store import layout
from tests.memory import Clock, MemoryObjects
from tests.store.client import Client, Pieces, code, location, received
from tests.store.faults import Fault, every_fault
from tests.store.schedule import Action, Choose, every_order, interleave

MiB = 1 << 20
SMALL = b"a config, or a chart"
LARGE = bytes(range(256)) * (40 * MiB // 256)
PART = 16 * MiB
# Just enough for a part of its own.
MULTIPART = LARGE[: 5 * MiB + 7]


def processes(count: int) -> tuple[Client, ...]:
    """Return clients of so many processes over one bucket."""
    clock = Clock()
    bucket = MemoryObjects(clock)
    return tuple(Client.of(bucket, clock) for _ in range(count))


@pytest.mark.parametrize("content", [b"", SMALL, bytes(5 * MiB), LARGE], ids=["empty", "small", "5 MiB", "40 MiB"])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("cuts", [(), (0.5,), (0.3, 0.6, 0.9)], ids=["whole", "two", "four"])
def test_a_blob_comes_back_however_it_was_sent(content: bytes, algorithm: str, cuts: tuple[float, ...]) -> None:
    (client,) = processes(1)
    digest = Digest.of(content, algorithm)
    where, sent = client.begin("library/a"), 0

    for cut in cuts:
        end = int(len(content) * cut)
        answer = client.patch(where, content[sent:end])
        assert answer.status == 202
        where, sent = location(answer), end
    assert client.finish(where, digest, content[sent:]).status == 201

    assert client.blob("library/a", digest) == content


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
def test_another_process_goes_on_with_an_upload_that_one_began(content: bytes) -> None:
    clients = processes(4)
    where, step = clients[0].begin("library/a"), len(content) // 3 + 1

    for number, client in enumerate(clients[:3]):
        answer = client.patch(where, content[number * step : (number + 1) * step])
        where = location(answer)
        assert received(clients[3].ask("GET", where)) == min((number + 1) * step, len(content))

    assert clients[3].finish(where, Digest.of(content)).status == 201
    assert clients[0].blob("library/a", Digest.of(content)) == content


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("other_process", [False, True])
def test_a_digest_that_does_not_match_leaves_nothing(content: bytes, other_process: bool) -> None:
    one, two = processes(2)
    where = location(one.patch(one.begin("library/a"), content))

    answer = (two if other_process else one).finish(where, Digest.of(b"other"))

    assert (answer.status, code(answer)) == (400, "DIGEST_INVALID")
    assert one.objects.keys() == ()
    assert tuple(one.objects.unfinished(layout.DATA)) == ()


def test_a_mismatch_in_one_piece_leaves_nothing() -> None:
    (client,) = processes(1)

    for content in (SMALL, LARGE):
        assert code(client.finish(client.begin("library/a"), Digest.of(b"other"), content)) == "DIGEST_INVALID"

    assert client.objects.keys() == ()
    assert tuple(client.objects.unfinished(layout.DATA)) == ()


@pytest.mark.parametrize("size", [len(SMALL), 20 * MiB])
def test_what_arrived_before_the_client_went_away_is_kept_and_told(size: int) -> None:
    (client,) = processes(1)
    content = LARGE[:size]
    where = client.begin("library/a")

    broken = client.patch(where, Pieces(content[:-7], broken=True))

    assert code(broken) == "BLOB_UPLOAD_INVALID"
    status = client.ask("GET", where)
    assert received(status) == size - 7
    assert client.finish(location(status), Digest.of(content), content[-7:]).status == 201
    assert client.blob("library/a", Digest.of(content)) == content


@pytest.mark.soak
def test_a_long_upload_can_go_on_from_its_last_checkpoint_after_a_crash() -> None:
    one, two = processes(2)
    content = bytes(17 * PART)
    where = one.begin("library/a")

    class Killed(BaseException):
        """The process ends."""

    def kill() -> None:
        raise Killed

    with pytest.raises(Killed):
        one.patch(where, Pieces(content[: 16 * PART], kill))

    assert received(two.ask("GET", where)) == 16 * PART
    assert two.finish(where, Digest.of(content), content[16 * PART :]).status == 201
    assert two.blob("library/a", Digest.of(content)) == content


def test_a_hash_that_belongs_to_other_bytes_is_not_believed() -> None:
    one, two = processes(2)
    first, second = bytes(PART) + b"first!", bytes(PART) + b"second"
    where = location(one.patch(one.begin("library/a"), first))
    assert code(two.finish(where, Digest.of(b"other"))) == "DIGEST_INVALID"
    assert two.patch(where, second).status == 202

    answer = one.finish(where, Digest.of(first))

    assert code(answer) == "DIGEST_INVALID"
    assert one.blob("library/a", Digest.of(first)) is None


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
def test_a_put_whose_answer_was_lost_is_repeated_with_the_same_answer(content: bytes) -> None:
    one, two = processes(2)
    for pieces in ((content, b""), (b"", content)):
        where = one.begin("library/a")
        if pieces[0]:
            where = location(one.patch(where, pieces[0]))
        first = one.finish(where, Digest.of(content), pieces[1])

        again = two.finish(where, Digest.of(content), pieces[1])

        assert (first.status, again.status) == (201, 201)
        assert code(two.finish(where, Digest.of(b"other"), b"other")) in ("BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID")
        assert two.blob("library/a", Digest.of(content)) == content


@pytest.mark.parametrize("content", [SMALL, LARGE], ids=["small", "large"])
def test_an_upload_that_ended_is_unknown(content: bytes) -> None:
    (client,) = processes(1)
    in_one = client.begin("library/a")
    assert client.finish(in_one, Digest.of(content), content).status == 201
    chunked = location(client.patch(client.begin("library/b"), content))
    assert client.finish(chunked, Digest.of(content)).status == 201
    cancelled = location(client.patch(client.begin("library/c"), content))
    assert client.ask("DELETE", cancelled).status == 204

    for where in (in_one, chunked, cancelled):
        assert code(client.ask("GET", where)) == "BLOB_UPLOAD_UNKNOWN"
        assert code(client.ask("DELETE", where)) == "BLOB_UPLOAD_UNKNOWN"
    assert tuple(client.objects.unfinished(layout.DATA)) == ()


def test_chunks_that_do_not_follow_are_416_with_the_range_and_the_upload_goes_on() -> None:
    (client,) = processes(1)
    where = location(client.patch(client.begin("library/a"), b"hello", {"content-range": "0-4"}))

    refused = client.patch(where, b"world", {"content-range": "6-10"})

    assert (refused.status, refused.headers["Range"]) == (416, "0-4")
    assert client.patch(refused.headers["Location"], b"world", {"content-range": "5-9"}).status == 202
    assert client.finish(where, Digest.of(b"helloworld")).status == 201


def test_a_chunk_of_another_length_than_its_range_is_not_kept() -> None:
    (client,) = processes(1)
    where = client.begin("library/a")

    answer = client.patch(where, Pieces(b"four"), {"content-range": "0-9"})

    assert code(answer) == "SIZE_INVALID"
    assert client.objects.keys() == ()


def _race(count: int, together: Callable[[tuple[Client, ...], Choose], None]) -> int:
    return every_order(lambda choose: together(processes(count), choose))


def test_of_two_chunks_at_once_one_is_taken_and_the_other_refused() -> None:
    def together(clients: tuple[Client, ...], choose: Choose) -> None:
        one, two, reader = clients
        where = reader.begin("library/a")
        sides = [(one, b"left"), (two, b"right")]
        answers = interleave(
            [Action(side.objects, lambda side=side, part=part: side.patch(where, part)) for side, part in sides],  # type: ignore[misc]
            choose,
        )

        statuses = [answer.status for answer in answers if not isinstance(answer, BaseException)]
        taken = [part for (_, part), status in zip(sides, statuses, strict=True) if status == 202]
        assert sorted(set(statuses)) in ([202], [202, 416])
        state = reader.objects.get(reader.objects.keys(layout.UPLOADS)[0])
        assert state is not None
        whole = state.content.partition(b"\n")[2]
        assert whole in {b"".join(taken), b"".join(reversed(taken))}
        assert reader.finish(where, Digest.of(whole)).status == 201

    assert _race(3, together) > 3


@pytest.mark.soak
def test_a_wrong_and_a_right_end_at_once_never_leave_a_digest_without_bytes() -> None:
    content = MULTIPART

    def together(clients: tuple[Client, ...], choose: Choose) -> None:
        begun, one, two, reader = clients
        where = location(begun.patch(begun.begin("library/a"), content))
        wanted = (Digest.of(b"other"), Digest.of(content))
        answers = interleave(
            [Action(side.objects, lambda s=side, d=digest: s.finish(where, d).status)  # type: ignore[misc]
             for side, digest in zip((one, two), wanted, strict=True)],
            choose,
        )  # fmt: skip

        assert answers[0] in (400, 404, 416)
        # A wrong digest begins the upload again: the right one then finds it empty.
        assert answers[1] in (201, 400, 404, 416)
        if answers[1] == 201:
            assert reader.blob("library/a", Digest.of(content)) == content
        reader.push_blob("library/b", content)
        assert reader.blob("library/b", Digest.of(content)) == content

    assert _race(4, together) > 20


@pytest.mark.parametrize("content", [SMALL, MULTIPART], ids=["small", "large"])
def test_whatever_fails_at_any_request_of_a_push_the_next_one_succeeds(content: bytes) -> None:
    digest = Digest.of(content)

    def scenario(fault: Fault) -> None:
        one, two = processes(2)
        where = one.begin("library/a")
        with fault.on(one.objects):
            answer = one.patch(where, content)
            if answer.status == 202:
                answer = one.finish(location(answer), digest)
            if answer.status == 201:
                assert two.blob("library/a", digest) == content, str(fault)
        assert two.blob("library/a", digest) in (None, content), str(fault)

        fresh = location(two.patch(two.begin("library/a"), content))
        assert two.finish(fresh, digest).status == 201, str(fault)
        assert two.blob("library/a", digest) == content, str(fault)

    assert every_fault(scenario) >= 35
