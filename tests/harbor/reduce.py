"""Reduce Harbor's API description to facts: names, types, statuses, nothing that somebody wrote to be read.

The source is the Swagger 2.0 file that Harbor publishes with each version (`api/v2.0/swagger.yaml`, here of 2.16). To
take in a newer one: `python -m tests.harbor.reduce swagger.yaml`, then read the difference of `facts.json`.

Invariants:
* What is kept is listed here; whatever a later version adds stays out until it is listed.
* The result is again Swagger, less what people read, so tools that take Swagger take it.
"""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

FACTS = Path(__file__).parent / "facts.json"

# Maps from a name to a fact: their keys are names, kept whatever they are.
_MAPS = frozenset({"properties", "definitions", "paths", "parameters", "responses", "headers"})
_METHODS = frozenset({"get", "head", "post", "put", "patch", "delete"})
_OPERATION = frozenset({"swagger", "basePath", "consumes", "produces", "operationId", "tags", "schema"})
_PARAMETER = frozenset({"name", "in", "required", "default", "collectionFormat"})
_VALUE = frozenset({"$ref", "type", "format", "enum", "items", "additionalProperties", "readOnly"})
_BOUNDS = frozenset({"minimum", "maximum", "minLength", "maxLength", "pattern"})
_NULLS = frozenset({"x-nullable", "x-isnullable", "x-omitempty"})
_FACTS = _MAPS | _METHODS | _OPERATION | _PARAMETER | _VALUE | _BOUNDS | _NULLS


def reduced(value: Any, *, names: bool = False) -> Any:
    """Return the facts of a part of the description; the keys of a map of names are all kept."""
    if isinstance(value, list):
        return [reduced(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        str(key): reduced(item, names=not names and key in _MAPS)
        for key, item in value.items()
        if names or key in _FACTS
    }


def written(value: Any, deep: int) -> str:
    """Return JSON in which what is deeper than this many objects is one line, so that differences can be read."""
    if not deep or not isinstance(value, dict):
        return json.dumps(value, sort_keys=True)
    members = (f"{json.dumps(name)}: {written(item, deep - 1)}" for name, item in sorted(value.items()))
    return "{\n" + ",\n".join(members) + "\n}"


def main(source: Path) -> None:
    """Write the facts of a Swagger file."""
    facts = reduced(yaml.safe_load(source.read_text()))
    FACTS.write_text(written(facts, deep=3) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
