"""Artifacts: shown, deleted, copied, labelled, and what belongs to them.

Invariants:
* S3 changes first, the index is told afterwards; what an answer said is in both.
* Who copies needs the right to pull where the artifact comes from.
"""

import re
from functools import partial

from chalicelib.api import identity
from chalicelib.api.harbor import belongings, caches, listing, repositories
from chalicelib.api.harbor.additions import get_addition
from chalicelib.api.harbor.artifact_lists import list_artifacts, list_of_project
from chalicelib.api.harbor.artifact_tags import create_tag, delete_tag, list_tags
from chalicelib.api.harbor.artifact_views import Located, Options, accessories, find, located, shown
from chalicelib.api.harbor.calls import HarborCall, HarborEndpoint, answer, created, done, in_project, typed
from chalicelib.api.harbor.errors import HarborCode, HarborError, bad_request, conflict, not_found
from chalicelib.api.http import Response
from chalicelib.changes import fixed, indexing, replicating
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import RegistryError
from chalicelib.oci.names import Repository, Tag
from chalicelib.policy import access
from chalicelib.policy.grants import Action
from chalicelib.policy.webhook_payloads import Happened
from chalicelib.policy.webhooks import EventType
from chalicelib.store import cascade
from chalicelib.store.cascade import Manner
from chalicelib.store.directory import labels as known_labels
from chalicelib.store.directory import projects
from chalicelib.store.directory.projects import Project
from chalicelib.store.index import labels

# <project>/<repository>:<tag> or <project>/<repository>@<digest>
_SOURCE = re.compile(r"(?P<name>[^:@]+)(?:@(?P<digest>[^@]+)|:(?P<tag>[^:@]+))")


def get_artifact(call: HarborCall) -> Response:
    """Show an artifact."""
    options = Options.parse(call)
    return answer(shown(call, [located(call)], options)[0])


def delete_artifact(call: HarborCall) -> Response:
    """Delete an artifact with its tags, its accessories, and children that nothing else needs."""
    found = located(call)
    home, services = found.home, call.services
    tell = partial(indexing.deleted, services, home.project_id, home.repository)
    held = fixed.test(call.project, home.repository)
    manner = Manner(tell, held)
    going = replicating.going(services, home.project_id, home.repository, found.digest)
    tag = indexing.last_tag(services, call.project, home.repository, found.digest)
    cascade.delete(services.content, services.index, home.project_id, home.repository, found.digest, manner)
    with indexing.notified(
        services, call.project, [_happened(call, EventType.DELETED, home.repository, found.digest, tag)]
    ):
        call.log("artifact", "delete", _resource(found))
    replicating.deleted(services, call.principal.name, home.repository, going, whole=True)
    return done()


def _happened(
    call: HarborCall, kind: EventType, repository: Repository, digest: Digest, tag: Tag | None = None
) -> Happened:
    """Return what webhooks are told of an artifact."""
    return Happened(
        type=kind,
        moment=int(call.services.now().timestamp()),
        operator=call.principal.name,
        repository=repository.name,
        reference=tag.name if tag else str(digest),
        digest=str(digest),
        host=call.request.host,
    )


def _resource(found: Located) -> str:
    return f"{found.home.repository}@{found.artifact.digest}"


def copy_artifact(call: HarborCall) -> Response:
    """Copy an artifact from another repository, with its tags, accessories and children."""
    caches.check_is_none(call.project)
    target = repositories.named(call)
    match = _SOURCE.fullmatch(call.request.parameter("from"))
    if match is None:
        raise bad_request("from must be <project>/<repository>:<tag> or <project>/<repository>@<digest>")
    source = _source(call, match["name"], match["tag"] or match["digest"])
    tags = belongings.copy(call.services, source, call.project, target)
    events = [_happened(call, EventType.PUSHED, target, source.digest, tag) for tag in tags or (None,)]
    with indexing.notified(call.services, call.project, events):
        call.log("artifact", "create", f"{target}@{source.artifact.digest}")
    replicating.tagged(call.services, call.principal.name, target, source.digest, tags)
    return created(call, source.artifact.digest)


