"""Labels as filters: what carries all of the labels that are asked for, against an obvious model."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.api.artifacts import Registry
from tests.api.test_audit import counting

APP = "/projects/library/repositories/app/artifacts"
IMAGES, LABELS = range(3), range(3)

deeds = st.tuples(
    st.sampled_from(["carry", "take off", "delete label", "delete image", "push"]),
    st.sampled_from(IMAGES),
    st.sampled_from(LABELS),
)


class World:
    """A registry with a repository of some images and labels, of the system and of the project; and the model."""

    def __init__(self) -> None:
        self.registry = Registry()
        self.project = self.registry.get("/projects/library")["project_id"]
        self.images: dict[int, str] = {}
        self.order: list[int] = []
        self.labels = {number: self._label(number) for number in LABELS}
        self.ids = dict(self.labels)
        self.carried: dict[int, set[int]] = {}
        for number in IMAGES:
            self.push(number)

    def _label(self, number: int) -> int:
        scope = {"scope": "p", "project_id": self.project} if number % 2 else {"scope": "g"}
        answer = self.registry.api("POST", "/labels", {"name": f"label {number}", **scope})
        return int(answer.headers["Location"].rpartition("/")[2])

    def push(self, number: int) -> None:
        self.registry.client.clock.advance(timedelta(seconds=1))
        digest = self.registry.image("library/app", f"v{number}", f"{number}")
        if number not in self.images:
            self.order.insert(0, number)
            self.carried[number] = set()
        self.images[number] = digest

    def do(self, deed: str, image: int, label: int) -> None:
        path = f"{APP}/v{image}"
        if deed == "push":
            self.push(image)
        elif deed == "delete image":
            self.registry.api("DELETE", path)
            if image in self.images:
                self.order.remove(image)
                del self.images[image]
        elif deed == "delete label":
            self.registry.api("DELETE", f"/labels/{self.ids[label]}")
            self.labels.pop(label, None)
        elif deed == "carry":
            answer = self.registry.api("POST", f"{path}/labels", {"id": self.ids[label]})
            if answer.status == 200:
                self.carried[image].add(label)
        else:
            self.registry.api("DELETE", f"{path}/labels/{self.ids[label]}")
            self.carried.get(image, set()).discard(label)

    def expected(self, wanted: set[int]) -> list[str]:
        if not wanted <= set(self.labels):
            return []
        return [self.images[image] for image in self.order if wanted <= self.carried[image]]

    def listed(self, wanted: set[int], path: str = APP, more: str = "") -> list[str]:
        condition = " ".join(str(self.ids[number]) for number in sorted(wanted))
        found: list[Mapping[str, Any]] = self.registry.get(f"{path}?q={quote(f'labels=({condition}){more}')}")
        return [artifact["digest"] for artifact in found]


@settings(deadline=None, max_examples=25)
@example([("carry", 0, 0), ("delete image", 0, 0), ("push", 0, 0)])
@example([("carry", 0, 1), ("delete label", 0, 1)])
@given(st.lists(deeds, max_size=12))
def test_a_list_by_labels_is_what_carries_them_all(done: list[tuple[str, int, int]]) -> None:
    world = World()
    for deed in done:
        world.do(*deed)

    for wanted in ({0}, {1}, {2}, {0, 1}, {0, 1, 2}):
        assert world.listed(wanted) == world.expected(wanted), wanted
    assert world.listed({0}, "/projects/library/artifacts") == world.expected({0})


def test_labels_go_with_other_conditions_and_orders() -> None:
    world = World()
    for image in (0, 1, 2):
        world.do("carry", image, 0)

    assert world.listed({0}, more=",tags=v1") == [world.images[1]]
    assert world.listed({0}, more=",push_time=[2026-03-01T12:00:02Z~]") == [world.images[2], world.images[1]]
    page = world.registry.api("GET", f"{APP}?page=2&page_size=2&q={quote(f'labels=({world.ids[0]})')}")
    assert page.headers["X-Total-Count"] == "3"


@pytest.mark.parametrize(
    "condition", ["labels=1", "labels=(a)", "labels=()", "labels={1 2}", "labels=~1", "labels=*"]
)
def test_a_condition_on_labels_that_harbor_refuses_is_refused(condition: str) -> None:
    registry = Registry()
    registry.image("library/app", "v1", "one")

    answer = registry.api("GET", f"{APP}?q={quote(condition)}")

    assert answer.status == 400
    assert b"labels=(1 2)" in answer.body


def test_a_list_by_labels_reads_what_carries_them_and_not_the_repository() -> None:
    world = World()
    world.do("carry", 1, 0)
    asked = []
    for more in range(2):
        for number in range(more * 150):
            world.registry.image("library/app", f"more{number}", f"more {number}")
        world.listed({0})
        services = world.registry.client.services
        world.registry.client.services, table = counting(services)
        assert world.listed({0}) == [world.images[1]]
        asked.append((table.calls, table.brought))
        world.registry.client.services = services

    assert asked[0] == asked[1]
