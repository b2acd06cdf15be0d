"""The registry as a whole: is it there, is it well, what is it, how is it set.

Invariants:
* Who has not logged in learns no version and nothing of how the registry is run.
* Secrets of the configuration can be written and never read.
"""

from typing import Any

from chalicelib.api.harbor.calls import OPEN, HarborCall, HarborEndpoint, answer, done, in_system
from chalicelib.api.harbor.errors import bad_request, not_found
from chalicelib.api.health import examine
from chalicelib.api.http import Response
from chalicelib.policy import configuration as rules
from chalicelib.policy.grants import Kind
from chalicelib.store.directory import configuration, users

# What Harbor's tools compare with: the version of the API that is spoken here.
HARBOR_VERSION = "v2.16.0"
_SHOWN_TO_EVERYBODY = ("auth_mode", "primary_auth_mode", "self_registration", "banner_message")
_SHOWN_WHEN_SIGNED_IN = ("project_creation_restriction", "read_only", "notification_enable")


def ping(call: HarborCall) -> Response:  # noqa: ARG001 - it is the same for everybody
    """Say that the registry is there."""
    return Response(200, {"Content-Type": "text/plain; charset=utf-8"}, b"Pong")


def version(call: HarborCall) -> Response:  # noqa: ARG001 - as above
    """Say which version of Harbor's API this is."""
    return answer({"version": "v2.0"})


def health(call: HarborCall) -> Response:
    """Say whether each thing that the registry stands on answers."""
    found = examine(call.services)
    components = [
        {"name": each.name, "status": "unhealthy", "error": each.error}
        if each.error
        else {"name": each.name, "status": "healthy"}
        for each in found
    ]
    well = not any(each.error for each in found)
    return answer({"status": "healthy" if well else "unhealthy", "components": components})


def system_info(call: HarborCall) -> Response:
    """Describe the registry, more of it to who is logged in."""
    values = rules.with_defaults(configuration.read(call.services.directory))
    shown: dict[str, Any] = {name: values[name] for name in _SHOWN_TO_EVERYBODY}
    shown["harbor_version"] = HARBOR_VERSION if call.principal.kind is not Kind.ANONYMOUS else ""
    if call.principal.kind is not Kind.ANONYMOUS:
        shown |= {name: values[name] for name in _SHOWN_WHEN_SIGNED_IN}
        shown |= {
            "current_time": call.services.directory.time(),
            "registry_url": call.request.host,
            "external_url": call.request.base_url,
            "has_ca_root": False,
            "registry_storage_provider_name": "s3",
        }
    return answer({name: value for name, value in shown.items() if value != ""})


def volumes(call: HarborCall) -> Response:  # noqa: ARG001 - S3 has no volumes, whoever asks
    """Describe the volumes: S3 is one that never fills up, which Harbor writes as zeros."""
    return answer({"storage": [{"total": 0, "free": 0}]})


def certificate(call: HarborCall) -> Response:  # noqa: ARG001 - as above
    """Say that there is no root certificate to download: AWS serves the registry with public ones."""
    raise not_found("a root certificate")


def get_configuration(call: HarborCall) -> Response:
    """Show every setting, with whether it can be changed."""
    changed = configuration.read(call.services.directory)
    values = rules.with_defaults(changed)
    others = _are_users(call)
    shown = {
        name: {"value": value, "editable": rules.editable(name, users=others)}
        for name, value in values.items()
        if name not in rules.SECRET and name not in rules.HIDDEN
    }
    return answer(shown)


def _are_users(call: HarborCall) -> bool:
    """Tell whether there are users besides the administrator."""
    return users.count(call.services.directory) > 1


def set_configuration(call: HarborCall) -> Response:
    """Change settings."""
    body = call.body()
    try:
        changes = rules.parse(body)
        before = rules.with_defaults(configuration.read(call.services.directory))
        rules.check({**before, **changes})
    except ValueError as error:
        raise bad_request(str(error)) from error
    changed = [name for name, value in changes.items() if value != before[name]]
    others = _are_users(call)
    fixed = [name for name in changed if not rules.editable(name, users=others)]
    if fixed:
        raise bad_request(f"{', '.join(fixed)} can be changed only while there are no users: delete them first")
    audited = call.auditing("configuration", "update", "configuration", ", ".join(sorted(changes)))
    configuration.change(audited.directory, changes)
    return done()


# fmt: off
ENDPOINTS: tuple[HarborEndpoint, ...] = (
    HarborEndpoint("GET", "/ping",               OPEN,                                 ping),
    HarborEndpoint("GET", "/api/version",        OPEN,                                 version),
    HarborEndpoint("GET", "/health",             OPEN,                                 health),
    HarborEndpoint("GET", "/systeminfo",         OPEN,                                 system_info),
    HarborEndpoint("GET", "/systeminfo/volumes", in_system("system-volumes", "read"),  volumes),
    HarborEndpoint("GET", "/systeminfo/getcert", OPEN,                                 certificate),
    HarborEndpoint("GET", "/configurations",     in_system("configuration", "read"),   get_configuration),
    HarborEndpoint("PUT", "/configurations",     in_system("configuration", "update"), set_configuration),
)
# fmt: on
