"""A case of bad input: the bytes a client sends, and the answer it must get.

* Marks such as `@upload@` stand for what is known only when the server runs; `test_bad_input` replaces them. They
  stand in request lines and headers only, so that lengths are right.
* What repositories hold when the cases begin is constant, so that cases can name it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum

import orjson

from tests.server.wire import request

REPOSITORY = "library/app"
OTHER = "library/other"
TAG = "latest"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
IMAGE_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
DOCKER_TYPE = "application/vnd.docker.distribution.manifest.v2+json"


def digest(content: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def descriptor(content: bytes, media_type: str) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest(content), "size": len(content)}


CONFIG = b"{}"
LAYER = b"the bytes of a layer"
IMAGE = orjson.dumps(
    {
        "schemaVersion": 2,
        "mediaType": IMAGE_TYPE,
        "config": descriptor(CONFIG, CONFIG_TYPE),
        "layers": [descriptor(LAYER, LAYER_TYPE)],
    }
)
MISSING = digest(b"nobody ever pushed this")


class Ending(Enum):
    """How the client's side of the connection goes on after the request's bytes."""

    OPEN = "the client waits"
    FINISHED = "the client sends no more"
    GONE = "the client breaks the connection: nobody can be answered"


@dataclass(frozen=True, slots=True)
class Case:
    """One case; `code` is "" where the answer is a success, `status` 0 where nobody can be answered."""

    id: str
    pieces: tuple[bytes, ...]
    status: int
    code: str = ""
    method: str = "GET"
    ending: Ending = Ending.OPEN
    parsed: bool = True
    headers: tuple[str, ...] = ()


def asking(
    name: str,
    line: str,
    status: int,
    code: str = "",
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> Case:
    """Return a case from a request line such as `GET /v2/`, made by the administrator unless `headers` say who."""
    method, _, target = line.partition(" ")
    sent = {"Authorization": "@admin@", **(headers or {})}
    sent = {key: value for key, value in sent.items() if value}
    return Case(name, (request(method, target, sent, body),), status, code, method)


def raw(name: str, *pieces: bytes, status: int = 400, code: str = "UNSUPPORTED") -> Case:
    """Return a case of bytes that are not a request: the answer cannot have a request's id."""
    return Case(name, pieces, status, code, parsed=False)


def numbered(group: str, cases: Iterator[Case]) -> Iterator[Case]:
    """Give each case an id that is unique and can be typed."""
    for number, case in enumerate(cases, 1):
        label = ascii(case.id).strip("'\"")[:60]
        yield replace(case, id=f"{group}-{number:03}-{label}")
