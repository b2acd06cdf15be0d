"""The table's changes and slices in DynamoDB's words: pure, so that what is sent can be read in one place.

Invariants:
* An item is `pk`, `sk`, `doc` (JSON), `etag`, counters as numbers under `n_` and their names, and `ttl`.
* A key that no item can have (`can_be`) is not asked for: nothing is there. Writing it is an OSError.
* DynamoDB removes an expired item hours later; until then every condition and every filter takes it for absent.
* An update keeps the counters that an item has, so it is refused where the item has expired; `request` with `stale`
  then puts a whole item in its place, and is refused where the item has not.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import uuid4

import orjson

from chalicelib.store.table import (
    LARGEST_COMMIT,
    Add,
    Change,
    Check,
    Delete,
    If,
    Key,
    Put,
    Record,
    Slice,
)

# What boto3 takes and gives: JSON in DynamoDB's own form.
Json = dict[str, Any]

_COUNTER = "n_"
# In bytes of UTF-8.
_LONGEST_PARTITION, _LONGEST_SORT = 2048, 1024


def can_be(key: Key) -> bool:
    """Tell whether a record can have this key."""
    return 0 < _length(key.partition) <= _LONGEST_PARTITION and 0 < _length(key.sort) <= _LONGEST_SORT


def _length(text: str) -> int:
    """Return how long a text is in UTF-8, or 0 where UTF-8 cannot express it."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return 0


def can_hold(partition: str, wanted: Slice) -> bool:
    """Tell whether a record can be in a slice."""
    return can_be(Key(partition, wanted.prefix or "any"))


def check(changes: Sequence[Change]) -> None:
    """Raise ValueError where these are no changes of one commit, OSError where a record cannot have a key."""
    if len({change.key for change in changes}) < len(changes) or len(changes) > LARGEST_COMMIT:
        raise ValueError(f"a commit changes up to {LARGEST_COMMIT} different records")
    wrong = [change.key for change in changes if not can_be(change.key)]
    if wrong:
        raise OSError(f"no record can have the key {wrong[0]!r:.200}")


def may_be_put(change: Change) -> bool:
    """Return whether a change writes where no record is."""
    return isinstance(change, Put | Add) and _holds_of_absence(change.condition)


def _holds_of_absence(condition: If) -> bool:
    return (
        condition.exists is not True
        and not condition.etag
        and all(bound >= 0 for bound in condition.at_most.values())
        and all(bound <= 0 for bound in condition.at_least.values())
    )


class _Words:
    """The names and values that stand in expressions for what is not plain there."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._values: Json = {}

    def name(self, attribute: str) -> str:
        return self._names.setdefault(attribute, f"#{len(self._names)}")

    def value(self, value: str | int) -> str:
        word = f":{len(self._values)}"
        self._values[word] = _value(value)
        return word

    def fields(self) -> Json:
        """Return the fields of a request that explain the words."""
        return {
            "ExpressionAttributeNames": {word: attribute for attribute, word in self._names.items()},
            "ExpressionAttributeValues": self._values,
        }


def request(table: str, change: Change, now: int, *, stale: bool) -> Json:
    """Return a change as an entry of TransactWriteItems."""
    match change:
        case Check():
            return {"ConditionCheck": _conditional(table, change, now)}
        case Delete():
            return {"Delete": _conditional(table, change, now)}
        case Put() | Add() if stale:
            return {"Put": _anew(table, change, now)}
        case Put():
            return {"Update": _update(table, change, now)}
        case Add():
            return {"Update": addition(table, change, now)}


def _conditional(table: str, change: Check | Delete, now: int) -> Json:
    words = _Words()
    condition = _condition(words, change.condition, now)
    if _holds_of_absence(change.condition):
        # AND binds before OR; DynamoDB refuses parentheses that change nothing.
        condition = f"{condition} OR {words.name('ttl')} <= {words.value(now)}"
    return {"TableName": table, "Key": item_key(change.key), "ConditionExpression": condition, **words.fields()}


def _anew(table: str, change: Put | Add, now: int) -> Json:
    """Return the request that writes a whole item where there is none, or an expired one."""
    words = _Words()
    document, expires = (change.document, change.expires) if isinstance(change, Put) else ({}, 0)
    values: Mapping[str, str | int] = {"doc": _json(document), "etag": uuid4().hex}
    if expires:
        values = {**values, "ttl": expires}
    if isinstance(change, Add):
        values = {**values, **{_COUNTER + name: amount for name, amount in change.amounts.items()}}
    return {
        "TableName": table,
        "Item": {**item_key(change.key), **{name: _value(value) for name, value in values.items()}},
        "ConditionExpression": (
            f"attribute_not_exists({words.name('pk')}) OR {words.name('ttl')} <= {words.value(now)}"
        ),
        **words.fields(),
    }


def _update(table: str, change: Put, now: int) -> Json:
    words = _Words()
    update = (
        f"SET {words.name('doc')} = {words.value(_json(change.document))}, "
        f"{words.name('etag')} = {words.value(uuid4().hex)}"
    )
    ttl = words.name("ttl")
    update += f", {ttl} = {words.value(change.expires)}" if change.expires else f" REMOVE {ttl}"
    return _updating(table, change, now, update, words)


def addition(table: str, change: Add, now: int) -> Json:
    """Return the request that adds to the counters of an item."""
    words = _Words()
    document, etag = words.name("doc"), words.name("etag")
    update = (
        f"SET {document} = if_not_exists({document}, {words.value('{}')}), "
        f"{etag} = if_not_exists({etag}, {words.value(uuid4().hex)})"
    )
    sums = (f"{words.name(_COUNTER + name)} {words.value(amount)}" for name, amount in change.amounts.items())
    if change.amounts:
        update += f" ADD {', '.join(sums)}"
    return _updating(table, change, now, update, words)


def _updating(table: str, change: Put | Add, now: int, update: str, words: _Words) -> Json:
    return {
        "TableName": table,
        "Key": item_key(change.key),
        "UpdateExpression": update,
        "ConditionExpression": _condition(words, change.condition, now),
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        **words.fields(),
    }


def _condition(words: _Words, condition: If, now: int) -> str:
    """Return a condition in DynamoDB's words; it never holds of an item that has expired."""
    return " AND ".join(
        (
            _alive(words, now),
            *_state(words, condition),
            *_limits(words, condition.at_most, "<=", 1),
            *_limits(words, condition.at_least, ">=", -1),
        )
    )


