"""Tells of pulls after they were made: the audit log who made them, the index how many and when, webhooks that.

Invariants:
* Pulls of one thing by one principal that are told together are one entry, which says how many they were, and one
  event for webhooks: the last thing done, so that what failed before tells nobody twice.
* Told again under the same name, pulls make the same entries; the index counts them twice.
* What the settings leave out is not written; a pull never waits to know that.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import cache
from urllib.parse import urlsplit

from chalicelib.oci.names import Repository
from chalicelib.policy.audit import ANONYMOUS, Event
from chalicelib.policy.configuration import DEFAULTS
from chalicelib.policy.webhook_payloads import Happened
from chalicelib.policy.webhooks import EventType
from chalicelib.services import Services
from chalicelib.store import notifications, pulls_left
from chalicelib.store.directory import SYSTEM, audit, configuration, projects
from chalicelib.store.directory.projects import Project
from chalicelib.store.index import pulls, written
from chalicelib.store.pulls import Pulled, Pulls


def tell(services: Services, made: Mapping[Pulled, Pulls], name: str = "") -> None:
    """Write pulls down under a name of their own; raise OSError or BusyError."""
    if not services.keeps_table():
        pulls_left.leave(services.index.table, made, services.now())
        return

    @cache
    def project_of(repository: Repository) -> Project | None:
        return projects.find(services.directory, repository.name.partition("/")[0])

    def project_id(repository: Repository) -> int | None:
        project = project_of(repository)
        return project.id if project else None

    audit.log_many(services.directory, _entries(made, name, project_id))
    settings = {**DEFAULTS, **configuration.recent(services.directory)}
    pulls.flush(
        services.index,
        made,
        project_id,
        numbers=not settings["pull_count_update_disable"],
        times=not settings["pull_time_update_disable"],
    )
    _notify(services, made, project_of)


def _notify(
    services: Services, made: Mapping[Pulled, Pulls], project_of: Callable[[Repository], Project | None]
) -> None:
    host = urlsplit(services.settings.public_url).netloc
    for pulled, told in made.items():
        if project := project_of(pulled.repository):
            happened = Happened(
                type=EventType.PULLED,
                moment=int(told.last.timestamp()),
                operator=pulled.by or ANONYMOUS,
                repository=pulled.repository.name,
                reference=pulled.tag or pulled.digest,
                digest=pulled.digest,
                host=host,
            )
            notifications.tell(services.directory, project, [happened])


def _entries(
    made: Mapping[Pulled, Pulls], name: str, project_id: Callable[[Repository], int | None]
) -> Iterator[tuple[Event, datetime, str]]:
    for pulled, told in made.items():
        mark = f":{pulled.tag}" if pulled.tag else f"@{pulled.digest}"
        event = Event(
            username=pulled.by or ANONYMOUS,
            resource=f"{pulled.repository}{mark}",
            resource_type="artifact",
            operation="pull",
            description=f"pulled {told.count} times until {written(told.last)}" if told.count > 1 else "",
            project_id=project_id(pulled.repository) or SYSTEM,
        )
        yield event, told.began, f"{name} {pulled}" if name else ""
