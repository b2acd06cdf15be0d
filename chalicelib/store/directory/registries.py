"""Other registries: where they are, who we are there, and whether they answered last.

Invariants:
* A name is taken once. The secret is sealed (`store.sealed`); it is opened for a `Site` alone, which is spoken to.
* Whether a registry answers is noted beside what people change: they are not refused for it.
* Who deletes one has asked before whether it is used: what refers to one that is gone says so when it needs it.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from chalicelib.oci.pages import Page
from chalicelib.store import sealed
from chalicelib.store.directory import Directory
from chalicelib.store.directory.collection import Collection, Entry
from chalicelib.store.remote.sites import Site
from chalicelib.store.table import PRESENT, Check, Delete, Key, Put, RefusedError, Slice

REGISTRIES = Collection("registry", "registries", "a registry of this name exists already: choose another")
HEALTHY, UNHEALTHY = "healthy", "unhealthy"
_HEALTH = "health/registries"


class Sealing(Protocol):
    """What opens secrets: the settings."""

    @property
    def signing_keys(self) -> tuple[bytes, ...]:
        """Return the keys, the one that seals first."""


@dataclass(frozen=True, slots=True)
class NewRegistry:
    """What a registry is made of; `secret` is sealed, or ""."""

    name: str
    type: str
    url: str
    credential_type: str = ""
    access_key: str = ""
    secret: str = ""
    insecure: bool = False
    ca_certificate: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Registry:
    """A registry as it is stored; `status` is whether it answered last, or ""."""

    id: int
    name: str
    type: str
    url: str
    credential_type: str
    access_key: str
    secret: str
    insecure: bool
    ca_certificate: str
    description: str
    status: str
    created: str
    updated: str
    entry: Entry


def find(directory: Directory, number: int) -> Registry | None:
    """Return the registry with this id, or None."""
    entry = REGISTRIES.by_id(directory, number)
    return _registry(entry, _healths(directory, [entry])) if entry else None


def named(directory: Directory, name: str) -> Registry | None:
    """Return the registry of this name, or None."""
    entry = REGISTRIES.find(directory, REGISTRIES.key("", name))
    return _registry(entry, _healths(directory, [entry])) if entry else None


def page(directory: Directory, wanted: Slice) -> Page[Registry]:
    """Return a part of the registries, in the order of their names."""
    found = REGISTRIES.page(directory, "", wanted)
    return Page(_all(directory, found.entries), found.more)


def every(directory: Directory) -> tuple[Registry, ...]:
    """Return all registries, in the order of their names."""
    return _all(directory, REGISTRIES.all(directory))


def count(directory: Directory) -> int:
    """Return how many registries there are."""
    return REGISTRIES.count(directory)


def site(settings: Sealing, registry: Registry | NewRegistry) -> Site:
    """Return how a registry is spoken to; raise SealError where no key opens its secret."""
    secret = sealed.unseal(settings.signing_keys, registry.secret) if registry.secret else ""
    return Site(
        url=registry.url,
        kind=registry.type,
        access_key=registry.access_key,
        access_secret=secret,
        skip_cert_verify=registry.insecure,
        ca_certificate=registry.ca_certificate,
        token_kind=registry.credential_type or "basic",
    )


def create(directory: Directory, new: NewRegistry, status: str) -> int:
    """Add a registry and return its id; raise RefusedError where its name is taken."""
    now = directory.time()
    document = {**_document(new), "created": now, "updated": now}
    key = REGISTRIES.key("", new.name)
    return REGISTRIES.create(directory, key, document, lambda number: [_health(number, status)]).id


def update(directory: Directory, registry: Registry, become: NewRegistry, status: str) -> None:
    """Put what a registry becomes in its place; raise RefusedError where its name is taken, or it was changed."""
    document = {**registry.entry.document, **_document(become), "updated": directory.time()}
    if become.name == registry.name:
        REGISTRIES.update(directory, registry.entry, document, _health(registry.id, status))
    else:
        REGISTRIES.move(directory, registry.entry, REGISTRIES.key("", become.name), document)
        note(directory, registry, status)


def note(directory: Directory, registry: Registry, status: str) -> None:
    """Remember whether a registry answered, unless it is gone."""
    with suppress(RefusedError):
        directory.table.commit(Check(REGISTRIES.pointer(registry.id), PRESENT), _health(registry.id, status))


def delete(directory: Directory, registry: Registry) -> None:
    """Delete a registry; raise RefusedError where it changed meanwhile."""
    REGISTRIES.delete(directory, registry.entry, Delete(_health_key(registry.id)))


def renew(directory: Directory, registry: Registry, become: Callable[[str], str]) -> bool:
    """Store a registry's sealed secret as what it becomes; tell whether it differs. Raise RefusedError."""
    secret = become(registry.secret) if registry.secret else ""
    if secret == registry.secret:
        return False
    REGISTRIES.update(directory, registry.entry, {**registry.entry.document, "secret": secret})
    return True


def _document(new: NewRegistry) -> dict[str, Any]:
    return {
        "name": new.name,
        "type": new.type,
        "url": new.url,
        "credential_type": new.credential_type,
        "access_key": new.access_key,
        "secret": new.secret,
        "insecure": new.insecure,
        "ca_certificate": new.ca_certificate,
        "description": new.description,
    }


def _health_key(number: int) -> Key:
    return Key(_HEALTH, str(number))


def _health(number: int, status: str) -> Put:
    return Put(_health_key(number), {"status": status})


def _healths(directory: Directory, entries: Sequence[Entry]) -> Mapping[int, str]:
    keys = {_health_key(entry.id): entry.id for entry in entries}
    found = directory.table.get_many(keys)
    return {keys[key]: record.document["status"] for key, record in found.items()}


def _all(directory: Directory, entries: Sequence[Entry]) -> tuple[Registry, ...]:
    healths = _healths(directory, entries)
    return tuple(_registry(entry, healths) for entry in entries)


def _registry(entry: Entry, healths: Mapping[int, str]) -> Registry:
    document = entry.document
    return Registry(
        id=entry.id,
        name=document["name"],
        type=document["type"],
        url=document["url"],
        credential_type=document["credential_type"],
        access_key=document["access_key"],
        secret=document["secret"],
        insecure=document["insecure"],
        ca_certificate=document["ca_certificate"],
        description=document["description"],
        status=healths.get(entry.id, ""),
        created=document["created"],
        updated=document["updated"],
        entry=entry,
    )
