"""Connections to hosts that users chose: what is an address, where it leads, and what is connected to."""

import socket
from collections.abc import Iterator

import pytest

from chalicelib.store import reach
from chalicelib.store.reach import Origin, ReachError


@pytest.mark.parametrize(
    ("url", "found", "written"),
    [
        ("https://a.example.com/x", Origin("https", "a.example.com", 443), "a.example.com"),
        ("http://A.example.com:80", Origin("http", "a.example.com", 80), "a.example.com"),
        ("https://a.example.com:80", Origin("https", "a.example.com", 80), "a.example.com:80"),
        ("https://[::1]:5000/", Origin("https", "::1", 5000), "[::1]:5000"),
        ("https://me:pw@a.example.com", Origin("https", "a.example.com", 443), "a.example.com"),
    ],
)
def test_an_address_says_who_is_spoken_to(url: str, found: Origin, written: str) -> None:
    assert reach.origin(url) == found
    assert str(found) == written


@pytest.mark.parametrize("url", ["", "a.example.com", "ftp://a", "https://", "https://[::1", "https://a:b", "//a"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ReachError, match="https://"):
        reach.origin(url)


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("/b?c=d", "https://a.example.com/b?c=d"),
        ("b#part", "https://a.example.com/x/b"),
        ("?c", "https://a.example.com/x/y?c"),
        ("//b.example.com/c", "https://b.example.com/c"),
        ("http://b.example.com", "http://b.example.com"),
    ],
)
def test_a_reference_leads_on_from_an_address(reference: str, found: str) -> None:
    assert reach.joined("https://a.example.com/x/y", reference) == found


@pytest.mark.parametrize("reference", ["file:///etc/passwd", "https://[", "data:,x"])
def test_a_reference_to_no_address_is_refused(reference: str) -> None:
    with pytest.raises(ReachError):
        reach.joined("https://a.example.com/x/y", reference)


def test_every_address_of_a_name_must_be_allowed() -> None:
    place = Origin("https", "a.example.com", 443)

    assert reach.reachable(place, (), lambda *_: ["1.1.1.1", "2606:4700::1111"]) == ("1.1.1.1", "2606:4700::1111")
    for found in (["1.1.1.1", "10.0.0.1"], ["::ffff:127.0.0.1"], []):
        with pytest.raises(ReachError, match="ROADSTEAD_PRIVATE_TARGETS"):
            reach.reachable(place, (), lambda *_, found=found: found)


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_where_one_address_does_not_answer_the_next_is_tried(listening: int) -> None:
    with reach.dial(("127.0.0.2", "127.0.0.1"), listening, 5) as connected:
        assert connected.getpeername() == ("127.0.0.1", listening)
        assert connected.gettimeout() == 5
    with pytest.raises(OSError, match="refused"):
        reach.dial(("127.0.0.1", "127.0.0.2"), 1, 5)


def test_what_takes_too_long_is_ended_whatever_it_reads(listening: int) -> None:
    with (
        reach.dial(("127.0.0.1",), listening, 30) as raw,
        raw.dup() as twin,
        pytest.raises(TimeoutError),
        reach.ending(twin, 0.05),
    ):
        assert raw.recv(1) == b""


def test_what_takes_too_long_is_that_whatever_its_end_looks_like(listening: int) -> None:
    def read(connection: socket.socket) -> None:
        with connection.dup() as twin, reach.ending(twin, 0.05):
            connection.recv(1)
            raise ConnectionResetError

    with reach.dial(("127.0.0.1",), listening, 30) as raw, pytest.raises(TimeoutError):
        read(raw)


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://a", "/"),
        ("https://a/b c?d=e f", "/b%20c?d=e%20f"),
        ("https://a/ü?x=%20&y", "/%C3%BC?x=%20&y"),
        ("https://a/b?", "/b"),
    ],
)
def test_a_path_is_sent_as_it_is_but_for_what_no_request_may_have(url: str, sent: str) -> None:
    assert reach.target(url) == sent


def test_a_certificate_of_a_ca_must_be_one() -> None:
    with pytest.raises(ValueError, match="PEM"):
        reach.trust(ca_certificate="nonsense")
