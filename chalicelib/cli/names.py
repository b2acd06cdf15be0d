"""Arguments of commands: names that the API will take, checked before anything is sent.

Invariant: a value that exists cannot change the path of a request: no dots alone, no slashes where none belong.
"""

import re
from dataclasses import dataclass
from typing import Any

import click

from chalicelib.cli import text
from chalicelib.oci.errors import RegistryError
from chalicelib.oci.names import Repository, Tag, parse_reference

_PROJECT = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Target:
    """A repository of a project, and what of it is meant: a tag, a digest or nothing."""

    project: str
    repository: str
    reference: str = ""

    @property
    def name(self) -> str:
        """Return the repository's full name."""
        return f"{self.project}/{self.repository}"

    @property
    def is_digest(self) -> bool:
        """Tell whether the reference is a digest."""
        return ":" in self.reference

    def __str__(self) -> str:
        mark = "@" if self.is_digest else ":"
        return f"{self.name}{mark}{self.reference}" if self.reference else self.name


def parse_target(value: str) -> Target:
    """Return what `project/name[:tag|@digest]` means; raise ValueError with a sentence."""
    name, at, reference = value.partition("@")
    if not at:
        colon = name.find(":", name.rfind("/") + 1)
        name, reference = (name[:colon], name[colon + 1 :]) if colon >= 0 else (name, "")
    try:
        project, _, repository = Repository.parse(name).name.partition("/")
        if reference or at or value.endswith(":"):
            parse_reference(reference)
    except RegistryError as error:
        raise ValueError(f"'{value}': {error.message}") from None
    if not repository or (at and ":" not in reference):
        raise ValueError(f"'{value}' is not of the form project/name[:tag|@digest]")
    return Target(project, repository, reference)


class ProjectName(click.ParamType[str]):
    """The name of a project."""

    name = "project"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name; fail in words."""
        if not _PROJECT.fullmatch(value):
            self.fail(f"'{value}' is no project: lower-case letters and digits, joined by . _ or -", param, ctx)
        return str(value)


class TargetName(click.ParamType[Target]):
    """A repository, with or without a reference, as the command needs it: `tag`, `reference`, `none` or `any`."""

    name = "repository"

    def __init__(self, wants: str = "any") -> None:
        self.wants = wants

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Target:
        """Return the target; fail in words."""
        try:
            target = parse_target(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        forms = {
            "tag": (bool(target.reference) and not target.is_digest, "project/name:tag"),
            "reference": (bool(target.reference), "project/name:tag or project/name@digest"),
            "none": (not target.reference, "project/name, without a tag or digest"),
            "any": (True, ""),
        }
        fits, form = forms[self.wants]
        if not fits:
            self.fail(f"'{value}': give {form}", param, ctx)
        return target


class TagName(click.ParamType[str]):
    """The name of a tag."""

    name = "tag"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name; fail in words."""
        try:
            return str(Tag.parse(value))
        except RegistryError as error:
            self.fail(f"'{value}': {error.message}", param, ctx)


class Size(click.ParamType[int]):
    """A number of bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the bytes, -1 for unlimited; fail in words."""
        try:
            return text.parse_size(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


PROJECT = ProjectName()
REPOSITORY = TargetName("none")
ARTIFACT = TargetName("reference")
TAGGED = TargetName("tag")
ANY_TARGET = TargetName("any")
TAG = TagName()
SIZE = Size()
