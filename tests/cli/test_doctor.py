"""The doctor: a sound registry has a clean bill, every check finds what it is there to find, nothing stays behind."""

import gzip
import json
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from chalicelib.cli.checks import CHECKS
from tests.cli.conftest import Cli
from tests.cli.fronts import Breaker, Exchange, broken
from tests.cli.harbor import serving
from tests.cli.test_tls import certificate
from tests.server.running import PASSWORD, Server, started

NOT_HERE = {"tls", "throttling"}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with started(["run"], tmp_path_factory.mktemp("registry"), {"ROADSTEAD_ADMIN_PASSWORD": PASSWORD}) as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_stays_behind(registry: Server) -> Iterator[None]:
    yield
    projects = json.loads(registry.ask("GET", "/api/v2.0/projects").body)
    assert [project["name"] for project in projects] == ["library"]


def logged_in(home: Path, url: str) -> Cli:
    cli = Cli(home)
    done = cli("login", url, "-u", "admin", "--password-stdin", given=PASSWORD)
    assert done.exit_code == 0, done.output
    return cli


def verdicts(printed: str) -> dict[str, str]:
    return {row["check"]: row["verdict"] for row in json.loads(printed)}


def test_a_sound_registry_has_a_clean_bill(tmp_path: Path, registry: Server) -> None:
    done = logged_in(tmp_path, registry.url)("doctor", registry.url, "--json")

    assert done.exit_code == 0, done.output
    found = verdicts(done.stdout)
    assert {name for name, verdict in found.items() if verdict == "not applicable"} == NOT_HERE
    assert {verdict for name, verdict in found.items() if name not in NOT_HERE} == {"ok"}


def test_without_a_login_the_front_is_checked(tmp_path: Path, registry: Server) -> None:
    done = Cli(tmp_path)("doctor", registry.url, "--json")

    assert done.exit_code == 0, done.output
    found = verdicts(done.stdout)
    assert found["challenge"] == "ok"
    assert found["login"] == found["chunked"] == "not applicable"


def test_many_requests_at_once_are_answered_or_told_to_wait(tmp_path: Path, registry: Server) -> None:
    done = Cli(tmp_path)("doctor", registry.url, "--only", "throttling", "--load", "--json")

    assert verdicts(done.stdout) == {"throttling": "ok"}


def test_a_server_that_fails_under_many_requests_is_found(tmp_path: Path, registry: Server) -> None:
    for status in (429, 500):
        with broken(registry.address, before(is_to(within="/v2/"), refuses(status))) as url:
            done = Cli(tmp_path)("doctor", url, "--only", "throttling", "--load", "--json")
        assert verdicts(done.stdout) == {"throttling": "broken"}


def test_encryption_is_named_where_it_is_trusted(tmp_path: Path) -> None:
    signed = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(signed)
    with serving(context) as harbor:
        check = (harbor.url, "--only", "tls", "--json")
        trusted = Cli(tmp_path)("doctor", *check, SSL_CERT_FILE=str(signed))
        unknown = Cli(tmp_path)("doctor", *check)

    assert verdicts(trusted.stdout) == {"tls": "ok"}, trusted.output
    assert "TLSv1.3" in trusted.stdout
    assert verdicts(unknown.stdout) == {"tls": "broken"}
    assert "CERTIFICATE_VERIFY_FAILED" in unknown.stdout


@pytest.mark.parametrize("where", ["/blobs/uploads/", "/manifests/latest", "/service/token"])
def test_a_push_that_fails_is_said_and_leaves_nothing_behind(tmp_path: Path, registry: Server, where: str) -> None:
    with broken(registry.address, before(is_to(within=where), refuses(500))) as url:
        done = logged_in(tmp_path, url)("doctor", url, "--only", "blob", "--json")

    assert verdicts(done.stdout) == {"blob": "broken"}
    assert "the image cannot be pushed" in done.stdout
    assert done.exit_code == 1


def test_what_is_left_over_is_named(tmp_path: Path, registry: Server) -> None:
    with broken(registry.address, before(is_to(method="DELETE", within="/projects/"), refuses(500))) as url:
        cli = logged_in(tmp_path, url)
        done = cli("doctor", url, "--project", "doctor-left", "--only", "blob", "--json")
    assert done.exit_code == 1
    assert verdicts(done.stdout) == {"blob": "ok", "clean-up": "broken"}
    assert "The project doctor-left is left over" in done.stdout

    admin = logged_in(tmp_path / "admin", registry.url)
    assert admin("repo", "delete", "doctor-left/image", "--yes").exit_code == 0
    assert admin("project", "delete", "doctor-left", "--yes").exit_code == 0


