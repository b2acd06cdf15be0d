"""The endpoints of the specification, end-1 to end-14, as one table and a handler each.

Invariants:
* A row says who may call it; `dispatch` has checked that, and parsed the names in the path, before the handler runs.
* Handlers raise `RegistryError` for every refusal and return only what succeeded.
* Locations are paths on this host: some clients refuse an upload on any other.

Specification: OCI Distribution 1.1 and its development version (`tag` on push by digest, `digest-algorithm`).
"""

from urllib.parse import quote, urlsplit

from chalicelib.api import auth
from chalicelib.api.endpoints import Call, Endpoint
from chalicelib.api.http import Request, Response, json_response
from chalicelib.oci import manifests as oci_manifests
from chalicelib.oci import uploads as oci_uploads
from chalicelib.oci.digests import CANONICAL, Digest, supported_algorithm
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.names import Repository, Tag, parse_reference
from chalicelib.oci.pages import PageRequest, next_link, page_link
from chalicelib.oci.uploads import Event
from chalicelib.policy.grants import Action
from chalicelib.services import DIGEST_MARK
from chalicelib.store import blobs, manifests, sessions, uploads
from chalicelib.store.objects import OCTETS
from chalicelib.store.pulls import Pulled
from chalicelib.store.sessions import Session
from chalicelib.store.uploads import Chunk

MAX_TAGS = 50
# S3's smallest part: chunks of this size become parts one to one.
CHUNK_MIN_LENGTH = str(oci_uploads.MIN_PART)


def get_root(call: Call) -> Response:
    """Say that this is a registry (end-1)."""
    auth.authenticate(call.services, call.request)
    return json_response({})


def get_blob(call: Call) -> Response:
    """Redirect to the blob's bytes (end-2)."""
    digest = Digest.parse(call.argument)
    blob = blobs.require(call.services.content, call.repository, digest)
    location = call.services.locate("GET", blob.key, digest)
    return Response(307, {"Location": location, "Docker-Content-Digest": str(digest)})


def head_blob(call: Call) -> Response:
    """Say that the repository holds the blob, and its size (end-2)."""
    digest = Digest.parse(call.argument)
    blob = blobs.require(call.services.content, call.repository, digest)
    headers = {"Docker-Content-Digest": str(digest)}
    if call.request.redirect_head:
        return Response(307, {"Location": _head_location(call, blob.key, digest), **headers})
    headers |= {"Content-Type": OCTETS, "Content-Length": str(blob.size), "Accept-Ranges": "bytes"}
    return Response(200, headers)


def _head_location(call: Call, key: str, digest: Digest) -> str:
    """Return where S3 answers a HEAD; by way of our own front its answer says the digest, as clients like it."""
    location = call.services.locate("HEAD", key, digest)
    if not call.request.fronted:
        return location
    return f"/{quote(key)}?{urlsplit(location).query}&{DIGEST_MARK}={digest}"


def delete_blob(call: Call) -> Response:
    """Let the repository hold the blob no longer (end-10)."""
    blobs.release(call.services.content, call.repository, Digest.parse(call.argument))
    return Response(202)


def get_manifest(call: Call) -> Response:
    """Return the manifest's exact bytes (end-3)."""
    stored = manifests.get(call.services.content, call.repository, _reference(call))
    headers = _manifest_headers(stored)
    if _unchanged(call.request, stored.digest):
        return Response(304, {name: headers[name] for name in ("Docker-Content-Digest", "ETag")})
    _count_pull(call, stored.digest)
    return Response(200, headers, stored.content)


def _count_pull(call: Call, digest: Digest) -> None:
    tag = "" if ":" in call.argument else call.argument
    call.services.pulls.count(Pulled(call.repository, str(digest), tag), call.services.now())


def head_manifest(call: Call) -> Response:
    """Say what manifest the reference names (end-3)."""
    stored = manifests.head(call.services.content, call.repository, _reference(call))
    headers = _manifest_headers(stored)
    if _unchanged(call.request, stored.digest):
        return Response(304, {name: headers[name] for name in ("Docker-Content-Digest", "ETag")})
    if call.request.redirect_head:
        return Response(307, {"Location": _head_location(call, stored.key, stored.digest), **headers})
    return Response(200, {**headers, "Content-Length": str(stored.size)})


