"""HTTP as clients speak it: connections, bodies, expectations, departures, signals, and what is written about it."""

from __future__ import annotations

import re
import signal
import socket
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import pytest
from mypy_boto3_s3 import S3Client

from tests.engines import Engine
from tests.engines.process import HOST, free_ports
from tests.engines.proxy import forwarding
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
)
from tests.server.running import BUCKET, PASSWORD, SIGNING_KEY, Server, launched, over, started
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
    ("GET",    "/v2/nothing/manifests/x",                          b"",         404),
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
        refused = [wire.ask("HEAD", f"/v2/{REPOSITORY}/manifests/none", headers) for headers in (registry.admin, {})]
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
    received = _received(registry, location)
    assert received <= sent
    rest = registry.admin | {"Content-Range": f"{received}-{whole - 1}"}
    answer = registry.ask("PATCH", location, rest, data[received:])
    done = registry.ask("PUT", f"{answer.header('location')}&digest={digest(data)}")

    assert (answer.status, done.status) == (202, 201)
    assert pull_blob(registry, REPOSITORY, digest(data)).body == data


def _go_away(server: Server, sent: bytes) -> None:
    """Send half a request, close the connection, and wait until the server has noticed."""
    lines = server.out().count("\n")
    with server.wire() as wire:
        wire.send(sent)
    deadline = time.monotonic() + 15
    while server.out().count("\n") == lines:
        assert time.monotonic() < deadline, "the server still waits for a client that has gone"
        time.sleep(0.01)


def _received(server: Server, location: str) -> int:
    answer = server.ask("GET", location)
    assert answer.status == 204
    first, _, last = answer.header("range").partition("-")
    assert first == "0"
    return int(last) + 1 if int(last) else 0


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
    _keeps_secrets(registry)


def test_lines_for_people_are_readable_and_hold_no_secret(engine: Engine, s3: S3Client, tmp_path: Path) -> None:
    assert s3.list_buckets()["Buckets"]
    with started(["serve"], tmp_path, over(engine)) as server:
        location = begin(server, REPOSITORY)
        server.ask("PUT", f"{location}&digest={digest(LAYER)}", None, LAYER)
        server.ask("GET", "/v2/a%0d%0ab%1b%5b31m/%E2%98%83/tags/list?token=hidden")

        lines = server.out().splitlines()
        path = re.escape(location.partition("?")[0])
        assert any(re.fullmatch(rf"\d\d:\d\d:\d\d  201  PUT    {path}  \d+ ms  ↑3\.0 kB", line) for line in lines)
        assert any(re.search(r"  400  GET    /v2/\S+/tags/list  \d+ ms", line) for line in lines)
        assert all(line.isprintable() for line in lines)
        assert "hidden" not in server.out()
        _keeps_secrets(server)


def _keeps_secrets(server: Server) -> None:
    written = server.out() + server.err()
    token = server.admin["Authorization"].removeprefix("Basic ")
    for secret in (PASSWORD, SIGNING_KEY, token, "_state=", "X-Amz-Signature", "?"):
        assert secret not in written


def test_signal_ends_the_server_cleanly_and_an_upload_under_way_goes_on_elsewhere(
    engine: Engine, s3: S3Client, tmp_path: Path
) -> None:
    assert s3.list_buckets()["Buckets"]
    with ThreadPoolExecutor() as both:
        ends = [both.submit(_interrupted, engine, tmp_path, number) for number in (signal.SIGINT, signal.SIGTERM)]
        uploads = [end.result() for end in ends]
    with started(["serve"], tmp_path / "after", over(engine)) as server:
        for location, data in uploads:
            received = _received(server, location)
            answer = server.ask("PUT", f"{location}&digest={digest(data)}", None, data[received:])

            assert (received, answer.status) == (MiB, 201)


def _interrupted(engine: Engine, folder: Path, number: signal.Signals) -> tuple[str, bytes]:
    """Stop a server in the middle of an upload; return the upload's address and all of its bytes."""
    data = content(f"stopped by {number.name}", 2 * MiB)
    with started(["serve"], folder / number.name, over(engine)) as server, server.wire() as wire:
        location = begin(server, REPOSITORY)
        sized = server.admin | {"Content-Length": str(len(data))}
        wire.send(request("PATCH", location, sized, data[:MiB]))
        time.sleep(0.3)
        began = time.monotonic()
        assert (server.end(number), server.err()) == (0, "")
        assert time.monotonic() - began < 8
    return location, data


def test_signal_lets_a_request_finish(engine: Engine, s3: S3Client, tmp_path: Path) -> None:
    assert s3.list_buckets()["Buckets"]
    data = content("finished in time", MiB)
    with started(["serve"], tmp_path, over(engine)) as server:
        location = begin(server, REPOSITORY)
        with server.wire() as wire, server.wire() as idle:
            assert idle.ask("GET", "/v2/", server.admin).status == 200
            sent = request("PUT", f"{location}&digest={digest(data)}", server.admin, data)
            wire.send(sent[:-1000])
            time.sleep(0.2)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            wire.send(sent[-1000:])
            answer = wire.answer()
            began = time.monotonic()
            status = server.process.wait(10)

        assert (answer.status, status) == (201, 0)
        assert time.monotonic() - began < 3