def test_who_may_create_no_projects_has_the_front_checked(tmp_path: Path, registry: Server) -> None:
    with broken(registry.address, before(is_to(method="POST", within="/projects"), refuses(403))) as url:
        done = logged_in(tmp_path, url)("doctor", url, "--only", "blob", "--only", "login", "--json")

    assert verdicts(done.stdout) == {"login": "ok", "blob": "not applicable"}
    assert done.exit_code == 0


def test_a_check_that_is_not_there_is_refused(tmp_path: Path, registry: Server) -> None:
    done = Cli(tmp_path)("doctor", registry.url, "--only", "luck")

    assert done.exit_code == 2
    assert "There is no check luck; there are roots, challenge" in done.output


def test_the_report_can_be_shown_to_anybody(tmp_path: Path, registry: Server) -> None:
    with broken(registry.address, after(lambda x: x.method == "GET" and "/blobs/" in x.target, body=b"?")) as url:
        cli = logged_in(tmp_path, url)
        reports = [
            cli("doctor", url, "--only", "blob", "--only", "lifetime", *form).output for form in ((), ("--json",))
        ]

    for report in reports:
        assert "blob" in report
        for secret in (PASSWORD, "X-Amz-", "Signature", "_state", "Bearer ey", "eyJ"):
            assert secret not in report


# Breakers: what a front may do to an answer, or to a request, that a check is there to find.


def after(matches: Callable[[Exchange], bool], **changes: Any) -> Breaker:
    """Change the answers to some requests; a header that is None is dropped."""

    def breaker(exchange: Exchange) -> None:
        if not exchange.status or not matches(exchange):
            return
        for name, value in changes.get("headers", {}).items():
            exchange.headers.pop(name, None)
            exchange.headers |= {name: value} if value is not None else {}
        exchange.body = changes.get("body", exchange.body)
        exchange.status = changes.get("status", exchange.status)

    return breaker


def before(matches: Callable[[Exchange], bool], change: Breaker) -> Breaker:
    """Change some requests, or answer them at once."""

    def breaker(exchange: Exchange) -> None:
        if not exchange.status and matches(exchange):
            change(exchange)

    return breaker


def refuses(status: int) -> Breaker:
    def breaker(exchange: Exchange) -> None:
        exchange.status, exchange.body = status, b'{"message": "no"}'

    return breaker


def renames_the_challenge(exchange: Exchange) -> None:
    if value := exchange.headers.pop("Www-Authenticate", ""):
        exchange.headers["X-Amzn-Remapped-WWW-Authenticate"] = value


def packs(exchange: Exchange) -> None:
    asked = any(name.lower() == "accept-encoding" for name, _ in exchange.asked)
    if exchange.status and asked and "/manifests/" in exchange.target:
        exchange.body = gzip.compress(exchange.body)
        exchange.headers["Content-Encoding"] = "gzip"


def cuts_chunked_bodies(exchange: Exchange) -> None:
    exchange.sent = exchange.sent[:1000]


def forgets_the_plus(exchange: Exchange) -> None:
    exchange.target = exchange.target.replace("%2B", "+")


def drops_the_range(exchange: Exchange) -> None:
    exchange.asked = [pair for pair in exchange.asked if pair[0].lower() != "range"]


def dies_soon(exchange: Exchange) -> None:
    if "Location" in exchange.headers:
        exchange.headers["Location"] = exchange.headers["Location"].replace("Expires=900", "Expires=9")


def is_to(*, method: str = "", within: str = "") -> Callable[[Exchange], bool]:
    return lambda exchange: exchange.method in (method or exchange.method) and within in unquote(exchange.target)


def is_refusal(exchange: Exchange) -> bool:
    return exchange.status == 401


def is_large(exchange: Exchange) -> bool:
    return len(exchange.sent) > 4_500_000


def is_expected(exchange: Exchange) -> bool:
    return any(name.lower() == "expect" for name, _ in exchange.asked)


def is_without_accept(exchange: Exchange) -> bool:
    return not any(name.lower() == "accept" for name, _ in exchange.asked)


