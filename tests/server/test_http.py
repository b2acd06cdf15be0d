"""HTTP as clients speak it: connections, bodies, expectations, departures, and what is written about them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

import orjson
import pytest

from tests.server.pushing import (
    IMAGE_TYPE,
    MiB,
    begin,
    chunked,
    content,
    digest,
    follow,
    image,
    pull_blob,
    push_blob,
    push_manifest,
    received,
)
from tests.server.running import BUCKET, Server, secrets_in
from tests.server.wire import Wire, basic, request

REPOSITORY = "library/http"
CONFIG = b"{}"
LAYER = content("layer", 3000)
IMAGE = image(CONFIG, [LAYER])
UPLOADS = f"/v2/{REPOSITORY}/blobs/uploads/"
MANIFEST = f"/v2/{REPOSITORY}/manifests/v1"


@pytest.fixture(scope="module")
def registry(server: Server) -> Server:
    """A server that holds an image."""
    for blob in (CONFIG, LAYER):
        push_blob(server, REPOSITORY, blob)
    push_manifest(server, REPOSITORY, "v1", IMAGE)
    return server


# fmt: off
REQUESTS = (
    ("GET",    "/v2/",                                             b"",         200),
    ("GET",    "/v2/library/nothing/manifests/x",                  b"",         404),
    ("GET",    "/v2/nothing/manifests/x",                          b"",         403),
    ("HEAD",   MANIFEST,                                           b"",         200),
    ("POST",   "/v2/BAD/blobs/uploads/",                           LAYER,       400),
    ("HEAD",   f"/v2/{REPOSITORY}/blobs/{digest(b'missing')}",     b"",         404),
    ("PUT",    MANIFEST,                                           b"no JSON",  400),
    ("DELETE", f"/v2/{REPOSITORY}/tags/list",                      b"",         405),
    ("GET",    "/nowhere",                                         b"",         404),
    ("POST",   f"{UPLOADS}?digest={digest(LAYER)}",                LAYER,       201),
    ("POST",   f"{UPLOADS}?digest={digest(b'other')}",             LAYER,       400),
    ("GET",    MANIFEST,                                           b"",         200),
    ("GET",    f"/v2/{REPOSITORY}/blobs/{digest(LAYER)}",          b"",         307),
    ("PATCH",  f"{UPLOADS}unknown?_state=sha256.1.x",              LAYER,       404),
    ("GET",    "/v2/",                                             b"",         200),
)
# fmt: on


def test_one_connection_serves_many_requests_refused_ones_among_them(registry: Server) -> None:
    with registry.wire() as wire:
        answers = [wire.ask(method, target, registry.admin, body).status for method, target, body, _ in REQUESTS]

    assert answers == [status for *_, status in REQUESTS]


def test_wrong_credentials_do_not_end_a_connection(registry: Server) -> None:
    with registry.wire() as wire:
        refused = wire.ask("GET", MANIFEST, {"Authorization": basic("admin", "guess")})
        answer = wire.ask("GET", MANIFEST, registry.admin)

    assert (refused.status, answer.status) == (401, 200)


def test_connection_close_is_honoured(registry: Server) -> None:
    with registry.wire() as wire:
        answer = wire.ask("GET", "/v2/", registry.admin | {"Connection": "close"})

        assert (answer.status, wire.closed()) == (200, True)


def test_pipelined_requests_are_answered_in_order(registry: Server) -> None:
    targets = (MANIFEST, "/v2/", f"/v2/{REPOSITORY}/tags/list", MANIFEST)
    with registry.wire() as wire:
        wire.send(b"".join(request("GET", target, registry.admin) for target in targets))
        bodies = [wire.answer().body for _ in targets]

    assert bodies == [IMAGE, b"{}", b'{"name":"%b","tags":["v1"]}' % REPOSITORY.encode(), IMAGE]


# fmt: off
FRAMES: tuple[tuple[str, dict[str, str], Callable[[bytes], bytes]], ...] = (
    ("sized",            {},                               lambda data: data),
    ("one chunk",        {"Transfer-Encoding": "chunked"}, lambda data: chunked([data])),
    ("small chunks",     {"Transfer-Encoding": "chunked"}, lambda data: chunked([data[i:i + 7] for i in range(0, len(data), 7)])),
    ("chunk extensions", {"Transfer-Encoding": "chunked"}, lambda data: chunked([data]).replace(b"\r\n", b";a=b\r\n", 1)),
    ("upper-case sizes", {"Transfer-Encoding": "Chunked"}, lambda data: b"%X" % len(data) + chunked([data]).lstrip(b"0123456789abcdef")),
    ("a trailer",        {"Transfer-Encoding": "chunked"}, lambda data: chunked([data])[:-2] + b"X-Sum: 1\r\n\r\n"),
)
# fmt: on


# An empty chunk ends a body, so the frames of exactly one chunk have no empty form.
_SIZED_FRAMES = [
    pytest.param(*frame, size, id=f"{frame[0]} {size}")
    for frame in FRAMES
    for size in (0, 1, 3000, MiB + 1)
    if size or frame[0] in ("sized", "small chunks")
]


@pytest.mark.parametrize(("name", "headers", "frame", "size"), _SIZED_FRAMES)
def test_bodies_arrive_whole_however_they_are_framed(
    registry: Server, name: str, headers: dict[str, str], frame: Callable[[bytes], bytes], size: int
) -> None:
    data = content(f"{name} {size}", size)

    answer = registry.ask("POST", f"{UPLOADS}?digest={digest(data)}", registry.admin | headers, frame(data))

    assert answer.status == 201
    assert pull_blob(registry, REPOSITORY, digest(data)).body == data


@pytest.mark.parametrize("pause", [0.0, 0.005])
def test_body_arrives_whole_in_small_segments(registry: Server, pause: float) -> None:
    data = content("segments", 1500)
    sent = request("POST", f"{UPLOADS}?digest={digest(data)}", registry.admin, data)

    with registry.wire() as wire:
        for start in range(0, len(sent), 61):
            wire.send(sent[start : start + 61])
            time.sleep(pause)
        answer = wire.answer()

    assert answer.status == 201


@pytest.mark.parametrize("target", [MANIFEST, f"/v2/{REPOSITORY}/manifests/{digest(IMAGE)}", "/v2/"])
def test_head_says_what_get_would_and_sends_no_body(registry: Server, target: str) -> None:
    with registry.wire() as wire:
        head = wire.ask("HEAD", target, registry.admin)
        get = wire.ask("GET", target, registry.admin)

    assert head.status == get.status == 200
    assert head.header("content-length") == get.header("content-length") == str(len(get.body))
    for name in ("content-type", "docker-content-digest", "etag"):
        assert head.headers.get(name) == get.headers.get(name)


def test_head_of_a_blob_has_its_true_length(registry: Server) -> None:
    with registry.wire() as wire:
        head = wire.ask("HEAD", f"/v2/{REPOSITORY}/blobs/{digest(LAYER)}", registry.admin)
        after = wire.ask("GET", "/v2/", registry.admin)

    assert (head.status, head.header("content-length")) == (200, str(len(LAYER)))
    assert head.header("docker-content-digest") == digest(LAYER)
    assert after.status == 200


def test_refused_head_has_no_body(registry: Server) -> None:
    with registry.wire() as wire:
        refused = [
            wire.ask("HEAD", f"/v2/{REPOSITORY}/manifests/none", registry.admin),
            wire.ask("HEAD", "/v2/elsewhere/app/manifests/none", {}),
        ]
        after = wire.ask("GET", "/v2/", registry.admin)

    assert [answer.status for answer in refused] == [404, 401]
    assert after.status == 200


def test_body_that_is_wanted_is_asked_for(registry: Server) -> None:
    expecting = registry.admin | {"Expect": "100-continue", "Content-Length": str(len(LAYER))}
    with registry.wire() as wire:
        wire.send(request("PUT", f"{begin(registry, REPOSITORY)}&digest={digest(LAYER)}", expecting))
        interim = wire.answer()
        wire.send(LAYER)
        answer = wire.answer()
        after = wire.ask("GET", "/v2/", registry.admin)

    assert (interim.status, answer.status, after.status) == (100, 201, 200)


def test_body_that_is_sent_without_waiting_is_taken(registry: Server) -> None:
    expecting = registry.admin | {"Expect": "100-Continue"}
    with registry.wire() as wire:
        wire.send(request("PUT", f"{begin(registry, REPOSITORY)}&digest={digest(LAYER)}", expecting, LAYER))
        statuses = [wire.answer().status]
        if statuses == [100]:
            statuses.append(wire.answer().status)

    assert statuses[-1] == 201


def _expecting(size: int, **headers: str) -> dict[str, str]:
    return {"Expect": "100-continue", "Content-Length": str(size), **headers}


# fmt: off
UNWANTED: tuple[tuple[str, str, str, dict[str, str], int], ...] = (
    ("no credentials",     "POST",  f"{UPLOADS}?digest={digest(LAYER)}",        {"Authorization": ""},                     401),
    ("a bad name",         "POST",  f"/v2/BAD/blobs/uploads/?digest={digest(LAYER)}", {},                                  400),
    ("a bad digest",       "POST",  f"{UPLOADS}?digest=sha256:abc",             {},                                        400),
    ("an unknown upload",  "PATCH", f"{UPLOADS}unknown?_state=sha256.1.x",      {},                                        404),
    ("a gap",              "PATCH", "@upload@",                                 {"Content-Range": f"{MiB}-{2 * MiB - 1}"}, 416),
    ("a wrong length",     "PATCH", "@upload@",                                 {"Content-Range": "0-9"},                  400),
    ("no digest",          "PUT",   "@upload@",                                 {},                                        400),
    ("a bad tag",          "PUT",   f"/v2/{REPOSITORY}/manifests/.bad",         {},                                        400),
    ("a huge manifest",    "PUT",   MANIFEST,                                   {"Content-Length": str(5 * MiB)},          413),
    ("a method in vain",   "PUT",   f"/v2/{REPOSITORY}/tags/list",              {},                                        405),
)
# fmt: on


@pytest.mark.parametrize(
    ("name", "method", "target", "headers", "status"), UNWANTED, ids=[row[0] for row in UNWANTED]
)
def test_refusal_comes_before_the_body(
    registry: Server, name: str, method: str, target: str, headers: dict[str, str], status: int
) -> None:
    place = target.replace("@upload@", begin(registry, REPOSITORY))
    sent = {key: value for key, value in {**registry.admin, **_expecting(MiB), **headers}.items() if value}
    with registry.wire() as wire:
        wire.send(request(method, place, sent))
        answer = wire.answer()

    assert answer.status == status, name
    assert answer.codes()


def test_manifest_is_served_whatever_the_client_accepts(registry: Server) -> None:
    lines = "".join(
        f"Accept: {kind}\r\n" for kind in ("application/vnd.oci.image.index.v1+json", IMAGE_TYPE, "*/*;q=0.1")
    )
    head = f"GET {MANIFEST} HTTP/1.1\r\nHost: x\r\n{lines}Authorization: {registry.admin['Authorization']}\r\n\r\n"
    with registry.wire() as wire:
        wire.send(head.encode())
        answer = wire.answer()

    assert (answer.header("content-type"), answer.body) == (IMAGE_TYPE, IMAGE)


# fmt: off
PARTS = (
    ("bytes=0-9",       206, slice(0, 10)),
    ("bytes=2990-",     206, slice(2990, None)),
    ("bytes=-10",       206, slice(-10, None)),
    ("bytes=10-99999",  206, slice(10, None)),
)
# fmt: on


@pytest.mark.parametrize(("wanted", "status", "part"), PARTS)
def test_part_of_a_blob_can_be_had_through_the_redirect(
    registry: Server, wanted: str, status: int, part: slice
) -> None:
    answer = pull_blob(registry, REPOSITORY, digest(LAYER), {"Range": wanted})

    assert (answer.status, answer.body) == (status, LAYER[part])


def test_redirect_carries_no_range_and_no_body(registry: Server) -> None:
    answer = registry.ask("GET", f"/v2/{REPOSITORY}/blobs/{digest(LAYER)}", registry.admin | {"Range": "bytes=0-9"})

    assert (answer.status, answer.body) == (307, b"")
    assert follow(registry, answer.header("location"), {}).body == LAYER


@pytest.mark.parametrize(
    "headers", [{"Content-Length": "{whole}"}, {"Transfer-Encoding": "chunked"}], ids=["sized", "chunked"]
)
@pytest.mark.parametrize(("sent", "whole"), [(0, 10), (3000, 9000), (2 * MiB, 3 * MiB), (18 * MiB, 19 * MiB)])
def test_upload_goes_on_where_a_client_went_away(
    registry: Server, headers: dict[str, str], sent: int, whole: int
) -> None:
    data = content(f"gone {headers} {sent}", whole)
    location = begin(registry, REPOSITORY)
    said = {name: value.format(whole=whole) for name, value in headers.items()}
    first = chunked([data[:sent]]).removesuffix(b"0\r\n\r\n") if "Transfer-Encoding" in said else data[:sent]

    _go_away(registry, request("PATCH", location, registry.admin | said) + first)
    there = received(registry, location)
    assert there <= sent
    rest = registry.admin | {"Content-Range": f"{there}-{whole - 1}"}
    answer = registry.ask("PATCH", location, rest, data[there:])
    done = registry.ask("PUT", f"{answer.header('location')}&digest={digest(data)}")

    assert (answer.status, done.status) == (202, 201)
    assert pull_blob(registry, REPOSITORY, digest(data)).body == data


def _go_away(server: Server, sent: bytes) -> None:
    """Send half a request, close the connection, and wait until the server has noticed."""
    lines = server.out().count("\n")
    with server.wire() as wire:
        wire.send(sent)
    deadline = time.monotonic() + 60
    while server.out().count("\n") == lines:
        assert time.monotonic() < deadline, "the server still waits for a client that has gone"
        time.sleep(0.01)


def test_address_follows_the_proxy_in_front(registry: Server) -> None:
    answer = registry.ask("GET", "/v2/", {"Host": "registry.example:444", "X-Forwarded-Proto": "https"})

    expected = 'Bearer realm="https://registry.example:444/service/token",service="registry.example:444"'
    assert answer.header("www-authenticate") == expected


def test_json_lines_say_what_happened_and_no_secret(registry: Server) -> None:
    location = begin(registry, REPOSITORY)
    registry.ask("PUT", f"{location}&digest={digest(LAYER)}", registry.admin | {"User-Agent": 'a"b\\c\udcff'}, LAYER)

    records = [orjson.loads(line) for line in registry.out().splitlines()]
    (last,) = (record for record in records if record["path"] == location.partition("?")[0])
    assert (last["method"], last["status"], last["received"]) == ("PUT", 201, len(LAYER))
    assert set(last) >= {"time", "request_id", "path", "sent", "milliseconds", "user_agent"}
    assert secrets_in(registry) == []


def test_connection_that_says_nothing_does_not_hold_up_the_rest(registry: Server) -> None:
    with registry.wire() as silent, registry.wire() as half:
        half.send(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n")
        answer = registry.ask("GET", "/v2/")
        half.send(f"Authorization: {registry.admin['Authorization']}\r\n\r\n".encode())
        late = half.answer()

        assert (answer.status, late.status) == (200, 200)
        assert not _ended(silent)


@pytest.mark.parametrize(("method", "target"), [("POST", "/service/token"), ("PATCH", "")], ids=["forms", "uploads"])
def test_bodies_that_do_not_arrive_hold_up_no_pull(registry: Server, method: str, target: str) -> None:
    location = "" if target else begin(registry, REPOSITORY)
    with ExitStack() as stack:
        waiting = [stack.enter_context(registry.wire()) for _ in range(300)]
        for wire in waiting:
            wire.send(request(method, location or target, {"Content-Length": "100"}, b"five!"))
        answers = [registry.ask("GET", MANIFEST).status, registry.ask("HEAD", MANIFEST).status]

        assert answers == [200, 200]
        # They are waited for still: the pulls were answered beside them, not after.
        assert not [wire for wire in waiting[:3] if _ended(wire)]


def _ended(wire: Wire) -> bool:
    wire.patience(0.1)
    return wire.closed()


def test_bucket_is_named_in_no_answer_but_the_redirect(registry: Server) -> None:
    answers = [registry.ask(method, target, None, body) for method, target, body, status in REQUESTS if status != 307]

    assert not [answer for answer in answers if BUCKET.encode() in answer.body + repr(answer.headers).encode()]
