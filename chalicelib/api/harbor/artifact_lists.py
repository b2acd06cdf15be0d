"""Lists of artifacts: of a repository and of a project.

Invariants:
* By push time, in either direction and without conditions, a page is read where it is. One exact tag is looked up.
  Everything else reads the records in pages, and keeps of each what can be sorted by.
* A project's artifacts come repository by repository, in the order of the names, the newest first in each.

Conditions on tags are Harbor's own: `tags=*` has one, `tags=nil` has none, `tags=~v` has one that contains v. So is
the one on labels, `labels=(1 2)`, which reads what carries one of them; nothing carries a label that was deleted.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from typing import Any

from chalicelib.api.harbor import listing, repositories
from chalicelib.api.harbor.artifact_views import Located, Options, flag, shown
from chalicelib.api.harbor.calls import HarborCall
from chalicelib.api.harbor.errors import bad_request
from chalicelib.api.harbor.listing import Listing
from chalicelib.api.http import Response
from chalicelib.store.directory import SYSTEM, labels
from chalicelib.store.index import Index, artifacts
from chalicelib.store.index import labels as carriers
from chalicelib.store.index import repositories as records
from chalicelib.store.index.artifacts import Artifact
from chalicelib.store.index.repositories import RepositoryRecord

_TAGS, _LABELS = "tags", "labels"
_ALL_OF = re.compile(r"\(\s*([0-9]{1,18}(?:\s+[0-9]{1,18})*)\s*\)", re.ASCII)
_ANY, _NONE, _CONTAINS = "*", "nil", "~"
_NEWEST, _OLDEST = (("push_time", True),), (("push_time", False),)
_FIELDS = ("type", "media_type", "manifest_media_type", "artifact_type", "digest", "size")

Found = tuple[list[Located], int]
Entry = tuple[RepositoryRecord, Artifact]


def list_artifacts(call: HarborCall) -> Response:
    """List a repository's artifacts, newest first unless another order is asked for."""
    wanted, options = listing.parse(call.request), Options.parse(call)
    chosen, total = _in_repository(call, repositories.found(call), wanted)
    return listing.answered(call, wanted, shown(call, chosen, options), total)


def _in_repository(call: HarborCall, home: RepositoryRecord, wanted: Listing) -> Found:
    index = call.services.index
    skip = (wanted.page - 1) * wanted.size
    if not wanted.conditions and wanted.order in ((), _NEWEST):
        return [Located(home, found) for found in artifacts.newest(index, home, skip, wanted.size)], home.artifacts
    if not wanted.conditions and wanted.order == _OLDEST:
        return [Located(home, found) for found in artifacts.oldest(index, home, skip, wanted.size)], home.artifacts
    if wanted.conditions.keys() == {_TAGS} and _is_exact(wanted.conditions[_TAGS]):
        found = _tagged(index, home, wanted.conditions[_TAGS].strip("\"'"))
        return found[skip : skip + wanted.size], len(found)
    return _select(index, wanted, _matching(call, wanted.conditions)(home))


def _is_exact(value: str) -> bool:
    return value not in (_ANY, _NONE) and value[:1] not in (_CONTAINS, "[", "{", "(")


def _tagged(index: Index, home: RepositoryRecord, tag: str) -> list[Located]:
    record = artifacts.find_tag(index, home, tag) if tag else None
    found = artifacts.find(index, home, record.digest) if record else None
    return [Located(home, found)] if found and artifacts.is_listed(index, home, found) else []


def _matching(call: HarborCall, conditions: Mapping[str, str]) -> Callable[[RepositoryRecord], Iterator[Entry]]:
    """Return what yields the listed artifacts of a repository that meet all conditions, newest first."""
    index, tags = call.services.index, conditions.get(_TAGS, "")
    meets_others = listing.meets({name: value for name, value in conditions.items() if name not in (_TAGS, _LABELS)})
    candidates = _carrying(call, conditions[_LABELS]) if _LABELS in conditions else partial(artifacts.scan, index)

    def matching(home: RepositoryRecord) -> Iterator[Entry]:
        has_tags = _tag_test(index, home, tags)
        for found in candidates(home):
            if has_tags(found) and meets_others(_fields(home, found)):
                yield home, found

    return matching


