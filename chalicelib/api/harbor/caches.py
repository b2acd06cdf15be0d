"""Projects that are caches of other registries, as Harbor's API makes them, and what it does not do to them.

Invariant: a project is a cache from its beginning, of one registry, for good.
"""

from collections.abc import Mapping
from typing import Any

from chalicelib.api.harbor.calls import HarborCall, typed
from chalicelib.api.harbor.errors import HarborCode, HarborError, bad_request
from chalicelib.policy import proxies, retention
from chalicelib.policy.jobs import Kind
from chalicelib.store import schedules
from chalicelib.store.directory import registries
from chalicelib.store.directory import retention as policies
from chalicelib.store.directory.projects import NewProject, Project
from chalicelib.store.table import PRESENT, Change, Check


def registry_of(call: HarborCall, body: Mapping[str, Any]) -> int:
    """Return the registry of which a new project is to be a cache, 0 for none."""
    number: int | None = typed(body, "registry_id", int, None)
    if number is None:
        return 0
    if not call.principal.administrator:
        raise HarborError(HarborCode.FORBIDDEN, "only an administrator creates a proxy cache project")
    if number <= 0:
        raise bad_request(f"{number} is no registry_id: leave it out, or give the number of a registry")
    registry = registries.find(call.services.directory, number)
    if registry is None:
        raise bad_request(f"there is no registry {number}")
    if registry.type not in proxies.MAKES:
        known = ", ".join(sorted(proxies.MAKES))
        raise bad_request(f"a registry of the type {registry.type} cannot be cached, only one of {known}")
    return number


def condition(new: NewProject) -> tuple[Change, ...]:
    """Return the condition of a new project that its registry is there."""
    if not new.registry_id:
        return ()
    return (Check(registries.REGISTRIES.pointer(new.registry_id), PRESENT, "the registry was deleted meanwhile"),)


def begin_retention(call: HarborCall, project: Project) -> None:
    """Give a cache the retention policy that it begins with: what nobody pulled for days goes."""
    directory, policy = call.services.directory, retention.parse(proxies.retention(project.id))
    number = policies.create(directory, policy)
    schedules.set(directory, Kind.RETENTION, number, policy.cron, {"dry_run": False}, call.principal.name)


def shown_registry(call: HarborCall, project: Project) -> dict[str, Any]:
    """Return the registry of which a project is a cache, as its summary shows it; without the credential."""
    found = registries.find(call.services.directory, project.registry_id)
    if found is None:
        return {}
    return {"registry": {"id": found.id, "name": found.name, "type": found.type, "url": found.url}}


def check_is_none(project: Project) -> None:
    """Raise METHOD_NOT_ALLOWED where a project is a cache: only pulls bring something into it."""
    if project.proxies:
        message = f"{project.name} is a proxy project: what is in it comes of pulls alone"
        raise HarborError(HarborCode.METHOD_NOT_ALLOWED, message)
