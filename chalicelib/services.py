"""The composition root: settings in, everything that handlers work with out.

Nothing is connected here: clients are made at the first request that needs them.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import urlsplit

from chalicelib.config import FILE_TABLE, THROUGH_THE_SERVER, Settings
from chalicelib.oci.digests import Digest
from chalicelib.store.content import Content
from chalicelib.store.directory import Directory
from chalicelib.store.hashes import CarriedHashes
from chalicelib.store.index import Index
from chalicelib.store.meters import Remembered, RequestMeter
from chalicelib.store.objects import ObjectStore, S3Objects
from chalicelib.store.pulls import PullCounter
from chalicelib.store.queue import MemoryQueue, Queue
from chalicelib.store.shared import Shared
from chalicelib.store.signing import Credentials, Presigner

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from mypy_boto3_s3 import S3Client

    from chalicelib.store.conversing import Conversations
    from chalicelib.store.fetching import Fetches
    from chalicelib.store.figures import Figures
    from chalicelib.store.regions import Peer, Region
    from chalicelib.store.sqs import SqsQueue
    from chalicelib.store.table import Table

_POOL = 32
_LOCATION_SECONDS = 900
# What a redirect through the server itself adds to a presigned URL, and takes off again (server.downloads).
DIGEST_MARK = "_digest"


class Locate(Protocol):
    """Makes the URL by which a client may do a method on a key, whose content has a digest."""

    def __call__(self, method: str, key: str, digest: Digest) -> str:
        """Return the URL; it is good for a quarter of an hour."""


@dataclass(frozen=True, slots=True)
class Services:
    """What handlers work with."""

    settings: Settings
    content: Content
    hashes: CarriedHashes
    locate: Locate
    now: Callable[[], datetime]
    directory: Directory
    index: Index
    # None where the registry is in one region.
    region: "Region | None" = None
    pulls: PullCounter = field(default_factory=PullCounter)
    requests: RequestMeter = field(default_factory=RequestMeter)
    # What api.health and api.metrics find out, and need not find out for each who asks.
    health: Remembered[Any] = field(default_factory=lambda: Remembered(timedelta(seconds=5)))
    # What caches of other registries ask, and fetch, for several requests at once (changes.caching).
    shared: Shared = field(default_factory=Shared)
    conversations: "Conversations" = field(default_factory=lambda: cast("Conversations", _Later(_conversations)))
    fetches: "Fetches" = field(default_factory=lambda: cast("Fetches", _Later(_fetches)))
    figures: "Remembered[Figures]" = field(default_factory=lambda: Remembered(timedelta(minutes=5)))

    def is_writer(self) -> bool:
        """Tell whether this region, if there are several, is the one that changes things; raise OSError."""
        return self.region is None or self.region.takes_writes

    def keeps_table(self) -> bool:
        """Tell whether the table is this region's to write: a copy may have one of its own; raise OSError."""
        return self.settings.takes_arrivals or self.is_writer()


def build(settings: Settings) -> Services:
    """Return the services of a process; raise LookupError where a key or credentials are missing, or OSError."""
    settings = complete(settings)
    if not settings.signing_keys:
        raise LookupError("there is no key to sign with: set ROADSTEAD_SIGNING_KEY (openssl rand -hex 32 makes one)")
    fixed = _fixed_credentials(settings)
    credentials = (lambda: fixed) if fixed else _chain_credentials(settings)
    inner = _presigner(settings, settings.s3_endpoint, credentials)
    objects = S3Objects(settings.bucket, settings.region, settings.s3_endpoint, fixed, inner)
    table = cast("Table", _Later(lambda: _table(settings, fixed)))
    peer = _peer(settings, fixed, credentials) if settings.peer.bucket else None
    services = assemble(settings, objects, locator(settings, credentials), table, peer=peer)
    return replace(services, directory=replace(services.directory, queue=_queue(settings)))


def complete(settings: Settings) -> Settings:
    """Return settings with the secrets that SSM has; raise LookupError where one is missing, or OSError."""
    if not settings.parameters:
        return settings
    from chalicelib.store import parameters  # noqa: PLC0415 - only where there are any

    fixed = _fixed_credentials(settings)
    credentials = fixed or _chain_credentials(settings)()
    names = settings.parameters.values()
    return settings.with_parameters(
        parameters.fetch(names, settings.region, settings.ssm_endpoint, credentials, datetime.now(UTC))
    )


def assemble(
    settings: Settings,
    objects: ObjectStore,
    locate: Locate,
    table: "Table",
    now: Callable[[], datetime] | None = None,
    peer: "Peer | None" = None,
) -> Services:
    """Return services over given stores; tests bring their own stores and clock."""
    clock = now or (lambda: datetime.now(UTC))
    region = _region(settings, objects, table, clock, peer) if settings.region_name else None
    content = Content(objects, cast("Executor", _Later(_pool)), clock, settings.grace, region)
    return Services(
        settings=settings,
        content=content,
        hashes=CarriedHashes(),
        locate=locate,
        now=clock,
        directory=Directory(table, clock),
        index=Index(table, content, clock),
        region=region,
    )


