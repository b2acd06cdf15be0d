"""Servers under test: started as a user starts them, in a process of their own, and ended by process id.

* A server started here is gone when its block ends, whatever happened inside.
* Its environment is made here: nothing of the developer's own reaches it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.engines.engine import Engine
from tests.engines.process import HOST, StartError, stop
from tests.harbor import schema
from tests.server.wire import Answer, Wire, basic, connected

BUCKET = "harbour-of-bytes"
PASSWORD = "correct horse battery staple"
SIGNING_KEY = "5ec4e7" * 10 + "5ec4"
ROOT = Path(__file__).parents[2]
_READY = re.compile(r"ready at http://([0-9.]+):(\d+)")
_START_SECONDS = 60.0
_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Server:
    """A server process and where it writes."""

    process: subprocess.Popen[bytes]
    folder: Path
    address: tuple[str, int] = (HOST, 0)
    password: str = PASSWORD

    @property
    def url(self) -> str:
        return "http://{}:{}".format(*self.address)

    @property
    def admin(self) -> dict[str, str]:
        """Return the headers of the administrator."""
        return {"Authorization": basic("admin", self.password)}

    def out(self) -> str:
        return (self.folder / "out.log").read_text(errors="replace")

    def err(self) -> str:
        return (self.folder / "err.log").read_text(errors="replace")

    def ask(self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Answer:
        """Ask on a connection of its own, as the administrator where no headers are given."""
        with connected(self.address) as wire:
            answer = wire.ask(method, target, self.admin if headers is None else headers, body)
        schema.check(method, target.partition("?")[0], answer.status, answer.headers, answer.body)
        return answer

    @contextmanager
    def wire(self) -> Iterator[Wire]:
        with connected(self.address) as wire:
            yield wire

    def end(self, number: signal.Signals, seconds: float = 60.0) -> int:
        """Send a signal and return the exit status; the seconds are a guard."""
        self.process.send_signal(number)
        return self.process.wait(seconds)


def environment(**variables: str) -> dict[str, str]:
    """Return an environment with nothing in it but what is said here."""
    return {"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", **variables}


def over(engine: Engine, endpoint: str = "") -> dict[str, str]:
    """Return the variables of a server over a bucket of this engine, or of a proxy in front of it."""
    return {
        **engine.environment(),
        "AWS_ENDPOINT_URL_S3": endpoint or engine.endpoint,
        "ROADSTEAD_BUCKET": BUCKET,
        "ROADSTEAD_ADMIN_PASSWORD": PASSWORD,
        "ROADSTEAD_SIGNING_KEY": SIGNING_KEY,
    }


def table_of(folder: Path) -> str:
    """Return the setting of a directory in a folder."""
    return f"file:{folder / 'directory.sqlite'}"


def _own(folder: Path) -> dict[str, str]:
    """Return the variables that keep a server, its directory too, in one folder."""
    return {
        "HOME": str(folder),
        "DATA": str(folder / "data"),
        "PORT": "0",
        "ROADSTEAD_TABLE": table_of(folder),
    }


@contextmanager
def launched(arguments: Sequence[str], folder: Path, variables: Mapping[str, str]) -> Iterator[Server]:
    """Start `roadstead` with these arguments and do not wait for it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "out.log").open("wb") as out, (folder / "err.log").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "chalicelib.cli.main", *arguments],
            cwd=ROOT,
            env=environment(**(_own(folder) | dict(variables))),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
    try:
        yield Server(process, folder)
    finally:
        stop(process, grace=5)


@contextmanager
def started(arguments: Sequence[str], folder: Path, variables: Mapping[str, str]) -> Iterator[Server]:
    """Start `roadstead` and wait until it says that it is ready."""
    with launched(arguments, folder, variables) as server:
        yield Server(server.process, folder, await_ready(server), variables.get("ROADSTEAD_ADMIN_PASSWORD", ""))


def await_ready(server: Server) -> tuple[str, int]:
    """Return the address that the server says it listens on."""
    deadline = time.monotonic() + _START_SECONDS
    while not (found := _READY.search(server.out() + server.err())):
        if server.process.poll() is not None or time.monotonic() > deadline:
            raise StartError(f"not ready: {server.out()}{server.err()}")
        time.sleep(_POLL_SECONDS)
    return found[1], int(found[2])


def secrets_in(server: Server) -> list[str]:
    """Return the secrets, and the marks of signed addresses, that are in anything the server wrote."""
    written = server.out() + server.err()
    token = server.admin["Authorization"].removeprefix("Basic ")
    return [
        secret for secret in (PASSWORD, SIGNING_KEY, token, "_state=", "X-Amz-Signature", "?") if secret in written
    ]
