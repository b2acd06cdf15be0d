"""How a command ends: the table of exit codes, and the one error that carries a sentence to the user.

Invariants:
* Every failure that a user can cause or meet is a `CommandError`: a sentence and what to do, never a stack trace.
* What a server sent is made harmless before it is part of a sentence.
"""

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import NamedTuple

import click

from chalicelib.cli.text import clean

_LONGEST_MESSAGE = 500


class Exit(IntEnum):
    """Exit codes of every command."""

    OK = 0
    FAILED = 1
    USAGE = 2
    CREDENTIALS = 3
    NOT_FOUND = 4
    UNREACHABLE = 5


# fmt: off
MEANINGS: Mapping[Exit, str] = MappingProxyType({
    Exit.OK:          "done",
    Exit.FAILED:      "refused or failed",
    Exit.USAGE:       "wrong usage",
    Exit.CREDENTIALS: "not logged in, or credentials refused",
    Exit.NOT_FOUND:   "not found",
    Exit.UNREACHABLE: "server out of reach",
})


class _Row(NamedTuple):
    code: Exit
    happened: str
    advice: str


# What a status means where the server gives no sentence of its own, and what the user can do about it.
_STATUS: Mapping[int, _Row] = MappingProxyType({
    400: _Row(Exit.FAILED,      "the server did not accept the request", "Check the arguments."),
    401: _Row(Exit.CREDENTIALS, "the server refused the credentials", "Log in again: roadstead login {server}"),
    403: _Row(Exit.FAILED,      "you may not do this", "Ask an administrator for the right."),
    404: _Row(Exit.NOT_FOUND,   "there is no such thing", "Check the name; what you may not see counts as missing."),
    405: _Row(Exit.FAILED,      "the server does not offer this", "Check that its version does."),
    409: _Row(Exit.FAILED,      "it is there already", "Choose another name, or look at what is there."),
    412: _Row(Exit.FAILED,      "something stands in the way", "Remove what the message names first."),
    413: _Row(Exit.FAILED,      "that is too large for the server", "Send less."),
    429: _Row(Exit.FAILED,      "too many requests", "Wait {wait} and try again."),
    501: _Row(Exit.FAILED,      "the server does not offer this", "Check that its version does."),
    502: _Row(Exit.UNREACHABLE, "the server is out of reach behind its proxy", "Try again in a moment."),
    503: _Row(Exit.UNREACHABLE, "the server is out of service", "Try again in a moment."),
    504: _Row(Exit.UNREACHABLE, "the server did not answer its proxy", "Try again in a moment."),
})
_FAILED = _Row(Exit.FAILED, "the server failed", "Try again; its log knows more.")
_REFUSED = _Row(Exit.FAILED, "the server refused", "Check the arguments.")
# fmt: on

_SERVER_ERRORS = 500


class CommandError(click.ClickException):
    """A sentence for the user, and the exit code that goes with it."""

    def __init__(self, message: str, code: Exit = Exit.FAILED) -> None:
        super().__init__(message)
        self.exit_code = int(code)  # type: ignore[misc] # a class variable in click, read from the instance


class Refusal(NamedTuple):
    """What an answer that is not 2xx says: its status, the server's own words (or none), how long to wait.

    `advice` is what the user can do about it, where that is not as for every answer of this status.
    """

    status: int
    words: str = ""
    wait: str = ""
    request_id: str = ""
    advice: str = ""


def refused(server: str, refusal: Refusal) -> CommandError:
    """Return the error of an answer that is not 2xx."""
    default = _FAILED if refusal.status >= _SERVER_ERRORS else _REFUSED
    row = _STATUS.get(refusal.status, default)
    words = clean(refusal.words)[:_LONGEST_MESSAGE] or row.happened
    wait = f"{refusal.wait} seconds" if refusal.wait.isdecimal() else "a while"
    quoted = f", request {clean(refusal.request_id)[:64]}" if refusal.request_id and row is _FAILED else ""
    advice = refusal.advice or row.advice.format(server=server, wait=wait)
    return CommandError(f"{words.rstrip('.')} (status {refusal.status}{quoted}). {advice}", row.code)


def exit_codes() -> str:
    """Return the table of exit codes for the help."""
    lines = [f"  {code.value}  {meaning}" for code, meaning in MEANINGS.items()]
    return "\n".join(["\b", "Exit codes:", *lines])
