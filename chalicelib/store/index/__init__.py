"""The artifact index: what Harbor's API shows of repositories beyond what S3 tells quickly. Every shape is here.

S3 is the truth. The index is written after it, is never read to serve a push or a pull, and can be made anew from it
(`jobs.reindex`). `<r>` below is `<project id>/<repository>/<repository's id>`.

```
partition                  sort                       record
repositories/<project id>  <name, `/` written as `!`> {id, name, description, created, updated}; counters `manifests`,
                                                      `artifacts` (those listed), `bytes`, `pulls`
indexed/<project id>       repositories               counter `repositories`
artifacts/<r>              <digest>                   what a manifest is (`descriptions`), with {id, pushed, labels};
                                                      counters `tags`, `attached` (accessories' tags), `pulled`
order/<r>                  <pushed>/<digest>          {}: the artifact is listed
tags/<r>                   <tag>                      {id, digest, pushed}
tagged/<r>                 <digest>/<tag>             {id, pushed}: the tag names the artifact; counter `pulled`
labelled/<r>               <label>/<digest>           {}: the artifact carries the label, if its record says so
children/<r>               <digest>/<position>        {digest, platform, annotations, urls}: an index's child
parents/<r>                <child>/<digest>           {}: the same, from the other side
accessories/<r>            <subject>/<digest>[/<tag>] {id, digest, type, size, created}
```

Access patterns: a repository by name, those of a project in the order of their names; an artifact by digest or tag;
a page of the listed artifacts in the order of pushes; the tags, children, parents and accessories of one artifact.

Invariants:
* A repository that is deleted and made anew has another id, and so begins empty. Every change depends on the record
  of the repository it was meant for.
* A tag's record, its `tagged` record and the counters of the artifact that it names change together; so do an
  artifact, its place in the order, its own accessory record and the repository's counters.
* Listed is what is no accessory, and has a tag or belongs to no index. Whatever changes one of these looks at the
  whole again afterwards (`settle`).
* Ids are numbers below 2^53 that grow with time; nobody counts. They stay while the thing does.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from chalicelib.store.content import Content

if TYPE_CHECKING:
    # A pull asks the table nothing, and waits for imports.
    from chalicelib.store.table import Table

_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_RANDOM_BITS = 12


@dataclass(frozen=True, slots=True)
class Index:
    """What the functions of these modules work with."""

    table: "Table"
    content: Content
    now: Callable[[], datetime]

    def time(self) -> str:
        """Return the moment, as records and answers write it."""
        return written(self.now())

    def new_id(self) -> int:
        """Return an id that nothing has: milliseconds since 2026, then random bits."""
        milliseconds = int((self.now() - _EPOCH).total_seconds() * 1000)
        return max(milliseconds, 1) << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)


def written(moment: datetime) -> str:
    """Return a moment as records and answers write it (RFC 3339, UTC, milliseconds)."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
