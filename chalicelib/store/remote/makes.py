"""What is done by the own API of a registry's make: listing repositories, deleting, and making room for a push.

Invariants:
* Which way a registry goes is a column of `policy.adapters`; this module is the ways.
* The credential goes to the API that the row names, over https unless the registry itself is on http.
"""

import json
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlencode

from chalicelib.oci.errors import RegistryError
from chalicelib.oci.names import Repository
from chalicelib.policy.adapters import Creation, Deletion, Listing
from chalicelib.store.remote import listing
from chalicelib.store.remote.conversation import Access, Asking, Conversation
from chalicelib.store.remote.errors import DownError, MissingError, RemoteError
from chalicelib.store.remote.wire import Request

_PAGE, _MOST_PAGES, _MOST_LISTED = 100, 10_000, 4 << 20
_DONE = (200, 201, 202, 204)
_CONFLICT = 409
_ONE_OF_ARTIFACTORY = "/artifactory/api/docker/"
# A token of Docker Hub's API holds for ten minutes; logins are limited.
_HUB_SECONDS = 540
_JSON = {"Content-Type": "application/json", "Accept": "application/json"}


def repositories(talk: Conversation, namespaces: Collection[str]) -> Iterator[str]:
    """Yield the repositories, of some namespaces where these are said; raise RemoteError where nobody tells."""
    match talk.adapter.listing:
        case Listing.CATALOG:
            found = listing.catalog(talk)
        case Listing.HARBOR:
            found = _harbor_repositories(talk, namespaces)
        case Listing.HUB:
            found = _hub_repositories(talk, namespaces)
        case Listing.ARTIFACTORY:
            found = _artifactory_repositories(talk, namespaces)
        case Listing.NONE:
            raise RemoteError(f"{talk.place} does not list its repositories: give their names")
    return (each for each in found if not namespaces or each.partition("/")[0] in namespaces)


def delete_manifest(talk: Conversation, repository: str, digest: str) -> None:
    """Delete a manifest and its tags; raise MissingError, RemoteError."""
    match talk.adapter.deletion:
        case Deletion.STANDARD | Deletion.HARBOR:
            _delete(talk, repository, digest)
        case Deletion.TAGS_FIRST:
            for tag in _tags_of(talk, repository, digest):
                _delete(talk, repository, tag)
            _delete(talk, repository, digest)
        case Deletion.ECR:
            _ecr_delete(talk, repository, imageDigest=digest)
        case Deletion.HUB:
            raise RemoteError(f"{talk.place} deletes by tag alone")
        case Deletion.NONE:
            raise RemoteError(f"{talk.place} deletes nothing for its clients: do it on its own pages")


def delete_tag(talk: Conversation, repository: str, tag: str) -> None:
    """Delete a tag and leave its manifest; raise MissingError, RemoteError."""
    match talk.adapter.deletion:
        case Deletion.STANDARD | Deletion.TAGS_FIRST:
            _delete(talk, repository, tag)
        case Deletion.HARBOR:
            project, _, rest = repository.partition("/")
            twice = quote(quote(rest, safe=""), safe="")
            path = f"/projects/{quote(project)}/repositories/{twice}/artifacts/{quote(tag)}/tags/{quote(tag)}"
            _harbor(talk, "DELETE", path, f"deletes no tag of {repository}")
        case Deletion.HUB:
            _hub(talk, "DELETE", f"/v2/repositories/{quote(repository)}/tags/{quote(tag)}/", "deletes no tag")
        case Deletion.ECR:
            _ecr_delete(talk, repository, imageTag=tag)
        case Deletion.NONE:
            raise RemoteError(f"{talk.place} deletes nothing for its clients: do it on its own pages")


def prepare(talk: Conversation, repository: str, *, public: bool) -> None:
    """Make what must exist before a push to a repository; raise RemoteError."""
    match talk.adapter.creation:
        case Creation.PROJECT:
            _harbor_project(talk, repository.partition("/")[0], public=public)
        case Creation.REPOSITORY:
            from chalicelib.store.remote import ecr  # noqa: PLC0415 - boto3 takes long to import

            ecr.create(talk.given, repository)
        case Creation.NOTHING:
            return


def _delete(talk: Conversation, repository: str, reference: str) -> None:
    request = Request("DELETE", talk.address(repository, "manifests", reference))
    # Docker's registry grants "delete" alone; Harbor and others want it beside "pull".
    access = Access.to(repository, "pull,push,delete")
    talk.tell(Asking(request, f"deletes nothing of {repository}", access, _DONE))


def _tags_of(talk: Conversation, repository: str, digest: str) -> list[str]:
    """Return the tags of a manifest, as Google's registries list them beside the tags."""
    request = Request("GET", talk.address(repository, "tags", "list"))
    asking = Asking(request, f"does not list {repository}", Access.to(repository, "pull"))
    with talk.ask(asking) as answer:
        document = _object(answer.content(_MOST_LISTED))
    manifest = _object_of(_object_of(document.get("manifest")).get(digest))
    return [each for each in manifest.get("tag") or () if isinstance(each, str)]


def _ecr_delete(talk: Conversation, repository: str, **image: str) -> None:
    from chalicelib.store.remote import ecr  # noqa: PLC0415 - boto3 takes long to import

    ecr.delete(talk.given, repository, **image)


