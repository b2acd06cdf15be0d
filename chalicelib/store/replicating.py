"""Begins the replication of what just changed here: `jobs.replicate` does the copying, or the deleting.

Invariants:
* It comes after the change, costs nothing where no policy was ever to be begun by events, and fails nothing: an event
  that cannot be noted is in the process's log, and the next scheduled or manual execution makes up for it.
* A manifest that was pushed by its digest alone begins nothing unless it belongs to another one: it is a part of an
  index that is about to come, or what no tag will ever lead to. In a cache such a part may come after its index.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chalicelib.policy import adapters, replication
from chalicelib.policy.adapters import Deletion
from chalicelib.policy.jobs import Kind, Trigger
from chalicelib.policy.replication import Candidate, Filter, FilterKind, Policy
from chalicelib.store import executions
from chalicelib.store.directory import Directory, registries
from chalicelib.store.directory import replication as policies
from chalicelib.store.index import kinds
from chalicelib.store.table import batches

log = logging.getLogger(__name__)

# What the parameters of a task say.
REPOSITORY, TO, OPERATION, ITEMS, ONLY = "repository", "to", "operation", "items", "only"
COPY, DELETION = "copy", "deletion"
# `NAMED` is what tags named that are gone, "" where nobody knew; `NAMES` the tags of artifacts that are gone whole.
DIGESTS, TAGS, NAMED, NAMES, SUBJECT = "digests", "tags", "named", "names", "subject"
_TOGETHER = 200
# So many tags fit a task's record, and all tasks that are begun together.
_MOST_NAMES = 1000


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to an artifact: it was pushed, or named by tags; or (`deleted`) it or its tags are gone.

    `what` has the tags that came, or went; of an artifact that went as a whole (`whole`), those that it had, and of
    all that went its labels and its type: nobody can ask for them later. `subject` is what it belongs to, where it
    has no tags.
    """

    repository: str
    what: Candidate
    subject: str = ""
    deleted: bool = False
    whole: bool = False


def begin(directory: Directory, changes: Iterable[Change], by: str) -> None:
    """Begin an execution of each policy that wants to know of a change."""
    try:
        stored = policies.begun_by_events(directory)
    except Exception:
        log.exception("no replication policy heard of a change")
        return
    for change in changes:
        for each in stored:
            try:
                _begin(directory, each.id, each.policy, change, by)
            except Exception:
                log.exception("the replication policy %s missed a change of %s", each.policy.name, change.repository)


def _begin(directory: Directory, number: int, policy: Policy, change: Change, by: str) -> None:
    parameters = _parameters(directory, policy, change)
    if parameters is not None:
        new = executions.New(Kind.REPLICATION, number, Trigger.EVENT, {}, by, [parameters])
        executions.begin(directory, new)


def _parameters(directory: Directory, policy: Policy, change: Change) -> Mapping[str, Any] | None:
    """Return what a task does about a change, or None where the policy does not want it.

    Of what is here labels and types are asked by the task, and the tags of what a change's artifact belongs to.
    """
    if not replication.takes_repository(policy.filters, change.repository):
        return None
    subject = _subject(change)
    asked = policy.filters if change.deleted else _of_tags(policy)
    tags = replication.chosen(() if subject else asked, change.what)
    if tags is None or (change.deleted and not policy.deletion):
        return None
    if change.deleted:
        digest = change.what.digest
        gone: dict[str, Any] = {TAGS: list(tags), NAMED: digest}
        if change.whole:
            gone = {DIGESTS: [digest], **_names(directory, policy, {digest: tags})}
        return {**_named(policy, change.repository, max(1, len(tags))), OPERATION: DELETION, **gone}
    item = {"key": "1", "digest": change.what.digest, "tags": list(tags)}
    named = _named(policy, change.repository, max(1, len(tags)))
    return {**named, OPERATION: COPY, ONLY: [item], SUBJECT: subject}


def _names(directory: Directory, policy: Policy, gone: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Return the tags of what is gone, where the destination deletes by tags alone; of very many, some."""
    registry = registries.find(directory, policy.registry)
    if registry is None or adapters.find(registry.type).deletion is not Deletion.HUB:
        return {}
    names, left = dict[str, list[str]](), _MOST_NAMES
    for digest, tags in gone.items():
        names[digest] = list(tags[:left])
        left -= len(names[digest])
    return {NAMES: names}


def _of_tags(policy: Policy) -> tuple[Filter, ...]:
    return tuple(each for each in policy.filters if each.kind is FilterKind.TAG)


def _named(policy: Policy, repository: str, items: int) -> dict[str, Any]:
    return {REPOSITORY: repository, TO: replication.destination(policy, repository).name, ITEMS: items}


def _subject(change: Change) -> str:
    """Return what something belongs to, by itself or by cosign's older tags, or ""."""
    attached = kinds.attached(change.what.tags[0]) if len(change.what.tags) == 1 else None
    return attached.subject if attached else change.subject


def emptied(directory: Directory, repository: str, contents: Sequence[Candidate], by: str) -> None:
    """Begin the deletion of what a repository had that is gone."""
    try:
        for each in policies.begun_by_events(directory):
            _begin_emptying(directory, each.id, each.policy, repository, contents, by)
    except Exception:
        log.exception("no replication policy heard that %s was deleted", repository)


def _begin_emptying(
    directory: Directory,
    number: int,
    policy: Policy,
    repository: str,
    contents: Sequence[Candidate],
    by: str,
) -> None:
    if not policy.deletion or not replication.takes_repository(policy.filters, repository):
        return
    chosen = ((each.digest, replication.chosen(policy.filters, each)) for each in contents)
    gone = {digest: tags for digest, tags in chosen if tags is not None}
    names = _names(directory, policy, gone)
    tasks = [
        {**_named(policy, repository, len(some)), OPERATION: DELETION, DIGESTS: some, **_of(some, names)}
        for some in batches(list(gone), _TOGETHER)
    ]
    if tasks:
        executions.begin(
            directory, executions.New(Kind.REPLICATION, number, Trigger.EVENT, {}, by, tasks[: executions.MOST_TASKS])
        )


def _of(digests: Iterable[str], names: Mapping[str, Any]) -> dict[str, Any]:
    return {name: {digest: tags[digest] for digest in digests} for name, tags in names.items()}
