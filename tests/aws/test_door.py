"""The door, which does what the template's front says: what each origin is sent, and what the door refuses itself."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx
import pytest

from tests.aws.distribution import distribution, fronted, without_functions
from tests.aws.door import LONGEST_REQUEST, LONGEST_URL, Behind, at, opened
from tests.engines.process import HOST, free_ports

Json = dict[str, Any]
DIGEST = "sha256:" + "0a" * 32
UPLOAD = "/v2/library/app/blobs/uploads/1?_state=a%2Bb"
NAMES = ("api", "relay", "bucket", "portal")


@dataclass(frozen=True, slots=True)
class Site:
    """A door behind which every origin answers with what it was asked."""

    url: str

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")

    def ask(self, method: str, target: str, content: Any = None, **headers: str) -> httpx.Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.request(method, self.url + target, content=content, headers=sent)

    def asked(self, method: str, target: str, content: Any = None, **headers: str) -> Json:
        """Return what reached an origin."""
        answered = self.ask(method, target, content, **headers)
        assert answered.status_code == 200, answered.text
        told: Json = json.loads(answered.headers["x-asked"])
        return told


@contextmanager
def telling(origin: str) -> Iterator[str]:
    """Serve an origin that answers with what it was asked, in a header, since a HEAD has no body."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            told = {"origin": origin, "target": self.path, "headers": headers, "body": self._body(headers).decode()}
            self.send_response(200)
            self.send_header("X-Asked", json.dumps(told))
            self.send_header("Content-Length", "2" if self.command == "HEAD" else "0")
            self.end_headers()

        def _body(self, headers: Mapping[str, str]) -> bytes:
            if headers.get("transfer-encoding") != "chunked":
                return self.rfile.read(int(headers.get("content-length", 0)))
            pieces = []
            while size := int(self.rfile.readline(), 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = do_HEAD = _answer  # noqa: N815 - the library's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{HOST}:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    (port,) = free_ports(1)
    with telling("api") as api, telling("relay") as relay, telling("bucket") as bucket, telling("portal") as portal:
        origins = dict(zip(NAMES, map(at, (api, relay, bucket, portal)), strict=True))
        with opened(Behind(origins, fronted()), port):
            yield Site(f"http://{HOST}:{port}")


def test_the_relay_gets_an_upload_as_the_client_sent_it(site: Site) -> None:
    asked = site.asked("PATCH", UPLOAD, iter([b"one", b"two"]), authorization="Bearer a.b.c", x_other="kept")

    assert (asked["origin"], asked["target"], asked["body"]) == ("relay", UPLOAD, "onetwo")
    assert asked["headers"]["transfer-encoding"] == "chunked"
    assert asked["headers"]["authorization"] == "Bearer a.b.c"
    assert asked["headers"]["x-other"] == "kept"
    assert asked["headers"]["host"] == asked["headers"]["x-forwarded-host"] == site.host


def test_a_body_of_known_length_stays_one(site: Site) -> None:
    asked = site.asked("PUT", UPLOAD, b"one")

    assert asked["headers"]["content-length"] == "3"
    assert "transfer-encoding" not in asked["headers"]


def test_the_api_gets_its_own_host_and_learns_the_client_s(site: Site) -> None:
    asked = site.asked("GET", "/v2/library/app/tags/list?n=1&last=a%2Fb", x_forwarded_host="evil.example.com")

    assert (asked["origin"], asked["target"]) == ("api", "/v2/library/app/tags/list?n=1&last=a%2Fb")
    assert asked["headers"]["host"] != site.host
    assert asked["headers"]["x-forwarded-host"] == site.host


def test_what_a_client_says_of_its_scheme_reaches_no_origin(site: Site) -> None:
    for target in ("/v2/", UPLOAD):
        assert "x-forwarded-proto" not in site.asked("GET", target, x_forwarded_proto="gopher")["headers"]


def test_the_bucket_gets_the_presigned_query_alone_and_the_digest_comes_back(site: Site) -> None:
    target = "/data/01jdx?X-Amz-Signature=a%2Fb&X-Amz-Expires=900"

    answered = site.ask("HEAD", f"{target}&_digest={DIGEST}", authorization="Bearer a.b.c", cookie="a=b")

    asked = json.loads(answered.headers["x-asked"])
    assert (asked["origin"], asked["target"]) == ("bucket", target)
    assert {"authorization", "cookie"}.isdisjoint(asked["headers"])
    assert answered.headers["docker-content-digest"] == DIGEST
    assert answered.headers["content-length"] == "2"


def test_no_header_reaches_the_bucket_that_a_presigned_query_would_have_to_sign(site: Site) -> None:
    assert not [name for name in site.asked("GET", "/data/01jdx")["headers"] if name.startswith("x-amz-")]
    assert "x-amz-cf-id" in site.asked("GET", "/v2/")["headers"]


def test_the_api_answers_a_head_with_no_length(site: Site) -> None:
    assert site.ask("HEAD", "/v2/library/app/manifests/v1").headers["content-length"] == "0"


@pytest.mark.parametrize(
    ("status", "method", "target", "content"),
    [
        (403, "POST", "/data/01jdx", b"x"),
        (403, "PUT", "/portal/index.html", b"x"),
        (403, "GET", "/v2/", b"x"),
        (414, "GET", "/v2/?" + "n" * LONGEST_URL, None),
        (413, "PUT", "/v2/library/app/manifests/v1", b"x" * 5_000_000),
    ],
)
def test_what_cloudfront_and_the_api_refuse_is_refused(
    site: Site, status: int, method: str, target: str, content: bytes | None
) -> None:
    assert site.ask(method, target, content).status_code == status


def test_headers_that_are_too_long_are_refused(site: Site) -> None:
    assert site.ask("GET", "/v2/", x_long="a" * LONGEST_REQUEST).status_code == 413


def test_what_is_nowhere_and_people_are_answered_at_the_edge(site: Site) -> None:
    assert site.ask("GET", "/").headers["location"] == "/portal/"
    assert site.ask("GET", "/v3/").json()["errors"][0]["code"] == "UNSUPPORTED"
    assert site.asked("GET", "/portal/projects/1")["target"] == "/portal/index.html"


def test_a_template_that_passes_the_client_s_host_to_the_api_is_found_out() -> None:
    (port,) = free_ports(1)
    front = fronted()
    careless = [replace(each, headers=front.taker(UPLOAD).headers) for each in front.behaviors]
    with telling("api") as api, opened(Behind({"api": at(api)}, replace(front, behaviors=careless)), port):
        assert httpx.get(f"http://{HOST}:{port}/v2/").status_code == 403


def test_a_template_with_an_origin_of_another_kind_for_the_bucket_is_found_out() -> None:
    (port,) = free_ports(1)
    with telling("bucket") as bucket:
        behind = Behind({"bucket": at(bucket)}, replace(fronted(), s3_origins=frozenset()))
        with opened(behind, port):
            assert "x-amz-cf-id" in Site(f"http://{HOST}:{port}").asked("GET", "/data/01jdx")["headers"]


def test_without_a_relay_uploads_are_the_api_s_and_without_a_front_there_is_none() -> None:
    template = without_functions()

    assert distribution(template, {"Front": "true"}).taker(UPLOAD).origin == "api"
    with pytest.raises(KeyError, match="no distribution"):
        distribution(template, {})
