"""The settings that an administrator changes at run time: a table of names, types and defaults.

Invariants:
* What `parse` lets through has the right type and sense; nothing else is ever stored.
* `SECRET` settings are written and never shown; `HIDDEN` ones are not Harbor's to show.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from chalicelib.policy.people import ILLEGAL

Check = Callable[[Any], bool]
_LONGEST = 4096
_INT32 = 2**31


def _text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST and "\0" not in value


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _from(lowest: int) -> Check:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and lowest <= value < _INT32


def _one_of(*choices: Any) -> Check:
    return lambda value: not isinstance(value, bool) and value in choices


def _storage(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and (value == -1 or 1 <= value <= 1024 * 1024**4)


def _robot_prefix(value: Any) -> bool:
    """Tell whether no user's name can begin like this."""
    good = isinstance(value, str) and 1 <= len(value) <= 64 and value.isprintable()  # noqa: PLR2004 - as it stands
    return good and ":" not in value and any(character in ILLEGAL for character in value)


def _days(value: Any) -> bool:
    return value == -1 or _from(1)(value)


_MODES = ("db_auth", "ldap_auth", "oidc_auth", "http_auth", "uaa_auth")
# fmt: off
_TABLE: tuple[tuple[str, Any, Check], ...] = (
    ("auth_mode",                           "db_auth",    _one_of(*_MODES)),
    ("primary_auth_mode",                   False,        _flag),
    ("project_creation_restriction",        "everyone",   _one_of("everyone", "adminonly")),
    ("read_only",                           False,        _flag),
    ("self_registration",                   False,        _flag),
    ("token_expiration",                    30,           _from(1)),
    ("robot_token_duration",                30,           _days),
    ("robot_name_prefix",                   "robot$",     _robot_prefix),
    ("notification_enable",                 True,         _flag),
    ("pull_time_update_disable",            False,        _flag),
    ("pull_count_update_disable",           False,        _flag),
    ("pull_audit_log_disable",              False,        _flag),
    ("audit_log_forward_endpoint",          "",           _text),
    ("skip_audit_log_database",             False,        _flag),
    ("scanner_skip_update_pulltime",        False,        _flag),
    ("disabled_audit_log_event_types",      "",           _text),
    ("session_timeout",                     60,           _from(1)),
    ("banner_message",                      "",           _text),
    ("ldap_base_dn",                        "",           _text),
    ("ldap_filter",                         "",           _text),
    ("ldap_scope",                          2,            _one_of(0, 1, 2)),
    ("ldap_search_dn",                      "",           _text),
    ("ldap_search_password",                "",           _text),
    ("ldap_timeout",                        5,            _from(1)),
    ("ldap_uid",                            "cn",         _text),
    ("ldap_url",                            "",           _text),
    ("ldap_verify_cert",                    True,         _flag),
    ("ldap_group_membership_attribute",     "memberof",   _text),
    ("ldap_group_attach_parallel",          False,        _flag),
    ("ldap_group_base_dn",                  "",           _text),
    ("ldap_group_admin_dn",                 "",           _text),
    ("ldap_group_attribute_name",           "",           _text),
    ("ldap_group_search_filter",            "",           _text),
    ("ldap_group_search_scope",             2,            _one_of(0, 1, 2)),
    ("uaa_client_id",                       "",           _text),
    ("uaa_client_secret",                   "",           _text),
    ("uaa_endpoint",                        "",           _text),
    ("uaa_verify_cert",                     False,        _flag),
    ("http_authproxy_endpoint",             "",           _text),
    ("http_authproxy_tokenreview_endpoint", "",           _text),
    ("http_authproxy_admin_groups",         "",           _text),
    ("http_authproxy_admin_usernames",      "",           _text),
    ("http_authproxy_verify_cert",          True,         _flag),
    ("http_authproxy_skip_search",          False,        _flag),
    ("http_authproxy_server_certificate",   "",           _text),
    ("oidc_name",                           "",           _text),
    ("oidc_endpoint",                       "",           _text),
    ("oidc_client_id",                      "",           _text),
    ("oidc_client_secret",                  "",           _text),
    ("oidc_groups_claim",                   "",           _text),
    ("oidc_admin_group",                    "",           _text),
    ("oidc_group_filter",                   "",           _text),
    ("oidc_scope",                          "",           _text),
    ("oidc_user_claim",                     "",           _text),
    ("oidc_verify_cert",                    True,         _flag),
    ("oidc_auto_onboard",                   False,        _flag),
    ("oidc_extra_redirect_parms",           "{}",         _text),
    ("oidc_logout",                         False,        _flag),
    ("quota_per_project_enable",            True,         _flag),
    ("storage_per_project",                 -1,           _storage),
)
# fmt: on
DEFAULTS: Mapping[str, Any] = MappingProxyType({name: default for name, default, _ in _TABLE})
_CHECKS: Mapping[str, Check] = MappingProxyType({name: check for name, _, check in _TABLE})
SECRET = frozenset({"ldap_search_password", "oidc_client_secret", "uaa_client_secret"})
# Harbor's description of the API has no place for these.
HIDDEN = frozenset({"pull_time_update_disable", "pull_count_update_disable", "pull_audit_log_disable"})


def parse(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return changes of settings, without those that are null; raise ValueError with the one that is wrong."""
    given = {name: value for name, value in changes.items() if value is not None}
    for name, value in given.items():
        if name not in _CHECKS:
            raise ValueError(f"there is no setting {name[:64]!r}")
        if not _CHECKS[name](value):
            raise ValueError(f"{name} cannot be {str(value)[:64]!r}; its default is {DEFAULTS[name]!r}")
    return given


def with_defaults(changed: Mapping[str, Any]) -> dict[str, Any]:
    """Return every setting: as it was changed, or by default."""
    return {**DEFAULTS, **changed}
