"""The way to the bytes through the server itself: only blobs, only as S3 allows, and never with anything false."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from mypy_boto3_s3 import S3Client

from chalicelib.store.signing import Credentials, Presigner
from tests.engines import Engine
from tests.server.pushing import MiB, content, digest, follow, image, push_blob, push_manifest
from tests.server.relay import Relay, relaying
from tests.server.running import BUCKET, Server, over, started
from tests.server.wire import Answer, ClosedError, request

REPOSITORY = "library/door"
SMALL = content("small", 5000)
LARGE = content("large", 9 * MiB)
ELSEWHERE = "sha256:" + "e" * 64


@dataclass(frozen=True, slots=True)
class Door:
    """A server that gives out S3's bytes under its own address, and what can sign addresses for it."""

    server: Server
    relay: Relay
    presigner: Presigner

    def location(self, blob: bytes) -> str:
        """Return where the registry sends a client for a blob."""
        return self.server.ask("GET", f"/v2/{REPOSITORY}/blobs/{digest(blob)}").header("location")

    def signed(self, method: str, key: str, *, ago: timedelta = timedelta(0)) -> str:
        """Return an address that S3 itself would accept, for any key."""
        then = replace(self.presigner, now=lambda: datetime.now(UTC) - ago)
        parts = urlsplit(then.url(method, key, seconds=900))
        return f"{parts.path}?{parts.query}"

    def key(self, blob: bytes) -> str:
        """Return where the bytes are in the bucket."""
        return urlsplit(self.location(blob)).path.removeprefix(f"/{BUCKET}/")


@pytest.fixture(scope="module")
def engine(strict_engine: Engine) -> Engine:
    return strict_engine


