"""The table in DynamoDB.

Invariants:
* A commit is one TransactWriteItems with a token, so botocore's repetition of a lost request does nothing twice. A
  single write that may simply be done again is a plain request, at half the price.
* Reads are strongly consistent.
* boto3 is imported at the first request.
* What is not an answer of DynamoDB's is an OSError, and never taken for one in which nothing was found.
"""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from chalicelib.oci.pages import Page
from chalicelib.store import expressions
from chalicelib.store.expressions import Json
from chalicelib.store.signing import Credentials
from chalicelib.store.table import (
    ANYHOW,
    Add,
    BusyError,
    Change,
    Delete,
    Key,
    Put,
    Record,
    RefusedError,
    Slice,
)

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from mypy_boto3_dynamodb import DynamoDBClient

_BATCH = 100
_HIGHEST_LIMIT = 2**31 - 1
_OK = 200
_CONNECTIONS = 64
# A request is answered within milliseconds or lost; the caller has 29 seconds at most.
_CONNECT_SECONDS, _READ_SECONDS, _REPETITIONS = 2, 5, 4
_ATTEMPTS = 10
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0
_UNMET = "ConditionalCheckFailed"
# What hinders one change of a commit and passes when it is tried again; named without the "Exception" that it may end
# in. A request that is throttled as a whole was repeated by botocore already.
_BUSY = frozenset({"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"})
_CONFLICT = "TransactionConflict"
_PLAIN: Mapping[str, str] = MappingProxyType({"Put": "put_item", "Update": "update_item", "Delete": "delete_item"})


def dynamo_client(region: str, endpoint: str, fixed: Credentials | None) -> "DynamoDBClient":
    """Return a client; `endpoint` is "" for AWS, `fixed` None where boto3's own chain finds credentials."""
    from botocore.config import Config  # noqa: PLC0415 - comes with boto3

    from chalicelib.store.client import session  # noqa: PLC0415 - boto3 takes half a second to import

    made = session(region, fixed).client(
        "dynamodb",
        endpoint_url=endpoint or None,
        config=Config(
            max_pool_connections=_CONNECTIONS,
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": _REPETITIONS},
        ),
    )
    made.meta.events.register("after-call.dynamodb", _check_whole)
    return made


def _check_whole(http_response: Any, parsed: Mapping[str, Any], **_: object) -> None:
    """Raise OSError where an answer is another's, or its checksum was wrong at the last attempt too."""
    tried = parsed.get("ResponseMetadata", {})
    failed = tried.get("MaxAttemptsReached") or tried.get("RetryQuotaReached")
    if http_response.status_code == _OK and (failed or not http_response.content.startswith(b"{")):
        raise OSError("what came from DynamoDB is damaged")


def make_table(client: "DynamoDBClient", name: str) -> None:
    """Create the table where it is missing, wait until it is there, and let it drop what expired; raise OSError."""
    with _errors("CreateTable"):
        with suppress(client.exceptions.ResourceInUseException):
            client.create_table(
                TableName=name,
                BillingMode="PAY_PER_REQUEST",
                AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in ("pk", "sk")],
                KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            )
        client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        found = client.describe_time_to_live(TableName=name).get("TimeToLiveDescription", {})
        if not found.get("TimeToLiveStatus", "").startswith("ENABL"):
            client.update_time_to_live(
                TableName=name, TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"}
            )
        _keep_history(client, name)


def _keep_history(client: "DynamoDBClient", name: str) -> None:
    """Let the table be restored to any second of the last 35 days, where the service can."""
    # Emulators do not know the operation, and a role without the right to it still has a table that works.
    with suppress(client.exceptions.ClientError):
        client.update_continuous_backups(
            TableName=name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
        )


