"""The settings that an administrator changes at run time: their types, bounds and defaults.

Invariants:
* `SETTINGS` names them all. `parse` lets nothing through that is not one of them or not of its type.
* Secrets can be written and never read: whoever shows settings leaves out `SECRET`, and `HIDDEN` too.
* The prefix of robot accounts contains a character that no user's name can have (`policy.people.ILLEGAL`), so no
  name can be both.

Specification: the user settings of Harbor 2.16.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from chalicelib.policy.collectors import Endpoint
from chalicelib.policy.people import ILLEGAL
from chalicelib.policy.projects import parse_storage_limit
from chalicelib.policy.robots import LONGEST_DURATION, NEVER

# All settings are one record, for which DynamoDB has 400 KB: texts are bounded, in bytes.
LONGEST_TEXT = 4096
LONGEST_CERTIFICATE = 32 * 1024
LONGEST_PREFIX = 64
A_DAY = 24 * 60
A_YEAR = 365 * A_DAY
_LAYOUT = frozenset("\n\r\t")

AUTH_MODE = "auth_mode"
_MODES = ("db_auth", "ldap_auth", "oidc_auth", "http_auth", "uaa_auth")


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting: its default, and how a value that was sent becomes a valid one (or a ValueError: "must be ...")."""

    default: Any
    parse: Callable[[Any], Any]
    secret: bool = False


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")  # noqa: TRY004 - callers tell clients about ValueErrors
    return value


