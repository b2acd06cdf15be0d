"""Two regions of one registry: two buckets, one table, and between the buckets what copies one to the other.

* `Copies` delivers as S3 may: each write by itself, in any order, any time later, more than once; of one key the
  latest write stays. A delete is a write too.
* The regions' processes share a clock. What a client gets of S3 is found by its URL: each bucket has its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from chalicelib.api.http import Response
from chalicelib.config import PeerSettings
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.services import Services
from chalicelib.store import layout
from chalicelib.store.content import Content
from chalicelib.store.regions import Peer, Region
from tests.api.asking import make_projects
from tests.memory import SETTINGS, Clock, Copy, Inline, MemoryObjects, located, services_over
from tests.store.client import PROJECTS, Client

COPIED = (layout.DATA, layout.BLOBS, layout.REPOSITORIES, layout.CATALOG, layout.HEARTBEATS)
FIRST, SECOND = "frankfurt", "paris"
URLS = {FIRST: "https://frankfurt.test", SECOND: "https://paris.test"}
_ELSEWHERE = "https://elsewhere.test/"


@dataclass
class Copies:
    """What is on its way from one bucket to another."""

    source: MemoryObjects
    target: MemoryObjects
    pending: list[tuple[int, Copy]] = field(default_factory=list)
    sent: list[tuple[int, Copy]] = field(default_factory=list)
    _last: dict[str, int] = field(default_factory=dict)
    _written: int = 0
    is_cut: bool = False

    def look(self) -> None:
        """Notice what was written."""
        for copy in self.source.written():
            self._written += 1
            if copy.key.startswith(COPIED) and not self.is_cut:
                self.pending.append((self._written, copy))

    def deliver(self, number: int) -> None:
        """Deliver one of those that are on their way."""
        if self.pending:
            self._take(self.pending.pop(number % len(self.pending)))

    def deliver_again(self, number: int) -> None:
        """Deliver something a second time."""
        if self.sent:
            self._take(self.sent[number % len(self.sent)])

    def deliver_all(self) -> None:
        """Deliver everything, the last first."""
        while self.pending:
            self.deliver(-1)

    def cut(self) -> None:
        """Lose what is on its way, and take nothing more: the bucket there refuses it."""
        self.is_cut, self.pending, self.sent = True, [], []

    def _take(self, sent: tuple[int, Copy]) -> None:
        moment, copy = sent
        self.sent.append(sent)
        if self._last.get(copy.key, 0) <= moment:
            self._last[copy.key] = moment
            self.target.take(copy)


class Way:
    """The way from one region to another one's bucket, which may be gone."""

    def __init__(self) -> None:
        self.is_open = True

    def before(self, operation: str, key: str) -> None:  # noqa: ARG002 - a hook has these parameters
        if not self.is_open:
            raise RegistryError(ErrorCode.UNAVAILABLE)


# What came of a pull that was led to bytes that are not there.
NOWHERE = -1


@dataclass
class Side:
    """A region: its bucket, a process, and the way to the other one's bucket."""

    name: str
    bucket: MemoryObjects
    other: MemoryObjects
    clock: Clock
    table_of: MemoryObjects
    begins_as_replica: bool
    own_table: bool = False
    way: Way = field(default_factory=Way)
    client: Client = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin a new process, which remembers nothing."""
        own, there = self.bucket.beside(), self.other.beside()
        there.before = self.way.before
        peer_url = next(url for name, url in URLS.items() if name != self.name)
        settings = replace(
            SETTINGS,
            region_name=self.name,
            begins_as_replica=self.begins_as_replica,
            takes_arrivals=self.own_table,
            peer=PeerSettings("there", "eu-1", peer_url),
        )
        peer = Peer(Content(there, Inline(), self.clock), lambda method, key: f"{_ELSEWHERE}{key}?{method}", peer_url)
        services = services_over(
            own, self.clock, pool=Inline(), settings=settings, table=self.table_of.table, peer=peer
        )
        self.client = Client(services, own, own)

    @property
    def services(self) -> Services:
        return self.client.services

    @property
    def region(self) -> Region:
        assert self.services.region
        return self.services.region

    def bytes_at(self, answer: Response) -> bytes | None:
        """Return what S3 gives a client that follows a redirect, or None for its 404."""
        where = answer.headers["Location"]
        bucket, key = (
            (self.other, where.removeprefix(_ELSEWHERE).partition("?")[0])
            if where.startswith(_ELSEWHERE)
            else (self.bucket, located(where))
        )
        found = bucket.beside().get(key)
        return found.content if found else None

    def pull_blob(self, repository: str, digest: Digest) -> bytes | int:
        """Return the bytes of a blob, or the status of the refusal, or NOWHERE, to which a redirect led."""
        answer = self.client.ask("GET", f"/v2/{repository}/blobs/{digest}")
        if answer.status != 307:
            return answer.status
        content = self.bytes_at(answer)
        if content is None:
            return NOWHERE
        assert Digest.of(content, digest.algorithm) == digest
        return content


@dataclass
class World:
    """Two regions, the first of which is the primary to begin with."""

    clock: Clock = field(default_factory=Clock)
    own_table: bool = False
    first: Side = field(init=False)
    second: Side = field(init=False)
    copies: Copies = field(init=False)

    def __post_init__(self) -> None:
        one, two = MemoryObjects(self.clock), MemoryObjects(self.clock)
        one.written()
        self.first = Side(FIRST, one, two, self.clock, one, begins_as_replica=False)
        table_of = two if self.own_table else one
        self.second = Side(SECOND, two, one, self.clock, table_of, begins_as_replica=True, own_table=self.own_table)
        self.copies = Copies(one, two)
        make_projects(self.first.services, PROJECTS)

    def arrive(self) -> None:
        """Let everything arrive."""
        self.copies.look()
        self.copies.deliver_all()
