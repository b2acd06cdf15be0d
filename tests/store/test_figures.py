"""The figures of many projects are read in a bounded number of requests, and what is left out is told."""

from dataclasses import dataclass, field

import pytest

from chalicelib.oci.names import Repository
from chalicelib.services import Services
from chalicelib.store import figures
from chalicelib.store.directory import projects
from chalicelib.store.index import repositories
from chalicelib.store.table import Slice
from tests.api.asking import make_projects
from tests.memory import Clock, MemoryObjects, services_over

NAMES = tuple(f"p{number:03}" for number in range(150))


@dataclass
class Registry:
    services: Services = field(default_factory=lambda: services_over(MemoryObjects(Clock()), Clock()))

    def read(self, most: int = figures.MOST_READS) -> figures.Figures:
        return figures.read(self.services.directory, self.services.index, self.services.content, most)


@pytest.fixture(scope="module")
def registry() -> Registry:
    made = Registry()
    make_projects(made.services, NAMES)
    found = projects.find(made.services.directory, "p001")
    assert found is not None
    for name in ("a", "b/c"):
        repositories.ensure(made.services.index, found.id, Repository(f"p001/{name}"))
    return made


def test_every_project_is_there_in_the_order_of_names(registry: Registry) -> None:
    found = registry.read()

    assert found.left_out == 0
    assert [each.project.name for each in found.projects] == ["library", *NAMES]
    assert {each.project.name: each.repositories for each in found.projects if each.repositories} == {"p001": 2}
    assert {each.members for each in found.projects} == {1}


def test_beyond_the_bound_projects_are_left_out_and_told_by_number(registry: Registry) -> None:
    found = registry.read(most=1)

    assert 0 < len(found.projects) < len(NAMES)
    assert found.left_out == len(NAMES) + 1 - len(found.projects)


def test_pages_of_projects_follow_one_another(registry: Registry) -> None:
    first = projects.page(registry.services.directory, Slice(limit=100))

    assert first.more
    assert len(registry.read().projects) > len(first.entries)