def _region(
    settings: Settings, objects: ObjectStore, table: "Table", clock: Callable[[], datetime], peer: "Peer | None"
) -> "Region":
    from chalicelib.policy import regions as rules  # noqa: PLC0415 - only where there are several
    from chalicelib.store.regions import Region  # noqa: PLC0415 - as above

    begins = rules.beginning(settings.region_name, replica=settings.begins_as_replica)
    return Region(settings.region_name, begins, objects, table, clock, peer)


def _peer(settings: Settings, fixed: Credentials | None, credentials: Callable[[], Credentials]) -> "Peer":
    """Return the other region, which is asked once more at most, and not waited for as the own bucket is."""
    from chalicelib.store.regions import IMPATIENT, Peer  # noqa: PLC0415 - as above

    given = settings.peer
    there = replace(settings, bucket=given.bucket, region=given.region or settings.region)
    endpoint = given.s3_endpoint or settings.s3_endpoint
    presigner = _presigner(there, endpoint, credentials)
    objects = S3Objects(there.bucket, there.region, endpoint, fixed, presigner, IMPATIENT)
    content = Content(objects, cast("Executor", _Later(_pool)), presigner.now, settings.grace)
    return Peer(content, partial(presigner.url, seconds=_LOCATION_SECONDS), given.url)


def _conversations() -> "Conversations":
    from chalicelib.store.conversing import Conversations  # noqa: PLC0415 - as `_Later` says

    return Conversations()


def _fetches() -> "Fetches":
    from chalicelib.store.fetching import Fetches  # noqa: PLC0415 - as `_Later` says

    return Fetches()


def _pool() -> "Executor":
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - as `_Later` says

    return ThreadPoolExecutor(_POOL, thread_name_prefix="s3")


class _Later:
    """Something that is made once, when it is first used: a pull does without, and would wait for its imports."""

    def __init__(self, make: Callable[[], object]) -> None:
        self._lock, self._make = Lock(), cache(make)

    def __getattr__(self, name: str) -> object:
        # Of two threads that come first, `cache` alone would let each make one.
        with self._lock:
            made = self._make()
        return getattr(made, name)


def _table(settings: Settings, fixed: Credentials | None) -> "Table":
    # Each engine is imported only where it is used: a cold start would pay for both.
    if settings.table.startswith(FILE_TABLE):
        from chalicelib.store.sqlite import SqliteTable  # noqa: PLC0415

        return SqliteTable(settings.table.removeprefix(FILE_TABLE), time.time)
    from chalicelib.store.dynamodb import DynamoTable  # noqa: PLC0415

    return DynamoTable(settings.table, settings.region, settings.dynamodb_endpoint, fixed)


def _queue(settings: Settings) -> Queue:
    return messages(settings, settings.queue) if settings.queue else MemoryQueue()


def messages(settings: Settings, name: str) -> "SqsQueue":
    """Return the SQS queue of this name."""
    from chalicelib.store.sqs import SqsQueue  # noqa: PLC0415 - as above

    return SqsQueue(name, settings.region, settings.sqs_endpoint, _fixed_credentials(settings))


def locator(settings: Settings, credentials: Callable[[], Credentials]) -> Locate:
    """Return what makes URLs for clients."""
    through = settings.s3_public_endpoint == THROUGH_THE_SERVER
    public = settings.s3_endpoint if through else settings.s3_public_endpoint or settings.s3_endpoint
    presigner = _presigner(settings, public.rstrip("/"), credentials)

    def direct(method: str, key: str, digest: Digest) -> str:  # noqa: ARG001 - S3 has no use for it
        return presigner.url(method, key, seconds=_LOCATION_SECONDS)

    def through_the_server(method: str, key: str, digest: Digest) -> str:
        url = urlsplit(presigner.url(method, key, seconds=_LOCATION_SECONDS))
        return f"{url.path}?{url.query}&{DIGEST_MARK}={digest}"

    return through_the_server if through else direct


def _presigner(settings: Settings, endpoint: str, credentials: Callable[[], Credentials]) -> Presigner:
    host = f"https://{settings.bucket}.s3.{settings.region}.amazonaws.com"
    base = f"{endpoint}/{settings.bucket}" if endpoint else host
    return Presigner(base, settings.region, credentials, lambda: datetime.now(UTC))


def _fixed_credentials(settings: Settings) -> Credentials | None:
    if settings.access_key and settings.secret_key:
        return Credentials(settings.access_key, settings.secret_key, settings.session_token)
    return None


def _chain_credentials(settings: Settings) -> Callable[[], Credentials]:
    from chalicelib.store.client import chain_credentials  # noqa: PLC0415 - boto3 takes half a second to import

    return chain_credentials(settings.region)


def admin_client(settings: Settings, *, attempts: int = 2) -> "S3Client":
    """Return the client with which a server makes or looks at its bucket."""
    from chalicelib.store.client import s3_client  # noqa: PLC0415 - as above

    return s3_client(settings.region, settings.s3_endpoint, _fixed_credentials(settings), attempts=attempts)


def check_directory(settings: Settings) -> None:
    """Raise OSError with what to do where the table of the settings cannot be used."""
    if settings.table.startswith(FILE_TABLE):
        return
    from chalicelib.store.dynamodb import check_table, dynamo_client  # noqa: PLC0415 - as above

    client = dynamo_client(settings.region, settings.dynamodb_endpoint, _fixed_credentials(settings))
    check_table(client, settings.table)
