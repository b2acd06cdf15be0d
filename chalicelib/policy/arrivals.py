"""What an event of S3 says of a key, and when to look again at one of which not all has arrived.

Invariants:
* Keys come as S3 writes them into events, encoded as in a form; nothing else is decoded.
* A message that is not S3's, or not ours, is an error: it ends among those that somebody should look at.

Specification: S3's event message structure 2.x, as S3 sends it to SQS; a message that is sent again is our own.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import unquote_plus

_CREATED, _REMOVED = "ObjectCreated:", "ObjectRemoved:"
_AGAIN = "again"
_TEST = "s3:TestEvent"
# Together 51 minutes: S3 promises a copy within a quarter of an hour, for all but one object in a thousand.
DELAYS = (10, 20, 40, 80, 160, 320, 640, 900, 900)


@dataclass(frozen=True, slots=True)
class Arrival:
    """Something changed at a key: `version` is the new one's id, or "" where the bucket keeps none.

    `tries` says how often it was looked at before.
    """

    key: str
    version: str = ""
    tries: int = 0

    @property
    def is_last_try(self) -> bool:
        """Tell whether nobody looks again after this time."""
        return self.tries >= len(DELAYS)

    def again(self) -> tuple[str, int]:
        """Return the message to be sent for another look, and after how many seconds."""
        return json.dumps({_AGAIN: asdict(replace(self, tries=self.tries + 1))}), DELAYS[self.tries]


def read(message: str) -> Iterator[Arrival]:
    """Yield what a message tells of, in its order; raise ValueError where it is none of S3's or ours."""
    document = json.loads(message)
    if not isinstance(document, dict):
        raise ValueError("a message about the bucket must be an object")  # noqa: TRY004 - one fault of a message
    if _AGAIN in document:
        yield Arrival(**document[_AGAIN])
    elif document.get("Event") != _TEST:
        try:
            found = [_arrival(record) for record in document["Records"]]
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"this is no event of S3: {error!r} is missing or wrong") from error
        yield from (each for each in found if each)


def _arrival(record: Mapping[str, Any]) -> Arrival | None:
    if not record["eventName"].startswith((_CREATED, _REMOVED)):
        return None
    changed = record["s3"]["object"]
    return Arrival(unquote_plus(changed["key"]), changed.get("versionId", ""))
