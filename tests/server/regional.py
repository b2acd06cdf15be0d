"""Two regions as processes: what copies one bucket to the other, and a way between them that can be shut."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from chalicelib.store import layout
from tests.engines import Engine, s3_client
from tests.engines.process import HOST

COPIED = (layout.DATA, layout.BLOBS, layout.REPOSITORIES, layout.CATALOG, layout.HEARTBEATS)


class Gate:
    """An address that leads to another one while it is open."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or HOST, parts.port or 80)
        self._listening = socket.create_server((HOST, 0))
        self.endpoint = f"http://{HOST}:{self._listening.getsockname()[1]}"
        self._open = threading.Event()
        self._open.set()

    def shut(self) -> None:
        """Let nobody through any more."""
        self._open.clear()

    def open(self) -> None:
        """Let everybody through."""
        self._open.set()

    def serve(self) -> None:
        """Accept connections until the end."""
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            if not self._open.is_set():
                near.close()
                continue
            far = socket.create_connection(self._upstream)
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while self._open.is_set() and (data := source.recv(1 << 16)):
                if not self._open.is_set():
                    break
                target.sendall(data)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def end(self) -> None:
        """Be no address any more."""
        self._open.clear()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


@contextmanager
def gate(upstream: str) -> Iterator[Gate]:
    """Run a gate in a thread of this process."""
    made = Gate(upstream)
    thread = threading.Thread(target=made.serve, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.end()
        thread.join()


@dataclass
class Replicator:
    """Copies one bucket to another, each change some time after it was made and in no order."""

    source: Engine
    target: Engine
    bucket: str
    longest_seconds: float
    random: random.Random
    _seen: dict[str, str] = field(default_factory=dict)
    _due: list[tuple[float, str]] = field(default_factory=list)
    _cut: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Go on until it is cut."""
        with closing(s3_client(self.source)) as here, closing(s3_client(self.target)) as there:
            while not self._cut.is_set():
                self._look(here)
                now = time.monotonic()
                ready = [each for each in self._due if each[0] <= now]
                self._due = [each for each in self._due if each[0] > now]
                self.random.shuffle(ready)
                for _, key in ready:
                    if self._cut.is_set():
                        return
                    self._copy(here, there, key)

    def cut(self) -> None:
        """Copy nothing more."""
        self._cut.set()

    def _look(self, here: Any) -> None:
        found = dict(listed(here, self.bucket))
        for key in found.keys() | self._seen.keys():
            if found.get(key, "") != self._seen.get(key, ""):
                self._due.append((time.monotonic() + self.random.random() * self.longest_seconds, key))
        self._seen = found

    def _copy(self, here: Any, there: Any, key: str) -> None:
        try:
            found = here.get_object(Bucket=self.bucket, Key=key)
        except ClientError:
            there.delete_object(Bucket=self.bucket, Key=key)
            return
        there.put_object(
            Bucket=self.bucket,
            Key=key,
            Body=found["Body"].read(),
            ContentType=found["ContentType"],
            Metadata=found["Metadata"],
        )


def listed(s3: Any, bucket: str) -> Iterator[tuple[str, str]]:
    """Yield what is copied of a bucket, with entity tags."""
    pages = s3.get_paginator("list_objects_v2")
    for prefix in COPIED:
        for page in pages.paginate(Bucket=bucket, Prefix=prefix):
            yield from ((found["Key"], found["ETag"]) for found in page.get("Contents", ()))
