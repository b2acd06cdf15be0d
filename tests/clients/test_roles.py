"""Prove, for each client and everybody, what is allowed and what whoever is refused reads, end to end."""

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import pytest

from .bench import Bench
from .clients import CLIENTS, Cannot, Client
from .commands import crane_login
from .desk import Desk, Said, small_cargo
from .principals import TABLE, World, logs_in, works
from .registry import Registry
from .table import CANNOT, FAILED, UNKNOWN, aligned

pytestmark = pytest.mark.clients

NAMES = ("docker", "podman", "ctr", "oras", "skopeo", "crane")
TOOLS = [client for client in CLIENTS if client.name in NAMES]
ALLOWED, REFUSED = "yes", "no"

# These two show no credentials before they are asked for some, and whoever pulls from a public project is not.
SHOWS_NOTHING_UNASKED = ("ctr", "oras")

# What they print of good credentials that are refused on a HEAD, whose answer has no body to say more.
BODILESS: Mapping[str, str] = {
    "docker": "may not|log in to",  # it goes on and asks again with GET or POST
    "podman": r"authentication required|403 \(Forbidden\)",
    "skopeo": r"authentication required|403 \(Forbidden\)",
    "crane": "401 Unauthorized|403 Forbidden",
    "oras": "401: Unauthorized|403: Forbidden",
    "ctr": "401 Unauthorized|403 Forbidden",  # it prints no body of any answer
}
WRONG = "the user name or the password is wrong"
BAD_CREDENTIALS: Mapping[str, str] = {
    "docker": WRONG,
    "podman": "invalid username/password",
    "skopeo": "invalid username/password",
    "crane": WRONG,
    "oras": WRONG,
    "ctr": "401 Unauthorized",
}
# What differs from run to run.
PHRASING = (
    (r"127\.0\.0\.1:\d+", "<registry>"),
    (r"sha256:[0-9a-f]{64}", "<digest>"),
    (r"run-[0-9a-f]+-(private|public|missing)/\w+/\d+", r"<\1>/app"),
    (r"run-[0-9a-f]+-(private|public|missing)%2F\w+%2F\d+", r"<\1>/app"),
    (r"run-[0-9a-f]+-(private|public|missing)", r"<\1>"),
    (r"127\.0\.0\.1%3A\d+", "<registry>"),
    (r'time="[^"]*" level=\w+ ', ""),
)
MISLEADING = r"(?i)invalid username|password is wrong|panic:|internal server error|unexpected EOF"


def try_login(desk: Desk) -> Said | None:
    login = desk.client.login
    # crane stores what it is given; what it asks afterwards, to list everything, is another question than this.
    if isinstance(login, Cannot) or login is crane_login or desk.account is None:
        return None
    return desk.log_in(login)


def try_push(desk: Desk, project: str) -> Said:
    image, target = desk.image(), desk.reference(project)
    registry = desk.world.registry

    said = desk.push(image, target)

    if said.refused:
        assert not registry.has_manifest(target.repository, target.tag)
    else:
        registry.whole(target.repository, target.tag)
    return said


def try_pull(desk: Desk, project: str) -> Said:
    image, source = desk.seeded(project)

    said, held = desk.pull(source)

    assert said.refused or desk.client.holds(desk.bench, image) <= held
    return said


def try_delete(desk: Desk, project: str) -> Said | None:
    if isinstance(desk.client.delete, Cannot):
        return None
    image, place = desk.seeded(project)

    said = desk.delete(desk.client.delete, place, image.digest)

    assert desk.world.registry.has_manifest(place.repository, image.digest) is said.refused
    return said


OPERATIONS: Mapping[str, Callable[[Desk], Said | None]] = {
    "login": try_login,
    "push": lambda desk: try_push(desk, desk.world.private),
    "pull": lambda desk: try_pull(desk, desk.world.private),
    "delete": lambda desk: try_delete(desk, desk.world.private),
    "public push": lambda desk: try_push(desk, desk.world.public),
    "public pull": lambda desk: try_pull(desk, desk.world.public),
    "missing push": lambda desk: try_push(desk, desk.world.missing),
}


