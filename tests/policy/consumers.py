"""What consumers of webhooks take: each as a function that reads what was sent as its consumer does, or fails.

They stand for the consumers' own behaviour, as their documents and releases show it, and are strict where those are.
"""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

Headers = Mapping[str, str]
_ATTRIBUTE = re.compile(r"[a-z0-9]{1,20}")
_URI_REFERENCE = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")
# What the structures of Harbor's consumers in Go have; another type would be an error there, an absent one is not.
_EVENT = {"type": str, "occur_at": int, "operator": str, "event_data": dict}
_DATA = {"resources": list, "repository": dict, "custom_attributes": dict}
_RESOURCE = {"digest": str, "tag": str, "resource_url": str}
_REPOSITORY = {"date_created": int, "name": str, "namespace": str, "repo_full_name": str, "repo_type": str}


class Image(NamedTuple):
    """What an updater of images looks for: the image's name with its registry's, and its tag or digest."""

    name: str
    reference: str


def _typed(value: Mapping[str, Any], known: Mapping[str, type]) -> Mapping[str, Any]:
    for name, kind in known.items():
        assert name not in value or type(value[name]) is kind, f"{name} is {value[name]!r}"
    return value


def _unmarshalled(content: bytes) -> Mapping[str, Any]:
    """Return an event as a consumer in Go reads it."""
    event = _typed(json.loads(content), _EVENT)
    data = _typed(event["event_data"], _DATA)
    _typed(data["repository"], _REPOSITORY)
    for each in data.get("resources", ()):
        _typed(each, _RESOURCE)
    return event


def _authorised(headers: Headers, token: str) -> None:
    """Fail where the header is not the token to the byte, without a scheme that nobody typed."""
    assert headers["authorization"] == token


def flux(headers: Headers, _content: bytes, token: str) -> None:
    """Take what notification-controller's Receiver of the type `harbor` does: any body, and the token as it is."""
    _authorised(headers, token)


def argo_cd(headers: Headers, content: bytes, token: str) -> Image | None:
    """Return the image that Argo CD and its image updater look for; a push of the first resource, else nothing."""
    _authorised(headers, token)
    event = _unmarshalled(content)
    if event["type"] != "PUSH_ARTIFACT":
        return None
    resource, repository = event["event_data"]["resources"][0], event["event_data"]["repository"]
    registry, _, rest = resource["resource_url"].partition("/")
    assert resource["tag"]
    assert rest.startswith(repository["repo_full_name"])
    assert repository["repo_full_name"] == f"{repository['namespace']}/{repository['name']}"
    return Image(f"{registry}/{repository['repo_full_name']}", resource["tag"])


def kargo(headers: Headers, content: bytes, token: str) -> list[Image]:
    """Return the images that Kargo refreshes: of each resource its URL without the tag or digest at the end."""
    _authorised(headers, token)
    event = _unmarshalled(content)
    if event["type"] != "PUSH_ARTIFACT":
        return []
    urls = [each["resource_url"] for each in event["event_data"]["resources"]]
    parts = [url.rpartition("@") if "@" in url else url.rpartition(":") for url in urls]
    return [Image(name, reference) for name, _, reference in parts]


def cloud_events(headers: Headers, content: bytes) -> Mapping[str, Any]:
    """Return the data of an event that the JSON format of CloudEvents 1.0 takes, in structured mode."""
    media_type, _, _ = headers["content-type"].partition(";")
    assert media_type == "application/cloudevents+json"
    event: Mapping[str, Any] = json.loads(content)
    attributes = {name: value for name, value in event.items() if name not in ("data", "data_base64")}
    for name, value in attributes.items():
        assert _ATTRIBUTE.fullmatch(name)
        assert isinstance(value, str | bool | int)
    assert attributes["specversion"] == "1.0"
    for required in ("id", "source", "type"):
        assert isinstance(attributes[required], str)
        assert attributes[required]
    assert _URI_REFERENCE.fullmatch(attributes["source"])
    assert urlsplit(attributes["source"]).path
    assert datetime.fromisoformat(attributes["time"]).tzinfo
    assert attributes["datacontenttype"] == "application/json"
    return dict(event["data"])


def slack(headers: Headers, content: bytes) -> list[str]:
    """Return the lines of a message that an incoming webhook of Slack takes."""
    assert headers["content-type"].partition(";")[0] == "application/json"
    message = json.loads(content)
    assert set(message) <= {"text", "blocks"}
    assert message["text"]
    assert 1 <= len(message["blocks"]) <= 50
    lines = []
    for block in message["blocks"]:
        assert block["type"] == "section"
        assert block["text"]["type"] == "mrkdwn"
        assert 1 <= len(block["text"]["text"]) <= 3000
        lines.append(block["text"]["text"])
    return lines
