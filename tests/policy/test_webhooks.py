"""What is told of events, to the byte where others read it: golden payloads, and what known consumers need of them.

`tests.policy.consumers` reads what is sent as its consumers do.
"""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.policy import webhook_payloads, webhooks
from chalicelib.policy.webhook_payloads import CLOUD_TYPES, Happened, Telling, Where
from chalicelib.policy.webhooks import EventType, Format, Notify, Policy, Target
from tests.policy import consumers
from tests.policy.consumers import Image

DIGEST, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
DEFAULT = Target(Notify.HTTP, "https://a.example", format=Format.DEFAULT)
CLOUD = Target(Notify.HTTP, "https://a.example", format=Format.CLOUD_EVENTS)
SLACK = Target(Notify.SLACK, "https://a.example")
PUSHED = Happened(EventType.PUSHED, 1772366400, "robot$ci", "library/team/app", "v1", DIGEST, "registry.example.com")
WHERE = Where(1, "library", public=False, made=1772366000)
TELLING = Telling("4711", 15)
REPOSITORY = {
    "date_created": 1772366000,
    "name": "team/app",
    "namespace": "library",
    "repo_full_name": "library/team/app",
    "repo_type": "private",
}
RESOURCE = {"digest": DIGEST, "tag": "v1", "resource_url": "registry.example.com/library/team/app:v1"}


def test_the_default_payload_is_harbor_s() -> None:
    assert webhook_payloads.default(PUSHED, WHERE) == {
        "type": "PUSH_ARTIFACT",
        "occur_at": 1772366400,
        "operator": "robot$ci",
        "event_data": {"resources": [RESOURCE], "repository": REPOSITORY},
    }


def test_a_cloud_event_is_one_by_the_specification() -> None:
    assert webhook_payloads.cloud_event(PUSHED, WHERE, TELLING) == {
        "specversion": "1.0",
        "id": "4711",
        "source": "/projects/1/webhook/policies/15",
        "type": "harbor.artifact.pushed",
        "datacontenttype": "application/json",
        "time": "2026-03-01T12:00:00Z",
        "requestid": "4711",
        "operator": "robot$ci",
        "data": {"resources": [RESOURCE], "repository": REPOSITORY},
    }


def test_each_type_of_events_has_a_name_among_cloud_events() -> None:
    assert set(CLOUD_TYPES) == set(EventType)
    assert len(set(CLOUD_TYPES.values())) == len(EventType)


def test_a_slack_message_says_what_happened_and_cannot_be_made_to_call_people() -> None:
    odd = replace(PUSHED, operator="<!channel> & <@U1>")

    message = webhook_payloads.slack(odd, WHERE)

    texts = [block["text"]["text"] for block in message["blocks"]]
    assert texts[0] == "*PUSH_ARTIFACT* in the project *library*"
    assert "<!date^1772366400^{date} at {time}|2026-03-01 12:00 UTC>" in texts[1]
    assert texts[2] == "*Who:* &lt;!channel&gt; &amp; &lt;@U1&gt;"
    assert texts[3] == "*What:* `registry.example.com/library/team/app:v1`"


def test_what_has_no_tag_is_named_by_its_digest() -> None:
    [resource] = webhook_payloads.data(replace(PUSHED, reference=DIGEST), WHERE)["resources"]

    assert resource["tag"] == DIGEST
    assert resource["resource_url"] == f"registry.example.com/library/team/app@{DIGEST}"


def test_what_is_not_known_is_left_out() -> None:
    told = webhook_payloads.data(Happened(EventType.QUOTA_EXCEEDED, 1, more={"custom_attributes": {"a": 1}}), WHERE)
    unknown = webhook_payloads.data(replace(PUSHED, host=""), replace(WHERE, made=0))

    assert told == {
        "repository": {"date_created": 1772366000, "namespace": "library", "repo_type": "private"},
        "custom_attributes": {"a": 1},
    }
    assert unknown["resources"][0]["resource_url"] == "library/team/app:v1"
    assert "date_created" not in unknown["repository"]


TOKEN = "t0ken"
IMAGE = Image("registry.example.com/library/team/app", "v1")


def sent(target: Target, happened: Happened, where: Where = WHERE) -> tuple[dict[str, str], bytes]:
    """Return what a target gets."""
    kind, payload = webhook_payloads.payload(target, happened, where, TELLING)
    return {"content-type": kind, "authorization": TOKEN}, json.dumps(payload).encode()


def test_updaters_of_images_find_what_they_read() -> None:
    headers, content = sent(DEFAULT, PUSHED)

    consumers.flux(headers, content, TOKEN)
    assert consumers.argo_cd(headers, content, TOKEN) == IMAGE
    assert consumers.image_updater(headers, content, TOKEN) == IMAGE
    assert consumers.kargo(headers, content, TOKEN) == [IMAGE]


@pytest.mark.parametrize("host", ["registry.example.com:8443", "localhost:5000"])
def test_updaters_of_images_find_what_has_no_tag_wherever_the_registry_is(host: str) -> None:
    headers, content = sent(DEFAULT, replace(PUSHED, reference=DIGEST, host=host))
    image = Image(f"{host}/library/team/app", DIGEST)

    assert consumers.argo_cd(headers, content, TOKEN) == image
    assert consumers.image_updater(headers, content, TOKEN) == image
    assert consumers.kargo(headers, content, TOKEN) == [image]


