"""Programs that tests start: free ports, a life bounded by a `with` block, readiness, and an end by process id.

* A program started here is gone when its block ends, with all it started, whatever happened inside the block;
  and when this process is killed.
* Nothing waits for a fixed time: readiness is a question asked until it is answered or the program has died.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

HOST = "127.0.0.1"
_POLL_SECONDS = 0.05
_PORTS = (12_000, 32_000)


class StartError(RuntimeError):
    """A program did not become ready; the message carries the end of what it wrote."""


def free_ports(count: int) -> tuple[int, ...]:
    """Return ports that nobody listens on now; below those that the system gives to outgoing connections."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(_bound(socket.socket())) for _ in range(count)]
        return tuple(one.getsockname()[1] for one in sockets)


def _bound(one: socket.socket) -> socket.socket:
    while True:
        with suppress(OSError):
            one.bind((HOST, random.randrange(*_PORTS)))
            return one


@contextmanager
def running(
    command: Sequence[str], *, environment: Mapping[str, str], directory: Path, grace: float = 5.0
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in a process group of its own, its output in `directory`/output.log."""
    with (directory / "output.log").open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    with ending(process, grace):
        yield process


@contextmanager
def ending(process: subprocess.Popen[bytes], grace: float = 0.0) -> Iterator[None]:
    """End a program, the leader of its process group, with the block; or with this process, should it be killed."""
    # The death of this process closes the pipe, which is what the watcher waits for.
    watcher = subprocess.Popen(
        ["sh", "-c", 'read -r _; kill -KILL "-$1"', "sh", str(process.pid)],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        stop(process, grace)
        watcher.kill()
        watcher.communicate()


def stop(process: subprocess.Popen[bytes], grace: float) -> None:
    """End the program and what it started: ask first, insist after `grace` seconds."""
    if grace:
        _signal_group(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace)
    # The group is signalled even when its leader has ended: children may have outlived it.
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, number)


def wait_ready(
    ready: Callable[[], object], process: subprocess.Popen[bytes], directory: Path, timeout: float = 60.0
) -> None:
    """Ask until `ready` returns without raising; give up when the program ends or time is up."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            ready()
        except Exception as error:
            if process.poll() is None and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
                continue
            raise StartError(f"{process.args!r} is not ready: {error}\n{_tail(directory)}") from error
        return


def _tail(directory: Path) -> str:
    text = (directory / "output.log").read_text(errors="replace")
    return "\n".join(text.splitlines()[-20:])
