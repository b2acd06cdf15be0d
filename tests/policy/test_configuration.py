"""Settings: every one with its default, and which changes are let through."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.policy import configuration, people
from chalicelib.policy.configuration import DEFAULTS, HIDDEN, SECRET, SETTINGS
from tests.harbor import facts


def test_the_settings_are_those_of_harbor_s_description_and_three_that_it_has_no_place_for() -> None:
    described = facts.json_schema({})["definitions"]["Configurations"]["properties"]

    assert set(SETTINGS) == set(described) | HIDDEN
    assert len(SETTINGS) == 57 + 3
    assert {"ldap_search_password", "oidc_client_secret", "uaa_client_secret"} == SECRET
    assert set(SETTINGS) > (SECRET | HIDDEN)


def test_every_default_but_empty_text_is_written_here() -> None:
    others = {name: value for name, value in DEFAULTS.items() if value not in ("", False) and name not in HIDDEN}

    assert others == {
        "auth_mode": "db_auth",
        "project_creation_restriction": "everyone",
        "token_expiration": 30,
        "robot_token_duration": 30,
        "robot_name_prefix": "robot$",
        "notification_enable": True,
        "session_timeout": 60,
        "ldap_scope": 2,
        "ldap_timeout": 5,
        "ldap_uid": "cn",
        "ldap_verify_cert": True,
        "ldap_group_membership_attribute": "memberof",
        "ldap_group_search_scope": 2,
        "http_authproxy_verify_cert": True,
        "oidc_verify_cert": True,
        "oidc_extra_redirect_parms": "{}",
        "quota_per_project_enable": True,
        "storage_per_project": -1,
    }


def test_a_default_is_a_value_that_could_be_set() -> None:
    assert configuration.parse(DEFAULTS) == DEFAULTS


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("auth_mode", "oidc_auth"),
        ("project_creation_restriction", "adminonly"),
        ("read_only", True),
        ("token_expiration", 1),
        ("token_expiration", 1440),
        ("robot_token_duration", -1),
        ("robot_token_duration", 365),
        ("robot_name_prefix", "%"),
        ("robot_name_prefix", "bot~"),
        ("ldap_scope", 0),
        ("ldap_search_password", "päss"),
        ("banner_message", '{"message":"hello","type":"warning","closable":true}'),
        ("banner_message", "Maintenance on Sunday, all day"),
        ("http_authproxy_server_certificate", "-----BEGIN CERTIFICATE-----\r\n" + "A" * 20_000 + "\n"),
        ("oidc_extra_redirect_parms", '{"prompt":"login"}'),
        ("storage_per_project", 1024**5),
    ],
)
def test_a_value_of_the_right_type_and_size_is_accepted(name: str, value: object) -> None:
    assert configuration.parse({name: value}) == {name: value}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("auth_mode", "none", "auth_mode must be one of db_auth, ldap_auth"),
        ("auth_mode", [], "must be one of"),
        ("auth_mode", {}, "must be one of"),
        ("read_only", "true", "read_only must be true or false"),
        ("read_only", 1, "must be true or false"),
        ("token_expiration", 0, "token_expiration must be a whole number from 1"),
        ("token_expiration", 1441, "must be a whole number"),
        ("token_expiration", True, "must be a whole number"),
        ("token_expiration", "30", "must be a whole number"),
        ("token_expiration", 30.0, "must be a whole number"),
        ("session_timeout", -1, "must be a whole number"),
        ("robot_token_duration", 0, "or -1 for no end"),
        ("robot_token_duration", -2, "or -1 for no end"),
        ("robot_token_duration", 2**31, "or -1 for no end"),
        ("robot_token_duration", -1.5, "or -1 for no end"),
        ("robot_name_prefix", "", "user names cannot have"),
        ("robot_name_prefix", "robot-", "user names cannot have"),
        ("robot_name_prefix", "robot:$", "without blank and colon"),
        ("robot_name_prefix", "robot $", "without blank and colon"),
        ("robot_name_prefix", "robot＄", "ASCII"),
        ("robot_name_prefix", "$" * 65, "at most 64"),
        ("ldap_scope", 3, "from 0 to 2"),
        ("ldap_timeout", 0, "from 1"),
        ("ldap_url", 7, "must be a text"),
        ("ldap_url", "ldap://\0", "control characters"),
        ("oidc_name", "ä" * 2049, "at most 4096 bytes"),
        ("banner_message", {"message": "hello"}, "must be a text"),
        ("oidc_extra_redirect_parms", "", "JSON object of texts"),
        ("oidc_extra_redirect_parms", '{"a":1}', "JSON object of texts"),
        ("storage_per_project", 0, "storage_per_project is not good"),
        ("storage_per_project", "-1", "must be a whole number"),
        ("storage_per_project", True, "is not good"),
        ("scan_all_policy", {"type": "daily"}, "there is no setting scan_all_policy"),
        ("no_such_setting", 1, "there is no setting no_such_setting"),
        ("no_such_setting", None, "there is no setting no_such_setting"),
    ],
)
def test_other_changes_are_refused_with_a_sentence_that_names_the_setting(
    name: str, value: object, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        configuration.parse({name: value})


@pytest.mark.parametrize("name", sorted(SECRET))
def test_a_secret_that_is_refused_is_not_repeated(name: str) -> None:
    with pytest.raises(ValueError, match=name) as refused:
        configuration.parse({name: "hunter2\0"})

    assert "hunter2" not in str(refused.value)


def test_one_bad_change_refuses_them_all() -> None:
    with pytest.raises(ValueError, match="token_expiration"):
        configuration.parse({"read_only": True, "token_expiration": 0})


def test_a_null_changes_nothing() -> None:
    assert configuration.parse({"read_only": None, "self_registration": True}) == {"self_registration": True}


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=3,
)


@given(st.sampled_from(sorted(set(SETTINGS) - HIDDEN)), anything)
def test_what_is_stored_has_the_type_of_the_default(name: str, value: Any) -> None:
    try:
        parsed = configuration.parse({name: value})
    except ValueError:
        return

    assert all(type(stored) is type(DEFAULTS[name]) for stored in parsed.values())
    assert configuration.parse(parsed) == parsed
    assert json.loads(json.dumps(dict(parsed))) == parsed


@given(st.text("ab$%~:+- ＄", max_size=6), st.from_regex(r"[a-z0-9]{1,9}", fullmatch=True))
def test_no_prefix_lets_a_robot_account_have_a_user_s_name(prefix: str, name: str) -> None:
    try:
        configuration.parse({"robot_name_prefix": prefix})
    except ValueError:
        return

    with pytest.raises(ValueError, match="none of the characters"):
        people.check_user_name(prefix + name)


def test_every_setting_is_shown_as_changed_or_by_default() -> None:
    values = configuration.with_defaults({"read_only": True, "from_an_older_version": 1})

    assert list(values) == list(SETTINGS)
    assert values["read_only"] is True
    assert values["session_timeout"] == 60


def test_the_mode_of_authentication_is_fixed_once_there_are_users() -> None:
    assert configuration.editable("auth_mode", users=False)
    assert not configuration.editable("auth_mode", users=True)
    assert configuration.editable("read_only", users=True)


def test_a_setting_of_another_version_is_left_out_beside_those_that_are_known() -> None:
    assert configuration.parse({"read_only": True, "count_per_project": 5}) == {"read_only": True}
    # So Terraform's provider for Harbor sends them.
    sent = {"email_ssl": False, "read_only": False, "robot_token_duration": 30, "scan_all_policy": {"parameter": {}}}
    assert configuration.parse(sent) == {"read_only": False, "robot_token_duration": 30}