def check_table(client: "DynamoDBClient", name: str) -> None:
    """Raise OSError with what to do where the table cannot be used."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError  # noqa: PLC0415 - as boto3

    from chalicelib.store.client import NO_CREDENTIALS  # noqa: PLC0415 - as boto3

    where = client.meta.endpoint_url
    try:
        found = client.describe_table(TableName=name)["Table"]
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "refused")
        raise OSError(f"table {name!r} at {where}: {code}. Create it, or set ROADSTEAD_TABLE") from error
    except NoCredentialsError as error:
        raise OSError(NO_CREDENTIALS) from error
    except BotoCoreError as error:
        raise OSError(f"no DynamoDB at {where}: {error}. Is AWS_ENDPOINT_URL_DYNAMODB right?") from error
    keys = [(key["AttributeName"], key["KeyType"]) for key in found.get("KeySchema", ())]
    if keys != [("pk", "HASH"), ("sk", "RANGE")]:
        raise OSError(
            f"table {name!r} at {where} is another program's: its key is not pk and sk. Set ROADSTEAD_TABLE"
        )


@dataclass(frozen=True)
class DynamoTable:
    """A DynamoDB table.

    `endpoint` is "" for AWS itself; `credentials` is None where boto3's own chain finds them; `now` tells seconds
    since 1970.
    """

    name: str
    region: str
    endpoint: str
    credentials: Credentials | None
    now: Callable[[], float] = time.time
    sleep: Callable[[float], object] = time.sleep

    @cached_property
    def _dynamo(self) -> "DynamoDBClient":
        return dynamo_client(self.region, self.endpoint, self.credentials)

    def get(self, key: Key) -> Record | None:
        """Return a record, or None."""
        if not expressions.can_be(key):
            return None
        with _errors("GetItem"):
            item = self._dynamo.get_item(TableName=self.name, Key=expressions.item_key(key), ConsistentRead=True).get(
                "Item"
            )
        return expressions.record(item) if item and not expressions.expired(item, self._moment()) else None

    def get_many(self, keys: Iterable[Key]) -> Mapping[Key, Record]:
        """Return those of the records that exist."""
        wanted = [expressions.item_key(key) for key in dict.fromkeys(keys) if expressions.can_be(key)]
        with _errors("BatchGetItem"):
            items = [item for at in range(0, len(wanted), _BATCH) for item in self._batch(wanted[at : at + _BATCH])]
        records = (expressions.record(item) for item in items if not expressions.expired(item, self._moment()))
        return {record.key: record for record in records}

    def _batch(self, keys: Sequence[Any]) -> Iterator[Json]:
        """Yield the items under up to a hundred keys; what DynamoDB leaves over is asked for again."""
        for _ in self._attempts():
            answer = self._dynamo.batch_get_item(
                RequestItems={self.name: {"Keys": list(keys), "ConsistentRead": True}},
            )
            yield from answer["Responses"].get(self.name, [])
            left_over = answer["UnprocessedKeys"]
            keys = left_over[self.name]["Keys"] if self.name in left_over else ()
            if not keys:
                return
        raise OSError("DynamoDB leaves keys unprocessed again and again")

    def query(self, partition: str, wanted: Slice) -> Page[Record]:
        """Return a part of a partition in the order of sort keys, and whether more follows."""
        found: list[Json] = []
        with _errors("Query"):
            request = self._skip(expressions.query(self.name, partition, wanted, self._moment()), wanted.skip)
            while request and len(found) <= wanted.limit:
                answer = self._dynamo.query(**request, Limit=wanted.limit + 1)
                found += answer["Items"]
                request = _following(request, answer)
        return Page(tuple(map(expressions.record, found[: wanted.limit])), len(found) > wanted.limit)

    def _skip(self, request: Json | None, count: int) -> Json | None:
        """Return the request for what follows the first `count` records, or None where nothing does."""
        while request and count > 0:
            answer = self._dynamo.query(**request, Select="COUNT", Limit=min(count, _HIGHEST_LIMIT))
            count -= answer["Count"]
            request = _following(request, answer)
        return request

    def commit(self, *changes: Change) -> None:
        """Do up to `LARGEST_COMMIT` changes of different records; raise RefusedError or BusyError."""
        expressions.check(changes)
        attempt = _Attempt(self.name, changes)
        for _ in self._attempts():
            now = self._moment()
            outcomes = self._write(changes, attempt.requests(now))
            if not outcomes:
                return
            if any(outcome.code == _UNMET for outcome in outcomes):
                attempt = attempt.corrected(outcomes, now)
        raise BusyError("other writers were in the way at every attempt")

    def add(self, key: Key, amounts: Mapping[str, int]) -> None:
        """Add to counters of a record that is there, in haste: a lost request may count twice; absent is no error."""
        if not expressions.can_be(key):
            return
        change = Add(key, amounts)
        with _errors("UpdateItem"), suppress(self._dynamo.exceptions.ConditionalCheckFailedException):
            self._dynamo.update_item(**expressions.addition(self.name, change, self._moment()))

    def _write(self, changes: Sequence[Change], requests: list[Any]) -> "Sequence[_Outcome]":
        """Do the requests of a commit; return nothing where they were done, else what hindered each."""
        from botocore.exceptions import ClientError  # noqa: PLC0415 - loaded with boto3, not before

        with _errors("TransactWriteItems"):
            try:
                if len(changes) == 1 and isinstance(changes[0], Put | Delete) and changes[0].condition == ANYHOW:
                    ((kind, request),) = requests[0].items()
                    getattr(self._dynamo, _PLAIN[kind])(**request)
                elif requests:
                    self._dynamo.transact_write_items(TransactItems=requests, ClientRequestToken=uuid4().hex)
            except ClientError as error:
                return _outcomes(error)
        return ()

    def _attempts(self) -> Iterator[int]:
        """Yield the numbers of attempts, with a pause of random and growing length before each but the first."""
        for attempt in range(_ATTEMPTS):
            if attempt:
                self.sleep(random.uniform(0, min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**attempt)))  # noqa: S311 - no secret
            yield attempt

    def _moment(self) -> int:
        return int(self.now())


class _Outcome(NamedTuple):
    """What became of one request of a commit: DynamoDB's code, and the item where a condition was unmet."""

    code: str
    item: Json


