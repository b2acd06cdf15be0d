"""The drill of docs/operations.md, emulated: the table is restored to a moment, the old one is wiped, all is back."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from chalicelib.jobs import reindex
from chalicelib.services import Services
from chalicelib.store.directory import projects
from chalicelib.store.dynamodb import DynamoTable, dynamo_client, make_table
from chalicelib.store.index import artifacts
from chalicelib.store.signing import Credentials
from tests.engines import moto
from tests.engines.engine import Engine
from tests.jobs.test_reindex import services_of
from tests.memory import Clock
from tests.store.index.world import HOME, PROJECT, World, image, index_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

OLD, NEW = "directory", "directory-restored"
CHILDREN = (image("one"), image("two"))


@dataclass
class Account:
    """An account with a table that is backed up, and the registry over it."""

    engine: Engine
    client: "DynamoDBClient"
    world: World

    def table(self, name: str) -> DynamoTable:
        credentials = Credentials(self.engine.access_key, self.engine.secret_key)
        clock = self.world.clock
        return DynamoTable(name, self.engine.region, self.engine.endpoint, credentials, lambda: clock().timestamp())

    def items(self, name: str) -> list[dict[str, Any]]:
        return sorted(self.client.scan(TableName=name)["Items"], key=lambda item: (item["pk"]["S"], item["sk"]["S"]))

    def wipe(self, name: str) -> None:
        for item in self.items(name):
            self.client.delete_item(TableName=name, Key={"pk": item["pk"], "sk": item["sk"]})

    def restore(self) -> None:
        self.client.restore_table_to_point_in_time(
            SourceTableName=OLD, TargetTableName=NEW, UseLatestRestorableTime=True
        )
        # What a restored table lacks, and makes sure of like a new one.
        make_table(self.client, NEW)

    def switched(self) -> tuple[World, Services]:
        """Return the registry over the same bucket and the restored table."""
        world = World(clock=self.world.clock, engine=self.table(NEW))
        world.objects = self.world.objects
        world.index = self.world.over(world.table)
        return world, services_of(world)


@pytest.fixture
def account() -> Iterator[Account]:
    clock = Clock()
    with moto() as engine:
        credentials = Credentials(engine.access_key, engine.secret_key)
        client = dynamo_client(engine.region, engine.endpoint, credentials)
        make_table(client, OLD)
        table = DynamoTable(OLD, engine.region, engine.endpoint, credentials, lambda: clock().timestamp())
        world = World(clock=clock, engine=table)
        services_of(world)
        for child in CHILDREN:
            world.push(child)
        world.push(index_of(*CHILDREN), "v1", "latest")
        yield Account(engine, client, world)


def names(world: World) -> Sequence[str]:
    return sorted(name for name, _ in artifacts.tag_names(world.index, world.home()))


def test_everything_is_as_before_when_the_table_was_wiped_and_restored(account: Account) -> None:
    before, shown = account.items(OLD), account.world.shown()
    account.restore()
    account.wipe(OLD)

    world, services = account.switched()

    assert account.items(OLD) == []
    assert account.items(NEW) == before
    assert world.shown() == shown == world.expected()
    found = projects.find(services.directory, "library")
    assert found
    assert found.id == PROJECT


def test_what_was_pushed_and_deleted_after_the_moment_is_mended_by_reindex(account: Account) -> None:
    account.restore()
    account.world.clock.advance(timedelta(minutes=5))
    account.world.push(image("later"), "v2")
    account.world.untag("v1")
    account.wipe(OLD)

    world, services = account.switched()
    assert ("v1" in names(world), "v2" in names(world)) == (True, False)
    reindex.run(services)

    assert ("v1" in names(world), "v2" in names(world)) == (False, True)
    assert world.shown(HOME) == world.expected(HOME)
    again = account.items(NEW)
    reindex.run(services)
    assert account.items(NEW) == again


def test_the_restored_table_can_itself_be_restored_and_forgets_what_expired(account: Account) -> None:
    account.restore()

    backups = account.client.describe_continuous_backups(TableName=NEW)["ContinuousBackupsDescription"]
    expiry = account.client.describe_time_to_live(TableName=NEW)["TimeToLiveDescription"]

    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"
    assert (expiry["TimeToLiveStatus"], expiry["AttributeName"]) == ("ENABLED", "ttl")
