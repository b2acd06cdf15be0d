"""Servers of ours that replicate to and from others, each over a bucket of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chalicelib.store.directory import Directory
from chalicelib.store.job_records import find_task
from chalicelib.store.sqlite import SqliteTable
from chalicelib.store.table import Delete, Put
from tests.engines import Engine, s3_client
from tests.server.pushing import digest, image, push_blob, push_manifest
from tests.server.running import PASSWORD, Server, over, started
from tests.server.wire import Answer

_WAIT, _POLL = 180.0, 0.2
CREDENTIAL = {"type": "basic", "access_key": "admin", "access_secret": PASSWORD}


def ask(server: Server, method: str, path: str, body: object = None) -> Answer:
    """Ask Harbor's API, as the administrator."""
    content = b"" if body is None else json.dumps(body).encode()
    headers = {**server.admin, "Content-Type": "application/json", "Content-Length": str(len(content))}
    return server.ask(method, f"/api/v2.0{path}", headers, content)


def made(server: Server, path: str, body: object) -> int:
    """Make something and return its id."""
    answer = ask(server, "POST", path, body)
    assert answer.status == 201, answer.body
    return int(answer.header("location").rpartition("/")[2])


def until(what: Callable[[], Any], seconds: float = _WAIT) -> Any:
    """Return what something gives once that is true of it."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(_POLL)
    return found


@contextmanager
def ours(engine: Engine, bucket: str, folder: Path) -> Iterator[Server]:
    """Start a server of ours over a bucket; twice over the same, it goes on where it was."""
    with closing(s3_client(engine)) as client:
        if bucket not in {each.get("Name") for each in client.list_buckets()["Buckets"]}:
            client.create_bucket(Bucket=bucket)
    settings = {**over(engine), "ROADSTEAD_BUCKET": bucket, "ROADSTEAD_PRIVATE_TARGETS": "127.0.0.0/8"}
    with started(["serve", "--json"], folder, settings) as server:
        yield server


def push(server: Server, repository: str, tag: str, *layers: bytes) -> str:
    config = json.dumps({"architecture": "arm64", "os": "linux", "name": f"{repository}:{tag}"}).encode()
    for blob in (config, *layers):
        push_blob(server, repository, blob)
    return push_manifest(server, repository, tag, image(config, layers))


def put(server: Server, repository: str, reference: str, document: object, media_type: str) -> str:
    body = json.dumps(document).encode()
    headers = {**server.admin, "Content-Type": media_type, "Content-Length": str(len(body))}
    answer = server.ask("PUT", f"/v2/{repository}/manifests/{reference or digest(body)}", headers, body)
    assert answer.status == 201, answer.body
    return digest(body)


def connect(server: Server, name: str, url: str, credential: object = None, kind: str = "docker-registry") -> int:
    """Let a server know another registry; return its id."""
    return made(server, "/registries", {"name": name, "type": kind, "url": url, "credential": credential})


def run(server: Server, policy: int) -> dict[str, Any]:
    """Run a policy to its end and return the execution."""
    return ended(server, made(server, "/replication/executions", {"policy_id": policy}))


def ended(server: Server, execution: int) -> dict[str, Any]:
    """Return an execution when it has ended."""

    def look() -> Any:
        found = ask(server, "GET", f"/replication/executions/{execution}").json()
        return found if found["status"] != "InProgress" else None

    found: dict[str, Any] = until(look)
    return found


def logs(server: Server, execution: int) -> str:
    """Return what the tasks of an execution logged."""
    tasks = ask(server, "GET", f"/replication/executions/{execution}/tasks").json()
    path = f"/replication/executions/{execution}/tasks/{{}}/log"
    return "".join(ask(server, "GET", path.format(each["id"])).body.decode() for each in tasks)


def let_lease_end(folder: Path, task_id: int) -> None:
    """Let the lease of a task's vanished worker be over, as it is after five minutes; the server must not run."""
    table = SqliteTable(str(folder / "directory.sqlite"), time.time)
    directory = Directory(table, lambda: datetime.now(UTC))
    task = find_task(directory, task_id)
    assert task is not None
    noted = table.get(task.due_key)
    assert noted is not None
    moved = type(task)(**{**task.document(), "until": 1, "due": 1, "kind": task.kind, "status": task.status})
    table.commit(Put(task.key, moved.document()), Delete(task.due_key), Put(moved.due_key, noted.document))
