"""What is told of an event, in each format: pure functions of the event and of what is known where it happened.

Invariants:
* The default format has Harbor's members, which Flux, Argo CD and others read; nothing else is in it.
* An event gives a policy the same bytes whenever it is tried: receivers know a repetition by its id.

Specification: Harbor 2.16's webhook payloads; CloudEvents 1.0, structured JSON; Slack's blocks.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from chalicelib.policy.webhooks import EventType, Format, Notify, Target

JSON, CLOUD_JSON = "application/json", "application/cloudevents+json"
NOTHING: Mapping[str, Any] = MappingProxyType({})
# fmt: off
CLOUD_TYPES: Mapping[EventType, str] = MappingProxyType({
    EventType.PUSHED:         "harbor.artifact.pushed",
    EventType.PULLED:         "harbor.artifact.pulled",
    EventType.DELETED:        "harbor.artifact.deleted",
    EventType.SCANNED:        "harbor.scan.completed",
    EventType.SCAN_STOPPED:   "harbor.scan.stopped",
    EventType.SCAN_FAILED:    "harbor.scan.failed",
    EventType.QUOTA_EXCEEDED: "harbor.quota.exceeded",
    EventType.QUOTA_WARNING:  "harbor.quota.warned",
    EventType.REPLICATED:     "harbor.replication.status.changed",
    EventType.RETAINED:       "harbor.tag_retention.finished",
})
# fmt: on
# What jobs did to many repositories, or elsewhere, is told without one, as in Harbor: its own member says it all.
_OF_NO_REPOSITORY = frozenset({EventType.REPLICATED, EventType.RETAINED})
# A section of a Slack message takes 3 000 characters, and a message 50 of them.
_LONGEST_SECTION, _MOST_NAMED = 2800, 20


@dataclass(frozen=True, slots=True)
class Happened:
    """An event: who did what to `repository` (its full name, or "") and when, in seconds since 1970.

    `reference` is a tag or, where there is none, the digest; `host` is where clients reach the registry, or "".
    `also` are the digests of further artifacts that it happened to at once; `more` are further members of its data,
    by Harbor's names.
    """

    type: EventType
    moment: int
    operator: str = ""
    repository: str = ""
    reference: str = ""
    digest: str = ""
    host: str = ""
    also: tuple[str, ...] = ()
    more: Mapping[str, Any] = field(default_factory=lambda: NOTHING)

    def document(self) -> dict[str, Any]:
        """Return the event as JSON has it."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__} | {"more": dict(self.more)}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Happened":
        """Return the event that `document` made."""
        return cls(**{**document, "type": EventType(document["type"]), "also": tuple(document.get("also", ()))})


@dataclass(frozen=True, slots=True)
class Where:
    """The project of an event and, where it is known, when its repository was made (seconds since 1970, or 0)."""

    project_id: int
    project: str
    public: bool
    made: int = 0


@dataclass(frozen=True, slots=True)
class Telling:
    """What makes one notification: its id is the same each time it is tried."""

    id: str
    policy_id: int


def data(happened: Happened, where: Where) -> dict[str, Any]:
    """Return the data of an event, which all formats share."""
    if happened.type in _OF_NO_REPOSITORY:
        return dict(happened.more)
    told: dict[str, Any] = {}
    if happened.reference:
        others = (_resource(happened, digest, digest) for digest in happened.also)
        told["resources"] = [_resource(happened, happened.reference, happened.digest), *others]
    named = {"name": happened.repository.removeprefix(f"{where.project}/"), "repo_full_name": happened.repository}
    told["repository"] = {
        **({"date_created": where.made} if where.made else {}),
        **(named if happened.repository else {}),
        "namespace": where.project,
        "repo_type": "public" if where.public else "private",
    }
    return {**told, **happened.more}


def _resource(happened: Happened, reference: str, digest: str) -> dict[str, Any]:
    mark = "@" if reference == digest else ":"
    return {
        "digest": digest,
        "tag": reference,
        "resource_url": "/".join(filter(None, (happened.host, f"{happened.repository}{mark}{reference}"))),
    }


def default(happened: Happened, where: Where) -> dict[str, Any]:
    """Return the payload in Harbor's own format."""
    return {
        "type": happened.type,
        "occur_at": happened.moment,
        "operator": happened.operator,
        "event_data": data(happened, where),
    }


def cloud_event(happened: Happened, where: Where, telling: Telling) -> dict[str, Any]:
    """Return the payload as a CloudEvent."""
    return {
        "specversion": "1.0",
        "id": telling.id,
        "source": f"/projects/{where.project_id}/webhook/policies/{telling.policy_id}",
        "type": CLOUD_TYPES[happened.type],
        "datacontenttype": JSON,
        "time": datetime.fromtimestamp(happened.moment, UTC).isoformat().replace("+00:00", "Z"),
        "requestid": telling.id,
        "operator": happened.operator,
        "data": data(happened, where),
    }


def slack(happened: Happened, where: Where) -> dict[str, Any]:
    """Return the payload as a Slack message."""
    moment = datetime.fromtimestamp(happened.moment, UTC).strftime("%Y-%m-%d %H:%M UTC")
    seen = f"<!date^{happened.moment}^{{date}} at {{time}}|{moment}>"
    resources = data(happened, where).get("resources", ())
    left = len(resources) - _MOST_NAMED
    lines = [
        f"*{happened.type}* in the project *{_escaped(where.project)}*",
        f"*When:* {seen}",
        *([f"*Who:* {_escaped(happened.operator)}"] if happened.operator else []),
        *(f"*What:* `{_escaped(each['resource_url'])}`" for each in resources[:_MOST_NAMED]),
        *([f"and {left} more"] if left > 0 else []),
        *(f"*{_escaped(name)}:* {_escaped(str(value))}" for name, value in happened.more.items()),
    ]
    blocks = [_section(line) for line in lines]
    return {"text": f"{happened.type} {_escaped(where.project)}", "blocks": blocks}


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text[:_LONGEST_SECTION]}}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def payload(target: Target, happened: Happened, where: Where, telling: Telling) -> tuple[str, dict[str, Any]]:
    """Return what is sent to a target, and its media type."""
    if target.type is Notify.SLACK:
        return JSON, slack(happened, where)
    if target.format == Format.CLOUD_EVENTS:
        return CLOUD_JSON, cloud_event(happened, where, telling)
    return JSON, default(happened, where)
