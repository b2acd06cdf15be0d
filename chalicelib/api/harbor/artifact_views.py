"""Artifacts as Harbor writes them, with what a request wants shown beside: tags, labels, accessories.

Invariant: a page of artifacts is shown in a number of requests that grows with the page alone, side by side.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote

from chalicelib.api.harbor import repositories
from chalicelib.api.harbor.calls import PREFIX, HarborCall
from chalicelib.api.harbor.errors import HarborError, bad_request, not_found
from chalicelib.api.harbor.labels import shown_label
from chalicelib.changes import fixed
from chalicelib.oci import manifests as oci
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.names import Repository, Tag, parse_reference
from chalicelib.store import manifests
from chalicelib.store.directory import labels
from chalicelib.store.index import artifacts, attributes, events, kinds
from chalicelib.store.index import repositories as records
from chalicelib.store.index.artifacts import Accessory, Artifact, TagRecord
from chalicelib.store.index.repositories import RepositoryRecord

NEVER = "0001-01-01T00:00:00.000Z"
_INDEXES = frozenset({oci.OCI_INDEX, oci.DOCKER_LIST})
_SIGNATURES = frozenset({kinds.COSIGN, kinds.NOTATION})
ADDITIONS: Mapping[str, tuple[str, ...]] = {
    kinds.IMAGE: ("build_history",),
    kinds.CHART: ("values.yaml", "readme.md", "dependencies"),
}


@dataclass(frozen=True, slots=True)
class Options:
    """What is wanted beside an artifact's own fields."""

    tags: bool
    labels: bool
    accessories: bool
    inherited: bool
    immutable: bool

    @classmethod
    def parse(cls, call: HarborCall) -> "Options":
        """Return what a request wants; raise BAD_REQUEST."""
        return cls(
            tags=flag(call, "with_tag", default=True),
            labels=flag(call, "with_label"),
            accessories=flag(call, "with_accessory"),
            inherited=flag(call, "with_inherited_accessory"),
            immutable=flag(call, "with_immutable_status"),
        )


def flag(call: HarborCall, name: str, *, default: bool = False) -> bool:
    """Return a parameter that is true or false; raise BAD_REQUEST."""
    text = call.request.parameter(name).lower()
    if text not in ("", "true", "false", "1", "0"):
        raise bad_request(f"{name} must be true or false")
    return default if not text else text in ("true", "1")


@dataclass(frozen=True, slots=True)
class Located:
    """An artifact and the repository that has it."""

    home: RepositoryRecord
    artifact: Artifact

    @property
    def digest(self) -> Digest:
        """Return the digest of its manifest."""
        return Digest.parse(self.artifact.digest)

    @property
    def is_index(self) -> bool:
        """Tell whether it is made of other manifests."""
        return self.artifact.document["manifest_media_type"] in _INDEXES


def located(call: HarborCall) -> Located:
    """Return the artifact that the path names; raise NOT_FOUND. What the index missed is taken in."""
    return find(call, repositories.named(call), call.parameters["reference"], call.project.id)


def find(call: HarborCall, repository: Repository, reference: str, project_id: int) -> Located:
    """Return an artifact by tag or digest; raise NOT_FOUND."""
    missing = not_found(f"artifact {repository}:{reference[:200]}")
    try:
        parsed = parse_reference(reference)
    except RegistryError as error:
        raise missing from error
    index = call.services.index
    found = _look(call, repository, parsed, project_id)
    if found is None:
        digest = _in_s3(call, repository, parsed, missing)
        events.found(index, project_id, repository, digest)
        if isinstance(parsed, Tag):
            events.retagged(index, project_id, repository, {parsed.name: str(digest)})
        found = _look(call, repository, parsed, project_id)
    if found is None:
        raise missing
    return found


def _look(call: HarborCall, repository: Repository, reference: Tag | Digest, project_id: int) -> Located | None:
    index = call.services.index
    home = records.find(index, project_id, repository)
    if home is None:
        return None
    tag = artifacts.find_tag(index, home, reference.name) if isinstance(reference, Tag) else None
    digest = tag.digest if tag else str(reference) if isinstance(reference, Digest) else ""
    found = artifacts.find(index, home, digest) if digest else None
    return Located(home, found) if found else None


def _in_s3(call: HarborCall, repository: Repository, reference: Tag | Digest, missing: HarborError) -> Digest:
    try:
        return manifests.head(call.services.content, repository, reference).digest
    except RegistryError as error:
        if error.code is ErrorCode.MANIFEST_UNKNOWN:
            raise missing from error
        raise


def shown(call: HarborCall, found: Sequence[Located], options: Options) -> list[dict[str, Any]]:
    """Return artifacts as Harbor writes them."""
    carried = _labels(call, found) if options.labels else {}
    return list(call.services.content.together(partial(_shown, call, options, carried), found))


