"""Access lines: one for each request, for people or, as JSON, for machines (`api.telemetry` says what is in them).

Invariant: no query is ever written, since presigned URLs and upload URLs are capabilities; nor is a header.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TextIO

import orjson

from chalicelib.api.telemetry import Line, document

_UNITS = ("B", "kB", "MB", "GB", "TB")
_STEP = 1000


@dataclass(frozen=True, slots=True)
class AccessLog:
    """Writes lines to a stream."""

    stream: TextIO
    json: bool = False

    def write(self, line: Line) -> None:
        """Write one line."""
        text = _for_machines(line) if self.json else _for_people(line)
        # A terminal without arrows, or one that is gone, must not cost a client its answer.
        encoding = self.stream.encoding or "utf-8"
        with suppress(OSError, ValueError):
            print(text.encode(encoding, "replace").decode(encoding), file=self.stream, flush=True)


def _for_people(line: Line) -> str:
    moment = datetime.now(UTC).astimezone().strftime("%H:%M:%S")
    moved = "  ".join(f"{sign}{_amount(size)}" for sign, size in (("↑", line.received), ("↓", line.sent)) if size)
    path = line.request.path.encode("unicode_escape").decode("ascii")[:300]
    return f"{moment}  {line.status}  {line.request.method:<6} {path}  {line.seconds * 1000:.0f} ms  {moved}".rstrip()


def _for_machines(line: Line) -> str:
    return orjson.dumps(document(line)).decode()


def _amount(size: float) -> str:
    for unit in _UNITS:
        if size < _STEP or unit == _UNITS[-1]:
            break
        size /= _STEP
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