def _harbor(talk: Conversation, method: str, path: str, what: str, body: object = None) -> Any:
    content = None if body is None else json.dumps(body).encode()
    request = Request(method, f"{talk.api}/api/v2.0{path}", _JSON, content)
    return _told(talk, Asking(request, what, wanted=_DONE, authorization=talk.authority.basic))


def _harbor_repositories(talk: Conversation, namespaces: Collection[str]) -> Iterator[str]:
    for project in namespaces or _harbor_names(talk, "/projects", "does not list its projects"):
        path = f"/projects/{quote(project, safe='')}/repositories"
        # One that is missing, or was deleted meanwhile, has none.
        with suppress(MissingError):
            yield from _harbor_names(talk, path, f"does not list the repositories of {project}")


def _harbor_names(talk: Conversation, path: str, what: str) -> Iterator[str]:
    for page in range(1, _MOST_PAGES):
        found = _harbor(talk, "GET", f"{path}?{urlencode({'page': page, 'page_size': _PAGE})}", what)
        entries = [_object_of(each) for each in found] if isinstance(found, list) else []
        yield from (each["name"] for each in entries if _named(each.get("name")))
        if len(entries) < _PAGE:
            return


def _harbor_project(talk: Conversation, project: str, *, public: bool) -> None:
    try:
        _harbor(talk, "HEAD", f"/projects?{urlencode({'project_name': project})}", "tells of no project")
    except MissingError:
        asked = {"project_name": project, "metadata": {"public": "true" if public else "false"}}
        try:
            _harbor(talk, "POST", "/projects", f"makes no project {project}", asked)
        except RemoteError as error:
            # Somebody else made it in between.
            if error.status != _CONFLICT:
                raise


def _artifactory_repositories(talk: Conversation, namespaces: Collection[str]) -> Iterator[str]:
    """Yield what each of its Docker repositories lists, which are the first parts of names there."""
    if _ONE_OF_ARTIFACTORY in talk.api:
        yield from listing.catalog(talk)
        return
    for key in namespaces or _artifactory_keys(talk):
        base = f"{talk.api}{_ONE_OF_ARTIFACTORY}{quote(key, safe='')}"
        with suppress(MissingError):
            yield from (f"{key}/{name}" for name in listing.catalog(talk, base, talk.authority.basic))


def _artifactory_keys(talk: Conversation) -> list[str]:
    request = Request("GET", f"{talk.api}/artifactory/api/repositories?packageType=docker", _JSON)
    what = "does not list its repositories"
    found = _told(talk, Asking(request, what, wanted=_DONE, authorization=talk.authority.basic))
    keys = [_object_of(each).get("key") for each in found] if isinstance(found, list) else []
    return [key for key in keys if isinstance(key, str) and _named(key)]


def _hub(talk: Conversation, method: str, path: str, what: str) -> Any:
    request = Request(method, f"{talk.api}{path}", _JSON)
    return _told(talk, Asking(request, what, wanted=_DONE, authorization=_hub_token(talk)))


def _hub_token(talk: Conversation) -> str:
    """Return the Authorization of Docker Hub's API, which has tokens of its own; "" for nobody."""
    site = talk.site
    if not site.access_key:
        return ""
    known, until = talk.api_login
    if time.monotonic() < until:
        return known
    asked = json.dumps({"identifier": site.access_key, "secret": site.access_secret}).encode()
    request = Request("POST", f"{talk.api}/v2/auth/token", _JSON, asked)
    found = _object_of(_told(talk, Asking(request, "gives no token", authorization="", stay=True)))
    token = found.get("access_token")
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise DownError(f"{talk.place} gave no token for its API")
    talk.api_login = (f"Bearer {token}", time.monotonic() + _HUB_SECONDS)
    return talk.api_login[0]


def _hub_repositories(talk: Conversation, namespaces: Collection[str]) -> Iterator[str]:
    for each in namespaces or _hub_namespaces(talk):
        with suppress(MissingError):
            yield from _hub_names(talk, each)


def _hub_names(talk: Conversation, namespace: str) -> Iterator[str]:
    for page in range(1, _MOST_PAGES):
        path = f"/v2/repositories/{quote(namespace, safe='')}/?{urlencode({'page': page, 'page_size': _PAGE})}"
        found = _object_of(_hub(talk, "GET", path, f"does not list the repositories of {namespace}"))
        for entry in found.get("results") or ():
            name = f"{namespace}/{_object_of(entry).get('name')}"
            if _named(name):
                yield name
        if not found.get("next"):
            break


def _hub_namespaces(talk: Conversation) -> list[str]:
    found = _object_of(_hub(talk, "GET", "/v2/repositories/namespaces", "does not list its namespaces"))
    return [each for each in found.get("namespaces") or () if _named(each)]


def _told(talk: Conversation, asking: Asking) -> Any:
    """Return the JSON that answers, or None where there is none."""
    with talk.ask(asking) as answer:
        content = answer.content(_MOST_LISTED)
    try:
        return json.loads(content) if content else None
    except (ValueError, RecursionError) as error:
        raise DownError(f"{talk.place} answered no JSON") from error


def _object(content: bytes) -> Mapping[str, Any]:
    try:
        return _object_of(json.loads(content))
    except (ValueError, RecursionError):
        return {}


def _object_of(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _named(value: object) -> bool:
    """Tell whether a value is a name of a repository, or the beginning of one."""
    try:
        return isinstance(value, str) and bool(Repository.parse(value))
    except RegistryError:
        return False