def test_of_deletions_some_updaters_make_nothing_and_others_refuse_them() -> None:
    headers, content = sent(DEFAULT, replace(PUSHED, type=EventType.DELETED, also=(OTHER,)))

    consumers.flux(headers, content, TOKEN)
    assert consumers.argo_cd(headers, content, TOKEN) is None
    for refusing in (consumers.image_updater, consumers.kargo):
        with pytest.raises(AssertionError):
            refusing(headers, content, TOKEN)


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"occur_at": "now"}, "occur_at"),
        ({"event_data": {"repository": {"name": 7}}}, "name"),
        ({"event_data": {"repository": {}, "resources": {}}}, "resources"),
    ],
)
def test_what_a_consumer_could_not_read_would_be_seen(change: dict[str, Any], wrong: str) -> None:
    headers, content = sent(DEFAULT, PUSHED)
    with pytest.raises(AssertionError, match=wrong):
        consumers.argo_cd(headers, json.dumps({**json.loads(content), **change}).encode(), TOKEN)
    with pytest.raises(AssertionError):
        consumers.flux({**headers, "authorization": f"Bearer {TOKEN}"}, content, TOKEN)
    with pytest.raises(AssertionError):
        consumers.cloud_events(headers, content)
    with pytest.raises(AssertionError):
        consumers.image_updater(*sent(CLOUD, PUSHED), TOKEN)
    with pytest.raises(AssertionError):
        consumers.kargo(*sent(DEFAULT, replace(PUSHED, host="")), TOKEN)


def test_what_happened_to_many_at_once_names_each_and_slack_the_first() -> None:
    digests = tuple(f"sha256:{number:064}" for number in range(99))
    many = replace(PUSHED, type=EventType.DELETED, reference=DIGEST, also=digests)

    data = consumers.cloud_events(*sent(CLOUD, many))
    assert [each["digest"] for each in data["resources"]] == [DIGEST, *digests]
    lines = consumers.slack(*sent(SLACK, many))
    assert [digests[18] in lines[-2], digests[19] in str(lines), lines[-1]] == [True, False, "and 80 more"]


@pytest.mark.parametrize(
    ("target", "kind", "member"),
    [
        (DEFAULT, "application/json", "event_data"),
        (CLOUD, "application/cloudevents+json", "data"),
        (SLACK, "application/json", "blocks"),
    ],
)
def test_a_target_s_type_and_format_say_what_is_sent(target: Target, kind: str, member: str) -> None:
    media_type, payload = webhook_payloads.payload(target, PUSHED, WHERE, TELLING)

    assert media_type == kind
    assert member in payload


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
# Whoever does something has a name that can be printed (`policy.people`).
names = texts.filter(str.isprintable)


happenings = st.builds(
    Happened,
    st.sampled_from(EventType),
    st.integers(0, 2**33),
    names,
    texts,
    texts,
    texts,
    texts,
    st.lists(texts, max_size=3).map(tuple),
)


@given(happenings)
def test_an_event_survives_a_record_and_is_taken_in_every_format(happened: Happened) -> None:
    assert Happened.of(json.loads(json.dumps(happened.document()))) == happened
    assert consumers.slack(*sent(SLACK, happened))
    data = consumers.cloud_events(*sent(CLOUD, happened))
    assert data == json.loads(sent(DEFAULT, happened)[1])["event_data"]


headers = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20)
targets = st.builds(
    Target,
    st.just(Notify.HTTP),
    st.sampled_from(["https://a.example", "http://b.example:8080/p?q=1"]),
    headers,
    st.booleans(),
    st.sampled_from(["Default", "CloudEvents"]),
)
policies = st.builds(
    Policy,
    st.text("abc", min_size=1, max_size=5),
    st.lists(targets, min_size=1, max_size=10).map(tuple),
    st.lists(st.sampled_from(EventType), min_size=1, unique=True).map(tuple),
    st.text("abc \n", max_size=5),
    st.booleans(),
)


@given(policies)
def test_what_is_shown_of_a_policy_makes_the_same_policy(policy: Policy) -> None:
    assert webhooks.parse(json.loads(json.dumps(webhooks.written(policy)))) == policy


@given(policies, st.text("k3y", max_size=3))
def test_secrets_are_all_that_changes_when_they_are_hidden(policy: Policy, secret: str) -> None:
    policy = replace(policy, signing_secret=secret)
    hidden = webhooks.with_secrets(policy, str.swapcase)

    assert webhooks.with_secrets(hidden, str.swapcase) == policy
    assert bool(hidden.signing_secret) == bool(secret)
    assert "auth_header" not in repr(policy)


def test_who_wants_what_is_seen_in_a_summary() -> None:
    target = Target(Notify.SLACK, "https://a.example")
    summaries = [
        webhooks.summary(1, Policy("one", (target,), (EventType.PUSHED, EventType.PULLED))),
        webhooks.summary(2, Policy("two", (target,), (EventType.PULLED,))),
    ]

    assert [each["id"] for each in webhooks.wanting(summaries, EventType.PULLED)] == [1, 2]
    assert [each["id"] for each in webhooks.wanting(summaries, EventType.PUSHED)] == [1]
    assert webhooks.wanting(summaries, EventType.DELETED) == ()
    assert webhooks.wanting(summaries, EventType.PUSHED)[0]["targets"] == ["slack"]
