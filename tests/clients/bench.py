"""Own the place where one client works: its folders, its environment, its daemons, its view of the registry.

* Nothing of the machine's user is read or written: home, configuration, credentials and stores are the bench's own.
* A store is named; "clean" is one that has never seen what is pulled into it.
* All that a bench starts is ended by its id when the bench is left.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGTERM
from typing import IO

from .images import Cargo
from .proxy import Record, RecordingProxy
from .registry import Registry, ended

CACHE = Path(os.environ.get("ROADSTEAD_CACHE", Path.home() / ".cache" / "roadstead")) / "clients" / "bin"
PATH = f"{CACHE}:/usr/sbin:/usr/bin:/sbin:/bin"  # not /usr/local: what is there is not Debian's
COMMAND_WITHIN, DAEMON_WITHIN = 300.0, 60.0


@dataclass(frozen=True, slots=True)
class Reference:
    """A name in the registry, as the clients write it."""

    host: str
    repository: str
    tag: str

    def __str__(self) -> str:
        return f"{self.host}/{self.repository}:{self.tag}"

    @property
    def untagged(self) -> str:
        return f"{self.host}/{self.repository}"

    def at(self, digest: str) -> str:
        return f"{self.untagged}@{digest}"


Daemon = Callable[[Path, Path], tuple[str | Path, ...]]  # home, socket -> command


def dockerd(home: Path, socket: Path) -> tuple[str | Path, ...]:
    settings = home / "daemon.json"
    settings.write_text("{}")  # in place of the machine's own
    return (
        "/usr/sbin/dockerd",
        *("--data-root", home / "data", "--exec-root", home / "exec", "--pidfile", home / "pid"),
        *("--config-file", settings, "--host", f"unix://{socket}"),
        *("--iptables=false", "--bridge=none", "--storage-driver=vfs"),
    )


def containerd(home: Path, socket: Path) -> tuple[str | Path, ...]:
    settings = home / "config.toml"
    settings.write_text(
        f'version = 2\nroot = "{home / "root"}"\nstate = "{home / "state"}"\n'
        f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\naddress = "{socket}"\n',
    )
    return ("/usr/bin/containerd", "--config", settings)


@contextmanager
def running(daemon: Daemon, home: Path, environment: dict[str, str]) -> Iterator[Path]:
    """Run a daemon until the block is left; yield its socket, whose path must stay short."""
    with tempfile.TemporaryDirectory(prefix="rs-") as short, (home / "daemon.log").open("wb") as log:
        socket = Path(short, "s")
        command = daemon(home, socket)
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        with ended(process, SIGTERM):
            end = time.monotonic() + DAEMON_WITHIN
            while not socket.exists():
                assert process.poll() is None, (home / "daemon.log").read_text()[-4000:]
                assert time.monotonic() < end, f"{command[0]} does not start: {home / 'daemon.log'}"
                time.sleep(0.05)
            yield socket


@dataclass(eq=False, slots=True)
class Bench:
    """Where one client works."""

    client: str
    home: Path
    registry: Registry
    cargo: Cargo
    run_id: str
    daemon: Daemon | None = None
    proxy: RecordingProxy = field(init=False)
    stack: ExitStack = field(default_factory=ExitStack)
    sockets: dict[str, Path] = field(default_factory=dict)
    run_folders: dict[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.proxy = RecordingProxy(self.registry.upstream)
        self.proxy.start()
        self.stack.callback(self.proxy.close)

    @property
    def host(self) -> str:
        """The registry's name to this client."""
        return self.proxy.address

    @property
    def environment(self) -> dict[str, str]:
        config = self.home / "config"
        for folder in ("tmp", "config", "run"):
            (self.home / folder).mkdir(exist_ok=True)
        return {
            "PATH": PATH,
            "HOME": str(self.home),
            "TMPDIR": str(self.home / "tmp"),
            "XDG_RUNTIME_DIR": str(self.home / "run"),
            "DOCKER_CONFIG": str(config),
            "REGISTRY_AUTH_FILE": str(config / "auth.json"),
            "HELM_REGISTRY_CONFIG": str(config / "helm.json"),
            "REGCTL_CONFIG": str(config / "regctl.json"),
            "COSIGN_PASSWORD": "",
        }

    def folder(self, name: str) -> Path:
        """Make a fresh folder."""
        parent = self.home / "folders"
        parent.mkdir(exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=parent))

    def store(self, name: str) -> Path:
        """Give the folder of a named store."""
        store = self.home / "stores" / name
        store.mkdir(parents=True, exist_ok=True)
        return store

    def run_folder(self, name: str) -> Path:
        """Give the run folder of a named store; podman takes none whose path has more than 50 characters."""
        if name not in self.run_folders:
            short = tempfile.TemporaryDirectory(prefix="rs-", ignore_cleanup_errors=True)
            self.run_folders[name] = Path(self.stack.enter_context(short))
        return self.run_folders[name]

    def socket(self, name: str) -> Path:
        """Give the socket of the daemon that keeps the named store; start it if it does not run."""
        assert self.daemon
        if name not in self.sockets:
            self.sockets[name] = self.stack.enter_context(running(self.daemon, self.store(name), self.environment))
        return self.sockets[name]

    def reference(self, place: str, tag: str) -> Reference:
        return Reference(self.host, f"{self.registry.project}/{self.run_id}/{self.client}/{place}/anchor", tag)

    def run(self, *command: str | Path, stdin: str = "", folder: Path | None = None, **more: str) -> str:
        """Run a command that must succeed; return what it printed. `more` joins its environment."""
        done = subprocess.run(
            command,
            input=stdin.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self.environment | more,
            cwd=folder or self.home,
            timeout=COMMAND_WITHIN,
            check=False,
        )
        text = done.stdout.decode(errors="replace")
        assert not done.returncode, f"{self._shown(command)}\nended with {done.returncode}:\n{text[-6000:]}"
        return text

    def fails(self, *command: str | Path, stdin: str = "") -> str:
        """Run a command that must fail; return what it printed."""
        try:
            printed = self.run(*command, stdin=stdin)
        except AssertionError as failure:
            return str(failure)
        raise AssertionError(f"{self._shown(command)}\nshould have failed, and printed:\n{printed}")

    def feed(self, *command: str | Path, write: Callable[[IO[bytes]], None]) -> None:
        """Run a command that must succeed on what `write` writes."""
        with self._process(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
            assert process.stdin
            # If the command ends early, its own message says more than our broken pipe.
            with suppress(BrokenPipeError), process.stdin:
                write(process.stdin)

    def drain(self, *command: str | Path, read: Callable[[IO[bytes]], frozenset[str]]) -> frozenset[str]:
        """Run a command that must succeed; return what `read` makes of its output."""
        with self._process(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
            assert process.stdout
            found = read(process.stdout)
            # A tar goes on behind its end, and who writes it fails where nobody reads that.
            while process.stdout.read(1 << 20):
                pass
            return found

    @contextmanager
    def _process(
        self, command: tuple[str | Path, ...], *, stdin: int, stdout: int
    ) -> Iterator["subprocess.Popen[bytes]"]:
        with tempfile.TemporaryFile(dir=self.home) as errors:
            process = subprocess.Popen(
                command, stdin=stdin, stdout=stdout, stderr=errors, env=self.environment, cwd=self.home
            )
            with process:
                yield process
            errors.seek(0)
            text = errors.read().decode(errors="replace")
            assert not process.returncode, f"{self._shown(command)}\nended with {process.returncode}:\n{text}"

    @contextmanager
    def recording(self) -> Iterator[list[Record]]:
        """Yield a list that holds, once the block is left, the record of what the client asked meanwhile."""
        seen: list[Record] = []
        with self.proxy.recording() as exchanges:
            yield seen
        seen.append(Record(tuple(exchanges)))

    def _shown(self, command: tuple[str | Path, ...]) -> str:
        return " ".join(map(str, command)).replace(self.registry.password, "***")