def _whole(low: int, high: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return value

    return parse


def _text_of(longest: int) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if not isinstance(value, str):
            raise ValueError("must be a text")  # noqa: TRY004 - as above
        if len(value.encode()) > longest:
            raise ValueError(f"must have at most {longest} bytes")
        if not all(" " <= character != "\x7f" or character in _LAYOUT for character in value):
            raise ValueError("must have no control characters")
        return value

    return parse


_text, _certificate = _text_of(LONGEST_TEXT), _text_of(LONGEST_CERTIFICATE)
_minutes, _depth = _whole(1, A_YEAR), _whole(0, 2)
# Rights that are taken away, and names that are free again, wait for the last token.
_token_minutes = _whole(1, A_DAY)


def _one_of(*choices: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return str(value)

    return parse


def _days(value: object) -> int:
    if value == NEVER and not isinstance(value, bool):
        return NEVER
    try:
        return _whole(1, LONGEST_DURATION)(value)
    except ValueError as error:
        raise ValueError(f"{error}, or -1 for no end") from error


def _bytes(value: object) -> int:
    if not isinstance(value, int):
        raise ValueError("must be a whole number")  # noqa: TRY004 - as above
    try:
        return parse_storage_limit(value)
    except ValueError as error:
        raise ValueError(f"is not good: {error}") from error


def _prefix(value: object) -> str:
    text = _text(value)
    written = text.isascii() and text.isprintable() and not set(text) & {" ", ":"}
    if not written or len(text) > LONGEST_PREFIX or not set(text) & set(ILLEGAL):
        raise ValueError(
            f"must be at most {LONGEST_PREFIX} ASCII characters without blank and colon, "
            f"among them one that user names cannot have: {' '.join(ILLEGAL)}"
        )
    return text


def _parameters(value: object) -> str:
    text = _text(value)
    found = _json(text)
    if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
        raise ValueError('must be a text with a JSON object of texts, such as {"prompt": "login"}')
    return text


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _endpoint(value: object) -> str:
    text = _text(value)
    if text:
        Endpoint.parse(text)
    return text


# fmt: off
SETTINGS: Mapping[str, Setting] = MappingProxyType({
    AUTH_MODE:                             Setting("db_auth", _one_of(*_MODES)),
    "primary_auth_mode":                   Setting(False, _flag),
    "project_creation_restriction":        Setting("everyone", _one_of("everyone", "adminonly")),
    "read_only":                           Setting(False, _flag),
    "self_registration":                   Setting(False, _flag),
    "token_expiration":                    Setting(30, _token_minutes),
    "robot_token_duration":                Setting(30, _days),
    "robot_name_prefix":                   Setting("robot$", _prefix),
    "notification_enable":                 Setting(True, _flag),
    "pull_time_update_disable":            Setting(False, _flag),
    "pull_count_update_disable":           Setting(False, _flag),
    "pull_audit_log_disable":              Setting(False, _flag),
    "audit_log_forward_endpoint":          Setting("", _endpoint),
    "skip_audit_log_database":             Setting(False, _flag),
    "scanner_skip_update_pulltime":        Setting(False, _flag),
    "disabled_audit_log_event_types":      Setting("", _text),
    "session_timeout":                     Setting(60, _minutes),
    "banner_message":                      Setting("", _text),

    "ldap_base_dn":                        Setting("", _text),
    "ldap_filter":                         Setting("", _text),
    "ldap_scope":                          Setting(2, _depth),
    "ldap_search_dn":                      Setting("", _text),
    "ldap_search_password":                Setting("", _text, secret=True),
    "ldap_timeout":                        Setting(5, _whole(1, 300)),
    "ldap_uid":                            Setting("cn", _text),
    "ldap_url":                            Setting("", _text),
    "ldap_verify_cert":                    Setting(True, _flag),
    "ldap_group_membership_attribute":     Setting("memberof", _text),
    "ldap_group_attach_parallel":          Setting(False, _flag),
    "ldap_group_base_dn":                  Setting("", _text),
    "ldap_group_admin_dn":                 Setting("", _text),
    "ldap_group_attribute_name":           Setting("", _text),
    "ldap_group_search_filter":            Setting("", _text),
    "ldap_group_search_scope":             Setting(2, _depth),

    "uaa_client_id":                       Setting("", _text),
    "uaa_client_secret":                   Setting("", _text, secret=True),
    "uaa_endpoint":                        Setting("", _text),
    "uaa_verify_cert":                     Setting(False, _flag),

    "http_authproxy_endpoint":             Setting("", _text),
    "http_authproxy_tokenreview_endpoint": Setting("", _text),
    "http_authproxy_admin_groups":         Setting("", _text),
    "http_authproxy_admin_usernames":      Setting("", _text),
    "http_authproxy_verify_cert":          Setting(True, _flag),
    "http_authproxy_skip_search":          Setting(False, _flag),
    "http_authproxy_server_certificate":   Setting("", _certificate),

    "oidc_name":                           Setting("", _text),
    "oidc_endpoint":                       Setting("", _text),
    "oidc_client_id":                      Setting("", _text),
    "oidc_client_secret":                  Setting("", _text, secret=True),
    "oidc_groups_claim":                   Setting("", _text),
    "oidc_admin_group":                    Setting("", _text),
    "oidc_group_filter":                   Setting("", _text),
    "oidc_scope":                          Setting("", _text),
    "oidc_user_claim":                     Setting("", _text),
    "oidc_verify_cert":                    Setting(True, _flag),
    "oidc_auto_onboard":                   Setting(False, _flag),
    "oidc_extra_redirect_parms":           Setting("{}", _parameters),
    "oidc_logout":                         Setting(False, _flag),

    "quota_per_project_enable":            Setting(True, _flag),
    "storage_per_project":                 Setting(-1, _bytes),
})
# fmt: on
DEFAULTS: Mapping[str, Any] = MappingProxyType({name: setting.default for name, setting in SETTINGS.items()})
SECRET = frozenset(name for name, setting in SETTINGS.items() if setting.secret)
# Harbor's description of the API has no place for these.
HIDDEN = frozenset({"pull_time_update_disable", "pull_count_update_disable", "pull_audit_log_disable"})


def parse(changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return changes of settings that can be stored; a null changes nothing. Raise ValueError.

    What is no setting is left out beside what is one, as in Harbor: tools send those of other versions along.
    """
    unknown = sorted(set(changes) - set(SETTINGS))
    if unknown and len(unknown) == len(changes):
        raise ValueError(f"there is no setting {', '.join(unknown)}"[:LONGEST_TEXT])
    known = ((name, value) for name, value in changes.items() if name in SETTINGS and value is not None)
    return {name: _parsed(name, value) for name, value in known}


def _parsed(name: str, value: object) -> Any:
    try:
        return SETTINGS[name].parse(value)
    except ValueError as error:
        raise ValueError(f"{name} {error}") from error


def check(values: Mapping[str, Any]) -> None:
    """Raise ValueError where settings are good each by itself and not together."""
    if values["skip_audit_log_database"] and not values["audit_log_forward_endpoint"]:
        raise ValueError("skip_audit_log_database needs an audit_log_forward_endpoint: events would go nowhere")


def with_defaults(changed: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return every setting, given those that were changed; what is stored and no setting any more is left out."""
    return {name: changed.get(name, default) for name, default in DEFAULTS.items()}


def editable(name: str, *, users: bool) -> bool:
    """Tell whether a setting can be changed; `users` says whether there are any besides the administrator.

    They could not log in any more if the mode of authentication changed.
    """
    return not (name == AUTH_MODE and users)