def _alive(words: _Words, now: int) -> str:
    ttl = words.name("ttl")
    return f"(attribute_not_exists({ttl}) OR {ttl} > {words.value(now)})"


def _state(words: _Words, condition: If) -> Iterator[str]:
    if condition.exists is not None:
        yield f"attribute_{'exists' if condition.exists else 'not_exists'}({words.name('pk')})"
    if condition.etag:
        yield f"{words.name('etag')} = {words.value(condition.etag)}"


def _limits(words: _Words, bounds: Mapping[str, int], comparison: str, sense: int) -> Iterator[str]:
    """Yield bounds of counters; one that is not there is 0, which a bound on its right side (`sense`) admits."""
    for counter, bound in bounds.items():
        name = words.name(_COUNTER + counter)
        test = f"{name} {comparison} {words.value(bound)}"
        yield f"(attribute_not_exists({name}) OR {test})" if bound * sense >= 0 else test


def query(table: str, partition: str, wanted: Slice, now: int) -> Json | None:
    """Return the request for a slice from its beginning, or None where nothing can be in it."""
    if not can_hold(partition, wanted):
        return None
    words = _Words()
    keys = f"{words.name('pk')} = {words.value(partition)}"
    if wanted.prefix:
        keys += f" AND begins_with({words.name('sk')}, {words.value(wanted.prefix)})"
    whole = {
        "TableName": table,
        "ConsistentRead": True,
        "KeyConditionExpression": keys,
        "FilterExpression": _alive(words, now),
        "ScanIndexForward": not wanted.backwards,
        **words.fields(),
    }
    if not wanted.after:
        return whole
    if wanted.after.startswith(wanted.prefix):
        return {**whole, "ExclusiveStartKey": item_key(Key(partition, wanted.after))}
    # `after` is outside of the prefix: before all of it, or behind.
    return None if (wanted.after > wanted.prefix) != wanted.backwards else whole


def _value(value: str | int) -> Json:
    return {"S": value} if isinstance(value, str) else {"N": str(value)}


def item_key(key: Key) -> Json:
    """Return the key of an item."""
    return {"pk": _value(key.partition), "sk": _value(key.sort)}


def _json(document: Mapping[str, Any]) -> str:
    return orjson.dumps(dict(document)).decode()


def _number(item: Mapping[str, Any], attribute: str) -> int:
    return int(item[attribute]["N"]) if attribute in item else 0


def expired(item: Mapping[str, Any], now: int) -> bool:
    """Return whether an item only waits to be removed."""
    return "ttl" in item and _number(item, "ttl") <= now


def record(item: Mapping[str, Any]) -> Record:
    """Return the record that an item holds."""
    counters = {name.removeprefix(_COUNTER): _number(item, name) for name in item if name.startswith(_COUNTER)}
    key = Key(item["pk"]["S"], item["sk"]["S"])
    return Record(key, orjson.loads(item["doc"]["S"]), item["etag"]["S"], counters, _number(item, "ttl"))
