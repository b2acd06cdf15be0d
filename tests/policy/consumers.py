"""What consumers of webhooks take: each as a function that reads what was sent as its consumer does, or fails.

Each was compared with its consumer's own source, and stands for what that says:
* Flux: notification-controller before Flux 2.9, the Receiver of the type `harbor`; alike since Flux 0.x.
* Argo CD: commit 449d380, the Harbor parser of /api/webhook that came in May 2026.
* Argo CD Image Updater: commit 05fba7c. Up to 1.0.2 a secret was compared with an HMAC that Harbor never sent; since
  January 2026 it is compared as it is.
* Kargo: commit 2da4ef7, the Harbor receiver, and how it normalizes the address of an image.
* CloudEvents 1.0.2: the specification, its JSON format and its HTTP binding.
* Slack: incoming webhooks and the limits of blocks, as its reference has them.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

Headers = Mapping[str, str]
_ATTRIBUTE = re.compile(r"[a-z0-9]{1,20}")
_URI_REFERENCE = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_SLACK_DATE = re.compile(r"<!date\^\d+\^[^|<>]+\|[^|<>]+>")
_MOST_FLUX_READS = 3 << 20
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
        # Go leaves a member as it is where JSON has null.
        assert value.get(name) is None or type(value[name]) is kind, f"{name} is {value[name]!r}"
    return value


def _unmarshalled(content: bytes) -> Mapping[str, Any]:
    """Return an event as a consumer in Go reads it, whichever its type."""
    event = _typed(json.loads(content), _EVENT)
    data = _typed(event["event_data"], _DATA)
    _typed(data.get("repository") or {}, _REPOSITORY)
    for each in data.get("resources") or ():
        _typed(each, _RESOURCE)
    return event


def _authorised(headers: Headers, token: str) -> None:
    """Fail where the header is not the token to the byte, without a scheme that nobody typed."""
    assert token
    assert headers["authorization"] == token


def _full_name(repository: Mapping[str, Any]) -> str:
    """Return a repository's name with its project's, put together where it is not told as one."""
    name = repository.get("repo_full_name") or f"{repository['namespace']}/{repository['name']}"
    assert name
    return str(name)


def flux(headers: Headers, content: bytes, token: str) -> None:
    """Take a body of any kind up to a size, of any type of events, where `Authorization` is the token."""
    assert len(content) <= _MOST_FLUX_READS
    _authorised(headers, token)


def argo_cd(headers: Headers, content: bytes, token: str) -> Image | None:
    """Return the first resource of a push that has a tag and an address; other types are taken, and are nothing.

    The registry is what the address begins with; applications whose source is that image are looked for, and
    refreshed where their revision is the tag.
    """
    _authorised(headers, token)
    event = _unmarshalled(content)
    if event["type"] != "PUSH_ARTIFACT":
        return None
    data = event["event_data"]
    for each in data.get("resources", ()):
        if each.get("tag") and each.get("resource_url"):
            registry, slash, _ = each["resource_url"].rpartition("://")[2].partition("/")
            assert slash
            return Image(f"{registry}/{_full_name(data['repository'])}", each["tag"])
    return None


def image_updater(headers: Headers, content: bytes, token: str) -> Image:
    """Return the first resource of a push; whatever else comes is answered with 400, so CloudEvents are.

    The registry is the host of the address, and its name and the repository's are compared with those of an image.
    """
    assert "application/json" in headers["content-type"]
    _authorised(headers, token)
    event = _unmarshalled(content)
    assert event["type"] == "PUSH_ARTIFACT"
    first, *_ = event["event_data"]["resources"]
    assert first["tag"]
    registry = urlsplit(f"https://{first['resource_url']}").netloc
    return Image(f"{registry}/{_full_name(event['event_data']['repository'])}", first["tag"])


def kargo(headers: Headers, content: bytes, token: str) -> list[Image]:
    """Return the images whose warehouses are refreshed: that of the first address, with each resource's tag.

    Other types are answered with 400. An address whose first part is no host is taken for an image of Docker Hub.
    """
    _authorised(headers, token)
    event = _unmarshalled(content)
    assert event["type"] == "PUSH_ARTIFACT"
    resources = event["event_data"].get("resources", ())
    tags = [each["tag"] for each in resources if each.get("tag")]
    return [Image(_normalized(resources[0]["resource_url"]), tag) for tag in tags]


def _normalized(address: str) -> str:
    """Return the name of an image without its tag or digest."""
    name, _, digest = address.partition("@")
    registry, _, rest = name.partition("/")
    assert "." in registry or ":" in registry or registry == "localhost"
    return name if digest else f"{registry}/{rest.partition(':')[0]}"


def cloud_events(headers: Headers, content: bytes) -> Mapping[str, Any]:
    """Return the data of an event in structured mode, in the JSON format.

    Another media type would be read in binary mode, which has the attributes as headers `ce-...`: we send none.
    """
    media_type, _, _ = headers["content-type"].partition(";")
    assert media_type == "application/cloudevents+json"
    event: Mapping[str, Any] = json.loads(content)
    attributes = {name: value for name, value in event.items() if name != "data"}
    for name, value in attributes.items():
        assert _ATTRIBUTE.fullmatch(name)
        assert isinstance(value, str)
        assert not any(map(_is_disallowed, value)), f"{name} is {value!r}"
    assert attributes["specversion"] == "1.0"
    for required in ("id", "source", "type"):
        assert attributes[required]
    assert _URI_REFERENCE.fullmatch(attributes["source"])
    assert urlsplit(attributes["source"]).path
    assert _RFC_3339.fullmatch(attributes["time"])
    assert attributes["datacontenttype"] == "application/json"
    return dict(event["data"])


def _is_disallowed(character: str) -> bool:
    """Tell whether no attribute of the type String has a character: control, unpaired surrogate or noncharacter."""
    point = ord(character)
    control, surrogate = point < 0x20 or 0x7F <= point <= 0x9F, 0xD800 <= point <= 0xDFFF
    return control or surrogate or point & 0xFFFE == 0xFFFE or 0xFDD0 <= point <= 0xFDEF


def slack(headers: Headers, content: bytes) -> list[str]:
    """Return the lines of a message that an incoming webhook takes, and that calls nobody."""
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
        assert not set("<>") & set(_SLACK_DATE.sub("", block["text"]["text"]))
        lines.append(block["text"]["text"])
    return lines