def must_work(client: Client, principal: str, operation: str) -> bool:
    unasked = client.name in SHOWS_NOTHING_UNASKED and operation == "public pull"
    return operation in works(principal) or unasked


def reason(client: Client, principal: str, operation: str) -> str:
    """Give the pattern of what a refused client prints."""
    if not logs_in(principal):
        return BAD_CREDENTIALS[client.name]
    place, _, verb = operation.rpartition(" ")
    may_look = f"{place} pull".strip() in works(principal)
    if may_look and client.name != "ctr":
        return f"may not {verb}|log in to {verb}"
    lacking = f"(may not|log in to) (pull|{verb})|{BODILESS[client.name]}"
    # Whether a project is missing is said to whoever may know.
    return f"{lacking}|there is no project|404 Not Found" if place == "missing" else lacking


def check(client: Client, principal: str, operation: str, said: Said) -> None:
    if must_work(client, principal, operation):
        assert not said.refused, said.words
        return
    assert said.refused
    assert re.search(reason(client, principal, operation), said.words), said.words
    if logs_in(principal):
        assert not re.search(MISLEADING, said.words), said.words


@dataclass(frozen=True, slots=True)
class Ledger:
    """What came of every cell, and what the clients said to refuse."""

    results: dict[tuple[str, str, str], str] = field(default_factory=dict)
    phrases: dict[tuple[str, str], set[str]] = field(default_factory=dict)

    def note(self, client: str, operation: str, said: Said) -> None:
        if said.refused:
            self.phrases.setdefault((client, operation), set()).add(phrase(said.words))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("roles")
        terminalreporter.write_line(self.table())

    def table(self) -> str:
        blocks = [
            aligned([(operation, *NAMES), *(self._row(principal, operation) for principal in TABLE)])
            for operation in OPERATIONS
        ]
        said = [(*cell, each) for cell, phrases in self.phrases.items() for each in sorted(phrases)]
        return "\n\n".join("\n".join(block) for block in (*blocks, aligned(said) if said else [])) + "\n"

    def _row(self, principal: str, operation: str) -> tuple[str, ...]:
        return (principal, *(self.results.get((name, principal, operation), UNKNOWN) for name in NAMES))


def phrase(words: str) -> str:
    """Shorten what a client printed to what it is about: its last line, without the names of this run."""
    line = words.splitlines()[-1].strip() if words else "(nothing)"
    for pattern, name in PHRASING:
        line = re.sub(pattern, name, line)
    return line


@pytest.fixture(scope="module")
def ledger(request: pytest.FixtureRequest) -> Ledger:
    made = Ledger()
    request.config.pluginmanager.register(made)
    return made


@pytest.fixture(scope="module")
def world(registry: Registry, run_id: str) -> World:
    return World(registry, run_id)


@pytest.fixture(scope="module", params=TOOLS, ids=lambda client: client.name)
def desk(request: pytest.FixtureRequest, world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    client: Client = request.param
    assert client.program.is_file(), f"{client.name} is not installed: run tests/clients/install.sh"
    home = tmp_path_factory.mktemp(client.name)
    bench = Bench(client.name, home, world.registry, small_cargo(home), world.run_id, client.daemon)
    with bench.stack:
        yield Desk(client, bench, world)
    shutil.rmtree(home, ignore_errors=True)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("principal", TABLE)
def test_everybody_may_do_what_the_table_says_and_reads_why_not(
    desk: Desk, ledger: Ledger, principal: str, operation: str
) -> None:
    cell = (desk.client.name, principal, operation)
    ledger.results[cell] = FAILED
    desk.seat(desk.world.account(principal))

    said = OPERATIONS[operation](desk)

    if said is None:
        ledger.results[cell] = CANNOT if desk.account else UNKNOWN
        return
    ledger.note(desk.client.name, operation, said)
    check(desk.client, principal, operation, said)
    ledger.results[cell] = REFUSED if said.refused else ALLOWED
