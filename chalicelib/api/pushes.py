"""The handlers of the endpoints that change something: uploads, manifests pushed and deleted, blobs released.

Invariants: those of `registry`, whose table names them, and
* Locations are paths on this host: some clients refuse an upload on any other.
* The index and the audit log are told after the commit in S3, and fail nothing.

Specification: OCI Distribution 1.1, end-4 to end-7, end-9 to end-11, end-13 and end-14.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial

from chalicelib.api import auth, guard
from chalicelib.api.endpoints import Call
from chalicelib.api.http import Request, Response
from chalicelib.api.registry import reference_of
from chalicelib.changes import charging, fixed, indexing, replicating
from chalicelib.changes.charging import Account
from chalicelib.oci import manifests as oci_manifests
from chalicelib.oci import uploads as oci_uploads
from chalicelib.oci.digests import CANONICAL, Digest, supported_algorithm
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.manifests import Manifest
from chalicelib.oci.names import Repository, Tag, parse_reference
from chalicelib.oci.uploads import Event
from chalicelib.policy.grants import Action
from chalicelib.policy.webhook_payloads import Happened
from chalicelib.policy.webhooks import EventType
from chalicelib.store import blobs, cascade, manifests, sessions, uploads
from chalicelib.store.cascade import Manner
from chalicelib.store.sessions import Session
from chalicelib.store.uploads import Chunk

MAX_TAGS = 50
# S3's smallest part: chunks of this size become parts one to one.
CHUNK_MIN_LENGTH = str(oci_uploads.MIN_PART)


def delete_blob(call: Call) -> Response:
    """Let the repository hold the blob no longer (end-10)."""
    digest = Digest.parse(call.argument)
    fixed.check_blob_may_go(call.services.index, call.project, call.repository, digest)
    blobs.release(call.services.content, call.repository, digest)
    indexing.released(call.services, call.project.id, call.repository, digest)
    return Response(202)


def put_manifest(call: Call) -> Response:
    """Store a manifest and move the tags that are to name it (end-7)."""
    call.repository.check_host(call.request.host)
    reference = parse_reference(call.argument)
    manifest = oci_manifests.parse(_read_manifest(call.request), call.request.headers.get("content-type", ""))
    digest = reference if isinstance(reference, Digest) else Digest.of(manifest.content)
    if not digest.matches(manifest.content):
        raise RegistryError(ErrorCode.DIGEST_INVALID, f"the manifest received is not {digest}")
    extra = _extra_tags(call.request) if isinstance(reference, Digest) else ()
    tags = (reference,) if isinstance(reference, Tag) else extra

    def told(restored: Sequence[tuple[Digest, Manifest]]) -> None:
        indexing.restored(call.services, call.project.id, call.repository, restored)
        events = [_happened(call, EventType.PUSHED, digest, tag) for tag in tags or (None,)]
        with indexing.notified(call.services, call.project, events), _audited(call, "create", reference):
            indexing.pushed(call.services, call.project.id, call.repository, manifest, digest, tags)
        replicating.pushed(call.services, call.grant.principal.name, call.repository, manifest, digest, tags)

    charged = charging.account(call.services, call.project, call.repository, call.grant.principal.name)
    charging.put_manifest(charged, call.repository, manifest, digest, tags, told)
    headers = {
        "Location": f"/v2/{call.repository}/manifests/{digest}",
        "Docker-Content-Digest": str(digest),
    }
    if manifest.subject:
        headers["OCI-Subject"] = str(manifest.subject.digest)
    if extra:
        headers["OCI-Tag"] = ", ".join(tag.name for tag in extra)
    return Response(201, headers)


def _read_manifest(request: Request) -> bytes:
    limit = oci_manifests.MAX_MANIFEST
    content = request.read(limit)
    if content is None:
        raise RegistryError(ErrorCode.MANIFEST_INVALID, f"a manifest has at most {limit} bytes", status=413)
    return content


def _extra_tags(request: Request) -> tuple[Tag, ...]:
    names = request.query.get("tag", ())
    if len(names) > MAX_TAGS:
        raise RegistryError(ErrorCode.UNSUPPORTED, f"at most {MAX_TAGS} tags can be pushed at once", status=414)
    return tuple(dict.fromkeys(map(Tag.parse, names)))


def delete_manifest(call: Call) -> Response:
    """Delete a tag, or a manifest with all that belongs to it (end-9)."""
    services, repository, reference = call.services, call.repository, reference_of(call)
    tell, name = partial(indexing.deleted, services, call.project.id, repository), call.grant.principal.name
    going = replicating.going(services, call.project.id, repository, reference)
    if isinstance(reference, Tag):
        fixed.check_may_go(call.project, repository, reference)
        manifests.delete_tag(services.content, repository, reference)
        with _audited(call, "delete", reference):
            tell(reference)
    else:
        tag = indexing.last_tag(services, call.project, repository, reference)
        manner = Manner(tell, fixed.test(call.project, repository))
        cascade.delete(services.content, services.index, call.project.id, repository, reference, manner)
        with indexing.notified(services, call.project, [_happened(call, EventType.DELETED, reference, tag)]):
            indexing.artifact_audited(services, name, "delete", call.project.id, repository, reference)
    replicating.deleted(services, name, repository, going, whole=not isinstance(reference, Tag))
    return Response(202)


def _happened(call: Call, kind: EventType, digest: Digest, tag: Tag | None = None) -> Happened:
    """Return what webhooks are told of an artifact."""
    return Happened(
        type=kind,
        moment=int(call.services.now().timestamp()),
        operator=call.grant.principal.name,
        repository=call.repository.name,
        reference=tag.name if tag else str(digest),
        digest=str(digest),
        host=call.request.host,
    )


def _audited(call: Call, operation: str, reference: Tag | Digest) -> AbstractContextManager[None]:
    """Write into the audit log beside what is done meanwhile: an entry takes no time of its own."""
    name, project_id = call.grant.principal.name, call.project.id
    return call.services.content.meanwhile(
        partial(indexing.artifact_audited, call.services, name, operation, project_id, call.repository, reference)
    )


def post_upload(call: Call) -> Response:
    """Mount a blob, take one whole, or begin an upload (end-4, end-11)."""
    call.repository.check_host(call.request.host)
    mounted = call.request.parameter("mount")
    charged = charging.account(call.services, call.project, call.repository, call.grant.principal.name)
    if mounted and _mount(call, charged, Digest.parse(mounted)):
        return _created(call.repository, Digest.parse(mounted))
    wanted = call.request.parameter("digest")
    algorithm = call.request.parameter("digest-algorithm") or CANONICAL
    if wanted:
        digest = Digest.parse(wanted)
        ticket = auth.new_ticket(call.services, call.repository, digest.algorithm)
        return _finish(call, charged, Session(ticket.id), digest)
    charging.check_not_full(charged)
    algorithm = supported_algorithm(algorithm)
    ticket = auth.new_ticket(call.services, call.repository, algorithm, bounded=charged.bounded)
    return _progress(call, ticket, 0, 202, {"OCI-Chunk-Min-Length": CHUNK_MIN_LENGTH})


def _mount(call: Call, charged: Account, digest: Digest) -> bool:
    """Tell whether the blob could be mounted from where the caller may pull: if not, the client uploads it."""
    admit = partial(charging.blob, charged, call.repository, digest)
    text = call.request.parameter("from")
    if not text:
        anywhere = call.grant.principal.administrator
        return anywhere and blobs.mount(call.services.content, call.repository, digest, None, admit)
    source = Repository.parse(text)
    if not call.grant.allows(f"repository:{source}", Action.PULL) and not call.grant.principal.administrator:
        return False
    return blobs.mount(call.services.content, call.repository, digest, source, admit)


def patch_upload(call: Call) -> Response:
    """Add a chunk (end-5)."""
    guard.check_writes(call.services)
    ticket = auth.check_upload(call.services, call.request, call.repository, call.argument)
    session = sessions.load(call.services.content, ticket.id, Event.CHUNK)
    chunk = _chunk(call, ticket, session)
    if ticket.bounded:
        charged = charging.account_of(call.services, call.repository)
        chunk = replace(chunk, body=charging.measured(charged, chunk.body, session.size))
    after = uploads.append(call.services.content, call.services.hashes, session, ticket.algorithm, chunk)
    return _progress(call, auth.renewed(call.services, ticket), after.size, 202)


def put_upload(call: Call) -> Response:
    """End an upload: from here on the repository holds the blob (end-6)."""
    guard.check_writes(call.services)
    ticket = auth.check_upload(call.services, call.request, call.repository, call.argument)
    text = call.request.parameter("digest")
    if not text:
        raise RegistryError(ErrorCode.DIGEST_INVALID, "say which blob this was: add ?digest=sha256:...")
    digest = Digest.parse(text)
    session = sessions.load(call.services.content, ticket.id, Event.FINISH)
    return _finish(call, charging.account_of(call.services, call.repository), session, digest, ticket)


def _finish(
    call: Call, charged: Account, session: Session, digest: Digest, ticket: auth.UploadTicket | None = None
) -> Response:
    chunk = _chunk(call, ticket, session)
    charging.check_room(charged, digest, session.size + (chunk.stated or 0))
    wanted = uploads.Wanted(call.repository, digest, partial(charging.blob, charged, call.repository, digest))
    uploads.finish(call.services.content, call.services.hashes, session, wanted, chunk)
    return _created(call.repository, digest)


def _chunk(call: Call, ticket: auth.UploadTicket | None, session: Session) -> Chunk:
    """Return the request's body, if it continues the upload."""
    request = call.request
    where = _upload_headers(call, ticket, session.size) if ticket else {}
    stated = oci_uploads.check_chunk(session.size, request.headers.get("content-range", ""), request.length, where)
    return Chunk(request.body, stated)


