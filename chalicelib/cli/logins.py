"""Logins of this user: one file of credentials by server, and which server is meant.

Invariants:
* The file has mode 0600 from its first byte on and is replaced whole; a file that others can read is not believed.
* Two commands that write at once both take effect.
* A server is named by its origin (`https://host` or `https://host:port`): no path, no user, no query.
"""

import fcntl
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from chalicelib.cli.failures import CommandError, Exit

_FILE = "credentials.json"
_READ_BY_OTHERS = 0o077
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Login:
    """A server and who asks it; without a user it is asked anonymously."""

    server: str
    user: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Logins:
    """Every login, by server in the order of logging in, and the server that is meant where none is named."""

    by_server: dict[str, Login]
    current: str = ""


def origin(address: str) -> str:
    """Return the origin that an address names, https unless it is this machine; raise CommandError."""
    text = address.strip()
    if "://" not in text:
        name = urlsplit(f"//{text}").hostname if "[" not in text or "]" in text else None
        text = f"{'http' if name in _LOOPBACK else 'https'}://{text}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise _no_server(address) from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or not parts.hostname.isprintable():
        raise _no_server(address)
    if parts.username is not None or parts.path.strip("/") or parts.query or parts.fragment:
        raise CommandError("A server is https://host or https://host:port; give the user with -u.", Exit.USAGE)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port and port != _DEFAULT_PORTS[parts.scheme] else "")


def _no_server(address: str) -> CommandError:
    return CommandError(f"'{address}' is no server: write it as https://host or https://host:port.", Exit.USAGE)


def in_the_clear(server: str) -> bool:
    """Tell whether passwords would cross a network unencrypted."""
    parts = urlsplit(server)
    return parts.scheme == "http" and parts.hostname not in _LOOPBACK


def read() -> Logins:
    """Return the logins; raise CommandError for a file that is damaged or open to others."""
    path = _folder() / _FILE
    try:
        if path.stat().st_mode & _READ_BY_OTHERS:
            raise CommandError(f"Others can read {path}, so it is not used. Run: chmod 600 {path}", Exit.CREDENTIALS)
        return _parse(json.loads(path.read_text()))
    except FileNotFoundError:
        return Logins({})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CommandError(
            f"{path} cannot be read. Delete it and log in again: roadstead login URL", Exit.CREDENTIALS
        ) from error


def _parse(document: Any) -> Logins:
    by_server = {
        server: Login(server, str(entry["user"]), str(entry["password"]))
        for server, entry in document["servers"].items()
    }
    return Logins(by_server, str(document["current"]))


def keep(login: Login, *, current: bool = True) -> None:
    """Remember a login, by default as that of the server meant from now on; raise CommandError."""

    def add(logins: Logins) -> Logins:
        rest = {server: other for server, other in logins.by_server.items() if server != login.server}
        return Logins(rest | {login.server: login}, login.server if current else logins.current)

    _change(add)


def forget(server: str) -> None:
    """Remove a login; the server meant is then the only one left, or none. Raise CommandError."""

    def remove(logins: Logins) -> Logins:
        rest = {name: other for name, other in logins.by_server.items() if name != server}
        only = next(iter(rest)) if len(rest) == 1 else ""
        return Logins(rest, only if logins.current == server else logins.current)

    _change(remove)


def find(server: str) -> Login:
    """Return the login of a server, or of the current one; raise CommandError where there is none."""
    logins = read()
    name = origin(server) if server else logins.current
    login = logins.by_server.get(name)
    if login:
        return login
    if name:
        raise CommandError(f"You are not logged in to {name}. Run: roadstead login {name}", Exit.CREDENTIALS)
    known = f" You are logged in to {', '.join(logins.by_server)}: choose with --server." if logins.by_server else ""
    raise CommandError(f"You are not logged in. Run: roadstead login URL.{known}", Exit.CREDENTIALS)


def find_or_anonymous(server: str) -> Login:
    """Return the login of a server, or nobody's where a server is named without one; raise CommandError."""
    if server and origin(server) not in read().by_server:
        return Login(origin(server))
    return find(server)


def _folder() -> Path:
    return Path(click.get_app_dir("roadstead"))


def _change(change: Callable[[Logins], Logins]) -> None:
    folder = _folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _write(folder, change(read()))
    except OSError as error:
        raise CommandError(f"Cannot write to {folder}: {error.strerror}.") from error


def _write(folder: Path, logins: Logins) -> None:
    servers = {name: {"user": login.user, "password": login.password} for name, login in logins.by_server.items()}
    # mkstemp makes the file with mode 0600.
    number, temporary = tempfile.mkstemp(dir=folder, prefix=_FILE)
    try:
        with os.fdopen(number, "w") as file:
            json.dump({"current": logins.current, "servers": servers}, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(folder / _FILE)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
