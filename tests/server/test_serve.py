"""`roadstead serve` from its start to its end: what it says, what it refuses, signals, and S3 that goes away."""

from __future__ import annotations

import re
import signal
import socket
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chalicelib.store.dynamodb import dynamo_client, make_table
from chalicelib.store.signing import Credentials
from tests.engines import Engine
from tests.engines.process import HOST, free_ports
from tests.engines.proxy import Proxy, forwarding
from tests.server.pushing import MiB, begin, content, digest, image, push_blob, push_manifest, received
from tests.server.running import PASSWORD, Server, launched, over, secrets_in, started
from tests.server.wire import Wire, request

REPOSITORY = "library/serve"
CONFIG = b"{}"
LAYER = content("layer", 3000)
IMAGE = image(CONFIG, [LAYER])
UPLOADS = f"/v2/{REPOSITORY}/blobs/uploads/"
MANIFEST = f"/v2/{REPOSITORY}/manifests/v1"

pytestmark = pytest.mark.usefixtures("s3")


def test_lines_for_people_are_readable_and_hold_no_secret(engine: Engine, tmp_path: Path) -> None:
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
        assert secrets_in(server) == []


def test_signal_ends_the_server_cleanly_and_an_upload_under_way_goes_on_elsewhere(
    engine: Engine, tmp_path: Path
) -> None:
    with ThreadPoolExecutor() as both:
        ends = [both.submit(_interrupted, engine, tmp_path, number) for number in (signal.SIGINT, signal.SIGTERM)]
        uploads = [end.result() for end in ends]
    with started(["serve"], tmp_path / "after", over(engine)) as server:
        for location, data in uploads:
            there = received(server, location)
            answer = server.ask("PUT", f"{location}&digest={digest(data)}", None, data[there:])

            assert (there, answer.status) == (MiB, 201)


def _interrupted(engine: Engine, folder: Path, number: signal.Signals) -> tuple[str, bytes]:
    """Stop a server in the middle of an upload; return the upload's address and all of its bytes."""
    data = content(f"stopped by {number.name}", 2 * MiB)
    with started(["serve"], folder / number.name, over(engine)) as server, server.wire() as wire:
        location = begin(server, REPOSITORY)
        _send_most(server, wire, "PATCH", location, data[:MiB], len(data))
        assert (server.end(number), server.err()) == (0, "")
    return location, data


def test_signal_lets_a_request_finish(engine: Engine, tmp_path: Path) -> None:
    data = content("finished in time", MiB)
    # Were it to wait for the client that asks nothing, it would wait for minutes.
    with started(["serve"], tmp_path, over(engine) | {"STOP_SECONDS": "300"}) as server:
        location = begin(server, REPOSITORY)
        with server.wire() as wire, server.wire() as idle:
            assert idle.ask("GET", "/v2/", server.admin).status == 200
            _send_most(server, wire, "PUT", f"{location}&digest={digest(data)}", data[:-1000], len(data))
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            wire.send(data[-1000:])
            answer = wire.answer()
            status = server.process.wait(60)

        assert (answer.status, status) == (201, 0)


def test_a_signal_gives_requests_as_long_as_they_were_promised(engine: Engine, tmp_path: Path) -> None:
    data = content("finished late", MiB)
    with started(["serve"], tmp_path, over(engine) | {"STOP_SECONDS": "30"}) as server, server.wire() as wire:
        location = begin(server, REPOSITORY)
        _send_most(server, wire, "PUT", f"{location}&digest={digest(data)}", data[:-1000], len(data))
        server.process.send_signal(signal.SIGTERM)
        time.sleep(6)
        wire.send(data[-1000:])

        assert wire.answer().status == 201
        assert server.process.wait(10) == 0


def test_abandoned_uploads_are_looked_for_where_jobs_are_done(engine: Engine, tmp_path: Path) -> None:
    with forwarding(engine.endpoint) as proxy, started(["serve"], tmp_path, over(engine, proxy.endpoint)):
        deadline = time.monotonic() + 20
        while not _looked(proxy) and time.monotonic() < deadline:
            time.sleep(0.1)

        assert _looked(proxy)


