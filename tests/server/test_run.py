"""`roadstead run` for real, with its own S3 service: what it shows, what it keeps, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.engines.process import HOST, free_ports
from tests.server.pushing import (
    MiB,
    begin,
    content,
    digest,
    image,
    pull_blob,
    pulled,
    push_blob,
    push_chunked,
    push_manifest,
)
from tests.server.running import Server, environment, launched, started

REPOSITORY = "library/run"
LAYERS = (content("small", 5000), content("large", 17 * MiB))
IMAGE = (image(b"{}", LAYERS), b"{}", *LAYERS)
_PASSWORD = re.compile(r"password   (\S+)")
# A guard, not a measure: a machine that is busy may take its time.
_END_SECONDS = 60.0


@contextmanager
def running(folder: Path, **variables: str) -> Iterator[Server]:
    with started(["run"], folder, variables) as server:
        yield server


def _push(server: Server) -> None:
    for blob in (b"{}", LAYERS[0]):
        push_blob(server, REPOSITORY, blob)
    push_chunked(server, REPOSITORY, [LAYERS[1][: 12 * MiB], LAYERS[1][12 * MiB :]])
    push_manifest(server, REPOSITORY, "v1", IMAGE[0])


def _await(what: Callable[[], bool], seconds: float = _END_SECONDS) -> bool:
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _processes(folder: Path) -> list[str]:
    """Return the command lines of all processes that have to do with a folder."""
    listed = subprocess.run(["ps", "-A", "-ww", "-o", "args="], capture_output=True, text=True, check=True)
    return [line for line in listed.stdout.splitlines() if str(folder) in line]


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_everything_outlives_a_clean_end_and_a_kill_and_settings_are_honoured(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        shown = _PASSWORD.search(server.out())
        assert shown
        password = shown[1]
        owner = replace(server, password=password)
        _push(owner)
        assert tuple(pulled(owner, REPOSITORY, "v1")) == IMAGE
        _check_secrets(tmp_path / "data", password)
        _check_second_server(tmp_path)
        _check_end(owner, signal.SIGINT)

    with running(tmp_path) as server:
        assert password not in server.out() + server.err()
        assert "admin-password" in server.out()
        owner = replace(server, password=password)
        assert tuple(pulled(owner, REPOSITORY, "v1")) == IMAGE
        after = content("acknowledged before the kill", 3 * MiB)
        push_blob(owner, REPOSITORY, after)
        server.process.kill()
        server.process.wait()
        assert _await(lambda: not _processes(tmp_path)), _processes(tmp_path)

    (port,) = free_ports(1)
    with running(tmp_path, PORT=str(port), ROADSTEAD_ADMIN_PASSWORD="open sesame") as server:
        assert server.address == (HOST, port)
        assert "open sesame" not in server.out() + server.err()
        assert server.ask("GET", "/v2/", replace(server, password=password).admin).status == 401
        assert tuple(pulled(server, REPOSITORY, "v1")) == IMAGE
        assert pull_blob(server, REPOSITORY, digest(after)).body == after
        _check_end(server, signal.SIGTERM)


def _check_secrets(data: Path, password: str) -> None:
    """Check that the secrets are kept, and kept from others."""
    assert (data / "admin-password").read_text().strip() == password
    keys = [path for path in data.rglob("*") if path.name in {"admin-password", "signing-key", "keys.json"}]
    assert len(keys) == 3
    assert {_mode(path) for path in (*keys, data / "s3" / "identities.json")} == {0o600}
    assert len(password) >= 20


def _check_second_server(folder: Path) -> None:
    with launched(["run"], folder / "second", {"DATA": str(folder / "data")}) as second:
        assert second.process.wait(_END_SECONDS) == 1
        assert "another roadstead is running" in second.err()
        assert str(folder / "data") in second.err()
        assert "Traceback" not in second.err()


def _check_end(server: Server, number: signal.Signals) -> None:
    """End as a terminal does, which tells every process of the foreground."""
    os.killpg(server.process.pid, number)
    assert server.process.wait(_END_SECONDS) == 0
    assert "Stopped." in server.out()
    assert server.err() == ""
    assert _processes(server.folder) == []


@pytest.mark.parametrize("after", [0.0, 1.0])
def test_signal_while_storage_starts_leaves_nothing_running(tmp_path: Path, after: float) -> None:
    with launched(["run"], tmp_path, {}) as server:
        assert _await(lambda: "Starting storage" in server.out(), 30)
        time.sleep(after)
        server.process.send_signal(signal.SIGINT)
        # It ends when it is through with what it imports, which is a machine's business.
        server.process.wait(60)

        assert "Traceback" not in server.err()
        assert _await(lambda: not _processes(tmp_path)), _processes(tmp_path)


@pytest.mark.soak
def test_every_kill_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    acknowledged: list[bytes] = []
    for round_ in range(8):
        with running(tmp_path, ROADSTEAD_ADMIN_PASSWORD="open sesame") as server:
            for blob in acknowledged:
                assert server.ask("HEAD", f"/v2/{REPOSITORY}/blobs/{digest(blob)}").status == 200
            for number in range(5):
                blob = content(f"{round_} {number}", (number + 1) * MiB)
                push_blob(server, REPOSITORY, blob)
                acknowledged.append(blob)
            config = content(f"config {round_}", 100)
            push_blob(server, REPOSITORY, config)
            push_manifest(server, REPOSITORY, "moving", image(config, acknowledged))
            assert len(tuple(pulled(server, REPOSITORY, "moving"))) == 2 + len(acknowledged)
            server.process.kill()
            server.process.wait()
            assert _await(lambda: not _processes(tmp_path))


@pytest.mark.soak
def test_upload_goes_on_after_a_kill(tmp_path: Path) -> None:
    data = content("goes on", 40 * MiB)
    with running(tmp_path, ROADSTEAD_ADMIN_PASSWORD="open sesame") as server:
        location = begin(server, REPOSITORY)
        answer = server.ask("PATCH", location, None, data[: 20 * MiB])
        assert answer.status == 202
        server.process.kill()
    with running(tmp_path, ROADSTEAD_ADMIN_PASSWORD="open sesame") as server:
        status = server.ask("GET", answer.header("location"))
        assert status.header("range") == f"0-{20 * MiB - 1}"
        done = server.ask("PUT", f"{status.header('location')}&digest={digest(data)}", None, data[20 * MiB :])

        assert done.status == 201


def test_the_index_is_made_anew_beside_a_running_server(tmp_path: Path) -> None:
    with running(tmp_path, ROADSTEAD_ADMIN_PASSWORD="Open5esame") as server:
        config = content("config", 100)
        push_blob(server, REPOSITORY, config)
        push_manifest(server, REPOSITORY, "v1", image(config, []))
        with sqlite3.connect(server.folder / "data" / "directory.sqlite") as database:
            database.execute("DELETE FROM records WHERE pk LIKE 'repositories/%' OR pk LIKE 'indexed/%'")
        assert server.ask("GET", "/api/v2.0/projects/library/repositories").body == b"[]"

        command = [sys.executable, "-m", "chalicelib.cli.main", "reindex", "--data", str(server.folder / "data")]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())

        assert "done in" in done.stdout
        assert b"library/run" in server.ask("GET", "/api/v2.0/projects/library/repositories").body
