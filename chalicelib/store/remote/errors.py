"""What goes wrong with other registries, as one family of errors whose texts can be shown.

Invariants:
* A text has no credential and no URL's query; what the other side said is cut, and only its printable characters.
* `status` is the other side's, 0 where there was no answer; `retry_after` is in seconds, None where it is not said.
"""

import email.utils
import json
import time
from collections.abc import Mapping

_MOST_SAID, _LONGEST = 300, 600
_LONGEST_WAIT = 24 * 3600
_EPOCH = 1_000_000_000
_DENIED, _MISSING, _LIMITED, _DOWN = (401, 403), (404, 410), 429, 500


class RemoteError(OSError):
    """Another registry did not do what it was asked for."""

    def __init__(self, text: str, status: int = 0, retry_after: int | None = None) -> None:
        super().__init__(printable(text))
        self.status = status
        self.retry_after = retry_after


class MissingError(RemoteError):
    """It has no such thing."""


class DeniedError(RemoteError):
    """It wants other credentials, or does not allow it."""


class LoginError(DeniedError):
    """It does not take the credential, whatever it is asked for: some lock out whoever tries it too often."""


class LimitedError(RemoteError):
    """It was asked too often."""


class DownError(RemoteError):
    """It did not answer, or not as it should: another try may help."""


class UntrueError(RemoteError):
    """What it sent is not what was asked for: the content does not hash to its digest, or has another size."""


class OffsetError(RemoteError):
    """A chunk does not follow what the registry has of an upload.

    With status 416 it was not taken: ask where the upload stands. Else it was taken all the same (docker-registry 2
    looks at no offset): begin the upload anew.
    """


def refusal(what: str, status: int, headers: Mapping[str, str], content: bytes) -> RemoteError:
    """Return the error that an answer other than the wanted one is."""
    said = _said(content)
    text = f"{what}: {status}{' ' if said else ''}{said}"
    return _family(status)(text, status, retry_after(headers.get("retry-after", "")))


def _family(status: int) -> type[RemoteError]:
    if status in _DENIED:
        return DeniedError
    if status in _MISSING:
        return MissingError
    if status == _LIMITED:
        return LimitedError
    return DownError if status >= _DOWN else RemoteError


def retry_after(value: str, now: float | None = None) -> int | None:
    """Return the seconds that a `Retry-After` means: a number, a date, or (Docker Hub) a moment in seconds."""
    moment = time.time() if now is None else now
    if value.isascii() and value.isdecimal():
        seconds = int(value[:12])
        return _bounded(seconds - moment if seconds > _EPOCH else seconds)
    try:
        return _bounded(email.utils.parsedate_to_datetime(value).timestamp() - moment)
    except ValueError:
        return None


def _bounded(seconds: float) -> int:
    return max(0, min(int(seconds), _LONGEST_WAIT))


def _said(content: bytes) -> str:
    """Return what an error document says, else the beginning of a text; pages of proxies are nobody's sentence."""
    try:
        document = json.loads(content)
        errors = document["errors"]
        said = "; ".join(f"{each.get('code', '')} {each.get('message', '')}".strip() for each in errors)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        said = "" if content.lstrip()[:1] in (b"<", b"{", b"[") else content[:_MOST_SAID].decode(errors="replace")
    return printable(said[:_MOST_SAID])


def printable(text: str) -> str:
    """Return the beginning of what others wrote, on one line and without control characters."""
    return "".join(each if each.isprintable() else " " for each in text[:_LONGEST]).strip()
