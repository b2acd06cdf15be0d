"""Two hundred pushes into one project at once: no error, an exact sum, and never more than fits.

On SQLite in every run; on DynamoDB Local, whose transactions get into each other's way, with `engines`.
"""

import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import pytest
from botocore.config import Config
from mypy_boto3_dynamodb import DynamoDBClient

from chalicelib.changes import charging
from chalicelib.changes.charging import Account
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.names import Repository
from chalicelib.policy.quota import UNLIMITED
from chalicelib.store.directory import Directory, foundation, projects
from chalicelib.store.dynamodb import DynamoTable, dynamo_client, make_table
from chalicelib.store.index import Index
from chalicelib.store.signing import Credentials
from chalicelib.store.sqlite import SqliteTable
from chalicelib.store.table import Table
from chalicelib.store.usage import counting, settling
from chalicelib.store.usage.settling import Pushed
from tests.engines import Engine
from tests.engines.dynamodb_local import dynamodb_local
from tests.engines.engine import client
from tests.memory import Clock
from tests.store.index.tables import InterruptedTable
from tests.store.index.world import World, digest_of, image, parsed

AT_ONCE = 200
SIZE = 1000


@dataclass
class Registry:
    """A registry with one project, over a table; `pauses` are those of commits that others were in the way of."""

    table: Table
    pauses: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        directory = Directory(self.table, self.clock)
        foundation.lay(directory)
        found = projects.find(directory, "library")
        assert found
        self.project, self.world = found, World(clock=self.clock, engine=self.table)

    @property
    def index(self) -> Index:
        return self.world.index

    def account(self, limit: int = UNLIMITED) -> Account:
        return Account(self.index, self.index.content, self.project, limit)

    def used(self) -> int:
        return counting.used(self.index, self.project.id)


@dataclass(frozen=True)
class PatientTable(DynamoTable):
    """A table that waits for an emulator on a busy machine, and notes the errors that the emulator answers.

    The emulator has one lock for all transactions. Who waits for it too long gets an InternalServerError, of which it
    says that on AWS it would be none.
    """

    engine: Engine = field(kw_only=True)
    errors: Counter[str] = field(default_factory=Counter, kw_only=True)

    @cached_property
    def _dynamo(self) -> DynamoDBClient:
        retries: Any = {"mode": "standard", "total_max_attempts": 20}
        config = Config(read_timeout=60, max_pool_connections=AT_ONCE, retries=retries)
        made: DynamoDBClient = client(self.engine, "dynamodb", config)
        made.meta.events.register("after-call.dynamodb", self._note)
        return made

    def _note(self, parsed: Any, **_: Any) -> None:
        if code := parsed.get("Error", {}).get("Code", ""):
            self.errors[code] += 1


def on_dynamodb(service: Engine) -> Registry:
    credentials, pauses = Credentials(service.access_key, service.secret_key), list[float]()
    name = f"quota-{secrets.token_hex(4)}"
    make_table(dynamo_client(service.region, service.endpoint, credentials), name)

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        time.sleep(seconds)

    table = PatientTable(name, service.region, service.endpoint, credentials, time.time, sleep, engine=service)
    return Registry(table, pauses, table.errors)


@pytest.fixture(scope="module")
def service() -> Iterator[Engine]:
    with dynamodb_local() as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("dynamodb", marks=pytest.mark.engines)])
def registry(request: pytest.FixtureRequest) -> Registry:
    if request.param == "sqlite":
        return Registry(SqliteTable(":memory:", time.time))
    return on_dynamodb(request.getfixturevalue("service"))


def at_once(deed: Callable[[int], None], times: int = AT_ONCE) -> int:
    """Do something many times at once; return how many were refused for the quota. Other errors are raised."""
    start = threading.Barrier(times)

    def one(number: int) -> bool:
        start.wait(60)
        try:
            deed(number)
        except RegistryError as error:
            if error.code is not ErrorCode.DENIED:
                raise
            return True
        return False

    with ThreadPoolExecutor(times) as pool:
        return sum(pool.map(one, range(times)))


def test_uploads_of_different_blobs_and_of_the_same_one(registry: Registry) -> None:
    charged = registry.account()

    def upload(number: int) -> None:
        repository = Repository(f"library/r{number % 7}")
        charging.blob(charged, repository, Digest.of(b"%d" % number), SIZE)
        charging.blob(charged, repository, Digest.of(b"all"), SIZE)

    assert at_once(upload) == 0

    assert registry.used() == (AT_ONCE + 1) * SIZE
    # The shared blob is counted once; a condition told the others.
    assert set(registry.errors) <= {"TransactionCanceledException"}


def test_manifests_that_share_their_layers(registry: Registry) -> None:
    shared = image("base")["layers"]
    registry.world.store(image("base"))
    documents = [image(str(number), layers=shared) for number in range(AT_ONCE)]
    for each in documents:
        registry.world.store(each)

    def push(number: int) -> None:
        document = documents[number]
        repository = Repository("library/app")
        pushed = Pushed(registry.project.id, repository, digest_of(document), parsed(document))
        settling.take(registry.index, pushed)
        settling.kept(registry.index, pushed)

    assert at_once(push) == 0

    own = sum(len(parsed(each).content) + each["config"]["size"] for each in documents)
    assert registry.used() == own + shared[0]["size"]


def test_no_more_is_accepted_than_fits(registry: Registry) -> None:
    limit = 50 * SIZE
    charged = registry.account(limit)

    refused = at_once(
        lambda number: charging.blob(charged, Repository("library/app"), Digest.of(b"%d" % number), SIZE)
    )

    assert refused >= AT_ONCE - 50
    assert registry.used() == (AT_ONCE - refused) * SIZE


def test_the_same_blob_at_the_edge_is_accepted_for_all_or_for_none(registry: Registry) -> None:
    charged = registry.account(SIZE - 1)

    refused = at_once(
        lambda number: charging.blob(charged, Repository(f"library/{number}"), Digest.of(b"x"), SIZE), 50
    )

    assert (refused, registry.used()) == (50, 0)


def test_pushes_and_deletes_of_one_blob_at_once_end_with_nothing_counted(registry: Registry) -> None:
    def push_and_delete(number: int) -> None:
        repository = Repository(f"library/{number}")
        for _ in range(3):
            settling.uploaded(registry.index, registry.project.id, repository, Digest.of(b"x"), SIZE)
            settling.released(registry.index, registry.project.id, repository, Digest.of(b"x"))

    assert at_once(push_and_delete, 12) == 0

    assert registry.used() == 0


@pytest.mark.parametrize("at", range(1, 7))
def test_the_room_of_one_push_is_never_another_s(at: int) -> None:
    made, accepted = Registry(SqliteTable(":memory:", time.time)), list[bytes]()

    def push(account: Account, name: bytes) -> None:
        with suppress(RegistryError):
            charging.blob(account, Repository("library/app"), Digest.of(name), SIZE)
            accepted.append(name)

    beside = InterruptedTable(made.table, {at: lambda: push(made.account(SIZE), b"another")})
    push(replace(made.account(SIZE), index=made.world.over(beside)), b"one")

    assert len(accepted) <= 1
    assert made.used() == len(accepted) * SIZE
