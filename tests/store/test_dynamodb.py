"""DynamoTable keeps the contract over moto in every run, over ministack and DynamoDB Local with `engines`.

What no emulator does on demand is said by a service that follows a script: conflicts, throttling, keys left over.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import orjson
import pytest
from mypy_boto3_dynamodb import DynamoDBClient

from chalicelib.oci.pages import Page
from chalicelib.store.dynamodb import DynamoTable, check_table, dynamo_client, make_table
from chalicelib.store.signing import Credentials
from chalicelib.store.table import ABSENT, ANYHOW, PRESENT, Add, BusyError, Change, Delete, Key, Put, Slice, Table
from tests.engines import Engine, ministack, moto
from tests.engines.dynamodb_local import dynamodb_local
from tests.engines.proxy import Phase, forwarding
from tests.store.table_contract import TableContract, Time
from tests.store.table_machine import run_machine

NAME = "contract"
ENGINES: Mapping[str, Callable[[], AbstractContextManager[Engine]]] = {
    "moto": moto,
    "ministack": ministack,
    "dynamodb-local": dynamodb_local,
}


def _credentials(engine: Engine) -> Credentials:
    return Credentials(engine.access_key, engine.secret_key)


def _client(engine: Engine) -> DynamoDBClient:
    return dynamo_client(engine.region, engine.endpoint, _credentials(engine))


def _table(engine: Engine, clock: Callable[[], float]) -> DynamoTable:
    return DynamoTable(NAME, engine.region, engine.endpoint, _credentials(engine), clock)


@pytest.fixture(scope="module")
def clock() -> Time:
    return Time()


@pytest.fixture(scope="class")
def service(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with ENGINES[request.cls.engine]() as running:
        make_table(_client(running), NAME)
        yield running


@pytest.fixture(scope="class")
def table(service: Engine, clock: Time) -> Table:
    return _table(service, clock)


@pytest.fixture(scope="class")
def other(service: Engine, clock: Time) -> Table:
    return _table(service, clock)


class DynamoContract(TableContract):
    """The contract, and what is DynamoDB's own."""

    histories = 30

    def test_random_histories_end_as_in_a_dictionary(self, table: Table, clock: Time) -> None:
        run_machine(table, clock, examples=self.histories, steps=15)

    def test_a_table_that_is_there_is_kept_and_passes_the_check(
        self, service: Engine, table: Table, key: Key
    ) -> None:
        table.commit(Put(key, {}))
        client = _client(service)

        make_table(client, NAME)
        check_table(client, NAME)

        assert table.get(key) is not None
        ttl = client.describe_time_to_live(TableName=NAME)["TimeToLiveDescription"]
        assert (ttl["TimeToLiveStatus"], ttl["AttributeName"]) == ("ENABLED", "ttl")

    def test_a_table_that_is_missing_is_an_os_error_that_says_what_to_do(self, service: Engine) -> None:
        with pytest.raises(OSError, match=r"'other' at http.*ResourceNotFoundException\. Create it"):
            check_table(_client(service), "other")

    def test_a_table_of_another_program_is_an_os_error(self, service: Engine) -> None:
        client = _client(service)
        client.create_table(
            TableName="foreign",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        )

        with pytest.raises(OSError, match="another program"):
            check_table(client, "foreign")

    def test_an_answer_that_is_lost_counts_once(self, service: Engine, clock: Time, key: Key) -> None:
        with forwarding(service.endpoint) as proxy:
            table = DynamoTable(NAME, service.region, proxy.endpoint, _credentials(service), clock)
            lost: list[str] = []

            def lose(_number: int, operation: str, _key: str, phase: Phase) -> None:
                if phase == "after" and operation == "TransactWriteItems" and not lost:
                    lost.append(operation)
                    raise InterruptedError

            proxy.hook = lose
            table.commit(Put(Key(key.partition, "two"), {}, ABSENT), Add(key, {"n": 1}, ANYHOW))

        found = _table(service, clock).get(key)
        assert lost
        assert found is not None
        assert found.counters == {"n": 1}


_TORN = "moto undoes a transaction by putting back its copy of the table, over what others did meanwhile"


class TestMoto(DynamoContract):
    engine, histories = "moto", 4

    def test_of_many_creators_at_once_one_wins(self, table: Table, other: Table, key: Key) -> None:  # noqa: ARG002
        pytest.skip(_TORN)

    def test_of_many_writers_of_one_version_one_wins(self, table: Table, other: Table, key: Key) -> None:  # noqa: ARG002
        pytest.skip(_TORN)

    def test_bounded_counters_end_exact_under_many_writers(self, table: Table, other: Table, key: Key) -> None:  # noqa: ARG002
        pytest.skip(_TORN)

    def test_of_two_commits_that_cross_one_wins_whole(self, table: Table, other: Table, at: str) -> None:  # noqa: ARG002
        pytest.skip(_TORN)


@pytest.mark.engines
class TestMinistack(DynamoContract):
    engine = "ministack"


@pytest.mark.engines
class TestDynamoDBLocal(DynamoContract):
    engine = "dynamodb-local"


