"""Asks the other registries whether they answer, and notes it where it changed.

Invariants:
* A registry that takes long holds up the others by some seconds, and nobody else.
* Where there is no registry any more, the schedule goes: the first one that is added makes it anew.
"""

from chalicelib.jobs.steps import Again, Done, Outcome, TaskRun
from chalicelib.policy.jobs import NO_VENDOR, Kind
from chalicelib.services import Services
from chalicelib.store import reach, schedules
from chalicelib.store.directory import registries
from chalicelib.store.directory.registries import HEALTHY, UNHEALTHY, Registry
from chalicelib.store.reach import Resolve
from chalicelib.store.remote import health
from chalicelib.store.sealed import SealError
from chalicelib.store.table import Slice

_PAGE = 100


def step(services: Services, task: TaskRun, resolve: Resolve = reach.resolve) -> Outcome:
    """Ask one registry after another while there is time; raise OSError."""
    directory, after = services.directory, task.cursor.get("after", "")
    counts = {HEALTHY: 0, UNHEALTHY: 0, **task.cursor.get("counts", {})}
    if registries.count(directory) == 0:
        schedules.remove(directory, Kind.REGISTRY_HEALTH, NO_VENDOR)
        return Done(counts)
    for registry in registries.page(directory, Slice(after=after, limit=_PAGE)).entries:
        if task.stopping() or not task.more_time():
            return Again({"after": after, "counts": counts}, counts)
        why = _trouble(services, registry, resolve)
        status = UNHEALTHY if why else HEALTHY
        counts[status] += 1
        if status != registry.status:
            task.log(f"{registry.name} is {status}{': ' if why else ''}{why}")
            registries.note(directory, registry, status)
        after = registry.name
    if registries.page(directory, Slice(after=after, limit=1)).entries:
        return Again({"after": after, "counts": counts}, counts)
    return Done(counts)


def _trouble(services: Services, registry: Registry, resolve: Resolve) -> str:
    try:
        site = registries.site(services.settings, registry)
    except SealError as error:
        return str(error)
    return health.trouble(site, services.settings.private_targets, resolve)
