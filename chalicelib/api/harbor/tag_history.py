"""What a tag named before, and the way back: ours, beside what Harbor has.

Invariant: whoever may look at tags sees their history; going back is a push, and needs the right to push.
"""

from collections.abc import Iterable
from datetime import datetime
from functools import partial
from typing import Any

from chalicelib.api.harbor import listing, repositories
from chalicelib.api.harbor.calls import HarborCall, HarborEndpoint, answer, in_project, typed
from chalicelib.api.harbor.errors import HarborCode, HarborError, not_found
from chalicelib.api.http import Response
from chalicelib.changes import charging, indexing, replicating
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.manifests import Manifest
from chalicelib.oci.names import Repository, Tag
from chalicelib.store import history
from chalicelib.store.history import Reach, TagState


def list_states(call: HarborCall) -> Response:
    """List what a tag named, the newest first, as far back as one can go."""
    wanted, repository = listing.parse(call.request), repositories.named(call)
    try:
        states = history.history(call.services.content, repository, _tag(call), _reach(call))
    except RegistryError as error:
        raise _plain(error) from error
    chosen, total = listing.select(wanted, [_shown(state) for state in states])
    return listing.answered(call, wanted, chosen, total)


def _reach(call: HarborCall) -> Reach:
    """Return how far back one can go: not to what an earlier project of this name had."""
    window = call.services.settings.history_window
    return Reach(datetime.fromisoformat(call.project.created), call.services.now() - window)


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
    repository, tag = repositories.named(call), _tag(call)
    version = typed(call.body(), "version", str, "")
    try:
        digest = history.undo(call.services.content, repository, tag, version, _reach(call), partial(_put, call))
    except RegistryError as error:
        raise _plain(error) from error
    call.log("tag", "update", f"{repository}:{tag}", f"back to {digest}")
    return answer({"digest": str(digest)})


def _put(call: HarborCall, repository: Repository, manifest: Manifest, digest: Digest, tags: Iterable[Tag]) -> None:
    """Push what comes back, as a client would."""
    names = tuple(tags)
    restored = partial(indexing.restored, call.services, call.project.id, repository)
    charged = charging.account(call.services, call.project, repository, call.principal.name)
    charging.put_manifest(charged, repository, manifest, digest, names, restored)
    indexing.pushed(call.services, call.project.id, repository, manifest, digest, names)
    replicating.pushed(call.services, call.principal.name, repository, manifest, digest, names)


_TAG = "/projects/{project_name}/repositories/{repository_name}/tags/{tag_name}"
ENDPOINTS: tuple[HarborEndpoint, ...] = (
    HarborEndpoint("GET", f"{_TAG}/history", in_project("tag", "list"), list_states),
    HarborEndpoint("POST", f"{_TAG}/undo", in_project("repository", "push"), undo),
)
