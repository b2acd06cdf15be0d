"""What several requests of one process want at once is found out once, and is good for a while.

Invariants:
* Of those who ask for one key together, one finds out and the others wait for what it found.
* What is remembered is bounded in number; whoever shares something large keeps it elsewhere.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from datetime import datetime, timedelta
from threading import Lock
from typing import Any

_MOST = 4096


class _Slot:
    """What was found of one key, and when."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.value: Any = None
        self.found: datetime | None = None
        self.until: datetime | None = None


class Shared:
    """Things by their keys, for any number of threads."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._lock = Lock()
        self._slots: OrderedDict[Hashable, _Slot] = OrderedDict()

    def get(self, key: Hashable, now: Callable[[], datetime], find: Callable[[], tuple[Any, timedelta]]) -> Any:
        """Return what was found of late, or find it now; `find` returns for how long it is good, too.

        What is good for no time at all is not remembered.
        """
        slot = self._slot(key)
        with slot.lock:
            # Asked here, since whoever waited for another comes later than it asked.
            moment = now()
            if slot.found is None or slot.until is None or not slot.found <= moment < slot.until:
                found, lasting = find()
                slot.value = found if lasting else None
                slot.found = now()
                slot.until = slot.found + lasting
                return found
            return slot.value

    def keep(self, key: Hashable, value: Any, now: datetime, lasting: timedelta) -> None:
        """Remember something that was found otherwise."""
        slot = self._slot(key)
        with slot.lock:
            slot.value, slot.found, slot.until = value, now, now + lasting

    def known(self, key: Hashable, now: datetime) -> Any:
        """Return what is remembered of a key, or None; nothing is found out."""
        with self._lock:
            slot = self._slots.get(key)
        if slot is None or slot.found is None or slot.until is None or not slot.found <= now < slot.until:
            return None
        return slot.value

    def _slot(self, key: Hashable) -> _Slot:
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
            self._slots.move_to_end(key)
            while len(self._slots) > self._most:
                self._slots.popitem(last=False)
            return slot

    def forget(self, key: Hashable) -> None:
        """Have the next who asks find it out anew."""
        with self._lock:
            self._slots.pop(key, None)
