"""What this region is, as its bucket says, and what the primary's bucket has that is not here.

Invariants:
* The state is an object of the region's own bucket, and no pull needs more to know it. Whoever changes it saw what it
  was before.
* The fence is a record of the table, whose global copies carry it to every region.
* Bytes that were seen here are taken to be here for as long as the URL of a blob is good.
* The other region's bucket is read and never written. Where it does not answer, nobody waits for it again for some
  seconds, and what was asked for is UNAVAILABLE: whether the primary has it is not known.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import orjson

from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.policy import regions as rules
from chalicelib.policy.regions import BELIEVED, Fence, Role, Standing, State
from chalicelib.store import layout
from chalicelib.store.blobs import JSON
from chalicelib.store.connections import Patience
from chalicelib.store.content import Content
from chalicelib.store.meters import Remembered
from chalicelib.store.objects import ObjectStore
from chalicelib.store.table import ABSENT, If, Key, Put, RefusedError

if TYPE_CHECKING:
    from chalicelib.store.table import Table

T = TypeVar("T")

IMPATIENT = Patience(attempts=2, seconds=3)
_SEEN = timedelta(minutes=5)
_MOST_SEEN = 20_000
_DOWN = timedelta(seconds=5)
_FENCE = Key("regions/", "primary")
_CHANGED = "another promotion came first: look at the status of the regions"


@dataclass(frozen=True, slots=True)
class Peer:
    """The other region: what is in its bucket, the URL by which a client may do a method on a key, its registry."""

    content: Content
    address: Callable[[str, str], str]
    url: str


class Stored(NamedTuple):
    """A state as it was read; `etag` is "" where the bucket says nothing."""

    state: State
    etag: str


@dataclass
class _Noticed:
    """What a process noticed: which bytes are here, and since when the other region does not answer."""

    seen: dict[str, datetime] = field(default_factory=dict)
    down: datetime | None = None


@dataclass(frozen=True, slots=True)
class Region:
    """This region; for any number of threads."""

    name: str
    begins: State
    objects: ObjectStore
    table: "Table"
    now: Callable[[], datetime]
    peer: Peer | None = None
    _states: Remembered[State] = field(default_factory=lambda: Remembered(BELIEVED))
    _fences: Remembered[Fence | None] = field(default_factory=lambda: Remembered(BELIEVED))
    _noticed: _Noticed = field(default_factory=_Noticed)

    def read(self) -> Stored:
        """Return what the region is now."""
        return stored(self.objects, self.begins)

    @property
    def begins_as_replica(self) -> bool:
        """Tell whether the region was made as a copy of the other one."""
        return self.begins.role is Role.REPLICA

    def state(self) -> State:
        """Return what the region is, or was a moment ago."""
        return self._states.get(self.now(), lambda: self.read().state)

    @property
    def is_copy(self) -> bool:
        """Tell whether another region is the primary."""
        return self.state().role is not Role.PRIMARY

    @property
    def is_whole(self) -> bool:
        """Tell whether the region never was a copy: whatever is linked is here."""
        return self.state().whole

    def has(self, key: str) -> bool:
        """Tell whether the bytes at a key are here; of a region that never was a copy that is known."""
        if self.is_whole:
            return True
        now, seen = self.now(), self._noticed.seen
        if key in seen and now - seen[key] < _SEEN:
            return True
        if self.objects.head(key) is None:
            return False
        if len(seen) >= _MOST_SEEN:
            seen.clear()
        seen[key] = now
        return True

    def standing(self) -> Standing:
        """Return whether the region takes writes, as it was a moment ago; raise OSError."""
        now = self.now()
        state = self.state()
        if state.role is not Role.PRIMARY:
            return rules.standing(state, None, self.name, now)
        return rules.standing(state, self._fences.get(now, self.fence), self.name, now)

    @property
    def takes_writes(self) -> bool:
        """Tell whether the region takes writes, as it was a moment ago; raise OSError."""
        return self.standing() is Standing.OPEN

    def standing_now(self) -> Standing:
        """Return whether the region takes writes; raise OSError."""
        return rules.standing(self.read().state, self.fence(), self.name, self.now())

    def check_writes(self) -> None:
        """Raise DENIED where another region takes writes, UNAVAILABLE in the moment after a promotion, or OSError."""
        standing = self.standing()
        if standing is Standing.OPEN:
            return
        if standing is Standing.OPENING:
            words = f"the region {self.name} was just promoted and takes writes within seconds: try again"
            raise RegistryError(ErrorCode.UNAVAILABLE, words, headers={"Retry-After": "15"})
        if standing is Standing.UNKNOWN:
            words = (
                f"the table does not know the region {self.name} as the primary: roadstead region promote ends that"
            )
            raise RegistryError(ErrorCode.DENIED, words)
        where = self.peer.url if self.peer and self.peer.url else "the primary region"
        words = f"the region {self.name} is a copy that takes no changes: push to {where}, and change things there"
        raise RegistryError(ErrorCode.DENIED, words)

    def elsewhere(self, do: Callable[[Content], T], what: object) -> T:
        """Return what the primary's bucket has; raise what that raises, or UNAVAILABLE where it does not answer."""
        noticed, now = self._noticed, self.now()
        if self.peer is None or (noticed.down and noticed.down <= now < noticed.down + _DOWN):
            raise self._not_here(what)
        try:
            return do(self.peer.content)
        except RegistryError as error:
            if error.code is not ErrorCode.UNAVAILABLE:
                raise
            noticed.down = now
            raise self._not_here(what) from error

    def address(self, method: str, key: str) -> str:
        """Return the URL by which a client may do a method on a key of the other bucket, which was just read."""
        assert self.peer
        return self.peer.address(method, key)

    def _not_here(self, what: object) -> RegistryError:
        words = f"{what} has not arrived in the region {self.name}, and the primary does not answer: try again later"
        return RegistryError(ErrorCode.UNAVAILABLE, words, headers={"Retry-After": "30"})

    def fence(self) -> Fence | None:
        """Return the last promotion that the table knows of; raise OSError."""
        found = self.table.get(_FENCE)
        return Fence(found.document["epoch"], found.document["primary"]) if found else None

    def put(self, state: State, etag: str) -> None:
        """Let the region be something else than it was under `etag`; raise ConditionFailedError."""
        content = orjson.dumps(state.document())
        self.objects.put(layout.role(), content, content_type=JSON, if_absent=not etag, if_match=etag)
        self._states.forget()

    def lag_here(self) -> float | None:
        """Return how many seconds ago the latest sign of life was made that arrived here, None without any."""
        keys = [entry.key for entry in self.objects.list(layout.HEARTBEATS).entries]
        found = [self.objects.get(key) for key in keys if key != layout.heartbeat(self.name)]
        return min((_age(each.content, self.now()) for each in found if each), default=None)

    def lag_there(self) -> float | None:
        """Return the same of this region's signs in the other bucket; raise UNAVAILABLE."""
        found = self.elsewhere(lambda there: there.objects.get(layout.heartbeat(self.name)), "the last sign of life")
        return _age(found.content, self.now()) if found else None

    def beat(self) -> None:
        """Show that the primary is alive: elsewhere it tells how late copies are."""
        content = orjson.dumps({"time": self.now().isoformat(), "epoch": self.state().epoch})
        self.objects.put(layout.heartbeat(self.name), content, content_type=JSON)


def _age(content: bytes, now: datetime) -> float:
    moment = datetime.fromisoformat(orjson.loads(content)["time"])
    return max(0.0, (now - moment).total_seconds())


def stored(objects: ObjectStore, begins: State) -> Stored:
    """Return what the region of a bucket is; where the bucket says nothing, what it is to begin with."""
    found = objects.get(layout.role())
    return Stored(rules.parse(orjson.loads(found.content)), found.head.etag) if found else Stored(begins, "")


def put_fence(table: "Table", fence: Fence) -> None:
    """Let the table know of a promotion; raise RefusedError where another one came first, or OSError."""
    found = table.get(_FENCE)
    document = {"epoch": fence.epoch, "primary": fence.primary}
    if found and found.document == document:
        return
    if found and found.document["epoch"] >= fence.epoch:
        raise RefusedError([_CHANGED])
    table.commit(Put(_FENCE, document, If(etag=found.etag) if found else ABSENT, _CHANGED))
