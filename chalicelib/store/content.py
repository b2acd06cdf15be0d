"""What the modules of content share: the objects, a pool for requests side by side, and the clock.

`blobs`, `manifests` and `uploads` are functions over a `Content`; they hold the rules of consistency.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol, TypeVar

from chalicelib.store.objects import ConditionFailedError, ObjectStore

if TYPE_CHECKING:
    from concurrent.futures import Executor

# As Harbor's: the collector's window.
GRACE = timedelta(hours=2)

T = TypeVar("T")
R = TypeVar("R")


class Sight(Protocol):
    """Tells what is here, where bytes may be linked and not have arrived."""

    def has(self, key: str) -> bool:
        """Tell whether the bytes at a key are here."""

    @property
    def is_whole(self) -> bool:
        """Tell whether everything that is linked is here."""


@dataclass(frozen=True, slots=True)
class Content:
    """Everything that rules about content work with."""

    objects: ObjectStore
    pool: "Executor"
    now: Callable[[], datetime]
    # How long what nothing refers to is left alone; who is told that it is there may build on it for half of that.
    grace: timedelta = GRACE
    # Set where there are several regions (store.regions).
    sight: "Sight | None" = None

    def has(self, key: str) -> bool:
        """Tell whether the bytes that an entry or a link leads to are here."""
        return self.sight is None or self.sight.has(key)

    @property
    def is_whole(self) -> bool:
        """Tell whether whatever is linked is known to be here."""
        return self.sight is None or self.sight.is_whole

    def drop(self, key: str, etag: str) -> bool:
        """Delete an object that still has this entity tag; tell whether that was done."""
        try:
            self.objects.delete_if(key, etag)
        except ConditionFailedError:
            return False
        return True

    @contextmanager
    def meanwhile(self, action: Callable[[], object]) -> Iterator[None]:
        """Do `action` beside what is done within; when that ends it is done, or raises."""
        under_way = self.pool.submit(action)
        try:
            yield
        finally:
            under_way.result()

    def together(self, action: Callable[[T], R], items: Iterable[T]) -> tuple[R, ...]:
        """Do `action` on every item side by side; return the results in order or raise the first failure.

        When this returns or raises, all are done: no write goes on behind an answer. `action` must not call this
        again: the pool is shared, and waiting inside it for itself could block it.
        """
        from concurrent.futures import wait  # noqa: PLC0415 - a pull does one thing after another

        under_way = [self.pool.submit(action, item) for item in items]
        wait(under_way)
        return tuple(future.result() for future in under_way)
