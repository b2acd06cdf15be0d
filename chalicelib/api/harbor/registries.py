"""Other registries: where they are and who we are there, and what makes of registries there are.

Invariants:
* A secret is never answered, and goes to no other host than it was given for: whoever changes the host gives it anew.
* What is stored has answered once: a registry that does not is refused in words.
* A registry that a replication policy or a proxy cache project uses is not deleted.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from chalicelib.api.harbor import listing
from chalicelib.api.harbor.calls import HarborCall, HarborEndpoint, answer, created, done, in_system, typed
from chalicelib.api.harbor.errors import HarborCode, HarborError, bad_request, conflict, not_found
from chalicelib.api.http import Response
from chalicelib.policy.adapters import ADAPTERS, Adapter
from chalicelib.policy.jobs import NO_VENDOR, Kind
from chalicelib.policy.replication import HARBOR, Resource
from chalicelib.store import reach, schedules, sealed
from chalicelib.store.directory import SYSTEM, labels, projects, registries, replication
from chalicelib.store.directory.registries import HEALTHY, UNHEALTHY, NewRegistry, Registry
from chalicelib.store.reach import ReachError
from chalicelib.store.remote import Site, TokenKind, health
from chalicelib.store.sealed import SealError

_RESOURCE = "registry"
_LONGEST_NAME, _LONGEST_TEXT = 64, 1024
_HIDDEN = "*****"
_EVERY_FIVE_MINUTES = "0 */5 * * * *"
_LOCAL = 0


def list_registries(call: HarborCall) -> Response:
    """List the registries, in the order of their names."""
    request, wanted, directory = call.request, listing.parse(call.request), call.services.directory
    if part := request.parameter("name"):
        wanted = replace(wanted, conditions={**wanted.conditions, "name": f"~{part}"})
    if wanted.natural:
        found = registries.page(directory, wanted.slice)
        return listing.answered(call, wanted, list(map(shown, found.entries)), registries.count(directory))
    chosen, total = listing.select(wanted, list(map(shown, registries.every(directory))))
    return listing.answered(call, wanted, chosen, total)


def shown(registry: Registry) -> dict[str, Any]:
    """Return a registry as Harbor writes it, without its secret."""
    return {
        "id": registry.id,
        "name": registry.name,
        "type": registry.type,
        "url": registry.url,
        "credential": _shown_credential(registry),
        "insecure": registry.insecure,
        **({"ca_certificate": registry.ca_certificate} if registry.ca_certificate else {}),
        "description": registry.description,
        "status": registry.status,
        "creation_time": registry.created,
        "update_time": registry.updated,
    }


def _shown_credential(registry: Registry) -> Mapping[str, str]:
    if not (registry.access_key or registry.secret):
        return {}
    shown = {"type": registry.credential_type or TokenKind.BASIC, "access_key": registry.access_key}
    return {**shown, "access_secret": _HIDDEN} if registry.secret else shown


def create_registry(call: HarborCall) -> Response:
    """Add a registry that answers."""
    body = call.body()
    credential = typed(body, "credential", dict, {})
    flat = {**body, "credential_type": credential.get("type"), **{name: credential.get(name) for name in _OWN}}
    new = _become(call, NewRegistry("", typed(body, "type", str, ""), ""), flat)
    if registries.named(call.services.directory, new.name):
        raise conflict(registries.REGISTRIES.taken)
    _check_answers(call, new)
    services = call.auditing(_RESOURCE, "create", new.name)
    number = registries.create(services.directory, new, HEALTHY)
    if schedules.get(services.directory, Kind.REGISTRY_HEALTH, NO_VENDOR) is None:
        schedules.set(services.directory, Kind.REGISTRY_HEALTH, NO_VENDOR, _EVERY_FIVE_MINUTES, {})
    return created(call, number)


_OWN = ("access_key", "access_secret")


def _become(call: HarborCall, before: NewRegistry, body: Mapping[str, Any]) -> NewRegistry:
    """Return what a registry becomes by a body, with its secret sealed; raise BAD_REQUEST."""
    secret = typed(body, "access_secret", str, _HIDDEN)
    become = NewRegistry(
        name=typed(body, "name", str, before.name).strip(),
        type=before.type,
        url=_url(typed(body, "url", str, before.url)),
        credential_type=typed(body, "credential_type", str, before.credential_type),
        access_key=typed(body, "access_key", str, before.access_key),
        secret=before.secret if secret == _HIDDEN else _sealed(call, secret),
        insecure=typed(body, "insecure", bool, before.insecure),
        ca_certificate=typed(body, "ca_certificate", str, before.ca_certificate).strip(),
        description=typed(body, "description", str, before.description),
    )
    if before.secret and secret == _HIDDEN and reach.origin(before.url) != reach.origin(become.url):
        raise bad_request("the secret was given for another host: give access_secret again")
    _check(become)
    return become


def _sealed(call: HarborCall, secret: str) -> str:
    return sealed.seal(call.services.settings.signing_keys, secret) if secret else ""


def _url(text: str) -> str:
    url = text.strip().rstrip("/")
    try:
        place, parts = reach.origin(url), urlsplit(url)
    except ReachError as error:
        raise bad_request(f"url: {error}") from error
    if parts.username is not None or parts.query or parts.fragment or not url.isprintable():
        raise bad_request("url is an address alone: the credential has fields of its own")
    return f"{place.scheme}://{place}{parts.path}"


def _check(new: NewRegistry) -> None:
    """Raise BAD_REQUEST where a registry cannot be like this."""
    if new.type not in ADAPTERS:
        raise bad_request(f"type must be one of {', '.join(sorted(ADAPTERS))}")
    if not (1 <= len(new.name) <= _LONGEST_NAME and new.name.isprintable()):
        raise bad_request(f"the name of a registry has 1 to {_LONGEST_NAME} printable characters")
    if new.credential_type not in ("", *TokenKind):
        raise bad_request(f"the type of a credential is one of {', '.join(TokenKind)}")
    if len(new.description) > _LONGEST_TEXT or not f"{new.access_key}".isprintable():
        raise bad_request(f"description has at most {_LONGEST_TEXT} characters, access_key printable ones")
    try:
        reach.trust(ca_certificate=new.ca_certificate)
    except ValueError as error:
        raise bad_request(f"ca_certificate: {error}") from error


def _check_answers(call: HarborCall, registry: NewRegistry | Registry) -> None:
    """Raise BAD_REQUEST with the reason where a registry does not answer."""
    if trouble := health.trouble(_site(call, registry), call.services.settings.private_targets):
        raise bad_request(f"the registry is unhealthy: {trouble}")


def _site(call: HarborCall, registry: NewRegistry | Registry) -> Site:
    try:
        return registries.site(call.services.settings, registry)
    except SealError as error:
        raise bad_request(str(error)) from error


def get_registry(call: HarborCall) -> Response:
    """Show a registry; 0 is this one."""
    number = call.number("id")
    return answer(shown_local(call) if number == _LOCAL else shown(_found(call, number)))


def shown_local(call: HarborCall) -> dict[str, Any]:
    """Return this registry as Harbor writes it among others."""
    url = call.services.settings.public_url or call.request.base_url
    return {"id": _LOCAL, "name": "Local", "type": "harbor", "url": url, "insecure": False, "status": HEALTHY}


def _found(call: HarborCall, number: int) -> Registry:
    found = registries.find(call.services.directory, number)
    if found is None:
        raise not_found(f"registry {number}")
    return found


def update_registry(call: HarborCall) -> Response:
    """Change a registry, which must answer as it becomes; its secret stays where none is sent."""
    found = _found(call, call.number("id"))
    become = _become(call, _as_new(found), call.body())
    taken = registries.named(call.services.directory, become.name)
    if taken and taken.id != found.id:
        raise conflict(registries.REGISTRIES.taken)
    _check_answers(call, become)
    services = call.auditing(_RESOURCE, "update", found.name)
    registries.update(services.directory, found, become, HEALTHY)
    return done()


def _as_new(registry: Registry) -> NewRegistry:
    return NewRegistry(
        name=registry.name,
        type=registry.type,
        url=registry.url,
        credential_type=registry.credential_type,
        access_key=registry.access_key,
        secret=registry.secret,
        insecure=registry.insecure,
        ca_certificate=registry.ca_certificate,
        description=registry.description,
    )


def delete_registry(call: HarborCall) -> Response:
    """Delete a registry that nothing uses."""
    found, directory = _found(call, call.number("id")), call.services.directory
    if replication.uses(directory, found.id):
        raise _in_use(found, "replication policies")
    if projects.uses_registry(directory, found.id):
        raise _in_use(found, "proxy cache projects")
    registries.delete(call.auditing(_RESOURCE, "delete", found.name).directory, found)
    return done()


def _in_use(registry: Registry, what: str) -> HarborError:
    message = f"the registry {registry.name} is used by {what}: delete them first"
    return HarborError(HarborCode.PRECONDITION, message)


def ping_registry(call: HarborCall) -> Response:
    """Tell whether a registry answers: a stored one, as it would be with what else is sent, or a new one."""
    body = call.body()
    number = typed(body, "id", int, 0)
    stored = _found(call, number) if number else None
    before = _as_new(stored) if stored else NewRegistry("ping", "", "")
    if kind := typed(body, "type", str, ""):
        before = replace(before, type=kind)
    if not (before.type and (before.url or body.get("url"))):
        raise bad_request("type or url cannot be empty")
    become = _become(call, before, {**body, "name": before.name})
    try:
        _check_answers(call, become)
    except HarborError:
        if stored and become == _as_new(stored):
            registries.note(call.services.directory, stored, UNHEALTHY)
        raise
    if stored and become == _as_new(stored):
        registries.note(call.services.directory, stored, HEALTHY)
    return done()


def get_info(call: HarborCall) -> Response:
    """Show what replication can do with a registry; 0 is this one, whose changes can begin it."""
    number = call.number("id")
    adapter = ADAPTERS[HARBOR if number == _LOCAL else _found(call, number).type]
    filters: list[Mapping[str, Any]] = [{"type": name, "style": "input"} for name in ("name", "tag")]
    triggers = ["manual", "scheduled"]
    if number == _LOCAL:
        found = labels.every(call.services.directory, SYSTEM)
        filters.append({"type": "label", "style": "list", "values": [label.name for label in found]})
        triggers.append("event_based")
    resources = list(Resource) if adapter.name == HARBOR else [Resource.IMAGE]
    filters.append({"type": "resource", "style": "radio", "values": resources})
    info = {
        "type": adapter.name,
        "description": adapter.description,
        "supported_resource_filters": filters,
        "supported_triggers": triggers,
    }
    return answer({**info, "supported_copy_by_chunk": True} if adapter.chunks else info)


def list_adapters(_call: HarborCall) -> Response:
    """List the makes of registries."""
    return answer(sorted(ADAPTERS))


def list_adapter_infos(_call: HarborCall) -> Response:
    """Show what is offered to those who add a registry of a make, where Harbor names it."""
    named = ((name, adapter) for name, adapter in sorted(ADAPTERS.items()) if adapter.offering is not None)
    return answer({name: _offered(adapter) for name, adapter in named})


def _offered(adapter: Adapter) -> dict[str, Any]:
    if not adapter.offering:
        return {}
    endpoints = [{"key": key, "value": value} for key, value in adapter.endpoints.items()]
    shown: dict[str, Any] = {"endpoint_pattern": {"endpoint_type": adapter.offering, "endpoints": endpoints}}
    if adapter.access_key:
        shown["credential_pattern"] = {
            "access_key_type": "AccessKeyTypeFix",
            "access_key_data": adapter.access_key,
            "access_secret_type": "AccessSecretTypeFile",
            "access_secret_data": adapter.credential_file,
        }
    return shown


_ONE = "/registries/{id}"
_MAKES = in_system("replication-adapter", "list")
# fmt: off
ENDPOINTS: tuple[HarborEndpoint, ...] = (
    HarborEndpoint("GET",    "/registries",      in_system(_RESOURCE, "list"),   list_registries),
    HarborEndpoint("POST",   "/registries",      in_system(_RESOURCE, "create"), create_registry),
    HarborEndpoint("POST",   "/registries/ping", in_system(_RESOURCE, "read"),   ping_registry),
    HarborEndpoint("GET",    _ONE,               in_system(_RESOURCE, "read"),   get_registry),
    HarborEndpoint("PUT",    _ONE,               in_system(_RESOURCE, "update"), update_registry),
    HarborEndpoint("DELETE", _ONE,               in_system(_RESOURCE, "delete"), delete_registry),
    HarborEndpoint("GET",    f"{_ONE}/info",     in_system(_RESOURCE, "read"),   get_info),
    HarborEndpoint("GET",    "/replication/adapters",     _MAKES,                list_adapters),
    HarborEndpoint("GET",    "/replication/adapterinfos", _MAKES,                list_adapter_infos),
)
# fmt: on
