"""DynamoTable keeps the contract over moto in every run, over ministack and DynamoDB Local with `engines`."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager

import pytest
from botocore.stub import Stubber

from chalicelib.store.dynamodb import DynamoTable, check_table, make_table
from chalicelib.store.signing import Credentials
from chalicelib.store.table import ABSENT, BusyError, Key, Put, Slice, Table
from tests.engines import Engine, ministack, moto
from tests.engines.dynamodb_local import dynamo_client, dynamodb_local
from tests.store.table_contract import TableContract, Time

NAME = "contract"
ENGINES: Mapping[str, Callable[[], AbstractContextManager[Engine]]] = {
    "moto": moto,
    "ministack": ministack,
    "dynamodb-local": dynamodb_local,
}


def _table(engine: Engine, clock: Callable[[], float]) -> DynamoTable:
    credentials = Credentials(engine.access_key, engine.secret_key)
    return DynamoTable(NAME, engine.region, engine.endpoint, credentials, clock)


@pytest.fixture(scope="module")
def clock() -> Time:
    return Time()


@pytest.fixture(scope="class")
def service(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with ENGINES[request.cls.engine]() as running:
        client = dynamo_client(running)
        make_table(client, NAME)
        client.close()
        yield running


@pytest.fixture(scope="class")
def table(service: Engine, clock: Time) -> Table:
    return _table(service, clock)


@pytest.fixture(scope="class")
def other(service: Engine, clock: Time) -> Table:
    return _table(service, clock)


class TestMoto(TableContract):
    engine = "moto"


@pytest.mark.engines
class TestMinistack(TableContract):
    engine = "ministack"


@pytest.mark.engines
class TestDynamoDBLocal(TableContract):
    engine = "dynamodb-local"
