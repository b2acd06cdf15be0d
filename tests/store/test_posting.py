"""What is sent where a user says, over real sockets: who may be reached; receivers that are slow, broken or sly."""

import socket
import ssl
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from chalicelib.store.posting import MOST_READ, Letter, PostError, post
from tests.store.receiver import Answer, Receiver, receiving, with_status
from tests.store.remote import certificates

HERE = ("127.0.0.1",)


def at_home(_host: str, _port: int) -> list[str]:
    return ["127.0.0.1"]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def letter(receiver: Receiver, host: str = "hooks.example.com", path: str = "/a") -> Letter:
    return Letter(f"http://{host}:{receiver.port}{path}", {"X-One": "1"}, b"hello")


def test_what_is_sent_comes_with_the_host_of_the_name(receiver: Receiver) -> None:
    reply = post(letter(receiver, path="/a b/ü?c=d e&f=%20"), HERE, at_home)

    assert reply.status == 200
    [taken] = receiver.taken
    assert taken.path == "/a%20b/%C3%BC?c=d%20e&f=%20"
    assert taken.content == b"hello"
    assert (taken.headers["host"], taken.headers["x-one"]) == (f"hooks.example.com:{receiver.port}", "1")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "::1",
        "fd00::1",
        "fe80::1%eth0",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "224.0.0.1",
        "0.0.0.0",
    ],
)
def test_a_name_that_leads_into_the_private_net_is_not_sent_to(receiver: Receiver, address: str) -> None:
    with pytest.raises(PostError, match="ROADSTEAD_PRIVATE_TARGETS"):
        post(letter(receiver), (), lambda _host, _port: [address])

    assert receiver.taken == []


def test_one_private_address_among_public_ones_is_enough_to_refuse(receiver: Receiver) -> None:
    with pytest.raises(PostError, match="not a public address"):
        post(letter(receiver), (), lambda _host, _port: ["1.1.1.1", "127.0.0.1"])


def test_a_name_is_asked_for_once_so_that_it_cannot_lead_elsewhere_in_between(receiver: Receiver) -> None:
    """DNS rebinding: looked at, the name is harmless; asked again, it would be another receiver's address."""
    asked: list[str] = []

    def sly(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

    assert post(letter(receiver), HERE, sly).status == 200
    assert asked == ["hooks.example.com"]


@pytest.mark.parametrize("allowed", ["127.0.0.0/8", "127.0.0.1", "Hooks.example.com", "hooks.example.com."])
def test_the_operator_may_allow_networks_addresses_and_names(receiver: Receiver, allowed: str) -> None:
    assert post(letter(receiver), (allowed,), at_home).status == 200
    with pytest.raises(PostError):
        post(letter(receiver), ("10.0.0.0/8", "other.example.com"), at_home)


def test_a_redirection_to_a_private_address_is_not_followed(receiver: Receiver) -> None:
    with receiving() as secret:
        location = f"http://127.0.0.1:{secret.port}/latest/meta-data"
        receiver.answers = [with_status(status, Location=location) for status in (301, 302, 307)]
        statuses = [post(letter(receiver), HERE, at_home).status for _ in range(3)]

        assert statuses == [301, 302, 307]
        assert secret.taken == []


def test_a_name_that_nobody_knows_is_said(receiver: Receiver) -> None:
    def unknown(_host: str, _port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(PostError, match=r"hooks\.example\.com is not known: Name or service not known"):
        post(letter(receiver), HERE, unknown)
    with pytest.raises(PostError):
        post(letter(receiver), HERE, lambda _host, _port: [])


def drip(handler: BaseHTTPRequestHandler) -> None:
    """Answer a byte at a time, each sooner than any timeout of a socket."""
    try:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        for _ in range(200):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.05)
    except OSError:
        return


def hang(_handler: BaseHTTPRequestHandler) -> None:
    time.sleep(3)


def reset(handler: BaseHTTPRequestHandler) -> None:
    linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    handler.connection.close()


def nonsense(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n")


@pytest.mark.parametrize("broken", [drip, hang, reset, nonsense])
def test_a_receiver_that_does_not_answer_is_given_up_and_named_without_its_path(
    receiver: Receiver, broken: Answer
) -> None:
    receiver.otherwise = broken

    with pytest.raises(PostError, match=r"hooks\.example\.com did not answer as it should") as caught:
        post(letter(receiver, path="/t0ken"), HERE, at_home, seconds=0.5)

    assert "t0ken" not in str(caught.value)


def test_of_an_answer_only_the_beginning_is_read(receiver: Receiver) -> None:
    def much(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(1 << 30))
        handler.end_headers()
        try:
            for _ in range(1 << 14):
                handler.wfile.write(b"x" * (1 << 16))
        except OSError:
            return

    receiver.otherwise = much

    assert len(post(letter(receiver), HERE, at_home).content) == MOST_READ


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """Return what a server has whose certificate nobody vouches for."""
    path: Path = tmp_path_factory.mktemp("certificate") / "pem"
    certificates.make(path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def test_a_certificate_is_checked_unless_the_policy_says_not_to(certificate: ssl.SSLContext) -> None:
    asked: list[str | None] = []
    certificate.sni_callback = lambda _socket, name, _context: asked.append(name)
    with receiving(certificate) as receiver:
        url = f"https://hooks.example.com:{receiver.port}/"

        with pytest.raises(PostError, match="CERTIFICATE_VERIFY_FAILED"):
            post(Letter(url, {}, b""), HERE, at_home)
        assert receiver.taken == []
        assert post(Letter(url, {}, b"", skip_cert_verify=True), HERE, at_home).status == 200
    assert set(asked) == {"hooks.example.com"}
