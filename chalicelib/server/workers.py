"""The workers of jobs in this process: threads that take tasks from its queue, where no queue of AWS has them.

Invariant: one that is asked to stop lets the step under way return, and leaves the rest of its task to whoever runs
next. A step that does not return is left behind when the process ends; another worker repeats it.
"""

import asyncio
import logging
import threading

from chalicelib.jobs import engine
from chalicelib.services import Services
from chalicelib.store.queue import MemoryQueue

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5


class Workers:
    """Threads that do tasks until they are stopped."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._stopping = threading.Event()
        queue = services.directory.queue
        # A thread that hangs must not keep the process from ending.
        self._threads = [
            threading.Thread(target=self._work, args=(queue,), name=f"job-{number}", daemon=True)
            for number in range(queue.workers if isinstance(queue, MemoryQueue) else 0)
        ]
        for thread in self._threads:
            thread.start()

    def _work(self, queue: MemoryQueue) -> None:
        while not self._stopping.is_set():
            task_id = queue.take(_LOOK_SECONDS)
            if task_id is None:
                continue
            try:
                engine.work(self._services, task_id, lambda: not self._stopping.is_set())
            except Exception:
                # Whatever happened to one task, the thread goes on with others: nobody would begin it anew.
                log.exception("task %d was left; it is looked at again within minutes", task_id)

    async def stop(self, seconds: float) -> None:
        """Let steps under way return, but wait no longer than so many seconds."""
        self._stopping.set()
        joining = (asyncio.to_thread(thread.join, seconds) for thread in self._threads)
        await asyncio.gather(*joining)
