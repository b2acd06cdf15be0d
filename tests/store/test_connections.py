"""Connections to an S3 that closes, stumbles and cuts short: what is repeated, and what is told."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from chalicelib.store.connections import Connections, Patience

CONTENT = bytes(range(256)) * 1000


class Far(ThreadingHTTPServer):
    """The far side: answers each request by the next word of a script, and counts connections."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[str] = []
        self.connections = 0
        self.requests = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Far

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_GET(self) -> None:
        self.server.requests += 1
        word = self.server.script.pop(0) if self.server.script else "200"
        if word == "hang up":
            self.close_connection = True
            return
        cut = word == "cut"
        body = CONTENT if word in ("200", "cut", "200 and close") else b"no"
        self.send_response(int("200" if cut else word[:3]))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = cut or word.endswith("close")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""


@contextmanager
def far_side(*script: str) -> Iterator[tuple[Far, Connections]]:
    with Far() as far, closing(Connections(far.address)) as connections:
        far.script = list(script)
        threading.Thread(target=far.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            yield far, connections
        finally:
            far.shutdown()


def test_requests_share_a_connection() -> None:
    with far_side() as (far, connections):
        answers = [connections.fetch("GET", f"{far.address}/key?a=b") for _ in range(5)]

        assert [(answer.status, answer.content) for answer in answers] == [(200, CONTENT)] * 5
        assert (far.requests, far.connections) == (5, 1)


@pytest.mark.parametrize("script", [("503",), ("500", "502"), ("hang up",), ("cut",), ("cut", "hang up", "503")])
def test_what_fails_is_tried_again(script: tuple[str, ...]) -> None:
    with far_side(*script) as (far, connections):
        answer = connections.fetch("GET", f"{far.address}/key?")

        assert (answer.status, answer.content) == (200, CONTENT)
        assert far.requests == len(script) + 1


def test_a_connection_that_was_closed_while_idle_is_replaced_at_once() -> None:
    with far_side("200 and close", "200 and close") as (far, connections):
        for _ in range(3):
            assert connections.fetch("GET", f"{far.address}/key?").status == 200

        assert (far.requests, far.connections) == (3, 3)


def test_the_last_of_four_answers_stands() -> None:
    with far_side("503", "503", "503", "503") as (far, connections):
        assert connections.fetch("GET", f"{far.address}/key?").status == 503
        assert far.requests == 4


def test_who_is_impatient_tries_no_more_than_is_said() -> None:
    with Far() as far, closing(Connections(far.address, Patience(attempts=2, seconds=3))) as connections:
        far.script = ["503", "503"]
        serving = threading.Thread(target=far.serve_forever)
        serving.start()
        status = connections.fetch("GET", f"{far.address}/key?").status
        far.shutdown()
        serving.join()

        assert (status, far.requests) == (503, 2)


def test_nobody_there_is_an_os_error() -> None:
    with far_side() as (far, _):
        address = far.address

    with pytest.raises(OSError, match=r"no answer from 127\.0\.0\.1"):
        Connections(address).fetch("GET", f"{address}/key?")


def test_a_stream_comes_in_pieces_and_frees_its_connection() -> None:
    with far_side() as (far, connections):
        for _ in range(2):
            status, pieces = connections.stream(f"{far.address}/key?")
            assert (status, b"".join(pieces)) == (200, CONTENT)

        assert far.connections == 1


def test_a_stream_that_is_cut_short_says_so() -> None:
    with far_side("cut") as (far, connections):
        _, pieces = connections.stream(f"{far.address}/key?")

        with pytest.raises(OSError, match=r"the body ended early|IncompleteRead"):
            b"".join(pieces)


def test_a_missing_object_s_answer_is_read_and_its_connection_kept() -> None:
    with far_side("404") as (far, connections):
        status, pieces = connections.stream(f"{far.address}/key?")

        assert (status, b"".join(pieces)) == (404, b"")
        assert connections.fetch("GET", f"{far.address}/key?").status == 200
        assert far.connections == 1