def _carrying(call: HarborCall, condition: str) -> Callable[[RepositoryRecord], Iterable[Artifact]]:
    """Return what finds the artifacts of a repository that carry the labels of a condition; raise BAD_REQUEST."""
    match = _ALL_OF.fullmatch(condition)
    if match is None:
        raise bad_request("the condition on labels names the ids of all that an artifact carries: labels=(1 2)")
    wanted = frozenset(map(int, match[1].split()))
    scopes, directory = (SYSTEM, call.project.id), call.services.directory
    known = {label.id for scope in scopes for label in labels.every(directory, scope)}
    return lambda home: carriers.carrying(call.services.index, home, wanted) if wanted <= known else ()


def _tag_test(index: Index, home: RepositoryRecord, value: str) -> Callable[[Artifact], bool]:
    """Return the test whether an artifact's tags meet a condition."""
    if value in ("", _ANY):
        return lambda found: bool(found.tags) or not value
    if value == _NONE:
        return lambda found: not found.tags
    meets = listing.meets({"tag": value})
    digests = {digest for tag, digest in artifacts.tag_names(index, home) if meets({"tag": tag})}
    return lambda found: found.digest in digests


def _fields(home: RepositoryRecord, found: Artifact) -> Mapping[str, Any]:
    """Return what conditions and orders can name."""
    return {
        **{name: found.document[name] for name in _FIELDS},
        "id": found.id,
        "repository_id": home.id,
        "repository_name": home.repository.name,
        "push_time": found.pushed,
        "pull_time": found.pulled,
        "labels": found.labels,
    }


def _select(index: Index, wanted: Listing, found: Iterable[Entry]) -> Found:
    """Return a page of what was found in the order that is wanted, and how much was found."""
    homes: dict[int, RepositoryRecord] = {}
    rows: list[Mapping[str, Any]] = []
    for home, artifact in found:
        homes[home.id] = home
        rows.append(_fields(home, artifact))
    chosen, total = listing.select(replace(wanted, conditions={}), rows)
    return [located for row in chosen for located in _again(index, homes[row["repository_id"]], row["digest"])], total


def _again(index: Index, home: RepositoryRecord, digest: str) -> Iterator[Located]:
    """Yield an artifact, if it is still there."""
    found = artifacts.find(index, home, digest)
    if found:
        yield Located(home, found)


def list_of_project(call: HarborCall) -> Response:
    """List a project's artifacts, or of each repository the newest one that meets the conditions."""
    wanted, options = listing.parse(call.request), Options.parse(call)
    index, homes = call.services.index, records.all_of(call.services.index, call.project.id)
    if flag(call, "latest_in_repository"):
        matching = _matching(call, wanted.conditions)
        latest = (entry for home in homes for entry in islice(matching(home), 1))
        chosen, total = _select(index, wanted, latest)
    elif wanted.natural:
        chosen, total = _across(index, homes, wanted), sum(home.artifacts for home in homes)
    else:
        chosen, total = _select(index, wanted, chain.from_iterable(map(_matching(call, wanted.conditions), homes)))
    return listing.answered(call, wanted, shown(call, chosen, options), total)


def _across(index: Index, homes: Iterable[RepositoryRecord], wanted: Listing) -> list[Located]:
    """Return a page of the artifacts of several repositories, reading those alone that it is made of."""
    skip, chosen = (wanted.page - 1) * wanted.size, list[Located]()
    for home in homes:
        room = wanted.size - len(chosen)
        if room and skip < home.artifacts:
            chosen += [Located(home, found) for found in artifacts.newest(index, home, skip, room)]
        skip = max(skip - home.artifacts, 0)
    return chosen
