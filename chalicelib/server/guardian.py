"""Runs one program and ends it when the process that asked for it is gone, however that one ended.

The parent holds the other end of standard input: its death, even by kill -9, closes the pipe. Portable, where a
process group or a parent-death signal is not. A lock that the parent took is handed on to the program, so that it is
free when the program is gone and not before.
"""

import signal
import subprocess
import sys
import threading
from types import FrameType

_GRACE_SECONDS = 1


def main(lock: int, command: list[str]) -> int:
    """Run `command`, which keeps the descriptor `lock` open, until it or standard input ends; return its status."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(lock,))  # noqa: S603 - the caller's own
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _signal, _frame: end(child))
    threading.Thread(target=_end_with_parent, args=(child,), daemon=True).start()
    return child.wait()


def _end_with_parent(child: "subprocess.Popen[bytes]") -> None:
    while sys.stdin.buffer.read(4096):
        pass
    end(child)


def end(child: "subprocess.Popen[bytes]", _frame: FrameType | None = None) -> None:
    """Ask the program to end, then make it."""
    child.terminate()
    try:
        child.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
