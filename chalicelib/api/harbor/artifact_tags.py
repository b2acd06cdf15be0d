"""Tags of an artifact: listed, made and deleted.

Invariant: a tag that exists is not moved here. Two who make one tag at once leave it with one of the two artifacts.
"""

from functools import partial

from chalicelib.api.harbor import caches, listing
from chalicelib.api.harbor.artifact_views import flag, located, tag_shower
from chalicelib.api.harbor.belongings import translated_missing
from chalicelib.api.harbor.calls import HarborCall, created, done, typed
from chalicelib.api.harbor.errors import bad_request, conflict, not_found
from chalicelib.api.http import Response
from chalicelib.changes import fixed, indexing, replicating
from chalicelib.oci import manifests as oci
from chalicelib.oci.errors import RegistryError
from chalicelib.oci.names import Tag
from chalicelib.store import layout, manifests
from chalicelib.store.index import artifacts, settle


def list_tags(call: HarborCall) -> Response:
    """List the tags of an artifact, in the order of their names."""
    wanted, found = listing.parse(call.request), located(call)
    index, home, artifact = call.services.index, found.home, found.artifact
    show = tag_shower(call, found, with_status=flag(call, "with_immutable_status"))
    if wanted.natural:
        page = artifacts.tags(index, home, artifact.digest, wanted.slice)
        return listing.answered(call, wanted, list(map(show, page.entries)), artifact.tags)
    every = artifacts.tags(index, home, artifact.digest).entries
    chosen, total = listing.select(wanted, list(map(show, every)))
    return listing.answered(call, wanted, chosen, total)


def create_tag(call: HarborCall) -> Response:
    """Let a new tag name an artifact."""
    caches.check_is_none(call.project)
    found, content = located(call), call.services.content
    repository = found.home.repository
    try:
        tag = Tag.parse(typed(call.body(), "name", str, ""))
    except RegistryError as error:
        raise bad_request(error.message) from error
    if content.objects.head(layout.tag(repository, tag)):
        raise conflict(f"the tag {tag} exists already")
    try:
        stored = manifests.get(content, repository, found.digest)
    except RegistryError as error:
        raise translated_missing(error, repository, found.digest) from error
    manifest, once = oci.parse(stored.content, stored.media_type), fixed.among(call.project, repository, [tag])
    restored = partial(indexing.restored, call.services, call.project.id, repository)
    manifests.put(content, repository, manifest, found.digest, [tag], restored, fixed=once)
    indexing.retagged(call.services, call.project.id, repository, tag, found.digest)
    call.log("tag", "create", f"{repository}:{tag}")
    replicating.tagged(call.services, call.principal.name, repository, found.digest, [tag])
    return created(call, tag.name)


def delete_tag(call: HarborCall) -> Response:
    """Delete a tag that names the artifact, and nothing else."""
    found = located(call)
    repository, missing = found.home.repository, not_found(f"tag {call.parameters['tag_name'][:200]} of the artifact")
    try:
        tag = Tag.parse(call.parameters["tag_name"])
    except RegistryError as error:
        raise missing from error
    if settle.named(call.services.index, repository, tag) != found.artifact.digest:
        raise missing
    fixed.check_may_go(call.project, repository, tag)
    going = replicating.going(call.services, call.project.id, repository, tag)
    manifests.delete_tag(call.services.content, repository, tag)
    indexing.deleted(call.services, call.project.id, repository, tag)
    call.log("tag", "delete", f"{repository}:{tag}")
    replicating.deleted(call.services, call.principal.name, repository, going, whole=False)
    return done()
