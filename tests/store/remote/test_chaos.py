"""Whatever a registry answers, its caller gets a value or a `RemoteError` whose text can be shown."""

import json
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from chalicelib.oci.manifests import OCI_INDEX, OCI_MANIFEST
from chalicelib.store.remote import Remote, RemoteError, Site, connect
from chalicelib.store.remote.tokens import challenges
from tests.store.remote.conftest import HERE
from tests.store.remote.fake import ACCESS_KEY, ACCESS_SECRET, FakeRegistry, Handler, digest_of, faking

DIGEST = digest_of(b"{}")
ASKED: dict[str, Callable[[Remote], object]] = {
    "ping": lambda remote: remote.ping(),
    "head": lambda remote: remote.head_manifest("a/b", "v1"),
    "get": lambda remote: remote.get_manifest("a/b", DIGEST),
    "size": lambda remote: remote.blob_size("a/b", DIGEST),
    "location": lambda remote: remote.blob_location("a/b", DIGEST),
    "read": lambda remote: _read(remote, 0),
    "read on": lambda remote: _read(remote, 7),
    "mount": lambda remote: remote.mount("a/b", DIGEST, "c/d"),
    "send": lambda remote: remote.send(remote.begin_upload("a/b"), b"chunk", 0),
    "whole": lambda remote: remote.put_blob(remote.begin_upload("a/b"), DIGEST, 2, [b"{}"]),
    "uploaded": lambda remote: remote.uploaded(remote.begin_upload("a/b")),
    "finish": lambda remote: remote.finish(remote.begin_upload("a/b"), DIGEST),
    "manifest": lambda remote: remote.put_manifest("a/b", "v1", OCI_MANIFEST, b"{}"),
    "delete": lambda remote: remote.delete_manifest("a/b", DIGEST),
    "tag": lambda remote: remote.delete_tag("a/b", "v1"),
    "tags": lambda remote: list(remote.tags("a/b")),
    "repositories": lambda remote: list(remote.repositories(["a"])),
    "referrers": lambda remote: remote.referrers("a/b", DIGEST),
    "prepare": lambda remote: remote.prepare("a/b"),
}
KINDS = ("docker-registry", "harbor", "docker-hub", "google-gcr")

# fmt: off
FIELDS = (
    "errors", "code", "message", "token", "access_token", "expires_in", "tags", "repositories", "manifests", "digest",
    "name", "results", "next", "namespaces", "manifest", "mediaType", "tag", DIGEST,
)
HEADERS = (
    "Location", "Link", "WWW-Authenticate", "Content-Type", "Docker-Content-Digest", "Range", "Content-Range",
    "Retry-After", "OCI-Chunk-Min-Length", "Content-Length",
)
VALUES = (
    DIGEST, OCI_INDEX, "0-4", "0-1", "bytes 7-9/10", "bytes 0-1/*", "/v2/x", "http://[", '</v2/a>; rel="next"', "5",
    "-1", "99999999999999999999", "sha512:00", 'Bearer realm="/token",service="x"', 'Basic realm="x"',
)
# fmt: on
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["a/b", "v1", DIGEST]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=8,
)
bodies = st.binary(max_size=40) | st.builds(lambda value: json.dumps(value).encode(), json_values)
texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=30)
headers = st.dictionaries(st.sampled_from(HEADERS), texts | st.sampled_from(VALUES), max_size=4)
statuses = st.sampled_from([200, 201, 202, 204, 206, 301, 307, 400, 401, 403, 404, 405, 416, 429, 500, 503])
answers = st.lists(st.tuples(statuses, headers, bodies), min_size=1, max_size=4)


def _read(remote: Remote, start: int) -> bytes:
    with remote.read_blob("a/b", DIGEST, start) as blob:
        return blob.read(1 << 16)


def look_up(host: str, _port: int) -> list[str]:
    """Know this machine alone: no test asks the world for names."""
    return [host if host == "127.0.0.1" else "10.0.0.1"]


@pytest.fixture(scope="module")
def chaos() -> Iterator[FakeRegistry]:
    with faking() as made:
        yield made


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(asked=st.sampled_from(sorted(ASKED)), kind=st.sampled_from(KINDS), told=answers)
@example(asked="read on", kind="harbor", told=[(206, {"Content-Range": "bytes 7-9/10"}, b"789")])
@example(asked="manifest", kind="harbor", told=[(200, {"Docker-Content-Digest": "\x80"}, b"")])
@example(asked="tags", kind="harbor", told=[(200, {"Link": '</v2/a>; rel="next"'}, b'{"tags":["v1"]}')])
def test_whatever_is_answered_is_a_value_or_an_error_to_show(
    chaos: FakeRegistry, asked: str, kind: str, told: list[tuple[int, dict[str, str], bytes]]
) -> None:
    left = list(told)

    def answering(handler: Handler) -> None:
        status, sent, body = left.pop(0) if len(left) > 1 else left[0]
        handler.close_connection = True
        handler.give(status, body, sent)

    chaos.replaced.clear()
    chaos.asked.clear()
    for method in ("GET", "HEAD", "POST", "PATCH", "PUT", "DELETE"):
        chaos.instead(method, "/", answering)
    said = ""
    with connect(Site(chaos.url, kind, ACCESS_KEY, ACCESS_SECRET), HERE, look_up, seconds=2) as remote:
        try:
            ASKED[asked](remote)
        except RemoteError as error:
            said = str(error)
    assert said.isprintable()
    assert ACCESS_SECRET not in said


names = st.from_regex(r"[A-Za-z][A-Za-z0-9_-]{0,8}", fullmatch=True)
parameters = st.dictionaries(names.map(str.lower), texts.filter(str), min_size=1, max_size=4)


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(st.lists(st.tuples(names, parameters), max_size=3))
def test_challenges_are_read_as_they_were_written(written: list[tuple[str, dict[str, str]]]) -> None:
    header = ", ".join(
        f"{scheme} {', '.join(f'{name}={quoted(value)}' for name, value in given.items())}"
        for scheme, given in written
    )

    found = [(each.scheme, dict(each.parameters)) for each in challenges(header)]
    assert found == [(scheme.lower(), given) for scheme, given in written]


@given(st.text(max_size=200))
def test_what_is_no_challenge_ends(header: str) -> None:
    assert len(list(challenges(header))) <= len(header)
