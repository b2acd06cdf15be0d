"""Retention: deletes what a project's rules do not keep, or says what it would delete.

The first task of an execution finds the repositories that a rule looks at, and adds a task for each. Such a task
decides over the whole repository, logs what becomes of each artifact, and deletes.

Invariants:
* What it decides, it decides by one moment, however often it is interrupted: what is left is decided anew, and what
  the rules keep stays kept.
* A deletion is what Harbor's API does (`store.cascade`): accessories and children go along, what an index needs and
  what an immutable tag names stays. A tag that names it since the decision keeps it, too.
* What it deletes is retired (`store.condemned`): an index that is pushed meanwhile, and refers to it, brings it back.
* Rules hold as they are when the task runs. Without a policy or a project there is nothing to do.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from chalicelib.changes import replicating
from chalicelib.jobs.steps import Again, Done, Outcome, TaskRun
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.names import Repository, Tag
from chalicelib.policy import immutability, retention
from chalicelib.policy.audit import Event
from chalicelib.policy.jobs import Kind
from chalicelib.policy.retention import Action, Candidate, Policy, Rule, Verdict
from chalicelib.policy.webhook_payloads import Happened
from chalicelib.policy.webhooks import EventType
from chalicelib.services import Services
from chalicelib.store import cascade, executions, notifications, schedules
from chalicelib.store.cascade import Manner
from chalicelib.store.condemned import Doom
from chalicelib.store.directory import audit, immutable_rules, labels, projects, webhooks
from chalicelib.store.directory import retention as policies
from chalicelib.store.directory.projects import Project
from chalicelib.store.index import Index, artifacts, events, repositories
from chalicelib.store.index.artifacts import Artifact, TagRecord
from chalicelib.store.index.repositories import RepositoryRecord
from chalicelib.store.table import Slice
from chalicelib.store.usage import settling

log = logging.getLogger(__name__)

REPOSITORY = "repository"
ACTOR = "retention"
_TOGETHER = 20
_REFUSED = 412
_COLUMNS = ("Digest", "Tag", "Kind", "Labels", "PushedTime", "PulledTime", "CreatedTime", "Retention", "Kept by")
_LINES_TOGETHER = 200
# Of so many deletions at most webhooks are told by name.
_MOST_TOLD = 100


@dataclass(frozen=True, slots=True)
class _Scope:
    """The policy that a task is about and its project."""

    policy: Policy
    project: Project

    def below(self, repository: Repository) -> str:
        """Return a repository's name without the project's."""
        return repository.name.removeprefix(f"{self.project.name}/")


def step(services: Services, run: TaskRun) -> Outcome:
    """Do a step of the task that finds the repositories, or of one for a repository."""
    stored = policies.by_id(run.directory, run.vendor_id)
    project = projects.by_id(run.directory, stored.policy.project_id) if stored else None
    if stored is None or project is None:
        run.log("the policy or its project was deleted: there is nothing to do")
        schedules.remove(run.directory, Kind.RETENTION, run.vendor_id)
        return Done()
    scope = _Scope(stored.policy, project)
    name = run.parameters.get(REPOSITORY)
    if name is None:
        return _find(services.index, run, scope)
    home = repositories.find(services.index, project.id, Repository(f"{project.name}/{name}"))
    if home is None:
        run.log(f"the repository {name} was deleted: there is nothing to do")
        return Done({"total": 0, "retained": 0})
    return _Retention(services, run, scope, home, list(run.cursor.get("gone", ()))).step()


def _find(index: Index, run: TaskRun, scope: _Scope) -> Outcome:
    """Add a task for each repository that a rule looks at."""
    after = run.cursor.get("after", "")
    while run.more_time() and not run.stopping():
        page = repositories.page(index, scope.project.id, Slice(after=after, limit=_TOGETHER))
        names = [scope.below(home.repository) for home in page.entries]
        touched = [name for name in names if retention.is_touched(scope.policy.rules, name)]
        if touched:
            run.spawn({name: {REPOSITORY: name} for name in touched})
            run.log(f"found: {', '.join(touched)}")
        if not page.more:
            return Done()
        after = repositories.sort_key(page.entries[-1].repository)
    return Again({"after": after})


@dataclass(frozen=True, slots=True)
class _Decided:
    """What a decision was about: the artifacts, and what each tag of the repository named."""

    digests: frozenset[str]
    tags: Mapping[str, str]

    def is_new(self, tag: Tag, candidate: Candidate) -> bool:
        """Tell whether a tag, if it names an artifact or what belongs to it, does so only since the decision."""
        named = self.tags.get(tag.name)
        return named is None or (named in self.digests and named != candidate.digest)


@dataclass(frozen=True, slots=True)
class _Retention:
    """A task for one repository."""

    services: Services
    run: TaskRun
    scope: _Scope
    home: RepositoryRecord
    gone: list[str]

    def step(self) -> Outcome:
        """Count what there is, then decide and delete, until it is done or the time is over."""
        cursor = self.run.cursor
        known = {artifact.digest: artifact for artifact in artifacts.scan(self.services.index, self.home)}
        if not cursor:
            moment = int(self.services.now().timestamp())
            return Again({"now": moment, "total": len(known)}, {"total": len(known), "retained": len(known)})
        tags = tuple(artifacts.every_tag(self.services.index, self.home))
        verdicts = self._decided(known, tags, cursor["now"])
        if not cursor.get("logged"):
            self._log(verdicts, known)
        goes = [verdict.candidate for verdict in verdicts if verdict.action is Action.DELETE]
        named = {tag.name: tag.digest for tag in tags}
        left = 0 if self.run.dry_run else self._delete(goes, _Decided(frozenset(known), named))
        if left is None:
            return Again({**cursor, "logged": True, "gone": self.gone[:_MOST_TOLD]})
        report = {"total": cursor["total"], "retained": len(verdicts) - len(goes) + left}
        self._notify(report)
        return Done(report)

    def _notify(self, report: Mapping[str, int]) -> None:
        """Tell webhooks what was deleted; of nothing there is nothing to tell."""
        if not self.gone:
            return
        directory, project = self.run.directory, self.scope.project
        if not webhooks.wanting(project, EventType.RETAINED):
            return
        host = urlsplit(self.services.settings.public_url).hostname
        told = {
            **report,
            **({"harbor_hostname": host} if host else {}),
            "project_name": project.name,
            "retention_policy_id": self.run.vendor_id,
            "retention_rule": [_told_rule(rule) for rule in self.scope.policy.rules],
            "result": "SUCCESS",
            "deleted_artifact": [
                {"type": "image", "name_tag": name, "status": "SUCCESS"} for name in self.gone[:_MOST_TOLD]
            ],
        }
        execution = executions.get(directory, self.run.execution_id)
        by, more = execution.by if execution else "", {"retention": told}
        happened = Happened(EventType.RETAINED, self._moment(), by, self.home.repository.name, more=more)
        notifications.tell(directory, project, [happened])

    def _moment(self) -> int:
        return int(self.services.now().timestamp())

    def _decided(self, known: Mapping[str, Artifact], tags: Iterable[TagRecord], now: int) -> tuple[Verdict, ...]:
        name, rules = self.scope.below(self.home.repository), immutable_rules.of(self.scope.project)
        fixed = partial(immutability.is_immutable, rules, name)
        return retention.decide(self.scope.policy.rules, name, _candidates(known.values(), tags), now, fixed)

    def _delete(self, goes: Iterable[Candidate], decided: "_Decided") -> int | None:
        """Delete artifacts; return how many of them stay, or None where there was not the time for all."""
        left = 0
        for candidate in goes:
            if self.run.stopping() or not self.run.more_time():
                return None
            left += not self._deleted(candidate, decided)
        return left

    def _deleted(self, candidate: Candidate, decided: "_Decided") -> bool:
        """Delete an artifact; tell whether it is gone."""
        rules, name = immutable_rules.of(self.scope.project), self.scope.below(self.home.repository)
        index, home, digest = self.services.index, self.home, Digest.parse(candidate.digest)

        def stays(tag: Tag) -> bool:
            return decided.is_new(tag, candidate) or immutability.is_immutable(rules, name, tag.name)

        going = replicating.going(self.services, home.project_id, home.repository, digest)
        try:
            manner = Manner(self._tell, stays, Doom.RETIRED)
            cascade.delete(index.content, index, home.project_id, home.repository, digest, manner)
        except RegistryError as error:
            if error.status == _REFUSED:
                # For the sake of a tag, if there is a detail.
                why = "a tag that is immutable, or was pushed since, names it" if error.detail else error.message
                self.run.log(f"ERR {candidate.digest} stays: {why}")
                return False
            if error.code is not ErrorCode.MANIFEST_UNKNOWN:
                raise
        else:
            self.gone.append(f"{name}:{candidate.tags[0]}" if candidate.tags else f"{name}@{digest}")
            self._audit(digest, candidate.tags[0] if candidate.tags else str(digest))
            replicating.deleted(self.services, ACTOR, home.repository, going, whole=True)
        return True

    def _tell(self, reference: Tag | Digest) -> None:
        index, home = self.services.index, self.home
        if isinstance(reference, Tag):
            events.untagged(index, home.project_id, home.repository, reference)
        else:
            settling.deleted(index, home.project_id, home.repository, reference)

    def _audit(self, digest: Digest, reference: str) -> None:
        resource = f"{self.home.repository}@{digest}"
        event = Event(ACTOR, resource, "artifact", "delete", project_id=self.home.project_id)
        try:
            audit.log(self.run.directory, event)
        except OSError:
            log.exception("the audit log lacks %s", event)
        name, host = self.home.repository.name, urlsplit(self.services.settings.public_url).netloc
        happened = Happened(EventType.DELETED, self._moment(), ACTOR, name, reference, str(digest), host)
        notifications.tell(self.run.directory, self.scope.project, [happened])

    def _log(self, verdicts: Iterable[Verdict], known: Mapping[str, Artifact]) -> None:
        found = tuple(verdicts)
        what = "dry run, nothing is deleted" if self.run.dry_run else "run"
        self.run.log(f"{self.home.repository}: {what}; {len(found)} artifacts")
        names = _label_names(self.run, known.values())
        lines = [_row(_COLUMNS), *(_row(_cells(verdict, known, names)) for verdict in found)]
        for start in range(0, len(lines), _LINES_TOGETHER):
            self.run.log("\n".join(lines[start : start + _LINES_TOGETHER]))


def _candidates(found: Iterable[Artifact], tags: Iterable[TagRecord]) -> Iterator[Candidate]:
    """Yield artifacts as the rules see them: the latest of their own times and of their tags'."""
    by_digest: dict[str, list[TagRecord]] = {}
    for tag in tags:
        by_digest.setdefault(tag.digest, []).append(tag)
    for artifact in found:
        named = by_digest.get(artifact.digest, [])
        created = _seconds(artifact.pushed)
        yield Candidate(
            digest=artifact.digest,
            tags=tuple(tag.name for tag in named),
            pushed=max([created, *(_seconds(tag.pushed) for tag in named)]),
            pulled=max([_seconds(artifact.pulled), *(_seconds(tag.pulled) for tag in named)]),
            created=created,
        )


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp() if time else 0


def _told_rule(rule: Rule) -> dict[str, Any]:
    written = retention.written_rule(rule)
    return {name: written[name] for name in ("template", "params", "tag_selectors", "scope_selectors")}


def _label_names(run: TaskRun, found: Iterable[Artifact]) -> Mapping[int, str]:
    numbers = sorted({number for artifact in found for number in artifact.labels})
    return {label.id: label.name for number in numbers if (label := labels.by_id(run.directory, number))}


def _cells(verdict: Verdict, known: Mapping[str, Artifact], names: Mapping[int, str]) -> tuple[str, ...]:
    candidate, artifact = verdict.candidate, known[verdict.candidate.digest]
    return (
        candidate.digest,
        ",".join(candidate.tags),
        artifact.document["type"].lower(),
        ",".join(names[number] for number in artifact.labels if number in names),
        _time(candidate.pushed),
        _time(candidate.pulled),
        _time(candidate.created),
        str(verdict.action),
        ", ".join(f"rule {number}" for number in verdict.kept_by),
    )


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y/%m/%d %H:%M:%S") if seconds else ""


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
