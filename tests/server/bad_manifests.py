"""Manifests that must be refused, and odd ones that must not: a table of documents and what to say to each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.server.cases import (
    CONFIG,
    CONFIG_TYPE,
    DOCKER_TYPE,
    IMAGE,
    IMAGE_TYPE,
    INDEX_TYPE,
    LAYER,
    LAYER_TYPE,
    MISSING,
    REPOSITORY,
    TAG,
    Case,
    asking,
    descriptor,
    digest,
    numbered,
)

LIST_TYPE = "application/vnd.docker.distribution.manifest.list.v2+json"
SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+json"
SIGNED_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws"
LIMIT = 4 * 1024 * 1024
_TARGET = f"PUT /v2/{REPOSITORY}/manifests/{TAG}"
_CONFIG = descriptor(CONFIG, CONFIG_TYPE)
_LAYER = descriptor(LAYER, LAYER_TYPE)
_CHILD = {"mediaType": IMAGE_TYPE, "digest": digest(IMAGE), "size": len(IMAGE)}
_IMAGE: dict[str, Any] = {"schemaVersion": 2, "mediaType": IMAGE_TYPE, "config": _CONFIG, "layers": [_LAYER]}
_INDEX: dict[str, Any] = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [_CHILD]}

# fmt: off
CONTENT_TYPES = (
    ("schema 1",               SCHEMA_1,                            400),
    ("schema 1, signed",       SIGNED_SCHEMA_1,                     400),
    ("any JSON",               "application/json",                  400),
    ("text",                   "text/plain",                        400),
    ("bytes",                  "application/octet-stream",          400),
    ("an index's",             INDEX_TYPE,                          400),
    ("docker's",               DOCKER_TYPE,                         400),
    ("docker's list",          LIST_TYPE,                           400),
    ("a future version",       IMAGE_TYPE.replace("v1", "v2"),      400),
    ("a config's",             CONFIG_TYPE,                         400),
    ("two types",              f"{IMAGE_TYPE}, {INDEX_TYPE}",       400),
    ("a wildcard",             "*/*",                               400),
    ("no slash",               "manifest",                          400),
    ("markup",                 "<script>alert(1)</script>",         400),
    ("quotes",                 "\"'\"",                             400),
    ("huge",                   "application/" + "x" * 9000,         400),
    ("only a parameter",       ";charset=utf-8",                    201),
    ("with a parameter",       f"{IMAGE_TYPE}; charset=utf-8",      201),
    ("in upper case",          IMAGE_TYPE.upper(),                  201),
    ("with blanks",            f"  {IMAGE_TYPE}  ",                 201),
    ("none",                   "",                                  201),
)
BODIES = (
    ("nothing",                b""),
    ("blanks",                 b"   \n"),
    ("not JSON",               b"blablabla"),
    ("half of JSON",           IMAGE[: len(IMAGE) // 2]),
    ("JSON and more",          IMAGE + b"x"),
    ("two documents",          IMAGE + IMAGE),
    ("a byte order mark",      b"\xef\xbb\xbf" + IMAGE),
    ("UTF-16",                 IMAGE.decode().encode("utf-16")),
    ("bytes that are no text", b"\xff\xfe\x00" + IMAGE),
    ("a NUL",                  IMAGE[:-1] + b"\0}"),
    ("a lone surrogate",       b'{"schemaVersion":2,"x":"\\ud800"}'),
    ("gzip",                   b"\x1f\x8b\x08" + bytes(30)),
    ("a comment",              b"/* */" + IMAGE),
    ("single quotes",          IMAGE.replace(b'"', b"'")),
    ("a trailing comma",       IMAGE[:-1] + b",}"),
    ("NaN",                    b'{"schemaVersion":NaN}'),
    ("infinity",               b'{"schemaVersion":1e999}'),
    ("a list",                 b"[" + IMAGE + b"]"),
    ("a text",                 b'"' + b"x" * 100 + b'"'),
    ("a number",               b"2"),
    ("a number of 9000 digits", b"9" * 9000),
    ("true",                   b"true"),
    ("null",                   b"null"),
    ("an empty object",        b"{}"),
    ("deep lists",             b"[" * 100_000),
    ("deep closed lists",      b"[" * 100_000 + b"]" * 100_000),
    ("deep objects",           b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    ("a deep annotation",      b'{"schemaVersion":2,"annotations":' + b"[" * 2000 + b"]" * 2000 + b"}"),
    ("a huge exponent",        b'{"schemaVersion":2e' + b"9" * 1000 + b"}"),
    ("a huge version",         b'{"schemaVersion":' + b"2" * 4000 + b"}"),
    ("schema 1",               b'{"schemaVersion":1,"fsLayers":[],"history":[]}'),
    ("two versions",           IMAGE[:-1] + b',"schemaVersion":1}'),
    ("two types",              IMAGE[:-1] + b',"mediaType":"' + INDEX_TYPE.encode() + b'"}'),
    ("two lists of layers",    IMAGE[:-1] + b',"layers":{}}'),
)
NUMBERS: tuple[Any, ...] = (-1, 0.5, 1e3, 1 << 63, 1 << 64, -(1 << 63), True, "20", None, [], {}, [20])
DIGESTS: tuple[Any, ...] = (None, 1, True, [], {}, "", "sha256", "sha256:", ":", "sha256:abc", f"SHA256:{'a' * 64}",
           f"sha256:{'A' * 64}", f"sha256:{'a' * 63}", f"sha256:{'a' * 65}", f"sha512:{'a' * 64}", f"md5:{'a' * 32}",
           f"sha256:{'g' * 64}", f"sha256:{'a' * 64} ", f"sha256:{'a' * 64}\n", "../../../etc/passwd",
           "sha256:" + "../" * 21 + "x", "x" * 100_000)
OBJECTS: tuple[Any, ...] = (None, 1, True, "text", [], {}, [[]])
TEXTS: tuple[Any, ...] = (0, 1, True, False, [], {}, ["a"], 1.5)
ANNOTATIONS: tuple[Any, ...] = (1, True, False, "text", "", [], ["a"], {"a": 1}, {"a": None}, {"a": {"b": "c"}}, 0)
URLS: tuple[Any, ...] = (1, "https://example.com", "", 0, {}, [1], [None], [["https://example.com"]])
LISTS: tuple[Any, ...] = (None, 1, "text", {}, {"0": _LAYER}, [None], [1], ["text"], [[]], [[_LAYER]])
VERSIONS: tuple[Any, ...] = (None, 0, 1, 3, "2", [2], {}, True, 2.5, -2, 1 << 70)
# fmt: on


def cases() -> Iterator[Case]:
    """Return every case of a bad manifest."""
    yield from numbered("content-type", _content_types())
    yield from numbered("body", _bodies())
    yield from numbered("document", _documents())
    yield from numbered("descriptor", _descriptors())
    yield from numbered("size", _sizes())
    yield from numbered("reference", _references())


def _put(name: str, body: bytes, status: int = 400, code: str = "MANIFEST_INVALID", media_type: str = "") -> Case:
    return asking(name, _TARGET, status, code, headers={"Content-Type": media_type}, body=body)


def _content_types() -> Iterator[Case]:
    for name, content_type, status in CONTENT_TYPES:
        yield _put(name, IMAGE, status, "" if status == 201 else "MANIFEST_INVALID", content_type)


def _bodies() -> Iterator[Case]:
    for name, body in BODIES:
        yield _put(name, body, media_type=IMAGE_TYPE)
        yield _put(f"{name}, untyped", body)


def _documents() -> Iterator[Case]:
    yield _put("an image with manifests", _json(_IMAGE | {"manifests": []}), media_type=IMAGE_TYPE)
    yield _put("an image with null manifests", _json(_IMAGE | {"manifests": None}), media_type=IMAGE_TYPE)
    yield _put("an index with layers", _json(_INDEX | {"layers": []}), media_type=INDEX_TYPE)
    yield _put("an index with a config", _json(_INDEX | {"config": _CONFIG}), media_type=INDEX_TYPE)
    yield _put("an index with fsLayers", _json(_INDEX | {"fsLayers": []}), media_type=INDEX_TYPE)
    yield _put("an image that says it is an index", _json(_IMAGE | {"mediaType": INDEX_TYPE}))
    yield _put("an image of an unknown type", _json(_IMAGE | {"mediaType": "application/x"}))
    yield _put("an image without config", _json({"schemaVersion": 2, "layers": []}))
    yield _put("an image without layers", _json({"schemaVersion": 2, "config": _CONFIG}))
    yield _put("neither image nor index", _json({"schemaVersion": 2, "mediaType": INDEX_TYPE}))
    for value in VERSIONS:
        yield _put(f"version {value}", _json(_IMAGE | {"schemaVersion": value}))
    for value in TEXTS:
        yield _put(f"mediaType {value}", _json(_IMAGE | {"mediaType": value}))
        yield _put(f"artifactType {value}", _json(_IMAGE | {"artifactType": value}))
    for noted in ANNOTATIONS:
        yield _put(f"annotations {noted}", _json(_IMAGE | {"annotations": noted}))
    for several in LISTS:
        yield _put(f"layers {several}", _json(_IMAGE | {"layers": several}))
        yield _put(f"manifests {several}", _json(_INDEX | {"manifests": several}), media_type=INDEX_TYPE)


def _descriptors() -> Iterator[Case]:
    for name, good in (("config", _CONFIG), ("layer", _LAYER), ("manifest", _CHILD), ("subject", _CHILD)):
        wrong = [("size", value) for value in NUMBERS]
        wrong += [("digest", value) for value in DIGESTS]
        wrong += [("mediaType", value) for value in (*TEXTS, None, "")]
        wrong += [("urls", value) for value in URLS]
        for key, value in wrong:
            yield _put(f"{name}.{key} {value}", _json(_with(name, good | {key: value})))
        for missing in good:
            partial = {key: value for key, value in good.items() if key != missing}
            yield _put(f"{name} without {missing}", _json(_with(name, partial)))
        for value in OBJECTS:
            # A subject that is null is none.
            if (name, value) != ("subject", None):
                yield _put(f"{name} {value}", _json(_with(name, value)))


def _with(place: str, value: object) -> dict[str, object]:
    """Return a document with a descriptor in one place."""
    if place == "layer":
        return _IMAGE | {"layers": [_LAYER, value]}
    if place == "manifest":
        return _INDEX | {"manifests": [_CHILD, value]}
    return _IMAGE | {place: value}


def _sizes() -> Iterator[Case]:
    padded = IMAGE + b" " * (LIMIT - len(IMAGE))
    over = b"x" * (LIMIT + 1)
    yield _put("one byte too many", over, 413)
    yield _put("a good manifest one byte too long", padded + b" ", 413)
    chunks = b"100001\r\n" + over[:0x100001] + b"\r\n"
    chunked = {"Transfer-Encoding": "chunked"}
    yield asking("too many chunks", _TARGET, 413, "MANIFEST_INVALID", headers=chunked, body=chunks * 4 + b"0\r\n\r\n")


def _references() -> Iterator[Case]:
    """Manifests that are valid and refer to what is not there."""
    absent = {"mediaType": LAYER_TYPE, "digest": MISSING, "size": 1}
    unknown = "MANIFEST_BLOB_UNKNOWN"
    yield _put("a missing config", _json(_IMAGE | {"config": absent}), 404, unknown)
    yield _put("a missing layer", _json(_IMAGE | {"layers": [_LAYER, absent]}), 404, unknown)
    yield _put("a missing child", _json(_INDEX | {"manifests": [absent | {"mediaType": IMAGE_TYPE}]}), 404, unknown)
    yield _put("a blob as a child", _json(_INDEX | {"manifests": [_LAYER]}), 404, unknown)
    yield _put("a manifest as a layer", _json(_IMAGE | {"layers": [_CHILD]}), 404, unknown)
    target = f"PUT /v2/library/other/manifests/{TAG}"
    typed = {"Content-Type": IMAGE_TYPE}
    yield asking("blobs of another repository", target, 404, unknown, headers=typed, body=IMAGE)
    target = f"PUT /v2/{REPOSITORY}/manifests/{MISSING}"
    yield asking("another digest", target, 400, "DIGEST_INVALID", headers=typed, body=IMAGE)
    target = f"PUT /v2/{REPOSITORY}/manifests/{digest(LAYER, 'sha512')}"
    yield asking("another sha512 digest", target, 400, "DIGEST_INVALID", headers=typed, body=IMAGE)


def _json(document: object) -> bytes:
    # Not orjson: it has no numbers beyond 64 bits.
    return json.dumps(document, separators=(",", ":")).encode()