OLD = {"Date": "Sat, 01 Aug 2026 10:00:00 GMT"}
BREAKERS: list[tuple[str, str, str, Breaker]] = [
    ("roots", "broken", "/v2 is not routed", before(lambda x: x.target == "/v2", refuses(403))),
    ("challenge", "broken", "no header", after(is_refusal, headers={"Www-Authenticate": None})),
    ("challenge", "broken", "a renamed header", renames_the_challenge),
    ("challenge", "broken", "another form", after(is_refusal, headers={"Www-Authenticate": "Basic realm=x"})),
    ("refusals", "broken", "no document", after(is_refusal, body=b"{}")),
    ("refusals", "broken", "403", after(is_refusal, status=403)),
    ("insufficient", "broken", "403", after(is_refusal, status=403)),
    ("nowhere", "differs", "no document", before(is_to(within="/nowhere"), refuses(403))),
    ("nowhere", "broken", "a success", before(is_to(within="/nowhere"), refuses(200))),
    ("anonymous", "broken", "no tokens", after(is_to(within="/service/token"), status=403)),
    ("login", "broken", "tokens refused", after(lambda x: x.target == "/v2/", status=500)),
    ("clock", "broken", "another time", after(is_to(), headers=OLD)),
    ("request-id", "differs", "ids lost", after(is_to(), headers={"X-Request-Id": None})),
    ("times", "broken", "fails now and then", after(lambda x: x.target == "/service/token", status=502)),
    ("head-manifest", "broken", "length 0", after(is_to(method="HEAD"), headers={"Content-Length": "0"})),
    ("head-manifest", "broken", "another type", after(is_to(method="HEAD"), headers={"Content-Type": "text/plain"})),
    ("head-blob", "broken", "length 0", after(is_to(method="HEAD"), headers={"Content-Length": "0"})),
    ("head-blob", "differs", "no digest", after(is_to(method="HEAD"), headers={"Docker-Content-Digest": None})),
    ("head-blob", "broken", "signed for GET", before(is_to(method="HEAD"), refuses(403))),
    ("manifest", "differs", "compression", packs),
    ("manifest", "broken", "text made of bytes", after(is_to(method="GET", within="/manifests/"), body=b"e30=")),
    ("manifest", "broken", "no Accept", before(lambda x: is_without_accept(x) and x.method == "GET", refuses(400))),
    ("blob", "broken", "other bytes", after(lambda x: x.method == "GET" and len(x.body) > 99_999, body=b"short")),
    ("range", "differs", "no ranges", before(is_to(method="GET"), drops_the_range)),
    ("range", "broken", "other bytes", after(lambda x: x.status == 206, body=b"short")),
    ("lifetime", "differs", "short lives", dies_soon),
    ("chunked", "broken", "refused", before(lambda x: x.chunked, refuses(501))),
    ("chunked", "broken", "cut", before(lambda x: x.chunked, cuts_chunked_bodies)),
    ("whole", "broken", "refused", before(lambda x: len(x.sent) == 1_000_000, refuses(413))),
    ("expect", "broken", "refused", before(is_expected, refuses(417))),
    ("limits", "differs", "too large", before(is_large, refuses(413))),
    ("limits", "broken", "small ones too", before(lambda x: len(x.sent) > 999_999, refuses(413))),
    ("spellings", "broken", "%3A not decoded", before(lambda x: "%3A" in x.target, refuses(404))),
    ("spellings", "differs", "no document", before(lambda x: "//" in x.target, refuses(400))),
    ("plus", "broken", "decoded twice", before(is_to(within="artifactType"), forgets_the_plus)),
]


@pytest.mark.parametrize(
    ("check", "verdict", "breaker"),
    [pytest.param(check, verdict, breaker, id=f"{check}: {name}") for check, verdict, name, breaker in BREAKERS],
)
def test_what_a_front_breaks_is_found(
    tmp_path: Path, registry: Server, check: str, verdict: str, breaker: Breaker
) -> None:
    trusted = logged_in(tmp_path / "trusted", registry.url)
    with broken(registry.address, breaker) as url:
        cli = logged_in(tmp_path, url)
        done = cli("doctor", url, "--only", check, "--json")

    assert verdicts(done.stdout) == {check: verdict}, done.output
    assert done.exit_code == (verdict == "broken"), done.output
    assert verdicts(trusted("doctor", registry.url, "--only", check, "--json").stdout) == {check: "ok"}


def test_every_check_has_something_that_fails_it() -> None:
    assert {check for check, *_ in BREAKERS} == {check.name for check in CHECKS} - NOT_HERE
