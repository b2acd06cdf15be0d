"""What the settings say of events, what a purge removes, and how events are written for a log collector."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.policy import audit, configuration
from chalicelib.policy.audit import HARBOR, OTHERS, OURS, Event, Purge, Rules, Types
from chalicelib.policy.collectors import Endpoint, may_be_sent_to
from chalicelib.policy.syslog import message

names = st.text(max_size=30)


def test_no_type_is_named_twice_and_pulls_are_one() -> None:
    assert len({*HARBOR, *OURS, OTHERS}) == len(HARBOR) + len(OURS) + 1
    assert audit.PULL in HARBOR


@pytest.mark.parametrize(
    ("setting", "left_out"),
    [
        ({}, set()),
        ({"disabled_audit_log_event_types": "create_user, LOGIN_USER,,nonsense"}, {"create_user", "login_user"}),
        ({"disabled_audit_log_event_types": "other_events"}, set(OURS)),
        ({"pull_audit_log_disable": True}, {"pull_artifact"}),
    ],
)
def test_what_is_switched_off_is_left_out(setting: dict[str, object], left_out: set[str]) -> None:
    rules = Rules.of(setting)

    assert {name for name in (*HARBOR, *OURS) if not rules.want(name)} == left_out


def test_the_table_is_skipped_only_where_events_go_elsewhere() -> None:
    skipping = {"skip_audit_log_database": True}
    assert Rules.of(skipping).kept
    assert not Rules.of({**skipping, "audit_log_forward_endpoint": "logs:514"}).kept
    with pytest.raises(ValueError, match="needs an audit_log_forward_endpoint"):
        configuration.check({**configuration.DEFAULTS, **skipping})
    configuration.check({**configuration.DEFAULTS, **skipping, "audit_log_forward_endpoint": "logs:514"})


def test_a_purge_names_its_age_and_its_types() -> None:
    purge = Purge.parse({"audit_retention_hour": 168, "include_event_types": "create_artifact,other_events"})

    assert purge.hours == 168
    assert {name for name in (*HARBOR, *OURS) if name in purge.types} == {"create_artifact", *OURS}
    assert Purge.parse({"audit_retention_hour": 0}).types == Types(frozenset())
    odd = Purge.parse({"audit_retention_hour": 1, "include_event_types": "create_user,drop_table"})
    assert odd.unknown == {"drop_table"}


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"audit_retention_hour": -1},
        {"audit_retention_hour": 240_001},
        {"audit_retention_hour": "1"},
        {"audit_retention_hour": True},
        {"audit_retention_hour": 1, "include_event_types": ["create_user"]},
    ],
)
def test_a_purge_that_makes_no_sense_is_refused(parameters: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"audit_retention_hour|include_event_types"):
        Purge.parse(parameters)


@given(names, names, names, st.booleans())
def test_a_message_is_one_line_that_says_everything(
    who: str, resource: str, description: str, succeeded: bool
) -> None:
    event = Event(who, resource, "user", "login", description, succeeded, 7)

    text = message(12, "2026-03-01T12:00:00.000Z", event).decode()

    assert text.count("\n") == 1
    assert text.endswith("\n")
    head, _, fields = text.partition(" - ")[2].partition(" - ")
    assert text.startswith("<110>1 2026-03-01T12:00:00.000Z - roadstead - login_user - operator=")
    assert head == "roadstead"
    assert {json.loads(part) for part in re.findall(r'(?<=operator=)"(?:[^"\\]|\\.)*"', fields)} >= {who}
    assert f"operation_result={str(succeeded).lower()} project_id=7 id=12" in text


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("logs.example.org:514", ("logs.example.org", 514)),
        ("10.0.0.7:6514", ("10.0.0.7", 6514)),
        ("[fd00::7]:514", ("fd00::7", 514)),
        ("h:1", ("h", 1)),
    ],
)
def test_an_endpoint_is_a_host_and_a_port(text: str, endpoint: tuple[str, int]) -> None:
    assert Endpoint.parse(text) == endpoint
    assert configuration.parse({"audit_log_forward_endpoint": text}) == {"audit_log_forward_endpoint": text}


@pytest.mark.parametrize(
    "text",
    ["logs", "logs:", "logs:0", "logs:65536", "http://logs:514", "a b:514", "-a:1", "logs:514/x", ":514", "x\n:1"],
)
def test_what_is_no_endpoint_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="audit_log_forward_endpoint must be host:port"):
        configuration.parse({"audit_log_forward_endpoint": text})


@pytest.mark.parametrize(
    "address", ["10.0.0.7", "192.168.1.1", "127.0.0.1", "::1", "8.8.8.8", "2001:db8::1", "fd00::7"]
)
def test_a_collector_may_have_a_private_address(address: str) -> None:
    assert may_be_sent_to(address)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.170.2",
        "::ffff:169.254.169.254",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "224.0.0.1",
        "0.0.0.0",
        "::",
    ],
)
def test_a_machine_s_metadata_is_no_collector(address: str) -> None:
    assert not may_be_sent_to(address)