def _source(call: HarborCall, name: str, reference: str) -> Located:
    try:
        repository = Repository.parse(name)
    except RegistryError as error:
        raise bad_request(error.message) from error
    project = projects.find(call.services.directory, name.partition("/")[0])
    if project is None or not _may_pull(call, project):
        raise HarborError(HarborCode.FORBIDDEN, f"you may not pull from {repository}, or it does not exist")
    return find(call, repository, reference, project.id)


def _may_pull(call: HarborCall, project: Project) -> bool:
    return Action.PULL in access.actions(identity.permissions(call.services, call.principal, project))


def list_accessories(call: HarborCall) -> Response:
    """List what belongs to an artifact: signatures, SBOMs and the like."""
    wanted = listing.parse(call.request)
    chosen, total = listing.select(wanted, accessories(call, located(call)))
    return listing.answered(call, wanted, chosen, total)


def add_label(call: HarborCall) -> Response:
    """Let an artifact carry a label of the system or of its project."""
    found = located(call)
    number = typed(call.body(), "id", int, 0)
    label = known_labels.by_id(call.services.directory, number)
    if label is None or label.project_id not in (0, call.project.id):
        raise not_found(f"label {number}")
    audited = call.auditing("artifact-label", "create", _resource(found), label.name)
    try:
        added = labels.add(audited.index, found.home, found.artifact.digest, number)
    except LookupError as error:
        raise not_found(f"artifact {found.artifact.digest}") from error
    if not added:
        raise conflict(f"the artifact carries the label {label.name} already")
    return done()


def remove_label(call: HarborCall) -> Response:
    """Take a label off an artifact."""
    found, number = located(call), call.number("label_id")
    audited = call.auditing("artifact-label", "delete", _resource(found), f"label {number}")
    try:
        removed = labels.remove(audited.index, found.home, found.artifact.digest, number)
    except LookupError as error:
        raise not_found(f"artifact {found.artifact.digest}") from error
    if not removed:
        raise not_found(f"label {number} on the artifact")
    return done()


_ALL = "/projects/{project_name}/repositories/{repository_name}/artifacts"
_ONE = f"{_ALL}/{{reference}}"
_OF_PROJECT = "/projects/{project_name_or_id}/artifacts"
# fmt: off
ENDPOINTS: tuple[HarborEndpoint, ...] = (
    HarborEndpoint("GET",    _OF_PROJECT,                 in_project("artifact", "list"),         list_of_project),
    HarborEndpoint("GET",    _ALL,                        in_project("artifact", "list"),         list_artifacts),
    HarborEndpoint("POST",   _ALL,                        in_project("artifact", "create"),       copy_artifact),
    HarborEndpoint("GET",    _ONE,                        in_project("artifact", "read"),         get_artifact),
    HarborEndpoint("DELETE", _ONE,                        in_project("artifact", "delete"),       delete_artifact),
    HarborEndpoint("GET",    f"{_ONE}/tags",              in_project("tag", "list"),              list_tags),
    HarborEndpoint("POST",   f"{_ONE}/tags",              in_project("tag", "create"),            create_tag),
    HarborEndpoint("DELETE", f"{_ONE}/tags/{{tag_name}}", in_project("tag", "delete"),            delete_tag),
    HarborEndpoint("GET",    f"{_ONE}/accessories",       in_project("accessory", "list"),        list_accessories),
    HarborEndpoint("GET",    f"{_ONE}/additions/{{addition}}", in_project("artifact-addition", "read"), get_addition),
    HarborEndpoint("POST",   f"{_ONE}/labels",            in_project("artifact-label", "create"), add_label),
    HarborEndpoint("DELETE", f"{_ONE}/labels/{{label_id}}",    in_project("artifact-label", "delete"), remove_label),
)
# fmt: on
