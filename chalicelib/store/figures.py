"""How much there is: numbers of each project, read from the table for whoever watches the registry.

Invariants:
* The reads are bounded, whatever was pushed: pages of projects and of their repositories up to `MOST_READS`. What
  was left out is told by number.
* The numbers are those that answers of Harbor's API show; nothing is counted here that is not counted already.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from chalicelib.store.content import Content
from chalicelib.store.directory import Directory, members, projects
from chalicelib.store.directory.projects import Project
from chalicelib.store.index import Index, repositories
from chalicelib.store.table import Slice, batches
from chalicelib.store.usage import counting

MOST_READS = 5000
_PAGE = 1000
_TOGETHER = 64


@dataclass(frozen=True, slots=True)
class ProjectFigures:
    """What a project has: `used` is what its quota counts."""

    project: Project
    members: int
    repositories: int
    artifacts: int
    pulls: int
    used: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What the projects have, and how many projects were left out."""

    projects: tuple[ProjectFigures, ...]
    left_out: int


def read(directory: Directory, index: Index, content: Content, most: int = MOST_READS) -> Figures:
    """Return the figures of the projects in the order of their names, of as many as `most` reads allow."""
    found: list[ProjectFigures] = []
    for batch in batches(_projects(directory), _TOGETHER):
        if most <= 0:
            break
        figures = content.together(partial(_figures, index), _with_members(directory, batch))
        found += figures
        most -= sum(2 + each.repositories // _PAGE for each in figures)
    return Figures(tuple(found), max(projects.count(directory) - len(found), 0))


def _projects(directory: Directory) -> Iterator[Project]:
    wanted = Slice(limit=_PAGE)
    while True:
        page = projects.page(directory, wanted)
        yield from page.entries
        if not page.more:
            return
        wanted = Slice(after=page.entries[-1].name, limit=_PAGE)


def _with_members(directory: Directory, found: Sequence[Project]) -> Iterable[tuple[Project, int]]:
    counted = members.counts(directory, [project.id for project in found])
    return [(project, counted[project.id]) for project in found]


def _figures(index: Index, counted: tuple[Project, int]) -> ProjectFigures:
    project, number = counted
    held = repositories.all_of(index, project.id)
    return ProjectFigures(
        project,
        number,
        len(held),
        sum(each.artifacts for each in held),
        sum(each.pulls for each in held),
        counting.used(index, project.id),
    )