def test_abandoned_uploads_are_not_looked_for_where_others_do_that(engine: Engine, tmp_path: Path) -> None:
    with forwarding(engine.endpoint) as proxy:
        with started(["serve"], tmp_path, over(engine, proxy.endpoint) | {"JOBS": "false"}):
            time.sleep(2)

        assert proxy.snapshot()
        assert not _looked(proxy)


def _looked(proxy: Proxy) -> bool:
    return any(exchange.operation == "ListMultipartUploads" for exchange in proxy.snapshot())


def _send_most(server: Server, wire: Wire, method: str, target: str, most: bytes, size: int) -> None:
    """Send a request but for the end of its body, and wait until the server has read so far."""
    wire.send(request(method, target, server.admin | {"Content-Length": str(size), "Expect": "100-continue"}))
    assert wire.answer().status == 100
    wire.send(most)
    time.sleep(0.4)


def test_port_that_is_taken_is_said(engine: Engine, tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = str(taken.getsockname()[1])
        message = _refusal(["serve", "--port", port], tmp_path, over(engine))

    assert f"port {port}" in message
    assert "PORT=" in message


def test_host_that_is_not_here_is_said(engine: Engine, tmp_path: Path) -> None:
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


def test_missing_table_is_said(engine: Engine, tmp_path: Path) -> None:
    message = _refusal(["serve"], tmp_path, _over_dynamodb(engine, "another-table"))

    assert "table 'another-table'" in message
    assert "ROADSTEAD_TABLE" in message


def test_missing_service_of_the_table_is_said(engine: Engine, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    variables = _over_dynamodb(engine, "any") | {"AWS_ENDPOINT_URL_DYNAMODB": f"http://{HOST}:{port}"}
    message = _refusal(["serve"], tmp_path, variables)

    assert "AWS_ENDPOINT_URL_DYNAMODB" in message


def _over_dynamodb(engine: Engine, table: str) -> dict[str, str]:
    return over(engine) | {"AWS_ENDPOINT_URL_DYNAMODB": engine.endpoint, "ROADSTEAD_TABLE": table}


def test_two_servers_over_one_table_have_one_directory(engine: Engine, tmp_path: Path) -> None:
    credentials = Credentials(engine.access_key, engine.secret_key)
    make_table(dynamo_client(engine.region, engine.endpoint, credentials), "directory")
    variables = _over_dynamodb(engine, "directory")
    with (
        started(["serve"], tmp_path / "one", variables) as one,
        started(["serve"], tmp_path / "two", variables) as two,
    ):
        refused = one.ask("POST", "/v2/shared/app/blobs/uploads/")
        made = two.ask(
            "POST",
            "/api/v2.0/projects",
            two.admin | {"Content-Type": "application/json"},
            b'{"project_name": "shared"}',
        )
        for blob in (CONFIG, LAYER):
            push_blob(one, "shared/app", blob)
        push_manifest(one, "shared/app", "v1", IMAGE)

        assert (refused.status, made.status) == (404, 201)
        assert two.ask("GET", "/v2/shared/app/manifests/v1").body == IMAGE
        assert two.ask("GET", "/v2/shared/app/manifests/v1", {}).status == 401
        assert two.ask("GET", "/api/v2.0/projects/library").status == 200


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


def test_s3_that_does_not_answer_is_unavailable_and_back_when_it_does(engine: Engine, tmp_path: Path) -> None:
    with forwarding(engine.endpoint) as proxy, started(["serve"], tmp_path, over(engine, proxy.endpoint)) as server:
        for blob in (CONFIG, LAYER):
            push_blob(server, REPOSITORY, blob)
        push_manifest(server, REPOSITORY, "v1", IMAGE)
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


def test_terminal_without_arrows_gets_its_lines_and_clients_their_answers(engine: Engine, tmp_path: Path) -> None:
    with started(["serve"], tmp_path, over(engine) | {"PYTHONIOENCODING": "ascii"}) as server:
        answer = server.ask("POST", f"{UPLOADS}?digest={digest(LAYER)}", None, LAYER)

        assert answer.status == 201
        assert "201  POST" in server.out()