def _outcomes(error: "ClientError") -> Sequence[_Outcome]:
    """Return what hindered a commit; raise the error where it was neither a condition nor other writers."""
    answer: Json = dict(error.response)
    reasons = answer.get("CancellationReasons")
    passing = _BUSY if reasons else {_CONFLICT}
    given = reasons or [{"Code": answer["Error"]["Code"], "Item": answer.get("Item")}]
    found = [_Outcome(each.get("Code", "").removesuffix("Exception"), each.get("Item") or {}) for each in given]
    if not any(outcome.code == _UNMET or outcome.code in passing for outcome in found):
        raise error
    return found


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A commit, and what is believed of its records.

    Writing over an item that has expired must not keep its counters, and no update can tell. So every update asks
    that the item has not expired; where it has, it is `stale`, and the next attempt puts a whole item over it.
    """

    table: str
    changes: Sequence[Change]
    stale: frozenset[Key] = frozenset()

    def requests(self, now: int) -> list[Json]:
        """Return the entries of TransactWriteItems."""
        return [
            expressions.request(self.table, change, now, stale=change.key in self.stale) for change in self.changes
        ]

    def corrected(self, outcomes: Sequence[_Outcome], now: int) -> "_Attempt":
        """Return the attempt to make next; raise RefusedError where there is none to make."""
        unmet = [
            (change, outcome.item)
            for change, outcome in zip(self.changes, outcomes, strict=True)
            if outcome.code == _UNMET
        ]
        mistaken = {
            change.key
            for change, item in unmet
            if change.key in self.stale
            or (expressions.may_be_put(change) and item and expressions.expired(item, now))
        }
        refused = [change.name for change, _ in unmet if change.key not in mistaken]
        if refused:
            raise RefusedError(refused)
        return replace(self, stale=self.stale ^ mistaken)


def _following(request: Json, answer: Mapping[str, Any]) -> Json | None:
    """Return the request for what follows an answer, or None at the end."""
    last = answer.get("LastEvaluatedKey")
    return {**request, "ExclusiveStartKey": last} if last else None


@contextmanager
def _errors(operation: str) -> Iterator[None]:
    """Turn what boto3 raises into OSError."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - loaded with boto3, not before

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise OSError(f"DynamoDB failed at {operation}: {error}") from error
