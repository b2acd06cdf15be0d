"""Seals the secrets of webhooks and of other registries with the key that signs now, so that the old key can go.

Invariants:
* Where there is one key, nothing is read: there is nothing to do.
* What somebody changes meanwhile stays as they changed it. A secret that no key opens stays as it is, is counted, and
  its project or registry is named in the log.
"""

from functools import partial

from chalicelib.jobs.steps import Again, Done, Outcome, TaskRun
from chalicelib.services import Services
from chalicelib.store import sealed
from chalicelib.store.directory import Directory, projects, registries, webhooks
from chalicelib.store.directory.projects import Project
from chalicelib.store.sealed import SealError
from chalicelib.store.table import RefusedError, Slice

_PAGE = 100


def step(services: Services, task: TaskRun, size: int = _PAGE) -> Outcome:
    """Go on from project to project while there is time; raise OSError or RefusedError."""
    keys = services.settings.signing_keys
    counts, after = {"sealed": 0, "lost": 0, **task.cursor.get("counts", {})}, task.cursor.get("after", "")
    more = len(keys) > 1
    while more:
        page = projects.page(services.directory, Slice(after=after, limit=size))
        for project in filter(webhooks.has_any, page.entries):
            done = _renew(services.directory, keys, project)
            counts = {name: counts[name] + number for name, number in done.items()}
            if done["lost"]:
                task.log(f"ERR {project.name}: set the secrets of its webhooks again, no key opens them")
        more = page.more
        after = page.entries[-1].name if more else ""
        if more and (task.stopping() or not task.more_time()):
            return Again({"counts": counts, "after": after}, counts)
    if len(keys) > 1:
        _renew_registries(services.directory, keys, task, counts)
    return Done(counts)


def _renew_registries(directory: Directory, keys: tuple[bytes, ...], task: TaskRun, counts: dict[str, int]) -> None:
    """Seal the secrets of all registries anew, and count them: there are few."""
    for registry in registries.every(directory):
        try:
            counts["sealed"] += registries.renew(directory, registry, partial(sealed.renewed, keys))
        except SealError:
            counts["lost"] += 1
            task.log(f"ERR set the secret of the registry {registry.name} again, no key opens it")
        except RefusedError:
            # Somebody changed it: the next run looks at it again.
            continue


def _renew(directory: Directory, keys: tuple[bytes, ...], project: Project) -> dict[str, int]:
    """Seal the secrets of a project's webhooks anew; return of how many policies, and how many secrets are lost."""
    lost = set[str]()

    def become(secret: str) -> str:
        try:
            return sealed.renewed(keys, secret)
        except SealError:
            lost.add(secret)
            return secret

    try:
        return {"sealed": webhooks.renew(directory, project.id, become), "lost": len(lost)}
    except RefusedError as error:
        if webhooks.GONE not in error.names:
            raise
        return {"sealed": 0, "lost": 0}
