"""The endpoints of the specification, end-1 to end-14, as one table, and the handlers of those that read.

Those that change something are in `pushes`, those of caches of other registries in `proxying` and `proxied_blobs`.
They are imported when the first of them is called: a pull, as the first request of an instance, would wait for it.

Invariants:
* A row says who may call it; `dispatch` has checked that, and parsed the names in the path, before the handler runs.
* Handlers raise `RegistryError` for every refusal and return only what succeeded.

Specification: OCI Distribution 1.1 and its development version (`tag` on push by digest, `digest-algorithm`).
"""

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from urllib.parse import quote, urlsplit

from chalicelib.api import auth, sources
from chalicelib.api.endpoints import Call, Endpoint
from chalicelib.api.http import NO_HEADERS, Request, Response, json_response
from chalicelib.api.sources import Source
from chalicelib.oci import manifests as oci_manifests
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.names import Repository, Tag, parse_reference
from chalicelib.oci.pages import Page, PageRequest, next_link, page_link
from chalicelib.policy.grants import Action
from chalicelib.services import DIGEST_MARK
from chalicelib.store import blobs, condemned, listings, manifests, referrers
from chalicelib.store.content import Content
from chalicelib.store.objects import OCTETS
from chalicelib.store.pulls import Pulled

# Where a cache of another registry gives blobs that are on their way: below a path that the relay answers.
FETCHED = "/v2/<name>/blobs/uploads/_fetched/<digest>"


def get_root(call: Call) -> Response:
    """Say that this is a registry (end-1)."""
    auth.authenticate(call.services, call.request)
    return json_response({})


def get_blob(call: Call) -> Response:
    """Redirect to the blob's bytes (end-2)."""
    digest = Digest.parse(call.argument)
    if _is_through(call):
        return _through("proxied_blobs", "get", call)
    blob, source = sources.blob(call.services, call.repository, digest)
    return blob_answer(source, blob, digest)


def _is_through(call: Call) -> bool:
    """Tell whether a pull may ask another registry: a region that is not the writer has what the writer has."""
    return call.proxied and call.services.is_writer()


def blob_answer(source: Source, blob: blobs.Blob, digest: Digest) -> Response:
    """Return the redirection to a blob's bytes."""
    location = source.locate("GET", blob.key, digest)
    return Response(307, {"Location": location, "Docker-Content-Digest": str(digest)})


def head_blob(call: Call) -> Response:
    """Say that the repository holds the blob, and its size (end-2)."""
    digest = Digest.parse(call.argument)
    if sources.is_copy(call.services):
        blob, source = sources.blob(call.services, call.repository, digest)
    else:
        # A pusher that hears this does not send the blob.
        promised = blobs.promise(call.services.content, call.repository, digest)
        if promised is None and _is_through(call):
            return _through("proxied_blobs", "head", call)
        blob, source = blobs.required(promised, digest), sources.own(call.services)
    return blob_head_answer(call, source, blob, digest)


def blob_head_answer(call: Call, source: Source, blob: blobs.Blob, digest: Digest) -> Response:
    """Return the answer that says how large a blob is."""
    headers = {"Docker-Content-Digest": str(digest)}
    if call.request.redirect_head:
        return Response(307, {"Location": _head_location(call, source, blob.key, digest), **headers})
    headers |= {"Content-Type": OCTETS, "Content-Length": str(blob.size), "Accept-Ranges": "bytes"}
    return Response(200, headers)


def _head_location(call: Call, source: Source, key: str, digest: Digest) -> str:
    """Return where S3 answers a HEAD; by way of our own front its answer says the digest, as clients like it."""
    location = source.locate("HEAD", key, digest)
    if not (call.request.fronted and source.here):
        return location
    return f"/{quote(key)}?{urlsplit(location).query}&{DIGEST_MARK}={digest}"


def get_manifest(call: Call) -> Response:
    """Return the manifest's exact bytes (end-3)."""
    if _is_through(call):
        return _through("proxying", "get_manifest", call)
    stored, _ = sources.read(call.services, partial(_manifest, call, manifests.get), call.argument)
    return manifest_answer(call, stored)


def manifest_answer(call: Call, stored: manifests.StoredManifest, more: Mapping[str, str] = NO_HEADERS) -> Response:
    """Return the answer that is a manifest, and count the pull; with `more` headers."""
    headers = {**_manifest_headers(stored), **more}
    if _unchanged(call.request, stored.digest):
        return Response(304, {name: headers[name] for name in ("Docker-Content-Digest", "ETag")})
    _count_pull(call, stored.digest)
    return Response(200, headers, stored.content)


def _manifest(
    call: Call,
    read: Callable[[Content, Repository, Tag | Digest], manifests.StoredManifest],
    content: Content,
) -> manifests.StoredManifest:
    return read(content, call.repository, reference_of(call))


def _count_pull(call: Call, digest: Digest) -> None:
    tag = "" if ":" in call.argument else call.argument
    pulled = Pulled(call.repository, str(digest), tag, call.grant.principal.name)
    call.services.pulls.count(pulled, call.services.now())


def head_manifest(call: Call) -> Response:
    """Say what manifest the reference names (end-3)."""
    if _is_through(call):
        return _through("proxying", "head_manifest", call)
    stored, source = sources.read(call.services, partial(_manifest, call, manifests.head), call.argument)
    pusher = stored.retired and call.grant.allows(f"repository:{call.repository}", Action.PUSH)
    if pusher and not sources.is_copy(call.services):
        # A pusher that hears this does not send the manifest, and may be about to send an index that needs it.
        condemned.renew(call.services.content, stored.key)
        stored = manifests.head(call.services.content, call.repository, reference_of(call))
    return manifest_head_answer(call, source, stored)


