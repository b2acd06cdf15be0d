"""ministack, the program, but with functions that change as Lambda's do. Runs in ministack's own environment.

Version 1.5.33 ends the process of a function at each change of it, with the request that it is answering; Lambda lets
it answer. So here a process that is answering is ended when it has answered, or when the function's time is over.

The test in tests/aws/test_emulator.py tells when a later version has no need of this.
"""

import sys
import time
from collections.abc import Sequence
from threading import Thread
from typing import Any

from ministack.app import main  # type: ignore[import-not-found] # of another environment
from ministack.core import lambda_runtime  # type: ignore[import-not-found]

_POLL_SECONDS = 0.01
_end = lambda_runtime.kill_workers


def end_when_done(workers: Sequence[Any]) -> None:
    """End processes that nobody else is handed: idle ones now, each of the others after its answer."""
    there = [each for each in workers if each is not None]
    _end([each for each in there if not each.in_use])
    for each in there:
        if each.in_use:
            Thread(target=_wait_and_end, args=(each,), daemon=True).start()


def _wait_and_end(worker: Any) -> None:
    latest = time.monotonic() + float(worker.config.get("Timeout", 3))
    while worker.in_use and time.monotonic() < latest:
        time.sleep(_POLL_SECONDS)
    _end([worker])


lambda_runtime.kill_workers = end_when_done
sys.exit(main())