def get_upload(call: Call) -> Response:
    """Say how much an upload has received (end-13)."""
    ticket = auth.check_upload(call.services, call.request, call.repository, call.argument)
    session = sessions.load(call.services.content, ticket.id, Event.STATUS)
    return _progress(call, ticket, session.size, 204)


def delete_upload(call: Call) -> Response:
    """Cancel an upload (end-14)."""
    guard.check_writes(call.services)
    ticket = auth.check_upload(call.services, call.request, call.repository, call.argument)
    sessions.cancel(call.services.content, sessions.load(call.services.content, ticket.id, Event.CANCEL))
    return Response(204)


def _progress(
    call: Call, ticket: auth.UploadTicket, size: int, status: int, extra: dict[str, str] | None = None
) -> Response:
    return Response(status, {**_upload_headers(call, ticket, size), **(extra or {})})


def _upload_headers(call: Call, ticket: auth.UploadTicket, size: int) -> dict[str, str]:
    return {
        "Location": auth.upload_location(call.services, ticket),
        "Range": oci_uploads.received_range(size),
        "Docker-Upload-UUID": ticket.id,
    }


def _created(repository: Repository, digest: Digest) -> Response:
    headers = {"Location": f"/v2/{repository}/blobs/{digest}", "Docker-Content-Digest": str(digest)}
    return Response(201, headers)
