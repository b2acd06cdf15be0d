"""The operations of Harbor's API and the schemas of their answers, read from `facts.json`.

Invariants:
* A path is matched as it is on the wire: encoded names stay encoded, and a slash more or less at its end is nothing.
* The template with the most fixed parts wins; only a repository's name may have slashes.
* An object with properties has no others; null stands where Harbor's own models can send it: where the description
  says `x-nullable`, and for a list that is not left out when it is empty.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

PREFIX = "/api/v2.0"
FACTS: Mapping[str, Any] = json.loads((Path(__file__).parent / "facts.json").read_text())
_ROOT = FACTS["basePath"]
# The kinds of a body that is sent as it is, whatever its media type.
_RAW = frozenset({"string", "file"})


@dataclass(frozen=True, slots=True)
class Documented:
    """An answer that is documented: the schema of its body (None where it has none) and the headers that it has."""

    schema: Mapping[str, Any] | None
    headers: Mapping[str, str]

    @property
    def raw(self) -> bool:
        """Tell whether the body is something other than JSON, or JSON that nothing is said about."""
        return self.schema is not None and self.schema.get("type") in _RAW


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: `path` is a template below `/api/v2.0`."""

    id: str
    method: str
    path: str
    tag: str
    answers: Mapping[int, Documented]


def operation(method: str, path: str) -> Operation | None:
    """Return the operation that a request is, by its path with or without a query, or None."""
    path = path.partition("?")[0]
    return next((found for shape, found in _patterns(method) if shape.fullmatch(path)), None)


@cache
def operations() -> tuple[Operation, ...]:
    """Return all operations."""
    return tuple(_operations())


def _operations() -> Iterator[Operation]:
    for path, methods in FACTS["paths"].items():
        for method, facts in methods.items():
            answers = {int(status): _documented(answer) for status, answer in facts["responses"].items()}
            yield Operation(facts["operationId"], method.upper(), path, facts["tags"][0], answers)


def _documented(answer: Mapping[str, Any]) -> Documented:
    if "$ref" in answer:
        answer = FACTS["responses"][answer["$ref"].rpartition("/")[2]]
    headers = {name: facts["type"] for name, facts in answer.get("headers", {}).items()}
    return Documented(answer.get("schema"), headers)


@cache
def _patterns(method: str) -> tuple[tuple[re.Pattern[str], Operation], ...]:
    found = sorted((each for each in operations() if each.method == method), key=_most_fixed_first)
    return tuple((pattern(each.path), each) for each in found)


def _most_fixed_first(each: Operation) -> tuple[int, int]:
    parts = each.path.strip("/").split("/")
    return (-sum(not part.startswith("{") for part in parts), len(parts))


def pattern(template: str) -> re.Pattern[str]:
    """Return what the paths of a template below `/api/v2.0` look like."""
    expression = re.sub(r"\{repository_name\}", ".+", template.rstrip("/"))
    return re.compile(_ROOT + re.sub(r"\{\w+\}", "[^/]+", expression) + "/?", re.DOTALL)


def json_schema(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema of the description, with all that it refers to, as a JSON Schema."""
    return {**_strict(schema), "definitions": _definitions()}


@cache
def _definitions() -> dict[str, Any]:
    return {name: _strict(schema) for name, schema in FACTS["definitions"].items()}


def _strict(schema: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        strict: dict[str, Any] = {"$ref": schema["$ref"]}
    else:
        strict = {key: _part(key, value) for key, value in schema.items() if not key.startswith("x-")}
        if "properties" in schema:
            strict.setdefault("additionalProperties", False)
    return {"anyOf": [strict, {"type": "null"}]} if _nullable(schema) else strict


def _part(key: str, value: Any) -> Any:
    if key == "properties":
        return {name: _strict(schema) for name, schema in value.items()}
    if key not in {"items", "additionalProperties"} or isinstance(value, bool):
        return value
    # In a map of objects about which nothing is said, Harbor's own models have any value.
    return _strict(value) if (key, value) != ("additionalProperties", {"type": "object"}) else True


def _nullable(schema: Mapping[str, Any]) -> bool:
    if "x-nullable" in schema:
        return bool(schema["x-nullable"])
    return schema.get("type") == "array" and not schema.get("x-omitempty", False)
