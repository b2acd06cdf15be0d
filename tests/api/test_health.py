"""Whether the registry says truly how it is: each component is asked, and none is waited for without end."""

from collections.abc import Iterator
from datetime import timedelta
from threading import Event

import orjson
import pytest

from chalicelib.api import health
from chalicelib.api.health import Component, Finding
from chalicelib.policy.jobs import Kind, Trigger
from chalicelib.services import Services
from chalicelib.store import executions, layout
from chalicelib.store.executions import New
from tests.api.asking import Client

PATH = "/api/v2.0/health"


def well(services: Services) -> object:
    return services


def broken(services: Services) -> object:
    raise OSError(f"the secret of {services.settings.bucket}")


@pytest.fixture
def never() -> Iterator[Event]:
    """An event that comes when the test is over."""
    event = Event()
    yield event
    event.set()


def test_everybody_is_told_that_all_is_well(client: Client) -> None:
    client.headers = {}

    told = orjson.loads(client.ask("GET", PATH).body)
    assert told["status"] == "healthy"
    assert [each["name"] for each in told["components"]] == [each.name for each in health.COMPONENTS]


def test_what_fails_is_named_and_why_is_not(client: Client) -> None:
    components = (Component("core", "the registry", well), Component("registry", "the bucket", broken))

    found = health.look(client.services, components)
    assert found == (Finding("core"), Finding("registry", "the bucket failed: the log says why"))


def test_what_does_not_answer_is_waited_for_no_longer_than_the_limit(client: Client, never: Event) -> None:
    hanging = Component("database", "the table", lambda _: never.wait())

    found = health.look(client.services, (hanging, Component("core", "the registry", well)), seconds=0.05)
    assert found == (Finding("database", "the table did not answer within 0.05 s"), Finding("core"))


def test_all_are_asked_at_once(client: Client) -> None:
    first, second = Event(), Event()

    def meeting(mine: Event, other: Event) -> object:
        mine.set()
        return other.wait(10)

    components = (
        Component("database", "the table", lambda _: meeting(first, second)),
        Component("registry", "the bucket", lambda _: meeting(second, first)),
    )

    assert health.look(client.services, components) == (Finding("database"), Finding("registry"))


def test_a_bucket_that_is_gone_makes_the_registry_unhealthy_until_it_is_back(client: Client) -> None:
    def out_of_reach(operation: str, key: str) -> None:
        if key == layout.HEALTH:
            raise OSError(operation)

    client.objects.before = out_of_reach
    failed = {"registry": "the bucket failed: the log says why"}
    assert told(client) == {"core": "", "database": "", **failed, "jobservice": ""}
    client.objects.before = lambda _operation, _key: None

    client.clock.advance(timedelta(seconds=6))

    assert set(told(client).values()) == {""}


def test_jobs_that_nobody_does_are_told_in_words(client: Client) -> None:
    executions.begin(client.services.directory, New(Kind.ABANDONED_UPLOADS, -1, Trigger.MANUAL, {}))
    client.clock.advance(timedelta(minutes=10))
    assert told(client)["jobservice"] == ""

    client.clock.advance(timedelta(minutes=10))

    assert told(client)["jobservice"].startswith("jobs have waited for 19 minutes, and nobody does them")


def test_asking_again_at_once_asks_nobody(client: Client) -> None:
    told(client)
    asked = len(client.objects.asked)

    told(client)

    assert len(client.objects.asked) == asked


def told(client: Client) -> dict[str, str]:
    """Return the error of each component, by name."""
    answer = client.ask("GET", PATH)
    assert answer.status == 200
    document = orjson.loads(answer.body)
    errors = {each["name"]: each.get("error", "") for each in document["components"]}
    assert document["status"] == ("unhealthy" if any(errors.values()) else "healthy")
    return errors