def _reference(call: Call) -> Tag | Digest:
    """Return what the path refers to; a text that can name nothing is unknown, not invalid, unless it is pushed."""
    try:
        return parse_reference(call.argument)
    except RegistryError as error:
        if error.code is ErrorCode.MANIFEST_INVALID:
            raise RegistryError(ErrorCode.MANIFEST_UNKNOWN, detail=error.detail) from error
        raise


def _manifest_headers(stored: manifests.StoredManifest) -> dict[str, str]:
    return {
        "Content-Type": stored.media_type,
        "Docker-Content-Digest": str(stored.digest),
        "ETag": f'"{stored.digest}"',
    }


def _unchanged(request: Request, digest: Digest) -> bool:
    """Tell whether the client has this manifest already (RFC 9110, section 13.1.2)."""
    known = request.headers.get("if-none-match", "")
    return known == "*" or str(digest) in {tag.strip().removeprefix("W/").strip('"') for tag in known.split(",")}


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
    manifests.put(call.services.content, call.repository, manifest, digest, tags)
    from chalicelib.api import indexing  # noqa: PLC0415 - a pull has no use for it, and waits for imports

    indexing.pushed(call.services, call.project_id, call.repository, manifest, digest, tags)
    indexing.artifact_audited(
        call.services, call.grant.principal.name, "create", call.project_id, call.repository, reference
    )
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
    """Delete a tag, or a manifest with all its tags (end-9)."""
    reference = _reference(call)
    if isinstance(reference, Tag):
        manifests.delete_tag(call.services.content, call.repository, reference)
    else:
        manifests.delete(call.services.content, call.repository, reference)
    from chalicelib.api import indexing  # noqa: PLC0415 - as above

    indexing.deleted(call.services, call.project_id, call.repository, reference)
    indexing.artifact_audited(
        call.services, call.grant.principal.name, "delete", call.project_id, call.repository, reference
    )
    return Response(202)


def post_upload(call: Call) -> Response:
    """Mount a blob, take one whole, or begin an upload (end-4, end-11)."""
    call.repository.check_host(call.request.host)
    mounted = call.request.parameter("mount")
    if mounted and _mount(call, Digest.parse(mounted)):
        return _created(call.repository, Digest.parse(mounted))
    wanted = call.request.parameter("digest")
    algorithm = call.request.parameter("digest-algorithm") or CANONICAL
    if wanted:
        digest = Digest.parse(wanted)
        ticket = auth.new_ticket(call.services, call.repository, digest.algorithm)
        return _finish(call, Session(ticket.id), digest)
    ticket = auth.new_ticket(call.services, call.repository, supported_algorithm(algorithm))
    return _progress(call, ticket, 0, 202, {"OCI-Chunk-Min-Length": CHUNK_MIN_LENGTH})


def _mount(call: Call, digest: Digest) -> bool:
    """Tell whether the blob could be mounted from where the caller may pull: if not, the client uploads it."""
    text = call.request.parameter("from")
    if not text:
        anywhere = call.grant.principal.administrator
        return anywhere and blobs.mount(call.services.content, call.repository, digest, None)
    source = Repository.parse(text)
    if not call.grant.allows(f"repository:{source}", Action.PULL) and not call.grant.principal.administrator:
        return False
    return blobs.mount(call.services.content, call.repository, digest, source)


def patch_upload(call: Call) -> Response:
    """Add a chunk (end-5)."""
    ticket = auth.check_upload(call.services, call.request, call.repository, call.argument)
    session = sessions.load(call.services.content, ticket.id, Event.CHUNK)
    chunk = _chunk(call, ticket, session)
    after = uploads.append(call.services.content, call.services.hashes, session, ticket.algorithm, chunk)
    return _progress(call, auth.renewed(call.services, ticket), after.size, 202)