def _shown(
    call: HarborCall, options: Options, carried: Mapping[int, Mapping[str, Any]], located: Located
) -> dict[str, Any]:
    home, artifact, document = located.home, located.artifact, located.artifact.document
    whole = {
        "id": artifact.id,
        "type": document["type"],
        "media_type": document["media_type"],
        "manifest_media_type": document["manifest_media_type"],
        "artifact_type": document["artifact_type"],
        "project_id": home.project_id,
        "repository_id": home.id,
        "repository_name": home.repository.name,
        "digest": artifact.digest,
        "size": document["size"],
        "icon": "",
        "push_time": artifact.pushed,
        "pull_time": artifact.pulled or NEVER,
        "extra_attrs": attributes.of(call.services.index, home, artifact),
        "annotations": document["annotations"] or None,
        "references": _references(call, located) or None,
        "tags": _shown_tags(call, options, located) or None if options.tags else None,
        "addition_links": _links(call, located),
        "labels": [carried[number] for number in artifact.labels if number in carried] or None,
        "accessories": accessories(call, located) or None if options.accessories else None,
        "inherited_accessories": _inherited(call, located) if options.inherited else None,
    }
    return {name: value for name, value in whole.items() if value is not None}


def _shown_tags(call: HarborCall, options: Options, located: Located) -> list[dict[str, Any]]:
    if not located.artifact.tags:
        return []
    show = tag_shower(call, located, with_status=options.immutable)
    return list(map(show, artifacts.tags(call.services.index, located.home, located.artifact.digest).entries))


def tag_shower(call: HarborCall, located: Located, *, with_status: bool) -> Callable[[TagRecord], dict[str, Any]]:
    """Return what shows tags of an artifact as Harbor writes them: immutable ones as such, if that is wanted."""
    is_fixed = fixed.test(call.project, located.home.repository) if with_status else None
    return lambda tag: _shown_tag(located, tag, immutable=is_fixed is not None and is_fixed(Tag(tag.name)))


def _shown_tag(located: Located, tag: TagRecord, *, immutable: bool) -> dict[str, Any]:
    home, artifact = located.home, located.artifact
    return {
        "id": tag.id,
        "repository_id": home.id,
        "artifact_id": artifact.id,
        "name": tag.name,
        "push_time": tag.pushed,
        "pull_time": tag.pulled or NEVER,
        "immutable": immutable,
    }


def _references(call: HarborCall, located: Located) -> list[dict[str, Any]]:
    if not located.artifact.document["children"]:
        return []
    index, home = call.services.index, located.home
    children = artifacts.children(index, home, located.artifact.digest)
    known = artifacts.find_many(index, home, [child["digest"] for child in children])
    return [_reference(located.artifact, child, known.get(child["digest"])) for child in children]


def _reference(parent: Artifact, child: Mapping[str, Any], known: Artifact | None) -> dict[str, Any]:
    whole = {
        "parent_id": parent.id,
        "child_id": known.id if known else None,
        "child_digest": child["digest"],
        "platform": _platform(child["platform"]),
        "annotations": child["annotations"],
        "urls": child["urls"],
    }
    return {name: value for name, value in whole.items() if value}


def _platform(platform: Mapping[str, Any]) -> dict[str, Any]:
    """Return a platform in Harbor's spelling, whose names have quotes in them where they have a dot."""
    return {f"'{name}'" if "." in name else name: value for name, value in platform.items()}


def accessories(call: HarborCall, located: Located) -> list[dict[str, Any]]:
    """Return everything that belongs to an artifact, as Harbor writes it."""
    page = artifacts.accessories(call.services.index, located.home, located.artifact.digest)
    return _shown_accessories(call, located.home, located.artifact, page.entries)


def _shown_accessories(
    call: HarborCall, home: RepositoryRecord, subject: Artifact, found: Iterable[Accessory]
) -> list[dict[str, Any]]:
    entries = tuple(found)
    known = artifacts.find_many(call.services.index, home, [entry.digest for entry in entries]) if entries else {}
    return [
        {
            "id": entry.id,
            "artifact_id": known[entry.digest].id if entry.digest in known else 0,
            "subject_artifact_id": subject.id,
            "subject_artifact_digest": entry.subject,
            "subject_artifact_repo": home.repository.name,
            "size": entry.size,
            "digest": entry.digest,
            "type": entry.type,
            "icon": "",
            "creation_time": entry.created,
        }
        for entry in entries
    ]


def _inherited(call: HarborCall, located: Located) -> list[dict[str, Any]]:
    """Return the signatures of the indexes that an artifact is part of."""
    index, home = call.services.index, located.home
    parents = artifacts.find_many(index, home, artifacts.parents(index, home, located.artifact.digest))
    return [
        accessory
        for parent in parents.values()
        for accessory in accessories(call, Located(home, parent))
        if accessory["type"] in _SIGNATURES
    ]


def _links(call: HarborCall, located: Located) -> dict[str, Any] | None:
    names = () if located.is_index else ADDITIONS.get(located.artifact.document["type"], ())
    where = artifact_path(call.project.name, located)
    return {name: {"href": f"{where}/additions/{name}", "absolute": False} for name in names} or None


def artifact_path(project: str, located: Located) -> str:
    """Return the path of an artifact; a name with slashes is encoded twice, as Harbor's clients do it."""
    rest = located.home.repository.name.removeprefix(f"{project}/")
    name = quote(quote(rest, safe=""), safe="") if "/" in rest else rest
    return f"{PREFIX}/projects/{project}/repositories/{name}/artifacts/{located.artifact.digest}"


def _labels(call: HarborCall, found: Iterable[Located]) -> dict[int, Mapping[str, Any]]:
    numbers = sorted({number for located in found for number in located.artifact.labels})
    known = call.services.content.together(partial(labels.by_id, call.services.directory), numbers)
    return {label.id: shown_label(label) for label in known if label}
