"""Registries that are slow, broken, endless or sly: nothing of them gets through, and nobody waits for ever."""

import socket
import time
from collections.abc import Iterator

import pytest

from chalicelib.oci.manifests import MAX_MANIFEST, OCI_MANIFEST
from chalicelib.store import reach
from chalicelib.store.remote import DownError, LimitedError, Remote, RemoteError, UntrueError
from chalicelib.store.remote.errors import retry_after
from chalicelib.store.remote.wire import Request, Wire
from tests.store.remote.conftest import HERE
from tests.store.remote.fake import Answer, FakeRegistry, Handler, answer, digest_of

MANIFEST = b'{"schemaVersion":2}'


def endless(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", OCI_MANIFEST)
    handler.send_header("Connection", "close")
    handler.end_headers()
    try:
        for _ in range(1 << 12):
            handler.wfile.write(b"x" * (1 << 16))
    except OSError:
        return


def chunked_without_end(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"5\r\nhello\r\n")
    handler.close_connection = True


def reset(handler: Handler) -> None:
    linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    handler.connection.close()
    handler.close_connection = True


def nonsense(handler: Handler) -> None:
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n")
    handler.close_connection = True


def silence(handler: Handler) -> None:
    handler.close_connection = True


def many_headers(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 1000 + b"\r\n")
    handler.close_connection = True


def drip(handler: Handler) -> None:
    """Answer a byte at a time, each sooner than any timeout of a socket."""
    try:
        for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 400:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            time.sleep(0.02)
    except OSError:
        return


@pytest.mark.parametrize("broken", [reset, nonsense, silence, many_headers, chunked_without_end])
def test_a_registry_that_does_not_answer_is_down(registry: FakeRegistry, remote: Remote, broken: Answer) -> None:
    registry.instead("GET", "/v2/", broken)

    with pytest.raises(DownError, match="did not answer as it should") as caught:
        remote.get_manifest("a/b", "v1")
    assert caught.value.status == 0


def test_nobody_is_there(registry: FakeRegistry, remote: Remote) -> None:
    remote.ping()
    gone = Wire(HERE, reach.resolve)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(DownError):
            gone.send(Request("GET", f"http://127.0.0.1:{taken.getsockname()[1]}/"))
    assert registry.methods() == ["GET"]


def test_a_manifest_without_an_end_is_not_taken(registry: FakeRegistry, remote: Remote) -> None:
    registry.instead("GET", "/v2/a/b/manifests/", endless)

    with pytest.raises(UntrueError, match=f"more than {MAX_MANIFEST} bytes"):
        remote.get_manifest("a/b", "v1")


def test_an_error_without_an_end_is_read_to_its_bound(registry: FakeRegistry, remote: Remote) -> None:
    def error(handler: Handler) -> None:
        handler.give(500, b"a" * (1 << 22), {"Content-Type": "text/plain"})

    registry.instead("GET", "/v2/", error)

    with pytest.raises(DownError) as caught:
        remote.ping()
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("slow", [drip, lambda _handler: time.sleep(1.5)], ids=["drips", "hangs"])
def test_who_is_slow_is_given_up(registry: FakeRegistry, slow: Answer) -> None:
    registry.instead("GET", "/v2/", slow)
    wire = Wire(HERE, reach.resolve, seconds=0.3)

    with pytest.raises(DownError):
        wire.send(Request("GET", f"{registry.url}/v2/"))


@pytest.mark.parametrize("most", [1000, 1 << 20])
def test_a_body_that_drips_is_given_up_however_large_it_might_have_been(registry: FakeRegistry, most: int) -> None:
    def dripping(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        try:
            for _ in range(100):
                handler.wfile.write(b"x")
                handler.wfile.flush()
                time.sleep(0.02)
        except OSError:
            return

    registry.instead("GET", "/v2/", dripping)
    wire = Wire(HERE, reach.resolve, seconds=0.3)

    with (
        wire.send(Request("GET", f"{registry.url}/v2/")) as opened,
        pytest.raises(DownError, match="the time was over"),
    ):
        opened.read(most)


def test_a_connection_is_kept_and_one_that_was_closed_is_replaced(registry: FakeRegistry, remote: Remote) -> None:
    registry.add_manifest("a/b", MANIFEST, OCI_MANIFEST, "v1")
    ports: list[int] = []

    def noted(handler: Handler) -> None:
        ports.append(handler.client_address[1])
        handler.give(200, b"{}")

    def last(handler: Handler) -> None:
        noted(handler)
        handler.close_connection = True

    registry.instead("GET", "/v2/", noted, times=2)
    registry.instead("GET", "/v2/", last, times=1)
    registry.instead("GET", "/v2/", noted, times=1)
    for _ in range(4):
        remote.ping()

    assert ports[0] == ports[1] == ports[2] != ports[3]


def test_what_changes_something_is_not_sent_twice(registry: FakeRegistry, remote: Remote) -> None:
    remote.ping()
    registry.instead("POST", "/v2/a/b/", silence)

    with pytest.raises(DownError):
        remote.begin_upload("a/b")
    assert registry.methods() == ["GET", "POST"]


def test_an_answer_that_comes_before_the_body_was_sent_is_heard(registry: FakeRegistry, remote: Remote) -> None:
    """A registry that refuses need not read what it refuses."""

    def early(handler: Handler) -> None:
        handler.refuse(429, "TOOMANYREQUESTS")

    location = remote.begin_upload("a/b")
    registry.unread = True
    registry.instead("PATCH", "/v2/a/b/", early)

    with pytest.raises((LimitedError, DownError)):
        remote.send(location, b"x" * (8 << 20), 0)


def test_a_source_that_fails_is_not_the_registry_s_fault(remote: Remote) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise ConnectionResetError("S3 went away")

    with pytest.raises(ConnectionResetError, match="S3 went away"):
        remote.put_blob(remote.begin_upload("a/b"), digest_of(b""), 8, broken())


@pytest.mark.parametrize("pieces", [[b"toolong"], [b"ab"]], ids=["more", "less"])
def test_a_source_that_does_not_have_its_size_is_told(remote: Remote, pieces: list[bytes]) -> None:
    with pytest.raises(UntrueError, match="size"):
        remote.put_blob(remote.begin_upload("a/b"), digest_of(b"abc"), 3, pieces)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(429, "LimitedError"), (503, "DownError"), (404, "MissingError"), (403, "DeniedError"), (418, "RemoteError")],
)
def test_a_refusal_says_what_it_is_and_when_to_try_again(
    registry: FakeRegistry, remote: Remote, status: int, kind: str
) -> None:
    registry.instead("GET", "/v2/", answer(status, Retry_After="17"))

    with pytest.raises(RemoteError) as caught:
        remote.get_manifest("a/b", "v1")
    assert (type(caught.value).__name__, caught.value.status, caught.value.retry_after) == (kind, status, 17)
    assert registry.methods() == ["GET"]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("9999999999999999999", 86400),
        ("Thu, 01 Jan 2026 00:01:00 GMT", 60),
        ("Wed, 31 Dec 2025 23:00:00 GMT", 0),
        ("1767225660", 60),
        ("soon", None),
        ("", None),
        ("-5", None),
        ("²", None),
    ],
)
def test_when_to_try_again_is_read_in_every_way_that_is_used(value: str, seconds: int | None) -> None:
    assert retry_after(value, now=1767225600.0) == seconds