@dataclass(slots=True)
class Script:
    """A service that gives its answers one after another, and the last for ever."""

    answers: Sequence[tuple[int, Mapping[str, Any] | bytes]]
    asked: list[Mapping[str, Any]] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)

    @contextmanager
    def table(self) -> Iterator[DynamoTable]:
        script = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                script.asked.append(orjson.loads(self.rfile.read(int(self.headers["content-length"]))))
                status, answer = script.answers[min(len(script.asked), len(script.answers)) - 1]
                body = answer if isinstance(answer, bytes) else orjson.dumps(answer)
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        with HTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            endpoint = f"http://127.0.0.1:{server.server_port}"
            yield DynamoTable(NAME, "us-east-1", endpoint, Credentials("a", "b"), Time(), self.pauses.append)
            server.shutdown()
            thread.join()


DONE: tuple[int, Mapping[str, Any]] = (200, {})
KEY, OTHER = Key("p", "a"), Key("p", "b")
PAIR = (Put(KEY, {}, ABSENT, "one"), Put(OTHER, {}, PRESENT, "two"))


def _refusal(name: str, **fields: object) -> tuple[int, Mapping[str, Any]]:
    return 400, {"__type": f"com.amazonaws.dynamodb.v20120810#{name}", "message": "no", **fields}


def _canceled(*codes: str) -> tuple[int, Mapping[str, Any]]:
    return _refusal("TransactionCanceledException", CancellationReasons=[{"Code": code} for code in codes])


CONFLICTS = [
    (PAIR, _canceled("None", "TransactionConflict")),
    (PAIR, _canceled("ThrottlingError", "None")),
    (PAIR, _canceled("ProvisionedThroughputExceeded", "TransactionConflict")),
    ((Put(KEY, {}),), _refusal("TransactionConflictException")),
    ((Delete(KEY),), _refusal("TransactionConflictException")),
]


@pytest.mark.parametrize(("changes", "conflict"), CONFLICTS)
def test_a_conflict_that_passes_is_waited_for(
    changes: Sequence[Change], conflict: tuple[int, Mapping[str, Any]]
) -> None:
    script = Script([conflict, conflict, DONE])
    with script.table() as table:
        table.commit(*changes)

    assert len(script.asked) == 3
    assert len(script.pauses) == 2


@pytest.mark.parametrize(("changes", "conflict"), CONFLICTS)
def test_a_conflict_that_does_not_pass_is_busy(
    changes: Sequence[Change], conflict: tuple[int, Mapping[str, Any]]
) -> None:
    script = Script([conflict])
    with script.table() as table, pytest.raises(BusyError):
        table.commit(*changes)

    assert len(script.pauses) == len(script.asked) - 1 > 5
    assert sum(script.pauses) < 6


@pytest.mark.parametrize(
    "answer",
    [_canceled("None", "ValidationError"), _refusal("AccessDeniedException"), _refusal("ResourceNotFoundException")],
)
def test_any_other_refusal_is_an_os_error(answer: tuple[int, Mapping[str, Any]]) -> None:
    script = Script([answer])
    with script.table() as table, pytest.raises(OSError, match="DynamoDB failed at TransactWriteItems"):
        table.commit(*PAIR)

    assert len(script.asked) == 1


def test_every_attempt_has_a_token_of_its_own() -> None:
    script = Script([_canceled("TransactionConflict", "None"), DONE])
    with script.table() as table:
        table.commit(*PAIR)

    assert len({request["ClientRequestToken"] for request in script.asked}) == 2


def test_what_is_no_answer_is_not_taken_for_one_in_which_nothing_was_found() -> None:
    script = Script([(200, b"<html>sign in to this network</html>")])
    with script.table() as table, pytest.raises(OSError, match="damaged"):
        table.get(KEY)


def test_keys_that_are_left_over_are_asked_for_again() -> None:
    item = {"pk": {"S": "p"}, "doc": {"S": "{}"}, "etag": {"S": "e"}}
    left = {NAME: {"Keys": [{"pk": {"S": "p"}, "sk": {"S": "b"}}], "ConsistentRead": True}}
    script = Script(
        [
            (200, {"Responses": {NAME: [{**item, "sk": {"S": "a"}}]}, "UnprocessedKeys": left}),
            (200, {"Responses": {}, "UnprocessedKeys": left}),
            (200, {"Responses": {NAME: [{**item, "sk": {"S": "b"}}]}, "UnprocessedKeys": {}}),
        ]
    )
    with script.table() as table:
        found = table.get_many([KEY, OTHER])

    assert set(found) == {KEY, OTHER}
    assert script.asked[1]["RequestItems"] == script.asked[2]["RequestItems"] == left


def test_keys_that_are_left_over_for_ever_are_an_os_error() -> None:
    left = {NAME: {"Keys": [{"pk": {"S": "p"}, "sk": {"S": "a"}}]}}
    with (
        Script([(200, {"Responses": {}, "UnprocessedKeys": left})]).table() as table,
        pytest.raises(OSError, match="again and again"),
    ):
        table.get_many([KEY])


def test_a_page_far_behind_the_end_is_asked_for_with_a_number_that_dynamodb_takes() -> None:
    script = Script([(200, {"Items": [], "Count": 0})])
    with script.table() as table:
        assert table.query("p", Slice(skip=10**11)) == Page((), False)

    assert script.asked[0]["Limit"] == 2**31 - 1


def test_a_service_that_is_not_there_is_an_os_error() -> None:
    table = DynamoTable(NAME, "us-east-1", "http://127.0.0.1:9", Credentials("a", "b"))

    with pytest.raises(OSError, match="GetItem"):
        table.get(KEY)