@pytest.fixture(scope="module")
def door(engine: Engine, s3: S3Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    assert s3.list_buckets()["Buckets"]
    with relaying(engine.endpoint) as relay:
        variables = over(engine, relay.endpoint) | {"ROADSTEAD_S3_PUBLIC_ENDPOINT": "/"}
        with started(["serve", "--json"], tmp_path_factory.mktemp("door"), variables) as server:
            for blob in (b"{}", SMALL, LARGE):
                push_blob(server, REPOSITORY, blob)
            push_manifest(server, REPOSITORY, "v1", image(b"{}", [SMALL]))
            yield Door(server, relay, _presigner(engine, relay.endpoint))


def _presigner(engine: Engine, endpoint: str) -> Presigner:
    credentials = Credentials(engine.access_key, engine.secret_key)
    return Presigner(f"{endpoint}/{BUCKET}", engine.region, lambda: credentials, lambda: datetime.now(UTC))


def test_redirect_leads_to_the_same_host(door: Door) -> None:
    assert re.match(rf"/{BUCKET}/data/[0-9a-f-]{{36}}\?X-Amz-", door.location(SMALL))


@pytest.mark.parametrize("blob", [SMALL, LARGE], ids=["small", "large"])
def test_blob_is_served_whole_under_its_digest(door: Door, blob: bytes) -> None:
    answer = follow(door.server, door.location(blob), {})

    assert (answer.status, answer.body == blob) == (200, True)
    assert answer.header("docker-content-digest") == digest(blob)
    assert answer.header("content-length") == str(len(blob))
    assert answer.header("content-type") == "application/octet-stream"


# fmt: off
PARTS = (
    ("bytes=0-0",           206, slice(0, 1)),
    ("bytes=100-199",       206, slice(100, 200)),
    ("bytes=4990-",         206, slice(4990, None)),
    ("bytes=-7",            206, slice(-7, None)),
    ("bytes=0-999999",      206, slice(0, None)),
)
# fmt: on


@pytest.mark.parametrize(("wanted", "status", "part"), PARTS)
def test_part_of_a_blob_is_served(door: Door, wanted: str, status: int, part: slice) -> None:
    answer = follow(door.server, door.location(SMALL), {"Range": wanted})

    first, last, _ = part.indices(len(SMALL))
    assert (answer.status, answer.body) == (status, SMALL[part])
    assert answer.header("content-range") == f"bytes {first}-{last - 1}/{len(SMALL)}"


def test_part_beyond_the_end_is_refused(door: Door) -> None:
    answer = follow(door.server, door.location(SMALL), {"Range": "bytes=5000-"})

    assert answer.status == 416


def test_what_the_client_has_already_is_not_sent_again(door: Door) -> None:
    location = door.location(SMALL)
    tag = follow(door.server, location, {}).header("etag")

    assert tag
    assert follow(door.server, location, {"If-None-Match": tag}).status == 304
    assert follow(door.server, location, {"If-None-Match": '"other"'}).body == SMALL


def test_head_tells_the_length_and_sends_no_body(door: Door) -> None:
    with door.server.wire() as wire:
        location = f"{door.signed('HEAD', door.key(SMALL))}&_digest={digest(SMALL)}"
        head = wire.ask("HEAD", location, {})
        get = wire.ask("GET", door.location(SMALL), {})

    assert (head.status, head.header("content-length")) == (200, "5000")
    assert head.header("docker-content-digest") == digest(SMALL)
    assert get.body == SMALL


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_address_is_good_for_the_method_it_was_signed_for(door: Door, method: str) -> None:
    other = "HEAD" if method == "GET" else "GET"
    with door.server.wire() as wire:
        refused = wire.ask(other, door.signed(method, door.key(SMALL)), {})
        after = wire.ask("GET", "/v2/", door.server.admin)

    assert (refused.status, after.status) == (403, 200)
    assert SMALL not in refused.body


# fmt: off
HEADERS: tuple[dict[str, str], ...] = (
    {"Authorization": "Basic YWRtaW46eA=="},
    {"Authorization": "Bearer a.b.c"},
    {"Authorization": "AWS4-HMAC-SHA256 Credential=a/b/c/s3/aws4_request, SignedHeaders=host, Signature=0"},
    {"X-Amz-Security-Token": "x"},
    {"X-Amz-Date": "20200101T000000Z"},
    {"X-Amz-Content-Sha256": "0"},
    {"Host": "registry.example:444"},
    {"Cookie": "a=b", "Accept-Encoding": "gzip", "X-Forwarded-Host": "elsewhere"},
    {"Accept": "application/vnd.oci.image.manifest.v1+json"},
)
# fmt: on


@pytest.mark.parametrize("headers", HEADERS, ids=lambda headers: " ".join(headers)[:40])
def test_nothing_that_clients_send_along_reaches_s3(door: Door, headers: Mapping[str, str]) -> None:
    answer = follow(door.server, door.location(SMALL), headers)

    assert (answer.status, answer.body) == (200, SMALL)


Change = Callable[[str], str]
# fmt: off
TAMPERED: tuple[tuple[str, Change], ...] = (
    ("another signature",   lambda url: re.sub(r"Signature=.", lambda found: f"Signature={'1' if found[0][-1] == '0' else '0'}", url)),
    ("no signature",        lambda url: re.sub(r"&X-Amz-Signature=[0-9a-f]+", "", url)),
    ("an empty signature",  lambda url: re.sub(r"Signature=[0-9a-f]+", "Signature=", url)),
    ("a longer life",       lambda url: url.replace("Expires=900", "Expires=9000")),
    ("another day",         lambda url: re.sub(r"Date=\d{4}", "Date=2001", url)),
    ("another key id",      lambda url: re.sub(r"Credential=\w+", "Credential=nobody", url)),
    ("another object",      lambda url: re.sub(r"/data/[0-9a-f]{4}", "/data/0000", url)),
    ("no query",            lambda url: url.partition("?")[0]),
    ("another query",       lambda url: url.partition("?")[0] + "?acl"),
    ("more in the query",   lambda url: url.replace("&_digest", "&response-content-type=text/html&_digest")),
    ("the mark first",      lambda url: re.sub(r"\?(.*)&(_digest=.*)", r"?\2&\1", url)),
    ("a part number",       lambda url: url.replace("&_digest", "&partNumber=1&_digest")),
    ("a listing",           lambda url: re.sub(r"/data/[^?]+\?", "/data/?list-type=2&", url)),
)
# fmt: on


@pytest.mark.parametrize(("name", "change"), TAMPERED, ids=[name for name, _ in TAMPERED])
def test_tampered_address_is_refused_by_s3(door: Door, name: str, change: Change) -> None:
    answer = follow(door.server, change(door.location(SMALL)), {})

    assert answer.status in (400, 403, 404), name
    _gives_nothing_away(door, answer)


def test_address_expires(door: Door) -> None:
    answer = follow(door.server, door.signed("GET", door.key(SMALL), ago=timedelta(minutes=16)), {})

    assert answer.status == 403
    _gives_nothing_away(door, answer)


def _gives_nothing_away(door: Door, answer: Answer) -> None:
    assert door.presigner.credentials().secret_key.encode() not in answer.body
    assert b"/data/" not in answer.body
    assert BUCKET.encode() not in answer.body
    assert answer.codes()
    assert answer.header("x-request-id")


# fmt: off
KEYS = (
    "", "data", "uploads/x", "blobs/{blob}", "catalog/library!door", "repositories/library/door/_tags/v1",
    "repositories/library/door/_blobs/{blob}", "repositories/library/door/_manifests/{blob}",
)
ROUNDABOUT = (
    "data/../repositories/library/door/_tags/v1", "data/../blobs/{blob}", "data/./../catalog/library!door",
    "data//../repositories/library/door/_tags/v1", "data/x/../../repositories/library/door/_tags/v1", "data/", "data/..",
    "data/../../", "data/../../etc/passwd",
)
ENCODED = (
    "data/%2e%2e/repositories/library/door/_tags/v1", "data/..%2frepositories%2flibrary%2fdoor%2f_tags%2fv1",
    "data%2f..%2frepositories/library/door/_tags/v1", "%64ata/../repositories/library/door/_tags/v1",
    "data/..%5crepositories", "data/%00", "data/%0d%0aX-Evil:1", "data/%ff", "data/%",
)
# fmt: on


def _filled(key: str) -> str:
    return key.format(blob=digest(SMALL).replace(":", "/"))


@pytest.mark.parametrize("key", KEYS)
def test_other_keys_cannot_be_reached_even_with_a_signature(door: Door, key: str) -> None:
    answer = follow(door.server, door.signed("GET", _filled(key)), {})

    assert (answer.status, answer.codes()) == (404, ["UNSUPPORTED"])


@pytest.mark.parametrize("key", ROUNDABOUT)
def test_other_keys_cannot_be_reached_by_a_roundabout_way(door: Door, key: str) -> None:
    answer = follow(door.server, door.signed("GET", _filled(key)), {})

    assert answer.status in (400, 403, 404)
    assert answer.codes()


@pytest.mark.parametrize("key", ENCODED)
def test_other_keys_cannot_be_reached_by_encoding_them(door: Door, key: str) -> None:
    _, _, query = door.signed("GET", "repositories/library/door/_tags/v1").partition("?")

    answer = follow(door.server, f"/{BUCKET}/{key}?{query}", {})

    assert answer.status in (400, 403, 404)
    assert answer.codes()


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_changed_through_the_door(door: Door, method: str) -> None:
    key = door.key(SMALL)
    answer = door.server.ask(method, door.signed(method, key), {}, b"" if method == "OPTIONS" else b"other bytes")

    assert answer.status in (404, 405)
    assert follow(door.server, door.location(SMALL), {}).body == SMALL


def test_whole_address_leads_through_the_door_too(door: Door) -> None:
    answer = door.server.ask("GET", f"http://registry.test{door.location(SMALL)}", {})

    assert (answer.status, answer.body) == (200, SMALL)


# fmt: off
MARKS = (
    ("none",       "",                                         200, ""),
    ("empty",      "&_digest=",                                200, ""),
    ("another",    f"&_digest={ELSEWHERE}",                    200, ELSEWHERE),
    ("two",        f"&_digest={ELSEWHERE}&_digest=x",          200, ELSEWHERE),
    ("garbage",    "&_digest=x",                               400, ""),
    ("a header",   f"&_digest={ELSEWHERE}%0d%0aX-Evil:%20yes", 400, ""),
    ("bytes",      "&_digest=%FF",                             400, ""),
)
# fmt: on


@pytest.mark.parametrize(("name", "mark", "status", "said"), MARKS, ids=[row[0] for row in MARKS])
def test_digest_in_the_address_is_only_said(door: Door, name: str, mark: str, status: int, said: str) -> None:
    answer = follow(door.server, door.signed("GET", door.key(SMALL)) + mark, {})

    assert (answer.status, answer.header("docker-content-digest")) == (status, said), name
    assert "x-evil" not in answer.headers
    assert (answer.body == SMALL) if status == 200 else (answer.codes() == ["DIGEST_INVALID"])


def test_missing_object_is_an_error_document(door: Door) -> None:
    answer = follow(door.server, door.signed("GET", "data/00000000-0000-0000-0000-000000000000"), {})

    assert answer.status == 404
    _gives_nothing_away(door, answer)


def test_service_that_is_away_is_unavailable(door: Door) -> None:
    location = door.location(SMALL)
    door.relay.limit = 0
    try:
        answer = follow(door.server, location, {})
    finally:
        door.relay.limit = None

    assert (answer.status, answer.codes(), answer.header("retry-after")) == (503, ["UNAVAILABLE"], "5")
    assert follow(door.server, location, {}).body == SMALL


def test_answer_that_breaks_off_is_never_completed_with_anything_else(door: Door) -> None:
    location = door.location(LARGE)
    door.relay.limit = 3 * MiB
    try:
        with door.server.wire() as wire:
            wire.send(request("GET", location, {}))
            with pytest.raises(ClosedError) as closed:
                wire.answer()
    finally:
        door.relay.limit = None

    (received,) = closed.value.args
    assert LARGE.startswith(received)
    assert follow(door.server, location, {}).body == LARGE


def test_client_that_goes_away_disturbs_nobody(door: Door) -> None:
    location = door.location(LARGE)
    for _ in range(3):
        with door.server.wire() as wire:
            wire.send(request("GET", location, {}))
            time.sleep(0.05)
            wire.reset()

    assert follow(door.server, location, {}).body == LARGE
    assert "Traceback" not in door.server.err()


def test_lines_about_downloads_hold_no_signature(door: Door) -> None:
    follow(door.server, door.location(SMALL), {})

    assert "X-Amz" not in door.server.out() + door.server.err()
    assert f"/{BUCKET}/data/" in door.server.out()