def put_upload(call: Call) -> Response:
    """End an upload: from here on the repository holds the blob (end-6)."""
    ticket = auth.check_upload(call.services, call.request, call.repository, call.argument)
    text = call.request.parameter("digest")
    if not text:
        raise RegistryError(ErrorCode.DIGEST_INVALID, "say which blob this was: add ?digest=sha256:...")
    digest = Digest.parse(text)
    session = sessions.load(call.services.content, ticket.id, Event.FINISH)
    return _finish(call, session, digest, ticket)


def _finish(call: Call, session: Session, digest: Digest, ticket: auth.UploadTicket | None = None) -> Response:
    chunk = _chunk(call, ticket, session)
    wanted = uploads.Wanted(call.repository, digest)
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


def get_tags(call: Call) -> Response:
    """List tags (end-8)."""
    request = PageRequest.parse(call.request.query)
    page = manifests.tags(call.services.content, call.repository, request)
    link = page_link(f"/v2/{call.repository}/tags/list", request, page)
    return json_response({"name": call.repository.name, "tags": page.entries}, headers=link)


def get_referrers(call: Call) -> Response:
    """List the manifests whose subject is this digest (end-12)."""
    subject = Digest.parse(call.argument)
    artifact_type = call.request.parameter("artifactType")
    request = PageRequest.parse(call.request.query)
    found = manifests.referrers(call.services.content, call.repository, subject, artifact_type, request.last)
    headers = {"OCI-Filters-Applied": "artifactType"} if artifact_type else {}
    if found.next:
        path = f"/v2/{call.repository}/referrers/{subject}"
        filters = {"artifactType": artifact_type} if artifact_type else {}
        headers |= next_link(path, {**filters, "last": found.next})
    index = {"schemaVersion": 2, "mediaType": oci_manifests.OCI_INDEX, "manifests": found.descriptors}
    return json_response(index, headers=headers, media_type=oci_manifests.OCI_INDEX)


def get_catalog(call: Call) -> Response:
    """List repositories."""
    request = PageRequest.parse(call.request.query)
    page = manifests.catalog(call.services.content, request)
    return json_response({"repositories": page.entries}, headers=page_link("/v2/_catalog", request, page))


# fmt: off
ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("end-1",  "GET",    "/v2/",                                None,          get_root),
    Endpoint("end-1",  "HEAD",   "/v2/",                                None,          get_root),
    Endpoint("end-2",  "GET",    "/v2/<name>/blobs/<digest>",           Action.PULL,   get_blob),
    Endpoint("end-2",  "HEAD",   "/v2/<name>/blobs/<digest>",           Action.PULL,   head_blob),
    Endpoint("end-3",  "GET",    "/v2/<name>/manifests/<reference>",    Action.PULL,   get_manifest),
    Endpoint("end-3",  "HEAD",   "/v2/<name>/manifests/<reference>",    Action.PULL,   head_manifest),
    Endpoint("end-4",  "POST",   "/v2/<name>/blobs/uploads/",           Action.PUSH,   post_upload),
    Endpoint("end-5",  "PATCH",  "/v2/<name>/blobs/uploads/<upload>",   None,          patch_upload),
    Endpoint("end-6",  "PUT",    "/v2/<name>/blobs/uploads/<upload>",   None,          put_upload),
    Endpoint("end-7",  "PUT",    "/v2/<name>/manifests/<reference>",    Action.PUSH,   put_manifest),
    Endpoint("end-8",  "GET",    "/v2/<name>/tags/list",                Action.PULL,   get_tags),
    Endpoint("end-9",  "DELETE", "/v2/<name>/manifests/<reference>",    Action.DELETE, delete_manifest),
    Endpoint("end-10", "DELETE", "/v2/<name>/blobs/<digest>",           Action.DELETE, delete_blob),
    Endpoint("end-11", "POST",   "/v2/<name>/blobs/uploads/",           Action.PUSH,   post_upload),
    Endpoint("end-12", "GET",    "/v2/<name>/referrers/<digest>",       Action.PULL,   get_referrers),
    Endpoint("end-13", "GET",    "/v2/<name>/blobs/uploads/<upload>",   None,          get_upload),
    Endpoint("end-14", "DELETE", "/v2/<name>/blobs/uploads/<upload>",   None,          delete_upload),
    Endpoint("",       "GET",    "/v2/_catalog",                        Action.LIST,   get_catalog),
)
# fmt: on
