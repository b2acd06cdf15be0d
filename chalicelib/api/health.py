"""Whether the things that the registry stands on answer: each is asked, all at once, and none is waited for long.

Invariants:
* An answer comes within the limit, whatever a component does.
* Whoever asks learns which component is not well and not why: that is in the log, but for what `UnwellError` says.
* All that ask at once, and for some seconds after, get one answer: asking often costs the table nothing.
"""

import logging
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from threading import Thread

from chalicelib.services import Services
from chalicelib.store import layout, waiting
from chalicelib.store.directory import configuration

log = logging.getLogger(__name__)

# Route 53 takes a region away that needs two seconds to say how it is; S3 and DynamoDB answer sooner.
LIMIT_SECONDS = 1.5
# What is due is looked for every minute; a worker that vanished holds its task for some minutes more.
NEGLECTED_SECONDS = 15 * 60


@dataclass(frozen=True, slots=True)
class Component:
    """Something that can fail: under which name Harbor's tools know it, what it is here, and how it is asked."""

    name: str
    what: str
    ask: Callable[[Services], object]


@dataclass(frozen=True, slots=True)
class Finding:
    """How a component is; `error` is "" where it is well."""

    name: str
    error: str = ""


class UnwellError(Exception):
    """A component answers, and is not well; the message is for everybody."""


def _jobs(services: Services) -> None:
    if not services.is_writer():
        # They are the primary's.
        return
    neglected = waiting.look(services.directory).neglected
    if neglected > NEGLECTED_SECONDS:
        raise UnwellError(
            f"jobs have waited for {neglected // 60} minutes, and nobody does them:"
            " let a server run with JOBS, or look at the functions' schedule"
        )


COMPONENTS: tuple[Component, ...] = (
    Component("core", "the registry", lambda services: services.now()),
    Component("database", "the table", lambda services: configuration.read(services.directory)),
    Component("registry", "the bucket", lambda services: services.content.objects.head(layout.HEALTH)),
    Component("jobservice", "the jobs", _jobs),
)


def examine(services: Services) -> tuple[Finding, ...]:
    """Return how each component is, or was some seconds ago."""
    found: tuple[Finding, ...] = services.health.get(services.now(), lambda: look(services))
    return found


def look(
    services: Services, components: tuple[Component, ...] = COMPONENTS, seconds: float = LIMIT_SECONDS
) -> tuple[Finding, ...]:
    """Ask every component at once and return how each is."""
    answers = [_asked(component, services) for component in components]
    wait(answers, seconds)
    return tuple(_finding(component, answer, seconds) for component, answer in zip(components, answers, strict=True))


def _asked(component: Component, services: Services) -> "Future[object]":
    answer: Future[object] = Future()

    def ask() -> None:
        try:
            answer.set_result(component.ask(services))
        except UnwellError as error:
            answer.set_exception(error)
        except Exception as error:
            # Whatever it is, the component is not well.
            log.exception("%s is not well", component.what)
            answer.set_exception(error)

    # No pool: one that hangs must hold up neither those who come later nor the end of the process.
    Thread(target=ask, name=f"health of {component.name}", daemon=True).start()
    return answer


def _finding(component: Component, answer: "Future[object]", seconds: float) -> Finding:
    if not answer.done():
        return Finding(component.name, f"{component.what} did not answer within {seconds:g} s")
    error = answer.exception()
    if isinstance(error, UnwellError):
        return Finding(component.name, str(error))
    return Finding(component.name, f"{component.what} failed: the log says why" if error else "")