def manifest_head_answer(
    call: Call, source: Source, stored: manifests.StoredManifest, more: Mapping[str, str] = NO_HEADERS
) -> Response:
    """Return the answer that says what a manifest is, with `more` headers."""
    headers = {**_manifest_headers(stored), **more}
    if _unchanged(call.request, stored.digest):
        return Response(304, {name: headers[name] for name in ("Docker-Content-Digest", "ETag")})
    if call.request.redirect_head:
        return Response(307, {"Location": _head_location(call, source, stored.key, stored.digest), **headers})
    return Response(200, {**headers, "Content-Length": str(stored.size)})


def reference_of(call: Call) -> Tag | Digest:
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


def get_tags(call: Call) -> Response:
    """List tags (end-8)."""
    return _through("proxying", "get_tags", call) if _is_through(call) else local_tags(call)


def local_tags(call: Call) -> Response:
    """List the tags that are here."""
    request = PageRequest.parse(call.request.query)
    page, _ = sources.read(
        call.services, lambda content: listings.tags(content, call.repository, request), call.repository
    )
    return tags_answer(call, request, page)


def tags_answer(call: Call, request: PageRequest, page: Page[str], more: Mapping[str, str] = NO_HEADERS) -> Response:
    """Return the answer that is a page of tags, with `more` headers."""
    link = page_link(f"/v2/{call.repository}/tags/list", request, page)
    return json_response({"name": call.repository.name, "tags": page.entries}, headers={**link, **more})


def get_referrers(call: Call) -> Response:
    """List the manifests whose subject is this digest (end-12)."""
    return _through("proxying", "get_referrers", call) if _is_through(call) else local_referrers(call)


def local_referrers(call: Call) -> Response:
    """List what refers to a digest here."""
    subject = Digest.parse(call.argument)
    artifact_type = call.request.parameter("artifactType")
    request = PageRequest.parse(call.request.query)
    found = referrers.referrers(call.services.content, call.repository, subject, artifact_type, request.last)
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
    page = listings.catalog(call.services.content, request)
    return json_response({"repositories": page.entries}, headers=page_link("/v2/_catalog", request, page))


def _push(name: str) -> Callable[[Call], Response]:
    """Return the handler of that name in `pushes`, for the table."""
    return _later("pushes", name)


def _fetched(name: str) -> Callable[[Call], Response]:
    """Return the handler of that name in `proxied_blobs`, for the table."""
    return _later("proxied_blobs", name)


def _later(module: str, name: str) -> Callable[[Call], Response]:
    """Return a handler of another module, which is imported when it is first called: see this module's text."""

    def handler(call: Call) -> Response:
        return _through(module, name, call)

    handler.__name__ = name
    return handler


def _through(module: str, name: str, call: Call) -> Response:
    answer: Response = getattr(import_module(f"chalicelib.api.{module}"), name)(call)
    return answer


# fmt: off
ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("end-1",  "GET",    "/v2/",                                None,          get_root),
    Endpoint("end-1",  "HEAD",   "/v2/",                                None,          get_root),
    Endpoint("end-2",  "GET",    "/v2/<name>/blobs/<digest>",           Action.PULL,   get_blob),
    Endpoint("end-2",  "HEAD",   "/v2/<name>/blobs/<digest>",           Action.PULL,   head_blob),
    Endpoint("end-3",  "GET",    "/v2/<name>/manifests/<reference>",    Action.PULL,   get_manifest),
    Endpoint("end-3",  "HEAD",   "/v2/<name>/manifests/<reference>",    Action.PULL,   head_manifest),
    Endpoint("end-4",  "POST",   "/v2/<name>/blobs/uploads/",           Action.PUSH,   _push("post_upload")),
    Endpoint("end-5",  "PATCH",  "/v2/<name>/blobs/uploads/<upload>",   None,          _push("patch_upload")),
    Endpoint("end-6",  "PUT",    "/v2/<name>/blobs/uploads/<upload>",   None,          _push("put_upload")),
    Endpoint("end-7",  "PUT",    "/v2/<name>/manifests/<reference>",    Action.PUSH,   _push("put_manifest")),
    Endpoint("end-8",  "GET",    "/v2/<name>/tags/list",                Action.PULL,   get_tags),
    Endpoint("end-9",  "DELETE", "/v2/<name>/manifests/<reference>",    Action.DELETE, _push("delete_manifest")),
    Endpoint("end-10", "DELETE", "/v2/<name>/blobs/<digest>",           Action.DELETE, _push("delete_blob")),
    Endpoint("end-11", "POST",   "/v2/<name>/blobs/uploads/",           Action.PUSH,   _push("post_upload")),
    Endpoint("end-12", "GET",    "/v2/<name>/referrers/<digest>",       Action.PULL,   get_referrers),
    Endpoint("end-13", "GET",    "/v2/<name>/blobs/uploads/<upload>",   None,          _push("get_upload")),
    Endpoint("end-14", "DELETE", "/v2/<name>/blobs/uploads/<upload>",   None,          _push("delete_upload")),
    Endpoint("",       "GET",    FETCHED,                               None,          _fetched("get_fetched")),
    Endpoint("",       "HEAD",   FETCHED,                               None,          _fetched("head_fetched")),
    Endpoint("",       "GET",    "/v2/_catalog",                        Action.LIST,   get_catalog),
)
# fmt: on
