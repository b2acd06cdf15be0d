"""What a tag named before, and the way back: ours, beside what Harbor has.

Invariant: whoever may look at tags sees their history; going back is a push, and needs the right to push.
"""

from datetime import datetime
from functools import partial
from typing import Any

from chalicelib.api import charging, indexing
from chalicelib.api.harbor import listing, repositories
from chalicelib.api.harbor.calls import HarborCall, HarborEndpoint, answer, in_project, typed
from chalicelib.api.harbor.errors import HarborCode, HarborError, not_found
from chalicelib.api.http import Response
from chalicelib.oci import manifests as oci
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.names import Tag
from chalicelib.store import history, manifests
from chalicelib.store.history import TagState


def list_states(call: HarborCall) -> Response:
    """List what a tag named, the newest first, as far back as the bucket keeps versions."""
    wanted, repository = listing.parse(call.request), repositories.named(call)
    try:
        states = history.history(call.services.content, repository, _tag(call), _since(call))
    except RegistryError as error:
        raise _plain(error) from error
    chosen, total = listing.select(wanted, [_shown(state) for state in states])
    return listing.answered(call, wanted, chosen, total)


def _since(call: HarborCall) -> datetime:
    """Return when the project was made: what an earlier one of its name had is nobody's."""
    return datetime.fromisoformat(call.project.created)


def _tag(call: HarborCall) -> Tag:
    try:
        return Tag.parse(call.parameters["tag_name"])
    except RegistryError as error:
        raise not_found("tag") from error


def _shown(state: TagState) -> dict[str, Any]:
    return {
        "digest": str(state.digest) if state.digest else "",
        "time": state.time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "size": state.size,
        "current": state.current,
        "deleted": state.deleted,
        "version": state.version,
    }


def _plain(error: RegistryError) -> Exception:
    unknown = error.code is ErrorCode.MANIFEST_UNKNOWN
    return HarborError(HarborCode.NOT_FOUND, error.message) if unknown else error


def undo(call: HarborCall) -> Response:
    """Let a tag name again what it named before, or in the state of `version`."""
    repository, tag, content = repositories.named(call), _tag(call), call.services.content
    version = typed(call.body(), "version", str, "")
    put = partial(charging.put_manifest, charging.account(call.services, call.project))
    try:
        digest = history.undo(content, repository, tag, version, _since(call), put)
        stored = manifests.get(content, repository, digest)
    except RegistryError as error:
        raise _plain(error) from error
    manifest = oci.parse(stored.content, stored.media_type)
    indexing.pushed(call.services, call.project.id, repository, manifest, digest, [tag])
    call.log("tag", "update", f"{repository}:{tag}", f"back to {digest}")
    return answer({"digest": str(digest)})


_TAG = "/projects/{project_name}/repositories/{repository_name}/tags/{tag_name}"
ENDPOINTS: tuple[HarborEndpoint, ...] = (
    HarborEndpoint("GET", f"{_TAG}/history", in_project("tag", "list"), list_states),
    HarborEndpoint("POST", f"{_TAG}/undo", in_project("repository", "push"), undo),
)
