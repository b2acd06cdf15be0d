"""Jobs in the running server: started over the API, done by its threads, and gone on with by the next server."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.engines.engine import Engine
from tests.server.running import Server, over, started

PURGE = "/api/v2.0/system/purgeaudit"
NOW = {
    "schedule": {"type": "Manual"},
    "parameters": {"audit_retention_hour": 24, "include_event_types": "create_artifact"},
}

pytestmark = pytest.mark.usefixtures("s3")


def begin(server: Server) -> str:
    content = json.dumps(NOW).encode()
    answer = server.ask("POST", f"{PURGE}/schedule", {**server.admin, "Content-Length": str(len(content))}, content)
    assert answer.status == 201, answer.body
    return answer.headers["location"][0].rpartition("/")[2]


def shown(server: Server, number: str) -> Any:
    return json.loads(server.ask("GET", f"{PURGE}/{number}").body)


def await_success(server: Server, number: str) -> None:
    deadline = time.monotonic() + 60
    while (status := shown(server, number)["job_status"]) != "Success":
        assert time.monotonic() < deadline, status
        time.sleep(0.1)
    assert b"removed 0 entries" in server.ask("GET", f"{PURGE}/{number}/log").body


def test_a_job_that_is_started_is_done(engine: Engine, tmp_path: Path) -> None:
    with started(["serve"], tmp_path, over(engine)) as server:
        await_success(server, begin(server))


def test_what_a_killed_server_left_is_done_by_the_next_one(engine: Engine, tmp_path: Path) -> None:
    with started(["serve"], tmp_path, over(engine) | {"JOBS": "false"}) as server:
        number = begin(server)
        assert shown(server, number)["job_status"] == "Running"
        server.end(signal.SIGKILL)

    with started(["serve"], tmp_path, over(engine)) as server:
        await_success(server, number)
