"""Webhook policies of projects as data: of which events whom to tell, and how.

Invariants:
* Every type of events that Harbor has can be asked for; those that nothing here causes yet just do not come.
* The secrets of a policy pass through `with_secrets` alone: whoever stores, opens or hides them uses that.

Specification: the webhooks of Harbor 2.16; `signing_secret` is ours.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from chalicelib.policy import sent

MOST_POLICIES, MOST_TARGETS = 20, 10
_LONGEST_NAME, _LONGEST_TEXT, _LONGEST_ADDRESS, _LONGEST_SECRET = 255, 1024, 2048, 4096
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
HIDDEN = "********"


class EventType(StrEnum):
    """What can happen, by Harbor's names and in its order."""

    PUSHED = "PUSH_ARTIFACT"
    PULLED = "PULL_ARTIFACT"
    DELETED = "DELETE_ARTIFACT"
    QUOTA_EXCEEDED = "QUOTA_EXCEED"
    QUOTA_WARNING = "QUOTA_WARNING"
    SCAN_FAILED = "SCANNING_FAILED"
    SCAN_STOPPED = "SCANNING_STOPPED"
    SCANNED = "SCANNING_COMPLETED"
    REPLICATED = "REPLICATION"
    RETAINED = "TAG_RETENTION"


class Notify(StrEnum):
    """How a target is told."""

    HTTP = "http"
    SLACK = "slack"


class Format(StrEnum):
    """How a payload is written."""

    DEFAULT = "Default"
    CLOUD_EVENTS = "CloudEvents"


# What Slack is told has one form, and no name.
FORMATS: Mapping[Notify, tuple[Format, ...]] = {Notify.HTTP: tuple(Format)}


@dataclass(frozen=True, slots=True)
class Target:
    """Who is told; `auth_header` is sent as `Authorization`, and `format` "" is the default of the type."""

    type: Notify
    address: str = field(repr=False)
    auth_header: str = field(default="", repr=False)
    skip_cert_verify: bool = False
    format: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy; with a `signing_secret` what is sent carries a signature."""

    name: str
    targets: tuple[Target, ...]
    event_types: tuple[EventType, ...]
    description: str = ""
    enabled: bool = True
    signing_secret: str = field(default="", repr=False)


def parse(given: Mapping[str, Any], before: Policy | None = None) -> Policy:
    """Return the policy that a client sent; what it may leave out is as `before`. Raise ValueError."""
    name = sent.text(given, "name", _LONGEST_NAME).strip()
    if not name:
        raise ValueError("a webhook policy needs a name")
    targets, types = given.get("targets"), given.get("event_types")
    if not isinstance(targets, list) or not 1 <= len(targets) <= MOST_TARGETS:
        raise ValueError(f"targets must be a list of 1 to {MOST_TARGETS}")
    if not isinstance(types, list) or not types:
        raise ValueError("event_types must be a list of at least one: GET .../webhook/events lists them")
    secret = before.signing_secret if before and given.get("signing_secret") is None else None
    return Policy(
        name=name,
        targets=tuple(map(_target, targets)),
        event_types=tuple(dict.fromkeys(sent.chosen(EventType, each, "event_types") for each in types)),
        description=sent.text(given, "description", _LONGEST_TEXT),
        enabled=sent.flag(given, "enabled", default=before.enabled if before else True),
        signing_secret=sent.text(given, "signing_secret", _LONGEST_SECRET) if secret is None else secret,
    )


def _target(given: object) -> Target:
    if not isinstance(given, Mapping):
        raise ValueError("a target must be an object")  # noqa: TRY004 - whoever sent it is told, like other faults
    kind = sent.chosen(Notify, given.get("type"), "type")
    written = given.get("payload_format") or (Format.DEFAULT if kind is Notify.HTTP else "")
    known = FORMATS.get(kind, ())
    if written and written not in known:
        raise ValueError(f"payload_format of {kind} must be {' or '.join(known) or 'left out'}")
    return Target(
        type=kind,
        address=_address(sent.text(given, "address", _LONGEST_ADDRESS).strip()),
        auth_header=_line(given, "auth_header"),
        skip_cert_verify=sent.flag(given, "skip_cert_verify"),
        format=written,
    )


def _address(text: str) -> str:
    """Return the address of a target; raise ValueError where nothing can be sent there."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
        (host or "").encode("idna")
    except ValueError as error:
        raise ValueError(f"the address of a target must be a URL: {error}") from error
    if parts.scheme not in ("http", "https") or not host or port == 0 or _CONTROL.search(text) or " " in text:
        raise ValueError("the address of a target must be a URL that begins with http:// or https://")
    if parts.username is not None:
        raise ValueError("the address of a target must not contain a user: use auth_header")
    return text


def _line(given: Mapping[str, Any], name: str) -> str:
    text = sent.text(given, name, _LONGEST_SECRET)
    if _CONTROL.search(text) or not text.isascii():
        raise ValueError(f"{name} must be one line of ASCII")
    return text.strip()


def with_secrets(policy: Policy, become: Callable[[str], str]) -> Policy:
    """Return a policy whose secrets are what they become; an absent one stays absent."""
    targets = tuple(
        replace(target, auth_header=become(target.auth_header) if target.auth_header else "")
        for target in policy.targets
    )
    return replace(
        policy, targets=targets, signing_secret=become(policy.signing_secret) if policy.signing_secret else ""
    )


def written(policy: Policy) -> dict[str, Any]:
    """Return a policy as clients write it; the secret that signs is not told."""
    return {
        "name": policy.name,
        "description": policy.description,
        "enabled": policy.enabled,
        "event_types": list(policy.event_types),
        "targets": [_written_target(target) for target in policy.targets],
    }


def _written_target(target: Target) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "type": target.type,
        "address": target.address,
        "auth_header": target.auth_header,
        "skip_cert_verify": target.skip_cert_verify,
    }
    return {**shown, "payload_format": target.format} if target.format else shown


def wanting(summaries: Iterable[Mapping[str, Any]], event: EventType) -> tuple[Mapping[str, Any], ...]:
    """Return those of the summaries (`summary`) whose policies want to know of an event."""
    return tuple(each for each in summaries if event in each["events"])


def summary(number: int, policy: Policy) -> dict[str, Any]:
    """Return what suffices to know whom an event concerns: the policy's id, its events, and its targets' types."""
    return {
        "id": number,
        "events": list(policy.event_types),
        "targets": [target.type for target in policy.targets],
    }
