"""The functions at CloudFront under Node, in one process: they see events in CloudFront's form, and nothing else.

A query is kept as it was written: no value is decoded and none is encoded.
"""

import json
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
Lines = Iterable[tuple[str, str]]
VIEWER = "127.0.0.1"
_PROGRAM = """
const made = new Map();
require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { code, event } = JSON.parse(line);
  if (!made.has(code)) made.set(code, new Function(`'use strict';${code}\\nreturn handler;`)());
  console.log(JSON.stringify(made.get(code)(event)));
});
"""


@dataclass(frozen=True, slots=True)
class Edge:
    """Where the functions run."""

    process: "subprocess.Popen[str]"

    def run(self, code: str, event: Json) -> Json:
        """Return what a function makes of an event."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"code": code, "event": event}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "a function at CloudFront failed: its error is above"
        made: Json = json.loads(line)
        return made


@contextmanager
def edge() -> Iterator[Edge]:
    """Keep Node running until the block is left."""
    node = shutil.which("node")
    assert node, "CloudFront's functions run under Node here: install nodejs"
    with subprocess.Popen(
        [node, "-e", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Edge(process)
        finally:
            process.kill()


def request(method: str, path: str, query: str, headers: Lines) -> Json:
    """Return a request in CloudFront's form."""
    fields = (each.partition("=")[::2] for each in query.split("&") if each)
    lowered = ((name.lower(), value) for name, value in headers)
    return {
        "method": method,
        "uri": path,
        "querystring": _grouped(fields),
        "headers": _grouped(lowered),
        "cookies": {},
    }


def response(status: int, headers: Lines) -> Json:
    """Return an answer in CloudFront's form."""
    lowered = ((name.lower(), value) for name, value in headers)
    return {"statusCode": status, "statusDescription": "", "headers": _grouped(lowered), "cookies": {}}


def event(kind: str, asked: Json, answered: Json | None = None) -> Json:
    """Return the event of a request, or of an answer to it."""
    context = {"distributionDomainName": "d111111abcdef8.cloudfront.net", "distributionId": "EDFDVBD6EXAMPLE",
               "eventType": kind, "requestId": "none"}  # fmt: skip
    told = {"version": "1.0", "context": context, "viewer": {"ip": VIEWER}, "request": asked}
    return told | ({"response": answered} if answered else {})


def lines(grouped: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    """Yield the names and values of an event's headers or query, one for each that was sent."""
    for name, told in grouped.items():
        for each in told.get("multiValue", [told]):
            yield name, each["value"]


def query(pairs: Lines) -> str:
    """Return the query that an origin is asked with."""
    return "&".join(f"{name}={value}" if value else name for name, value in pairs)


def _grouped(pairs: Lines) -> Json:
    """Return names with their values; the first of several stands for all beside the list of them."""
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return {
        name: {"value": values[0], **({"multiValue": [{"value": each} for each in values]} if values[1:] else {})}
        for name, values in found.items()
    }