def test_port_that_is_taken_is_said(engine: Engine, s3: S3Client, tmp_path: Path) -> None:
    assert s3.list_buckets()["Buckets"]
    with socket.create_server((HOST, 0)) as taken:
        port = str(taken.getsockname()[1])
        message = _refusal(["serve", "--port", port], tmp_path, over(engine))

    assert f"port {port}" in message
    assert "PORT=" in message


def test_host_that_is_not_here_is_said(engine: Engine, s3: S3Client, tmp_path: Path) -> None:
    assert s3.list_buckets()["Buckets"]
    message = _refusal(["serve", "--host", "192.0.2.1"], tmp_path, over(engine))

    assert "192.0.2.1" in message
    assert "taken" not in message


def test_missing_bucket_is_said(engine: Engine, tmp_path: Path) -> None:
    message = _refusal(["serve"], tmp_path, over(engine) | {"ROADSTEAD_BUCKET": "another-one"})

    assert "'another-one'" in message
    assert "ROADSTEAD_BUCKET" in message


def test_missing_service_is_said(engine: Engine, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    message = _refusal(["serve"], tmp_path, over(engine, f"http://{HOST}:{port}"))

    assert "AWS_ENDPOINT_URL_S3" in message


def test_missing_credentials_are_said(engine: Engine, tmp_path: Path) -> None:
    variables = {name: value for name, value in over(engine).items() if "ACCESS_KEY" not in name}
    message = _refusal(["serve"], tmp_path, variables | {"AWS_EC2_METADATA_DISABLED": "true"})

    assert "AWS_ACCESS_KEY_ID" in message


def test_bad_signing_key_is_said(engine: Engine, tmp_path: Path) -> None:
    message = _refusal(["serve"], tmp_path, over(engine) | {"ROADSTEAD_SIGNING_KEY": "not a key"})

    assert "ROADSTEAD_SIGNING_KEY" in message
    assert "not a key" not in message


def _refusal(arguments: list[str], folder: Path, variables: Mapping[str, str]) -> str:
    """Return what a server that cannot start says."""
    with launched(arguments, folder, variables) as server:
        status = server.process.wait(30)
    assert status == 1
    assert "Traceback" not in server.err()
    assert server.err().startswith("Error: ")
    assert PASSWORD not in server.err()
    return server.err()


# fmt: off
WITHOUT_S3 = (
    ("GET",   MANIFEST,                                     b""),
    ("HEAD",  MANIFEST,                                     b""),
    ("GET",   f"/v2/{REPOSITORY}/blobs/{digest(LAYER)}",    b""),
    ("GET",   f"/v2/{REPOSITORY}/tags/list",                b""),
    ("PUT",   MANIFEST,                                     IMAGE),
    ("POST",  f"{UPLOADS}?digest={digest(LAYER)}",          LAYER),
)
# fmt: on


def test_s3_that_does_not_answer_is_unavailable_and_back_when_it_does(
    registry: Server, engine: Engine, tmp_path: Path
) -> None:
    assert registry.process.poll() is None
    with forwarding(engine.endpoint) as proxy, started(["serve"], tmp_path, over(engine, proxy.endpoint)) as server:
        proxy.hook = _cut
        with ThreadPoolExecutor() as together:
            asked = [together.submit(server.ask, method, target, None, body) for method, target, body in WITHOUT_S3]
        for (method, _, _), answer in zip(WITHOUT_S3, [one.result() for one in asked], strict=True):
            assert (answer.status, int(answer.header("retry-after")) > 0) == (503, True)
            assert method == "HEAD" or answer.codes() == ["UNAVAILABLE"]
        assert server.ask("GET", "/v2/").status == 200
        proxy.hook = None

        assert server.ask("GET", MANIFEST).body == IMAGE


def _cut(*_: object) -> None:
    raise ConnectionError


def test_terminal_without_arrows_gets_its_lines_and_clients_their_answers(
    engine: Engine, s3: S3Client, tmp_path: Path
) -> None:
    assert s3.list_buckets()["Buckets"]
    with started(["serve"], tmp_path, over(engine) | {"PYTHONIOENCODING": "ascii"}) as server:
        answer = server.ask("POST", f"{UPLOADS}?digest={digest(LAYER)}", None, LAYER)

        assert answer.status == 201
        assert "201  POST" in server.out()


def test_connection_that_says_nothing_does_not_hold_up_the_rest(registry: Server) -> None:
    with registry.wire() as silent, registry.wire() as half:
        half.send(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n")
        answer = registry.ask("GET", "/v2/")
        half.send(f"Authorization: {registry.admin['Authorization']}\r\n\r\n".encode())
        late = half.answer()

        assert (answer.status, late.status) == (200, 200)
        assert not _ended(silent)


def _ended(wire: Wire) -> bool:
    wire.patience(0.1)
    return wire.closed()


def test_bucket_is_named_in_no_answer_but_the_redirect(registry: Server) -> None:
    answers = [registry.ask(method, target, None, body) for method, target, body, status in REQUESTS if status != 307]

    assert not [answer for answer in answers if BUCKET.encode() in answer.body + repr(answer.headers).encode()]
