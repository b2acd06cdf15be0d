"""Pulls from projects that are caches of other registries: manifests, what tags there are, and what refers to them.

Imported where a grant says that a repository is in such a project: no other pull waits for it.

Invariants:
* A digest that is here is served from here, whatever became of the other registry.
* A tag is what the other registry says. Where that says nothing, or does not give what it says - it is down, limits
  us, takes our credential no more, or sends something else - the last that is known is served, with a `Warning` that
  says so; where it says that there is no such tag, there is none.
* What is served of a manifest was checked against its digest.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from chalicelib.api import registry, sources
from chalicelib.api.endpoints import Call
from chalicelib.api.http import NO_HEADERS, Response
from chalicelib.changes import caching
from chalicelib.changes.caching import Upstream
from chalicelib.oci.digests import Digest
from chalicelib.oci.errors import ErrorCode, RegistryError
from chalicelib.oci.names import Repository, Tag
from chalicelib.oci.pages import Page, PageRequest
from chalicelib.policy import proxies
from chalicelib.store import cached, listings, manifests
from chalicelib.store.content import Content
from chalicelib.store.manifests import StoredManifest
from chalicelib.store.remote import Described, MissingError, RemoteError

log = logging.getLogger(__name__)

# So long a job waits for the clients to fetch what they want, before it fetches what they did not.
PATIENCE = 5
_STALE = (
    '110 roadstead "the registry of which this is a cache does not give what it has now: this is what it had last"'
)
_REFERRERS = timedelta(seconds=10)
_MOST_REMEMBERED = 64 << 10
# Why the other registry may not give what it says that a tag names.
_NOT_GIVEN = frozenset(
    {ErrorCode.DENIED, ErrorCode.MANIFEST_UNKNOWN, ErrorCode.TOOMANYREQUESTS, ErrorCode.UNAVAILABLE}
)


@dataclass(frozen=True, slots=True)
class _Found:
    """A manifest, and what is said about it."""

    stored: StoredManifest
    headers: Mapping[str, str] = field(default_factory=lambda: NO_HEADERS)


def get_manifest(call: Call) -> Response:
    """Return a manifest, of the cache or of the other registry."""
    if moved := moved_to_long_name(call):
        return moved
    found = _found(call, whole=True)
    return registry.manifest_answer(call, found.stored, found.headers)


def head_manifest(call: Call) -> Response:
    """Say what manifest the reference names."""
    if moved := moved_to_long_name(call):
        return moved
    # Behind API Gateway a HEAD is redirected to an object: there must be one.
    found = _found(call, whole=call.request.redirect_head)
    return registry.manifest_head_answer(call, sources.own(call.services), found.stored, found.headers)


def moved_to_long_name(call: Call) -> Response | None:
    """Return the redirection from a short name of Docker Hub, or None."""
    source = _source(call)
    long = proxies.long_name(source.make, call.repository) if source else None
    if long is None:
        return None
    # What follows the name has no name before it, so it begins at the first of its words from the right.
    rest = quote(call.request.path.removeprefix(f"/v2/{call.repository}/"), safe="/:")
    query = urlencode(call.request.query, doseq=True)
    return Response(301, {"Location": f"/v2/{long}/{rest}{'?' if query else ''}{query}"})


def _upstream(call: Call) -> Upstream | None:
    """Return whose cache this is, None where nobody can say or it is none; raise DENIED by its filter."""
    source = _source(call)
    if source:
        caching.check_admitted(source, call.repository)
    return source


def _source(call: Call) -> Upstream | None:
    try:
        return caching.upstream(call.services, call.repository)
    except (OSError, RegistryError):
        log.exception("nobody can say of which registry %s is a cache: what is kept is served", call.repository)
        return None


def _found(call: Call, *, whole: bool) -> _Found:
    reference = registry.reference_of(call)
    source = _upstream(call)
    if source is None:
        return _without(call, reference)
    if isinstance(reference, Digest):
        return _Found(_of_digest(call, source, reference, whole=whole))
    said = caching.said(call.services, source, call.repository, reference)
    if isinstance(said, Described):
        return _as_said(call, source, reference, said, whole=whole)
    if said is None:
        return _Found(_not_there(call, source, reference))
    return _stale(call, source, reference, caching.refusal(source, said, ErrorCode.MANIFEST_UNKNOWN))


def _as_said(call: Call, source: Upstream, tag: Tag, said: Described, *, whole: bool) -> _Found:
    """Return what a tag names, the last that is known where the other registry says what and does not give it."""
    try:
        return _Found(_of_tag(call, source, tag, said, whole=whole))
    except RegistryError as refused:
        if refused.code not in _NOT_GIVEN:
            raise
        return _stale(call, source, tag, refused)


def _without(call: Call, reference: Tag | Digest) -> _Found:
    """Return what is kept where the other registry cannot be asked; raise why it cannot, where nothing is."""
    try:
        if isinstance(reference, Digest):
            return _Found(_required(call, reference))
        return _Found(_last_known(call, reference), {"Warning": _STALE})
    except RegistryError as error:
        if error.code is ErrorCode.MANIFEST_UNKNOWN:
            caching.upstream(call.services, call.repository)
        raise


def _required(call: Call, digest: Digest) -> StoredManifest:
    if found := _held(call.services.content, call.repository, digest):
        return found
    raise RegistryError(ErrorCode.MANIFEST_UNKNOWN, detail={"reference": str(digest)})


def _not_there(call: Call, source: Upstream, tag: Tag) -> StoredManifest:
    if source.rules.local_on_not_found:
        return _last_known(call, tag)
    raise caching.refusal(source, MissingError("it says so"), ErrorCode.MANIFEST_UNKNOWN)


def _stale(call: Call, source: Upstream, tag: Tag, refused: RegistryError) -> _Found:
    """Return the last that is known of a tag; where that is nothing, raise why it is refused."""
    try:
        found = _last_known(call, tag)
    except RegistryError:
        raise refused from None
    log.warning("%s:%s is served as it was last: the registry %s does not give it", call.repository, tag, source.name)
    return _Found(found, {"Warning": _STALE})


def _last_known(call: Call, tag: Tag) -> StoredManifest:
    """Return what a tag named when the other registry was last heard; raise MANIFEST_UNKNOWN."""
    note = cached.noted(call.services.content, call.repository, tag)
    if note:
        found = _held(call.services.content, call.repository, note.digest)
        if found:
            return found
    return manifests.get(call.services.content, call.repository, tag)


def _of_tag(call: Call, source: Upstream, tag: Tag, said: Described, *, whole: bool) -> StoredManifest:
    content, repository, digest = call.services.content, call.repository, Digest.parse(said.digest)
    try:
        stored = manifests.get(content, repository, tag)
    except RegistryError as error:
        if error.code is not ErrorCode.MANIFEST_UNKNOWN:
            raise
    else:
        if stored.digest == digest:
            return stored
    found: StoredManifest | None
    if whole:
        found = _of_digest(call, source, digest, whole=True, begins=False)
    else:
        found = _held(content, repository, digest)
    # Clients that ask for the tag by HEAD pull what it named by its digest: nothing else tells that it was the tag's.
    cached.note(content, repository, tag, digest)
    if found:
        _begin(call, source)
    return found or StoredManifest(digest, said.media_type, said.size, "")


def _of_digest(call: Call, source: Upstream, digest: Digest, *, whole: bool, begins: bool = True) -> StoredManifest:
    """Return the manifest of a digest: from here, or fetched; raise RegistryError."""
    content, repository = call.services.content, call.repository
    if found := _held(content, repository, digest):
        if found.retired:
            # A job let it go, and somebody wants it: it is made an artifact anew.
            cached.keep(content, repository, digest, found.media_type, found.content)
            _begin(call, source)
        return found
    if not whole:
        return _described(call, source, digest)
    try:
        caching.fetch_manifest(call.services, source, repository, digest)
    except RemoteError as error:
        raise caching.refusal(source, error, ErrorCode.MANIFEST_UNKNOWN) from error
    found = _held(content, repository, digest)
    if found is None:
        # It was deleted since another request fetched it.
        caching.forget_fetched(call.services, repository, digest)
        raise RegistryError(ErrorCode.UNAVAILABLE, headers={"Retry-After": "1"})
    if begins:
        _begin(call, source)
    return found


def _described(call: Call, source: Upstream, digest: Digest) -> StoredManifest:
    try:
        with caching.connected(call.services, source) as remote:
            said = remote.head_manifest(proxies.name_there(call.repository), str(digest))
    except RemoteError as error:
        raise caching.refusal(source, error, ErrorCode.MANIFEST_UNKNOWN) from error
    if said is None:
        raise caching.refusal(source, MissingError("it says so"), ErrorCode.MANIFEST_UNKNOWN)
    return StoredManifest(digest, said.media_type, said.size, "")


def _held(content: Content, repository: Repository, digest: Digest) -> StoredManifest | None:
    """Return a manifest that is here, whole or not, or None."""
    try:
        return manifests.get(content, repository, digest)
    except RegistryError as error:
        if error.code is not ErrorCode.MANIFEST_UNKNOWN:
            raise
    return cached.find(content, repository, digest)


def _begin(call: Call, source: Upstream) -> None:
    waits = call.request.streams or call.services.settings.relay
    caching.begin_filling(call.services, source, call.repository, PATIENCE if waits else 0)


def get_tags(call: Call) -> Response:
    """List the tags that are here or in the other registry; only those here where that does not list them."""
    if moved := moved_to_long_name(call):
        return moved
    source = _upstream(call)
    if source is None:
        return registry.local_tags(call)
    request = PageRequest.parse(call.request.query)
    there = caching.tags(call.services, source, call.repository)
    try:
        here = listings.tags(call.services.content, call.repository, request)
    except RegistryError as unknown:
        if isinstance(there, RemoteError):
            raise caching.refusal(source, there, ErrorCode.NAME_UNKNOWN) from unknown
        here = Page((), more=False)
    if isinstance(there, RemoteError):
        stale = NO_HEADERS if isinstance(there, MissingError) else {"Warning": _STALE}
        return registry.tags_answer(call, request, here, stale)
    every = sorted({*here.entries, *(tag for tag in there if tag > request.last)})
    page = Page(tuple(every[: request.size]), more=here.more or len(every) > request.size)
    return registry.tags_answer(call, request, page)


def get_referrers(call: Call) -> Response:
    """List what refers to a manifest: here and, where the project wants that, in the other registry."""
    if moved := moved_to_long_name(call):
        return moved
    source = _upstream(call)
    answer = registry.local_referrers(call)
    if source is None or not source.rules.referrers:
        return answer
    subject, wanted = Digest.parse(call.argument), call.request.parameter("artifactType")
    there = call.services.shared.get(
        ("referrers", call.repository, subject),
        call.services.now,
        lambda: _remembered(_referrers(call, source, subject)),
    )
    here = orjson.loads(answer.body)
    known = {each["digest"] for each in here["manifests"]}
    # What is not here comes on the first page, after what is.
    more = [] if call.request.parameter("last") else [each for each in there if each["digest"] not in known]
    here["manifests"] += [each for each in more if wanted in ("", each.get("artifactType"))]
    return replace(answer, body=orjson.dumps(here))


def _remembered(found: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], timedelta]:
    """Return a list and for how long it is remembered: a long one takes memory that others need."""
    return found, _REFERRERS if len(orjson.dumps(found)) <= _MOST_REMEMBERED else timedelta()


def _referrers(call: Call, source: Upstream, subject: Digest) -> list[dict[str, Any]]:
    try:
        with caching.connected(call.services, source) as remote:
            found = remote.referrers(proxies.name_there(call.repository), str(subject))
    except RemoteError as error:
        log.warning("the registry %s does not say what refers to %s: %s", source.name, subject, caching.brief(error))
        return []
    return [dict(each) for each in found if isinstance(each.get("digest"), str)]
